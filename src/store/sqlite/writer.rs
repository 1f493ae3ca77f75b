//! The thread that writes: takes what is waiting, decides it, commits once, publishes, answers.
//!
//! A batch works on copies. Only when its commit has succeeded do they replace the jobs in memory and go
//! out to the sinks; if it fails, everybody in the batch is told so and memory is as it was. A refusal is
//! an answer like any other and does not disturb its neighbours.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::oneshot;

use super::open::OpenError;
use super::{rows, stopping, unavailable};
use crate::model::{Command, Context, Counts, Event, Job, JobId, NewJob, Refusal, Status, Timestamp};
use crate::store::record::status_number;
use crate::store::{ChangeSink, Changes, CreateRules, Created, IdempotencyKey, StoreError, ledger};

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// The most operations in one transaction: enough to share a sync well, few enough to keep the first
/// one's answer quick.
const MAX_BATCH: usize = 1024;

/// What can be asked of the writer.
pub(super) enum Op {
    Create { new: Box<NewJob>, rules: CreateRules, context: Context, reply: Reply<Created> },
    Transact { id: JobId, command: Command, context: Context, reply: Reply<Arc<Job>> },
    Prune { keep: u64, before: Option<Timestamp>, batch: usize, reply: Reply<u64> },
    Probe { reply: Reply<()> },
    Close { reply: oneshot::Sender<()> },
}

/// What the writer shows to readers.
#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: HashMap<JobId, Arc<Job>>,
    counts: Counts,
    sinks: Vec<Arc<dyn ChangeSink>>,
    write_error: Option<String>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
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

    pub(super) fn write_error(&self) -> Option<String> {
        self.state().write_error.clone()
    }
}

/// The way to the writer's thread.
pub(super) struct Writer {
    ops: Sender<Op>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn start(db: Connection, lock: File) -> Result<(Self, Arc<Shared>), OpenError> {
        let unusable = |problem: String| OpenError::Unusable { path: "the database".to_owned(), problem };
        let (open, counts) = load(&db).map_err(|error| unusable(error.to_string()))?;
        let shared = Arc::new(Shared::default());
        {
            let mut state = shared.state();
            state.counts = counts;
            state.open = open.values().map(|(_, job)| (job.id, Arc::clone(job))).collect();
        }
        let (ops, waiting) = channel();
        let mut thread = Thread { db, open, counts, shared: Arc::clone(&shared), _lock: lock };
        let handle = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || thread.run(&waiting))
            .map_err(|error| unusable(error.to_string()))?;
        Ok((Self { ops, thread: Mutex::new(Some(handle)) }, shared))
    }

    pub(super) fn send(&self, op: Op) -> Result<(), StoreError> {
        self.ops.send(op).map_err(|_| stopping())
    }

    pub(super) async fn close(&self) {
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
type Open = HashMap<JobId, (i64, Arc<Job>)>;

/// The jobs that have not ended, and the counters.
fn load(db: &Connection) -> Result<(Open, Counts), StoreError> {
    let mut find =
        db.prepare(&format!("select {} from job where ended_at is null", rows::JOB)).map_err(unavailable)?;
    let found: Vec<(i64, Job)> =
        find.query_map([], rows::job).and_then(Iterator::collect).map_err(unavailable)?;
    let mut open = HashMap::with_capacity(found.len());
    for (n, mut job) in found {
        job.steps = Arc::new(rows::steps(db, n).map_err(unavailable)?);
        open.insert(job.id, (n, Arc::new(job)));
    }
    let mut counts = Counts::default();
    let mut sums = db.prepare("select status, sum(n) from counter group by status").map_err(unavailable)?;
    let sums = sums
        .query_map([], |row| Ok((rows::status(row.get(0)?)?, row.get::<_, i64>(1)? as u64)))
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unavailable)?;
    for (status, n) in sums {
        counts.set(status, n);
    }
    Ok((open, counts))
}

struct Thread {
    db: Connection,
    open: HashMap<JobId, (i64, Arc<Job>)>,
    counts: Counts,
    shared: Arc<Shared>,
    /// Held as long as the thread lives.
    _lock: File,
}

/// What to tell a caller once the batch is through.
type Answer = Box<dyn FnOnce(Result<(), StoreError>)>;

