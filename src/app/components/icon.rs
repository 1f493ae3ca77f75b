//! Small drawings. A state is always told by glyph, word and hue together.

use leptos::prelude::*;

use crate::model::Status;
use crate::view::StepState;

/// A drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glyph {
    /// Done.
    Check,
    /// Failed.
    Cross,
    /// Stopped.
    Dash,
    /// Running.
    Play,
    /// Waiting.
    Clock,
    /// Mind this.
    Warning,
}

impl From<Status> for Glyph {
    fn from(status: Status) -> Self {
        match status {
            Status::Scheduled | Status::Queued => Self::Clock,
            Status::Running => Self::Play,
            Status::Aborting => Self::Warning,
            Status::Completed => Self::Check,
            Status::Failed => Self::Cross,
            Status::Aborted => Self::Dash,
        }
    }
}

impl From<StepState> for Glyph {
    fn from(state: StepState) -> Self {
        match state {
            StepState::Waiting => Self::Clock,
            StepState::Running => Self::Play,
            StepState::Done => Self::Check,
            StepState::Stopped => Self::Dash,
            StepState::Failed => Self::Cross,
        }
    }
}

impl Glyph {
    /// The outline. All are drawn with one line weight in a box of 12.
    fn path(self) -> &'static str {
        match self {
            Self::Check => "M2 6.4 4.8 9 10 3.2",
            Self::Cross => "m2.8 2.8 6.4 6.4m0-6.4-6.4 6.4",
            Self::Dash => "M2.5 6h7",
            Self::Play => "M3.4 2.2v7.6L9.6 6z",
            Self::Clock => "M6 1.4a4.6 4.6 0 1 0 0 9.2 4.6 4.6 0 0 0 0-9.2M6 3.6V6l1.7 1.1",
            Self::Warning => "M6 1.2 11.2 10.4H.8zM6 4.6v2.6M6 8.6v.4",
        }
    }
}

/// Draws a glyph. It carries no meaning of its own: a word stands beside it.
#[component]
pub fn Icon(
    /// Which.
    glyph: Glyph,
) -> impl IntoView {
    view! {
        <svg class="icon" viewBox="0 0 12 12" aria-hidden="true">
            <path d=glyph.path() />
        </svg>
    }
}

/// The mark: a lorry.
#[component]
pub fn Logo() -> impl IntoView {
    view! {
        <svg class="logo" viewBox="0 0 20 20" aria-hidden="true">
            <path d="M2 14.5h11.5V5H2zM13.5 8h3l1.8 3.2v3.3h-4.8" />
            <circle cx="5.5" cy="15" r="1.9" />
            <circle cx="15" cy="15" r="1.9" />
        </svg>
    }
}
