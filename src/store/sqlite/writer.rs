//! The thread that writes: takes what is waiting, decides it, commits once, publishes, answers.
//!
//! A batch works on copies. Only when its commit has succeeded do they replace the jobs in memory and go
//! out to the sinks; if it fails, everybody in the batch is told so and memory is as it was. A refusal is
//! an answer like any other and does not disturb its neighbours.
//!
//! After a failure nothing is taken for granted: the next batch begins with a new connection and the jobs
//! as they are on the disk. Where a sync failed, the operating system may have dropped the pages it could
//! not write and call the next sync of them a success; so none of them is counted on. What had been
//! acknowledged was synced before, and the failed transaction's part of the log lies beyond the last valid
//! commit, where the next transaction writes over it and syncs that. What came of a commit that failed only
//! the disk knows, so memory is made from it; and a rollback that failed too cannot leave a transaction open
//! that would refuse all others until a restart.
//!
//! The sync of a batch is waited for before the next batch is begun, though its core could decide that one
//! meanwhile. The next batch's pages would lie in the log behind pages whose sync may yet fail. When it does, the
//! operating system calls them clean, so the next sync succeeds without having written them: a power cut would
//! then take the failed batch out of the middle of the log, and with it every commit behind it, though those had
//! been acknowledged. It would be right only if after a failed sync everything behind it were withdrawn, what
//! was acknowledged written anew by a checkpoint, and the connection made anew; and that is rare, hard to test,
//! and where a mistake loses acknowledged work. What is given up for it is at most the share of time that the
//! core waits for the disk, a tenth where a sync takes 0.1 ms.
//!
//! Before each batch it looks whether the file that is open is still the one at its path (`place`).

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::batch::{Answer, Batch};
use super::checkpoint::Checkpointer;
use super::database_file::Claim;
use super::interned::Interned;
use super::open::{Lock, OpenError, reconnect};
use super::{rows, stopping, unavailable};
use crate::model::{Command, Context, Counts, Job, JobId, NewJob, Timestamp};
use crate::store::ledger::Tally;
use crate::store::{ChangeSink, Changes, ClockMark, CreateRules, Created, ImportedJob, Pruned, StoreError};
use crate::watch::{guarded, panic_words};

pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// The most operations in one transaction: enough to share a sync well, few enough to keep the first
/// one's answer quick.
const MAX_BATCH: usize = 1024;

/// What they are told whose operation a fault of the program has ended.
pub(super) const GIVEN_UP: &str = "the operation met a fault of the program; the server's log says more";

/// What can be asked of the writer.
pub(super) enum Op {
    Create { new: Box<NewJob>, rules: CreateRules, context: Context, reply: Reply<Created> },
    Transact { id: JobId, command: Command, context: Context, reply: Reply<Arc<Job>> },
    Import { jobs: Vec<ImportedJob>, reply: Reply<u64> },
    Prune { keep: u64, before: Option<Timestamp>, batch: usize, reply: Reply<Pruned> },
    ForgetKeys { before: Timestamp, reply: Reply<u64> },
    MarkClock { mark: ClockMark, reply: Reply<()> },
    Probe { reply: Reply<()> },
    Close { reply: oneshot::Sender<()> },
}

/// What the writer shows to readers.
#[derive(Default)]
pub(super) struct Published {
    state: Mutex<PublishedState>,
}

#[derive(Default)]
struct PublishedState {
    open: HashMap<JobId, Arc<Job>>,
    counts: Counts,
    sinks: Vec<Arc<dyn ChangeSink>>,
    last_failure: Option<String>,
    read_error: Option<String>,
}

impl Published {
    /// What a file that is only read shows: no job is kept, the counters are those of the moment.
    pub(super) fn with_counts(counts: Counts) -> Self {
        Self { state: Mutex::new(PublishedState { counts, ..PublishedState::default() }) }
    }

