//! What the server is called, in its colour.

use leptos::prelude::*;

use crate::model::Label;

/// What the server is called.
#[component]
pub fn LabelPill(
    /// The name and the colour.
    label: Label,
) -> impl IntoView {
    view! { <span class=format!("state label {}", label.hue)>{label.text}</span> }
}
