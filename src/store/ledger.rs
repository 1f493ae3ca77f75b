//! What every engine does the same way: turn a command into a changed job, and watch over the rules for
//! new ones.

use std::sync::Arc;

use super::CreateRules;
use crate::model::{Command, Context, Counts, Event, Job, NewJob, Refusal};

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
    match job.decide(command, context) {
        Ok(mut events) => {
            let mut next = job.clone();
            let touched = events.iter().flat_map(|event| next.apply(event)).collect();
            events.retain(|event| event.seq.is_some());
            Ok(Turn { job: Arc::new(next), events, touched })
        }
        Err(refusal) => {
            let counted = job.is_late_write(&refusal).then(|| {
                let mut next = job.clone();
                next.count_late_write(context.at);
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
        && let Some(other) = open.find(|job| !job.status.is_final() && job.spec.feature == new.spec.feature)
    {
        return Err(Refusal::Duplicate { feature: new.spec.feature.as_str().to_owned(), id: other.id });
    }
    admit_count(new, rules, counts)
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