    fn state(&self) -> MutexGuard<'_, PublishedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn open_job(&self, id: JobId) -> Option<Arc<Job>> {
        self.state().open.get(&id).cloned()
    }

    pub(super) fn active(&self) -> Vec<Arc<Job>> {
        self.state().open.values().filter(|job| job.status.is_active()).cloned().collect()
    }

    pub(super) fn counts(&self) -> Counts {
        self.state().counts
    }

    pub(super) fn add_sink(&self, sink: Arc<dyn ChangeSink>) {
        let mut state = self.state();
        state.sinks.retain(|sink| !sink.is_gone());
        state.sinks.push(sink);
    }

    /// Why the last write failed, where it did, or the last read.
    pub(super) fn trouble(&self) -> Option<String> {
        let state = self.state();
        state.last_failure.clone().or_else(|| state.read_error.clone())
    }

    /// Remembers how a read went.
    pub(super) fn note_read<T>(&self, read: &Result<T, StoreError>) {
        let error = match read {
            Err(StoreError::Unavailable(reason)) => Some(reason.clone()),
            _ => None,
        };
        self.state().read_error = error;
    }
}

/// The way to the writer's thread.
pub(super) struct Writer {
    ops: Sender<Op>,
    thread: Mutex<Option<JoinHandle<()>>>,
    closed: AtomicBool,
}

impl Writer {
    pub(super) fn start(
        path: &Path,
        mut db: Connection,
        lock: Lock,
        claim: Claim,
    ) -> Result<(Self, Arc<Published>), OpenError> {
        let unusable = |problem: String| OpenError::Unusable { path: path.display().to_string(), problem };
        let open = load_open(&db).map_err(|error| unusable(error.to_string()))?;
        let counts = load_counts(&db).map_err(|error| unusable(error.to_string()))?;
        let checkpoints =
            Checkpointer::start(path, Arc::clone(&claim.0)).map_err(|error| unusable(error.to_string()))?;
        checkpoints.follow(&mut db).map_err(|error| unusable(error.to_string()))?;
        let shared = Arc::new(Published::default());
        {
            let mut state = shared.state();
            state.counts = counts;
            state.open = open.values().map(|(_, job)| (job.id, Arc::clone(job))).collect();
        }
        let (ops, waiting) = channel();
        let mut thread = Thread {
            runtime: Handle::try_current().ok(),
            path: path.to_owned(),
            checkpoints: Some(checkpoints),
            db,
            doubtful: false,
            open,
            interned: Interned::default(),
            counts,
            shared: Arc::clone(&shared),
            _lock: lock,
            claim,
        };
        let handle = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || thread.run(&waiting))
            .map_err(|error| unusable(error.to_string()))?;
        Ok((Self { ops, thread: Mutex::new(Some(handle)), closed: AtomicBool::new(false) }, shared))
    }

    pub(super) fn send(&self, op: Op) -> Result<(), StoreError> {
        self.ops.send(op).map_err(|_| self.given_up())
    }

    /// What they are told whose operation was not answered.
    pub(super) fn given_up(&self) -> StoreError {
        if self.closed.load(Ordering::SeqCst) {
            return stopping();
        }
        StoreError::Unavailable(GIVEN_UP.to_owned())
    }

    /// The thread has ended although nobody closed the store: it never comes back.
    pub(super) fn has_ended(&self) -> bool {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        !self.closed.load(Ordering::SeqCst) && thread.as_ref().is_some_and(JoinHandle::is_finished)
    }

    pub(super) async fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let (reply, closed) = oneshot::channel();
        if self.send(Op::Close { reply }).is_ok() {
            let _ = closed.await;
        }
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

/// Jobs with their rows' numbers.
pub(super) type Open = HashMap<JobId, (i64, Arc<Job>)>;

/// The jobs that have not ended.
pub(super) fn load_open(db: &Connection) -> Result<Open, StoreError> {
    // Found through the index over them: a history of millions is not looked at.
    let numbers: Vec<i64> = db
        .prepare("select n from job where ended_at is null order by created_at")
        .and_then(|mut find| find.query_map([], |row| row.get(0))?.collect())
        .map_err(unavailable)?;
    let mut reader = rows::JobReader::new(db);
    let mut open = HashMap::with_capacity(numbers.len());
    for n in numbers {
        match guarded(format_args!("in row {n}"), || reader.get(n)) {
            Ok(Some(job)) => drop(open.insert(job.id, (n, Arc::new(job)))),
            Ok(None) => {}
            // The others go on. Whoever asks for this one is told.
            Err(StoreError::Corrupt(reason)) => tracing::error!(row = n, reason, "A job cannot be read"),
            Err(other) => return Err(other),
        }
    }
    Ok(open)
}

