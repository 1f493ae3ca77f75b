//! Whether a job needs a person, and what for: one rule for the sweep, the system's condition, the overview and
//! the API. The words for it are `view/`'s.
//!
//! Worked out from what a row of the overview knows and the time, on the server and in the browser alike, so that a
//! job goes stale on the screen at the second it does, without a request. In whole numbers: the browser would carry
//! the conversion of fractions to durations otherwise.

use std::time::Duration;

use super::health::StaleReason;
use super::job::Job;
use super::limits::MoreTime;
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
    /// Time that was given beyond the limits.
    pub more_time: Option<MoreTime>,
}

/// When something is over: so many milliseconds from a moment on.
#[derive(Clone, Copy)]
pub(super) struct Bound {
    from: Timestamp,
    span: u64,
}

impl Bound {
    pub(super) fn over(self, now: Timestamp, share: Share) -> bool {
        share.exceeded(passed(now, self.from), self.span)
    }

    fn end(self) -> Timestamp {
        Timestamp(self.from.0.saturating_add(i64::try_from(self.span).unwrap_or(i64::MAX)))
    }
}

fn passed(now: Timestamp, since: Timestamp) -> u64 {
    u64::try_from(now.0.saturating_sub(since.0)).unwrap_or(0)
}

fn over(now: Timestamp, bound: Option<Bound>, share: Share) -> bool {
    bound.is_some_and(|bound| bound.over(now, share))
}

impl Watched {
    /// What was given beyond the limits, while that counts: who asks a run to stop has changed their mind.
    fn given(&self) -> Option<MoreTime> {
        self.more_time.filter(|_| self.status == Status::Running)
    }

    /// When a limit that counts from `since` is over: at its own time, or when what was given is over, whichever
    /// is later.
    fn bound(&self, limit: Option<u64>, since: Timestamp) -> Option<Bound> {
        let own = Bound { from: since, span: limit? };
        match self.given() {
            None => Some(own),
            Some(given) => {
                let until = given.until?;
                let given = Bound { from: given.at, span: passed(until, given.at) };
                Some(if until > own.end() { given } else { own })
            }
        }
    }

    /// When a person is told, likewise. What has no limit any more is told of when it took as long again.
    fn mark(&self, warn: Option<u64>, limit: Option<u64>, since: Timestamp) -> Option<Bound> {
        match self.given() {
            Some(MoreTime { at, until: None }) => Some(Bound { from: at.max(since), span: warn.or(limit)? }),
            _ => self.bound(warn, since),
        }
    }

    /// When it has run as long as it may.
    pub(super) fn run_bound(&self) -> Option<Bound> {
        self.bound(self.run_timeout, self.started_at)
    }

    /// When it has been silent as long as it may.
    pub(super) fn silence_bound(&self) -> Option<Bound> {
        self.bound(self.activity_timeout, self.activity_at)
    }

    /// When a person is told that it runs for long.
    pub(super) fn long_mark(&self) -> Option<Bound> {
        self.mark(self.warn_run, self.run_timeout, self.started_at)
    }

    /// When a person is told that it is silent for long.
    pub(super) fn quiet_mark(&self) -> Option<Bound> {
        self.mark(self.warn_activity, self.activity_timeout, self.activity_at)
    }

    /// Whether it was asked to stop and may still take its time: no limit cuts that short.
    fn has_grace(&self, now: Timestamp) -> bool {
        self.grace_bound().is_some_and(|grace| !grace.over(now, Share::WHOLE))
    }

    fn grace_bound(&self) -> Option<Bound> {
        let from = self.abort_at.filter(|_| self.status == Status::Aborting)?;
        Some(Bound { from, span: self.grace.unwrap_or(0).saturating_add(GRACE_MS) })
    }

    fn lost_bound(&self, after: u64) -> Option<Bound> {
        let every = self.heartbeat_every.filter(|_| self.status.is_active())?;
        let from = self.heartbeat_at.unwrap_or(self.started_at);
        Some(Bound { from, span: every.saturating_mul(MISSED).max(after) })
    }

    /// Up to when no sweep ends it, where nothing more is heard of it; `lost_after` is the server's. `None` where
    /// no sweep ever does.
    pub fn due(&self, lost_after: Option<u64>) -> Option<Timestamp> {
        if !self.status.is_active() {
            return None;
        }
        let lost = lost_after.and_then(|after| self.lost_bound(after));
        let first =
            [self.run_bound(), self.silence_bound(), lost].into_iter().flatten().map(Bound::end).min()?;
        Some(self.grace_bound().map_or(first, |grace| first.max(grace.end())))
    }

    /// Why it is stale, where it is.
    pub fn stale(&self, now: Timestamp) -> Option<StaleReason> {
        if !self.status.is_active() || self.has_grace(now) {
            None
        } else if over(now, self.run_bound(), Share::WHOLE) {
            Some(StaleReason::RanTooLong)
        } else if over(now, self.silence_bound(), Share::WHOLE) {
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
        let bound = self.lost_bound(after).filter(|_| !self.has_grace(now))?;
        bound.over(now, Share::WHOLE).then(|| passed(now, bound.from))
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
        if over(now, self.silence_bound(), Share::WARN) {
            Some(Need::SilentSoon)
        } else if over(now, self.run_bound(), Share::WARN) {
            Some(Need::LongSoon)
        } else if over(now, self.quiet_mark(), Share::WHOLE) {
            Some(Need::Quiet)
        } else if over(now, self.long_mark(), Share::WHOLE) {
            Some(Need::Long)
        } else {
            None
        }
    }

    /// Whether there is a limit or a warning that more time would move.
    pub fn may_have_more_time(&self) -> bool {
        let marks = [self.run_timeout, self.activity_timeout, self.warn_run, self.warn_activity];
        self.status == Status::Running
            && marks.iter().any(Option::is_some)
            && self.more_time.is_none_or(|given| given.until.is_some())
    }
}

impl Job {
    /// What of the job says whether it needs a person.
    pub fn watched(&self) -> Watched {
        let spec = &self.spec;
        let ms = |span: Duration| span.as_millis() as u64;
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
            more_time: self.more_time,
        }
    }

    /// What a run is given where nothing is said: as long again as its limit, and no less than a minute.
    pub fn usual_more_time(&self) -> Duration {
        let limits = self.spec.timeouts;
        limits
            .run
            .or(limits.activity)
            .unwrap_or(MoreTime::USUAL)
            .clamp(Duration::from_secs(60), MoreTime::MOST)
    }
}
