//! The overview, alive.

mod lead;
mod needs;
mod open_table;
mod past_table;
mod tiles;

use leptos::prelude::*;
use serde::{Deserialize, Serialize};

pub use lead::{Lead, OpenCount, Updated};
pub use needs::Needs;
pub use open_table::OpenTable;
pub use past_table::{PastCount, PastTable};
pub use tiles::Tiles;

use super::live::{Pace, follow, tick};
use crate::model::{Counts, JobId, Timestamp};
use crate::rpc::{PastFilter, PastPage, RpcError, list_past, poll_board};
use crate::view::{BoardAnswer, BoardView, JobRow, Packed};

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

/// What the overview knows, for all its islands.
#[derive(Clone, Copy)]
struct Board {
    rows: RwSignal<Vec<Row>>,
    /// The view without its rows.
    frame: RwSignal<BoardView>,
    past: RwSignal<PastPage>,
    now: RwSignal<Timestamp>,
    filter: StoredValue<PastFilter>,
    of_feature: Option<Counts>,
    may_recover: bool,
}

impl Board {
    fn new(props: BoardProps) -> Self {
        let BoardProps { mut view, past, filter, of_feature, may_recover } = props;
        Self {
            rows: RwSignal::new(std::mem::take(&mut view.rows).into_iter().map(Row::new).collect()),
            now: RwSignal::new(view.now),
            frame: RwSignal::new(view),
            past: RwSignal::new(past),
            filter: StoredValue::new(filter),
            of_feature,
            may_recover,
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
    fn merge(self, changed: Vec<JobRow>, is_gone: impl Fn(JobId) -> bool) {
        let mut rows = self.rows.get_untracked();
        let before = rows.len();
        rows.retain(|row| !is_gone(row.id));
        let mut structure = rows.len() != before;
        for job in changed {
            match rows.iter().find(|row| row.id == job.id) {
                Some(row) => {
                    if *row.job.read_untracked() != job {
                        row.job.set(job);
                    }
                }
                None => {
                    rows.push(Row::new(job));
                    structure = true;
                }
            }
        }
        if structure {
            rows.sort_by_key(|row| std::cmp::Reverse((row.job.read_untracked().started_at, row.id)));
            self.rows.set(rows);
        }
    }

    fn take(self, answer: BoardAnswer) -> Pace {
        self.now.set(answer.now);
        if let Some(mut view) = answer.view {
            if view.build != self.frame.read_untracked().build {
                return Pace::Outdated;
            }
            let rows = std::mem::take(&mut view.rows);
            if answer.full {
                let here: Vec<JobId> = rows.iter().map(|row| row.id).collect();
                self.merge(rows, |id| !here.contains(&id));
            } else {
                self.merge(rows, |id| answer.gone.contains(&id));
            }
            self.frame.set(view);
        }
        if self.rows.read_untracked().is_empty() { Pace::Idle } else { Pace::Busy }
    }

    /// Which history the page has: it is another when a job has ended, or the server is another.
    fn past_mark(self) -> (String, u64) {
        let frame = self.frame.read_untracked();
        (frame.boot.clone(), frame.past_revision)
    }

    async fn fetch(self) -> Result<Pace, RpcError> {
        let (boot, build, since) = {
            let frame = self.frame.read_untracked();
            (frame.boot.clone(), frame.build.clone(), frame.revision)
        };
        let before = self.past_mark();
        let pace = self.take(poll_board(boot, build, since).await?);
        let filter = self.filter.get_value();
        // A later page of history stays as it is: rows must not slide away under a reader.
        if self.past_mark() != before && filter.cursor.is_none() && pace != Pace::Outdated {
            let PastFilter { feature, status, author, text, cursor } = filter;
            self.past.set(list_past(feature, status, author, text, cursor).await?);
        }
        Ok(pace)
    }
}

/// The overview, alive: follows the server for the islands among its children.
#[island]
pub fn LiveBoard(
    /// What it begins with.
    props: Packed<BoardProps>,
    /// The page.
    children: Children,
) -> impl IntoView {
    let board = Board::new(props.0);
    provide_context(board);
    Effect::new(move |_| {
        tick(board.now);
        follow("/api/admin/jobs/events".to_owned(), Box::new(move || Box::pin(board.fetch())));
    });
    children()
}
