//! The sentences and counts that head the overview.

use leptos::prelude::*;

use super::Board;
use crate::app::islands::live::{LiveState, live_state};
use crate::view::{JobRow, clock_time, headline};

/// The sentence about you, and the one under it.
#[island]
pub fn Lead() -> impl IntoView {
    let board = Board::here();
    let lead = move || {
        let rows: Vec<JobRow> = board.shown().iter().map(|row| row.job.get()).collect();
        headline(&rows, board.now.get(), &board.frame.read().troubles)
    };
    view! {
        <h1>{move || lead().0}</h1>
        <p>{move || lead().1}</p>
    }
}

/// How many jobs have not ended.
#[island]
pub fn OpenCount() -> impl IntoView {
    let board = Board::here();
    let count = move || board.shown().iter().filter(|row| !row.job.read().status.is_final()).count();
    view! { <span class="count">{move || count().to_string()}</span> }
}

/// When the page was last up to date.
#[island]
pub fn Updated() -> impl IntoView {
    let state = live_state();
    let rendered = clock_time(Board::here().now.get_untracked());
    view! {
        <span class="sub">
            {move || match state.get() {
                LiveState::Live | LiveState::Polling => "Updated just now".to_owned(),
                _ => format!("As of {rendered} UTC"),
            }}
        </span>
    }
}
