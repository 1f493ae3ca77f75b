//! What is known of a job, and who did what to it.

use leptos::prelude::*;

use super::Known;
use crate::model::visible;
use crate::view::{Action, Fact};

/// What is known of the job.
#[island]
pub fn FactList() -> impl IntoView {
    let view = Known::here().view;
    let fact = |fact: Fact| {
        view! {
            <dt>{fact.name}</dt>
            <dd class:mono=fact.mono>{visible(&fact.value, false).into_owned()}</dd>
        }
    };
    view! { <dl class="facts">{move || view.read().facts.clone().into_iter().map(fact).collect_view()}</dl> }
}

/// Who did what to the job.
#[island]
pub fn Deeds() -> impl IntoView {
    let view = Known::here().view;
    let action = |action: Action| {
        view! {
            <li>
                <span class="sub">{action.when}</span>
                <span>{visible(&action.text, false).into_owned()}</span>
            </li>
        }
    };
    view! {
        <section class="card" aria-labelledby="deeds" hidden=move || view.read().actions.is_empty()>
            <header>
                <h2 id="deeds">"Who did what"</h2>
            </header>
            <ol class="deeds">{move || view.read().actions.clone().into_iter().map(action).collect_view()}</ol>
        </section>
    }
}
