//! What every engine does the same way: turn a command into a changed job, and watch over the rules for
//! new ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::CreateRules;
use super::record::status_number;
use crate::model::{
    Command, Context, Counts, Event, EventKind, Job, JobId, LeftOut, NewJob, Refusal, Spec, Status, Timestamp,
};

/// A job after a command, and what led there.
pub struct Decided {
    /// The job as the command left it.
    pub job: Arc<Job>,
    /// The entries to keep in its log.
    pub events: Vec<Event>,
    /// The entries that go from its log, because it is full.
    pub left_out: Vec<LeftOut>,
    /// The indexes of the steps that changed.
    pub touched: Vec<usize>,
}

/// Decides and applies.
pub fn turn(job: &Job, command: Command, context: &Context) -> Result<Decided, Refused> {
    let (of_the_run, ends) = (command.is_of_the_run(), command.ends_the_run());
    match job.decide(command, context) {
        Ok(mut events) => {
            let mut next = job.clone();
            let (mut touched, mut left_out) = (Vec::new(), Vec::new());
            for event in &events {
                left_out.extend(next.tails.leaves_out(event));
                touched.extend(next.apply(event));
            }
            events.retain(|event| event.seq.is_some());
            Ok(Decided { job: Arc::new(next), events, left_out, touched })
        }
        Err(refusal) => {
            // An operator's command that comes too late is not counted: it does not show that a process still runs.
            let counted = (of_the_run && job.is_late_write(&refusal)).then(|| {
                let mut next = job.clone();
                next.count_late_write(context.at, ends);
                Arc::new(next)
            });
            Err(Refused { refusal, counted })
        }
    }
}

/// A job as a transaction will leave it, and what is to be written of it. `N` is what the engine knows its row by.
pub struct Pending<N> {
    /// Its row.
    pub n: N,
    /// The job.
    pub job: Arc<Job>,
    /// The job when the transaction began; `None` for a new one.
    pub before: Option<Arc<Job>>,
    /// The entries to keep in its log.
    pub events: Vec<Event>,
    /// The entries that go from its log, because it is full, before those are added.
    pub left_out: Vec<LeftOut>,
    /// The indexes of the steps that changed.
    pub touched: BTreeSet<usize>,
    /// An attempt began afresh: the steps that are stored are an earlier one's.
    pub steps_replaced: bool,
    /// There is something to write.
    pub changed: bool,
}

impl<N> Pending<N> {
    /// A job that is made, with the first entry of its log.
    pub fn made(n: N, job: Arc<Job>, created: Event) -> Self {
        Self { before: None, events: vec![created], changed: true, ..Self::stored(n, job) }
    }

    /// A job as it is stored.
    pub fn stored(n: N, job: Arc<Job>) -> Self {
        Self {
            n,
            before: Some(Arc::clone(&job)),
            job,
            events: Vec::new(),
            left_out: Vec::new(),
            touched: BTreeSet::new(),
            steps_replaced: false,
            changed: false,
        }
    }

    /// Decides and applies. A late write that is refused is counted.
    pub fn transact(&mut self, command: Command, context: &Context) -> Result<Arc<Job>, Refusal> {
        match turn(&self.job, command, context) {
            Ok(turn) => {
                if turn.job.attempt != self.job.attempt {
                    self.steps_replaced = true;
                    self.touched.clear();
                }
                self.changed = true;
                self.job = Arc::clone(&turn.job);
                add_to_log(&mut self.events, turn.events, &turn.left_out);
                self.left_out.extend(turn.left_out);
                self.touched.extend(turn.touched);
                Ok(turn.job)
            }
            Err(refused) => {
                if let Some(counted) = refused.counted {
                    self.changed = true;
                    self.job = counted;
                }
                Err(refused.refusal)
            }
        }
    }
}

/// Adds entries to a log, or to what is to be added to one, and takes out those that go because it is full.
pub fn add_to_log(log: &mut Vec<Event>, events: Vec<Event>, left_out: &[LeftOut]) {
    log.extend(events);
    for left_out in left_out {
        log.retain(|event| !left_out.takes(event));
    }
    if !left_out.is_empty() {
        log.sort_by_key(|event| event.seq);
    }
}

