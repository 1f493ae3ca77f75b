//! A file a page. Each reads its address, asks the services, and draws what it got.

mod account;
mod api_reference;
mod emergency_cleanup;
mod job;
mod log_filters;
mod not_found;
mod overview;
mod past_filters;
mod sign_in;
mod top_bar;

use std::sync::Arc;

use axum::extract::Query;
use axum::http::StatusCode;
use axum::http::request::Parts;
use leptos::prelude::*;
use leptos_axum::ResponseOptions;
use leptos_meta::Title;
use leptos_router::components::{FlatRoutes, Route, Router};
use leptos_router::{SsrMode, path};

use self::top_bar::TopBar;
use crate::app::components::NoticeBar;
use crate::http::status_of;
use crate::model::{Label, Permission};
use crate::rpc::{Notice, RpcError, caller, service, settings};
use crate::service::{Caller, Service, ServiceError};
use crate::view::tab_title;

/// The pages, by address.
#[component]
pub fn Pages() -> impl IntoView {
    view! {
        <Router>
            <FlatRoutes fallback=not_found::NotFound>
                <Route path=path!("/login") view=sign_in::SignInPage ssr=SsrMode::Async />
                <Route path=path!("/admin/jobs") view=overview::Overview ssr=SsrMode::Async />
                <Route
                    path=path!("/admin/jobs/emergency-cleanup")
                    view=emergency_cleanup::EmergencyCleanupPage
                    ssr=SsrMode::Async
                />
                <Route path=path!("/admin/account") view=account::AccountPage ssr=SsrMode::Async />
                <Route path=path!("/admin/jobs/:id") view=job::JobPage ssr=SsrMode::Async />
                <Route path=path!("/api/docs") view=api_reference::ApiReferencePage ssr=SsrMode::Async />
                <Route path=path!("/admin/*any") view=not_found::NotFound ssr=SsrMode::Async />
            </FlatRoutes>
        </Router>
    }
}

/// A value of the address, where it says something. Read from the request: the router's own map decodes
/// twice, so that a text with `%41` in it would become another.
fn query(name: &str) -> Option<String> {
    let uri = use_context::<Parts>()?.uri;
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&uri).ok()?;
    let value = pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value)?;
    Some(value).filter(|value| !value.trim().is_empty())
}

/// What just happened, where the address says so.
fn notice() -> Option<Notice> {
    let now = service().ok()?.now();
    Notice::at(&query("notice")?, query("until").as_deref(), now)
}

/// A title that holds what a visitor wrote: it is put into the document as it is, so markup must be
/// written out here.
fn title_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// What this server is called.
fn label() -> Option<Label> {
    settings().ok()?.label.clone()
}

/// A page's title, which says which server it is of.
fn tab(what: &str) -> String {
    title_text(&tab_title(what, label().map(|label| label.text).as_deref()))
}

/// Sets the status of the page being rendered.
fn set_status(status: StatusCode) {
    if let Some(response) = use_context::<ResponseOptions>() {
        response.set_status(status);
    }
}

/// What a page works with: taken from the context before anything is awaited.
#[derive(Clone)]
struct Visit {
    service: Arc<Service>,
    caller: Caller,
    label: Option<Label>,
    response: Option<ResponseOptions>,
}

impl Visit {
    fn here() -> Result<Self, RpcError> {
        let response = use_context::<ResponseOptions>();
        Ok(Self { service: service()?, caller: caller()?, label: label(), response })
    }

    fn may_recover(&self) -> bool {
        self.caller.role.may(Permission::Recover)
    }

    /// A page whose data could not be had.
    fn trouble(&self, error: &ServiceError) -> AnyView {
        if let Some(response) = &self.response {
            response.set_status(status_of(error));
        }
        trouble(error.to_string())
    }
}

fn trouble(text: String) -> AnyView {
    view! {
        <Title text=tab("This page cannot be shown") />
        <section class="card empty">
            <h1>"This page cannot be shown"</h1>
            <p>{text}</p>
            <p>
                <a class="button" href="/admin/jobs">"Back to the jobs"</a>
            </p>
        </section>
    }
    .into_any()
}

/// Renders a page for whoever is signed in: the bar, what just happened, and what `draw` makes of it.
fn page<Drawing>(draw: impl FnOnce(Visit) -> Drawing + Send + 'static) -> AnyView
where
    Drawing: Future<Output = Result<AnyView, ServiceError>> + Send + 'static,
{
    let visit = match Visit::here() {
        Ok(visit) => visit,
        Err(error) => return trouble(error.error),
    };
    let notice = notice();
    let (name, role) = (visit.caller.actor.name.clone(), visit.caller.role);
    let reference = use_context::<Parts>().is_some_and(|parts| parts.uri.path() == "/api/docs");
    let drawing = draw(visit.clone());
    view! {
        <a class="skip" href="#main">"Skip to the content"</a>
        <TopBar name role=role.name() label=label() reference />
        <main id="main" tabindex="-1">
            {notice.map(|notice| view! { <NoticeBar text=notice.text refused=notice.refused /> })}
            <Suspense>
                {Suspend::new(async move {
                    match drawing.await {
                        Ok(view) => view,
                        Err(error) => visit.trouble(&error),
                    }
                })}
            </Suspense>
        </main>
    }
    .into_any()
}
