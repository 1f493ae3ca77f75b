//! Where a job stands, as a glyph, a word and a hue.

use leptos::prelude::*;

use super::Icon;
use super::icon::Glyph;
use crate::model::Status;

/// The hue of a status.
pub fn tone(status: Status) -> &'static str {
    match status {
        Status::Scheduled | Status::Queued => "idle",
        Status::Running => "run",
        Status::Aborting | Status::Aborted => "warn",
        Status::Completed => "ok",
        Status::Failed => "bad",
    }
}

/// The word for a status.
pub fn word(status: Status) -> &'static str {
    match status {
        Status::Scheduled => "Scheduled",
        Status::Queued => "Queued",
        Status::Running => "Running",
        Status::Aborting => "Stopping",
        Status::Completed => "Completed",
        Status::Failed => "Failed",
        Status::Aborted => "Aborted",
    }
}

/// Where a job stands.
#[component]
pub fn StatusBadge(
    /// Where.
    status: Status,
) -> impl IntoView {
    view! {
        <span class=format!("state {}", tone(status))>
            <Icon glyph=Glyph::from(status) />
            {word(status)}
        </span>
    }
}
