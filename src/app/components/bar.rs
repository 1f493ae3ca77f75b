//! A progress bar: the browser's own, so that it is announced, works without JavaScript, and needs no
//! inline style, which the content security policy forbids.

use leptos::prelude::*;

/// How far something has come.
#[component]
pub fn Bar(
    /// Whole percents.
    percent: u8,
    /// What it measures.
    label: String,
    /// `run`, `ok`, `bad`, `warn`: the hue. The words say the same.
    tone: &'static str,
    /// Taller.
    #[prop(optional)]
    big: bool,
) -> impl IntoView {
    let class = format!("bar {tone}{}", if big { " big" } else { "" });
    view! { <progress class=class max="100" value=percent.to_string() aria-label=label></progress> }
}
