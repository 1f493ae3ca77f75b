//! The overview, alive: the headline, what needs a person, the numbers, what runs, what has ended.

use leptos::prelude::*;

use super::live::{LiveState, Pace, follow, live_state, tick};
use crate::app::components::{Bar, Glyph, Icon, PastFilters, StatusBadge, Tiles, past_address};
use crate::model::{Counts, HealthStatus, JobId, Level, Status, Timestamp, visible};
use crate::rpc::{PastFilter, PastPage, RpcError, list_past, poll_board};
use crate::view::{
    BoardAnswer, BoardView, JobRow, PastRow, Severity, age, attention, clock_time, date_time, duration,
    headline, iso, percent_text, thousands,
};

/// A row and its own signal: a change touches the cells of one row.
#[derive(Clone)]
struct Row {
    id: JobId,
    job: ArcRwSignal<JobRow>,
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

/// The rows of the board, and all else it shows.
#[derive(Clone, Copy)]
struct Board {
    rows: RwSignal<Vec<Row>>,
    frame: RwSignal<BoardView>,
    past: RwSignal<PastPage>,
    now: RwSignal<Timestamp>,
}

impl Board {
    fn new(initial: BoardView, past: PastPage) -> Self {
        let rows = initial.rows.iter().cloned().map(new_row).collect();
        Self {
            rows: RwSignal::new(rows),
            now: RwSignal::new(initial.now),
            frame: RwSignal::new(BoardView { rows: Vec::new(), ..initial }),
            past: RwSignal::new(past),
        }
    }

    /// Takes rows in: changes those that are there, adds those that are not, removes those that are gone.
    fn merge(self, changed: Vec<JobRow>, is_gone: impl Fn(JobId) -> bool) {
        let mut structure = false;
        let mut rows = self.rows.get_untracked();
        let before = rows.len();
        rows.retain(|row| !is_gone(row.id));
        structure |= rows.len() != before;
        for job in changed {
            match rows.iter().find(|row| row.id == job.id) {
                Some(row) => {
                    if *row.job.read_untracked() != job {
                        row.job.set(job);
                    }
                }
                None => {
                    rows.push(new_row(job));
                    structure = true;
                }
            }
        }
        if structure {
            rows.sort_by_key(|row| {
                let job = row.job.read_untracked();
                std::cmp::Reverse((job.started_at, row.id))
            });
            self.rows.set(rows);
        }
    }

    fn take(self, answer: BoardAnswer) -> Pace {
        let view = match answer {
            BoardAnswer::Unchanged { now } => {
                self.now.set(now);
                return self.pace();
            }
            BoardAnswer::Delta { mut view, gone } => {
                self.merge(std::mem::take(&mut view.rows), |id| gone.contains(&id));
                view
            }
            BoardAnswer::Full(mut view) => {
                if view.build != self.frame.read_untracked().build {
                    return Pace::Outdated;
                }
                let rows = std::mem::take(&mut view.rows);
                let here: Vec<JobId> = rows.iter().map(|row| row.id).collect();
                self.merge(rows, |id| !here.contains(&id));
                view
            }
        };
        self.now.set(view.now);
        self.frame.set(view);
        self.pace()
    }

