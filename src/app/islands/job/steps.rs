//! A job's steps.

use leptos::prelude::*;

use super::Known;
use crate::app::components::StepRowView;
use crate::view::thousands;

/// How many steps the job has.
#[island]
pub fn StepCount() -> impl IntoView {
    let view = Known::here().view;
    view! { <span class="count">{move || thousands(u64::from(view.read().step_count))}</span> }
}

/// A job's steps.
#[island]
pub fn Steps(
    /// What is shown where there is none.
    children: Children,
) -> impl IntoView {
    let known = Known::here();
    let rows = move || {
        let unfold = format!("/admin/jobs/{}?steps=all", known.id);
        let rows = known.view.read().steps.clone();
        rows.into_iter().map(|row| view! { <StepRowView row unfold=unfold.clone() /> }).collect_view()
    };
    view! {
        <div hidden=move || !known.view.read().steps.is_empty()>{children()}</div>
        <ul class="steps" tabindex=move || (!known.view.read().steps.is_empty()).then_some("0") aria-labelledby="steps">{rows}</ul>
    }
}
