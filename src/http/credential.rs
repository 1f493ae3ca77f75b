//! Who is calling, as a request shows it: a bearer token, or the session's cookie.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::http::request::Parts;

use super::cookies::Cookies;
use super::error::ApiError;
use crate::model::Permission;
use crate::service::{Caller, Credential, ServiceError};
use crate::settings::Settings;

/// The credential a request shows; a token before a cookie. Another scheme than `Bearer` is meant for a
/// proxy in front of us, and takes nothing from the cookie beside it.
pub fn credential(settings: &Settings, headers: &HeaderMap) -> Option<Credential> {
    let token = headers.get_all(AUTHORIZATION).iter().find_map(|value| bearer(value.as_bytes()));
    if token.is_some() || !headers.contains_key(COOKIE) {
        return token.map(Credential::Token);
    }
    let sessions = Cookies::of(settings, headers).sessions(headers);
    (!sessions.is_empty()).then_some(Credential::Session(sessions))
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

/// What a handler takes. Named by a type, so that it stands among a handler's arguments and before the body:
/// whoever may not do it has nothing read.
pub trait Needs {
    /// The permission.
    const PERMISSION: Permission;
}

macro_rules! needs {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        $($(#[$doc])*
        pub struct $name;

        impl Needs for $name {
            const PERMISSION: Permission = Permission::$name;
        })*
    };
}

needs!(
    /// Start a job.
    Start,
    /// Report on a job. Whose it is, is asked when it is known which.
    ReportOwn,
    /// Abort, force-fail, clean up.
    Recover,
    /// Manage users and tokens.
    ManageAccounts,
);

/// A caller that may do something; refused where it may not.
pub struct Allowed<N>(pub Caller, pub PhantomData<N>);

impl<S: Send + Sync, N: Needs> FromRequestParts<S> for Allowed<N> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let SignedIn(caller) = SignedIn::from_request_parts(parts, state).await?;
        caller.must(N::PERMISSION)?;
        Ok(Self(caller, PhantomData))
    }
}
