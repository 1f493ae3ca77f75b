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
pub use log::{CopyLog, FirstError, LineCount, LogKinds, LogLines, LogZone};
pub use steps::StepCard;

use super::begin::begun_with;
use super::live::{Asking, Clock, Pace, Pulse, Question, dom};
use crate::model::{JobId, LineKind, LogLine};
use crate::rpc::{LogView, RpcError};
use crate::view::{JobAnswer, JobPageView, LogAnswer};

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
    /// What the server is called.
    pub label: Option<String>,
}

/// While a reader stays, lines are added to the log on the page until it has this many. What comes then is counted,
/// and asked for when the reader is at the end again.
const KEPT_LINES: usize = 2_000;

/// What the page knows, for all its islands.
#[derive(Clone, Copy)]
struct KnownJob {
    id: JobId,
    view: RwSignal<JobPageView>,
    clock: Clock,
    pulse: Pulse,
    lines: RwSignal<Vec<LogLine>>,
    /// The log is known up to this entry of it; not every entry is a line that is shown.
    seq: StoredValue<u64>,
    total: RwSignal<u64>,
    /// So many of them there are up to the last line on the page.
    loaded: RwSignal<u64>,
    /// Lines that were added while the reader was elsewhere in the log.
    unseen: RwSignal<u64>,
    /// There are older lines than those on the page.
    older: RwSignal<bool>,
    /// There are newer ones, so what comes is not added.
    newer: bool,
    log: StoredValue<LogView>,
    marked: Option<u64>,
    unfolded: bool,
    label: StoredValue<Option<String>>,
    /// Where the log is drawn.
    place: NodeRef<html::Div>,
}

impl KnownJob {
    fn new(props: JobProps) -> Self {
        let clock = Clock::new(props.view.now);
        let last = props.lines.last().map_or(0, |line| line.seq);
        Self {
            id: props.view.row.id,
            clock,
            pulse: Pulse::new(clock),
            seq: StoredValue::new(props.view.seq.max(last)),
            view: RwSignal::new(props.view),
            lines: RwSignal::new(props.lines),
            total: RwSignal::new(props.total),
            loaded: RwSignal::new(props.total),
            unseen: RwSignal::new(0),
            older: RwSignal::new(props.older),
            newer: props.newer,
            log: StoredValue::new(props.log),
            marked: props.marked,
            unfolded: props.unfolded,
            label: StoredValue::new(props.label),
            place: NodeRef::new(),
        }
    }

    /// What the page an island is on knows.
    fn here() -> Self {
        expect_context()
    }

    fn take(self, answer: &JobAnswer) -> Pace {
        if let Some(view) = &answer.view {
            self.view.set(view.clone());
            if let Some(total) = self.counted() {
                self.total.set(total);
            }
        }
        self.clock.set(answer.now);
        if self.view.read_untracked().row.status.is_final() { Pace::Idle } else { Pace::Busy }
    }

    /// How many lines match, where the job itself says so: it counts them by their kind.
    fn counted(self) -> Option<u64> {
        let LogView { kind, step, text } = self.log.get_value();
        let counts = self.view.read_untracked().counts;
        (step.is_none() && text.is_none()).then(|| kind.map_or(counts.total(), |kind| counts.of(kind)))
    }

    /// The reader is at the end of the log.
    fn is_followed(self) -> bool {
        self.place.get_untracked().is_none_or(|log| dom::is_at_end(&log))
    }

    /// Lines that came while the reader was elsewhere, on the page and beyond what it takes on.
    fn new_lines(self) -> u64 {
        let is_full = self.lines.read().len() >= KEPT_LINES;
        let beyond = if is_full { self.total.get().saturating_sub(self.loaded.get()) } else { 0 };
        self.unseen.get() + beyond
    }

    /// Adds new lines. A reader at the end is taken along; one who is reading is left alone.
    fn append(self, answer: &LogAnswer) {
        let following = self.is_followed();
        let count = answer.lines.len() as u64;
        match answer.skipped_of {
            Some(total) => self.loaded.set(total),
            None => self.loaded.update(|loaded| *loaded += count),
        }
        if self.counted().is_none() {
            self.total.set(self.loaded.get_untracked());
        }
        self.lines.update(|lines| {
            if answer.skipped_of.is_some() {
                lines.clear();
                self.older.set(true);
            }
            lines.extend_from_slice(&answer.lines);
        });
        if following {
            self.keep_newest();
            self.go_to_end();
        } else {
            self.unseen.update(|unseen| *unseen += count);
        }
    }

