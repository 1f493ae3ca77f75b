//! A job's title, state and bar, and what can be done about it.

use leptos::ev::MouseEvent;
use leptos::prelude::*;

use super::KnownJob;
use crate::app::components::{Bar, StatusBadge, need_tone, status_tone, status_word};
use crate::app::islands::live::dom;
use crate::app::reactive::{flag, words};
use crate::model::{Status, visible};
use crate::view::{age, attention, duration, tab_title};

fn status(known: KnownJob) -> Status {
    known.view.read().row.status
}

/// Title and state.
#[island]
pub fn JobHead() -> impl IntoView {
    let known = KnownJob::here();
    let (view, now) = (known.view, known.clock.now);
    let title = move || visible(&view.read().row.title, false).into_owned();
    Effect::new(move |_| {
        let percent = view.read().row.percent;
        let status = status(known);
        let state = if status.is_active() { format!("{percent} %") } else { status_word(status).to_owned() };
        let what = format!("{state} · {}", title());
        known.label.with_value(|label| dom::set_title(&tab_title(&what, label.as_deref())));
    });
    let summary = move || {
        let view = view.read();
        let row = &view.row;
        let mut summary = if row.finishing { "finishing".to_owned() } else { row.percent_text() };
        summary.push_str(" · ");
        match view.ended_at {
            Some(ended) => {
                summary.push_str("took ");
                summary.push_str(&duration(ended.since(row.started_at)));
            }
            None => {
                summary.push_str("running for ");
                summary.push_str(&duration(now.get().since(row.started_at)));
            }
        }
        if view.max_attempts > 1 {
            summary.push_str(&format!(" · attempt {} of {}", view.attempt, view.max_attempts));
        }
        summary.push_str(" · started by ");
        summary.push_str(&visible(&row.author, false));
        summary
    };
    let severity = move || attention(&view.read().row, known.clock.sure.get()).map(|need| need.severity);
    let why = format!("/admin/jobs/{}?from=failure#marked", known.id);
    let error = move || {
        view.read().error.as_deref().map(|error| visible(error, true).into_owned()).unwrap_or_default()
    };
    view! {
        <h1>{words(title)}</h1>
        <p class="state-line">
            {move || view! { <StatusBadge status=status(known) need=severity() /> }}
            " "
            {words(summary)}
        </p>
        <p class="error-text" hidden=flag(move || view.read().error.is_none())>
            <a href=why title="Its line in the log">
                {words(error)}
            </a>
        </p>
    }
}

/// What can be done: drawn by the server, shown while there is something to do.
#[island]
pub fn JobActions(
    /// Buttons and their dialogs.
    children: Children,
) -> impl IntoView {
    let known = KnownJob::here();
    let open = move |event: MouseEvent| {
        if dom::asked_for(&event).is_some_and(|what| dom::open_dialog(&what)) {
            event.prevent_default();
        }
    };
    view! {
        <div
            class="actions"
            class:aborting=flag(move || status(known) == Status::Aborting)
            hidden=flag(move || status(known).is_final())
            on:click=open
        >
            {children()}
        </div>
    }
}

/// How far the job has come, and how it is.
#[island]
pub fn JobBar() -> impl IntoView {
    let known = KnownJob::here();
    let need = move || attention(&known.view.read().row, known.clock.sure.get());
    let under = move || {
        if let Some(need) = need() {
            let (view, now) = (known.view.read(), known.clock.sure.get());
            return format!("This job {} {}", need.verdict, need.told(&view.row, now, view.sweep.as_ref()));
        }
        let (view, now) = (known.view.read(), known.clock.now.get());
        let row = &view.row;
        if row.status.is_final() {
            return String::new();
        }
        let mut text = format!("Last activity {}", age(now.since(row.activity_at)));
        if let Some(at) = row.heartbeat_at {
            text.push_str(", heartbeat ");
            text.push_str(&age(now.since(at)));
        }
        if row.scope_grew {
            text.push_str(". Scope grew: there is more to do than was known, so the bar waits");
        }
        text.push('.');
        text
    };
    let bar = move || {
        let status = status(known);
        let percent = known.view.read().row.percent;
        let tone = match need() {
            Some(need) if status.is_active() => need_tone(need.severity),
            _ => status_tone(status),
        };
        view! { <Bar percent label="Overall progress".to_owned() tone big=true /> }
    };
    // Said in tens, so that a screen reader is not talked over.
    let said = move || match status(known) {
        status if status.is_active() => format!("{} %", known.view.read().row.percent / 10 * 10),
        status => status_word(status).to_owned(),
    };
    view! {
        {bar}
        <p
            class=words(move || {
                need().map_or("under age".to_owned(), |need| format!("under {}", need_tone(need.severity)))
            })
            hidden=flag(move || status(known).is_final() && need().is_none())
        >
            {words(under)}
        </p>
        <p class="sr" role="status">
            {words(said)}
        </p>
    }
}
