//! `/admin/jobs`: what needs a person, what runs, what has ended.

use leptos::prelude::*;
use leptos_meta::Title;

use super::{Visit, page, query};
use crate::app::components::StartPanel;
use crate::app::islands::LiveBoard;
use crate::model::Status;
use crate::rpc::{PastFilter, read_past};
use crate::service::ServiceError;

/// The overview.
#[component]
pub fn Overview() -> impl IntoView {
    let filter = PastFilter {
        feature: query("feature"),
        status: query("status")
            .and_then(|status| status.parse().ok())
            .filter(|status: &Status| status.is_final()),
        author: query("author"),
        text: query("q"),
        cursor: query("cursor"),
    };
    let starting = query("ask").as_deref() == Some("start");
    view! {
        <Title text="Jobs · Longhaul" />
        {page(move |visit| draw(visit, filter, starting))}
    }
}

async fn draw(visit: Visit, filter: PastFilter, starting: bool) -> Result<AnyView, ServiceError> {
    let Visit { service, caller, .. } = &visit;
    let initial = service.board_view(caller)?;
    let past = read_past(service, caller, filter.clone()).await?;
    let features = service.features(caller).await?;
    let features: Vec<_> = features.into_iter().map(|row| (row.feature, row.counts)).collect();
    let may_recover = visit.may_recover();
    let built_in: Vec<_> = service
        .built_in()
        .iter()
        .map(|job| (job.feature().to_owned(), job.title().to_owned(), job.summary().to_owned()))
        .collect();
    Ok(view! {
        <LiveBoard initial past filter features may_recover>
            {may_recover
                .then(|| {
                    view! {
                        <StartPanel built_in open=starting />
                        <a class="button danger" href="/admin/jobs/emergency-cleanup">
                            "Emergency cleanup…"
                        </a>
                    }
                })}
        </LiveBoard>
    }
    .into_any())
}
