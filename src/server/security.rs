//! Headers that keep a browser from doing what it should not.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;

/// What a page may load: its own things, and scripts that carry this response's nonce.
pub fn page_policy(nonce: &str) -> String {
    // cargo-leptos reloads pages over a socket of its own while one works on them.
    let reload = if std::env::var_os("LEPTOS_WATCH").is_some() { " ws:" } else { "" };
    format!(
        "default-src 'self'; script-src 'nonce-{nonce}' 'strict-dynamic' 'wasm-unsafe-eval'; style-src 'self'; \
         img-src 'self' data:; connect-src 'self'{reload}; object-src 'none'; base-uri 'none'; \
         form-action 'self'; frame-ancestors 'none'"
    )
}

/// What anything that is no page may load: nothing.
const NO_PAGE_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

fn set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.entry(name).or_insert(HeaderValue::from_static(value));
}

/// For a year browsers come over https alone.
const HTTPS_ALONE: &str = "max-age=31536000";

/// Adds to an answer what it does not say itself. `https`: whether browsers reach the server by it.
pub fn secured(mut response: Response, https: bool) -> Response {
    let headers = response.headers_mut();
    if https {
        set(headers, STRICT_TRANSPORT_SECURITY, HTTPS_ALONE);
    }
    set(headers, X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(headers, X_FRAME_OPTIONS, "DENY");
    // Forms come back to the page they were sent from.
    set(headers, REFERRER_POLICY, "same-origin");
    set(headers, HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(headers, HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    set(headers, CONTENT_SECURITY_POLICY, NO_PAGE_POLICY);
    let lasting = headers.get(CONTENT_TYPE).is_none_or(|kind| {
        let kind = kind.to_str().unwrap_or_default();
        kind.starts_with("text/html") || kind.starts_with("application/json")
    });
    if lasting {
        set(headers, CACHE_CONTROL, "no-store");
    }
    response
}
