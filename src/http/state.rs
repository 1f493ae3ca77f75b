//! What every handler is given.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRef;
use leptos::config::LeptosOptions;
use tokio_util::sync::CancellationToken;

use super::streams::Streams;
use crate::service::Service;
use crate::settings::Settings;

/// What handlers share. Every layer and handler takes a copy for each request, so it is one pointer.
#[derive(Clone)]
pub struct AppState(Arc<AppParts>);

impl Deref for AppState {
    type Target = AppParts;

    fn deref(&self) -> &AppParts {
        &self.0
    }
}

/// What there is to share.
pub struct AppParts {
    /// Everything that can be done.
    pub service: Arc<Service>,
    /// How the server is set up.
    pub settings: Arc<Settings>,
    /// What leptos needs to know.
    pub options: LeptosOptions,
    /// Is cancelled when the server stops: streams end.
    pub closing: CancellationToken,
    /// Who listens to changes.
    pub streams: Streams,
}

impl AppState {
    /// The state of a server.
    pub fn new(service: Arc<Service>, settings: Arc<Settings>, closing: CancellationToken) -> Self {
        let options = options(service.board().build());
        Self(Arc::new(AppParts { service, settings, options, closing, streams: Streams::default() }))
    }
}

impl FromRef<AppState> for LeptosOptions {
    fn from_ref(app: &AppState) -> Self {
        app.options.clone()
    }
}

/// What leptos needs to know.
fn options(build: &str) -> LeptosOptions {
    LeptosOptions::builder()
        .output_name("longhaul")
        .site_root("target/site")
        // The build is a part of the path, see `server/assets.rs`.
        .site_pkg_dir(format!("pkg/{build}"))
        .build()
}
