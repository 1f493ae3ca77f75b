//! The files a page needs. A release carries them inside; a debug build reads them from `target/site`.
//!
//! They are served under a folder named after their contents, `/pkg/<build>/…`, so that a browser may keep
//! them for a year and never shows an old one: the same effect as hashed file names, without the file
//! that would have to lie beside a self-contained program.

use std::borrow::Cow;
use std::sync::LazyLock;

use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};
use sha2::{Digest, Sha256};

#[derive(RustEmbed)]
#[folder = "target/site"]
#[allow_missing = true]
struct Site;

/// What needs no building, so that a program built without the browser's part has it too.
#[derive(RustEmbed)]
#[folder = "public"]
struct Public;

/// Names the build: its version, and its assets.
static BUILD: LazyLock<String> = LazyLock::new(|| {
    let mut digest = Sha256::new();
    digest.update(env!("CARGO_PKG_VERSION"));
    for name in ["pkg/longhaul.js", "pkg/longhaul.wasm", "pkg/longhaul.css"] {
        if let Some(file) = Site::get(name) {
            digest.update(file.metadata.sha256_hash());
        }
    }
    let hash = digest.finalize();
    hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
});

/// Names the build of the program: changes with its version and with what the browser loads.
pub fn build_id() -> String {
    BUILD.clone()
}

/// Whether the browser's part is there at all.
pub fn present() -> bool {
    Site::get("pkg/longhaul.wasm").is_some()
}

/// Serves `/pkg/<build>/<name>`. An old build's page gets what there is now; it will notice.
pub async fn package(path: Result<Path<(String, String)>, PathRejection>, headers: HeaderMap) -> Response {
    let Ok(Path((build, name))) = path else { return no_such_file() };
    let keep = if build == *BUILD { "public, max-age=31536000, immutable" } else { "no-store" };
    file(&format!("pkg/{name}"), &headers, keep)
}

/// Serves a file of `public/`.
pub async fn public(name: &'static str, headers: HeaderMap) -> Response {
    file(name, &headers, "public, max-age=3600")
}

fn no_such_file() -> Response {
    (StatusCode::NOT_FOUND, "There is no such file.\n").into_response()
}

fn file(name: &str, headers: &HeaderMap, keep: &'static str) -> Response {
    let accepts = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let takes = |coding: &str| accepts.split(',').any(|part| part.trim().split(';').next() == Some(coding));
    let (found, coding): (Option<EmbeddedFile>, Option<&str>) = [("br", ".br"), ("gzip", ".gz")]
        .into_iter()
        .filter(|(coding, _)| takes(coding))
        .find_map(|(coding, ending)| {
            Site::get(&format!("{name}{ending}")).map(|file| (Some(file), Some(coding)))
        })
        .unwrap_or_else(|| (Site::get(name).or_else(|| Public::get(name)), None));
    let Some(found) = found else {
        return no_such_file();
    };
    let kind = match name.rsplit('.').next() {
        Some("js") => "text/javascript",
        Some("wasm") => "application/wasm",
        Some("css") => "text/css",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    };
    // What is in the program is sent from there, however many ask for it and do not read it.
    let bytes = match found.data {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    };
    let headers = [(CONTENT_TYPE, kind), (CACHE_CONTROL, keep), (VARY, "accept-encoding")];
    let mut response = (headers, bytes).into_response();
    if let Some(coding) = coding {
        response.headers_mut().insert(CONTENT_ENCODING, axum::http::HeaderValue::from_static(coding));
    }
    response
}
