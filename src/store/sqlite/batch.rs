//! One transaction: what the operations in it lead to, and writing it.
//!
//! Commands are decided one after another on copies, and each job is written once at the end, however many
//! of them it had. What removes or imports jobs writes as it goes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, ToSql, params};

use super::interned::Interned;
use super::writer::{Op, Open, Reply};
use super::{entries, rows, unavailable};
use crate::model::{Command, Context, Counts, Job, JobId, NewJob, Refusal};
use crate::store::ledger::{self, Tally};
use crate::store::{CreateRules, Created, IdempotencyKey, StoreError};
use crate::watch::guarded;

/// What to tell a caller once the batch is through.
pub(super) type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// A job of a batch. It has no row number before it is written.
type Pending = ledger::Pending<Option<i64>>;

pub(super) struct Batch<'a> {
    pub(super) db: &'a Connection,
    open: &'a Open,
    pub(super) interned: &'a mut Interned,
    pub(super) jobs: HashMap<JobId, Pending>,
    /// Jobs that came whole, with their rows' numbers.
    pub(super) imported: Vec<(i64, Arc<Job>)>,
    pub(super) removed: Vec<JobId>,
    pub(super) tally: Tally,
}

impl<'a> Batch<'a> {
    pub(super) fn new(
        db: &'a Connection,
        open: &'a Open,
        interned: &'a mut Interned,
        counts: Counts,
    ) -> Self {
        Self {
            db,
            open,
            interned,
            jobs: HashMap::new(),
            imported: Vec::new(),
            removed: Vec::new(),
            tally: Tally::new(counts),
        }
    }

    /// Runs one operation. A refusal is an answer, and so is a job that cannot be read; an error in a
    /// write breaks the whole batch.
    pub(super) fn run(&mut self, op: Op, answers: &mut Vec<Answer>) -> Result<(), StoreError> {
        fn answer<T: Send + 'static>(
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
                let result = guarded(new.id, || self.create(*new, rules, &context));
                // Only what is read can be corrupt: the job an earlier request with the same key made.
                let unread = matches!(result, Err(StoreError::Corrupt(_))) && !self.db.is_autocommit();
                let broken = answer(reply, result, answers);
                if unread { Ok(()) } else { broken }
            }
            Op::Transact { id, command, context, reply } => {
                // It only reads; its writes come with those of the whole batch. A job that cannot be read
                // is its caller's answer alone, unless SQLite gave the whole transaction up for it, as it
                // does after an I/O error: what came after would then be committed one by one.
                let result = guarded(id, || self.transact(id, command, &context));
                let broken = answer(reply, result, answers);
                if self.db.is_autocommit() { broken } else { Ok(()) }
            }
            Op::Import { jobs, reply } => {
                let result = self.import(jobs);
                answer(reply, result, answers)
            }
            Op::Prune { keep, before, batch, reply } => {
                let result = self.prune(keep, before, batch);
                answer(reply, result, answers)
            }
            Op::ForgetKeys { before, reply } => {
                // A few at a time: everybody waits.
                let forgotten = self
                    .db
                    .prepare_cached(
                        "delete from idempotency where key in (select key from idempotency where at < ?1 limit 1000)",
                    )
                    .and_then(|mut delete| delete.execute([before.0]))
                    .map(|forgotten| forgotten as u64)
                    .map_err(unavailable);
                answer(reply, forgotten, answers)
            }
            Op::MarkClock { mark, reply } => {
                let marked = self
                    .db
                    .execute(
                        "insert or replace into clock (one, believed, doubted) values (1, ?1, ?2)",
                        params![mark.believed.0, mark.doubted],
                    )
                    .map(drop)
                    .map_err(unavailable);
                answer(reply, marked, answers)
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
            && let Some(job) = self.recall(key)?
        {
            return Ok(Created { job, replayed: true });
        }
        let open = self.open;
        let jobs = &self.jobs;
        let untouched = open.values().map(|(_, job)| job).filter(|job| !jobs.contains_key(&job.id));
        let all = jobs.values().map(|pending| &pending.job).chain(untouched);
        ledger::admit_among(&new, &rules, &self.tally.counts, &all)?;
        self.must_be_new(new.id)?;
        let (job, event) = Job::create(new, context)?;
        let job = Arc::new(job);
        if let Some(key) = rules.idempotency {
            self.db
                .execute(
                    "insert or replace into idempotency (key, fingerprint, job, at) values (?1, ?2, ?3, ?4)",
                    params![key.key, key.fingerprint, job.id.0.as_bytes().as_slice(), context.at.0],
                )
                .map_err(unavailable)?;
        }
        self.tally.count(job.spec.feature.as_str(), None, &job);
        self.jobs.insert(job.id, Pending::made(None, Arc::clone(&job), event));
        Ok(Created { job, replayed: false })
    }

