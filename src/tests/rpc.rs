//! The server functions: as plain forms, which is how a browser without JavaScript sends them, and as
//! calls, which is how an island does.

mod jobs;
mod live;
mod session;
mod system;
