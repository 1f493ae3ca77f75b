//! How much there may be, and how long it may take. The defaults are the requirement's.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::job::Spec;
use super::time::Timestamp;

/// How long a run may take, and how long it may be silent. `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Timeouts {
    /// The most time between start and end.
    pub run: Option<Duration>,
    /// The most time without a message, a step change or a moving number.
    pub activity: Option<Duration>,
}

impl Timeouts {
    /// 30 minutes to run, 10 minutes of silence: `JOB_TIMEOUT_MS` and `JOB_ACTIVITY_TIMEOUT_MS`.
    pub const REQUIRED: Self =
        Self { run: Some(Duration::from_secs(30 * 60)), activity: Some(Duration::from_secs(10 * 60)) };
    /// No limit at all.
    pub const NONE: Self = Self { run: None, activity: None };

    /// Whether there is no limit at all.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// In whole milliseconds, rounded up, as stores keep them.
    #[must_use]
    pub fn whole(self) -> Self {
        let whole = |span: Duration| {
            let ms = span.as_nanos().div_ceil(1_000_000);
            Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX).min(i64::MAX as u64))
        };
        Self { run: self.run.map(whole), activity: self.activity.map(whole) }
    }

    /// These timeouts, with what a start request says laid over them: seconds, and 0 for none.
    #[must_use]
    pub fn with_seconds(self, run: Option<u64>, activity: Option<u64>) -> Self {
        let or = |given: Option<u64>, default| match given {
            None => default,
            Some(0) => None,
            Some(seconds) => Some(Duration::from_secs(seconds)),
        };
        Self { run: or(run, self.run), activity: or(activity, self.activity) }
    }
}

/// Time that a person gave a run beyond its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoreTime {
    /// When it was given.
    pub at: Timestamp,
    /// No limit ends the run before; `None` where none ends it at all any more.
    pub until: Option<Timestamp>,
}

impl MoreTime {
    /// What a run is given where nothing is said and it has no limit to go by.
    pub const USUAL: Duration = Duration::from_secs(30 * 60);
    /// The most that is given at once: a year, as the longest limit.
    pub const MOST: Duration = Duration::from_secs(366 * 86_400);

    /// Whether it lasts at least as long as `until`.
    pub fn covers(self, until: Option<Timestamp>) -> bool {
        match (self.until, until) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(given), Some(until)) => given >= until,
        }
    }

    /// The same on a clock that was set by so many milliseconds and now shows `now`.
    #[must_use]
    pub(super) fn on_a_clock_set(self, by_ms: i64, now: Timestamp) -> Self {
        let until = self.until.map(|until| Timestamp(until.0.saturating_add(by_ms)));
        Self { at: self.at.on_a_clock_set(by_ms, now), until }
    }
}

/// What an installation allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most jobs that may be running or aborting: `MAX_ACTIVE_JOBS`.
    pub max_active: u32,
    /// The most of them that one credential may have that cannot end the jobs of others; half of them where
    /// nothing is said.
    pub max_active_each: Option<u32>,
    /// The most ended jobs that are kept: `MAX_PAST_JOBS` for the memory store.
    pub max_past: u32,
    /// How long ended jobs are kept. `None` is for ever.
    pub max_age: Option<Duration>,
    /// The most messages of each level that a job's log keeps.
    pub max_lines: u32,
    /// What a job may take where its start says nothing.
    pub timeouts: Timeouts,
    /// How long a process that promised to be heard of may not be before its job ends as lost. `None` is for
    /// ever.
    pub lost_after: Option<Duration>,
}

impl Limits {
    /// The most active jobs of one credential.
    pub fn share(&self) -> u32 {
        self.max_active_each.unwrap_or(self.max_active.div_ceil(2)).min(self.max_active)
    }

    /// How long a promised sign of life may be missing before a job is lost: 15 minutes.
    pub const LOST_AFTER: Duration = Duration::from_secs(15 * 60);

    /// The memory store's: 50 active jobs, 100 past ones, shorter logs.
    pub const MEMORY: Self = Self {
        max_active: 50,
        max_active_each: None,
        max_past: 100,
        max_age: None,
        max_lines: 100_000,
        timeouts: Timeouts::REQUIRED,
        lost_after: Some(Self::LOST_AFTER),
    };
    /// A durable store's: 50 active jobs, 100 000 past ones for 90 days.
    pub const DURABLE: Self = Self {
        max_active: 50,
        max_active_each: None,
        max_past: 100_000,
        max_age: Some(Duration::from_secs(90 * 86_400)),
        max_lines: Spec::MAX_LINES,
        timeouts: Timeouts::REQUIRED,
        lost_after: Some(Self::LOST_AFTER),
    };
}
