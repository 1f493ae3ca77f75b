//! A progress bar: the browser's own, so that it is announced, works without JavaScript, and needs no
//! inline style, which the content security policy forbids.

use leptos::prelude::*;

/// How far something has come.
#[component]
pub fn Bar(
    /// Whole percents.
    #[prop(into)]
    percent: Signal<u8>,
    /// What it measures.
    #[prop(into)]
    label: Signal<String>,
    /// `run`, `ok`, `bad`, `warn`: the hue. The words say the same.
    #[prop(into)]
    tone: Signal<&'static str>,
    /// Taller.
    #[prop(optional)]
    big: bool,
) -> impl IntoView {
    view! {
        <progress
            class=move || format!("bar {}", tone.get())
            class:big=big
            max="100"
            value=move || percent.get().to_string()
            aria-label=move || label.get()
        ></progress>
    }
}
