//! Who is calling: the one gate every request passes (DESIGN decision 11).
//!
//! Nothing is open unless it is named here. A request that is let through anonymously carries no caller,
//! and whatever asks for one refuses it again.

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::extract::{FromRequestParts, Request};
use axum::http::header::{ACCEPT, AUTHORIZATION, COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::cookie::{Cookie, SameSite};
use futures::FutureExt as _;
use futures::future::{BoxFuture, Either};
use tower::{Layer, Service, ServiceExt as _};

use super::api::error::ApiError;
use super::router::AppState;
use crate::service::{Caller, Credential, ServiceError, SessionSecret};

/// The session's cookie over https: the prefix makes browsers insist on `Secure`, `Path=/` and no domain.
pub const HOST_COOKIE: &str = "__Host-longhaul";
/// The session's cookie over plain http on loopback, where browsers refuse the prefix.
pub const PLAIN_COOKIE: &str = "longhaul";

/// What anybody may ask for: the way in, static files, and whether the process lives.
pub const OPEN_PATHS: [&str; 6] = [
    "/login",
    "/healthz",
    "/favicon.svg",
    "/robots.txt",
    "/rpc/session/sign-in",
    "/rpc/session/choose-password",
];
/// As [`OPEN_PATHS`], for whole folders.
pub const OPEN_FOLDERS: [&str; 1] = ["/pkg/"];

fn is_open(path: &str) -> bool {
    OPEN_PATHS.contains(&path) || OPEN_FOLDERS.iter().any(|folder| path.starts_with(folder))
}

/// The credential a request shows; a token before a cookie. Another scheme than `Bearer` is meant for a
/// proxy in front of us, and takes nothing from the cookie beside it.
fn credential(headers: &HeaderMap, secure: bool) -> Option<Credential> {
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

/// What the session's cookie is called. Over https only the prefixed name counts: any host beside ours, and
/// whoever sits on a plain connection, can set the other.
const fn cookie_name(secure: bool) -> &'static str {
    if secure { HOST_COOKIE } else { PLAIN_COOKIE }
}

/// The value of the session's cookie. Read as bytes: other programs' cookies come along in the same header,
/// and not all are ASCII.
pub fn session_cookie(headers: &HeaderMap, secure: bool) -> Option<String> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    let mut values = pairs.filter_map(|pair| {
        pair.trim_ascii().strip_prefix(cookie_name(secure).as_bytes())?.strip_prefix(b"=")
    });
    values.find_map(|value| std::str::from_utf8(value).ok().map(str::to_owned))
}

/// What sets the cookie of a new session.
pub fn new_cookie(session: &SessionSecret, secure: bool) -> impl Iterator<Item = HeaderValue> {
    let lasts = i64::try_from(session.lasts.as_secs()).unwrap_or(i64::MAX);
    set_cookie(session.secret.clone(), lasts, secure)
}

/// What takes the cookie away.
pub fn no_cookie(secure: bool) -> impl Iterator<Item = HeaderValue> {
    set_cookie(String::new(), 0, secure)
}

/// Sets the cookie, and over https takes away one without the prefix, left from before there was TLS. The
/// other way about a browser would refuse to: over plain http no secure cookie can be touched.
fn set_cookie(value: String, seconds: i64, secure: bool) -> impl Iterator<Item = HeaderValue> {
    let cookie = |name: &'static str, value: String, seconds: i64| {
        let cookie = Cookie::build((name, value))
            .path("/")
            .http_only(true)
            .secure(secure)
            // Lax: a link from a mail opens the dashboard signed in; a form from elsewhere never posts here.
            .same_site(SameSite::Lax)
            .build();
        HeaderValue::from_str(&format!("{cookie}; Max-Age={seconds}")).ok()
    };
    let stale = if secure { cookie(PLAIN_COOKIE, String::new(), 0) } else { None };
    cookie(cookie_name(secure), value, seconds).into_iter().chain(stale)
}

/// Puts the [`Gate`] before a service.
#[derive(Clone)]
pub struct GateLayer(pub AppState);

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { inner, app: self.0.clone() }
    }
}

/// The gate. A service of its own and no `from_fn`: whoever was let through a moment ago passes without
/// being asked again, and costs no allocation.
#[derive(Clone)]
pub struct Gate<S> {
    inner: S,
    app: AppState,
}

impl<S> Service<Request> for Gate<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let credential = credential(request.headers(), self.app.settings.secure_cookie());
        match credential.as_ref().and_then(|credential| self.app.service.remembered(credential)) {
            Some(caller) => {
                request.extensions_mut().insert(caller);
                Either::Left(self.inner.call(request))
            }
            None => Either::Right(ask(self.inner.clone(), self.app.clone(), credential, request).boxed()),
        }
    }
}

/// Lets a request through, where it may pass.
async fn ask<S: Service<Request, Response = Response, Error = Infallible>>(
    inner: S,
    app: AppState,
    credential: Option<Credential>,
    mut request: Request,
) -> Result<Response, Infallible> {
    let recognised = match &credential {
        Some(credential) => app.service.recognise(credential).await,
        None => Err(ServiceError::Unauthenticated),
    };
    match recognised {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            inner.oneshot(request).await
        }
        Err(_) if is_open(request.uri().path()) => inner.oneshot(request).await,
        // A browser that comes to a page is shown the way in; everything else is told what is missing.
        Err(ServiceError::Unauthenticated) if wants_page(&request) => {
            let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
            let target = percent_encode(target);
            Ok(Redirect::to(&format!("/login?next={target}")).into_response())
        }
        Err(error) => Ok(ApiError::from(error).into_response()),
    }
}

fn wants_page(request: &Request) -> bool {
    let path = request.uri().path();
    let html = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
    let page = !path.starts_with("/api/admin") && !path.starts_with("/rpc/");
    page && request.method() == Method::GET && html.is_some_and(|accept| accept.contains("text/html"))
}

/// Text as it may stand in a query.
pub fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'/') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
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

/// What is answered where no route is.
pub async fn not_found(request: Request) -> Response {
    let path = request.uri().path().to_owned();
    ApiError::request(
        StatusCode::NOT_FOUND,
        "no_such_path",
        format!("There is nothing at {path}. `/api/docs` lists what there is."),
    )
    .into_response()
}

/// What is answered where a route is, but not for that method.
pub async fn wrong_method(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    ApiError::request(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("{path} does not answer {method}. `/api/docs` lists what there is."),
    )
    .into_response()
}
