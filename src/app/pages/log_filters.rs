//! Searching a log: a form that is sent as an address.

use leptos::prelude::*;

use crate::app::components::log_address;
use crate::app::islands::FirstError;
use crate::model::JobId;
use crate::rpc::LogView;

/// Searching a log, and going to its first error.
#[component]
pub fn LogSearch(
    /// The job.
    id: JobId,
    /// The filter as it is.
    log: LogView,
) -> impl IntoView {
    let narrowed = log.text.is_some() || log.step.is_some();
    view! {
        <div class="filters">
            <form method="get" action=format!("/admin/jobs/{id}#log") role="search" aria-label="Search this log">
                <label>
                    <span class="sr">"Text"</span>
                    <input name="q" type="search" placeholder="Search this log" value=log.text.unwrap_or_default() />
                </label>
                {log.kind.map(|kind| view! { <input type="hidden" name="level" value=kind.name() /> })}
                <button>"Search"</button>
                {narrowed
                    .then(|| {
                        view! {
                            <a class="button quiet" href=log_address(id, &LogView::default(), None)>
                                "Clear"
                            </a>
                        }
                    })}
                <FirstError />
            </form>
        </div>
    }
}
