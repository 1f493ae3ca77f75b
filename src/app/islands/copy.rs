//! A button that copies a text.

use leptos::prelude::*;

use super::live::dom;
use crate::app::reactive::words;

/// Copies what `text` gives when it is pressed.
#[component]
pub fn CopyButton(
    /// What is copied.
    text: impl Fn() -> String + 'static,
    /// What is said of it.
    label: &'static str,
) -> impl IntoView {
    let done = RwSignal::new(false);
    let copy = move |_| {
        dom::copy(&text());
        done.set(true);
        set_timeout(
            move || {
                done.try_set(false);
            },
            std::time::Duration::from_secs(2),
        );
    };
    // The word is drawn by the style: it is no part of what stands beside it.
    view! {
        <button
            class="quiet copy"
            type="button"
            aria-label=label
            data-word=words(move || if done.get() { "Copied".to_owned() } else { "Copy".to_owned() })
            on:click=copy
        ></button>
    }
}