impl Thread {
    fn run(&mut self, waiting: &Receiver<Op>) {
        while let Ok(first) = waiting.recv() {
            let mut ops = vec![first];
            while ops.len() < MAX_BATCH {
                match waiting.try_recv() {
                    Ok(op) => ops.push(op),
                    Err(_) => break,
                }
            }
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
                // Leave a file that needs no recovery, and that can be copied as it is.
                let _ = self.db.pragma_update(None, "wal_checkpoint", "truncate");
                let _ = reply.send(());
                return;
            }
        }
    }

    fn run_batch(&mut self, ops: Vec<Op>) {
        let mut answers: Vec<Answer> = Vec::with_capacity(ops.len());
        let outcome = self.attempt(ops, &mut answers);
        let told = match outcome {
            Ok(changes) => {
                self.shared.state().write_error = None;
                if let Some(changes) = changes {
                    self.publish(&changes);
                }
                Ok(())
            }
            Err(error) => {
                if !self.db.is_autocommit() {
                    let _ = self.db.execute_batch("rollback");
                }
                self.shared.state().write_error = Some(error.to_string());
                tracing::error!(error = %error, "A transaction failed; nothing of it was kept");
                Err(error)
            }
        };
        for answer in answers {
            answer(told.clone());
        }
    }

    /// One transaction over all operations. Memory changes only after its commit.
    fn attempt(&mut self, ops: Vec<Op>, answers: &mut Vec<Answer>) -> Result<Option<Changes>, StoreError> {
        // Collected first: whatever fails below, everybody has an answer coming.
        let begun = self.db.execute_batch("begin immediate").map_err(unavailable);
        let mut batch = Batch::new(&self.db, &self.open, self.counts);
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
        let Batch { jobs, removed, counts, .. } = batch;
        self.db.execute_batch("commit").map_err(unavailable)?;
        self.counts = counts;
        let mut changed = Vec::with_capacity(jobs.len());
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
            state.sinks.clone()
        };
        for sink in sinks {
            sink.publish(changes);
        }
    }
}

/// Answers an operation that was never tried.
fn refuse(op: Op, answers: &mut Vec<Answer>) {
    fn later<T: 'static>(reply: Reply<T>, answers: &mut Vec<Answer>) {
        answers.push(Box::new(|outcome| {
            let error = outcome.err().unwrap_or_else(stopping);
            let _ = reply.send(Err(error));
        }));
    }
    match op {
        Op::Create { reply, .. } => later(reply, answers),
        Op::Transact { reply, .. } => later(reply, answers),
        Op::Prune { reply, .. } => later(reply, answers),
        Op::Probe { reply } => later(reply, answers),
        Op::Close { .. } => {}
    }
}

/// A job as the batch will leave it.
struct Pending {
    /// Its row; `None` until it is written for the first time.
    n: Option<i64>,
    job: Arc<Job>,
    /// Its status when the batch began; `None` for a new job.
    before: Option<Status>,
    events: Vec<Event>,
    touched: BTreeSet<usize>,
    /// An attempt began afresh: the steps on disk are an earlier one's.
    steps_replaced: bool,
    /// There is something to write.
    changed: bool,
}

struct Batch<'a> {
    db: &'a Connection,
    open: &'a HashMap<JobId, (i64, Arc<Job>)>,
    jobs: HashMap<JobId, Pending>,
    removed: Vec<JobId>,
    counts: Counts,
    /// Changes to the counters by feature.
    counters: BTreeMap<(String, i64), i64>,
}

impl<'a> Batch<'a> {
    fn new(db: &'a Connection, open: &'a HashMap<JobId, (i64, Arc<Job>)>, counts: Counts) -> Self {
        Self { db, open, jobs: HashMap::new(), removed: Vec::new(), counts, counters: BTreeMap::new() }
    }

