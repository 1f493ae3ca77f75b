//! The state machine: commands are decided into events, which are then [applied](super::apply) to the job.
//!
//! This file is the table *Life of a job* of ARCHITECTURE.md. To decide is to read: it knows neither a clock nor a
//! store, so that a transition is decided once, in whatever transaction the store runs (ARCHITECTURE decision 3).

use std::borrow::Cow;
use std::time::Duration;

use super::actor::Actor;
use super::command::{Command, Context, Report, ReportItem, failure_text};
use super::document::check_document;
use super::escapes::without_escapes;
use super::event::{Cause, Event, EventKind, EventSource, Level, Stopped};
use super::health::{StaleReason, span_words};
use super::job::{Dropped, Execution, Job, LogCounts, NewJob, ProgressSource};
use super::log_line::LineKind;
use super::refusal::{Ended, Refusal};
use super::status::Status;
use super::step_spec::StepSpec;
use super::step_tree::{Moved, StepTree};
use super::tail::Tails;
use super::text::Invalid;
use super::time::Timestamp;

/// A bare number becomes a log entry at most this often.
const RECORD_EVERY: Duration = Duration::from_secs(1);
/// A runner's clock may differ from the server's by so much without being doubted.
const CLOCKS_DIFFER: Duration = Duration::from_secs(5);
/// A start may be made known this late: what was kept while a server was away is delivered when it is back.
const BEGAN_WITHIN: Duration = Duration::from_secs(30 * 86_400);

/// A time a runner gives, where it lies between these two; `None` where it cannot be.
fn believed(claimed: Timestamp, from: Timestamp, to: Timestamp) -> Option<Timestamp> {
    let may_be = claimed >= from.minus(CLOCKS_DIFFER) && claimed <= to.plus(CLOCKS_DIFFER) && from <= to;
    may_be.then(|| claimed.clamp(from, to))
}

impl Job {
    /// Makes a job, and the first entry of its log. Refused where what it works on could not be read back.
    pub fn create(mut new: NewJob, context: &Context) -> Result<(Self, Event), Refusal> {
        if let Some(input) = &new.spec.input {
            check_document("input", input)?;
        }
        new.spec.timeouts = new.spec.timeouts.whole();
        new.spec.warn_after = new.spec.warn_after.whole();
        let claimed = new.spec.began_at.take();
        let began = claimed.and_then(|claimed| believed(claimed, context.at.minus(BEGAN_WITHIN), context.at));
        let doubted = claimed.filter(|_| began.is_none());
        // Who starts a job at once says so a moment later.
        new.spec.began_at = began.filter(|began| context.at.since(*began) >= RECORD_EVERY);
        let at = new.spec.began_at.unwrap_or(context.at);
        let status = match (new.enqueue, new.run_at) {
            (false, _) => Status::Running,
            (true, Some(due)) if due > context.at => Status::Scheduled,
            (true, _) => Status::Queued,
        };
        let created = Event {
            seq: Some(1),
            at,
            source: EventSource::Actor(context.actor.clone()),
            kind: EventKind::Created { spec: Box::new(new.spec), status, run_at: new.run_at, doubted },
            heard: Some(context.at),
        };
        Ok((Self::from_created(new.id, &created), created))
    }

    /// What `command` would do to the job as it stands. An empty list never comes back: a command either
    /// has an effect, or is refused.
    pub fn decide(&self, command: Command, context: &Context) -> Result<Vec<Event>, Refusal> {
        if !self.may_adopt(&command) {
            return self.decide_as_it_stands(command, context);
        }
        let at = self.not_before(context.at);
        let seq = Some(self.seq + 1);
        let adopted = Event { seq, at, source: EventSource::Run, kind: EventKind::Adopted, heard: None };
        let mut job = self.clone();
        job.apply(&adopted);
        let mut events = job.decide_as_it_stands(command, context)?;
        events.insert(0, adopted);
        Ok(events)
    }

    /// Whether the command comes from the run that was given up as lost, and no other has begun: it was not
    /// lost then, and its job is its own again.
    fn may_adopt(&self, command: &Command) -> bool {
        self.status == Status::Failed
            && self.ended_cause == Some(Cause::Lost)
            && command.is_of_the_run()
            && command.epoch().is_none_or(|epoch| epoch.checked_add(1) == Some(self.epoch))
    }

