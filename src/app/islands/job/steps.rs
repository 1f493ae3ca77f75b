//! A job's steps.

use leptos::prelude::*;

use super::Known;
use crate::app::components::StepTreeView;
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
    let rows = Memo::new(move |_| known.view.read().steps.clone());
    view! {
        <div hidden=move || !rows.read().is_empty()>{children()}</div>
        <StepTreeView rows unfold=format!("/admin/jobs/{}?steps=all", known.id) />
    }
}
