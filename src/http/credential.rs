//! Who is calling, as a request shows it: a bearer token, or the session's cookie.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::cookies::session_cookie;
use super::error::ApiError;
use crate::service::{Caller, Credential, ServiceError};

/// The credential a request shows; a token before a cookie. Another scheme than `Bearer` is meant for a
/// proxy in front of us, and takes nothing from the cookie beside it.
pub fn credential(headers: &HeaderMap, secure: bool) -> Option<Credential> {
    let token = headers.get_all(AUTHORIZATION).iter().find_map(|value| bearer(value.as_bytes()));
    token.map(Credential::Token).or_else(|| session_cookie(headers, secure).map(Credential::Session))
}

/// What stands behind `Bearer`. What cannot be read is no token of ours, and yet one that somebody sent.
fn bearer(value: &[u8]) -> Option<String> {
    let end = value.iter().position(u8::is_ascii_whitespace).unwrap_or(value.len());
    let (scheme, token) = value.split_at(end);
    let token = || std::str::from_utf8(token.trim_ascii()).unwrap_or_default().to_owned();
    scheme.eq_ignore_ascii_case(b"bearer").then(token)
}

/// The caller of a request; refused where there is none.
pub struct SignedIn(pub Caller);

impl<S: Send + Sync> FromRequestParts<S> for SignedIn {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts
            .extensions
            .get::<Caller>()
            .cloned()
            .map(Self)
            .ok_or_else(|| ServiceError::Unauthenticated.into())
    }
}
