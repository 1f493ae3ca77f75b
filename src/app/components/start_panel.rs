//! Starting a job: the ones this server runs by itself, and how to run anything else.

use leptos::prelude::*;

/// The panel under "Start a job".
#[component]
pub fn StartPanel(
    /// Feature, title and summary of each built-in job.
    built_in: Vec<(String, String, String)>,
    /// Begin unfolded.
    open: bool,
) -> impl IntoView {
    let rows = built_in.into_iter().map(|(feature, title, summary)| {
        let (label, demo) = (format!("Start: {title}"), feature == "demo-condensation");
        view! {
            <li>
                <form method="post" action="/rpc/jobs/start">
                    <input type="hidden" name="feature" value=feature />
                    <div>
                        <b>{title}</b>
                        <p class="sub">{summary}</p>
                    </div>
                    <div class="actions">
                        {demo
                            .then(|| {
                                view! {
                                    <button name="input" value=r#"{"hang": true}"# title="It stops half-way and does not listen">
                                        "One that hangs"
                                    </button>
                                }
                            })} <button class="primary" aria-label=label>
                            "Start"
                        </button>
                    </div>
                </form>
            </li>
        }
    });
    view! {
        <details class="menu start" open=open>
            <summary class="button primary">"Start a job"</summary>
            <div class="card">
                <ul class="choices">{rows.collect_view()}</ul>
                <div class="hint">
                    <b>"Anything else"</b>
                    <p class="sub">"Wrap any command. It appears here at once, with its output as its log."</p>
                    <pre tabindex="0">"longhaul exec --feature nightly-import -- ./import.sh"</pre>
                    <p class="sub">
                        "Or report over the " <a href="/api/docs">"REST API"</a> "."
                    </p>
                </div>
            </div>
        </details>
    }
}
