//! The jobs that have ended.

use leptos::prelude::*;

use super::Board;
use crate::app::components::{StatusBadge, past_address};
use crate::model::{Status, visible};
use crate::view::{PastRow, thousands};

/// How many jobs ended that way, of the feature the page is narrowed to or of all.
#[island]
pub fn PastCount(
    /// Which way; `None` for any.
    status: Option<Status>,
) -> impl IntoView {
    let board = Board::here();
    let count = move || {
        // The counters of one feature are as old as the page; those of all are live.
        let counts = board.of_feature.unwrap_or_else(|| board.frame.read().counts);
        thousands(status.map_or(counts.past(), |status| counts.of(status)))
    };
    view! { <span class="count">{count}</span> }
}

/// The jobs that have ended.
#[island]
pub fn PastTable() -> impl IntoView {
    let board = Board::here();
    let filter = board.filter.get_value();
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
    view! {
        <p class="empty" hidden=move || !none()>
            {none_word}
        </p>
        <table class="jobs past" hidden=none>
            <thead>
                <tr>
                    <th scope="col">"Job"</th>
                    <th scope="col">"Outcome"</th>
                    <th scope="col">"Result"</th>
                    <th scope="col" class="num">
                        "Ended, UTC"
                    </th>
                    <th scope="col">"Started by"</th>
                </tr>
            </thead>
            <tbody>{move || board.past.get().rows.into_iter().map(past_row).collect_view()}</tbody>
        </table>
        <div class="pager" hidden=move || !pages && last()>
            <a class="button" rel="prev" href=newest hidden=!pages>
                "Newest"
            </a>
            <a class="button" rel="next" href=next hidden=last>
                "Older"
            </a>
        </div>
    }
}

fn past_row(row: PastRow) -> impl IntoView {
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
                <div class="sub">{visible(&row.feature, false).into_owned()}</div>
            </td>
            <td>
                <StatusBadge status=row.status />
            </td>
            <td class="last" title=whole>
                {result}
            </td>
            <td class="num">
                <time datetime=row.ended_iso>{row.ended}</time>
                <div class="sub">{row.took}</div>
            </td>
            <td>{visible(&row.author, false).into_owned()}</td>
        </tr>
    }
}
