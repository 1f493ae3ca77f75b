//! The one router, and the list of everything it answers.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use tower::ServiceBuilder;
use tower::util::BoxCloneSyncService;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

use super::compress::CompressLayer;
use super::forms::{OwnFormsLayer, PageLayer};
use super::gate::GateLayer;
use super::intake::{IntakeLayer, IntakeLimits};
use super::{api, assets, pages, security};
use crate::http::{ApiError, AppState, SignedIn, body_limit};
use crate::model::{Permission, visible};
use crate::view::ApiReference;

/// A page that is not rendered by then is given up.
const PAGE_TIMEOUT: Duration = Duration::from_secs(20);

/// Everything the server answers, as method and path. What is not listed here is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routes(pub Vec<(String, String)>);

/// Names the build, for [`ServiceSettings`](crate::service::ServiceSettings).
pub fn build_id() -> String {
    assets::build_id()
}

/// Whether the browser's part of the program was built.
pub fn has_assets() -> bool {
    assets::present()
}

/// The API's description.
pub fn openapi() -> utoipa::openapi::OpenApi {
    api::routes().1
}

/// Everything the server answers.
pub fn routes() -> Routes {
    let mut routes: Vec<(String, String)> = [
        ("GET", "/"),
        ("GET", "/admin"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/favicon.svg"),
        ("GET", "/robots.txt"),
        ("GET", "/pkg/{build}/{name}"),
        ("GET", "/api/openapi.json"),
        ("GET", "/api/docs/"),
    ]
    .map(|(method, path)| (method.to_owned(), path.to_owned()))
    .into();
    for (path, item) in openapi().paths.paths {
        for (method, operation) in [
            ("GET", &item.get),
            ("POST", &item.post),
            ("PUT", &item.put),
            ("DELETE", &item.delete),
            ("PATCH", &item.patch),
        ] {
            if operation.is_some() {
                routes.push((method.to_owned(), path.clone()));
            }
        }
    }
    routes.extend(pages::paths().into_iter().map(|path| ("GET".to_owned(), path)));
    routes.extend(
        leptos::server_fn::axum::server_fn_paths()
            .map(|(path, method)| (method.to_string(), path.to_owned())),
    );
    routes.sort();
    routes.dedup();
    Routes(routes)
}

/// Everything the server answers, behind what every request passes.
pub type Site = BoxCloneSyncService<Request, Response, Infallible>;

/// The router, and around it what every request passes.
pub fn build(app: AppState) -> Site {
    let (api, document) = api::routes();
    let description = serde_json::to_value(&document).unwrap_or_default();
    let reference = Arc::new(ApiReference::of(&description));
    let description = Bytes::from(description.to_string());
    let pages = pages::routes(&app, reference)
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, PAGE_TIMEOUT));
    let router = Router::new()
        .merge(pages)
        .merge(api)
        .route(
            "/api/openapi.json",
            get(move || async move { ([(CONTENT_TYPE, "application/json")], description) }),
        )
        .route("/api/docs/", get(|| async { Redirect::permanent("/api/docs") }))
        .route("/", get(|| async { Redirect::to("/admin/jobs") }))
        .route("/admin", get(|| async { Redirect::to("/admin/jobs") }))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/pkg/{build}/{name}", get(assets::package))
        .route("/favicon.svg", get(|headers: HeaderMap| assets::public("favicon.svg", headers)))
        .route("/robots.txt", get(|headers: HeaderMap| assets::public("robots.txt", headers)))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .with_state(app.clone());
    // Around the router rather than layers of it, which it boxes and copies for each request and each route.
    // The first is the outermost.
    let https = app.settings.secure_cookie();
    let site = ServiceBuilder::new()
        .map_response(move |response: axum::http::Response<_>| {
            security::secured(response.map(Body::new), https)
        })
        .layer(CatchPanicLayer::custom(panicked))
        .layer(CompressLayer)
        .layer(PageLayer(app.service.board().build().into()))
        .layer(OwnFormsLayer(app.settings.public_origin()))
        .layer(GateLayer(app))
        .layer(IntakeLayer::new(IntakeLimits::default()))
        // One route has a larger limit of its own.
        .layer(body_limit())
        .service(router);
    BoxCloneSyncService::new(site)
}

/// What is answered where no route is.
async fn not_found(request: Request) -> Response {
    let path = request.uri().path().to_owned();
    ApiError::request(
        StatusCode::NOT_FOUND,
        "no_such_path",
        format!("There is nothing at {path}. `/api/docs` lists what there is."),
    )
    .into_response()
}

/// What is answered where a route is, but not for that method.
async fn wrong_method(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    ApiError::request(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("{path} does not answer {method}. `/api/docs` lists what there is."),
    )
    .into_response()
}

async fn ready(State(app): State<AppState>, SignedIn(caller): SignedIn) -> Result<&'static str, ApiError> {
    caller.must(Permission::Read).map_err(ApiError::from)?;
    app.service.ready().await?;
    Ok("ready\n")
}

#[expect(clippy::needless_pass_by_value, reason = "the layer hands it over")]
fn panicked(panic: Box<dyn std::any::Any + Send>) -> axum::response::Response {
    let what = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a word");
    tracing::error!(panic = %visible(what, false), "A request panicked");
    ApiError::request(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal_error",
        "Something went wrong in the server. Its log says what.",
    )
    .into_response()
}
