//! The one gate every request passes. The server is closed by default: it lets in only whoever it recognises.
//!
//! Nothing is open unless it is named here. A request that is let through anonymously carries no caller,
//! and whatever asks for one refuses it again.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::http::header::{CONNECTION, REFERER};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use futures::FutureExt as _;
use futures::future::{BoxFuture, Either, ready};
use tower::{Layer, Service, ServiceExt as _};

use super::connections::{Connection, ShareTaken};
use crate::http::{
    ApiError, AppState, ClientAddress, client_address, credential, percent_encode, wants_html,
};
use crate::service::{Caller, Credential, ServiceError};

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
/// When to come again, in seconds, where a credential has too many connections.
const SHARE_SECONDS: u64 = 5;

fn is_open(path: &str) -> bool {
    OPEN_PATHS.contains(&path) || OPEN_FOLDERS.iter().any(|folder| path.starts_with(folder))
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
        let settings = &self.app.settings;
        let client = client_address(request.extensions(), request.headers(), &settings.trusted_proxies);
        if let Some(client) = client {
            request.extensions_mut().insert(client);
        }
        let credential = credential(settings, request.headers());
        match credential.as_ref().and_then(|credential| self.app.service.remembered(credential)) {
            Some(caller) => match let_in(&mut request, caller, client) {
                Ok(()) => Either::Left(self.inner.call(request)),
                Err(refusal) => Either::Right(ready(Ok(refusal)).boxed()),
            },
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
            let client = request.extensions().get().copied();
            match let_in(&mut request, caller, client) {
                Ok(()) => inner.oneshot(request).await,
                Err(refusal) => Ok(refusal),
            }
        }
        Err(_) if is_open(request.uri().path()) => inner.oneshot(request).await,
        // A browser is shown the way in, and comes back from there; a program is told what is missing.
        Err(ServiceError::Unauthenticated) if wants_html(request.uri().path(), request.headers()) => {
            let next = percent_encode(&back_to(&request));
            Ok(Redirect::to(&format!("/login?next={next}")).into_response())
        }
        Err(error) => Ok(ApiError::from(error).into_response()),
    }
}

/// Notes who is calling, and from where. Refused where the credential has its share of the connections already.
#[expect(clippy::result_large_err, reason = "it is answered at once")]
fn let_in(request: &mut Request, caller: Caller, client: Option<ClientAddress>) -> Result<(), Response> {
    if let Some(connection) = request.extensions().get::<Arc<Connection>>() {
        connection.signed_in(caller.credential).map_err(share_taken)?;
    }
    let caller = Caller { from: client.map(|client| client.0), ..caller };
    request.extensions_mut().insert(caller);
    Ok(())
}

/// Says so, and closes the connection.
fn share_taken(ShareTaken { most }: ShareTaken) -> Response {
    let refusal = ApiError::request(
        StatusCode::TOO_MANY_REQUESTS,
        "too_many_connections",
        format!(
            "{most} connections are open with this credential, as many as one may have. Close some, or send one \
             request after another on each; --max-connections says how many there may be in all."
        ),
    );
    let mut response = refusal.retry_after(SHARE_SECONDS).into_response();
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Where whoever signs in goes on: to the page that was asked for, or to the one that a form was sent from.
fn back_to(request: &Request) -> String {
    if matches!(*request.method(), Method::GET | Method::HEAD) && !request.uri().path().starts_with("/rpc/") {
        return request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
    }
    let from = request.headers().get(REFERER).and_then(|from| from.to_str().ok());
    let from = from.and_then(|from| from.parse::<Uri>().ok());
    let path = from.as_ref().and_then(|from| from.path_and_query()).map(|target| target.as_str());
    path.filter(|path| path.starts_with("/admin")).unwrap_or("/admin/jobs").to_owned()
}
