//! A job as it stands now: the projection of its log.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::event::{Cause, Level};
use super::health::span_words;
use super::job_fields::job_fields;
use super::job_id::JobId;
use super::limits::{MoreTime, Timeouts};
use super::log_line::LineKind;
use super::status::Status;
use super::step_tree::StepTree;
use super::tail::Tails;
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

/// Where a job's numbers come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProgressSource {
    /// Whoever runs it said them.
    #[default]
    Reported,
    /// Read out of what it printed: "about 40 %".
    Guessed,
}

impl ProgressSource {
    /// Whether it is [`ProgressSource::Reported`].
    pub fn is_reported(&self) -> bool {
        *self == Self::Reported
    }

    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Guessed => "guessed",
        }
    }
}

/// Makes [`Spec`] and [`Job`] of the list of fields.
macro_rules! spec_and_job {
    (
        required { $($(#[doc = $required_doc:literal])* $required:ident: $required_type:ty;)* }
        named { $($(#[doc = $named_doc:literal])* $(#[serde($($named_serde:tt)*)])? $named:ident: $named_type:ty = $named_value:expr;)* }
        asked { $($(#[doc = $asked_doc:literal])* $(#[serde($($asked_serde:tt)*)])? $asked:ident: $asked_type:ty = $asked_value:expr;)* }
        asked_rarely { $($(#[doc = $rarely_doc:literal])* $(#[serde($($rarely_serde:tt)*)])? $rarely:ident: $rarely_type:ty = $rarely_value:expr;)* }
        asked_each { $($(#[doc = $each_doc:literal])* $(#[serde($($each_serde:tt)*)])? $each:ident: $each_type:ty = $each_value:expr;)* }
        $($section:ident { $($(#[doc = $doc:literal])* $(#[serde($($serde:tt)*)])? $field:ident: $type:ty = $value:expr;)* })*
    ) => {
        /// What was asked for when the job was made. Never changes afterwards.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub struct Spec {
            $($(#[doc = $required_doc])* pub $required: $required_type,)*
            $($(#[doc = $named_doc])* $(#[serde($($named_serde)*)])? pub $named: $named_type,)*
            $($(#[doc = $each_doc])* $(#[serde($($each_serde)*)])? pub $each: $each_type,)*
            $($(#[doc = $asked_doc])* $(#[serde($($asked_serde)*)])? pub $asked: $asked_type,)*
            $($(#[doc = $rarely_doc])* $(#[serde($($rarely_serde)*)])? pub $rarely: $rarely_type,)*
        }

        impl Spec {
            /// What is asked for where only this is said: somebody elsewhere runs it, once, in the
            /// requirement's time.
            pub fn new(feature: Feature, author: Author, owner: impl Into<String>) -> Self {
                Self {
                    feature,
                    author,
                    owner: owner.into(),
                    $($named: $named_value,)*
                    $($asked: $asked_value,)*
                    $($rarely: $rarely_value,)*
                    $($each: $each_value,)*
                }
            }
        }

        /// A job as it stands. Cheap to copy: what is large is shared.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Job {
            /// Its id.
            pub id: JobId,
            /// What was asked for.
            pub spec: Arc<Spec>,
            /// The steps, as last reported.
            pub steps: Arc<StepTree>,
            $($($(#[doc = $doc])* pub $field: $type,)*)*
        }

        impl Job {
            /// A job that nothing has happened to yet, not even that it was made.
            pub(super) fn blank(id: JobId, spec: Arc<Spec>) -> Self {
                Self { id, spec, steps: Arc::default(), $($($field: $value,)*)* }
            }
        }
    };
}

job_fields!(spec_and_job);

impl Spec {
    /// How many messages of each level a log keeps where nothing else is said.
    pub const MAX_LINES: u32 = 1_000_000;

    pub(crate) fn default_max_lines() -> u32 {
        Self::MAX_LINES
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    pub(crate) fn is_default_max_lines(max_lines: &u32) -> bool {
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
    /// Its place in the log; `None` where an older version dropped it. Written also then: pages read it by its place.
    #[serde(default)]
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
        self.change(kind, |count| count + 1);
    }

    /// Takes so many lines of that kind back.
    pub(super) fn take_back(&mut self, kind: LineKind, lines: u64) {
        self.change(kind, |count| count.saturating_sub(lines));
    }

    fn change(&mut self, kind: LineKind, by: impl FnOnce(u64) -> u64) {
        let count = match kind {
            LineKind::Info => &mut self.info,
            LineKind::Warning => &mut self.warning,
            LineKind::Error => &mut self.error,
            LineKind::System => &mut self.system,
            LineKind::Operator => &mut self.operator,
            LineKind::Progress => return,
        };
        *count = by(*count);
    }
}

/// How many messages were left out of the log, because it had as many of that level as it may have.
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

    /// Of one level.
    pub(super) fn only(level: Level, count: u64) -> Self {
        let mut dropped = Self::default();
        dropped.set(level, count);
        dropped
    }

    pub(super) fn set(&mut self, level: Level, count: u64) {
        match level {
            Level::Info => self.info = count,
            Level::Warning => self.warning = count,
            Level::Error => self.error = count,
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

    /// Why the job ended; `None` while it has not.
    pub fn cause(&self) -> Option<Cause> {
        match self.status {
            Status::Completed => Some(Cause::Reported),
            Status::Aborted => Some(Cause::Aborted),
            Status::Failed => Some(self.ended_cause.unwrap_or(Cause::Reported)),
            _ => None,
        }
    }

    /// Who ended the job, which limit did, and what changes it, in a sentence, where its run did not end it.
    pub fn ended_because(&self) -> Option<String> {
        let by = self.ended_by.as_deref().unwrap_or("somebody");
        let Timeouts { run, activity } = self.spec.timeouts;
        let limit = |limit: Option<Duration>| limit.map_or_else(|| "a time".to_owned(), span_words);
        let beyond = if self.more_time.is_some() { ", with the time it was given beyond it" } else { "" };
        Some(match self.ended_cause.filter(|_| self.status == Status::Failed)? {
            Cause::Reported | Cause::Aborted => return None,
            Cause::ForceFailed => format!("{by} force-failed it."),
            Cause::EmergencyCleanup => format!("{by} ran an emergency cleanup."),
            Cause::Timeout => format!(
                "Its limit of {} was over{beyond}, and {by} ended it. `timeout` at its start sets the limit, exec's --timeout, \
                 or for all jobs the server's --job-timeout.",
                limit(run)
            ),
            Cause::Inactive => format!(
                "It may be silent for {}{beyond}, and {by} ended it. `activityTimeout` at its start sets the limit, exec's \
                 --activity-timeout, or for all jobs the server's --activity-timeout.",
                limit(activity)
            ),
            Cause::Lost => format!(
                "Its process promised to be heard of every {}, and was not. The server's --lost-after says how long \
                 that may be so. Should it report again, it has its job back.",
                span_words(Duration::from_secs(self.spec.heartbeat_every.unwrap_or(0).into()))
            ),
            Cause::ServerStopped => "The server that ran it stopped.".to_owned(),
        })
    }

    /// Counts a refused write of a fenced run. Where it was the run's last word, `ended`, its process is gone:
    /// nobody needs to look for it.
    pub fn count_late_write(&mut self, at: Timestamp, ended: bool) {
        self.late_writes += 1;
        self.late_write_at =
            if ended { None } else { Some(self.late_write_at.map_or(at, |last| last.max(at))) };
        self.revision += 1;
    }
}
