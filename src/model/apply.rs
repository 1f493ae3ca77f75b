//! What events make of a job.
//!
//! [`Job::apply`] accepts any event that [`Job::decide`] produced, in order: replaying a log from its `Created`
//! gives the job back, but for heartbeats, late writes and numbers not yet recorded.

use std::sync::Arc;

use super::actor::Actor;
use super::event::{Cause, Event, EventKind, EventSource, Level};
use super::job::{AbortRequest, Job, LastMessage, LogCounts, ProgressSource};
use super::job_id::JobId;
use super::limits::MoreTime;
use super::log_line::LineKind;
use super::status::Status;
use super::text::shorten;
use super::time::Timestamp;

impl Job {
    /// The job as its first log entry makes it. Any other entry gives a job without an owner, which does not happen:
    /// stores always keep the first.
    pub(super) fn from_created(id: JobId, event: &Event) -> Self {
        let (spec, status, run_at, doubted) = match &event.kind {
            EventKind::Created { spec, status, run_at, doubted } => {
                ((**spec).clone(), *status, *run_at, doubted.is_some())
            }
            other => unreachable!("a log begins with `created`, not {other:?}"),
        };
        let running = status == Status::Running;
        let mut counts = LogCounts::default();
        counts.count(LineKind::System);
        let heard = event.heard.unwrap_or(event.at);
        Self {
            status,
            attempt: u32::from(running),
            epoch: u32::from(running),
            created_at: event.at,
            run_at,
            started_at: running.then_some(event.at),
            activity_at: heard,
            heartbeat_at: running.then_some(heard),
            seq: 1,
            revision: 1,
            counts,
            clock_doubted: doubted,
            ..Self::blank(id, Arc::new(spec))
        }
    }

    /// Puts a job together from its log. `None` where the log does not begin at its beginning.
    pub fn replay(id: JobId, log: &[Event]) -> Option<Self> {
        let (first, rest) = log.split_first()?;
        if !matches!(first.kind, EventKind::Created { .. }) {
            return None;
        }
        let mut job = Self::from_created(id, first);
        for event in rest {
            job.apply(event);
        }
        Some(job)
    }

    /// Records an event in the job. Returns the indexes of the steps it changed.
    pub fn apply(&mut self, event: &Event) -> Vec<usize> {
        self.revision += 1;
        let recorded = event.seq.is_some();
        if let Some(seq) = event.seq {
            self.seq = self.seq.max(seq);
            self.counts.count(event.kind.line_kind());
        }
        if event.source == EventSource::Run && self.status.is_active() {
            self.heartbeat_at = Some(event.heard.unwrap_or(event.at));
        }
        let mut touched = Vec::new();
        match &event.kind {
            EventKind::Created { .. } | EventKind::Heartbeat => return touched,
            EventKind::Active => {}
            EventKind::ClockMoved { by_ms } => return self.move_times(*by_ms, event.at),
            EventKind::Adopted => self.adopt(event.at),
            EventKind::ClockDoubted { .. } => self.clock_doubted = true,
            EventKind::Due => self.status = Status::Queued,
            EventKind::Claimed => self.begin_attempt(event.at),
            EventKind::LeftOut { level, count } => {
                let tail = self.tails.of_mut(*level);
                // It takes the place of the one before.
                self.counts.take_back(LineKind::System, tail.is_marked().into());
                let lines = tail.leave_out(event.seq.unwrap_or(0));
                self.counts.take_back(LineKind::from(*level), lines);
                self.dropped.set(*level, *count);
                return touched;
            }
            EventKind::Message { level, text, key, .. } => {
                self.message_key = self.message_key.max(key.unwrap_or(0));
                if let Some(seq) = event
                    .seq
                    .filter(|_| self.counts.of(LineKind::from(*level)) > u64::from(self.spec.max_lines))
                {
                    self.tails.of_mut(*level).add(seq, event.at);
                }
                if *level == Level::Error {
                    self.last_error = Some(Arc::from(text.as_str()));
                }
                self.last_message = Some(Arc::new(LastMessage {
                    level: *level,
                    text: shorten(text.as_str(), Self::LAST_MESSAGE_CHARS).into_owned(),
                    seq: event.seq,
                }));
            }
            EventKind::StepsDeclared { steps, .. } => {
                touched = Arc::make_mut(&mut self.steps).declare(steps, event.at);
                self.raise(self.steps.progress());
            }
            EventKind::Progress { step, value, from, .. } => {
                self.progress_source = *from;
                self.number_was_reported |= from.is_reported();
                match *step {
                    // Only a log that was tampered with names a step that was never declared.
                    Some(index) if index >= self.steps.steps().len() => {}
                    Some(index) => {
                        touched = Arc::make_mut(&mut self.steps).report(index, *value, event.at);
                        self.raise(self.steps.progress());
                        self.unrecorded.retain(|other| *other != index);
                        if !recorded {
                            self.unrecorded.push(index);
                        }
                    }
                    None => {
                        self.raise(*value);
                        self.unrecorded_whole = !recorded;
                    }
                }
                self.progress_at = Some(event.at);
                if recorded {
                    self.recorded_at = Some(event.at);
                }
            }
            EventKind::AbortRequested { reason, .. } => {
                self.abort = Some(Arc::new(AbortRequest {
                    reason: reason.clone(),
                    by: match &event.source {
                        EventSource::Actor(actor) => actor.to_string(),
                        EventSource::Run => Actor::runner().to_string(),
                    },
                    at: event.at,
                }));
                if self.status == Status::Running {
                    self.status = Status::Aborting;
                }
            }
            // Not the run's own doing: it is as silent as it was.
            EventKind::MoreTime { until, .. } => {
                self.more_time = Some(MoreTime { at: event.at, until: *until });
                return touched;
            }
            // What an operator did; what came of it is the entry that follows.
            EventKind::ForceFailed { .. } | EventKind::EmergencyCleaned { .. } => {}
            EventKind::Aborted { .. } => self.end(Status::Aborted, event.at),
            EventKind::Completed { output, .. } => {
                self.output = output.clone().map(Arc::new);
                self.progress = 1.0;
                self.progress_source = ProgressSource::Reported;
                self.end(Status::Completed, event.at);
            }
            EventKind::Failed { cause, error, next, .. } => {
                self.error = Some(Arc::from(error.as_str()));
                if cause.fences() {
                    self.epoch += 1;
                    self.fenced = true;
                    self.ended_cause = Some(*cause);
                    self.ended_by = match &event.source {
                        EventSource::Actor(actor) => Some(Arc::from(actor.to_string())),
                        EventSource::Run => None,
                    };
                }
                if next.is_final() {
                    // One that comes back goes on with its messages where it was.
                    let kept = (*cause == Cause::Lost).then(|| (self.message_key, self.last_error.clone()));
                    self.end(*next, event.at);
                    if let Some((key, error)) = kept {
                        (self.message_key, self.last_error) = (key, error);
                    }
                } else {
                    self.status = *next;
                    self.abort = None;
                }
            }
            EventKind::Truncated { dropped } => {
                self.dropped = *dropped;
                self.unrecorded_drops = false;
            }
            EventKind::Pinned => self.pinned = true,
            EventKind::Unpinned => self.pinned = false,
            EventKind::Retried { .. } => {
                self.status = Status::Queued;
                self.ended_at = None;
                self.abort = None;
                self.epoch += 1;
                (self.ended_cause, self.ended_by) = (None, None);
            }
        }
        // A job that ended was active last when that happened; one that goes on, when the server heard of it.
        self.activity_at = event.heard.filter(|_| !self.status.is_final()).unwrap_or(event.at);
        touched
    }

