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
    let troubles = frame.troubles.iter().map(|trouble| (trouble.critical, trouble.sentence() + "."));
    let limit = (active * 5 > most * 4).then(|| {
        let what = if full { "is reached: no other job can start until one ends" } else { "is near" };
        (full, format!("The limit of active jobs {what} ({active} of {most})."))
    });
    troubles.chain(limit).collect()
}

/// What needs a person.
#[island]
pub fn Needs() -> impl IntoView {
    let board = Board::here();
    let needing = move || {
        let now = board.now.get();
        let mut rows = board.shown();
        rows.retain(|row| attention(&row.job.read(), now).is_some());
        rows
    };
    let warning = |(urgent, text): (bool, String)| {
        view! {
            <div class="verdict" class:bad=urgent>
                <Icon glyph=glyph(urgent) />
                <div>{text}</div>
            </div>
        }
    };
    let calm = move || needing().is_empty() && warnings(board).is_empty();
    view! {
        <section class="card" aria-label="Needs attention" hidden=calm>
            {move || warnings(board).into_iter().map(warning).collect_view()}
            <For each=needing key=|row| row.id let:row>
                {need(board, row)}
            </For>
        </section>
    }
}

/// A job that needs a person, and why.
fn need(board: Board, row: Row) -> impl IntoView {
    let id = row.id;
    let job: RwSignal<JobRow> = row.job.into();
    let need = move || attention(&job.read(), board.now.get());
    let urgent = move || need().is_some_and(|need| need.severity == Severity::Now);
    let force = move || need().is_some_and(|need| need.only_force || need.severity == Severity::Now);
    let ask = move || format!("/admin/jobs/{id}?ask={}", if force() { "force-fail" } else { "abort" });
    let no_action = move || !board.may_recover || need().is_none_or(|need| need.elsewhere);
    view! {
        <div class="verdict" class:bad=urgent>
            {move || view! { <Icon glyph=glyph(urgent()) /> }}
            <div>
                <b>{move || visible(&job.read().title, false).into_owned()}</b>
                " "
                {move || need().map(|need| need.verdict)}
                <p>{move || need().map(|need| need.evidence)}</p>
            </div>
            <div class="actions">
                <a class="button" href=format!("/admin/jobs/{id}")>
                    "Details"
                </a>
                <a class="button" href=ask hidden=no_action>
                    {move || if force() { "Force fail…" } else { "Abort…" }}
                </a>
            </div>
        </div>
    }
}
