//! Mounts the dashboard: its pages and its server functions.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use leptos::nonce::use_nonce;
use leptos::prelude::{expect_context, provide_context};
use leptos_axum::{AxumRouteListing, LeptosRoutes as _, ResponseOptions, generate_route_list};

use super::security::page_policy;
use crate::app::{App, shell};
use crate::http::AppState;
use crate::service::Service;
use crate::view::ApiReference;

/// The dashboard's pages. Listed once for the whole process: listing sets a flag that every page being
/// rendered meanwhile would wait on for ever.
static PAGES: LazyLock<Vec<AxumRouteListing>> = LazyLock::new(|| generate_route_list(App));

/// The paths of the dashboard's pages.
pub fn paths() -> Vec<String> {
    PAGES.iter().map(|page| page.path().to_owned()).collect()
}

/// Pages and server functions.
pub fn routes(app: &AppState, reference: Arc<ApiReference>) -> Router<AppState> {
    let (service, settings) = (Arc::clone(&app.service), Arc::clone(&app.settings));
    let options = app.options.clone();
    Router::new().leptos_routes_with_context(
        app,
        PAGES.clone(),
        move || {
            provide_context::<Arc<Service>>(Arc::clone(&service));
            provide_context(Arc::clone(&settings));
            provide_context(Arc::clone(&reference));
            let response = expect_context::<ResponseOptions>();
            if let Some(nonce) = use_nonce()
                && let Ok(policy) = HeaderValue::from_str(&page_policy(&nonce))
            {
                response.insert_header(CONTENT_SECURITY_POLICY, policy);
            }
            response.insert_header(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        },
        move || shell(options.clone()),
    )
}
