//! What happened to a job: the entries of its one ordered log (ARCHITECTURE decision 2).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::actor::Actor;
use super::health::span_words;
use super::job::{Dropped, ProgressSource, Spec};
use super::log_line::LineKind;
use super::status::Status;
use super::step_spec::StepSpec;
use super::text::{MessageText, Reason};
use super::time::Timestamp;

/// How grave a message is. *Info*: where the work is. *Warning*: an admin should know, the work goes on.
/// *Error*: something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Where the work is.
    Info,
    /// An admin should know; the work goes on.
    Warning,
    /// Something was not done.
    Error,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The runner said so.
    Reported,
    /// It was asked to stop, and did.
    Aborted,
    /// An operator ended it.
    ForceFailed,
    /// Emergency cleanup ended it.
    EmergencyCleanup,
    /// It ran longer than its run timeout.
    #[serde(alias = "ran_too_long")]
    Timeout,
    /// It was silent longer than its activity timeout.
    Inactive,
    /// Its process had promised to be heard of, and was not.
    Lost,
    /// The process it ran in ended: this server's, or another's.
    #[serde(alias = "interrupted")]
    ServerStopped,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Reported,
        Self::Aborted,
        Self::ForceFailed,
        Self::EmergencyCleanup,
        Self::Timeout,
        Self::Inactive,
        Self::Lost,
        Self::ServerStopped,
    ];

    /// Whether somebody other than the runner ended the run. Its later writes are then those of a
    /// zombie: the epoch is raised, and they are counted.
    pub fn fences(self) -> bool {
        !matches!(self, Self::Reported | Self::Aborted)
    }

    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Aborted => "aborted",
            Self::ForceFailed => "force_failed",
            Self::EmergencyCleanup => "emergency_cleanup",
            Self::Timeout => "timeout",
            Self::Inactive => "inactive",
            Self::Lost => "lost",
            Self::ServerStopped => "server_stopped",
        }
    }
}

/// How a run that was asked to stop came to its end, as far as its runner tells. One that tells nothing is
/// taken to have stopped by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// The exit code of its process, as a shell gives it: 128 and the signal's number where a signal ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
    /// After so many seconds what had not ended was killed with SIGKILL, whatever it was doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub killed_after: Option<u32>,
}

impl Stopped {
    fn sentence(self) -> String {
        let killed = self.killed_after.map(|seconds| {
            let span = span_words(Duration::from_secs(seconds.into()));
            format!(", but not by itself: what had not ended {span} later was killed with SIGKILL")
        });
        let code = self.exit_code.map(|code| format!("; exit code {code}"));
        format!("Stopped on request{}{}", killed.unwrap_or_default(), code.unwrap_or_default())
    }
}

