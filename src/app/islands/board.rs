//! The overview, alive.

mod lead;
mod needs;
mod open_table;
mod past_table;
mod tiles;

use std::cmp::Ordering;

use leptos::prelude::*;
use serde::{Deserialize, Serialize};

pub use lead::{Lead, OpenCount, Updated};
pub use needs::Needs;
pub use open_table::OpenTable;
pub use past_table::{OutcomeChips, PastCount, PastTable};
pub use tiles::Tiles;

use super::begin::begun_with;
use super::live::{Asking, Clock, Pace, Pulse, Question, dom};
use crate::model::{Counts, JobId, Status, Timestamp};
use crate::rpc::{PastFilter, PastPage, RpcError};
use crate::view::{BoardAnswer, BoardView, JobRow, Severity, attention};

/// What the overview begins with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoardProps {
    /// The board as it stood when the page was rendered.
    pub view: BoardView,
    /// The history, as it stood.
    pub past: PastPage,
    /// Which history.
    pub filter: PastFilter,
    /// The counters of the feature the page is narrowed to.
    pub of_feature: Option<Counts>,
    /// Whether the viewer may abort and force-fail.
    pub may_recover: bool,
    /// What the server is called.
    pub label: Option<String>,
}

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

impl Row {
    fn new(job: JobRow) -> Self {
        Self { id: job.id, job: ArcRwSignal::new(job) }
    }
}

/// Orders rows: what weighs more first, then what is newer. Not generic: a sort is much code.
fn order(rows: &mut [Row], weight: &dyn Fn(&Row) -> (u8, Timestamp)) {
    let mut by = |one: &Row, other: &Row| (weight(other), other.id).cmp(&(weight(one), one.id));
    let by: &mut dyn FnMut(&Row, &Row) -> Ordering = &mut by;
    rows.sort_unstable_by(by);
}

/// What needs somebody first; within that, what is newer.
fn order_by_need(rows: &mut [Row], now: Timestamp) {
    order(rows, &|row| {
        let job = row.job.read();
        let weight = match attention(&job, now).map(|need| need.severity) {
            Some(Severity::Now) => 2,
            Some(Severity::Soon) => 1,
            None => 0,
        };
        (weight, job.started_at)
    });
}

/// Rows as they are now; as they were while somebody points at something to press, so that it stays where it
/// is.
fn held(before: Option<&Vec<Row>>, now: Vec<Row>) -> Vec<Row> {
    match before {
        Some(before) if *before != now && dom::is_pointing() => before.clone(),
        _ => now,
    }
}

/// What the overview knows, for all its islands.
#[derive(Clone, Copy)]
struct KnownBoard {
    rows: RwSignal<Vec<Row>>,
    /// The view without its rows.
    frame: RwSignal<BoardView>,
    past: RwSignal<PastPage>,
    /// The history could not be had, and is to be asked for again.
    past_missed: RwSignal<bool>,
    clock: Clock,
    pulse: Pulse,
    filter: StoredValue<PastFilter>,
    of_feature: Option<Counts>,
    may_recover: bool,
    label: StoredValue<Option<String>>,
}

impl KnownBoard {
    fn new(props: BoardProps) -> Self {
        let BoardProps { mut view, past, filter, of_feature, may_recover, label } = props;
        let clock = Clock::new(view.now);
        Self {
            rows: RwSignal::new(std::mem::take(&mut view.rows).into_iter().map(Row::new).collect()),
            clock,
            pulse: Pulse::new(clock),
            frame: RwSignal::new(view),
            past: RwSignal::new(past),
            past_missed: RwSignal::new(false),
            filter: StoredValue::new(filter),
            of_feature,
            may_recover,
            label: StoredValue::new(label),
        }
    }

    /// The board of the page an island is on.
    fn here() -> Self {
        expect_context()
    }

