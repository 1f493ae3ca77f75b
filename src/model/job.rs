//! A job as it stands now: the projection of its log.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::event::Level;
use super::job_id::JobId;
use super::limits::Timeouts;
use super::log_line::LineKind;
use super::status::Status;
use super::step_tree::StepTree;
use super::text::{Author, Feature, Reason, Tag, Title};
use super::time::Timestamp;

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Execution {
    /// A program elsewhere runs it and reports.
    External,
    /// This server runs it; a run dies with its process.
    InProcess,
    /// A worker claims it from a queue.
    Worker,
}

/// What was asked for when the job was made. Never changes afterwards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// The job's type.
    pub feature: Feature,
    /// Whom it is for, as people read it.
    pub author: Author,
    /// The credential that started it, `user:anna` or `token:importer`: who may report on it.
    pub owner: String,
    /// What people call it; the feature where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Title>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// What it works on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// How long it may take and be silent.
    pub timeouts: Timeouts,
    /// Who does the work.
    pub execution: Execution,
    /// The most attempts, at least 1.
    pub max_attempts: u32,
    /// The queue it waits in.
    pub queue: String,
    /// Higher goes first within a queue.
    pub priority: i32,
    /// The most messages of each level that its log keeps.
    #[serde(default = "Spec::default_max_lines", skip_serializing_if = "Spec::is_default_max_lines")]
    pub max_lines: u32,
}

impl Spec {
    /// How many messages of each level a log keeps where nothing else is said.
    pub const MAX_LINES: u32 = 1_000_000;

    /// What is asked for where only this is said: somebody elsewhere runs it, once, in the requirement's time.
    pub fn new(feature: Feature, author: Author, owner: impl Into<String>) -> Self {
        Self {
            feature,
            author,
            owner: owner.into(),
            title: None,
            tags: Vec::new(),
            input: None,
            timeouts: Timeouts::REQUIRED,
            execution: Execution::External,
            max_attempts: 1,
            queue: "default".to_owned(),
            priority: 0,
            max_lines: Self::MAX_LINES,
        }
    }

    fn default_max_lines() -> u32 {
        Self::MAX_LINES
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    fn is_default_max_lines(max_lines: &u32) -> bool {
        *max_lines == Self::MAX_LINES
    }
}

/// A job to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct NewJob {
    /// Its id.
    pub id: JobId,
    /// What is asked for.
    pub spec: Spec,
    /// Begin as queued (or scheduled, with `run_at`) rather than running.
    pub enqueue: bool,
    /// When a scheduled job is due.
    pub run_at: Option<Timestamp>,
}

/// A request to stop, as it stands on the job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbortRequest {
    /// Why.
    pub reason: Reason,
    /// Who asked.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// The newest message, for lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastMessage {
    /// How grave.
    pub level: Level,
    /// The message, shortened to [`Job::LAST_MESSAGE_CHARS`] characters.
    pub text: String,
    /// Its place in the log; `None` where it was dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
}

/// How many lines of each kind a job's log has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogCounts {
    /// Messages.
    pub info: u64,
    /// Messages.
    pub warning: u64,
    /// Messages, and the error the job ended with.
    pub error: u64,
    /// Steps, status changes.
    pub system: u64,
    /// What people did.
    pub operator: u64,
}

impl LogCounts {
    /// How many lines of that kind there are.
    pub fn of(&self, kind: LineKind) -> u64 {
        match kind {
            LineKind::Info => self.info,
            LineKind::Warning => self.warning,
            LineKind::Error => self.error,
            LineKind::System => self.system,
            LineKind::Operator => self.operator,
            LineKind::Progress => 0,
        }
    }

    /// All lines.
    pub fn total(&self) -> u64 {
        LineKind::SHOWN.iter().map(|kind| self.of(*kind)).sum()
    }

    pub(super) fn count(&mut self, kind: LineKind) {
        match kind {
            LineKind::Info => self.info += 1,
            LineKind::Warning => self.warning += 1,
            LineKind::Error => self.error += 1,
            LineKind::System => self.system += 1,
            LineKind::Operator => self.operator += 1,
            LineKind::Progress => {}
        }
    }
}

/// How many messages were not kept, because the log had as many of that level as it may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Infos.
    pub info: u64,
    /// Warnings.
    pub warning: u64,
    /// Errors.
    pub error: u64,
}

impl Dropped {
    /// How many of that level.
    pub fn of(&self, level: Level) -> u64 {
        match level {
            Level::Info => self.info,
            Level::Warning => self.warning,
            Level::Error => self.error,
        }
    }

    /// Whether none was.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn count(&mut self, level: Level) {
        match level {
            Level::Info => self.info += 1,
            Level::Warning => self.warning += 1,
            Level::Error => self.error += 1,
        }
    }
}

