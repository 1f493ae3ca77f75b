//! Whether a job is in order, and whether the system is (the requirement's `getSystemHealth`).
//!
//! A heartbeat says the process lives; activity is a message, a step change or a moving number; progress
//! is the number. Staleness is judged by activity and run time, never by the heartbeat alone: a process
//! can live and hang (DESIGN decision 5).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::job::Job;
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

fn over(span: Duration, limit: Option<Duration>, share: f64) -> bool {
    limit.is_some_and(|limit| span > limit.mul_f64(share))
}

/// From here on a limit is worth a warning.
const WARN_AT: f64 = 0.8;

impl Job {
    /// The job's condition at `now`. A job nobody works on is always in order.
    pub fn health(&self, now: Timestamp) -> JobHealth {
        if !self.status.is_active() {
            return JobHealth {
                stale: None,
                running: Duration::ZERO,
                inactive: Duration::ZERO,
                warnings: Vec::new(),
            };
        }
        let timeouts = self.spec.timeouts;
        let running = now.since(self.start_time());
        let inactive = now.since(self.activity_at);
        let stale = if over(running, timeouts.run, 1.0) {
            Some(StaleReason::RanTooLong)
        } else if over(inactive, timeouts.activity, 1.0) {
            Some(StaleReason::Inactive)
        } else {
            None
        };
        let mut warnings = Vec::new();
        if let Some(limit) = timeouts.run.filter(|_| over(running, timeouts.run, WARN_AT)) {
            warnings.push(format!(
                "Job has been running for {} minutes (timeout: {} minutes)",
                minutes(running),
                minutes(limit)
            ));
        }
        if let Some(limit) = timeouts.activity.filter(|_| over(inactive, timeouts.activity, WARN_AT)) {
            warnings.push(format!(
                "Job has been inactive for {} minutes (inactivity timeout: {} minutes)",
                minutes(inactive),
                minutes(limit)
            ));
        }
        JobHealth { stale, running, inactive, warnings }
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
        } else if active_jobs * 5 > u64::from(limits.max_active) * 4 {
            status = status.max(HealthStatus::Degraded);
            warnings.push(format!("High number of active jobs: {active_jobs}/{}", limits.max_active));
        }
        let mut stale_jobs = 0;
        let mut early = Vec::new();
        for job in active {
            let health = job.health(now);
            let lines = health.warnings.iter().map(|warning| format!("Job {}: {warning}", job.id));
            if health.stale.is_some() {
                stale_jobs += 1;
                warnings.extend(lines);
            } else {
                early.extend(lines);
            }
        }
        if stale_jobs > 0 {
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