    /// Runs one operation. A refusal is an answer, and so is a job that cannot be read; an error in a
    /// write breaks the whole batch.
    fn run(&mut self, op: Op, answers: &mut Vec<Answer>) -> Result<(), StoreError> {
        fn answer<T: 'static>(
            reply: Reply<T>,
            result: Result<T, StoreError>,
            answers: &mut Vec<Answer>,
        ) -> Result<(), StoreError> {
            let broken = match &result {
                Err(error @ (StoreError::Unavailable(_) | StoreError::Corrupt(_))) => Err(error.clone()),
                Ok(_) | Err(StoreError::Refused(_)) => Ok(()),
            };
            answers.push(Box::new(move |committed| {
                let _ = reply.send(committed.and(result));
            }));
            broken
        }
        match op {
            Op::Create { new, rules, context, reply } => {
                let result = self.create(*new, rules, &context);
                answer(reply, result, answers)
            }
            Op::Transact { id, command, context, reply } => {
                // It only reads; its writes come with those of the whole batch.
                let result = self.transact(id, command, &context);
                let _ = answer(reply, result, answers);
                Ok(())
            }
            Op::Prune { keep, before, batch, reply } => {
                let result = self.prune(keep, before, batch);
                answer(reply, result, answers)
            }
            Op::Probe { reply } => {
                let result = self
                    .db
                    .execute("insert or replace into probe (one, at) values (1, unixepoch())", [])
                    .map(|_| ())
                    .map_err(unavailable);
                answer(reply, result, answers)
            }
            Op::Close { .. } => Ok(()),
        }
    }

    fn create(&mut self, new: NewJob, rules: CreateRules, context: &Context) -> Result<Created, StoreError> {
        if let Some(key) = &rules.idempotency
            && let Some(job) = self.recall(key, context.at)?
        {
            return Ok(Created { job, replayed: true });
        }
        let open = self.open;
        let jobs = &self.jobs;
        let untouched = open.values().map(|(_, job)| job).filter(|job| !jobs.contains_key(&job.id));
        let all = jobs.values().map(|pending| &pending.job).chain(untouched);
        ledger::admit(&new, &rules, &self.counts, all)?;
        let (job, event) = Job::create(new, context);
        let job = Arc::new(job);
        if let Some(key) = rules.idempotency {
            self.db
                .execute(
                    "insert or replace into idempotency (key, fingerprint, job, at) values (?1, ?2, ?3, ?4)",
                    params![key.key, key.fingerprint, job.id.0.as_bytes().as_slice(), context.at.0],
                )
                .map_err(unavailable)?;
        }
        self.count(job.spec.feature.as_str(), None, Some(job.status));
        self.jobs.insert(
            job.id,
            Pending {
                n: None,
                job: Arc::clone(&job),
                before: None,
                events: vec![event],
                touched: BTreeSet::new(),
                steps_replaced: false,
                changed: true,
            },
        );
        Ok(Created { job, replayed: false })
    }

    /// The job an earlier request with this key had made.
    fn recall(&mut self, key: &IdempotencyKey, now: Timestamp) -> Result<Option<Arc<Job>>, StoreError> {
        let oldest = now.minus(IdempotencyKey::KEPT).0;
        self.db.execute("delete from idempotency where at < ?1", [oldest]).map_err(unavailable)?;
        let found: Option<(String, [u8; 16])> = self
            .db
            .prepare_cached("select fingerprint, job from idempotency where key = ?1")
            .and_then(|mut find| find.query_row([&key.key], |row| Ok((row.get(0)?, row.get(1)?))).optional())
            .map_err(unavailable)?;
        match found {
            None => Ok(None),
            Some((fingerprint, _)) if fingerprint != key.fingerprint => Err(Refusal::KeyReused.into()),
            Some((_, id)) => {
                let id = JobId(uuid::Uuid::from_bytes(id));
                Ok(self.load(id)?.map(|pending| Arc::clone(&pending.job)))
            }
        }
    }

    /// The job as the batch has it so far, brought into the batch where it is not yet.
    fn load(&mut self, id: JobId) -> Result<Option<&mut Pending>, StoreError> {
        let vacant = match self.jobs.entry(id) {
            Entry::Occupied(entry) => return Ok(Some(entry.into_mut())),
            Entry::Vacant(vacant) => vacant,
        };
        let found = match self.open.get(&id) {
            Some((n, job)) => Some((*n, Arc::clone(job))),
            None => rows::job_by_id(self.db, id)?.map(|(n, job)| (n, Arc::new(job))),
        };
        let Some((n, job)) = found else {
            return Ok(None);
        };
        let before = Some(job.status);
        Ok(Some(vacant.insert(Pending {
            n: Some(n),
            job,
            before,
            events: Vec::new(),
            touched: BTreeSet::new(),
            steps_replaced: false,
            changed: false,
        })))
    }

    fn transact(&mut self, id: JobId, command: Command, context: &Context) -> Result<Arc<Job>, StoreError> {
        let pending = self.load(id)?.ok_or(Refusal::NotFound { id })?;
        let before = Arc::clone(&pending.job);
        match ledger::turn(&before, command, context) {
            Ok(turn) => {
                if turn.job.attempt != before.attempt {
                    pending.steps_replaced = true;
                    pending.touched.clear();
                }
                pending.changed = true;
                pending.job = Arc::clone(&turn.job);
                pending.events.extend(turn.events);
                pending.touched.extend(turn.touched);
                if before.status != turn.job.status {
                    self.count(before.spec.feature.as_str(), Some(before.status), Some(turn.job.status));
                }
                Ok(turn.job)
            }
            Err(refused) => {
                if let Some(counted) = refused.counted {
                    pending.changed = true;
                    pending.job = counted;
                }
                Err(refused.refusal.into())
            }
        }
    }

    fn prune(&mut self, keep: u64, before: Option<Timestamp>, batch: usize) -> Result<u64, StoreError> {
        let over = self.counts.past().saturating_sub(keep);
        let limit = i64::try_from(batch).unwrap_or(i64::MAX);
        let mut find = self
            .db
            .prepare_cached(
                "select n, id, feature, status, ended_at from job where ended_at is not null \
                 order by ended_at, id limit ?1",
            )
            .map_err(unavailable)?;
        let oldest: Vec<(i64, [u8; 16], String, i64, i64)> = find
            .query_map([limit], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))
            .and_then(Iterator::collect)
            .map_err(unavailable)?;
        drop(find);
        let mut removed = 0;
        for (n, id, feature, status, ended_at) in oldest {
            let expired = before.is_some_and(|before| ended_at < before.0);
            if !(expired || removed < over) {
                break;
            }
            for statement in [
                "delete from event where job = ?1",
                "delete from step where job = ?1",
                "delete from job where n = ?1",
            ] {
                self.db
                    .prepare_cached(statement)
                    .and_then(|mut delete| delete.execute([n]))
                    .map_err(unavailable)?;
            }
            let id = JobId(uuid::Uuid::from_bytes(id));
            self.jobs.remove(&id);
            self.count(&feature, Some(rows::status(status).map_err(unavailable)?), None);
            self.removed.push(id);
            removed += 1;
        }
        Ok(removed)
    }

    fn count(&mut self, feature: &str, from: Option<Status>, to: Option<Status>) {
        self.counts.shift(from, to);
        for (status, by) in [(from, -1), (to, 1)] {
            if let Some(status) = status {
                *self.counters.entry((feature.to_owned(), status_number(status))).or_default() += by;
            }
        }
    }

    /// Writes what the batch changed, each job once.
    fn write(&mut self) -> Result<(), StoreError> {
        self.jobs.retain(|_, pending| pending.changed);
        let mut put_event = self.db.prepare_cached(rows::PUT_EVENT).map_err(unavailable)?;
        let mut put_step = self.db.prepare_cached(rows::PUT_STEP).map_err(unavailable)?;
        let mut ended: BTreeMap<(i64, i64), i64> = BTreeMap::new();
        for pending in self.jobs.values_mut() {
            let job = &pending.job;
            let n = match pending.n {
                Some(n) => {
                    rows::update_job(self.db, n, job)?;
                    n
                }
                None => rows::insert_job(self.db, job)?,
            };
            pending.n = Some(n);
            for event in &pending.events {
                rows::put_event(&mut put_event, n, event)?;
            }
            if pending.steps_replaced {
                self.db.execute("delete from step where job = ?1", [n]).map_err(unavailable)?;
            }
            for &index in &pending.touched {
                if let Some(step) = job.steps.steps().get(index) {
                    rows::put_step(&mut put_step, n, index, step).map_err(unavailable)?;
                }
            }
            let was_open = pending.before.is_none_or(|before| !before.is_final());
            if let (true, true, Some(at)) = (was_open, job.status.is_final(), job.ended_at) {
                *ended.entry((at.day(), status_number(job.status))).or_default() += 1;
            }
        }
        for ((feature, status), by) in &self.counters {
            self.db
                .prepare_cached(
                    "insert into counter (feature, status, n) values (?1, ?2, ?3) \
                     on conflict do update set n = n + excluded.n",
                )
                .and_then(|mut add| add.execute(params![feature, status, by]))
                .map_err(unavailable)?;
            self.db
                .prepare_cached("delete from counter where feature = ?1 and status = ?2 and n = 0")
                .and_then(|mut tidy| tidy.execute(params![feature, status]))
                .map_err(unavailable)?;
        }
        for ((day, status), by) in ended {
            self.db
                .prepare_cached(
                    "insert into ended (day, status, n) values (?1, ?2, ?3) \
                     on conflict do update set n = n + excluded.n",
                )
                .and_then(|mut add| add.execute(params![day, status, by]))
                .map_err(unavailable)?;
        }
        Ok(())
    }
}
