//! What just happened, after a form was sent.

use leptos::prelude::*;

use super::Icon;
use super::icon::Glyph;

/// What just happened.
#[component]
pub fn NoticeBar(
    /// In a sentence.
    #[prop(into)]
    text: String,
    /// It was not done.
    refused: bool,
) -> impl IntoView {
    let glyph = if refused { Glyph::Warning } else { Glyph::Check };
    view! {
        <div class=if refused { "notice refused" } else { "notice" } role=if refused { "alert" } else { "status" }>
            <Icon glyph />
            <p>{text}</p>
        </div>
    }
}
