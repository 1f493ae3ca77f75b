//! Asks before something is done to a job: why, and for some how much.
//!
//! A link opens it: without JavaScript the page comes back with the dialog in it, with JavaScript an
//! island opens it on the spot. The form inside is the same and is sent the same way.

use leptos::prelude::*;

use super::LabelPill;
use crate::model::{JobId, Label, Reason};

/// A question with a reason, and with what is to be chosen as its children.
#[component]
pub fn AskDialog(
    /// Names it: `abort`, `more-time` or `force-fail`, which is also where its form goes.
    what: &'static str,
    /// The job.
    id: JobId,
    /// What is asked.
    title: String,
    /// What will happen.
    text: &'static str,
    /// The button that does it.
    button: &'static str,
    /// It takes nothing away: a reason may be given and need not.
    #[prop(optional)]
    mild: bool,
    /// Shown from the start.
    open: bool,
    /// What the server is called.
    label: Option<Label>,
    /// What is to be chosen.
    #[prop(optional)]
    children: Option<Children>,
) -> impl IntoView {
    let heading = format!("{what}-title");
    let (word, class) = if mild { ("Reason, if you like", "primary") } else { ("Reason", "danger solid") };
    let labelled_by = heading.clone();
    view! {
        <dialog id=format!("ask-{what}") class="ask" open=open aria-labelledby=labelled_by>
            <form method="post" action=format!("/rpc/jobs/{what}")>
                <h2 id=heading>{title}</h2>
                {label.map(|label| view! { <p>"On " <LabelPill label /></p> })}
                <p>{text}</p>
                <input type="hidden" name="id" value=id.to_string() />
                {children.map(|children| children())}
                <label>
                    {word}
                    <textarea
                        name="reason"
                        required=!mild
                        maxlength=Reason::MAX_CHARS
                        rows="2"
                        autofocus=!mild
                    ></textarea>
                    <small>"It is kept in the job's log, with your name."</small>
                </label>
                <div class="actions">
                    <button class=class>{button}</button>
                    <a class="button" data-close href=format!("/admin/jobs/{id}")>
                        "Cancel"
                    </a>
                </div>
            </form>
        </dialog>
    }
}
