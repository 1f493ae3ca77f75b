//! The jobs that have ended.

use leptos::prelude::*;

use super::KnownBoard;
use crate::app::components::{StatusBadge, TimeAt, past_address};
use crate::app::reactive::{flag, words};
use crate::model::{Status, visible};
use crate::view::{PastRow, age, thousands};

/// How many jobs ended that way, of the feature the page is narrowed to or of all.
fn count(board: KnownBoard, status: Option<Status>) -> String {
    // The counters of one feature are as old as the page; those of all are live.
    let counts = board.of_feature.unwrap_or_else(|| board.frame.read().counts);
    thousands(status.map_or(counts.past(), |status| counts.of(status)))
}

/// How many jobs have ended.
#[island]
pub fn PastCount() -> impl IntoView {
    let board = KnownBoard::here();
    view! { <span class="count">{words(move || count(board, None))}</span> }
}

/// The outcomes, as links with their counts.
#[island]
pub fn OutcomeChips() -> impl IntoView {
    let board = KnownBoard::here();
    let filter = board.filter.get_value();
    // A text or an author narrows in a way nothing counts; better no number than a wrong one.
    let counted = filter.text.is_none() && filter.author.is_none();
    let chip = |(status, word): (Option<Status>, &'static str)| {
        let here = filter.status == status;
        view! {
            <a class="chip" href=past_address(&filter, status, None) aria-current=here.then_some("true")>
                {word}
                <span class="count">{words(move || if counted { count(board, status) } else { String::new() })}</span>
            </a>
        }
    };
    let chips = [
        (None, "All"),
        (Some(Status::Completed), "Completed"),
        (Some(Status::Failed), "Failed"),
        (Some(Status::Aborted), "Aborted"),
    ];
    view! {
        <nav class="chips" aria-label="Outcome">
            {chips.map(chip).into_iter().collect_view()}
        </nav>
    }
}

/// The jobs that have ended.
#[island]
pub fn PastTable() -> impl IntoView {
    let board = KnownBoard::here();
    let filter = board.filter.get_value();
    let narrowed = filter.is_narrowed() || filter.cursor.is_some();
    let none = move || board.past.read().rows.is_empty();
    let none_word = if filter.is_narrowed() || filter.status.is_some() {
        "No job matches."
    } else {
        "No job has ended yet."
    };
    let newest = filter.cursor.is_some().then(|| past_address(&filter, filter.status, None));
    let next = move || {
        let page = board.past.read();
        page.next.as_ref().map(|cursor| past_address(&filter, filter.status, Some(cursor)))
    };
    let last = move || board.past.read().next.is_none();
    let pages = newest.is_some();
    // Who asked for one feature, or looks for something, wants to see it.
    let alike = if narrowed { usize::MAX } else { ALIKE };
    view! {
        <p class="empty" hidden=flag(move || !none())>
            {none_word}
        </p>
        <table class="jobs past" hidden=flag(none)>
            <thead>
                <tr>
                    <th scope="col">"Job"</th>
                    <th scope="col">"Outcome"</th>
                    <th scope="col">"Result"</th>
                    <th scope="col" class="num">
                        "Ended"
                    </th>
                    <th scope="col">"Started by"</th>
                </tr>
            </thead>
            {move || groups(board.past.get().rows, alike).into_iter().map(|group| draw(board, group)).collect_view()}
        </table>
        <div class="pager" hidden=flag(move || !pages && last())>
            <a class="button" rel="prev" href=newest hidden=!pages>
                "Newest"
            </a>
            <a class="button" rel="next" href=next hidden=flag(last)>
                "Older"
            </a>
        </div>
    }
}

/// More rows in a row than this, of one feature and one outcome, are folded into the newest of them.
const ALIKE: usize = 4;

/// Rows that follow each other and are alike; those of a group behind its first are folded.
fn groups(rows: Vec<PastRow>, alike: usize) -> Vec<Vec<PastRow>> {
    let mut groups: Vec<Vec<PastRow>> = Vec::new();
    for row in rows {
        match groups.last_mut() {
            Some(group) if group[0].feature == row.feature && group[0].status == row.status => {
                group.push(row);
            }
            _ => groups.push(vec![row]),
        }
    }
    let apart = |group: Vec<PastRow>| {
        if group.len() > alike { vec![group] } else { group.into_iter().map(|row| vec![row]).collect() }
    };
    groups.into_iter().flat_map(apart).collect()
}

/// A row, or one that stands for others like it. They are there, and shown when they are asked for: by a box
/// that is ticked, so that it works without scripts.
fn draw(board: KnownBoard, group: Vec<PastRow>) -> impl IntoView {
    let folded = group.len() - 1;
    let class = if folded > 0 { "folded" } else { "" };
    let rows = group.into_iter().enumerate();
    let rows = rows.map(|(index, row)| past_row(board, row, if index == 0 { folded } else { 0 }));
    view! { <tbody class=class>{rows.collect_view()}</tbody> }
}

fn past_row(board: KnownBoard, row: PastRow, folded: usize) -> impl IntoView {
    let now = board.clock.now;
    let ended = row.ended_at;
    let fold = (folded > 0).then(|| {
        view! {
            <label class="fold">
                <input type="checkbox" />
                {format!("{folded} more like it")}
            </label>
        }
    });
    let late = match row.late_writes {
        0 => String::new(),
        1 => " · 1 late write refused".to_owned(),
        late => format!(" · {late} late writes refused"),
    };
    let result = format!("{}{late}", visible(&row.result, false));
    let whole = result.clone();
    view! {
        <tr>
            <td>
                <a class="name" href=format!("/admin/jobs/{}", row.id)>
                    {visible(&row.title, false).into_owned()}
                </a>
                <div class="sub">{visible(&row.feature, false).into_owned()} {fold}</div>
            </td>
            <td>
                <StatusBadge status=row.status need=None />
            </td>
            <td class="last" title=whole>
                {result}
            </td>
            <td class="num">
                <TimeAt at=ended />
                <div class="sub">
                    <span class="age">{words(move || age(now.get().since(ended)))}</span>
                    " · took "
                    {row.took}
                </div>
            </td>
            <td>{visible(&row.author, false).into_owned()}</td>
        </tr>
    }
}
