//! `/admin/jobs/{id}`: one job in full.

use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::hooks::use_params_map;

use super::{Visit, page, query, title_text};
use crate::app::islands::LiveJob;
use crate::model::{JobId, LineKind, LogFilter, Refusal};
use crate::rpc::LogView;
use crate::service::ServiceError;
use crate::store::{LogFrom, LogQuery};

/// How many lines a page begins with.
const LINES: usize = 200;
/// How many lines before the one asked for are shown with it.
const BEFORE: u64 = 5;

struct Asked {
    id: String,
    log: LogView,
    unfolded: bool,
    from: Option<u64>,
    before: Option<u64>,
    ask: Option<String>,
}

/// One job in full.
#[component]
pub fn JobPage() -> impl IntoView {
    let asked = Asked {
        id: use_params_map().read_untracked().get("id").unwrap_or_default(),
        log: LogView {
            kind: query("level").and_then(|name| LineKind::from_name(&name)),
            step: query("step"),
            text: query("q"),
        },
        unfolded: query("steps").as_deref() == Some("all"),
        from: query("from").and_then(|seq| seq.parse().ok()),
        before: query("before").and_then(|seq| seq.parse().ok()),
        ask: query("ask").filter(|ask| ask == "abort" || ask == "force-fail"),
    };
    page(move |visit| draw(visit, asked))
}

async fn draw(visit: Visit, asked: Asked) -> Result<AnyView, ServiceError> {
    let Visit { service, caller, .. } = &visit;
    let id: JobId = asked
        .id
        .parse()
        .map_err(|_| ServiceError::NotFound("There is no such job: a job's id is a UUID.".to_owned()))?;
    let initial = service.job_page(caller, id, asked.unfolded).await?;
    let from = match (asked.from, asked.before) {
        (Some(seq), _) => LogFrom::After(seq.saturating_sub(BEFORE + 1)),
        (None, Some(seq)) => LogFrom::Before(seq),
        (None, None) => LogFrom::End,
    };
    let filter = LogFilter::from(asked.log.clone());
    let query = LogQuery { filter: filter.clone(), from, limit: LINES, count: true };
    let log = service.read_log(caller, id, query).await.map_err(|error| match error {
        ServiceError::Refused(Refusal::NotFound { .. }) => {
            ServiceError::NotFound("The job was just removed by the history limits.".to_owned())
        }
        other => other,
    })?;
    let first_error = match initial.counts.error {
        0 => None,
        _ => service.first_error(caller, id).await?,
    };
    // Whether there is more than is shown, on either side.
    let (older, newer) = match from {
        LogFrom::End => (log.more, false),
        LogFrom::Before(_) => (log.more, true),
        LogFrom::After(seq) => {
            let reached = log.lines.first().map_or(seq + 1, |line| line.seq);
            let before = LogQuery { filter, from: LogFrom::Before(reached), limit: 1, count: false };
            (!service.read_log(caller, id, before).await?.lines.is_empty(), log.more)
        }
    };
    let title = title_text(&format!("{} · Longhaul", crate::model::visible(&initial.row.title, false)));
    Ok(view! {
        <Title text=title />
        <LiveJob
            initial
            lines=log.lines
            total=log.total.unwrap_or(0)
            older
            newer
            first_error
            log=asked.log
            marked=asked.from
            unfolded=asked.unfolded
            ask=asked.ask
            may_recover=visit.may_recover()
        />
    }
    .into_any())
}
