//! The reader's time zone. A server cannot know it: a page comes with times in UTC that say so, and shows the
//! reader's own once it is alive. Either way a time's title has both.

use std::cell::RefCell;

use leptos::prelude::*;

use crate::model::Timestamp;
use crate::view::{clock_time, date_time, zone_name};

thread_local! {
    static KNOWN: RefCell<Option<ArcRwSignal<bool>>> = const { RefCell::new(None) };
}

/// Whether the zone is known: not on the server, and not before the page is alive.
pub fn known() -> ArcRwSignal<bool> {
    if cfg!(feature = "hydrate") {
        KNOWN.with_borrow_mut(|known| known.get_or_insert_with(ArcRwSignal::default).clone())
    } else {
        ArcRwSignal::default()
    }
}

/// How many minutes the reader's clocks are ahead of UTC at a moment.
fn ahead(at: Timestamp) -> i32 {
    let date = js_sys::Date::new(&wasm_bindgen::JsValue::from_f64(at.0 as f64));
    -(date.get_timezone_offset() as i32)
}

/// A moment as the clocks show it where the reader is; in UTC while that is not known.
pub fn here(at: Timestamp, known: bool) -> Timestamp {
    if known { Timestamp(at.0 + i64::from(ahead(at)) * 60_000) } else { at }
}

/// The zone that times are shown in.
pub fn name(at: Timestamp, known: bool) -> String {
    zone_name(if known { ahead(at) } else { 0 })
}

/// A moment in both zones, for those who want to be sure.
pub fn both(at: Timestamp, known: bool) -> String {
    let full = |at: Timestamp| {
        let (minute, clock) = (date_time(at), clock_time(at));
        format!("{}{}", minute, &clock[5..])
    };
    let utc = format!("{} UTC", full(at));
    if known { format!("{} {}, your time · {utc}", full(here(at, true)), name(at, true)) } else { utc }
}
