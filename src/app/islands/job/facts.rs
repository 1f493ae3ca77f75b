//! What is known of a job, and who did what to it.

use leptos::prelude::*;

use super::Known;
use crate::model::visible;
use crate::view::{Action, Fact, clock_time, iso};

/// What is known of the job.
#[island]
pub fn FactList() -> impl IntoView {
    let view = Known::here().view;
    let facts = Memo::new(move |_| view.read().facts.clone());
    let fact = |fact: Fact| {
        view! {
            <dt>{fact.name}</dt>
            <dd class:mono=fact.mono>{visible(&fact.value, false).into_owned()}</dd>
        }
    };
    view! { <dl class="facts">{move || facts.get().into_iter().map(fact).collect_view()}</dl> }
}

/// Who did what to the job.
#[island]
pub fn Deeds() -> impl IntoView {
    let view = Known::here().view;
    let actions = Memo::new(move |_| view.read().actions.clone());
    let action = |action: Action| {
        view! {
            <li>
                <time datetime=iso(action.at)>{clock_time(action.at)}</time>
                <span>{visible(&action.text, false).into_owned()}</span>
            </li>
        }
    };
    view! {
        <section class="card" aria-labelledby="deeds" hidden=move || actions.read().is_empty()>
            <header>
                <h2 id="deeds">"Who did what"</h2>
            </header>
            <ol class="deeds">{move || actions.get().into_iter().map(action).collect_view()}</ol>
        </section>
    }
}
