//! Jobs and their steps, to rows and back. The only place that knows their columns.
//!
//! A history is mostly finished jobs, so those are what is kept small: what many share is stored once
//! ([`interned`](super::interned)), numbers are packed ([`facts`](super::facts)), what is absent is null, and
//! the last thing a finished job said is found in its log.

use std::sync::Arc;

use rusqlite::types::Type;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use super::entries::line_kind;
use super::facts::Facts;
use super::interned::{Interned, SharedSpec, Specs};
use super::unavailable;
use crate::model::{
    Author, Execution, Feature, Job, JobId, LastMessage, Level, LineKind, Spec, Status, Step, StepTree,
    Timeouts, Timestamp, Title, Weight, shorten,
};
use crate::store::StoreError;
use crate::store::record::{self, More, span, status_number};

/// The status with that number.
pub(super) fn status(number: i64) -> rusqlite::Result<Status> {
    record::status(number).ok_or(rusqlite::Error::IntegralValueOutOfRange(0, number))
}

fn execution(number: i64) -> rusqlite::Result<Execution> {
    record::execution(number).ok_or(rusqlite::Error::IntegralValueOutOfRange(0, number))
}

pub(super) fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error))
}

fn at(ms: Option<i64>) -> Option<Timestamp> {
    ms.map(Timestamp)
}

/// The newest message, where the log of an ended job has it.
fn said_at(job: &Job) -> Option<u64> {
    job.last_message.as_ref().filter(|_| job.status.is_final()).and_then(|message| message.seq)
}

fn facts_of(job: &Job) -> Vec<u8> {
    let facts = Facts {
        created_at: job.created_at,
        attempt: job.attempt,
        epoch: job.epoch,
        seq: job.seq,
        revision: job.revision,
        counts: job.counts,
        started_at: job.started_at,
        activity_at: job.activity_at,
        heartbeat_at: job.heartbeat_at,
        said_at: said_at(job),
        progress_at: job.progress_at,
        run_at: job.run_at,
        fenced: job.fenced,
        late_writes: job.late_writes,
        late_write_at: job.late_write_at,
        message_key: job.message_key,
    };
    facts.pack(job.id, job.ended_at)
}

/// Reads jobs, and remembers what they share.
pub(super) struct JobReader<'a> {
    db: &'a Connection,
    specs: Specs,
}

impl<'a> JobReader<'a> {
    pub(super) fn new(db: &'a Connection) -> Self {
        Self { db, specs: Specs::default() }
    }

    /// The job of that row, with its steps.
    pub(super) fn get(&mut self, n: i64) -> Result<Option<Job>, StoreError> {
        self.read(n).map_err(unavailable)
    }

    fn read(&mut self, n: i64) -> rusqlite::Result<Option<Job>> {
        let db = self.db;
        let mut find = db.prepare_cached(
            "select id, spec, title, status, created_at, ended_at, progress, facts, pinned, error, more from job \
             where n = ?1",
        )?;
        let mut rows = find.query([n])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let shared = self.specs.get(db, row.get(1)?)?;
        let (mut job, said) = job(row, &shared)?;
        if let Some(seq) = said {
            job.last_message = message(db, n, seq)?;
        }
        job.steps = Arc::new(steps(db, n)?);
        Ok(Some(job))
    }
}

/// A message of a job's log, as its job keeps it.
fn message(db: &Connection, n: i64, seq: u64) -> rusqlite::Result<Option<Arc<LastMessage>>> {
    db.prepare_cached("select kind, text from event where job = ?1 and seq = ?2")?
        .query_row(params![n, seq as i64], |row| {
            let level = match line_kind(row.get(0)?)? {
                LineKind::Warning => Level::Warning,
                LineKind::Error => Level::Error,
                _ => Level::Info,
            };
            let text = shorten(row.get_ref(1)?.as_str()?, Job::LAST_MESSAGE_CHARS).into_owned();
            Ok(Arc::new(LastMessage { level, text, seq: Some(seq) }))
        })
        .optional()
}

/// A job without its steps, and where in its log its newest message is.
fn job(row: &Row<'_>, shared: &SharedSpec) -> rusqlite::Result<(Job, Option<u64>)> {
    let more = More::read(row.get_ref(10)?.as_str_or_null()?).map_err(unreadable)?;
    let id = JobId(uuid::Uuid::from_slice(row.get_ref(0)?.as_blob()?).map_err(unreadable)?);
    let spec = Spec {
        feature: Feature::new(shared.feature.as_str()).map_err(unreadable)?,
        author: Author::new(shared.author.as_str()).map_err(unreadable)?,
        owner: shared.owner.clone(),
        title: row.get::<_, Option<String>>(2)?.map(Title::new).transpose().map_err(unreadable)?,
        tags: more.tags,
        input: more.input,
        timeouts: Timeouts { run: span(shared.run_timeout), activity: span(shared.activity_timeout) },
        execution: execution(shared.execution)?,
        max_attempts: shared.max_attempts,
        queue: shared.queue.clone(),
        priority: shared.priority,
        max_lines: shared.max_lines,
    };
    let (created_at, ended_at) = (at(row.get(4)?), at(row.get(5)?));
    let facts = Facts::unpack(row.get_ref(7)?.as_blob()?, id, created_at, ended_at);
    let job = Job {
        id,
        spec: Arc::new(spec),
        status: status(row.get(3)?)?,
        attempt: facts.attempt,
        epoch: facts.epoch,
        progress: row.get(6)?,
        steps: Arc::default(),
        created_at: facts.created_at,
        ended_at,
        seq: facts.seq,
        revision: facts.revision,
        counts: facts.counts,
        run_at: facts.run_at,
        started_at: facts.started_at,
        activity_at: facts.activity_at,
        progress_at: facts.progress_at,
        heartbeat_at: facts.heartbeat_at,
        last_message: more.last_message,
        fenced: facts.fenced,
        late_writes: facts.late_writes,
        late_write_at: facts.late_write_at,
        message_key: facts.message_key,
        error: row.get::<_, Option<String>>(9)?.map(Arc::from),
        output: more.output,
        abort: more.abort,
        last_error: more.last_error,
        recorded_at: more.recorded_at,
        unrecorded: more.unrecorded,
        unrecorded_whole: more.unrecorded_whole,
        dropped: more.dropped,
        unrecorded_drops: more.unrecorded_drops,
        pinned: row.get(8)?,
    };
    Ok((job, facts.said_at))
}

