//! What can be asked of a job.

use std::time::Duration;

use serde_json::Value;

use super::actor::Actor;
use super::event::{Cause, Level, Stopped};
use super::job::ProgressSource;
use super::step_spec::StepSpec;
use super::text::{MessageText, Reason};
use super::time::Timestamp;

/// Who asks, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// Who asks.
    pub actor: Actor,
    /// The server's time.
    pub at: Timestamp,
}

/// What a runner reports in one go: all of it is recorded, or none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The epoch the runner believes in; `None` where it does not say.
    pub epoch: Option<u32>,
    /// What it reports, in order. Empty is a heartbeat.
    pub items: Vec<ReportItem>,
}

/// One thing a runner reports.
#[derive(Clone, Debug, PartialEq)]
pub enum ReportItem {
    /// What follows happened then, by the runner's clock.
    At(Timestamp),
    /// Where the numbers that follow come from. Reported, where nothing is said.
    From(ProgressSource),
    /// The work does something, though there is nothing to say: its program printed half a line.
    Active,
    /// Steps, declared or added to.
    Steps(Vec<StepSpec>),
    /// A number, 0..=1.
    Progress {
        /// The step, by path or by unique id; `None` for the job as a whole.
        step: Option<String>,
        /// The number.
        value: f64,
    },
    /// A message.
    Message {
        /// How grave.
        level: Level,
        /// What.
        text: MessageText,
        /// The step it belongs to, by path or by unique id.
        step: Option<String>,
        /// A number the reporter raises with each message it sends. A message whose key is not above the
        /// highest the job has recorded came before, and is skipped: sending again is safe.
        key: Option<u64>,
    },
}

/// What can be asked of a job that exists.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// What the run says, which happened then by its runner's clock.
    Happened {
        /// When.
        at: Timestamp,
        /// What.
        what: Box<Command>,
    },
    /// The runner reports.
    Report(Report),
    /// The runner finished the work.
    Complete {
        /// See [`Report::epoch`].
        epoch: Option<u32>,
        /// What it produced.
        output: Option<Value>,
    },
    /// The runner gave up.
    Fail {
        /// See [`Report::epoch`].
        epoch: Option<u32>,
        /// What went wrong, in words. Terminal escapes are taken out of it.
        error: Option<String>,
        /// Whether another attempt could help. `false` ends the job even where attempts are left.
        retryable: bool,
    },
    /// The runner stopped because it was asked to.
    AcknowledgeAbort {
        /// See [`Report::epoch`].
        epoch: Option<u32>,
        /// How it came to its end.
        how: Stopped,
    },
    /// Somebody asks the job to stop.
    Abort {
        /// Why.
        reason: Reason,
    },
    /// Somebody gives the run more time than its limits.
    MoreTime {
        /// No limit ends it within this, from now on; `None` where none is to end it at all any more.
        span: Option<Duration>,
        /// Why, where they say.
        reason: Option<Reason>,
    },
    /// Somebody ends the job now.
    ForceFail {
        /// Why.
        reason: Reason,
    },
    /// Somebody ends every job now.
    EmergencyClean {
        /// Why.
        reason: Reason,
    },
    /// The sweep looks whether the job is stale, and ends it if so.
    Sweep,
    /// The sweep looks whether a promised sign of life is missing for that long, and gives the run up if so.
    GiveUp {
        /// For how long.
        after: Duration,
    },
    /// The process the job ran in is gone.
    Interrupt,
    /// The server's clock was set, and the time in the context is the new one: the job is to keep its age.
    ClockMoved {
        /// By so many milliseconds; back, where negative.
        by_ms: i64,
    },
    /// A scheduled job's time has come.
    BecomeDue,
    /// A runner takes a queued job.
    Claim,
    /// Somebody sends an ended job to the queue again.
    Retry {
        /// Why.
        reason: Reason,
    },
    /// Somebody wants an ended job kept, whatever the limits of history are.
    Pin,
    /// The limits of history may have it again.
    Unpin,
}

impl Command {
    /// Whether it comes from the run itself: what a process says that works on the job.
    pub fn is_of_the_run(&self) -> bool {
        self.ends_the_run() || matches!(self.what(), Self::Report(_))
    }

    /// Whether it is the run's last word.
    pub fn ends_the_run(&self) -> bool {
        matches!(self.what(), Self::Complete { .. } | Self::Fail { .. } | Self::AcknowledgeAbort { .. })
    }

    /// The epoch that what the run says is for, where it names one.
    pub fn epoch(&self) -> Option<u32> {
        match self.what() {
            Self::Report(report) => report.epoch,
            Self::Complete { epoch, .. }
            | Self::Fail { epoch, .. }
            | Self::AcknowledgeAbort { epoch, .. } => *epoch,
            _ => None,
        }
    }

    /// The command, whenever it happened.
    fn what(&self) -> &Self {
        match self {
            Self::Happened { what, .. } => what.what(),
            command => command,
        }
    }

    /// The command as a participle, for refusals: "A job that is completed cannot be …".
    pub fn participle(&self) -> &'static str {
        match self.what() {
            Self::Happened { .. } | Self::Report(_) => "reported on",
            Self::Complete { .. } => "completed",
            Self::Fail { .. } => "failed",
            Self::AcknowledgeAbort { .. } => "marked as aborted",
            Self::Abort { .. } => "aborted",
            Self::MoreTime { .. } => "given more time",
            Self::ForceFail { .. } | Self::EmergencyClean { .. } => "force-failed",
            Self::Sweep => "swept",
            Self::GiveUp { .. } => "given up",
            Self::Interrupt => "interrupted",
            Self::ClockMoved { .. } => "moved with the clock",
            Self::BecomeDue => "made due",
            Self::Claim => "claimed",
            Self::Retry { .. } => "retried",
            Self::Pin => "pinned",
            Self::Unpin => "unpinned",
        }
    }
}

/// The words an attempt ends with, as the requirement spells them.
pub(super) fn failure_text(cause: Cause, detail: &str) -> String {
    match cause {
        Cause::ForceFailed => format!("Job force-failed: {detail}"),
        Cause::EmergencyCleanup => "Job force-failed: Emergency cleanup - system recovery".to_owned(),
        Cause::Timeout => format!("Job force-failed: Job running too long ({detail})"),
        Cause::Inactive => format!("Job force-failed: Job inactive too long ({detail})"),
        Cause::Lost => format!("Lost: its process was not heard of for {detail}"),
        Cause::ServerStopped => "Interrupted by a restart".to_owned(),
        Cause::Reported | Cause::Aborted => detail.to_owned(),
    }
}
