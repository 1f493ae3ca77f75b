//! A moment: in UTC as the page comes, in the reader's own time once it is alive.

use leptos::prelude::*;

use crate::app::reactive::words;
use crate::app::zone;
use crate::model::Timestamp;
use crate::view::{clock_time, date_time, iso};

/// A moment.
#[component]
pub fn TimeAt(
    /// When.
    at: Timestamp,
    /// Only the time of day, to the second; the day stands elsewhere.
    #[prop(optional)]
    clock: bool,
) -> impl IntoView {
    let known = zone::known();
    let text = {
        let known = known.clone();
        move || {
            let zone_known = known.get();
            let here = zone::here(at, zone_known);
            match (clock, zone_known) {
                (true, _) => clock_time(here),
                (false, true) => date_time(here),
                (false, false) => format!("{} UTC", date_time(here)),
            }
        }
    };
    view! {
        <time datetime=iso(at) title=words(move || zone::both(at, known.get()))>
            {words(text)}
        </time>
    }
}