/// A job with its steps, and its row number.
pub(super) fn job_by_id(db: &Connection, id: JobId) -> Result<Option<(i64, Job)>, StoreError> {
    let Some(n) = number_of(db, id).map_err(unavailable)? else { return Ok(None) };
    Ok(JobReader::new(db).get(n)?.map(|job| (n, job)))
}

/// The row number of a job.
pub(super) fn number_of(db: &Connection, id: JobId) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached(NUMBER_OF)?.query_row([id.0.as_bytes().as_slice()], |row| row.get(0)).optional()
}

/// The query for [`number_of`]: by the half of the id that is in the index.
pub(super) const NUMBER_OF: &str = "select n from job where substr(id, 1, 8) = substr(?1, 1, 8) and id = ?1";

/// The step tree of the job with that row number.
pub(super) fn steps(db: &Connection, n: i64) -> rusqlite::Result<StepTree> {
    let mut find = db.prepare_cached(
        "select id, title, weight, progress, parent, started_at, ended_at from step where job = ?1 order by i",
    )?;
    let steps = find.query_map([n], |row| {
        Ok(Step {
            id: row.get(0)?,
            title: row.get(1)?,
            weight: Weight::new(row.get(2)?).unwrap_or(Weight::ONE),
            progress: row.get(3)?,
            parent: row.get::<_, Option<i64>>(4)?.and_then(|parent| usize::try_from(parent).ok()),
            children: Vec::new(),
            started_at: at(row.get(5)?),
            ended_at: at(row.get(6)?),
        })
    })?;
    Ok(StepTree::restore(steps.collect::<Result<_, _>>()?))
}

/// Writes one step of a job.
pub(super) fn put_step(
    put: &mut CachedStatement<'_>,
    n: i64,
    index: usize,
    step: &Step,
) -> rusqlite::Result<()> {
    put.execute(params![
        n,
        index as i64,
        step.parent.map(|parent| parent as i64),
        step.id,
        step.title,
        f64::from(step.weight),
        step.progress,
        step.started_at.map(|at| at.0),
        step.ended_at.map(|at| at.0),
    ])?;
    Ok(())
}

/// The statement for [`put_step`].
pub(super) const PUT_STEP: &str = "insert or replace into step \
    (job, i, parent, id, title, weight, progress, started_at, ended_at) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

fn more_of(job: &Job) -> Result<Option<String>, StoreError> {
    let last_message = job.last_message.clone().filter(|_| said_at(job).is_none());
    More { last_message, ..More::of(job) }.write()
}

/// When a job was made, where the column is needed: the list of open jobs goes by it.
fn created_column(job: &Job) -> Option<i64> {
    job.ended_at.is_none().then_some(job.created_at.0)
}

/// Adds a job. Returns its row number.
pub(super) fn insert_job(db: &Connection, interned: &mut Interned, job: &Job) -> Result<i64, StoreError> {
    let more = more_of(job)?;
    let numbers = interned.spec(db, &job.spec).map_err(unavailable)?;
    db.prepare_cached(
        "insert into job (id, spec, feature, author, title, status, created_at, ended_at, progress, facts, pinned, error, \
         more) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )
    .and_then(|mut insert| {
        insert.execute(params![
            job.id.0.as_bytes().as_slice(),
            numbers.spec,
            numbers.feature,
            numbers.author,
            job.spec.title.as_ref().map(Title::as_str),
            status_number(job.status),
            created_column(job),
            job.ended_at.map(|at| at.0),
            job.progress,
            facts_of(job),
            job.pinned,
            job.error.as_deref(),
            more,
        ])
    })
    .map_err(unavailable)?;
    Ok(db.last_insert_rowid())
}

/// Brings a job's row up to date. What was asked for at its start never changes and is not written.
///
/// `before` is its status in the row. While a run only reports, no indexed column changes, and none is named:
/// SQLite takes an entry out of each index over a column that is written and puts it back, the same or not.
pub(super) fn update_job(
    db: &Connection,
    n: i64,
    before: Option<Status>,
    job: &Job,
) -> Result<(), StoreError> {
    let more = more_of(job)?;
    let facts = facts_of(job);
    let error = job.error.as_deref();
    if before == Some(job.status) && !job.status.is_final() {
        db.prepare_cached("update job set progress = ?2, facts = ?3, error = ?4, more = ?5 where n = ?1")
            .and_then(|mut update| update.execute(params![n, job.progress, facts, error, more]))
    } else {
        db.prepare_cached(
            "update job set status = ?2, created_at = ?3, ended_at = ?4, progress = ?5, facts = ?6, pinned = ?7, \
             error = ?8, more = ?9 where n = ?1",
        )
        .and_then(|mut update| {
            update.execute(params![
                n,
                status_number(job.status),
                created_column(job),
                job.ended_at.map(|at| at.0),
                job.progress,
                facts,
                job.pinned,
                error,
                more,
            ])
        })
    }
    .map(drop)
    .map_err(unavailable)
}
