//! A job's log: the newest lines, or those around the one somebody came for.

use leptos::prelude::*;

use super::Known;
use crate::app::components::{LogLineRow, log_address};
use crate::app::islands::live::dom;
use crate::model::LineKind;
use crate::view::thousands;

/// How many lines match the filter.
#[island]
pub fn LineCount() -> impl IntoView {
    let total = Known::here().total;
    let text = move || {
        let total = total.get();
        format!("{} {}", thousands(total), if total == 1 { "line" } else { "lines" })
    };
    view! { <span class="count">{text}</span> }
}

/// How many lines of a kind the job's log has; of all kinds for `None`.
#[island]
pub fn KindCount(
    /// Which kind.
    kind: Option<LineKind>,
) -> impl IntoView {
    let view = Known::here().view;
    let count = move || {
        let counts = view.read().counts;
        thousands(kind.map_or(counts.total(), |kind| counts.of(kind)))
    };
    view! { <span class="count">{count}</span> }
}

/// The way to the first error, once there is one.
#[island]
pub fn FirstError() -> impl IntoView {
    let known = Known::here();
    let address = format!("/admin/jobs/{}?from=error#marked", known.id);
    view! {
        <a class="button" href=address hidden=move || known.view.read().counts.error == 0>
            "First error"
        </a>
    }
}

/// The lines.
#[island]
pub fn LogLines() -> impl IntoView {
    let known = Known::here();
    let log = known.log.get_value();
    let (id, newest) = (known.id, log_address(known.id, &log, None));
    let nothing = if log == Default::default() { "Nothing was said yet." } else { "No line matches." };
    let older = move || {
        let first = known.lines.read().first().map_or(0, |line| line.seq);
        log_address(id, &log, Some(first))
    };
    let on_scroll = move |_| {
        let at_end = || known.place.get_untracked().is_some_and(|log| dom::is_at_end(&log));
        if known.unseen.get_untracked() > 0 && at_end() {
            known.unseen.set(0);
        }
    };
    let unseen = move || match known.unseen.get() {
        1 => "1 new line ↓".to_owned(),
        unseen => format!("{unseen} new lines ↓"),
    };
    view! {
        <div
            class="log"
            role="log"
            tabindex="0"
            aria-labelledby="log-title"
            node_ref=known.place
            on:scroll=on_scroll
        >
            <p class="more" hidden=move || !known.older.get()>
                <a href=older>"Older lines"</a>
            </p>
            <p class="more" hidden=move || !known.lines.read().is_empty()>
                {nothing}
            </p>
            <For each=move || known.lines.get() key=|line| line.seq let:line>
                <LogLineRow marked=known.marked == Some(line.seq) line />
            </For>
            <p class="more" hidden=!known.newer>
                <a href=newest>"Go to the newest lines"</a>
            </p>
        </div>
        <button class="unseen" hidden=move || known.unseen.get() == 0 on:click=move |_| known.go_to_end()>
            {unseen}
        </button>
    }
}
