//! The sentences and counts that head the overview.

use leptos::prelude::*;

use super::KnownBoard;
use crate::app::islands::live::{LiveState, dom, live_state};
use crate::app::reactive::words;
use crate::app::zone;
use crate::view::{JobRow, age, clock_time, headline, jobs_title, urgent};

/// The sentence about you, and the one under it.
#[island]
pub fn Lead() -> impl IntoView {
    let board = KnownBoard::here();
    let rows = move || board.shown().iter().map(|row| row.job.get()).collect::<Vec<JobRow>>();
    let lead = move || headline(&rows(), board.clock.sure.get(), &board.frame.read().troubles);
    // The tab says it too.
    Effect::new(move |_| {
        let count = urgent(&rows(), board.clock.sure.get());
        board.label.with_value(|label| dom::set_title(&jobs_title(count, label.as_deref())));
    });
    view! {
        <h1>{words(move || lead().0)}</h1>
        <p>{words(move || lead().1)}</p>
    }
}

/// How many jobs have not ended.
#[island]
pub fn OpenCount() -> impl IntoView {
    let board = KnownBoard::here();
    let count = move || board.shown().iter().filter(|row| !row.job.read().status.is_final()).count();
    view! { <span class="count">{words(move || count().to_string())}</span> }
}

/// When the page was last known to be up to date.
#[island]
pub fn Updated() -> impl IntoView {
    let state = live_state();
    let (clock, known) = (KnownBoard::here().clock, zone::known());
    view! {
        <span class="sub">
            {words(move || match state.get() {
                LiveState::Live | LiveState::Polling => {
                    format!("Updated {}", age(clock.now.get().since(clock.sure.get())))
                }
                _ => {
                    let (at, known) = (clock.sure.get(), known.get());
                    format!("As of {}, {}", clock_time(zone::here(at, known)), zone::name(at, known))
                }
            })}
        </span>
    }
}
