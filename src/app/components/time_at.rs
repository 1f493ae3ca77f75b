//! A moment, absolute and in UTC, which is what is true on every screen.

use leptos::prelude::*;

use crate::model::Timestamp;
use crate::view::{date_time, iso};

/// A moment.
#[component]
pub fn TimeAt(
    /// When.
    at: Timestamp,
) -> impl IntoView {
    view! { <time datetime=iso(at)>{date_time(at)} " UTC"</time> }
}
