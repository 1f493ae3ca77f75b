//! The states a job can be in, and the three ways it can end.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a job stands. The transitions are in `decide`, which is the table of ARCHITECTURE's *Life of a job*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits for its time to come.
    Scheduled,
    /// Waits for a worker.
    Queued,
    /// Somebody is working on it.
    Running,
    /// Somebody is working on it and was asked to stop.
    Aborting,
    /// Ended well.
    Completed,
    /// Ended badly.
    Failed,
    /// Ended because somebody asked for it.
    Aborted,
}

/// How a job ended: the final ones of [`Status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Ended well.
    Completed,
    /// Ended badly.
    Failed,
    /// Ended because somebody asked for it.
    Aborted,
}

impl Status {
    /// Every status, in the order of a job's life.
    pub const ALL: [Self; 7] = [
        Self::Scheduled,
        Self::Queued,
        Self::Running,
        Self::Aborting,
        Self::Completed,
        Self::Failed,
        Self::Aborted,
    ];

    /// The outcome, where the status is final.
    pub fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Completed => Some(Outcome::Completed),
            Self::Failed => Some(Outcome::Failed),
            Self::Aborted => Some(Outcome::Aborted),
            Self::Scheduled | Self::Queued | Self::Running | Self::Aborting => None,
        }
    }

    /// Whether the job has ended for good.
    pub fn is_final(self) -> bool {
        self.outcome().is_some()
    }

    /// Whether somebody is working on the job: what the limit of active jobs counts.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Running | Self::Aborting)
    }

    /// The name used in JSON, URLs and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Aborting => "aborting",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
        }
    }
}

impl From<Outcome> for Status {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Completed => Self::Completed,
            Outcome::Failed => Self::Failed,
            Outcome::Aborted => Self::Aborted,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Status {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|status| status.name() == text).ok_or_else(|| {
            format!(
                "`{text}` is not a status: write scheduled, queued, running, aborting, completed, failed or aborted"
            )
        })
    }
}