    /// Refused where there is a job with that id: no index sees to it.
    pub(super) fn must_be_new(&self, id: JobId) -> Result<(), StoreError> {
        let known = self.jobs.contains_key(&id)
            || self.open.contains_key(&id)
            || rows::number_of(self.db, id).map_err(unavailable)?.is_some();
        if known { Err(Refusal::Exists { id }.into()) } else { Ok(()) }
    }

    /// The job an earlier request with this key had made.
    fn recall(&mut self, key: &IdempotencyKey) -> Result<Option<Arc<Job>>, StoreError> {
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
        Ok(Some(vacant.insert(Pending::stored(Some(n), job))))
    }

    fn transact(&mut self, id: JobId, command: Command, context: &Context) -> Result<Arc<Job>, StoreError> {
        let pending = self.load(id)?.ok_or(Refusal::NotFound { id })?;
        let before = Arc::clone(&pending.job);
        let job = pending.transact(command, context)?;
        self.tally.count(job.spec.feature.as_str(), Some(&before), &job);
        Ok(job)
    }

    /// Writes what the batch changed, each job once.
    pub(super) fn write(&mut self) -> Result<(), StoreError> {
        self.jobs.retain(|_, pending| pending.changed);
        let mut put_event = self.db.prepare_cached(entries::PUT_EVENT).map_err(unavailable)?;
        let mut put_step = self.db.prepare_cached(rows::PUT_STEP).map_err(unavailable)?;
        for pending in self.jobs.values_mut() {
            let job = &pending.job;
            let n = match pending.n {
                Some(n) => {
                    rows::update_job(self.db, n, pending.before.as_deref(), job)?;
                    n
                }
                None => rows::insert_job(self.db, self.interned, job)?,
            };
            pending.n = Some(n);
            for left_out in &pending.left_out {
                entries::leave_out(self.db, n, left_out).map_err(unavailable)?;
            }
            for event in &pending.events {
                entries::put_event(&mut put_event, n, event)?;
            }
            if pending.steps_replaced {
                self.db.execute("delete from step where job = ?1", [n]).map_err(unavailable)?;
            }
            for &index in &pending.touched {
                if let Some(step) = job.steps.steps().get(index) {
                    rows::put_step(&mut put_step, n, index, step).map_err(unavailable)?;
                }
            }
        }
        for (feature, status, by) in self.tally.changed_jobs() {
            self.add(["counter", "feature"], params![feature, status, by])?;
        }
        for ((day, status), by) in &self.tally.ended {
            self.add(["ended", "day"], params![day, status, by])?;
        }
        Ok(())
    }

    /// Adds to a counter, which is made where it is missing. Not in one statement: an upsert keeps a journal
    /// of its own, a copy of each page it touches, though a failure here ends the whole transaction.
    fn add(&self, [table, key]: [&str; 2], row: &[&dyn ToSql]) -> Result<(), StoreError> {
        let changed = self
            .db
            .prepare_cached(&format!("update {table} set n = n + ?3 where {key} = ?1 and status = ?2"))
            .and_then(|mut add| add.execute(row))
            .map_err(unavailable)?;
        if changed == 0 {
            self.db
                .prepare_cached(&format!("insert into {table} ({key}, status, n) values (?1, ?2, ?3)"))
                .and_then(|mut insert| insert.execute(row))
                .map_err(unavailable)?;
        }
        Ok(())
    }
}
