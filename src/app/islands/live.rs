//! How an open page stays up to date, and the only code that touches the browser.
//!
//! One path for data: a fetch that says what it has seen. A server-sent event is a nudge that makes the same
//! fetch happen now (DESIGN decision 9). While the stream is healthy an idle page makes no request; without
//! one the page polls; when the server does not answer it backs off and says so; when nobody looks it
//! pauses, and gives its connection back.

pub mod dom;
mod follow;
mod state;
mod stream;
mod wake;

pub use follow::{Pace, follow, tick};
pub use state::{LiveState, live_state};
