//! Asks for a reason before something that cannot be undone.
//!
//! A link opens it: without JavaScript the page comes back with the dialog in it, with JavaScript an
//! island opens it on the spot. The form inside is the same and is sent the same way.

use leptos::prelude::*;

use super::LabelPill;
use crate::model::{JobId, Label, Reason};

/// A question with a reason.
#[component]
pub fn AskDialog(
    /// Names it: `abort` or `force-fail`, which is also where its form goes.
    what: &'static str,
    /// The job.
    id: JobId,
    /// What is asked.
    title: String,
    /// What will happen.
    text: &'static str,
    /// The button that does it.
    button: &'static str,
    /// Shown from the start.
    open: bool,
    /// What the server is called.
    label: Option<Label>,
) -> impl IntoView {
    let heading = format!("{what}-title");
    let labelled_by = heading.clone();
    view! {
        <dialog id=format!("ask-{what}") class="ask" open=open aria-labelledby=labelled_by>
            <form method="post" action=format!("/rpc/jobs/{what}")>
                <h2 id=heading>{title}</h2>
                {label.map(|label| view! { <p>"On " <LabelPill label /></p> })}
                <p>{text}</p>
                <input type="hidden" name="id" value=id.to_string() />
                <label>
                    "Reason"
                    <textarea name="reason" required maxlength=Reason::MAX_CHARS rows="2" autofocus></textarea>
                    <small>"It is kept in the job's log, with your name."</small>
                </label>
                <div class="actions">
                    <button class="danger solid">{button}</button>
                    <a class="button" data-close href=format!("/admin/jobs/{id}")>
                        "Cancel"
                    </a>
                </div>
            </form>
        </dialog>
    }
}
