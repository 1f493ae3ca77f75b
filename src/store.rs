//! Where jobs live: one small trait, one engine a file, one conformance suite over all of them.
//!
//! A store decides and applies a command in one transaction (ARCHITECTURE decision 3), keeps the log, the job
//! and the counters in step, and answers only after the change is as durable as the engine makes it. What
//! it publishes to its sinks has happened, and is published before the caller is answered, so that whoever
//! reads after writing sees what was written.
//!
//! Given up: commands as closures over a transaction. A command is data, so that every engine can run
//! many of them in one transaction, and so that the rules stay in `model/`.

mod accounts;
mod archive;
mod bounds;
mod ledger;
mod memory;
mod postgres;
mod record;
mod sqlite;

#[cfg(test)]
mod conformance;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

pub use accounts::{
    ACCOUNT_NAME_PATTERN, AccountChange, AccountRefusal, AccountStore, By, ChangeError, Grounds, LinkRecord,
    SessionRecord, TokenRecord, UserRecord, check_account_name,
};
pub use archive::{Exporter, ImportError, Importer, Moved};
pub(crate) use bounds::sent_bytes;
pub use memory::MemoryStore;
pub use postgres::{PostgresAccounts, PostgresError, PostgresSettings, PostgresStore};
pub use sqlite::{OpenError, RestoreError, SqliteAccounts, SqliteStore, restore};

use crate::model::{
    Command, Context, Counts, Cursor, EndedBefore, Event, Job, JobFilter, JobId, LineKind, LogFilter,
    LogLine, NewJob, OutcomeCounts, PageSize, Refusal, Timestamp,
};

/// Why a store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum StoreError {
    /// The rules refuse it. Nothing changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store cannot do it now: the disk is full, the file is read-only, the server is stopping.
    /// Nothing changed, or (where the store lost its disk in mid-commit) it is not known to have.
    #[error("The store cannot be used at the moment: {0}.")]
    Unavailable(String),
    /// What is stored makes no sense. The sentence says what and where.
    #[error("The store holds something this version cannot read: {0}.")]
    Corrupt(String),
}

/// What must hold for a job to be made, checked in the same transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateRules {
    /// The most jobs that may be active. `None` is no limit.
    pub max_active: Option<u32>,
    /// The most of them that may be of the same owner. `None` is no limit.
    pub max_active_each: Option<u32>,
    /// Refuse while a job of the same feature has not ended.
    pub one_per_feature: bool,
    /// A key under which the same request may come again, and what the request was.
    pub idempotency: Option<IdempotencyKey>,
}

/// Recognises a request that comes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// Whose key it is, and the key.
    pub key: String,
    /// What was asked for: the same key with another request is refused.
    pub fingerprint: String,
}

impl IdempotencyKey {
    /// How long a key is remembered.
    pub const KEPT: Duration = Duration::from_secs(24 * 3600);
}

/// A job that was made, or that an earlier request with the same key had made.
#[derive(Clone, Debug, PartialEq)]
pub struct Created {
    /// The job.
    pub job: Arc<Job>,
    /// An earlier request had made it.
    pub replayed: bool,
}

/// A job from elsewhere, with its whole log.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportedJob {
    /// The job as it stands.
    pub job: Arc<Job>,
    /// Its log, from the first entry.
    pub log: Vec<Event>,
}

/// A page of jobs.
#[derive(Clone, Debug, PartialEq)]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<Arc<Job>>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Cursor>,
}

/// How many more bytes fit into an answer. The first thing is always taken, however large it is.
pub(crate) struct ByteBudget(usize);

impl ByteBudget {
    /// For so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self(bytes)
    }

    /// Whether nothing more is taken.
    pub(crate) fn is_full(&self) -> bool {
        self.0 == 0
    }

    /// Takes something on where it fits, or is the first. False, and nothing more is taken, where it does not.
    pub(crate) fn take_whole(&mut self, bytes: usize, first: bool) -> bool {
        let fits = first || bytes <= self.0;
        self.0 = if fits { self.0.saturating_sub(bytes) } else { 0 };
        fits
    }

    /// Takes something on. False, and it is left out, where the room is full.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let fits = !self.is_full();
        self.0 = self.0.saturating_sub(bytes);
        fits
    }
}

