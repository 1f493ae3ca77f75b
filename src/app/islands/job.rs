//! One job, alive.

mod facts;
mod head;
mod log;
mod steps;

use leptos::html;
use leptos::prelude::*;
use serde::{Deserialize, Serialize};

pub use facts::{Deeds, FactList};
pub use head::{JobActions, JobBar, JobHead};
pub use log::{FirstError, KindCount, LineCount, LogLines};
pub use steps::{StepCount, Steps};

use super::live::{Pace, dom, follow, tick};
use crate::model::{JobId, LogLine, Timestamp};
use crate::rpc::{LogView, RpcError, poll_job};
use crate::view::{JobAnswer, JobPageView, Packed};

/// What a job's page begins with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobProps {
    /// The job as it stood when the page was rendered.
    pub view: JobPageView,
    /// The lines of its log that are shown.
    pub lines: Vec<LogLine>,
    /// How many lines match the filter.
    pub total: u64,
    /// There are older lines.
    pub older: bool,
    /// There are newer lines, so what comes is not added here.
    pub newer: bool,
    /// Which lines.
    pub log: LogView,
    /// The line somebody came for.
    pub marked: Option<u64>,
    /// All steps are shown.
    pub unfolded: bool,
    /// The question the page came with.
    pub ask: Option<String>,
}

/// While a reader follows, the log keeps this many lines on the page…
const FOLLOWED_LINES: usize = 300;
/// …and while a reader stays, this many before the oldest go.
const KEPT_LINES: usize = 2_000;

/// What the page knows, for all its islands.
#[derive(Clone, Copy)]
struct Known {
    id: JobId,
    view: RwSignal<JobPageView>,
    now: RwSignal<Timestamp>,
    lines: RwSignal<Vec<LogLine>>,
    total: RwSignal<u64>,
    /// Lines that came while the reader was elsewhere in the log.
    unseen: RwSignal<usize>,
    /// There are older lines than those on the page.
    older: RwSignal<bool>,
    /// There are newer ones, so what comes is not added.
    newer: bool,
    log: StoredValue<LogView>,
    marked: Option<u64>,
    unfolded: bool,
    /// Where the log is drawn.
    place: NodeRef<html::Div>,
}

impl Known {
    fn new(props: JobProps) -> Self {
        Self {
            id: props.view.row.id,
            now: RwSignal::new(props.view.now),
            view: RwSignal::new(props.view),
            lines: RwSignal::new(props.lines),
            total: RwSignal::new(props.total),
            unseen: RwSignal::new(0),
            older: RwSignal::new(props.older),
            newer: props.newer,
            log: StoredValue::new(props.log),
            marked: props.marked,
            unfolded: props.unfolded,
            place: NodeRef::new(),
        }
    }

    /// What the page an island is on knows.
    fn here() -> Self {
        expect_context()
    }

    fn take(self, answer: JobAnswer) -> Pace {
        self.now.set(answer.now);
        if !answer.lines.is_empty() && !self.newer {
            self.append(answer.lines);
        }
        if let Some(view) = answer.view {
            if view.build != self.view.read_untracked().build {
                return Pace::Outdated;
            }
            self.view.set(view);
        }
        if self.view.read_untracked().row.status.is_final() { Pace::Idle } else { Pace::Busy }
    }

    /// Adds new lines. A reader at the end is taken along; one who is reading is left alone.
    fn append(self, new: Vec<LogLine>) {
        let following = self.place.get_untracked().is_none_or(|log| dom::is_at_end(&log));
        let count = new.len();
        self.total.update(|total| *total += count as u64);
        self.lines.update(|lines| {
            lines.extend(new);
            let keep = if following { FOLLOWED_LINES } else { KEPT_LINES };
            if lines.len() > keep {
                lines.drain(..lines.len() - keep);
                self.older.set(true);
            }
        });
        if following {
            self.go_to_end();
        } else {
            self.unseen.update(|unseen| *unseen += count);
        }
    }

    /// Goes to the end once the page has drawn what it was told.
    fn go_to_end(self) {
        self.unseen.set(0);
        request_animation_frame(move || {
            if let Some(log) = self.place.get_untracked() {
                dom::scroll_to_end(&log);
            }
        });
    }

    /// Asks for what is new, in parts where it is much.
    async fn fetch(self) -> Result<Pace, RpcError> {
        let mut after = {
            let last = self.lines.read_untracked().last().map_or(0, |line| line.seq);
            self.view.read_untracked().seq.max(last)
        };
        loop {
            let since = self.view.read_untracked().row.revision;
            let LogView { kind, step, text } = self.log.get_value();
            let mut answer = poll_job(self.id, since, after, kind, step, text, self.unfolded).await?;
            if answer.more {
                // The view is not taken yet: its revision would hide the lines that are still to come.
                after = answer.lines.last().map_or(after, |line| line.seq);
                answer.view = None;
                self.take(answer);
                continue;
            }
            return Ok(self.take(answer));
        }
    }
}

/// One job, alive: follows the server for the islands among its children.
#[island]
pub fn LiveJob(
    /// What it begins with.
    props: Packed<JobProps>,
    /// The page.
    children: Children,
) -> impl IntoView {
    let ask = props.0.ask.clone();
    let known = Known::new(props.0);
    provide_context(known);
    Effect::new(move |_| {
        tick(known.now);
        if !known.newer && known.marked.is_none() {
            known.go_to_end();
        }
        if let Some(ask) = &ask {
            dom::open_dialog(ask);
        }
        let stream = format!("/api/admin/jobs/events?job={}", known.id);
        follow(stream, Box::new(move || Box::pin(known.fetch())));
    });
    children()
}
