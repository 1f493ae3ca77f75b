//! Whether a job is in order, and whether the system is (the requirement's `getSystemHealth`).
//!
//! A heartbeat says the process lives; activity is a message, a step change or a moving number; progress
//! is the number. Staleness is judged by activity and run time, never by the heartbeat alone: a process
//! can live and hang (ARCHITECTURE decision 5).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::attention::{Bound, Share};
use super::job::{Job, Spec};
use super::limits::Limits;
use super::page::Counts;
use super::time::Timestamp;

/// Why a job is stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StaleReason {
    /// It runs longer than its run timeout.
    RanTooLong,
    /// It has been silent longer than its activity timeout.
    Inactive,
}

/// A job's condition at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobHealth {
    /// Why it is stale, where it is.
    pub stale: Option<StaleReason>,
    /// Its process promised to be heard of, and is not.
    pub unheard: bool,
    /// How long it has been running.
    pub running: Duration,
    /// How long it has been silent.
    pub inactive: Duration,
    /// Sentences, from 80 % of a timeout on.
    pub warnings: Vec<String>,
}

/// A number of minutes, rounded as the requirement rounds.
pub fn minutes(span: Duration) -> u64 {
    (span.as_millis() as u64 + 30_000) / 60_000
}

/// A span as people read it: "45 seconds", from two minutes on "11 minutes".
pub fn span_words(span: Duration) -> String {
    match (span.as_secs(), minutes(span)) {
        (1, _) => "1 second".to_owned(),
        (seconds @ 0..120, _) => format!("{seconds} seconds"),
        (_, minutes) => format!("{minutes} minutes"),
    }
}

impl Job {
    /// The job's condition at `now`. A job nobody works on is always in order.
    pub fn health(&self, now: Timestamp) -> JobHealth {
        if !self.status.is_active() {
            return JobHealth {
                stale: None,
                unheard: false,
                running: Duration::ZERO,
                inactive: Duration::ZERO,
                warnings: Vec::new(),
            };
        }
        let watched = self.watched();
        let running = now.since(self.start_time());
        let inactive = now.since(self.activity_at);
        let unheard = watched.unheard(now).map(Duration::from_millis);
        let over = |limit: Option<Duration>, bound: Option<Bound>, share: Share| {
            limit.filter(|_| bound.is_some_and(|bound| bound.over(now, share)))
        };
        let Spec { timeouts, warn_after, .. } = &*self.spec;
        let mut warnings = Vec::new();
        let long = span_words(running);
        if let Some(limit) = over(timeouts.run, watched.run_bound(), Share::WARN) {
            warnings.push(format!("Job has been running for {long} (timeout: {})", span_words(limit)));
        } else if let Some(limit) = over(warn_after.run.or(timeouts.run), watched.long_mark(), Share::WHOLE) {
            let limit = span_words(limit);
            warnings.push(format!("Job has been running for {long} (longer than {limit}; nothing ends it)"));
        }
        let long = span_words(inactive);
        if let Some(limit) = over(timeouts.activity, watched.silence_bound(), Share::WARN) {
            let limit = span_words(limit);
            warnings.push(format!("Job has been inactive for {long} (inactivity timeout: {limit})"));
        } else if let Some(limit) =
            over(warn_after.activity.or(timeouts.activity), watched.quiet_mark(), Share::WHOLE)
        {
            let limit = span_words(limit);
            warnings.push(format!("Job has been inactive for {long} (longer than {limit}; nothing ends it)"));
        }
        if let Some(silent) = unheard {
            warnings.push(format!("Job was not heard of for {}", span_words(silent)));
        }
        JobHealth { stale: watched.stale(now), unheard: unheard.is_some(), running, inactive, warnings }
    }

    /// For how long the job's process was not heard of, where it promised to be and that is longer than `after`.
    pub fn lost_for(&self, now: Timestamp, after: Duration) -> Option<Duration> {
        self.watched().lost(now, after.as_millis() as u64).map(Duration::from_millis)
    }
}

/// The system's condition in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// All is well.
    Healthy,
    /// Something needs a person soon.
    Degraded,
    /// Something needs a person now.
    Critical,
}

impl HealthStatus {
    /// The word used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Critical => "critical",
        }
    }
}

/// Something about the system itself, rather than about a job, that a person must know of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// It needs a person now.
    pub critical: bool,
    /// In a few words.
    pub what: String,
    /// What is known of it, and what helps.
    pub detail: String,
}

impl Trouble {
    /// The store refuses writes, or cannot be read.
    pub fn of_store(error: &str) -> Self {
        Self { critical: true, what: "The store refuses writes".to_owned(), detail: error.to_owned() }
    }

    /// As one sentence.
    pub fn sentence(&self) -> String {
        format!("{}: {}", self.what, self.detail)
    }
}

/// The system's condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemHealth {
    /// In one word.
    pub status: HealthStatus,
    /// Jobs running or aborting.
    pub active_jobs: u64,
    /// The most that may be.
    pub max_active_jobs: u32,
    /// Jobs waiting.
    pub queued_jobs: u64,
    /// Jobs that ended and are still kept.
    pub past_jobs: u64,
    /// Active jobs that are stale.
    pub stale_jobs: u64,
    /// Sentences, gravest first.
    pub warnings: Vec<String>,
}

impl SystemHealth {
    /// Works the system's condition out.
    ///
    /// A full history is not a warning: keeping the newest is what it is for. (The original warned for
    /// ever once 80 jobs had ended.)
    pub fn assess<'a>(
        active: impl Iterator<Item = &'a Job>,
        counts: &Counts,
        limits: &Limits,
        troubles: &[Trouble],
        now: Timestamp,
    ) -> Self {
        let mut status = HealthStatus::Healthy;
        let mut warnings = Vec::new();
        let active_jobs = counts.active();
        for trouble in troubles {
            let grave = if trouble.critical { HealthStatus::Critical } else { HealthStatus::Degraded };
            status = status.max(grave);
            warnings.push(trouble.sentence());
        }
        if active_jobs >= u64::from(limits.max_active) {
            status = HealthStatus::Critical;
            warnings
                .push(format!("The limit of active jobs is reached: {active_jobs}/{}", limits.max_active));
        } else if Share::WARN.exceeded(active_jobs, limits.max_active.into()) {
            status = status.max(HealthStatus::Degraded);
            warnings.push(format!("High number of active jobs: {active_jobs}/{}", limits.max_active));
        }
        let (mut stale_jobs, mut unheard) = (0, false);
        let mut early = Vec::new();
        for job in active {
            let health = job.health(now);
            let lines = health.warnings.iter().map(|warning| format!("Job {}: {warning}", job.id));
            if health.stale.is_some() {
                stale_jobs += 1;
                warnings.extend(lines);
            } else if health.unheard {
                unheard = true;
                warnings.extend(lines);
            } else {
                early.extend(lines);
            }
        }
        if stale_jobs > 0 || unheard {
            status = status.max(HealthStatus::Degraded);
        }
        warnings.extend(early);
        Self {
            status,
            active_jobs,
            max_active_jobs: limits.max_active,
            queued_jobs: counts.waiting(),
            past_jobs: counts.past(),
            stale_jobs,
            warnings,
        }
    }
}
