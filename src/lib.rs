//! Longhaul tracks, rescues and runs long admin jobs.
#![recursion_limit = "256"]
pub mod model;
