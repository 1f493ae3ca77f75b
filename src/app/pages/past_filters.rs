//! Narrowing the history: a form that is sent as an address, so that every view is a link.

use leptos::prelude::*;

use crate::app::islands::OutcomeChips;
use crate::rpc::PastFilter;

/// The filters of the history.
#[component]
pub fn PastFilters(
    /// As they are.
    filter: PastFilter,
    /// The features there are.
    features: Vec<String>,
) -> impl IntoView {
    let chosen = filter.feature.clone().unwrap_or_default();
    let mut names = features;
    if !chosen.is_empty() && !names.contains(&chosen) {
        names.push(chosen.clone());
    }
    let options = names.into_iter().map(|name| {
        let selected = name == chosen;
        let shown = crate::model::shorten(&crate::model::visible(&name, false), 40).into_owned();
        view! {
            <option value=name selected=selected>
                {shown}
            </option>
        }
    });
    view! {
        <div class="filters">
            <form method="get" action="/admin/jobs" role="search" aria-label="Filter the history">
                <label>
                    <span class="sr">"Text"</span>
                    <input
                        name="q"
                        type="search"
                        placeholder="Title, error or id"
                        value=filter.text.clone().unwrap_or_default()
                    />
                </label>
                <label>
                    <span class="sr">"Feature"</span>
                    <select name="feature">
                        <option value="">"All features"</option>
                        {options.collect_view()}
                    </select>
                </label>
                <label>
                    <span class="sr">"Author"</span>
                    <input
                        name="author"
                        placeholder="Author"
                        autocapitalize="none"
                        value=filter.author.clone().unwrap_or_default()
                    />
                </label>
                {filter.status.map(|status| view! { <input type="hidden" name="status" value=status.name() /> })}
                <button>"Filter"</button>
                {filter
                    .is_narrowed()
                    .then(|| {
                        view! {
                            <a class="button quiet" href="/admin/jobs">
                                "Clear"
                            </a>
                        }
                    })}
            </form>
            <OutcomeChips />
        </div>
    }
}
