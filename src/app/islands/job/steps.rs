//! A job's steps.

use leptos::prelude::*;

use super::KnownJob;
use crate::app::components::StepRowView;
use crate::app::reactive::{flag, words};
use crate::view::thousands;

/// A job's steps. A job without has no card for them.
#[island]
pub fn StepCard() -> impl IntoView {
    let known = KnownJob::here();
    let view = known.view;
    let rows = move || {
        let unfold = format!("/admin/jobs/{}?steps=all", known.id);
        let rows = view.read().steps.clone();
        rows.into_iter().map(|row| view! { <StepRowView row unfold=unfold.clone() /> }).collect_view()
    };
    let fold = format!("/admin/jobs/{}", known.id);
    view! {
        <section class="card step-card" aria-labelledby="steps" hidden=flag(move || view.read().steps.is_empty())>
            <header>
                <h2 id="steps">
                    "Steps" <span class="count">{words(move || thousands(u64::from(view.read().step_count)))}</span>
                </h2>
                <a href=fold hidden=!known.unfolded>
                    "Fold"
                </a>
            </header>
            <ul class="steps" tabindex="0" aria-labelledby="steps">
                {rows}
            </ul>
        </section>
    }
}
