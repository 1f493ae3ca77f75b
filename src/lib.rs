//! **Longhaul** tracks, rescues and runs long admin jobs.
//!
//! Most people use the program: `longhaul serve` for the dashboard and the REST API, `longhaul exec -- any
//! command` to run something as a job. A Rust program reports on work of its own through this library:
//! [`Jobs`] starts and recovers jobs, [`JobLogger`] reports on one.
//!
//! How the parts fit: `model` holds the rules and knows nothing else; `store` keeps jobs by them; `service`
//! says who may do what; `server` and `rpc` are thin ways in; `app` is the dashboard, rendered on the
//! server and brought to life in the browser by its islands.
#![recursion_limit = "512"]

pub mod app;
pub mod model;
pub mod rpc;
pub mod view;

#[cfg(feature = "ssr")]
pub mod cli;
#[cfg(feature = "ssr")]
pub mod clock;
#[cfg(feature = "ssr")]
pub mod engine;
#[cfg(feature = "ssr")]
pub mod http;
#[cfg(feature = "ssr")]
pub mod jobs;
#[cfg(feature = "ssr")]
pub mod library;
#[cfg(feature = "ssr")]
pub mod logger;
#[cfg(feature = "ssr")]
pub mod server;
#[cfg(feature = "ssr")]
pub mod service;
#[cfg(feature = "ssr")]
pub mod settings;
#[cfg(feature = "ssr")]
pub mod store;
#[cfg(feature = "ssr")]
pub mod watch;

#[cfg(feature = "ssr")]
pub use library::Jobs;
#[cfg(feature = "ssr")]
pub use logger::{JobLogger, Pipeline};
#[cfg(feature = "ssr")]
pub use store::{JobStore, MemoryStore, SqliteStore};

/// The browser's side begins here: each island on the page comes to life.
#[cfg(feature = "hydrate")]
#[wasm_bindgen::prelude::wasm_bindgen]
pub fn hydrate() {
    console_error_panic_hook::set_once();
    app::islands::bring_originals_back();
    leptos::mount::hydrate_islands();
}

/// Keeps the README's Rust example compiling.
#[cfg(all(doctest, feature = "ssr"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