/// Who an entry comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventSource {
    /// The run itself. Not spelt out further: it is the same for every line of a run.
    Run,
    /// A person, program or component that acted on the job from outside.
    Actor(Actor),
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EventKind {
    /// The job came to be.
    Created {
        /// What was asked for.
        spec: Box<Spec>,
        /// Where it began: running, queued or scheduled.
        status: Status,
        /// When a scheduled job is due.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run_at: Option<Timestamp>,
        /// When it began as its runner says, where that cannot be.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        doubted: Option<Timestamp>,
    },
    /// The server's clock was set, and the times of the job's run were moved with it, so that the run is
    /// as old as it was. What the log recorded before keeps the times it was recorded at.
    ClockMoved {
        /// By so many milliseconds; back, where negative.
        by_ms: i64,
    },
    /// A scheduled job's time came.
    Due,
    /// A runner took the job: a new attempt, a new epoch.
    Claimed,
    /// The run said something.
    Message {
        /// How grave.
        level: Level,
        /// What.
        text: MessageText,
        /// The path of the step it belongs to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<String>,
        /// See [`ReportItem::Message`](super::ReportItem).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<u64>,
    },
    /// Steps were declared or added to.
    StepsDeclared {
        /// As declared.
        steps: Vec<StepSpec>,
        /// The bar would have moved back: there is more to do than was known.
        grew: bool,
    },
    /// A number was reported.
    Progress {
        /// The step's index in the tree; `None` for the job as a whole.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<usize>,
        /// The step as people read it.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        label: String,
        /// 0..=1.
        value: f64,
        /// It was the step's first report.
        started: bool,
        /// It brought the step to 1.
        ended: bool,
        /// Whether the run said it.
        #[serde(default, skip_serializing_if = "ProgressSource::is_reported")]
        from: ProgressSource,
    },
    /// The runner says it is alive. Never recorded.
    Heartbeat,
    /// The work does something, though there is nothing to say. Never recorded.
    Active,
    /// A run that was given up as lost was heard of again, and has its job back.
    Adopted,
    /// The runner says that something happened when it cannot have: before its job, or in the future. Said
    /// once; such entries bear the server's time.
    ClockDoubted {
        /// When it says.
        claimed: Timestamp,
    },
    /// Somebody asked the job to stop.
    AbortRequested {
        /// Why.
        reason: Reason,
        /// The status before.
        before: Status,
    },
    /// Somebody gave the run more time than its limits.
    MoreTime {
        /// No limit ends it before; `None` where none does at all any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
        /// Why, where they said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Reason>,
    },
    /// The job stopped because it was asked to, or had not begun.
    Aborted {
        /// How, as its runner tells.
        #[serde(flatten)]
        how: Stopped,
    },
    /// An operator ended the job. Followed by `Failed`.
    ForceFailed {
        /// Why.
        reason: Reason,
        /// The status before.
        before: Status,
    },
    /// An operator ended every job. Followed by `Failed`.
    EmergencyCleaned {
        /// Why.
        reason: Reason,
        /// The status before.
        before: Status,
    },
    /// The job ended well.
    Completed {
        /// What it produced.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<Value>,
        /// It was asked to stop, and had finished before it noticed.
        after_abort: bool,
    },
    /// The attempt ended badly.
    Failed {
        /// Why.
        cause: Cause,
        /// What went wrong, in words.
        error: String,
        /// The run had already logged these words as an error, so they are not counted twice.
        repeated: bool,
        /// Where the job goes next: failed, or queued for another attempt.
        next: Status,
    },
    /// An operator sent an ended job to the queue again.
    Retried {
        /// Why.
        reason: Reason,
        /// The status before.
        before: Status,
    },
    /// The log is full, and messages of a level were left out here: between those it has from its beginning and
    /// the newest. It takes the place of the last of them (see `model/tail.rs`).
    LeftOut {
        /// Of which level.
        level: Level,
        /// How many so far, over all attempts.
        count: u64,
    },
    /// The log is full: some messages were not kept. What older versions said, which kept none of the newest.
    Truncated {
        /// How many so far, over all attempts.
        dropped: Dropped,
    },
    /// Somebody wants the job kept.
    Pinned,
    /// Nobody insists any more that the job be kept.
    Unpinned,
}

/// An entry of a job's log.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its place in the job's log, from 1; without gaps but where a full log left messages out. `None` for a change to the projection alone: a
    /// heartbeat, or a number reported less than a second after the last that was recorded.
    pub seq: Option<u64>,
    /// When it happened: by the server's clock, or by the runner's where that is believed. By the server's, it
    /// is never earlier than the entry before, but for [`EventKind::ClockMoved`].
    pub at: Timestamp,
    /// Who it comes from.
    pub source: EventSource,
    /// What happened.
    pub kind: EventKind,
    /// When the server heard of it, where `at` is by the runner's clock. Not kept.
    pub heard: Option<Timestamp>,
}

impl EventKind {
    /// The lens through which people see the entry.
    pub fn line_kind(&self) -> LineKind {
        match self {
            Self::Message { level, .. } => LineKind::from(*level),
            Self::Failed { repeated: false, .. } => LineKind::Error,
            Self::AbortRequested { .. }
            | Self::MoreTime { .. }
            | Self::ForceFailed { .. }
            | Self::EmergencyCleaned { .. }
            | Self::Retried { .. }
            | Self::Pinned
            | Self::Unpinned => LineKind::Operator,
            Self::Progress { started: false, ended: false, .. } | Self::Heartbeat | Self::Active => {
                LineKind::Progress
            }
            Self::Created { .. }
            | Self::ClockMoved { .. }
            | Self::ClockDoubted { .. }
            | Self::Adopted
            | Self::Due
            | Self::Claimed
            | Self::StepsDeclared { .. }
            | Self::Progress { .. }
            | Self::Aborted { .. }
            | Self::Completed { .. }
            | Self::Failed { .. }
            | Self::LeftOut { .. }
            | Self::Truncated { .. } => LineKind::System,
        }
    }
}