/// What a change does to how many jobs ended on which day: day, status, by how many. A job that ends again after a
/// retry ended twice; one that was given up as lost and came back had not ended.
pub fn ended(before: Option<&Job>, after: &Job) -> impl Iterator<Item = (i64, Status, i64)> + use<> {
    let had_ended = before.filter(|before| before.status.is_final());
    let came_back = had_ended.filter(|before| after.epoch < before.epoch);
    let no_longer = came_back.and_then(|before| Some((before.ended_at?.day(), before.status, -1)));
    let ends = after.status.is_final() && (came_back.is_some() || had_ended.is_none());
    let now = after.ended_at.filter(|_| ends).map(|at| (at.day(), after.status, 1));
    no_longer.into_iter().chain(now)
}

/// Where a job stands in the lists by label: with its outcome, and when it ended. Only ended jobs do that have labels.
pub fn by_tag(job: &Job) -> Option<(Status, Timestamp)> {
    job.ended_at.filter(|_| !job.spec.tags.is_empty()).map(|at| (job.status, at))
}

/// A refusal, and the job with the late write counted where it was one.
pub struct Refused {
    /// Why.
    pub refusal: Refusal,
    /// The job to keep.
    pub counted: Option<Arc<Job>>,
}

/// What a transaction does to the counters.
#[derive(Default)]
pub struct Tally {
    /// How many jobs there are with it.
    pub counts: Counts,
    /// By how many more, by feature, as the engine spells it, and status.
    pub jobs: BTreeMap<(String, i64), i64>,
    /// By how many more ended, by day and status.
    pub ended: BTreeMap<(i64, i64), i64>,
}

impl Tally {
    /// Of a transaction that finds so many jobs.
    pub fn new(counts: Counts) -> Self {
        Self { counts, ..Self::default() }
    }

    /// Counts what a job of that feature has become. `before` is `None` where it was made.
    pub fn count(&mut self, feature: &str, before: Option<&Job>, after: &Job) {
        let was = before.map(|before| before.status);
        if was != Some(after.status) {
            self.shift(feature, was, Some(after.status));
            for (day, status, by) in ended(before, after) {
                *self.ended.entry((day, status_number(status))).or_default() += by;
            }
        }
    }

    /// Counts a job of that feature from one status to another; `None` where it is not.
    pub fn shift(&mut self, feature: &str, from: Option<Status>, to: Option<Status>) {
        self.counts.shift(from, to);
        for (status, by) in [(from, -1), (to, 1)] {
            if let Some(status) = status {
                *self.jobs.entry((feature.to_owned(), status_number(status))).or_default() += by;
            }
        }
    }

    /// What changes of [`jobs`](Self::jobs): what came and went adds nothing.
    pub fn changed_jobs(&self) -> impl Iterator<Item = (&str, i64, i64)> {
        let changed = self.jobs.iter().filter(|(_, by)| **by != 0);
        changed.map(|((feature, status), by)| (feature.as_str(), *status, *by))
    }
}

/// Whether a job may be made: whether it may be the second of its sort, and whether there is room for it, and for
/// one of its owner. `another` finds one of its sort that has not ended, `of_owner` counts its owner's that are
/// active; they are asked only where they may matter.
pub fn admit(
    new: &NewJob,
    rules: &CreateRules,
    counts: &Counts,
    another: impl FnOnce() -> Option<JobId>,
    of_owner: impl FnOnce() -> usize,
) -> Result<(), Refusal> {
    if rules.one_per_feature
        && let Some(id) = another()
    {
        return Err(Refusal::Duplicate { feature: new.spec.feature.as_str().to_owned(), id });
    }
    let active = counts.active();
    let full = |limit: u32| !new.enqueue && active >= u64::from(limit);
    match (rules.max_active, rules.max_active_each) {
        (Some(limit), _) if full(limit) => Err(Refusal::ActiveLimit { limit }),
        (limit, Some(share)) if full(share) && of_owner() >= share as usize => {
            let limit = limit.unwrap_or(share);
            Err(Refusal::ActiveShare { owner: new.spec.owner.clone(), share, limit })
        }
        _ => Ok(()),
    }
}

