//! The numbers of the overview.

use leptos::prelude::*;

use super::Board;
use crate::model::{HealthStatus, Timestamp};
use crate::view::{JobRow, thousands};

fn is_stale(row: &JobRow, now: Timestamp) -> bool {
    let over = |since: Timestamp, limit: Option<std::time::Duration>| {
        limit.is_some_and(|limit| now.since(since) > limit)
    };
    row.status.is_active()
        && (over(row.started_at, row.run_timeout) || over(row.activity_at, row.activity_timeout))
}

/// The numbers of the overview.
#[island]
pub fn Tiles() -> impl IntoView {
    let board = Board::here();
    let counts = Memo::new(move |_| board.frame.read().counts);
    let today = Memo::new(move |_| board.frame.read().today);
    let stale = Memo::new(move |_| {
        let now = board.now.get();
        board.rows.get().iter().filter(|row| is_stale(&row.job.read(), now)).count() as u64
    });
    let max_active = board.frame.read_untracked().max_active;
    let near = move || counts.get().active() * 5 > u64::from(max_active) * 4;
    let health = Memo::new(move |_| {
        if board.frame.read().store_error.is_some() || counts.get().active() >= u64::from(max_active) {
            HealthStatus::Critical
        } else if stale.get() > 0 || near() {
            HealthStatus::Degraded
        } else {
            HealthStatus::Healthy
        }
    });
    let (health_class, health_word) = (
        move || match health.get() {
            HealthStatus::Healthy => "tile word ok",
            HealthStatus::Degraded => "tile word warn",
            HealthStatus::Critical => "tile word bad",
        },
        move || match health.get() {
            HealthStatus::Healthy => "Healthy",
            HealthStatus::Degraded => "Degraded",
            HealthStatus::Critical => "Critical",
        },
    );
    let when = |class: &'static str, holds: bool| if holds { class } else { "tile" };
    // One shape for all: what it is, its number, what is said beside it, and how it looks.
    let tile =
        |name: &'static str, class: Signal<&'static str>, number: Signal<String>, note: Signal<String>| {
            view! {
                <div class=class>
                    <dt>{name}</dt>
                    <dd>
                        {number} " " <small>{note}</small>
                    </dd>
                </div>
            }
        };
    let plain = Signal::stored("tile");
    let nothing = Signal::stored(String::new());
    let of_today = |count: fn(crate::model::OutcomeCounts) -> u64| {
        Signal::derive(move || format!("{} today", thousands(count(today.get()))))
    };
    let of_all = |count: fn(crate::model::OutcomeCounts) -> u64| {
        Signal::derive(move || thousands(count(counts.get().outcomes())))
    };
    let number = |count: Signal<u64>| Signal::derive(move || thousands(count.get()));
    view! {
        <dl class="tiles" aria-label="System health">
            {[
                tile("Health", Signal::derive(health_class), Signal::derive(move || health_word().to_owned()), nothing),
                tile(
                    "Active",
                    Signal::derive(move || when("tile warn", near())),
                    number(Signal::derive(move || counts.get().active())),
                    Signal::stored(format!("of {max_active}")),
                ),
                tile("Waiting", plain, number(Signal::derive(move || counts.get().waiting())), nothing),
                tile("Stale", Signal::derive(move || when("tile warn", stale.get() > 0)), number(stale.into()), nothing),
                tile("Completed", plain, of_all(|all| all.completed), of_today(|today| today.completed)),
                tile(
                    "Failed",
                    Signal::derive(move || when("tile bad", today.get().failed > 0)),
                    of_all(|all| all.failed),
                    of_today(|today| today.failed),
                ),
                tile("Aborted", plain, of_all(|all| all.aborted), of_today(|today| today.aborted)),
            ]
                .into_iter()
                .collect_view()}
        </dl>
    }
}