impl JobPage {
    /// A page of jobs ends once it carries so many bytes of inputs and outputs. Each may have a megabyte, and two hundred
    /// jobs of that would not fit into a small server's memory.
    pub const MAX_BYTES: usize = 8 << 20;

    /// Ends the page where it has enough, with the rest on the next. `ended` is what had when the list was begun.
    fn fit(&mut self, ended: Option<EndedBefore>) {
        let mut room = ByteBudget::new(Self::MAX_BYTES);
        let count = (self.jobs.iter().enumerate())
            .take_while(|(place, job)| room.take_whole(documents_of(job), *place == 0))
            .count();
        if count < self.jobs.len() {
            self.jobs.truncate(count);
            self.next = self.jobs.last().map(|job| Cursor::of(job, ended));
        }
    }
}

/// No answer has more bytes, as it is sent.
const ANSWER_BYTES: usize = 15 << 20;

/// The most bytes of messages that go with a page of jobs, or with one job; older ones stay in the log.
pub const NEWEST_BYTES: usize = 6 << 20;

/// The most bytes of a page of a log, as they are sent. A page in the browser carries them twice: as it is drawn, and
/// for its island.
pub const LOG_PAGE_BYTES: usize = 6 << 20;

/// Leaves the oldest messages out where they are too many bytes beside what the jobs carry: a message may have 64 KiB.
/// Errors come before warnings, and these before the rest.
pub fn fit_messages(with: &[Arc<Job>], jobs: &mut [Newest]) {
    let documents: usize = with.iter().map(|job| documents_of(job)).sum();
    let mut room = ByteBudget::new(NEWEST_BYTES.min(ANSWER_BYTES.saturating_sub(documents)));
    for lines in jobs.iter_mut().flat_map(|newest| newest.iter_mut().rev()) {
        let kept = lines.iter().rev().take_while(|line| room.take(sent_bytes(&line.text))).count();
        lines.drain(..lines.len() - kept);
    }
}

/// Whether what a job keeps beside its log can be worked with: numbers of steps that it has.
pub(crate) fn is_sound(job: &Job) -> bool {
    job.unrecorded.iter().all(|index| *index < job.steps.steps().len())
}

/// How many bytes of documents a job carries, as they are sent.
pub(crate) fn documents_of(job: &Job) -> usize {
    let documents = [job.spec.input.as_ref(), job.output.as_deref()];
    let documents: usize = documents.into_iter().flatten().map(sent_bytes).sum();
    documents + job.error.as_ref().map_or(0, |error| sent_bytes(&**error))
}

/// Which part of a job's log is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Which lines.
    pub filter: LogFilter,
    /// From where, and in which direction.
    pub from: LogFrom,
    /// The most lines.
    pub limit: usize,
    /// Whether to count all lines that match, which may need a scan.
    pub count: bool,
}

/// From where in a log, and in which direction. Lines always come back oldest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFrom {
    /// The newest lines.
    #[default]
    End,
    /// The lines after this one, oldest first.
    After(u64),
    /// The newest lines before this one.
    Before(u64),
}

/// A part of a job's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPage {
    /// The lines, oldest first.
    pub lines: Vec<LogLine>,
    /// How many lines match in all; `None` where that was not asked for.
    pub total: Option<u64>,
    /// Whether there are more lines in the direction asked for.
    pub more: bool,
}

/// The newest messages of a job: infos, warnings, errors.
pub type Newest = [Vec<LogLine>; 3];

/// The kinds of [`Newest`], in its order.
const MESSAGES: [LineKind; 3] = [LineKind::Info, LineKind::Warning, LineKind::Error];

/// How many jobs of one feature there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureCounts {
    /// The feature.
    pub feature: String,
    /// Its jobs, by status.
    pub counts: Counts,
}

