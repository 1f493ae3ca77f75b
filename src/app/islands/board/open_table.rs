//! The jobs that have not ended.

use leptos::prelude::*;

use super::{KnownBoard, Row, held, order_by_need};
use crate::app::components::{Bar, need_tone};
use crate::app::reactive::{flag, words};
use crate::model::{Level, Status, visible};
use crate::view::{JobRow, age, attention, duration};

/// The jobs that have not ended.
#[island]
pub fn OpenTable(
    /// What is shown where there is none.
    children: Children,
) -> impl IntoView {
    let board = KnownBoard::here();
    let open = Memo::new(move |before: Option<&Vec<Row>>| {
        let now = board.clock.sure.get();
        let mut rows = board.shown();
        rows.retain(|row| !row.job.read().status.is_final());
        order_by_need(&mut rows, now);
        held(before, rows)
    });
    let none = move || open.read().is_empty();
    view! {
        <div class="when-none" hidden=flag(move || !none())>
            {children()}
        </div>
        <table class="jobs" hidden=flag(none)>
            <thead>
                <tr>
                    <th scope="col">"Job"</th>
                    <th scope="col">"Where it is"</th>
                    <th scope="col">"Last message"</th>
                    <th scope="col" class="num">
                        "Running for"
                    </th>
                    <th scope="col">"Started by"</th>
                    <th scope="col">
                        <span class="sr">"Actions"</span>
                    </th>
                </tr>
            </thead>
            <tbody>
                <For each=move || open.get() key=|row| row.id let:row>
                    {open_row(board, row)}
                </For>
            </tbody>
        </table>
    }
}

/// A job that has not ended.
fn open_row(board: KnownBoard, row: Row) -> impl IntoView {
    let (id, now) = (row.id, board.clock.now);
    let job: RwSignal<JobRow> = row.job.into();
    let text = move |pick: fn(&JobRow) -> String| words(move || pick(&job.read()));
    let called = |job: &JobRow| visible(&job.title, false).into_owned();
    let (title, again) = (text(called), text(called));
    let feature = text(|job| {
        let feature = visible(&job.feature, false);
        if job.in_process { format!("{feature} · in this server") } else { feature.into_owned() }
    });
    let author = text(|job| visible(&job.author, false).into_owned());
    let message = text(|job| {
        job.message.as_ref().map(|message| visible(&message.text, false).into_owned()).unwrap_or_default()
    });
    let place = text(|job| match (&job.step, job.status) {
        _ if job.finishing => "Finishing".to_owned(),
        (_, Status::Scheduled) => "Scheduled".to_owned(),
        (_, Status::Queued) => "Waiting for a worker".to_owned(),
        (Some(step), _) => visible(step, false).into_owned(),
        (None, _) => "Working".to_owned(),
    });
    let percent = text(JobRow::percent_text);
    let level = text(|job| {
        let level = match job.message.as_ref().map(|message| message.level) {
            Some(Level::Error) => "last bad",
            Some(Level::Warning) => "last warn",
            _ => "last",
        };
        level.to_owned()
    });
    let bar = move || {
        let row = job.read();
        let tone = match attention(&row, board.clock.sure.get()).map(|need| need.severity) {
            Some(severity) => need_tone(severity),
            None if row.status == Status::Aborting => "warn",
            None => "run",
        };
        view! { <Bar percent=row.percent label=visible(&row.title, false).into_owned() tone /> }
    };
    let note = text(|job| match (&job.abort, job.scope_grew) {
        (Some((_, by)), _) if job.status == Status::Aborting => format!("asked to stop by {by}"),
        (_, true) => "scope grew".to_owned(),
        _ => String::new(),
    });
    let running = move || duration(now.get().since(job.read().started_at));
    let beat = move || match job.read().heartbeat_at {
        Some(at) => format!("beat {}", age(now.get().since(at))),
        None => "no beat yet".to_owned(),
    };
    let aborting = move || job.read().status == Status::Aborting;
    let ask = move || format!("/admin/jobs/{id}?ask={}", if aborting() { "force-fail" } else { "abort" });
    let word = move || if aborting() { "Force fail…".to_owned() } else { "Abort…".to_owned() };
    view! {
        <tr>
            <td>
                <a class="name" href=format!("/admin/jobs/{id}")>
                    {title}
                </a>
                <div class="sub">{feature}</div>
            </td>
            <td class="where">
                <div class="line">
                    <span>{place}</span>
                    <span>{percent}</span>
                </div>
                {bar}
                <div class="sub">{note}</div>
            </td>
            <td class=level>{message}</td>
            <td class="num">
                <span class="age">{words(running)}</span>
                <div class="sub age">{words(beat)}</div>
            </td>
            <td>{author}</td>
            <td class="num">
                <a class="button quiet" href=words(ask) hidden=!board.may_recover>
                    {words(word)}
                    <span class="sr">" " {again}</span>
                </a>
            </td>
        </tr>
    }
}
