//! The HTTP server, composed: one router for the dashboard, the server functions and the REST API, and around
//! it what every request passes.

pub mod api;
mod assets;
mod compress;
mod connections;
mod forms;
mod gate;
mod intake;
mod pages;
pub mod router;
mod security;

pub use connections::{ConnectionLimits, make_room, serve};
pub use router::{Routes, Site, build, build_id, has_assets, openapi, routes};
