//! Narrowing a log: links and a form that are sent as an address.

use leptos::prelude::*;

use super::past_filters::encode;
use crate::app::islands::{FirstError, KindCount};
use crate::model::{JobId, LineKind};
use crate::rpc::LogView;

/// The address of a job's log with this filter, before a line or at its end.
pub fn log_address(id: JobId, log: &LogView, before: Option<u64>) -> String {
    let mut address = format!("/admin/jobs/{id}");
    let mut separator = '?';
    let mut add = |name: &str, value: &str| {
        address.push(separator);
        separator = '&';
        address.push_str(name);
        address.push('=');
        address.push_str(&encode(value));
    };
    if let Some(before) = before {
        add("before", &before.to_string());
    }
    if let Some(kind) = log.kind {
        add("level", kind.name());
    }
    for (name, value) in [("step", &log.step), ("q", &log.text)] {
        if let Some(value) = value {
            add(name, value);
        }
    }
    address.push_str("#log");
    address
}

/// The kinds of lines, as links with their counts.
#[component]
pub fn LogKinds(
    /// The job.
    id: JobId,
    /// The filter as it is.
    log: LogView,
) -> impl IntoView {
    let chip = |kind: Option<LineKind>, word: &'static str| {
        let here = log.kind == kind && log.text.is_none() && log.step.is_none();
        let address = log_address(id, &LogView { kind, ..LogView::default() }, None);
        view! {
            <a class="chip" href=address aria-current=here.then_some("true")>
                {word}
                <KindCount kind />
            </a>
        }
    };
    view! {
        <nav class="chips" aria-label="Kind of line">
            {chip(None, "All")}
            {chip(Some(LineKind::Warning), "Warnings")}
            {chip(Some(LineKind::Error), "Errors")}
            {chip(Some(LineKind::Operator), "Operator")}
        </nav>
    }
}

/// Searching a log, and going to its first error.
#[component]
pub fn LogSearch(
    /// The job.
    id: JobId,
    /// The filter as it is.
    log: LogView,
) -> impl IntoView {
    let narrowed = log.text.is_some() || log.step.is_some();
    view! {
        <div class="filters">
            <form method="get" action=format!("/admin/jobs/{id}#log") role="search" aria-label="Search this log">
                <label>
                    <span class="sr">"Text"</span>
                    <input name="q" type="search" placeholder="Search this log" value=log.text.unwrap_or_default() />
                </label>
                {log.kind.map(|kind| view! { <input type="hidden" name="level" value=kind.name() /> })}
                <button>"Search"</button>
                {narrowed
                    .then(|| {
                        view! {
                            <a class="button quiet" href=log_address(id, &LogView::default(), None)>
                                "Clear"
                            </a>
                        }
                    })}
                <FirstError />
            </form>
        </div>
    }
}