/// The counters.
pub(super) fn load_counts(db: &Connection) -> Result<Counts, StoreError> {
    let mut counts = Counts::default();
    let mut sums = db.prepare("select status, sum(n) from counter group by status").map_err(unavailable)?;
    let sums = sums
        .query_map([], |row| Ok((rows::status(row.get(0)?)?, row.get::<_, i64>(1)? as u64)))
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unavailable)?;
    for (status, n) in sums {
        counts.set(status, n);
    }
    Ok(counts)
}

struct Thread {
    path: PathBuf,
    checkpoints: Option<Checkpointer>,
    db: Connection,
    /// A transaction failed: connection and memory are to be made anew before the next.
    doubtful: bool,
    open: Open,
    interned: Interned,
    counts: Counts,
    shared: Arc<Published>,
    /// Where those who ask wait for their answers; `None` where the store was opened outside of any.
    runtime: Option<Handle>,
    /// Held as long as the thread lives.
    _lock: Lock,
    claim: Claim,
}

impl Thread {
    fn run(&mut self, waiting: &Receiver<Op>) {
        while let Ok(first) = waiting.recv() {
            let mut ops = gather(first, waiting);
            let mut closing = None;
            ops.retain_mut(|op| match op {
                Op::Close { .. } => {
                    closing = Some(std::mem::replace(op, Op::Probe { reply: oneshot::channel().0 }));
                    false
                }
                _ => true,
            });
            if !ops.is_empty() {
                self.run_batch(ops);
            }
            if let Some(Op::Close { reply }) = closing {
                self.checkpoints = None;
                // Leave a file that needs no recovery, and that can be copied as it is.
                let _ = self.db.pragma_update(None, "wal_checkpoint", "truncate");
                let _ = reply.send(());
                return;
            }
        }
    }

    fn run_batch(&mut self, ops: Vec<Op>) {
        let mut answers: Vec<Answer> = Vec::with_capacity(ops.len());
        let attempt = || match self.settle() {
            Ok(()) => self.attempt(ops, &mut answers),
            Err(error) => {
                ops.into_iter().for_each(|op| refuse(op, &mut answers));
                Err(error)
            }
        };
        // A panic in one batch ends its operations; the thread goes on with the next batch.
        let outcome = catch_unwind(AssertUnwindSafe(attempt)).unwrap_or_else(|panic| {
            let reason = panic_words(&*panic);
            Err(StoreError::Unavailable(format!("the writer met a fault of the program ({reason})")))
        });
        let told = match outcome {
            Ok(changes) => {
                self.shared.state().last_failure = None;
                if let Some(changes) = changes {
                    self.publish(&changes);
                }
                Ok(())
            }
            Err(error) => {
                if !self.db.is_autocommit() {
                    // At once, for other connections wait for the lock. If it fails, `settle` ends it.
                    let _ = self.db.execute_batch("rollback");
                }
                self.doubtful = true;
                self.interned = Interned::default();
                self.shared.state().last_failure = Some(match &error {
                    StoreError::Unavailable(reason) => reason.clone(),
                    other => other.to_string(),
                });
                tracing::error!(error = %error, "A transaction failed; nothing of it was kept");
                Err(error)
            }
        };
        self.tell(answers, told);
    }

    /// Gives everybody in a batch their answer.
    ///
    /// Within the runtime, in one piece: it is woken once. Answered one by one from this thread it would
    /// be woken by the first, and on a busy core that thread takes the core from this one, serves one
    /// request and sleeps again, as often as there are answers.
    fn tell(&self, answers: Vec<Answer>, told: Result<(), StoreError>) {
        let tell = move || answers.into_iter().for_each(|answer| answer(told.clone()));
        match &self.runtime {
            Some(runtime) => drop(runtime.spawn(async move { tell() })),
            None => tell(),
        }
    }

    /// After a failure: a new connection, and the jobs as they are on the disk. What differs from what was
    /// published last is published; usually nothing does.
    fn settle(&mut self) -> Result<(), StoreError> {
        if let Some(lost) = self.claim.0.lost() {
            return Err(StoreError::Unavailable(lost));
        }
        if !self.doubtful {
            return Ok(());
        }
        let mut db = reconnect(&self.path).map_err(unavailable)?;
        if let Some(checkpoints) = &self.checkpoints {
            checkpoints.follow(&mut db).map_err(unavailable)?;
        }
        let (open, counts) = (load_open(&db)?, load_counts(&db)?);
        let mut changes = Changes { jobs: Vec::new(), removed: Vec::new(), counts };
        for (id, (_, job)) in &open {
            if self.open.get(id).is_none_or(|(_, known)| known.revision != job.revision) {
                changes.jobs.push(Arc::clone(job));
            }
        }
        for id in self.open.keys().filter(|id| !open.contains_key(id)) {
            match rows::job_by_id(&db, *id)? {
                Some((_, job)) => changes.jobs.push(Arc::new(job)),
                None => changes.removed.push(*id),
            }
        }
        (self.db, self.open, self.counts, self.doubtful) = (db, open, counts, false);
        if !(changes.jobs.is_empty() && changes.removed.is_empty()) {
            self.publish(&changes);
        }
        Ok(())
    }

