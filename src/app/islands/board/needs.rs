//! What needs a person, first.

use leptos::prelude::*;

use super::{KnownBoard, Row, held, order_by_need};
use crate::app::components::{Glyph, Icon};
use crate::app::reactive::{flag, words};
use crate::model::visible;
use crate::view::{JobRow, Severity, attention};

/// So many jobs are shown at once, the gravest; the style (`verdict.css`) knows the number too.
const SHOWN: usize = 5;

fn glyph(urgent: bool) -> Glyph {
    if urgent { Glyph::Cross } else { Glyph::Warning }
}

/// What the system itself has to say, urgent or not.
fn warnings(board: KnownBoard) -> Vec<(bool, String)> {
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
    let board = KnownBoard::here();
    let needing = Memo::new(move |before: Option<&Vec<Row>>| {
        let now = board.clock.sure.get();
        let mut rows = board.shown();
        rows.retain(|row| attention(&row.job.read(), now).is_some());
        order_by_need(&mut rows, now);
        held(before, rows)
    });
    let warning = |(urgent, text): (bool, String)| {
        view! {
            <div class="verdict" class:bad=urgent>
                <Icon glyph=glyph(urgent) />
                <div>{text}</div>
            </div>
        }
    };
    let folds = move || needing.read().len() > SHOWN + 1;
    let folded = move || format!("{} more", needing.read().len().saturating_sub(SHOWN));
    let calm = move || needing.read().is_empty() && warnings(board).is_empty();
    view! {
        <section
            class="card"
            class:folds=flag(folds)
            id="needs"
            aria-label="Needs attention"
            hidden=flag(calm)
        >
            {move || warnings(board).into_iter().map(warning).collect_view()}
            <For each=move || needing.get() key=|row| row.id let:row>
                {need(board, row)}
            </For>
            // A box that is ticked, so that it works without scripts.
            <p class="rest" hidden=flag(move || !folds())>
                <label class="chip">
                    <input type="checkbox" />
                    {words(folded)}
                </label>
            </p>
        </section>
    }
}

/// A job that needs a person, and why.
fn need(board: KnownBoard, row: Row) -> impl IntoView {
    let id = row.id;
    let job: RwSignal<JobRow> = row.job.into();
    let need = move || attention(&job.read(), board.clock.sure.get());
    let urgent = move || need().is_some_and(|need| need.severity == Severity::Now);
    // The mildest first. What was asked to stop is not asked again; what ended by itself is out of reach.
    let no_action = move || !board.may_recover || need().is_none_or(|need| need.elsewhere);
    let no_more = move || no_action() || need().is_none_or(|need| !need.may_wait);
    let no_abort = move || no_action() || need().is_some_and(|need| need.only_force);
    let no_force =
        move || no_action() || need().is_some_and(|need| need.severity == Severity::Soon && !need.only_force);
    let evidence = move || {
        let (job, now) = (job.read(), board.clock.sure.get());
        attention(&job, now)
            .map_or_else(String::new, |need| need.told(&job, now, board.frame.read().sweep.as_ref()))
    };
    view! {
        <div class="verdict job" class:bad=flag(urgent)>
            {move || view! { <Icon glyph=glyph(urgent()) /> }}
            <div>
                <b>{words(move || visible(&job.read().title, false).into_owned())}</b>
                " "
                {words(move || need().map(|need| need.verdict).unwrap_or_default())}
                <p>{words(evidence)}</p>
            </div>
            <div class="actions">
                <a class="button" href=format!("/admin/jobs/{id}")>
                    "Details"
                </a>
                <a class="button" href=format!("/admin/jobs/{id}?ask=more-time") hidden=flag(no_more)>
                    "More time…"
                </a>
                <a class="button" href=format!("/admin/jobs/{id}?ask=abort") hidden=flag(no_abort)>
                    "Abort…"
                </a>
                <a class="button danger" href=format!("/admin/jobs/{id}?ask=force-fail") hidden=flag(no_force)>
                    "Force fail…"
                </a>
            </div>
        </div>
    }
}