    /// Drops what nobody who follows the log looks at.
    fn keep_newest(self) {
        let count = self.lines.read_untracked().len();
        if count > LogAnswer::FOLLOWED {
            self.lines.update(|lines| drop(lines.drain(..count - LogAnswer::FOLLOWED)));
            self.older.set(true);
        }
    }

    /// The reader is at the end: what the page did not take on is asked for.
    fn reach_end(self) {
        if self.unseen.get_untracked() > 0 {
            self.unseen.set(0);
        }
        if self.lines.read_untracked().len() >= KEPT_LINES {
            self.keep_newest();
            self.pulse.ask_again();
        }
    }

    /// Goes to the end once the page has drawn what it was told.
    fn go_to_end(self) {
        self.reach_end();
        if let Some(log) = self.place.get_untracked() {
            dom::scroll_to_end(&log);
        }
        request_animation_frame(move || {
            if let Some(log) = self.place.get_untracked() {
                dom::scroll_to_end(&log);
            }
        });
    }

    /// A question about this job, from a page of this build.
    fn question(self, path: &str) -> Question {
        Question::to(path).with("build", &self.view.read_untracked().build).with("id", &self.id.to_string())
    }

    async fn ask(self) -> Result<JobAnswer, RpcError> {
        let since = self.view.read_untracked().row.revision.to_string();
        let unfolded = if self.unfolded { "true" } else { "false" };
        self.question("/rpc/jobs/poll").with("since", &since).with("unfolded", unfolded).ask().await
    }

    /// Asks for what is new in the log, in parts where it is much and somebody reads it. Nothing is asked, and the
    /// answer is `None`, while the page has no room for it.
    async fn ask_log(self) -> Result<Option<LogAnswer>, RpcError> {
        let mut lines = Vec::new();
        loop {
            let follows = self.is_followed();
            if !follows && self.lines.read_untracked().len() + lines.len() >= KEPT_LINES && lines.is_empty() {
                return Ok(None);
            }
            let LogView { kind, step, text } = self.log.get_value();
            let question = self
                .question("/rpc/jobs/log")
                .with("after", &self.seq.get_value().to_string())
                .with("follows", if follows { "true" } else { "false" })
                .with_some("kind", kind.map(LineKind::name))
                .with_some("step", step.as_deref())
                .with_some("text", text.as_deref());
            let part = question.ask::<LogAnswer>().await;
            let mut part = match part {
                Ok(part) => part,
                // What came so far is not lost: it is asked for from where it ends.
                Err(error) if lines.is_empty() => return Err(error),
                Err(_) => LogAnswer { lines: Vec::new(), ..LogAnswer::default() },
            };
            self.seq.update_value(|seq| *seq = (*seq).max(part.seq));
            if part.skipped_of.is_some() {
                lines.clear();
            }
            lines.append(&mut part.lines);
            let is_full = self.lines.read_untracked().len() + lines.len() >= KEPT_LINES;
            if !part.more || is_full || part.skipped_of.is_some() {
                return Ok(Some(LogAnswer { lines, ..part }));
            }
        }
    }

    /// Makes the job and its log resources that are asked for at the pulse.
    fn follow(self) {
        let job = Asking::new(move || self.pulse.has_begun().then(|| self.ask()));
        Effect::new(move |_| match job.get() {
            Some(Ok(answer)) => {
                let pace = self.take(&answer);
                self.pulse.answered(pace, &answer.boot, answer.revision, answer.view.is_some());
            }
            Some(Err(error)) => self.pulse.failed(&error),
            None => {}
        });
        // A part of the log that has newer lines after it stays as it is.
        if self.newer {
            return self.pulse.begin(1, Some(self.id));
        }
        let log = Asking::new(move || self.pulse.has_begun().then(|| self.ask_log()));
        Effect::new(move |_| match log.get() {
            Some(Ok(answer)) => match &*answer {
                Some(answer) => {
                    if !answer.lines.is_empty() {
                        self.append(answer);
                    }
                    self.pulse.answered(Pace::Idle, &answer.boot, answer.revision, !answer.lines.is_empty());
                }
                None => self.pulse.not_asked(),
            },
            Some(Err(error)) => self.pulse.failed(&error),
            None => {}
        });
        self.pulse.begin(2, Some(self.id));
    }
}

/// One job, alive: follows the server for the islands among its children.
#[island]
pub fn LiveJob(
    /// The page.
    children: Children,
) -> impl IntoView {
    let props: JobProps = begun_with();
    let ask = props.ask.clone();
    let known = KnownJob::new(props);
    provide_context(known);
    Effect::new(move |_| {
        if !known.newer && known.marked.is_none() {
            known.go_to_end();
        }
        if let Some(ask) = &ask {
            dom::open_dialog(ask);
        }
        known.follow();
    });
    children()
}
