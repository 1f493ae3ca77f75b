//! `/admin/jobs/emergency-cleanup`: what it would end, why, a typed confirmation; then what it did.

use leptos::prelude::*;
use leptos_meta::Title;

use super::{Visit, label, page, query, tab};
use crate::app::components::{LabelPill, StatusBadge, TimeAt};
use crate::model::{Permission, Reason, visible};
use crate::service::{CleanupOutcome, CleanupReport};
use crate::view::{duration, percent_text};

/// The emergency cleanup: before and after.
#[component]
pub fn EmergencyCleanupPage() -> impl IntoView {
    let report = query("report").and_then(|id| id.parse().ok());
    view! {
        <Title text=tab("Emergency cleanup") />
        {page(move |visit| async move {
            visit.caller.must(Permission::Recover)?;
            match report {
                Some(id) => {
                    let report = visit.service.cleanup_report(&visit.caller, id)?;
                    Ok(after(report.as_deref()))
                }
                None => Ok(before(&visit)),
            }
        })}
    }
}

fn head(title: &'static str, text: String) -> impl IntoView {
    view! {
        <div class="headline">
            <div>
                <p>
                    <a href="/admin/jobs">"Jobs"</a>
                    " / emergency cleanup"
                </p>
                <h1>{title}</h1>
                <p>{text}</p>
            </div>
        </div>
    }
}

fn before(visit: &Visit) -> AnyView {
    let jobs = visit.service.board().open();
    let now = visit.service.now();
    let count = jobs.len();
    if count == 0 {
        return view! {
            {head("Nothing to clean up", "No job is running or waiting.".to_owned())}
            <p>
                <a class="button" href="/admin/jobs">
                    "Back to the jobs"
                </a>
            </p>
        }
        .into_any();
    }
    let noun = if count == 1 { "job" } else { "jobs" };
    let text = format!(
        "This force-fails {count} {noun}. Runs in this server are cancelled; runs elsewhere are fenced, and \
         what they still report is refused. History is not touched. It cannot be undone."
    );
    let rows = jobs.iter().map(|job| {
        let shown = job.shown();
        view! {
            <tr>
                <td>
                    <a class="name" href=format!("/admin/jobs/{}", job.id)>
                        {visible(job.title(), false).into_owned()}
                    </a>
                    <div class="sub">{visible(job.spec.feature.as_str(), false).into_owned()}</div>
                </td>
                <td>
                    <StatusBadge status=job.status need=None />
                </td>
                <td class="num">{percent_text(shown.percent)}</td>
                <td class="num">{duration(now.since(job.start_time()))}</td>
                <td>{visible(job.spec.author.as_str(), false).into_owned()}</td>
            </tr>
        }
    });
    let rows = rows.collect_view();
    view! {
        {head("Emergency cleanup", text)}
        <section class="card">
            <header>
                <h2>"What would be ended" <span class="count">{count}</span></h2>
            </header>
            <table class="jobs">
                <thead>
                    <tr>
                        <th scope="col">"Job"</th>
                        <th scope="col">"Status"</th>
                        <th scope="col" class="num">"Progress"</th>
                        <th scope="col" class="num">"Running for"</th>
                        <th scope="col">"Started by"</th>
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        </section>
        <form class="card form" method="post" action="/rpc/system/emergency-cleanup">
            {label().map(|label| view! { <p>"On " <LabelPill label /></p> })}
            <input type="hidden" name="shown" value=count.to_string() />
            <label>
                "Reason"
                <textarea name="reason" required maxlength=Reason::MAX_CHARS rows="2"></textarea>
                <small>"It is kept in every job's log, with your name."</small>
            </label>
            <label>
                "Type " <b>{count.to_string()}</b> ", the number of jobs, to confirm"
                <input name="confirm" required inputmode="numeric" autocomplete="off" pattern=count.to_string() />
            </label>
            <div class="actions">
                <button class="danger solid">{format!("Force-fail {count} {noun}")}</button>
                <a class="button" href="/admin/jobs">
                    "Cancel"
                </a>
            </div>
        </form>
    }
    .into_any()
}

fn after(report: Option<&CleanupReport>) -> AnyView {
    let Some(report) = report else {
        let text = "This report is not at hand any more. Each job's own log keeps what was done to it.";
        return view! {
            {head("Emergency cleanup", text.to_owned())}
            <p>
                <a class="button" href="/admin/jobs">
                    "Back to the jobs"
                </a>
            </p>
        }
        .into_any();
    };
    let cleaned = report.cleaned();
    let noun = if cleaned == 1 { "job was" } else { "jobs were" };
    let text = format!(
        "By {}: {}. {} still active, {} in history.",
        visible(&report.by, false),
        visible(&report.reason, false),
        report.active_remaining,
        report.past_remaining
    );
    let rows = report.jobs.iter().map(|cleaned| {
        let job = &cleaned.job;
        let (class, said) = match &cleaned.outcome {
            CleanupOutcome::Would => ("sub", "Would be force-failed".to_owned()),
            CleanupOutcome::Failed => ("", "Force-failed".to_owned()),
            CleanupOutcome::EndedMeanwhile(status) => ("sub", format!("Had ended by itself: {status}")),
            CleanupOutcome::NotDone(reason) => ("refused", format!("Not done: {reason}")),
        };
        view! {
            <tr>
                <td>
                    <a class="name" href=format!("/admin/jobs/{}", job.id)>
                        {visible(job.title(), false).into_owned()}
                    </a>
                    <div class="sub">{visible(job.spec.feature.as_str(), false).into_owned()}</div>
                </td>
                <td>
                    <StatusBadge status=job.status need=None />
                </td>
                <td class=class>{said}</td>
            </tr>
        }
    });
    let rows = rows.collect_view();
    view! {
        {head("Emergency cleanup done", text)}
        <section class="card" aria-label="What was done">
            <header>
                <h2>{format!("{cleaned} {noun} force-failed")}</h2>
                <span class="sub">
                    <TimeAt at=report.at />
                </span>
            </header>
            <table class="jobs">
                <thead>
                    <tr>
                        <th scope="col">"Job"</th>
                        <th scope="col">"Was"</th>
                        <th scope="col">"Outcome"</th>
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        </section>
        <p>
            <a class="button" href="/admin/jobs">
                "Back to the jobs"
            </a>
        </p>
    }
    .into_any()
}