/// What changed in one transaction.
#[derive(Clone, Debug)]
pub struct Changes {
    /// The jobs that changed, as they now stand.
    pub jobs: Vec<Arc<Job>>,
    /// The jobs that were removed from history.
    pub removed: Vec<JobId>,
    /// How many jobs there now are.
    pub counts: Counts,
}

/// Is told of every change, in order, after it is durable and before the writer is answered.
///
/// It is called on the store's own thread: it must be quick, and must not call the store.
pub trait ChangeSink: Send + Sync {
    /// Something changed.
    fn publish(&self, changes: &Changes);

    /// The jobs it takes for open, where it keeps some: a store that may have missed what another server
    /// did looks whether they still are.
    fn believed_open(&self) -> Vec<JobId> {
        Vec::new()
    }

    /// Nobody listens behind it any more: it may be forgotten.
    fn is_gone(&self) -> bool {
        false
    }
}

/// What one transaction removed from history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// How many jobs.
    pub jobs: u64,
    /// There may be more to remove.
    pub more: bool,
}

/// What a check of the store found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IntegrityReport {
    /// How many jobs were looked at.
    pub jobs: u64,
    /// How many log entries there are.
    pub events: u64,
    /// Sentences; empty where all is well.
    pub problems: Vec<String>,
}

/// What a store remembers of its server's clock, for the next start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockMark {
    /// The last moment at which the clock was believed.
    pub believed: Timestamp,
    /// A server runs by a clock that nobody believes: what it writes says nothing about the time.
    pub doubted: bool,
}

/// A server that shares the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// Made at each start.
    pub id: uuid::Uuid,
    /// What it is called, for people.
    pub name: String,
    /// When it was heard of last, by the store's clock.
    pub seen_at: Timestamp,
    /// That is longer ago than a living one is silent, and no other of its name has come since.
    pub late: bool,
    /// It is this one.
    pub here: bool,
}

/// Hears how far a long operation of the store has come: done and total, in units of its own. Where the total is 0
/// nobody knows how much there is to do, and what is done is counted in small steps. Answers whether to go on; an
/// operation that was told to stop ends as [`StoreError::Unavailable`].
pub type StoreProgress = Box<dyn FnMut(u64, u64) -> bool + Send>;

/// What an operation ends with that was told to stop.
fn told_to_stop() -> StoreError {
    StoreError::Unavailable("the operation was told to stop".to_owned())
}