    /// One transaction over all operations. Memory changes only after its commit.
    fn attempt(&mut self, ops: Vec<Op>, answers: &mut Vec<Answer>) -> Result<Option<Changes>, StoreError> {
        // Collected first, so that every caller is answered whatever fails below.
        let begun = self.db.execute_batch("begin immediate").map_err(unavailable);
        let mut batch = Batch::new(&self.db, &self.open, &mut self.interned, self.counts);
        let mut broken = begun.err();
        for op in ops {
            match broken.clone() {
                None => broken = batch.run(op, answers).err(),
                Some(_) => refuse(op, answers),
            }
        }
        if let Some(error) = broken {
            return Err(error);
        }
        batch.write()?;
        let Batch { jobs, imported, removed, tally: Tally { counts, .. }, .. } = batch;
        self.db.execute_batch("commit").map_err(unavailable)?;
        self.counts = counts;
        let mut changed = Vec::with_capacity(jobs.len() + imported.len());
        // As they came; what else the batch did to one of them follows.
        for (n, job) in imported {
            if !job.status.is_final() {
                self.open.insert(job.id, (n, Arc::clone(&job)));
            }
            changed.push(job);
        }
        for (id, pending) in jobs {
            if pending.job.status.is_final() {
                self.open.remove(&id);
            } else if let Some(n) = pending.n {
                self.open.insert(id, (n, Arc::clone(&pending.job)));
            }
            changed.push(pending.job);
        }
        let quiet = changed.is_empty() && removed.is_empty();
        Ok((!quiet).then_some(Changes { jobs: changed, removed, counts }))
    }

    fn publish(&self, changes: &Changes) {
        let sinks = {
            let mut state = self.shared.state();
            state.counts = changes.counts;
            for job in &changes.jobs {
                if job.status.is_final() {
                    state.open.remove(&job.id);
                } else {
                    state.open.insert(job.id, Arc::clone(job));
                }
            }
            for id in &changes.removed {
                state.open.remove(id);
            }
            state.sinks.clone()
        };
        for sink in sinks {
            // A panic in one sink must not end the writer's thread: the changes are committed, and the next sink must hear of
            // them.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| sink.publish(changes))) {
                tracing::error!(reason = panic_words(&*panic), "A listener to changes panicked");
            }
        }
    }
}

/// What waits, and what comes while it is gathered. Where the core is shared, those about to ask get it first
/// and share the sync, as long as each turn brings more of them; where it is not, a turn costs nothing.
fn gather(first: Op, waiting: &Receiver<Op>) -> Vec<Op> {
    let mut ops = vec![first];
    loop {
        std::thread::yield_now();
        let before = ops.len();
        ops.extend(waiting.try_iter().take(MAX_BATCH - before));
        if ops.len() == before || ops.len() == MAX_BATCH {
            return ops;
        }
    }
}

/// Answers an operation that was never tried.
fn refuse(op: Op, answers: &mut Vec<Answer>) {
    fn later<T: Send + 'static>(reply: Reply<T>, answers: &mut Vec<Answer>) {
        answers.push(Box::new(|outcome| {
            let error = outcome.err().unwrap_or_else(stopping);
            let _ = reply.send(Err(error));
        }));
    }
    match op {
        Op::Create { reply, .. } => later(reply, answers),
        Op::Transact { reply, .. } => later(reply, answers),
        Op::Import { reply, .. } => later(reply, answers),
        Op::Prune { reply, .. } => later(reply, answers),
        Op::ForgetKeys { reply, .. } => later(reply, answers),
        Op::MarkClock { reply, .. } => later(reply, answers),
        Op::Probe { reply } => later(reply, answers),
        Op::Close { .. } => {}
    }
}