/// In words: `2 infos and 1 error`.
impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<String> = [(self.info, "info"), (self.warning, "warning"), (self.error, "error")]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, noun)| format!("{count} {noun}{}", if count == 1 { "" } else { "s" }))
            .collect();
        f.write_str(&parts.join(" and "))
    }
}

/// A job as it stands. Cheap to copy: what is large is shared.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What was asked for.
    pub spec: Arc<Spec>,
    /// Where it stands.
    pub status: Status,
    /// Which try this is, from 1; 0 before the first.
    pub attempt: u32,
    /// The fence of the current attempt (DESIGN decision 4).
    pub epoch: u32,
    /// 0..=1, never falls within an attempt, 1 once completed.
    pub progress: f64,
    /// The steps, as last reported.
    pub steps: Arc<StepTree>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When a scheduled job is due.
    pub run_at: Option<Timestamp>,
    /// When the current attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended for good.
    pub ended_at: Option<Timestamp>,
    /// The last message, step change, moving number or status change; of an ended job, the last entry of
    /// its log.
    pub activity_at: Timestamp,
    /// When a number last moved.
    pub progress_at: Option<Timestamp>,
    /// When the runner was last heard of.
    pub heartbeat_at: Option<Timestamp>,
    /// The last entry of its log.
    pub seq: u64,
    /// Grows with every change to the job, recorded or not.
    pub revision: u64,
    /// How many lines its log has.
    pub counts: LogCounts,
    /// The newest message.
    pub last_message: Option<Arc<LastMessage>>,
    /// What went wrong, in words; for a failed attempt.
    pub error: Option<Arc<str>>,
    /// What it produced.
    pub output: Option<Arc<Value>>,
    /// The request to stop, while there is one.
    pub abort: Option<Arc<AbortRequest>>,
    /// The attempt was ended by somebody other than its runner.
    pub fenced: bool,
    /// How many writes of a fenced run were refused.
    pub late_writes: u64,
    /// When the last of them came.
    pub late_write_at: Option<Timestamp>,
    /// The newest error message of the run, to recognise it when the run fails with the same words.
    pub last_error: Option<Arc<str>>,
    /// The highest key of a message recorded so far.
    pub message_key: u64,
    /// When a number was last recorded in the log.
    pub recorded_at: Option<Timestamp>,
    /// Steps whose numbers moved since they were recorded.
    pub unrecorded: Vec<usize>,
    /// The job's own number moved since it was recorded.
    pub unrecorded_whole: bool,
    /// How many messages were not kept.
    pub dropped: Dropped,
    /// Some of them were dropped since the log last said so.
    pub unrecorded_drops: bool,
    /// Somebody wants it kept: no limit of age or number removes it.
    pub pinned: bool,
}

/// Progress as people should see it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shown {
    /// Whole percents, 0..=100. A job that still runs is never shown above 99.
    pub percent: u8,
    /// It has reported 1 and still runs.
    pub finishing: bool,
    /// More was declared than was known, so the bar stands still until the work catches up.
    pub scope_grew: bool,
}

impl Job {
    /// The most characters kept of the newest message.
    pub const LAST_MESSAGE_CHARS: usize = 240;

    /// What people call the job.
    pub fn title(&self) -> &str {
        self.spec.title.as_ref().map_or_else(|| self.spec.feature.as_str(), Title::as_str)
    }

    /// When the job began, as the requirement's `startTime` means it.
    pub fn start_time(&self) -> Timestamp {
        self.started_at.unwrap_or(self.created_at)
    }

    /// Progress as people should see it.
    pub fn shown(&self) -> Shown {
        let scope_grew =
            !self.steps.is_empty() && !self.status.is_final() && self.progress - self.steps.progress() > 1e-9;
        let finishing = self.status.is_active() && self.progress >= 1.0;
        // Rounding down, so that 100 % means done; the small constant takes back what 0.29 * 100 loses.
        let percent = (self.progress * 100.0 + 1e-9).floor().clamp(0.0, 100.0) as u8;
        let percent = if self.status == Status::Completed { 100 } else { percent.min(99) };
        Shown { percent, finishing, scope_grew }
    }

    /// The step that is being worked on, as people read it.
    pub fn current_step(&self) -> Option<String> {
        self.steps.current().map(|index| self.steps.label_path(index))
    }

    /// Counts a refused write of a fenced run.
    pub fn count_late_write(&mut self, at: Timestamp) {
        self.late_writes += 1;
        self.late_write_at = Some(self.late_write_at.map_or(at, |last| last.max(at)));
        self.revision += 1;
    }
}