/// Where jobs live.
#[async_trait]
pub trait JobStore: Send + Sync + 'static {
    /// Makes a job, within the rules.
    async fn create(&self, new: NewJob, rules: CreateRules, context: Context) -> Result<Created, StoreError>;

    /// Decides a command against a job and records what it leads to. Returns the job as this command
    /// left it. A refused write of a fenced run is counted on the job.
    async fn transact(&self, id: JobId, command: Command, context: Context) -> Result<Arc<Job>, StoreError>;

    /// A job as it stands.
    async fn get(&self, id: JobId) -> Result<Option<Arc<Job>>, StoreError>;

    /// A page of jobs: those that have not ended, newest first, then those that have, last ended first. Whoever
    /// reads page after page gets a job once, though it ends between two of them (see [`EndedBefore`]). A page has
    /// no more than [`JobPage::MAX_BYTES`] of documents, but one job always.
    async fn list(
        &self,
        filter: JobFilter,
        after: Option<Cursor>,
        size: PageSize,
    ) -> Result<JobPage, StoreError>;

    /// Up to `limit` jobs in the order of their ids, those after `after`. Each job has one place in this
    /// order as long as it lives.
    async fn jobs_by_id(&self, after: Option<JobId>, limit: usize) -> Result<Vec<Arc<Job>>, StoreError>;

    /// Adds jobs with their logs as they are, in one transaction, and counts them. Refused as a whole
    /// where one of them is there already. The caller has seen to it that each is what its log says.
    async fn import(&self, jobs: Vec<ImportedJob>) -> Result<u64, StoreError>;

    /// Every job somebody works on.
    async fn active(&self) -> Result<Vec<Arc<Job>>, StoreError>;

    /// A part of a job's log. Refused where there is no such job.
    async fn log(&self, id: JobId, query: LogQuery) -> Result<LogPage, StoreError>;

    /// The newest infos, warnings and errors of each of some jobs, up to `most` of each, oldest first. A job
    /// that is gone has none. An engine that can asks for all of them at once.
    async fn newest_messages(&self, jobs: &[Arc<Job>], most: usize) -> Result<Vec<Newest>, StoreError> {
        let mut all = Vec::with_capacity(jobs.len());
        for job in jobs {
            let mut newest = Newest::default();
            for (kind, lines) in MESSAGES.into_iter().zip(&mut newest) {
                if job.counts.of(kind) == 0 || most == 0 {
                    continue;
                }
                let filter = LogFilter { kinds: vec![kind], ..LogFilter::default() };
                let query = LogQuery { filter, from: LogFrom::End, limit: most, count: false };
                match self.log(job.id, query).await {
                    Ok(page) => *lines = page.lines,
                    Err(StoreError::Refused(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            all.push(newest);
        }
        Ok(all)
    }

    /// The entries of a job's log after `after`, as they were recorded.
    async fn events(&self, id: JobId, after: u64, limit: usize) -> Result<Vec<Event>, StoreError>;

    /// How many jobs there are. Kept, not counted.
    fn counts(&self) -> Counts;

    /// How many jobs ended on that UTC day (see [`Timestamp::day`]). Kept, not counted; not changed when
    /// history is removed.
    async fn ended_on(&self, day: i64) -> Result<OutcomeCounts, StoreError>;

    /// The features there are, with their counters, most jobs first.
    async fn features(&self, limit: usize) -> Result<Vec<FeatureCounts>, StoreError>;

    /// Removes up to `batch` ended jobs that are not pinned: those that ended before `before`, and the oldest
    /// beyond the newest `keep`. One transaction of a bounded size, however long a log is; call it again
    /// while there is more.
    async fn prune(&self, keep: u64, before: Option<Timestamp>, batch: usize) -> Result<Pruned, StoreError>;

    /// Forgets the idempotency keys of requests that came before `before`. Until then a key is remembered, whatever
    /// the clock shows. Returns how many.
    async fn forget_keys(&self, _before: Timestamp) -> Result<u64, StoreError> {
        Ok(0)
    }

    /// What was last said to [`JobStore::mark_clock`], by any server.
    async fn clock_mark(&self) -> Result<Option<ClockMark>, StoreError> {
        Ok(None)
    }

    /// Remembers what a server believes of its clock.
    async fn mark_clock(&self, _mark: ClockMark) -> Result<(), StoreError> {
        Ok(())
    }

    /// The newest moment that its jobs tell of; `None` where there are none.
    async fn newest_moment(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    /// Tells `sink` of every change from now on.
    fn changes(&self, sink: Arc<dyn ChangeSink>);

    /// Whether several servers may have it open.
    fn is_shared(&self) -> bool {
        false
    }

    /// Whether this server does what must be done once, where several share the store. A store for one
    /// server alone is always led by it.
    fn leads(&self) -> bool {
        true
    }

    /// Says whether this server may lead. Where it may not it stops at once, and another can take over.
    fn may_lead(&self, _may: bool) {}

    /// What the store's own clock shows, where several servers share the store and judge jobs by their own.
    async fn clock(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    /// The servers that share the store, by name, as they were a second ago; none where it is for one alone.
    fn nodes(&self) -> Vec<NodeRecord> {
        Vec::new()
    }

    /// Why the last write failed, where it did, or the last read.
    fn last_failure(&self) -> Option<String>;

    /// Tries a write that changes nothing, and a read, so that a store that had failed can show it has recovered.
    async fn probe(&self) -> Result<(), StoreError>;

    /// Looks whether the log, the jobs and the counters agree.
    async fn check(&self, progress: StoreProgress) -> Result<IntegrityReport, StoreError>;

    /// Writes a consistent copy of the store to a new file while work goes on. Returns its bytes.
    async fn backup(&self, to: &Path, progress: StoreProgress) -> Result<u64, StoreError>;

    /// Finishes what is waiting and refuses what comes later.
    async fn close(&self);
}
