//! The overview: every job that has not ended, and the counters.

use serde::{Deserialize, Serialize};

use super::format::{duration, percent_text};
use crate::model::{
    Counts, Execution, Job, JobId, LastMessage, MoreTime, OutcomeCounts, Status, Timestamp, Trouble, Watched,
    shorten,
};

/// A job that has not ended, as a row of the overview. Also a job that has, while the process it ran in
/// still writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobRow {
    /// The job.
    pub id: JobId,
    /// What people call it.
    pub title: String,
    /// Its type.
    pub feature: String,
    /// Whom it is for.
    pub author: String,
    /// Where it stands.
    pub status: Status,
    /// Whole percents, as shown.
    pub percent: u8,
    /// It has reported 1 and still runs.
    pub finishing: bool,
    /// More was declared than was known.
    pub scope_grew: bool,
    /// The step that is being worked on.
    pub step: Option<String>,
    /// The newest message.
    pub message: Option<LastMessage>,
    /// When the run began.
    pub started_at: Timestamp,
    /// When it was last active.
    pub activity_at: Timestamp,
    /// When its runner was last heard of.
    pub heartbeat_at: Option<Timestamp>,
    /// When and by whom it was asked to stop.
    pub abort: Option<(Timestamp, String)>,
    /// Its run timeout, in milliseconds.
    pub run_timeout_ms: Option<u64>,
    /// Its activity timeout, in milliseconds.
    pub activity_timeout_ms: Option<u64>,
    /// How often its process promised to be heard of, in seconds.
    pub heartbeat_every: Option<u32>,
    /// How long its process may take to stop, in seconds.
    pub grace: Option<u32>,
    /// How long it may run before somebody is told, in milliseconds.
    pub warn_run_ms: Option<u64>,
    /// How long it may be silent before somebody is told, in milliseconds.
    pub warn_activity_ms: Option<u64>,
    /// Time that was given to it beyond its limits.
    pub more_time: Option<MoreTime>,
    /// Its number was read out of what it printed.
    pub guessed: bool,
    /// Refused writes of a fenced run, and when the last came.
    pub late_writes: u64,
    /// See `late_writes`.
    pub late_write_at: Option<Timestamp>,
    /// This server runs it.
    pub in_process: bool,
    /// Grows with every change.
    pub revision: u64,
}

impl From<&Job> for JobRow {
    fn from(job: &Job) -> Self {
        let shown = job.shown();
        let watched = job.watched();
        Self {
            id: job.id,
            title: job.title().to_owned(),
            feature: job.spec.feature.as_str().to_owned(),
            author: job.spec.author.as_str().to_owned(),
            status: job.status,
            percent: shown.percent,
            finishing: shown.finishing,
            scope_grew: shown.scope_grew,
            step: job.current_step(),
            message: job.last_message.as_deref().cloned(),
            started_at: job.start_time(),
            activity_at: job.activity_at,
            heartbeat_at: job.heartbeat_at,
            abort: job.abort.as_ref().map(|abort| (abort.at, abort.by.clone())),
            run_timeout_ms: watched.run_timeout,
            activity_timeout_ms: watched.activity_timeout,
            heartbeat_every: job.spec.heartbeat_every,
            grace: job.spec.grace,
            warn_run_ms: watched.warn_run,
            warn_activity_ms: watched.warn_activity,
            more_time: watched.more_time,
            guessed: !job.progress_source.is_reported(),
            late_writes: job.late_writes,
            late_write_at: job.late_write_at,
            in_process: job.spec.execution == Execution::InProcess,
            revision: job.revision,
        }
    }
}

/// A job that has ended, as a row of the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PastRow {
    /// The job.
    pub id: JobId,
    /// What people call it.
    pub title: String,
    /// Its type.
    pub feature: String,
    /// Whom it is for.
    pub author: String,
    /// How it ended.
    pub status: Status,
    /// What came of it: the error, or the last thing it said.
    pub result: String,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How long it ran, as people read it.
    pub took: String,
    /// Refused writes of a fenced run.
    pub late_writes: u64,
}

impl From<&Job> for PastRow {
    fn from(job: &Job) -> Self {
        let ended_at = job.ended_at.unwrap_or(job.activity_at);
        let result = match (&job.error, &job.abort, &job.last_message) {
            (Some(error), _, _) => error.to_string(),
            (None, Some(abort), _) if job.status == Status::Aborted => {
                format!("Stopped by {}: {}", abort.by, abort.reason.as_str())
            }
            (None, _, Some(message)) => message.text.clone(),
            (None, _, None) => String::new(),
        };
        Self {
            id: job.id,
            title: job.title().to_owned(),
            feature: job.spec.feature.as_str().to_owned(),
            author: job.spec.author.as_str().to_owned(),
            status: job.status,
            result: shorten(&result, Job::LAST_MESSAGE_CHARS).into_owned(),
            ended_at,
            took: duration(ended_at.since(job.start_time())),
            late_writes: job.late_writes,
        }
    }
}

