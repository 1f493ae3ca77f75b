//! Asks how much more time a job is to have.

use std::time::Duration;

use leptos::prelude::*;

use super::AskDialog;
use crate::model::{JobId, Label, span_words};

/// A choice of more time.
#[derive(Debug, PartialEq, Eq)]
struct Choice {
    /// 0 is no limit.
    seconds: u64,
    words: String,
    usual: bool,
}

/// What is offered beside what is usual, in seconds.
const OFFERED: [u64; 4] = [600, 1_800, 3_600, 4 * 3_600];

fn choices(usual: Duration) -> Vec<Choice> {
    let usual = usual.as_secs();
    let mut spans = [OFFERED.as_slice(), &[usual]].concat();
    spans.sort_unstable();
    spans.dedup();
    let several = |count: u64, unit: &str| format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
    let words = |seconds: u64| match seconds {
        _ if seconds.is_multiple_of(86_400) => several(seconds / 86_400, "day"),
        _ if seconds.is_multiple_of(3_600) => several(seconds / 3_600, "hour"),
        _ => span_words(Duration::from_secs(seconds)),
    };
    let no_limit = Choice { seconds: 0, words: "No limit".to_owned(), usual: false };
    let choice = |seconds| Choice { seconds, words: words(seconds), usual: seconds == usual };
    spans.into_iter().map(choice).chain([no_limit]).collect()
}

/// How much more time it is to have.
#[component]
pub fn MoreTimeDialog(
    /// The job.
    id: JobId,
    /// What it is called.
    title: String,
    /// What is usually given, which is chosen at first.
    usual: Duration,
    /// Shown from the start.
    open: bool,
    /// What the server is called.
    label: Option<Label>,
) -> impl IntoView {
    let draw = |choice: Choice| {
        view! {
            <label class="chip">
                <input
                    type="radio"
                    name="seconds"
                    value=choice.seconds
                    checked=choice.usual
                    autofocus=choice.usual
                />
                {choice.words}
            </label>
        }
    };
    view! {
        <AskDialog
            what="more-time"
            id
            title=format!("Give “{title}” more time?")
            text="No limit of run time or silence ends it before that is over. Asking it to stop takes it back."
            button="Give more time"
            mild=true
            open
            label
        >
            <fieldset class="chips">
                <legend>"From now on"</legend>
                {choices(usual).into_iter().map(draw).collect_view()}
            </fieldset>
        </AskDialog>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_is_among_the_choices_once_and_chosen() {
        let words = |seconds| {
            let choices = choices(Duration::from_secs(seconds));
            assert_eq!(choices.iter().filter(|choice| choice.usual).count(), 1);
            choices.into_iter().map(|choice| choice.words).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(words(1_800), "10 minutes, 30 minutes, 1 hour, 4 hours, No limit");
        assert_eq!(words(86_400), "10 minutes, 30 minutes, 1 hour, 4 hours, 1 day, No limit");
        assert_eq!(words(90), "90 seconds, 10 minutes, 30 minutes, 1 hour, 4 hours, No limit");
    }
}
