//! A line of a log. What it says is shown, never obeyed: control characters are spelt out.

use leptos::prelude::*;

use super::TimeAt;
use crate::model::{LineKind, LogLine, visible};
use crate::view::thousands;

/// A sign for the kind, and a word for those who do not see it.
fn sign(kind: LineKind) -> (&'static str, &'static str) {
    match kind {
        LineKind::Info | LineKind::Progress => ("", ""),
        LineKind::Warning => ("!", "Warning: "),
        LineKind::Error => ("×", "Error: "),
        LineKind::System => ("·", ""),
        LineKind::Operator => ("›", "Operator: "),
    }
}

/// A line of a log.
#[component]
pub fn LogLineRow(
    /// The line.
    line: LogLine,
    /// The line somebody came for.
    marked: bool,
) -> impl IntoView {
    let (sign, word) = sign(line.kind);
    let anchor = format!("L{}", line.seq);
    let address = format!("?from={}#{anchor}", line.seq);
    view! {
        <p id=anchor class=line.kind.name() class:marked=marked>
            <a id=marked.then_some("marked") href=address title="Entries are numbered; progress takes numbers too">
                {thousands(line.seq)}
            </a>
            <TimeAt at=line.at clock=true />
            <b aria-hidden="true">{sign}</b>
            <span>
                {(!word.is_empty()).then(|| view! { <span class="sr">{word}</span> })}
                {visible(&line.text, true).into_owned()}
                {line.step.map(|step| view! { <em>{visible(&step, false).into_owned()}</em> })}
            </span>
        </p>
    }
}
