//! `/admin/jobs`: what needs a person, what runs, what has ended.

use leptos::prelude::*;
use leptos_meta::Title;

use super::past_filters::PastFilters;
use super::{Visit, page, query, title_text};
use crate::app::components::StartPanel;
use crate::app::islands::{
    Begin, BoardProps, Lead, LiveBoard, Needs, OpenCount, OpenTable, PastCount, PastTable, Tiles, Updated,
};
use crate::model::{Status, visible};
use crate::rpc::{PastFilter, read_past};
use crate::service::ServiceError;
use crate::view::{jobs_title, urgent};

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
        {page(move |visit| draw(visit, filter, starting))}
    }
}

async fn draw(visit: Visit, filter: PastFilter, starting: bool) -> Result<AnyView, ServiceError> {
    let Visit { service, caller, .. } = &visit;
    let features = service.features(caller).await?;
    let of_feature = filter.feature.as_ref().map(|feature| {
        features.iter().find(|row| row.feature == *feature).map(|row| row.counts).unwrap_or_default()
    });
    let may_recover = visit.may_recover();
    let view = service.board_view(caller)?;
    let shown =
        view.rows.iter().filter(|row| filter.feature.as_ref().is_none_or(|name| row.feature == *name));
    let count = urgent(&shown.cloned().collect::<Vec<_>>(), view.now);
    let label = visit.label.as_ref().map(|label| label.text.clone());
    let title = title_text(&jobs_title(count, label.as_deref()));
    let props = BoardProps {
        view,
        past: read_past(service, caller, filter.clone()).await?,
        filter: filter.clone(),
        of_feature,
        may_recover,
        label,
    };
    let built_in: Vec<_> = service
        .built_in()
        .iter()
        .map(|job| (job.feature().to_owned(), job.title().to_owned(), job.summary().to_owned()))
        .collect();
    let features: Vec<String> = features.into_iter().map(|row| row.feature).collect();
    let crumbs = filter.feature.as_ref().map(|feature| {
        view! {
            <p>
                <a href="/admin/jobs">"Jobs"</a>
                " / "
                {visible(feature, false).into_owned()}
            </p>
        }
    });
    let actions = may_recover.then(|| {
        view! {
            <div class="actions">
                <StartPanel built_in open=starting />
                <a class="button danger" href="/admin/jobs/emergency-cleanup">
                    "Emergency cleanup…"
                </a>
            </div>
        }
    });
    let sweep = may_recover.then(|| {
        view! {
            <form method="post" action="/rpc/system/sweep">
                <button class="quiet" title="End the jobs that are stale, now">
                    "Sweep now"
                </button>
            </form>
        }
    });
    Ok(view! {
        <Title text=title />
        <Begin with=props />
        <LiveBoard>
            <div class="headline">
                <div>{crumbs} <Lead /></div>
                {actions}
            </div>
            <Needs />
            <Tiles />
            <section class="card" id="running-card" aria-labelledby="running">
                <header>
                    <h2 id="running">"Running" <OpenCount /></h2>
                    <div class="actions">
                        <Updated />
                        {sweep}
                    </div>
                </header>
                <OpenTable>
                    <div class="empty">
                        <p>"Nothing is running."</p>
                        <p class="sub">
                            "Start a built-in job above, or wrap a command: "
                            <code>"longhaul exec -- ./import.sh"</code>
                        </p>
                    </div>
                </OpenTable>
            </section>
            <section class="card" aria-labelledby="past">
                <header>
                    <h2 id="past">"Past" <PastCount /></h2>
                </header>
                <PastFilters filter features />
                <PastTable />
            </section>
        </LiveBoard>
    }
    .into_any())
}