impl JobRow {
    /// Progress in words: `40 %`, and `about 40 %` where it is a guess.
    pub fn percent_text(&self) -> String {
        let about = if self.guessed { "about\u{a0}" } else { "" };
        format!("{about}{}", percent_text(self.percent))
    }

    /// Whether it is stale at `now`.
    pub fn is_stale(&self, now: Timestamp) -> bool {
        self.watched().stale(now).is_some()
    }

    /// What of it says whether it needs a person: [`Job::watched`], of what a row knows.
    pub fn watched(&self) -> Watched {
        let ms = |seconds: u32| u64::from(seconds) * 1_000;
        Watched {
            status: self.status,
            started_at: self.started_at,
            activity_at: self.activity_at,
            heartbeat_at: self.heartbeat_at,
            abort_at: self.abort.as_ref().map(|(at, _)| *at),
            run_timeout: self.run_timeout_ms,
            activity_timeout: self.activity_timeout_ms,
            warn_run: self.warn_run_ms,
            warn_activity: self.warn_activity_ms,
            heartbeat_every: self.heartbeat_every.map(ms),
            grace: self.grace.map(ms),
            late_write_at: self.late_write_at,
            more_time: self.more_time,
        }
    }
}

/// When and how a server ends what is stale or lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepPlan {
    /// When it sweeps next, by its clock.
    pub next: Timestamp,
    /// How far apart its sweeps are, in milliseconds.
    pub every_ms: u64,
    /// How long a promised sign of life may be missing, in milliseconds.
    pub lost_after_ms: Option<u64>,
}

impl SweepPlan {
    /// The first sweep at `now` or later that comes after `due`. Pages ask of plans that are some sweeps old.
    pub fn after(&self, due: Timestamp, now: Timestamp) -> Timestamp {
        let missed = now.0.max(due.0.saturating_add(1)).saturating_sub(self.next.0).max(0);
        let every = i64::try_from(self.every_ms).unwrap_or(i64::MAX).max(1);
        let sweeps = missed / every + i64::from(missed % every > 0);
        Timestamp(self.next.0.saturating_add(sweeps.saturating_mul(every)))
    }
}

/// The overview as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoardView {
    /// Which run of the server this is: revisions of another mean nothing.
    pub boot: String,
    /// Which build of the program: another one's islands may not fit.
    pub build: String,
    /// Grows with every change, within a boot.
    pub revision: u64,
    /// Grows when a job ends or is removed, within a boot.
    pub past_revision: u64,
    /// The server's time.
    pub now: Timestamp,
    /// Every job that has not ended, newest first, and ended ones whose process still writes.
    pub rows: Vec<JobRow>,
    /// How many jobs there are.
    pub counts: Counts,
    /// How many ended today, UTC.
    pub today: OutcomeCounts,
    /// The most jobs that may be active.
    pub max_active: u32,
    /// What is wrong with the system itself, gravest first.
    pub troubles: Vec<Trouble>,
    /// When stale jobs are ended, where this server does that.
    pub sweep: Option<SweepPlan>,
}

impl BoardView {
    /// The view without its rows.
    pub fn frame(&self) -> Self {
        Self {
            boot: self.boot.clone(),
            build: self.build.clone(),
            rows: Vec::new(),
            troubles: self.troubles.clone(),
            ..*self
        }
    }
}

/// What a poll of the overview brings.
///
/// One flat shape rather than an enum: the browser carries the code that reads it, once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoardAnswer {
    /// The server's time.
    pub now: Timestamp,
    /// The view as it now stands; `None` where nothing changed.
    pub view: Option<BoardView>,
    /// `view` holds every row. Otherwise only those that changed, and the rest stays.
    pub full: bool,
    /// The jobs that are not on the board any more.
    pub gone: Vec<JobId>,
}

impl BoardAnswer {
    /// Nothing changed.
    pub fn unchanged(now: Timestamp) -> Self {
        Self { now, view: None, full: false, gone: Vec::new() }
    }

    /// Everything: the server is another one, or too much changed.
    pub fn full(view: BoardView) -> Self {
        Self { now: view.now, view: Some(view), full: true, gone: Vec::new() }
    }

    /// Some jobs changed.
    pub fn delta(view: BoardView, gone: Vec<JobId>) -> Self {
        Self { now: view.now, view: Some(view), full: false, gone }
    }
}
