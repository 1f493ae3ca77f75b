//! What every engine does the same way: turn a command into a changed job, and watch over the rules for
//! new ones.

use std::sync::Arc;

use super::CreateRules;
use crate::model::{Command, Context, Counts, Event, Job, JobId, NewJob, Refusal, Spec};

/// A job after a command, and what led there.
pub struct Turn {
    /// The job as the command left it.
    pub job: Arc<Job>,
    /// The entries to keep in its log.
    pub events: Vec<Event>,
    /// The indexes of the steps that changed.
    pub touched: Vec<usize>,
}

/// Decides and applies.
pub fn turn(job: &Job, command: Command, context: &Context) -> Result<Turn, Refused> {
    let (of_the_run, ends) = (command.is_of_the_run(), command.ends_the_run());
    match job.decide(command, context) {
        Ok(mut events) => {
            let mut next = job.clone();
            let touched = events.iter().flat_map(|event| next.apply(event)).collect();
            events.retain(|event| event.seq.is_some());
            Ok(Turn { job: Arc::new(next), events, touched })
        }
        Err(refusal) => {
            // An operator who comes second is no sign of a process that lives on.
            let counted = (of_the_run && job.is_late_write(&refusal)).then(|| {
                let mut next = job.clone();
                next.count_late_write(context.at, ends);
                Arc::new(next)
            });
            Err(Refused { refusal, counted })
        }
    }
}

/// A refusal, and the job with the late write counted where it was one.
pub struct Refused {
    /// Why.
    pub refusal: Refusal,
    /// The job to keep.
    pub counted: Option<Arc<Job>>,
}

/// Whether a job may be made.
pub fn admit<'a>(
    new: &NewJob,
    rules: &CreateRules,
    counts: &Counts,
    mut open: impl Iterator<Item = &'a Arc<Job>>,
) -> Result<(), Refusal> {
    if rules.one_per_feature
        && let Some(other) = open.find(|job| !job.status.is_final() && is_another(&job.spec, &new.spec))
    {
        return Err(Refusal::Duplicate { feature: new.spec.feature.as_str().to_owned(), id: other.id });
    }
    admit_count(new, rules, counts)
}

/// Whether one job is another of the same sort. One that somebody else runs is none of the server's own,
/// though it has the same name: it would keep that from being started for as long as it likes.
fn is_another(one: &Spec, other: &Spec) -> bool {
    one.feature == other.feature && one.execution == other.execution
}

/// Whether there is room for a job.
pub fn admit_count(new: &NewJob, rules: &CreateRules, counts: &Counts) -> Result<(), Refusal> {
    match rules.max_active {
        Some(limit) if !new.enqueue && counts.active() >= u64::from(limit) => {
            Err(Refusal::ActiveLimit { limit })
        }
        _ => Ok(()),
    }
}

/// A job put together from its log an entry at a time, to be compared with the job as it is kept.
pub struct Replay {
    id: JobId,
    job: Option<Job>,
    entries: u64,
    broken: bool,
}

impl Replay {
    /// Of a job of which nothing is known yet.
    pub fn new(id: JobId) -> Self {
        Self { id, job: None, entries: 0, broken: false }
    }

    /// The next entry of the log.
    pub fn add(&mut self, event: &Event) {
        self.entries += 1;
        self.broken |= event.seq != Some(self.entries);
        match &mut self.job {
            Some(job) => {
                job.apply(event);
            }
            None => {
                self.job = Job::replay(self.id, std::slice::from_ref(event));
                self.broken |= self.job.is_none();
            }
        }
    }

    /// The next entry of the log, which cannot be read.
    pub fn skip(&mut self) {
        self.entries += 1;
        self.broken = true;
    }

    /// How many entries there were.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Whether the log has no gap and says of the job what is kept of it: all but heartbeats, late writes
    /// and numbers that were not recorded.
    pub fn agrees_with(&self, job: &Job) -> bool {
        let Some(replayed) = &self.job else { return false };
        let said = |job: &Job| {
            let outcome = (job.status, job.attempt, job.epoch, job.error.clone(), job.output.clone());
            let times = (job.created_at, job.run_at, job.started_at, job.ended_at);
            (outcome, times, job.seq, job.counts, job.abort.clone(), job.fenced, job.pinned)
        };
        // Tables keep a timeout in whole milliseconds; entries of older versions may say more.
        let asked = |job: &Job| Spec { timeouts: job.spec.timeouts.whole(), ..(*job.spec).clone() };
        let dropped = !job.status.is_final() || replayed.dropped == job.dropped;
        !self.broken && dropped && said(replayed) == said(job) && asked(replayed) == asked(job)
    }
}