    /// A moment, or that of the newest entry where that is later: a clock set back does not reorder a log.
    fn not_before(&self, at: Timestamp) -> Timestamp {
        // What a person gave is the one entry that is no activity.
        at.max(self.activity_at).max(self.more_time.map_or(at, |given| given.at))
    }

    fn decide_as_it_stands(&self, command: Command, context: &Context) -> Result<Vec<Event>, Refusal> {
        let at = self.not_before(context.at);
        let mut log = Entries::new(self, at);
        let command = match command {
            Command::Happened { at, what } => {
                log.date(at);
                *what
            }
            command => command,
        };
        let participle = command.participle();
        let actor = EventSource::Actor(context.actor.clone());
        match command {
            // Only one that was wrapped twice is left here, and none is.
            Command::Happened { .. } => return Err(self.wrong_state(participle)),
            Command::Report(report) => {
                self.check_writer(report.epoch, participle)?;
                self.decide_report(report, &mut log)?;
            }
            Command::Complete { epoch, output } => {
                self.check_writer(epoch, participle)?;
                if let Some(output) = &output {
                    check_document("output", output)?;
                }
                log.settle();
                let after_abort = self.status == Status::Aborting;
                log.record(EventSource::Run, EventKind::Completed { output, after_abort });
            }
            Command::Fail { epoch, error, retryable } => {
                self.check_writer(epoch, participle)?;
                log.settle();
                let error = error
                    .map(|text| without_escapes(&text).into_owned())
                    .filter(|text| !text.is_empty())
                    .unwrap_or_else(|| "Failed without saying why".to_owned());
                let repeated = self.last_error.as_ref().is_some_and(|logged| logged.contains(&error));
                let next = self.after_failure(retryable);
                log.record(
                    EventSource::Run,
                    EventKind::Failed { cause: Cause::Reported, error, repeated, next },
                );
            }
            Command::AcknowledgeAbort { epoch, how } => {
                self.check_writer(epoch, participle)?;
                if self.status != Status::Aborting {
                    return Err(self.wrong_state(participle));
                }
                log.settle();
                log.record(EventSource::Run, EventKind::Aborted { how });
            }
            Command::Abort { reason } => match self.status {
                Status::Scheduled | Status::Queued => {
                    log.record(actor, EventKind::AbortRequested { reason, before: self.status });
                    log.record(EventSource::Run, EventKind::Aborted { how: Stopped::default() });
                }
                Status::Running => {
                    log.record(actor, EventKind::AbortRequested { reason, before: self.status });
                }
                Status::Aborting => return Err(self.wrong_state(participle)),
                Status::Completed | Status::Failed | Status::Aborted => return Err(self.finished()),
            },
            Command::MoreTime { span, reason } => {
                self.check_open()?;
                if self.status != Status::Running {
                    return Err(self.wrong_state(participle));
                }
                let until = span.map(|span| log.at.plus(span));
                if self.more_time.is_some_and(|given| given.covers(until)) {
                    return Err(Refusal::Unchanged { already: "given as much time" });
                }
                log.record(actor, EventKind::MoreTime { until, reason });
            }
            Command::ForceFail { reason } => {
                self.check_open()?;
                log.settle();
                let error = failure_text(Cause::ForceFailed, reason.as_str());
                log.record(actor.clone(), EventKind::ForceFailed { reason, before: self.status });
                log.fail(actor, Cause::ForceFailed, error);
            }
            Command::EmergencyClean { reason } => {
                self.check_open()?;
                log.settle();
                log.record(actor.clone(), EventKind::EmergencyCleaned { reason, before: self.status });
                log.fail(actor, Cause::EmergencyCleanup, failure_text(Cause::EmergencyCleanup, ""));
            }
            Command::Sweep => {
                let health = self.health(at);
                let (cause, span) = match health.stale {
                    Some(StaleReason::RanTooLong) => (Cause::Timeout, health.running),
                    Some(StaleReason::Inactive) => (Cause::Inactive, health.inactive),
                    None => return Err(Refusal::NotStale),
                };
                log.settle();
                log.fail(actor, cause, failure_text(cause, &span_words(span)));
            }
            Command::GiveUp { after } => {
                let Some(unheard) = self.lost_for(at, after) else { return Err(Refusal::NotStale) };
                log.settle();
                log.fail(actor, Cause::Lost, failure_text(Cause::Lost, &span_words(unheard)));
            }
            Command::Interrupt => {
                if !self.status.is_active() {
                    return Err(self.wrong_state(participle));
                }
                log.settle();
                log.fail(actor, Cause::ServerStopped, failure_text(Cause::ServerStopped, ""));
            }
            Command::ClockMoved { by_ms } => {
                if !self.status.is_active() {
                    return Err(self.wrong_state(participle));
                }
                // The new time, even where it is earlier than that of the entry before.
                log.at = context.at;
                log.record(actor, EventKind::ClockMoved { by_ms });
            }
            Command::BecomeDue => {
                if self.status != Status::Scheduled {
                    return Err(self.wrong_state(participle));
                }
                log.record(actor, EventKind::Due);
            }
            Command::Claim => {
                if self.status != Status::Queued {
                    return Err(self.wrong_state(participle));
                }
                log.record(actor, EventKind::Claimed);
            }
            Command::Retry { reason } => {
                let runnable = self.spec.execution != Execution::External;
                if !(matches!(self.status, Status::Failed | Status::Aborted) && runnable) {
                    return Err(self.wrong_state(participle));
                }
                log.record(actor, EventKind::Retried { reason, before: self.status });
            }
            // What has not ended is not history, and nothing removes it.
            Command::Pin | Command::Unpin if !self.status.is_final() => {
                return Err(self.wrong_state(participle));
            }
            Command::Pin if self.pinned => return Err(Refusal::Unchanged { already: "pinned" }),
            Command::Unpin if !self.pinned => return Err(Refusal::Unchanged { already: "unpinned" }),
            Command::Pin => log.record(actor, EventKind::Pinned),
            Command::Unpin => log.record(actor, EventKind::Unpinned),
        }
        Ok(log.events)
    }

