//! What is known of a job, and who did what to it.

use leptos::prelude::*;

use super::KnownJob;
use crate::app::components::TimeAt;
use crate::app::islands::copy::CopyButton;
use crate::app::reactive::{flag, words};
use crate::model::visible;
use crate::view::{Action, Fact, age};

/// What is known of the job.
#[island]
pub fn FactList() -> impl IntoView {
    let known = KnownJob::here();
    let (view, now) = (known.view, known.clock.now);
    let fact = move |fact: Fact| {
        let moment = fact.at.map(|at| {
            view! {
                <TimeAt at=at />
                " "
                <span class="sub age">{words(move || age(now.get().since(at)))}</span>
            }
        });
        let copied = fact.value.clone();
        let copy = fact.copy.then(|| view! { <CopyButton text=move || copied.clone() label="Copy this" /> });
        view! {
            <dt>{fact.name}</dt>
            <dd>
                <span class:mono=fact.mono>{visible(&fact.value, false).into_owned()}</span>
                {moment}
                {copy}
            </dd>
        }
    };
    view! { <dl class="facts">{move || view.read().facts.clone().into_iter().map(fact).collect_view()}</dl> }
}

/// Who did what to the job.
#[island]
pub fn Deeds() -> impl IntoView {
    let view = KnownJob::here().view;
    let action = |action: Action| {
        view! {
            <li>
                <span class="sub">
                    <TimeAt at=action.at />
                </span>
                <span>{visible(&action.text, false).into_owned()}</span>
            </li>
        }
    };
    view! {
        <section class="card deed-card" aria-labelledby="deeds" hidden=flag(move || view.read().actions.is_empty())>
            <header>
                <h2 id="deeds">"Who did what"</h2>
            </header>
            <ol class="deeds">{move || view.read().actions.clone().into_iter().map(action).collect_view()}</ol>
        </section>
    }
}
