//! A job's steps, as a list whose nesting is told by indentation and by level.

use leptos::prelude::*;

use super::icon::Glyph;
use super::{Bar, Icon};
use crate::model::visible;
use crate::view::{StepRow, StepState};

fn tone(state: StepState) -> &'static str {
    match state {
        StepState::Waiting => "idle",
        StepState::Running => "run",
        StepState::Done => "ok",
        StepState::Stopped => "bad",
    }
}

fn word(state: StepState) -> &'static str {
    match state {
        StepState::Waiting => "waiting",
        StepState::Running => "running",
        StepState::Done => "done",
        StepState::Stopped => "not finished",
    }
}

/// A job's steps.
#[component]
pub fn StepTreeView(
    /// The rows, in order.
    #[prop(into)]
    rows: Signal<Vec<StepRow>>,
    /// Where all of them are shown.
    unfold: String,
) -> impl IntoView {
    let row = move |row: StepRow| {
        let depth = format!(
            "step d{} {}",
            row.depth.min(6),
            if row.state == StepState::Running && !row.has_parts { "now" } else { "" }
        );
        if row.folded > 0 {
            return view! {
                <li class=depth>
                    <span></span>
                    <a href=unfold.clone()>{row.label}</a>
                </li>
            }
            .into_any();
        }
        let label = visible(&row.label, false).into_owned();
        let bar = row.state == StepState::Running
            || row.state == StepState::Stopped
            || row.has_parts
            || row.depth == 0;
        let name = label.clone();
        view! {
            <li class=depth>
                <span class=format!("hue {}", tone(row.state))>
                    <Icon glyph=Glyph::from(row.state) />
                    <span class="sr">{word(row.state)}</span>
                </span>
                <span>{label}</span>
                <span class="sub">{row.note}</span>
                {bar
                    .then(|| {
                        view! { <Bar percent=row.percent label=name tone=tone(row.state) /> }
                    })}
            </li>
        }
        .into_any()
    };
    view! { <ul class="steps">{move || rows.get().into_iter().map(row.clone()).collect_view()}</ul> }
}