impl Event {
    /// The entry as one sentence, which is what the log shows and what text search looks through.
    pub fn sentence(&self) -> String {
        let by = match &self.source {
            EventSource::Run => "The run".to_owned(),
            EventSource::Actor(actor) => actor.to_string(),
        };
        match &self.kind {
            EventKind::Created { doubted: Some(claimed), .. } => {
                format!("Started by {by}. {}", self.doubt(*claimed))
            }
            EventKind::Created { status, .. } => match status {
                Status::Scheduled => format!("Scheduled by {by}"),
                Status::Queued => format!("Queued by {by}"),
                _ => format!("Started by {by}"),
            },
            EventKind::ClockMoved { by_ms } => {
                format!("The server's clock was set {}; the run keeps its age", clock_words(*by_ms))
            }
            EventKind::Due => "Due: waiting for a worker".to_owned(),
            EventKind::Claimed => format!("Taken up by {by}"),
            EventKind::Message { text, .. } => text.as_str().to_owned(),
            EventKind::StepsDeclared { steps, grew } => {
                let count = count_specs(steps);
                let noun = if count == 1 { "step" } else { "steps" };
                if *grew {
                    format!("Scope grew: {count} {noun} declared")
                } else {
                    format!("{count} {noun} declared")
                }
            }
            EventKind::Progress { step, label, value, ended, started, from } => {
                let name = if step.is_some() { label.as_str() } else { "The job" };
                if *ended {
                    format!("{name} done")
                } else if *started {
                    format!("{name} started")
                } else {
                    let about = if from.is_reported() { "" } else { "about " };
                    format!("{name} at {about}{:.0} %", value * 100.0)
                }
            }
            EventKind::Heartbeat => "Alive".to_owned(),
            EventKind::Active => "Active".to_owned(),
            EventKind::Adopted => "Heard of again: the run was not lost, and goes on".to_owned(),
            EventKind::ClockDoubted { claimed } => self.doubt(*claimed),
            EventKind::AbortRequested { reason, .. } => {
                format!("{by} asked it to stop: {}", reason.as_str())
            }
            EventKind::MoreTime { until, reason } => {
                let what = match until {
                    Some(until) => {
                        format!(
                            "gave it more time: no limit ends it for {}",
                            span_words(until.since(self.at))
                        )
                    }
                    None => "took its limits away".to_owned(),
                };
                match reason {
                    Some(reason) => format!("{by} {what}. {}", reason.as_str()),
                    None => format!("{by} {what}"),
                }
            }
            EventKind::Aborted { how } => how.sentence(),
            EventKind::ForceFailed { reason, .. } => {
                format!("{by} force-failed it: {}", reason.as_str())
            }
            EventKind::EmergencyCleaned { reason, .. } => {
                format!("{by} ran an emergency cleanup: {}", reason.as_str())
            }
            EventKind::Completed { after_abort: true, .. } => {
                "Completed: the work was finished before it noticed the request to stop".to_owned()
            }
            EventKind::Completed { .. } => "Completed".to_owned(),
            EventKind::Failed { error, next: Status::Failed, repeated: false, .. } => error.clone(),
            EventKind::Failed { next: Status::Failed, .. } => "Failed".to_owned(),
            EventKind::Failed { error, .. } => format!("{error} (will be tried again)"),
            EventKind::Retried { reason, .. } => {
                format!("{by} sent it to the queue again: {}", reason.as_str())
            }
            EventKind::LeftOut { level, count } => {
                let lines = Dropped::only(*level, *count);
                format!("{lines} were left out here. The log is full: it has those before, and the newest")
            }
            EventKind::Truncated { dropped } => {
                format!("The log is full. Counted and not kept: {dropped}")
            }
            EventKind::Pinned => format!("{by} pinned it: it is kept as long as it is pinned"),
            EventKind::Unpinned => format!("{by} unpinned it"),
        }
    }

    fn doubt(&self, claimed: Timestamp) -> String {
        let words = clock_words(claimed.0.saturating_sub(self.at.0));
        format!("The runner's clock is not believed, it is {words}: what it dates so bears the server's time")
    }

    /// The path of the step the entry belongs to, where it names one.
    pub fn step_path(&self) -> Option<&str> {
        match &self.kind {
            EventKind::Message { step, .. } => step.as_deref(),
            _ => None,
        }
    }
}

/// How far a clock was set, in words: "365 days ahead", "2 hours back".
pub fn clock_words(by_ms: i64) -> String {
    let minutes = by_ms.unsigned_abs() / 60_000;
    let (count, unit) = match minutes {
        0..2 => (by_ms.unsigned_abs() / 1_000, "second"),
        2..120 => (minutes, "minute"),
        120..2_880 => (minutes / 60, "hour"),
        _ => (minutes / 1_440, "day"),
    };
    let (plural, way) = (if count == 1 { "" } else { "s" }, if by_ms < 0 { "back" } else { "ahead" });
    format!("{count} {unit}{plural} {way}")
}

fn count_specs(steps: &[StepSpec]) -> usize {
    steps.iter().map(|step| 1 + count_specs(&step.steps)).sum()
}