/// [`admit`] for an engine that has all open jobs at hand.
pub fn admit_among<'a>(
    new: &NewJob,
    rules: &CreateRules,
    counts: &Counts,
    open: &(impl Iterator<Item = &'a Arc<Job>> + Clone),
) -> Result<(), Refusal> {
    let another = || {
        let mut others = open.clone().filter(|job| !job.status.is_final());
        others.find(|job| is_another(&job.spec, &new.spec)).map(|job| job.id)
    };
    let of_owner =
        || open.clone().filter(|job| job.status.is_active() && job.spec.owner == new.spec.owner).count();
    admit(new, rules, counts, another, of_owner)
}

/// Whether one job is another of the same sort. One that somebody else runs is none of the server's own,
/// though it has the same name: it would keep that from being started for as long as it likes.
fn is_another(one: &Spec, other: &Spec) -> bool {
    one.feature == other.feature && one.execution == other.execution
}

/// A job put together from its log an entry at a time, to be compared with the job as it is kept.
pub struct Replay {
    id: JobId,
    job: Option<Job>,
    entries: u64,
    /// The place of the last of them.
    last: u64,
    /// An older version dropped messages, which never had a place.
    dropped: bool,
    broken: bool,
}

impl Replay {
    /// Of a job of which nothing is known yet.
    pub fn new(id: JobId) -> Self {
        Self { id, job: None, entries: 0, last: 0, dropped: false, broken: false }
    }

    /// The next entry of the log.
    pub fn add(&mut self, event: &Event) {
        self.entries += 1;
        let seq = event.seq.unwrap_or(0);
        self.broken |= seq <= self.last;
        self.last = seq;
        self.dropped |= matches!(event.kind, EventKind::Truncated { .. });
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
        self.last += 1;
        self.broken = true;
    }

    /// How many entries there were.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Whether the log has no gap but those of which it says how many messages they had, and says of the job what is kept of it: all but heartbeats, late writes
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
        let (missing, left_out) = (self.last.saturating_sub(self.entries), replayed.empty_places());
        let whole = missing == left_out || self.dropped && missing <= left_out;
        !self.broken && whole && dropped && said(replayed) == said(job) && asked(replayed) == asked(job)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::model::{Actor, Author, Feature, Report, ReportItem, StepSpec, StepTree, Timestamp};

    /// Prints what a report on one of ten thousand steps costs a writer, beside a copy of them all:
    /// `cargo test --release --features ssr --lib what_a_report_costs -- --ignored --nocapture`.
    #[test]
    #[ignore = "measures, and decides nothing"]
    fn what_a_report_costs() {
        let spec = Spec::new(Feature::new("import").unwrap(), Author::new("anna").unwrap(), "user:anna");
        let new = NewJob { id: JobId(uuid::Uuid::from_u128(1)), spec, enqueue: false, run_at: None };
        let context = |ms: usize| Context { actor: Actor::runner(), at: Timestamp(ms as i64) };
        let report = |item| Command::Report(Report { epoch: None, items: vec![item] });
        for steps in [10, 1_000, StepTree::MAX_STEPS] {
            let (mut job, _) = Job::create(new.clone(), &context(0)).unwrap();
            let declared = (0..steps).map(|n| StepSpec::new(format!("step number {n}"))).collect();
            job = (*turn(&job, report(ReportItem::Steps(declared)), &context(1)).ok().unwrap().job).clone();
            let begun = Instant::now();
            const REPORTS: usize = 1_000;
            for n in 0..REPORTS {
                let step = Some(format!("step number {}", (n * 7_919) % steps));
                let moved = report(ReportItem::Progress { step, value: (n + 1) as f64 / REPORTS as f64 });
                job = (*turn(&job, moved, &context(n + 2)).ok().unwrap().job).clone();
            }
            let each = begun.elapsed() / REPORTS as u32;
            let begun = Instant::now();
            let copies: usize =
                (0..20).map(|_| job.steps.steps().iter().cloned().collect::<Vec<_>>().len()).sum();
            let copy = begun.elapsed() / 20;
            println!("{steps} steps: a report {each:?}; a copy of all {copy:?} ({copies})");
        }
    }
}
