//! `/admin/jobs/{id}`: one job in full.

use std::time::Duration;

use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::hooks::use_params_map;

use super::log_filters::LogSearch;
use super::{Visit, page, query, title_text};
use crate::app::components::{AskDialog, MoreTimeDialog, TimeAt, encode, past_address};
use crate::app::islands::{
    Begin, CopyLog, Deeds, FactList, JobActions, JobBar, JobHead, JobProps, LineCount, LiveJob, LogKinds,
    LogLines, LogZone, StepCard,
};
use crate::model::{JobFilter, JobId, Label, LineKind, LogFilter, PageSize, Refusal, Status, visible};
use crate::rpc::{LogView, PastFilter};
use crate::service::ServiceError;
use crate::store::{LogFrom, LogQuery};
use crate::view::{duration, tab_title};

/// How many lines a page begins with.
const LINES: usize = 200;
/// How many lines before the one asked for are shown with it.
const BEFORE: u64 = 5;

/// The line somebody came for.
enum From {
    Line(u64),
    FirstError,
    /// The error it ended with.
    Failure,
}

struct Asked {
    id: String,
    log: LogView,
    unfolded: bool,
    from: Option<From>,
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
        from: query("from").and_then(|from| match from.as_str() {
            "error" => Some(From::FirstError),
            "failure" => Some(From::Failure),
            seq => seq.parse().ok().map(From::Line),
        }),
        before: query("before").and_then(|seq| seq.parse().ok()),
        ask: query("ask").filter(|ask| ["abort", "more-time", "force-fail"].contains(&ask.as_str())),
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
    let marked = match asked.from {
        Some(From::Line(seq)) => Some(seq),
        Some(From::FirstError) => service.first_error(caller, id).await?,
        Some(From::Failure) => {
            let filter = LogFilter { kinds: vec![LineKind::Error], ..LogFilter::default() };
            let query = LogQuery { filter, from: LogFrom::End, limit: 1, count: false };
            service.read_log(caller, id, query).await?.lines.first().map(|line| line.seq)
        }
        None => None,
    };
    let from = match (marked, asked.before) {
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
    let title = visible(&initial.row.title, false).into_owned();
    let feature = initial.row.feature.clone();
    let (ended, pinned) = (initial.row.status.is_final(), initial.pinned);
    let input = service.job_input(caller, id).await?;
    let more_time = service.more_time_offered(caller, id).await?;
    let props = JobProps {
        view: initial,
        lines: log.lines,
        total: log.total.unwrap_or(0),
        older,
        newer,
        log: asked.log.clone(),
        marked,
        unfolded: asked.unfolded,
        ask: asked.ask.as_ref().map(|ask| format!("ask-{ask}")),
        label: visit.label.as_ref().map(|label| label.text.clone()),
    };
    let narrowed = PastFilter { feature: Some(feature.clone()), ..PastFilter::default() };
    let can_pin = visit.may_recover() && ended;
    let (can_act, ask, asked_title) = (visit.may_recover() && !ended, asked.ask, title.clone());
    let label = visit.label.clone();
    let dialog_label = label.clone();
    let built_in = service.built_in().iter().any(|job| job.feature() == feature);
    let again = (visit.may_recover() && ended && built_in).then(|| run_again(&feature, input.as_deref()));
    let usual = usual(&visit, &feature).await?;
    let download = download_address(id, &asked.log);
    Ok(view! {
        <Title text=title_text(&tab_title(&title, label.as_ref().map(|label| label.text.as_str()))) />
        <Begin with=props />
        <LiveJob>
            <div class="headline">
                <div>
                    <p>
                        <a href="/admin/jobs">"Jobs"</a>
                        " / "
                        <a href=past_address(&narrowed, None, None)>{visible(&feature, false).into_owned()}</a>
                    </p>
                    <JobHead />
                </div>
                // Made here and not before: an island finds what its page knows only within it.
                {again}
                {can_act.then(|| actions(id, asked_title, ask, more_time, dialog_label))}
            </div>
            <div>
                <JobBar />
            </div>
            <div class="two">
                <div class="stack">
                    <StepCard />
                    <section class="card fact-card" aria-labelledby="facts">
                        <header>
                            <h2 id="facts">"Facts"</h2>
                            {can_pin.then(|| pin(id, pinned))}
                        </header>
                        {usual}
                        <FactList />
                    </section>
                    <Deeds />
                </div>
                <section class="card log-card" id="log" aria-labelledby="log-title">
                    <header>
                        <h2 id="log-title">"Log" <LineCount /></h2>
                        <LogKinds />
                    </header>
                    <LogSearch id log=asked.log />
                    <div class="log-tools">
                        <LogZone />
                        <div class="actions">
                            <CopyLog />
                            <a class="button quiet" href=download download=format!("job-{id}.txt")>
                                "Download"
                            </a>
                        </div>
                    </div>
                    <LogLines />
                </section>
            </div>
        </LiveJob>
    }
    .into_any())
}

/// The log as a text file, with the lines that the page shows.
fn download_address(id: JobId, log: &LogView) -> String {
    let mut address = format!("/api/admin/jobs/{id}/log.txt");
    let narrowed =
        [("level", log.kind.map(LineKind::name)), ("step", log.step.as_deref()), ("q", log.text.as_deref())];
    let mut separator = '?';
    for (name, value) in narrowed {
        if let Some(value) = value {
            address.push_str(&format!("{separator}{name}={}", encode(value)));
            separator = '&';
        }
    }
    address
}

/// A built-in job, once more with the same input.
fn run_again(feature: &str, input: Option<&str>) -> impl IntoView + use<> {
    let (feature, input) = (feature.to_owned(), input.map(str::to_owned));
    view! {
        <form method="post" action="/rpc/jobs/start">
            <input type="hidden" name="feature" value=feature />
            {input.map(|input| view! { <input type="hidden" name="input" value=input /> })}
            <button>"Run again"</button>
        </form>
    }
}

/// When jobs of this kind last did what they should, and how long they took.
async fn usual(visit: &Visit, feature: &str) -> Result<impl IntoView + use<>, ServiceError> {
    let filter = JobFilter {
        only_past: true,
        feature: Some(feature.to_owned()),
        status: Some(Status::Completed),
        ..JobFilter::default()
    };
    let page = visit.service.list_jobs(&visit.caller, filter, None, PageSize::new(Some(5))?).await?;
    let newest = page.jobs.first().map(|job| (job.id, job.ended_at.unwrap_or(job.activity_at)));
    let mut spans: Vec<_> =
        page.jobs.iter().filter_map(|job| Some(job.ended_at?.since(job.start_time()))).collect();
    spans.sort();
    let typical = spans.get(spans.len() / 2).map(|span| duration(*span));
    Ok(newest.zip(typical).map(|((id, at), typical)| {
        view! {
            <p class="usual sub">
                "Last success " <a href=format!("/admin/jobs/{id}")><TimeAt at /></a> ", usually takes " {typical} "."
            </p>
        }
    }))
}

/// Keeps an ended job, or lets it go. Nothing is lost by it, so nothing is asked.
fn pin(id: JobId, pinned: bool) -> impl IntoView {
    let (verb, what) = if pinned {
        ("unpin", "Let it go when history is too old or too long")
    } else {
        ("pin", "Keep it, however old or long history grows")
    };
    view! {
        <form method="post" action=format!("/rpc/jobs/{verb}")>
            <input type="hidden" name="id" value=id.to_string() />
            <button class="quiet" title=what>{if pinned { "Unpin" } else { "Pin" }}</button>
        </form>
    }
}

/// More time, abort and force-fail, each with the question it asks; the mildest first.
fn actions(
    id: JobId,
    title: String,
    ask: Option<String>,
    more_time: Option<Duration>,
    label: Option<Label>,
) -> impl IntoView {
    let asks = |what: &str| ask.as_deref() == Some(what);
    let (abort, force_fail, wait) = (asks("abort"), asks("force-fail"), asks("more-time"));
    let more_dialog = more_time.map(|usual| {
        let (title, label) = (title.clone(), label.clone());
        view! { <MoreTimeDialog id title usual open=wait label /> }
    });
    let more_button = more_time.map(|_| {
        view! {
            <a class="button mild" data-ask="ask-more-time" href=format!("/admin/jobs/{id}?ask=more-time")>
                "More time…"
            </a>
        }
    });
    view! {
        <JobActions>
            {more_button}
            <a class="button mild" data-ask="ask-abort" href=format!("/admin/jobs/{id}?ask=abort")>
                "Abort…"
            </a>
            <a class="button danger" data-ask="ask-force-fail" href=format!("/admin/jobs/{id}?ask=force-fail")>
                "Force fail…"
            </a>
            {more_dialog}
            <AskDialog
                what="abort"
                id
                title=format!("Ask “{title}” to stop?")
                text="Its process is told with its next heartbeat and stops when it can. Nothing is killed."
                button="Ask it to stop"
                open=abort
                label=label.clone()
            />
            <AskDialog
                what="force-fail"
                id
                title=format!("Force-fail “{title}”?")
                text="The job ends as failed now. A run in this server is cancelled; a run elsewhere is fenced: \
                      whatever it still reports is refused. This cannot be undone."
                button="Force fail"
                open=force_fail
                label
            />
        </JobActions>
    }
}
