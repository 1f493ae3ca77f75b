//! The HTTP server, composed: one router for the dashboard, the server functions and the REST API, and around
//! it what every request passes.

pub mod api;
mod assets;
mod compress;
mod gate;
mod pages;
pub mod router;
mod security;

pub use router::{Routes, Site, build, build_id, has_assets, openapi, routes};