    fn decide_report(&self, report: Report, log: &mut Entries<'_>) -> Result<(), Refusal> {
        let mut tree: Cow<'_, StepTree> = Cow::Borrowed(&self.steps);
        let mut last_recorded = self.recorded_at;
        let mut last_key = self.message_key;
        let (mut unrecorded, mut unrecorded_whole) = (self.unrecorded.clone(), self.unrecorded_whole);
        let mut whole = self.progress;
        let mut source = ProgressSource::Reported;
        let mut number_was_reported = self.number_was_reported;
        let mut items = report.items.into_iter().peekable();
        while let Some(item) = items.next() {
            match item {
                ReportItem::At(claimed) => log.date(claimed),
                ReportItem::From(from) => source = from,
                ReportItem::Active => log.project(EventKind::Active),
                ReportItem::Steps(mut steps) => {
                    steps.iter_mut().for_each(StepSpec::drop_escapes);
                    tree.check(&steps)?;
                    let before = tree.clone();
                    if tree.to_mut().declare(&steps, log.run_at).is_empty() {
                        // Some reporters say their whole tree with every report. It is there already.
                        log.project(EventKind::Heartbeat);
                    } else {
                        // What the bar has shown does not fall with what comes in, and the log must say it.
                        log.numbers(&before, &unrecorded, unrecorded_whole.then_some(whole));
                        (unrecorded, unrecorded_whole) = (Vec::new(), false);
                        let grew = tree.progress() < self.progress;
                        log.record(EventSource::Run, EventKind::StepsDeclared { steps, grew });
                    }
                }
                ReportItem::Progress { step, value } => {
                    if !(value.is_finite() && (0.0..=1.0).contains(&value)) {
                        return Err(Invalid::new("progress", "must be a number between 0 and 1").into());
                    }
                    let (index, label, moved) = match step {
                        Some(name) => {
                            let index = tree.find(&name)?;
                            let moved = tree.check_report(index, value)?;
                            let label = tree.label_path(index);
                            if items.peek().is_some() {
                                tree.to_mut().report(index, value, log.run_at);
                            }
                            (Some(index), label, moved)
                        }
                        None if !tree.is_empty() => return Err(Refusal::StepNeeded),
                        None => (None, String::new(), self.whole_moved(value)),
                    };
                    let milestone = index.is_some() && (moved.started || moved.ended);
                    let due = last_recorded.is_none_or(|last| log.run_at.since(last) >= RECORD_EVERY);
                    // Whether what is shown may be put right hangs on it.
                    let is_first_reported = source.is_reported() && !number_was_reported;
                    let recorded = moved.changed && (milestone || due || is_first_reported);
                    number_was_reported |= moved.changed && source.is_reported();
                    let kind = if moved.changed {
                        let (started, ended) = (milestone && moved.started, milestone && moved.ended);
                        EventKind::Progress { step: index, label, value, started, ended, from: source }
                    } else {
                        EventKind::Heartbeat
                    };
                    if recorded {
                        last_recorded = Some(log.run_at);
                        log.record(EventSource::Run, kind);
                    } else {
                        log.project(kind);
                    }
                    match index {
                        Some(index) if moved.changed => {
                            unrecorded.retain(|other| *other != index);
                            if !recorded {
                                unrecorded.push(index);
                            }
                        }
                        None if moved.changed => {
                            whole = value;
                            unrecorded_whole = !recorded;
                        }
                        _ => {}
                    }
                }
                ReportItem::Message { key: Some(key), .. } if key <= last_key => {}
                ReportItem::Message { level, text, step, key } => {
                    last_key = key.unwrap_or(last_key);
                    let step = step.map(|name| tree.find(&name).map(|index| tree.path(index))).transpose()?;
                    log.message(level, EventKind::Message { level, text, step, key });
                }
            }
        }
        if log.events.is_empty() {
            log.project(EventKind::Heartbeat);
        }
        Ok(())
    }