    /// The overall number only ever rises: what was shown stays true when scope grows. Where all numbers are
    /// guesses it is put right instead: another phase has begun, and what was shown was of the one before.
    fn raise(&mut self, progress: f64) {
        let is_guess = !self.progress_source.is_reported() && !self.number_was_reported;
        self.progress = if is_guess { progress } else { self.progress.max(progress) };
    }

    /// Gives the job back to the run that was given up as lost.
    fn adopt(&mut self, at: Timestamp) {
        self.status = if self.abort.is_some() { Status::Aborting } else { Status::Running };
        self.epoch = self.epoch.saturating_sub(1);
        self.fenced = false;
        self.ended_at = None;
        self.error = None;
        (self.ended_cause, self.ended_by) = (None, None);
        self.heartbeat_at = Some(at);
    }

    fn end(&mut self, status: Status, at: Timestamp) {
        self.status = status;
        self.ended_at = Some(at);
        // Only a run needs these. Ended jobs are many and kept for long, so they carry none.
        self.unrecorded.clear();
        self.unrecorded_whole = false;
        self.last_error = None;
        self.message_key = 0;
        self.recorded_at = None;
    }

    /// Keeps the run as old as it was, on a clock that was set. Returns the indexes of its steps. When the
    /// job was made stays as it was: lists are ordered by it.
    fn move_times(&mut self, by_ms: i64, now: Timestamp) -> Vec<usize> {
        let moved = |at: Timestamp| at.on_a_clock_set(by_ms, now);
        self.activity_at = self.activity_at.on_a_clock_set(by_ms, now);
        self.more_time = self.more_time.map(|given| given.on_a_clock_set(by_ms, now));
        for at in [&mut self.started_at, &mut self.progress_at, &mut self.heartbeat_at, &mut self.recorded_at]
        {
            *at = at.map(moved);
        }
        if self.steps.is_empty() { Vec::new() } else { Arc::make_mut(&mut self.steps).move_times(moved) }
    }

    fn begin_attempt(&mut self, at: Timestamp) {
        self.status = Status::Running;
        self.attempt += 1;
        self.epoch += 1;
        self.fenced = false;
        self.started_at = Some(at);
        self.heartbeat_at = Some(at);
        self.progress = 0.0;
        self.progress_at = None;
        self.steps = Arc::default();
        self.error = None;
        self.last_error = None;
        self.message_key = 0;
        self.output = None;
        self.recorded_at = None;
        (self.ended_cause, self.ended_by) = (None, None);
        self.progress_source = ProgressSource::Reported;
        self.number_was_reported = false;
        self.clock_doubted = false;
        self.more_time = None;
    }
}
