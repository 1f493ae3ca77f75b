//! The HTTP side: one router for the dashboard, the server functions and the REST API.

pub mod api;
mod assets;
mod auth;
mod compress;
mod pages;
pub mod router;
mod security;
mod settings;

pub use auth::{new_cookie, no_cookie, percent_encode, session_cookie};
pub use router::{AppState, Routes, Site, build, build_id, has_assets, openapi, routes};
pub use settings::{Database, Setting, Settings, SettingsArgs, Source, client_settings};
