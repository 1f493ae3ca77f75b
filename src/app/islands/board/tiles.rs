//! The numbers of the overview.

use leptos::prelude::*;

use super::KnownBoard;
use crate::view::thousands;

/// What a tile shows: what it is, where it leads, how it looks, its number, and what is said beside it.
struct Tile {
    name: &'static str,
    address: &'static str,
    class: &'static str,
    number: String,
    note: String,
}

fn tiles(board: KnownBoard) -> [Tile; 7] {
    let frame = board.frame.read();
    let now = board.clock.sure.get();
    let stale = board.rows.get().iter().filter(|row| row.job.read().is_stale(now)).count() as u64;
    let (active, most) = (frame.counts.active(), u64::from(frame.max_active));
    let near = active * 5 > most * 4;
    let (health_class, health) = if frame.troubles.iter().any(|trouble| trouble.critical) || active >= most {
        ("tile word bad", "Critical")
    } else if stale > 0 || near || !frame.troubles.is_empty() {
        ("tile word warn", "Degraded")
    } else {
        ("tile word ok", "Healthy")
    };
    let (all, today) = (frame.counts.outcomes(), frame.today);
    let tile = |name, address, class, number, note| Tile { name, address, class, number, note };
    let when = |holds: bool, class: &'static str| if holds { class } else { "tile" };
    let of_today = |count: u64| format!("{} today", thousands(count));
    let none = String::new;
    [
        tile("Health", "#needs", health_class, health.to_owned(), none()),
        tile("Active", "#running", when(near, "tile warn"), thousands(active), format!("of {most}")),
        tile("Waiting", "#running", "tile", thousands(frame.counts.waiting()), none()),
        tile("Stale", "#needs", when(stale > 0, "tile warn"), thousands(stale), none()),
        tile(
            "Completed",
            "?status=completed#past",
            "tile",
            thousands(all.completed),
            of_today(today.completed),
        ),
        tile(
            "Failed",
            "?status=failed#past",
            when(today.failed > 0, "tile bad"),
            thousands(all.failed),
            of_today(today.failed),
        ),
        tile("Aborted", "?status=aborted#past", "tile", thousands(all.aborted), of_today(today.aborted)),
    ]
}

/// The numbers of the overview.
#[island]
pub fn Tiles() -> impl IntoView {
    let board = KnownBoard::here();
    let tile = |tile: Tile| {
        view! {
            <div class=tile.class>
                <dt>
                    <a href=tile.address>{tile.name}</a>
                </dt>
                <dd>
                    {tile.number} " " <small>{tile.note}</small>
                </dd>
            </div>
        }
    };
    view! {
        <dl class="tiles" aria-label="System health">
            {move || tiles(board).into_iter().map(tile).collect_view()}
        </dl>
    }
}
