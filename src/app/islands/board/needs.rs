//! What needs a person, first.

use leptos::prelude::*;

use super::{Board, Row};
use crate::app::components::{Glyph, Icon};
use crate::model::visible;
use crate::view::{JobRow, Severity, attention};

fn glyph(urgent: bool) -> Glyph {
    if urgent { Glyph::Cross } else { Glyph::Warning }
}

/// What the system itself has to say, urgent or not.
fn warnings(board: Board) -> Vec<(bool, String)> {
    let frame = board.frame.read();
    let (active, most) = (frame.counts.active(), u64::from(frame.max_active));
    let full = active >= most;
    let store = frame.store_error.as_ref().map(|error| (true, format!("The store refuses writes: {error}.")));
    let limit = (active * 5 > most * 4).then(|| {
        let what = if full { "is reached: no other job can start until one ends" } else { "is near" };
        (full, format!("The limit of active jobs {what} ({active} of {most})."))
    });
    store.into_iter().chain(limit).collect()
}

/// What needs a person.
#[island]
pub fn Needs() -> impl IntoView {
    let board = Board::here();
    let needing = Memo::new(move |_| {
        let now = board.now.get();
        board.shown().into_iter().filter(|row| attention(&row.job.read(), now).is_some()).collect::<Vec<_>>()
    });
    let warnings = Memo::new(move |_| warnings(board));
    let warning = |(urgent, text): (bool, String)| {
        view! {
            <div class="verdict" class:bad=urgent>
                <Icon glyph=glyph(urgent) />
                <div>{text}</div>
            </div>
        }
    };
    view! {
        <Show when=move || !needing.read().is_empty() || !warnings.read().is_empty()>
            <section class="card" aria-label="Needs attention">
                {move || warnings.get().into_iter().map(warning).collect_view()}
                <For each=move || needing.get() key=|row| row.id let:row>
                    {need(board, row)}
                </For>
            </section>
        </Show>
    }
}

/// A job that needs a person, and why.
fn need(board: Board, row: Row) -> impl IntoView {
    let id = row.id;
    let job: RwSignal<JobRow> = row.job.into();
    let need = Memo::new(move |_| attention(&job.read(), board.now.get()));
    let urgent = move || need.read().as_ref().is_some_and(|need| need.severity == Severity::Now);
    let action = move || {
        let need = need.get()?;
        if !board.may_recover || need.elsewhere {
            return None;
        }
        let (ask, word) = if need.only_force || need.severity == Severity::Now {
            ("force-fail", "Force fail…")
        } else {
            ("abort", "Abort…")
        };
        Some(view! {
            <a class="button" href=format!("/admin/jobs/{id}?ask={ask}")>
                {word}
            </a>
        })
    };
    view! {
        <div class="verdict" class:bad=urgent>
            <Icon glyph=Signal::derive(move || glyph(urgent())) />
            <div>
                <b>{move || visible(&job.read().title, false).into_owned()}</b>
                " "
                {move || need.get().map(|need| need.verdict)}
                <p>{move || need.get().map(|need| need.evidence)}</p>
            </div>
            <div class="actions">
                <a class="button" href=format!("/admin/jobs/{id}")>
                    "Details"
                </a>
                {action}
            </div>
        </div>
    }
}
