//! A job's log: the newest lines, or those around the one somebody came for.

use leptos::prelude::*;

use super::KnownJob;
use crate::app::components::{LogLineRow, log_address};
use crate::app::islands::copy::CopyButton;
use crate::app::islands::live::dom;
use crate::app::reactive::{flag, words};
use crate::app::zone;
use crate::model::{LineKind, LogLine, visible};
use crate::rpc::LogView;
use crate::view::{day_line, thousands};

/// How many lines match the filter.
#[island]
pub fn LineCount() -> impl IntoView {
    let total = KnownJob::here().total;
    let text = move || {
        let total = total.get();
        format!("{} {}", thousands(total), if total == 1 { "line" } else { "lines" })
    };
    view! { <span class="count">{words(text)}</span> }
}

/// The kinds of lines, as links with how many the job's log has.
#[island]
pub fn LogKinds() -> impl IntoView {
    let known = KnownJob::here();
    let log = known.log.get_value();
    let count = move |kind: Option<LineKind>| {
        let counts = known.view.read().counts;
        thousands(kind.map_or(counts.total(), |kind| counts.of(kind)))
    };
    let chip = |(kind, word): (Option<LineKind>, &'static str)| {
        let here = log.kind == kind && log.text.is_none() && log.step.is_none();
        let address = log_address(known.id, &LogView { kind, ..LogView::default() }, None);
        view! {
            <a class="chip" href=address aria-current=here.then_some("true")>
                {word}
                <span class="count">{words(move || count(kind))}</span>
            </a>
        }
    };
    let chips = [
        (None, "All"),
        (Some(LineKind::Warning), "Warnings"),
        (Some(LineKind::Error), "Errors"),
        (Some(LineKind::Operator), "Operator"),
    ];
    view! {
        <nav class="chips" aria-label="Kind of line">
            {chips.map(chip).into_iter().collect_view()}
        </nav>
    }
}

/// The way to the first error, once there is one.
#[island]
pub fn FirstError() -> impl IntoView {
    let known = KnownJob::here();
    let address = format!("/admin/jobs/{}?from=error#marked", known.id);
    view! {
        <a class="button" href=address hidden=flag(move || known.view.read().counts.error == 0)>
            "First error"
        </a>
    }
}

/// What stands in the log: a line, or the day on which those after it were said.
#[derive(Clone)]
enum LogRow {
    Day(u64, String),
    Line(LogLine),
}

/// The lines, and a line for each day they are of.
fn entries(known: KnownJob, zone_known: bool) -> Vec<LogRow> {
    let lines = known.lines.read();
    let mut entries = Vec::with_capacity(lines.len() + 1);
    let mut day = None;
    for line in lines.iter() {
        let here = zone::here(line.at, zone_known);
        if day.replace(here.day()) != Some(here.day()) {
            let text = format!("{}, {}", day_line(here), zone::name(line.at, zone_known));
            entries.push(LogRow::Day(line.seq, text));
        }
        entries.push(LogRow::Line(line.clone()));
    }
    entries
}

fn draw(entry: LogRow, marked: Option<u64>) -> impl IntoView {
    let (day, line) = match entry {
        LogRow::Day(_, text) => (Some(text), None),
        LogRow::Line(line) => (None, Some(line)),
    };
    view! {
        {day.map(|day| view! { <p class="more day">{day}</p> })}
        {line.map(|line| view! { <LogLineRow marked=marked == Some(line.seq) line /> })}
    }
}

/// In which zone the log's times are.
#[island]
pub fn LogZone() -> impl IntoView {
    let (known, now) = (zone::known(), KnownJob::here().clock.sure);
    view! {
        <span class="sub">
            {words(move || {
                let known = known.get();
                let whose = if known { "Your time, " } else { "Times in " };
                format!("{whose}{}", zone::name(now.get(), known))
            })}
        </span>
    }
}

/// Copies the lines on the page.
#[island]
pub fn CopyLog() -> impl IntoView {
    let known = KnownJob::here();
    let text = move || {
        let lines = known.lines.read_untracked();
        lines.iter().fold(String::new(), |text, line| text + &visible(&line.text, true) + "\n")
    };
    view! {
        <CopyButton text=text label="Copy the lines on this page" />
    }
}

/// The lines.
#[island]
pub fn LogLines() -> impl IntoView {
    let known = KnownJob::here();
    let zone_known = zone::known();
    let log = known.log.get_value();
    let (id, newest) = (known.id, log_address(known.id, &log, None));
    let nothing = if log == Default::default() { "Nothing was said yet." } else { "No line matches." };
    let older = move || {
        let first = known.lines.read().first().map_or(0, |line| line.seq);
        log_address(id, &log, Some(first))
    };
    let on_scroll = move |_| {
        if known.place.get_untracked().is_some_and(|log| dom::is_at_end(&log)) {
            known.reach_end();
        }
    };
    let unseen = move || match known.new_lines() {
        1 => "1 new line ↓".to_owned(),
        unseen => format!("{} new lines ↓", thousands(unseen)),
    };
    view! {
        <div
            class="log"
            class:ended=flag(move || known.view.read().row.status.is_final())
            role="log"
            tabindex="0"
            aria-labelledby="log-title"
            node_ref=known.place
            on:scroll=on_scroll
        >
            <p class="more" hidden=flag(move || !known.older.get())>
                <a href=words(older)>"Older lines"</a>
            </p>
            <p class="more" hidden=flag(move || !known.lines.read().is_empty())>
                {nothing}
            </p>
            <For
                each=move || entries(known, zone_known.get())
                key=|entry| match entry {
                    LogRow::Day(seq, text) => (*seq, text.clone()),
                    LogRow::Line(line) => (line.seq, String::new()),
                }
                let:entry
            >
                {draw(entry, known.marked)}
            </For>
            <p class="more" hidden=!known.newer>
                <a href=newest>"Go to the newest lines"</a>
            </p>
        </div>
        <button class="unseen" hidden=flag(move || known.new_lines() == 0) on:click=move |_| known.go_to_end()>
            {words(unseen)}
        </button>
    }
}