    fn pace(self) -> Pace {
        if self.rows.read_untracked().is_empty() { Pace::Idle } else { Pace::Busy }
    }
}

fn new_row(job: JobRow) -> Row {
    Row { id: job.id, job: ArcRwSignal::new(job) }
}

async fn fetch(board: Board, filter: PastFilter) -> Result<Pace, RpcError> {
    let (boot, build, since, past_before) = {
        let frame = board.frame.read_untracked();
        (frame.boot.clone(), frame.build.clone(), frame.revision, (frame.boot.clone(), frame.past_revision))
    };
    let pace = board.take(poll_board(boot, build, since).await?);
    let past_now = {
        let frame = board.frame.read_untracked();
        (frame.boot.clone(), frame.past_revision)
    };
    // A later page of history stays as it is: rows must not slide away under a reader.
    if past_now != past_before && filter.cursor.is_none() && pace != Pace::Outdated {
        let PastFilter { feature, status, author, text, cursor } = filter;
        board.past.set(list_past(feature, status, author, text, cursor).await?);
    }
    Ok(pace)
}

/// The overview, alive.
#[island]
pub fn LiveBoard(
    /// As it stood when the page was rendered.
    initial: BoardView,
    /// The history, as it stood.
    past: PastPage,
    /// Which history.
    filter: PastFilter,
    /// The features there are, with their counters.
    features: Vec<(String, Counts)>,
    /// Whether the viewer may abort and force-fail.
    may_recover: bool,
    /// The actions beside the headline.
    children: Children,
) -> impl IntoView {
    let board = Board::new(initial, past);
    let watched = filter.clone();
    Effect::new(move |_| {
        tick(board.now);
        let filter = watched.clone();
        follow("/api/admin/jobs/events".to_owned(), move || fetch(board, filter.clone()));
    });
    let now = board.now;
    let feature = filter.feature.clone();
    let shown = Memo::new(move |_| {
        let rows = board.rows.get();
        match &feature {
            None => rows,
            Some(feature) => rows.into_iter().filter(|row| row.job.read().feature == *feature).collect(),
        }
    });
    let needing = Memo::new(move |_| {
        let now = now.get();
        shown.get().into_iter().filter(|row| attention(&row.job.read(), now).is_some()).collect::<Vec<_>>()
    });
    let open = Memo::new(move |_| {
        shown.get().into_iter().filter(|row| !row.job.read().status.is_final()).collect::<Vec<_>>()
    });
    let lead = Memo::new(move |_| {
        let rows: Vec<JobRow> = shown.get().iter().map(|row| row.job.get()).collect();
        headline(&rows, now.get(), board.frame.read().store_error.as_deref())
    });
    let counts = Memo::new(move |_| board.frame.read().counts);
    let today = Memo::new(move |_| board.frame.read().today);
    let stale = Memo::new(move |_| {
        let now = now.get();
        board.rows.get().iter().filter(|row| is_stale(&row.job.read(), now)).count()
    });
    let max_active = board.frame.read_untracked().max_active;
    let warnings = Memo::new(move |_| {
        let active = counts.get().active();
        let full = active >= u64::from(max_active);
        let near = active * 5 > u64::from(max_active) * 4;
        let store = board.frame.read().store_error.clone();
        let store = store.map(|error| (true, format!("The store refuses writes: {error}.")));
        let limit = (full || near).then(|| {
            let what = if full { "is reached: no other job can start until one ends" } else { "is near" };
            (full, format!("The limit of active jobs {what} ({active} of {max_active})."))
        });
        store.into_iter().chain(limit).collect::<Vec<_>>()
    });
    let health = Memo::new(move |_| {
        let active = counts.get().active();
        if board.frame.read().store_error.is_some() || active >= u64::from(max_active) {
            HealthStatus::Critical
        } else if stale.get() > 0 || active * 5 > u64::from(max_active) * 4 {
            HealthStatus::Degraded
        } else {
            HealthStatus::Healthy
        }
    });
    let of_feature =
        features.iter().find(|(name, _)| Some(name) == filter.feature.as_ref()).map(|(_, counts)| *counts);
    // The counters of one feature are as old as the page; those of all are live.
    let past_counts = Signal::derive(move || match (of_feature, counts.get()) {
        (Some(of_feature), _) => of_feature,
        (None, all) => all,
    });
    let narrowed = filter.feature.clone();
    view! {
        <div class="headline">
            <div>
                {narrowed
                    .map(|feature| {
                        view! {
                            <p>
                                <a href="/admin/jobs">"Jobs"</a>
                                " / "
                                {visible(&feature, false).into_owned()}
                            </p>
                        }
                    })} <h1>{move || lead.get().0}</h1> <p>{move || lead.get().1}</p>
            </div>
            <div class="actions">{children()}</div>
        </div>
        <Show when=move || !needing.read().is_empty() || !warnings.read().is_empty()>
            <section class="card" aria-label="Needs attention">
                <For each=move || warnings.get() key=Clone::clone let((urgent, text))>
                    <div class="verdict" class:bad=urgent>
                        <Icon glyph=if urgent { Glyph::Cross } else { Glyph::Warning } />
                        <div>{text}</div>
                    </div>
                </For>
                <For each=move || needing.get() key=|row| row.id let:row>
                    <Needs row now may_recover />
                </For>
            </section>
        </Show>
        <Tiles counts today stale max_active health />
        <section class="card" aria-labelledby="running">
            <header>
                <h2 id="running">
                    "Running" <span class="count">{move || open.read().len().to_string()}</span>
                </h2>
                <div class="actions">
                    <Updated now />
                    {may_recover
                        .then(|| {
                            view! {
                                <form method="post" action="/rpc/system/sweep">
                                    <button class="quiet" title="End the jobs that are stale, now">
                                        "Sweep now"
                                    </button>
                                </form>
                            }
                        })}
                </div>
            </header>
            <Show
                when=move || !open.read().is_empty()
                fallback=|| {
                    view! {
                        <div class="empty">
                            <p>"Nothing is running."</p>
                            <p class="sub">
                                "Start a built-in job above, or wrap a command: "
                                <code>"longhaul exec -- ./import.sh"</code>
                            </p>
                        </div>
                    }
                }
            >
                <table class="jobs">
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
                            <OpenRow row now may_recover />
                        </For>
                    </tbody>
                </table>
            </Show>
        </section>
        <section class="card" aria-labelledby="past">
            <header>
                <h2 id="past">
                    "Past" <span class="count">{move || thousands(past_counts.get().past())}</span>
                </h2>
            </header>
            <PastFilters filter=filter.clone() features counts=past_counts />
            <PastTable page=board.past filter />
        </section>
    }
}

fn is_stale(row: &JobRow, now: Timestamp) -> bool {
    let over = |since: Timestamp, limit: Option<std::time::Duration>| {
        limit.is_some_and(|limit| now.since(since) > limit)
    };
    row.status.is_active()
        && (over(row.started_at, row.run_timeout) || over(row.activity_at, row.activity_timeout))
}

/// When the page was last up to date.
#[component]
fn Updated(now: RwSignal<Timestamp>) -> impl IntoView {
    let state = live_state();
    let rendered = now.get_untracked();
    view! {
        <span class="sub">
            {move || match state.get() {
                LiveState::Live | LiveState::Polling => "Updated just now".to_owned(),
                _ => format!("As of {} UTC", clock_time(rendered)),
            }}
        </span>
    }
}

/// A job that needs a person, and why.
#[component]
fn Needs(row: Row, now: RwSignal<Timestamp>, may_recover: bool) -> impl IntoView {
    let id = row.id;
    let job: RwSignal<JobRow> = row.job.into();
    let need = Memo::new(move |_| attention(&job.read(), now.get()));
    let urgent = move || need.read().as_ref().is_some_and(|need| need.severity == Severity::Now);
    let action = move || {
        let need = need.get()?;
        if !may_recover || need.elsewhere {
            return None;
        }
        let (ask, word) = if need.only_force || need.severity == Severity::Now {
            ("force-fail", "Force fail…")
        } else {
            ("abort", "Abort…")
        };
        Some(view! {
            <a class="button" href=format!("/admin/jobs/{id}?ask={ask}")>
                {word}
            </a>
        })
    };
    view! {
        <div class="verdict" class:bad=urgent>
            <Icon glyph=Signal::derive(move || if urgent() { Glyph::Cross } else { Glyph::Warning }) />
            <div>
                <b>{move || visible(&job.read().title, false).into_owned()}</b>
                " "
                {move || need.get().map(|need| need.verdict)}
                <p>{move || need.get().map(|need| need.evidence)}</p>
            </div>
            <div class="actions">
                <a class="button" href=format!("/admin/jobs/{id}")>
                    "Details"
                </a>
                {action}
            </div>
        </div>
    }
}

/// A job that has not ended.
#[component]
fn OpenRow(row: Row, now: RwSignal<Timestamp>, may_recover: bool) -> impl IntoView {
    let id = row.id;
    let job: RwSignal<JobRow> = row.job.into();
    let text = move |pick: fn(&JobRow) -> String| Memo::new(move |_| pick(&job.read()));
    let title = text(|job| visible(&job.title, false).into_owned());
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
    let level = move || match job.read().message.as_ref().map(|message| message.level) {
        Some(Level::Error) => "last bad",
        Some(Level::Warning) => "last warn",
        _ => "last",
    };
    let percent = Memo::new(move |_| job.read().percent);
    let tone = Memo::new(move |_| {
        let row = job.read();
        match attention(&row, now.get()).map(|need| need.severity) {
            _ if row.status == Status::Aborting => "warn",
            Some(Severity::Now) => "bad",
            Some(Severity::Soon) => "warn",
            None => "run",
        }
    });
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
    let aborting = Memo::new(move |_| job.read().status == Status::Aborting);
    let action = move || {
        let (ask, word) =
            if aborting.get() { ("force-fail", "Force fail…") } else { ("abort", "Abort…") };
        may_recover.then(|| {
            view! {
                <a
                    class="button quiet"
                    href=format!("/admin/jobs/{id}?ask={ask}")
                    aria-label=format!("{word} {}", title.get_untracked())
                >
                    {word}
                </a>
            }
        })
    };
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
                    <span>{move || percent_text(percent.get())}</span>
                </div>
                <Bar percent label=title tone />
                <div class="sub">{note}</div>
            </td>
            <td class=level>{message}</td>
            <td class="num">
                {running} <div class="sub">{beat}</div>
            </td>
            <td>{author}</td>
            <td class="num">{action}</td>
        </tr>
    }
}

