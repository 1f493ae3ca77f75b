//! The one gate every request passes. The server is closed by default: it lets in only whoever it recognises.
//!
//! Nothing is open unless it is named here. A request that is let through anonymously carries no caller,
//! and whatever asks for one refuses it again.

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::http::Method;
use axum::http::header::ACCEPT;
use axum::response::{IntoResponse, Redirect, Response};
use futures::FutureExt as _;
use futures::future::{BoxFuture, Either};
use tower::{Layer, Service, ServiceExt as _};

use crate::http::{ApiError, AppState, credential, percent_encode};
use crate::service::{Credential, ServiceError};

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
