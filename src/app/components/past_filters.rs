//! Narrowing the history: a form that is sent as an address, so that every view is a link.

use leptos::prelude::*;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::app::islands::PastCount;
use crate::model::Status;
use crate::rpc::PastFilter;

/// What an address may hold as it is, beside letters and digits.
const IN_ADDRESS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Text as it may stand in an address.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, IN_ADDRESS).to_string()
}

/// The address of the overview with these filters and this outcome.
pub fn address(filter: &PastFilter, status: Option<Status>, cursor: Option<&str>) -> String {
    let mut address = String::from("/admin/jobs");
    let mut first = true;
    let mut add = |name: &str, value: &str| {
        address.push(if first { '?' } else { '&' });
        first = false;
        address.push_str(name);
        address.push('=');
        address.push_str(&encode(value));
    };
    for (name, value) in [("feature", &filter.feature), ("author", &filter.author), ("q", &filter.text)] {
        if let Some(value) = value {
            add(name, value);
        }
    }
    if let Some(status) = status {
        add("status", status.name());
    }
    if let Some(cursor) = cursor {
        add("cursor", cursor);
    }
    address
}

/// The filters of the history.
#[component]
pub fn PastFilters(
    /// As they are.
    filter: PastFilter,
    /// The features there are.
    features: Vec<String>,
) -> impl IntoView {
    // A text or an author narrows in a way nothing counts; better no number than a wrong one.
    let counted = filter.text.is_none() && filter.author.is_none();
    let chip = |status: Option<Status>, word: &'static str| {
        let here = filter.status == status;
        view! {
            <a class="chip" href=address(&filter, status, None) aria-current=here.then_some("true")>
                {word}
                {counted.then(|| view! { <PastCount status /> })}
            </a>
        }
    };
    let chips = [
        chip(None, "All"),
        chip(Some(Status::Completed), "Completed"),
        chip(Some(Status::Failed), "Failed"),
        chip(Some(Status::Aborted), "Aborted"),
    ];
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
            <nav class="chips" aria-label="Outcome">
                {chips.into_iter().collect_view()}
            </nav>
        </div>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_what_is_narrowed_and_nothing_else() {
        let filter = PastFilter {
            feature: Some("a&b=c".to_owned()),
            text: Some("50 % ä".to_owned()),
            ..PastFilter::default()
        };
        assert_eq!(
            address(&filter, Some(Status::Failed), Some("p1.x")),
            "/admin/jobs?feature=a%26b%3Dc&q=50%20%25%20%C3%A4&status=failed&cursor=p1.x"
        );
        assert_eq!(address(&PastFilter::default(), None, None), "/admin/jobs");
    }
}