/// The history.
#[component]
fn PastTable(page: RwSignal<PastPage>, filter: PastFilter) -> impl IntoView {
    let narrowed = filter.is_narrowed() || filter.status.is_some();
    let later = filter.cursor.is_some();
    let first = past_address(&filter, filter.status, None);
    let next = move || {
        page.read().next.as_ref().map(|cursor| {
            view! {
                <a class="button" rel="next" href=past_address(&filter, filter.status, Some(cursor))>
                    "Older"
                </a>
            }
        })
    };
    view! {
        <Show
            when=move || !page.read().rows.is_empty()
            fallback=move || {
                view! {
                    <div class="empty">
                        <p>{if narrowed { "No job matches." } else { "No job has ended yet." }}</p>
                    </div>
                }
            }
        >
            <table class="jobs past">
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
                <tbody>
                    <For each=move || page.get().rows key=|row| (row.id, row.late_writes) let:row>
                        <PastRowView row />
                    </For>
                </tbody>
            </table>
        </Show>
        <div class="pager">
            {later
                .then(|| {
                    view! {
                        <a class="button" rel="prev" href=first>
                            "Newest"
                        </a>
                    }
                })} {next}
        </div>
    }
}

#[component]
fn PastRowView(row: PastRow) -> impl IntoView {
    let late = match row.late_writes {
        0 => String::new(),
        1 => " · 1 late write refused".to_owned(),
        late => format!(" · {late} late writes refused"),
    };
    let result = format!("{}{late}", visible(&row.result, false));
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
            <td class="last" title=result>
                {result.clone()}
            </td>
            <td class="num">
                <time datetime=iso(row.ended_at)>{date_time(row.ended_at)}</time>
                <div class="sub">{duration(row.took)}</div>
            </td>
            <td>{visible(&row.author, false).into_owned()}</td>
        </tr>
    }
}
