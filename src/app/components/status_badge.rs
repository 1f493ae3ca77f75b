//! Where a job stands, as a glyph, a word and a hue.

use leptos::prelude::*;

use super::Icon;
use super::icon::Glyph;
use crate::model::Status;
use crate::view::Severity;

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

/// The hue of a verdict: one for each, wherever it is told.
pub fn need_tone(severity: Severity) -> &'static str {
    match severity {
        Severity::Now => "bad",
        Severity::Soon => "warn",
    }
}

/// Where a job stands.
#[component]
pub fn StatusBadge(
    /// Where.
    status: Status,
    /// How urgently it needs somebody, where it does.
    need: Option<Severity>,
) -> impl IntoView {
    let hue = need.map_or(tone(status), need_tone);
    view! {
        <span class=format!("state {hue}")>
            <Icon glyph=Glyph::from(status) />
            {word(status)}
        </span>
    }
}
