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
        StepState::Stopped | StepState::Failed => "bad",
    }
}

fn word(state: StepState) -> &'static str {
    match state {
        StepState::Waiting => "waiting",
        StepState::Running => "running",
        StepState::Done => "done",
        StepState::Stopped => "not finished",
        StepState::Failed => "failed here",
    }
}

/// A step, or a row that stands for several.
#[component]
pub fn StepRowView(
    /// The row.
    row: StepRow,
    /// Where all steps are shown.
    unfold: String,
) -> impl IntoView {
    let now = row.state == StepState::Running && !row.has_parts && row.folded == 0;
    let mark = match row.state {
        StepState::Failed => " failed",
        _ if now => " now",
        _ => "",
    };
    let class = format!("step d{}{mark}", row.depth.min(6));
    let between = (row.state == StepState::Failed && !row.note.is_empty()).then_some(" · ");
    let failed = (row.state == StepState::Failed).then_some("failed here");
    let label = visible(&row.label, false).into_owned();
    // One shape for both kinds of row: the browser carries each shape there is.
    let (shown, glyph_class, state) = if row.folded > 0 {
        (None, "hue none".to_owned(), "")
    } else {
        (Some(label.clone()), format!("hue {}", tone(row.state)), word(row.state))
    };
    let unfold = (row.folded > 0).then_some(unfold);
    let bar = row.folded == 0
        && (row.has_parts
            || row.depth == 0
            || matches!(row.state, StepState::Running | StepState::Stopped | StepState::Failed));
    let link = unfold.as_ref().map(|_| label.clone());
    view! {
        <li class=class>
            <span class=glyph_class>
                <Icon glyph=Glyph::from(row.state) />
                <span class="sr">{state}</span>
            </span>
            <span>{shown} <a href=unfold>{link}</a></span>
            <span class="sub">{failed} {between} {row.note}</span>
            {bar.then(|| view! { <Bar percent=row.percent label tone=tone(row.state) /> })}
        </li>
    }
}