    fn whole_moved(&self, value: f64) -> Moved {
        Moved { started: false, ended: false, changed: value > self.progress }
    }

    /// Whether a run may still write: its epoch is the job's, and somebody works on the job.
    fn check_writer(&self, epoch: Option<u32>, participle: &'static str) -> Result<(), Refusal> {
        if let Some(given) = epoch
            && given != self.epoch
        {
            let ended = self.ended_because().map(|because| {
                let (cause, error) = (self.ended_cause.unwrap_or(Cause::Reported), self.error.as_deref());
                Box::new(Ended { cause, error: error.unwrap_or_default().to_owned(), because })
            });
            return Err(Refusal::Fenced { given, current: self.epoch, ended });
        }
        self.check_open()?;
        if self.status.is_active() { Ok(()) } else { Err(self.wrong_state(participle)) }
    }

    fn check_open(&self) -> Result<(), Refusal> {
        if self.status.is_final() { Err(self.finished()) } else { Ok(()) }
    }

    fn finished(&self) -> Refusal {
        Refusal::Finished { status: self.status }
    }

    fn wrong_state(&self, wanted: &'static str) -> Refusal {
        Refusal::WrongState { status: self.status, wanted }
    }

    fn after_failure(&self, retryable: bool) -> Status {
        let again = retryable
            && self.status == Status::Running
            && self.attempt < self.spec.max_attempts
            && self.spec.execution != Execution::External;
        if again { Status::Queued } else { Status::Failed }
    }

    /// Whether a refused write came from a run that somebody else had ended: what `lateWrites` counts.
    pub fn is_late_write(&self, refusal: &Refusal) -> bool {
        match refusal {
            Refusal::Fenced { given, current, .. } => given < current,
            Refusal::Finished { .. } => self.fenced,
            _ => false,
        }
    }
}

/// The entries a command leads to, numbered as they come.
struct Entries<'a> {
    job: &'a Job,
    at: Timestamp,
    /// When what the run says happened, and whether its word on that was found not to be believed.
    run_at: Timestamp,
    doubted: bool,
    next: u64,
    events: Vec<Event>,
    /// The lines the log has with these entries, the messages it has not, and what it keeps of its end.
    kept: LogCounts,
    dropped: Dropped,
    tails: Tails,
}