    /// The rows of the feature the page is narrowed to, or all.
    fn shown(self) -> Vec<Row> {
        let rows = self.rows.get();
        match self.filter.with_value(|filter| filter.feature.clone()) {
            None => rows,
            Some(feature) => rows.into_iter().filter(|row| row.job.read().feature == feature).collect(),
        }
    }

    /// Takes rows in: changes those that are there, adds those that are not, removes those that are gone.
    fn merge(self, changed: &[JobRow], is_gone: impl Fn(JobId) -> bool) {
        let mut rows = self.rows.get_untracked();
        let before = rows.len();
        rows.retain(|row| !is_gone(row.id));
        let mut structure = rows.len() != before;
        for job in changed {
            match rows.iter().find(|row| row.id == job.id) {
                Some(row) => {
                    if *row.job.read_untracked() != *job {
                        row.job.set(job.clone());
                    }
                }
                None => {
                    rows.push(Row::new(job.clone()));
                    structure = true;
                }
            }
        }
        if structure {
            order(&mut rows, &|row| (0, row.job.read_untracked().started_at));
            self.rows.set(rows);
        }
    }

    fn take(self, answer: &BoardAnswer) -> Pace {
        if let Some(view) = &answer.view {
            if answer.full {
                self.merge(&view.rows, |id| !view.rows.iter().any(|row| row.id == id));
            } else {
                self.merge(&view.rows, |id| answer.gone.contains(&id));
            }
            self.frame.set(view.frame());
        }
        self.clock.set(answer.now);
        if self.past_missed.get_untracked() {
            self.past_missed.set(false);
        }
        if self.rows.read_untracked().is_empty() { Pace::Idle } else { Pace::Busy }
    }

    async fn ask(self) -> Result<BoardAnswer, RpcError> {
        let question = {
            let frame = self.frame.read_untracked();
            Question::to("/rpc/board/poll")
                .with("boot", &frame.boot)
                .with("build", &frame.build)
                .with("since", &frame.revision.to_string())
        };
        question.ask().await
    }

    async fn ask_past(self) -> Result<PastPage, RpcError> {
        let PastFilter { feature, status, author, text, cursor } = self.filter.get_value();
        let question = Question::to("/rpc/jobs/past")
            .with("build", &self.frame.read_untracked().build)
            .with_some("feature", feature.as_deref())
            .with_some("status", status.map(Status::name))
            .with_some("author", author.as_deref())
            .with_some("text", text.as_deref())
            .with_some("cursor", cursor.as_deref());
        question.ask().await
    }

    /// Makes the board and the history resources that are asked for at the pulse.
    fn follow(self) {
        let board = Asking::new(move || self.pulse.has_begun().then(|| self.ask()));
        Effect::new(move |_| match board.get() {
            Some(Ok(answer)) => {
                let pace = self.take(&answer);
                let frame = self.frame.read_untracked();
                self.pulse.answered(pace, &frame.boot, frame.revision, answer.view.is_some());
            }
            Some(Err(error)) => self.pulse.failed(&error),
            None => {}
        });
        // The history is another when a job has ended, or the server is another. A later page of it stays as
        // it is: rows must not slide away under a reader.
        let mark = Memo::new(move |_| {
            let frame = self.frame.read();
            (frame.boot.clone(), frame.past_revision, self.past_missed.get())
        });
        let rendered = mark.get_untracked();
        let stays = self.filter.with_value(|filter| filter.cursor.is_some());
        let past = Asking::new(move || {
            let as_rendered = stays || mark.get() == rendered;
            (!as_rendered).then(|| self.ask_past())
        });
        Effect::new(move |_| match past.get() {
            Some(Ok(page)) => self.past.set((*page).clone()),
            Some(Err(_)) => self.past_missed.set(true),
            None => {}
        });
        self.pulse.begin(1, None);
    }
}

/// The overview, alive: follows the server for the islands among its children.
#[island]
pub fn LiveBoard(
    /// The page.
    children: Children,
) -> impl IntoView {
    let board = KnownBoard::new(begun_with());
    provide_context(board);
    Effect::new(move |_| {
        board.follow();
    });
    children()
}
