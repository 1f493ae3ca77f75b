//! Whether a job needs a person, and what for: one rule for the sweep, the system's condition, the overview and
//! the API. The words for it are `view/`'s.
//!
//! Worked out from what a row of the overview knows and the time, on the server and in the browser alike, so that a
//! job goes stale on the screen at the second it does, without a request. In whole numbers: the browser would carry
//! the conversion of fractions to durations otherwise.

use super::health::StaleReason;
use super::job::Job;
use super::status::Status;
use super::time::Timestamp;

/// How urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Will need a person.
    Soon,
    /// Needs one now.
    Now,
}

/// What a job needs a person for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It ended, and its process still writes.
    Zombie,
    /// It runs longer than it may.
    RanTooLong,
    /// It is silent longer than it may be.
    Silent,
    /// Its process promised to be heard of, and is not.
    Unheard,
    /// It was asked to stop, and does not.
    NotStopping,
    /// It will soon have been silent longer than it may be.
    SilentSoon,
    /// It will soon have run longer than it may.
    LongSoon,
    /// It is silent for long. Nothing ends it.
    Quiet,
    /// It runs for long. Nothing ends it.
    Long,
}

impl Need {
    /// How urgent it is.
    pub fn severity(self) -> Severity {
        match self {
            Self::Zombie | Self::RanTooLong | Self::Silent | Self::Unheard | Self::NotStopping => {
                Severity::Now
            }
            Self::SilentSoon | Self::LongSoon | Self::Quiet | Self::Long => Severity::Soon,
        }
    }
}

/// A share of a limit: so many fifths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u64);

impl Share {
    /// All of it.
    pub const WHOLE: Self = Self(5);
    /// From here on a limit is worth a warning: 80 %.
    pub const WARN: Self = Self(4);

    /// Whether `part` is more than this share of `whole`.
    pub fn exceeded(self, part: u64, whole: u64) -> bool {
        part.saturating_mul(5) > whole.saturating_mul(self.0)
    }
}

/// How long after the last late write a process counts as still running, in milliseconds.
pub const ZOMBIE_FOR_MS: u64 = 5 * 60_000;
/// How long an asked-for stop may take beside the time that was granted: the request must be heard of, too.
const GRACE_MS: u64 = 60_000;
/// A process counts as unheard after so many of its promised signs of life are missing, and not before
/// [`UNHEARD_MS`].
const MISSED: u64 = 3;
const UNHEARD_MS: u64 = 30_000;

/// What of a job says whether it needs a person. Spans are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Where it stands.
    pub status: Status,
    /// When its run began.
    pub started_at: Timestamp,
    /// When it was last active.
    pub activity_at: Timestamp,
    /// When its runner was last heard of.
    pub heartbeat_at: Option<Timestamp>,
    /// When it was asked to stop.
    pub abort_at: Option<Timestamp>,
    /// How long it may run.
    pub run_timeout: Option<u64>,
    /// How long it may be silent.
    pub activity_timeout: Option<u64>,
    /// How long it may run before somebody is told.
    pub warn_run: Option<u64>,
    /// How long it may be silent before somebody is told.
    pub warn_activity: Option<u64>,
    /// How often it promised to be heard of.
    pub heartbeat_every: Option<u64>,
    /// How long it may take to stop.
    pub grace: Option<u64>,
    /// When the last write of a fenced run was refused.
    pub late_write_at: Option<Timestamp>,
}

fn passed(now: Timestamp, since: Timestamp) -> u64 {
    u64::try_from(now.0.saturating_sub(since.0)).unwrap_or(0)
}

fn over(span: u64, limit: Option<u64>, share: Share) -> bool {
    limit.is_some_and(|limit| share.exceeded(span, limit))
}

impl Watched {
    /// Whether it was asked to stop and may still take its time: no limit cuts that short.
    fn has_grace(&self, now: Timestamp) -> bool {
        self.status == Status::Aborting
            && self
                .abort_at
                .is_some_and(|at| passed(now, at) <= self.grace.unwrap_or(0).saturating_add(GRACE_MS))
    }

    /// Why it is stale, where it is.
    pub fn stale(&self, now: Timestamp) -> Option<StaleReason> {
        if !self.status.is_active() || self.has_grace(now) {
            None
        } else if over(passed(now, self.started_at), self.run_timeout, Share::WHOLE) {
            Some(StaleReason::RanTooLong)
        } else if over(passed(now, self.activity_at), self.activity_timeout, Share::WHOLE) {
            Some(StaleReason::Inactive)
        } else {
            None
        }
    }

    /// For how long nothing was heard of a process that promised signs of life, where that is too long.
    pub fn unheard(&self, now: Timestamp) -> Option<u64> {
        let every = self.heartbeat_every.filter(|_| self.status.is_active())?;
        let silent = passed(now, self.heartbeat_at.unwrap_or(self.started_at));
        (silent > every.saturating_mul(MISSED).max(UNHEARD_MS)).then_some(silent)
    }

    /// For how long nothing was heard of it, where that is so long that it is given up: longer than `after`, and
    /// than a few of its signs of life.
    pub fn lost(&self, now: Timestamp, after: u64) -> Option<u64> {
        let every = self.heartbeat_every.filter(|_| self.status.is_active() && !self.has_grace(now))?;
        let silent = passed(now, self.heartbeat_at.unwrap_or(self.started_at));
        (silent > every.saturating_mul(MISSED).max(after)).then_some(silent)
    }

    /// What it needs a person for, where it does; what is graver first.
    pub fn need(&self, now: Timestamp) -> Option<Need> {
        if self.status.is_final() {
            let last = self.late_write_at?;
            return (passed(now, last) < ZOMBIE_FOR_MS).then_some(Need::Zombie);
        }
        if !self.status.is_active() {
            return None;
        }
        match self.stale(now) {
            Some(StaleReason::RanTooLong) => return Some(Need::RanTooLong),
            Some(StaleReason::Inactive) => return Some(Need::Silent),
            None if self.unheard(now).is_some() => return Some(Need::Unheard),
            None if self.status == Status::Aborting => {
                return (!self.has_grace(now)).then_some(Need::NotStopping);
            }
            None => {}
        }
        let (running, silent) = (passed(now, self.started_at), passed(now, self.activity_at));
        if over(silent, self.activity_timeout, Share::WARN) {
            Some(Need::SilentSoon)
        } else if over(running, self.run_timeout, Share::WARN) {
            Some(Need::LongSoon)
        } else if over(silent, self.warn_activity, Share::WHOLE) {
            Some(Need::Quiet)
        } else if over(running, self.warn_run, Share::WHOLE) {
            Some(Need::Long)
        } else {
            None
        }
    }
}

impl Job {
    /// What of the job says whether it needs a person.
    pub fn watched(&self) -> Watched {
        let spec = &self.spec;
        let ms = |span: std::time::Duration| span.as_millis() as u64;
        let seconds = |seconds: u32| u64::from(seconds) * 1_000;
        Watched {
            status: self.status,
            started_at: self.start_time(),
            activity_at: self.activity_at,
            heartbeat_at: self.heartbeat_at,
            abort_at: self.abort.as_ref().map(|abort| abort.at),
            run_timeout: spec.timeouts.run.map(ms),
            activity_timeout: spec.timeouts.activity.map(ms),
            warn_run: spec.warn_after.run.map(ms),
            warn_activity: spec.warn_after.activity.map(ms),
            heartbeat_every: spec.heartbeat_every.map(seconds),
            grace: spec.grace.map(seconds),
            late_write_at: self.late_write_at,
        }
    }
}