impl<'a> Entries<'a> {
    fn new(job: &'a Job, at: Timestamp) -> Self {
        let (kept, dropped, tails) = (job.counts, job.dropped, job.tails.clone());
        let (run_at, doubted) = (at, job.clock_doubted);
        Self { job, at, run_at, doubted, next: job.seq + 1, events: Vec::new(), kept, dropped, tails }
    }

    /// What the run says from here on happened then, as far as that can be.
    fn date(&mut self, claimed: Timestamp) {
        let job = self.job;
        match believed(claimed, job.created_at.min(job.start_time()), self.at) {
            Some(at) => self.run_at = at,
            None => {
                self.run_at = self.at;
                if !std::mem::replace(&mut self.doubted, true) {
                    self.record(
                        EventSource::Actor(Actor::system("clock")),
                        EventKind::ClockDoubted { claimed },
                    );
                }
            }
        }
    }

    fn event(&self, seq: Option<u64>, source: EventSource, kind: EventKind) -> Event {
        let heard = (source == EventSource::Run && self.run_at != self.at).then_some(self.at);
        Event { seq, at: if heard.is_some() { self.run_at } else { self.at }, source, kind, heard }
    }

    /// Records a message. Where the log has as many of its level as it may have, the oldest of those beyond are left
    /// out when they are too many: what was recorded at the beginning stays, and infos never crowd out an error.
    fn message(&mut self, level: Level, kind: EventKind) {
        let full = self.kept.of(LineKind::from(level)) >= u64::from(self.job.spec.max_lines);
        let seq = self.next;
        self.record(EventSource::Run, kind);
        if !full {
            return;
        }
        let at = self.events.last().map_or(self.at, |message| message.at);
        let tail = self.tails.of_mut(level);
        let Some((until, at)) = tail.add(seq, at) else { return };
        let lines = tail.leave_out(until);
        self.kept.take_back(LineKind::from(level), lines);
        let count = self.dropped.of(level) + lines;
        self.dropped.set(level, count);
        let source = EventSource::Actor(Actor::system("log"));
        let kind = EventKind::LeftOut { level, count };
        self.events.push(Event { seq: Some(until), at, source, kind, heard: None });
    }

    fn record(&mut self, source: EventSource, kind: EventKind) {
        self.kept.count(kind.line_kind());
        self.events.push(self.event(Some(self.next), source, kind));
        self.next += 1;
    }

    fn project(&mut self, kind: EventKind) {
        self.events.push(self.event(None, EventSource::Run, kind));
    }

    /// Ends the run from outside. No other attempt follows: a person or a limit ended it.
    fn fail(&mut self, source: EventSource, cause: Cause, error: String) {
        self.record(source, EventKind::Failed { cause, error, repeated: false, next: Status::Failed });
    }

    /// Records what changed since it was last recorded, the numbers that moved and the messages that an older
    /// version dropped, so that the log of an ended job holds its last state.
    fn settle(&mut self) {
        if self.job.unrecorded_drops {
            self.record(EventSource::Run, EventKind::Truncated { dropped: self.job.dropped });
        }
        let whole = self.job.unrecorded_whole.then_some(self.job.progress);
        self.numbers(&self.job.steps, &self.job.unrecorded, whole);
    }

    /// Records the numbers of these steps, and that of the whole.
    fn numbers(&mut self, tree: &StepTree, steps: &[usize], whole: Option<f64>) {
        for &index in steps {
            let (label, value) = (tree.label_path(index), tree.steps()[index].progress);
            self.record(
                EventSource::Run,
                EventKind::Progress {
                    step: Some(index),
                    label,
                    value,
                    started: false,
                    ended: false,
                    from: self.job.progress_source,
                },
            );
        }
        if let Some(value) = whole {
            self.record(
                EventSource::Run,
                EventKind::Progress {
                    step: None,
                    label: String::new(),
                    value,
                    started: false,
                    ended: false,
                    from: self.job.progress_source,
                },
            );
        }
    }
}
