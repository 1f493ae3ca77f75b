//! Jobs and their steps, to rows and back. The only place that knows their columns.
//!
//! A history is mostly finished jobs, so those are what is kept small: what many share is stored once
//! ([`interned`](super::interned)), numbers are packed ([`numbers`](super::numbers)), what is absent is null, and
//! the last thing a finished job said is found in its log.

use std::sync::Arc;

use rusqlite::types::Type;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use super::entries::line_kind;
use super::interned::{Interned, SharedSpec, Specs};
use super::numbers::{Numbers, is_whole};
use super::unavailable;
use crate::model::job_fields::job_fields;
use crate::model::{
    Job, JobId, LastMessage, Level, LineKind, Siblings, Spec, Status, Step, StepTree, Timestamp, Title,
    Weight, shorten,
};
use crate::store::StoreError;
use crate::store::ledger::by_tag;
use crate::store::record::{self, Document, DocumentOf, status_number};

/// The status with that number.
pub(super) fn status(number: i64) -> rusqlite::Result<Status> {
    record::status(number).ok_or(rusqlite::Error::IntegralValueOutOfRange(0, number))
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

fn numbers_of(job: &Job) -> Vec<u8> {
    Numbers::of(job, said_at(job)).pack(job.id, job.ended_at)
}

/// A job's columns of its own.
struct Columns {
    status: Status,
    progress: f64,
    created_at: Timestamp,
    ended_at: Option<Timestamp>,
    error: Option<Arc<str>>,
    pinned: bool,
}

/// Makes of the list of fields how the parts of a row become a job.
macro_rules! from_parts {
    (
        required { $($(#[$required_meta:meta])* $required:ident: $required_type:ty;)* }
        named { $($(#[$named_meta:meta])* $named:ident: $named_type:ty = $named_value:expr;)* }
        asked { $($(#[$asked_meta:meta])* $asked:ident: $asked_type:ty = $asked_value:expr;)* }
        asked_rarely { $($(#[$rarely_meta:meta])* $rarely:ident: $rarely_type:ty = $rarely_value:expr;)* }
        asked_each { $($(#[$each_meta:meta])* $each:ident: $each_type:ty = $each_value:expr;)* }
        columns { $($(#[$column_meta:meta])* $column:ident: $column_type:ty = $column_value:expr;)* }
        numbers { $($(#[$number_meta:meta])* $number:ident: $number_type:ty = $number_value:expr;)* }
        document { $($(#[$meta:meta])* $field:ident: $type:ty = $value:expr;)* }
    ) => {
        /// A job without its steps.
        fn from_parts(
            id: JobId,
            shared: &SharedSpec,
            title: Option<Title>,
            columns: Columns,
            numbers: Numbers,
            document: Document,
        ) -> Job {
            let spec = Spec {
                $($required: shared.$required.clone(),)*
                title,
                $($asked: shared.$asked.clone(),)*
                $($rarely: shared.$rarely.clone(),)*
                $($each: document.$each,)*
            };
            Job {
                id,
                spec: Arc::new(spec),
                steps: Arc::default(),
                $($column: columns.$column,)*
                $($number: numbers.$number,)*
                $($field: document.$field,)*
            }
        }
    };
}

job_fields!(from_parts);

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
            "select id, spec, title, status, created_at, ended_at, progress, numbers, pinned, error, more from job \
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
    let document = Document::read(row.get_ref(10)?.as_str_or_null()?).map_err(unreadable)?;
    let id = JobId(uuid::Uuid::from_slice(row.get_ref(0)?.as_blob()?).map_err(unreadable)?);
    let title = row.get::<_, Option<String>>(2)?.map(Title::stored);
    let (created_at, ended_at) = (at(row.get(4)?), at(row.get(5)?));
    let packed = row.get_ref(7)?.as_blob()?;
    if !is_whole(packed) {
        return Err(unreadable(std::io::Error::other("its packed numbers are cut short or none of a job's")));
    }
    let numbers = Numbers::unpack(packed, id, created_at, ended_at);
    let columns = Columns {
        status: status(row.get(3)?)?,
        progress: row.get(6)?,
        created_at: numbers.created_at,
        ended_at,
        error: row.get::<_, Option<String>>(9)?.map(Arc::from),
        pinned: row.get(8)?,
    };
    let said_at = numbers.said_at;
    Ok((from_parts(id, shared, title, columns, numbers, document), said_at))
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
            children: Siblings::default(),
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

/// The JSON beside the row, without the newest message where the log has it.
fn document_of(job: &Job) -> Result<Option<String>, StoreError> {
    const NONE: &Option<Arc<LastMessage>> = &None;
    let last_message = if said_at(job).is_none() { &job.last_message } else { NONE };
    DocumentOf { last_message, ..DocumentOf::beside_spec(job) }.write()
}

/// When a job was made, where the column is needed: the list of open jobs goes by it.
fn created_column(job: &Job) -> Option<i64> {
    job.ended_at.is_none().then_some(job.created_at.0)
}

/// Adds a job. Returns its row number.
pub(super) fn insert_job(db: &Connection, interned: &mut Interned, job: &Job) -> Result<i64, StoreError> {
    let document = document_of(job)?;
    let numbers = interned.spec(db, &job.spec).map_err(unavailable)?;
    db.prepare_cached(
        "insert into job (id, spec, feature, author, title, status, created_at, ended_at, progress, numbers, pinned, error, \
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
            numbers_of(job),
            job.pinned,
            job.error.as_deref(),
            document,
        ])
    })
    .map_err(unavailable)?;
    let n = db.last_insert_rowid();
    list_by_tag(db, n, None, job)?;
    Ok(n)
}

/// A label as it is written and looked for: as JSON.
pub(super) fn tag_key(tag: &str) -> String {
    serde_json::Value::from(tag).to_string()
}

/// Brings the lists by label up to date with a job that is written. `before` is how it stood in the row.
fn list_by_tag(db: &Connection, n: i64, before: Option<&Job>, job: &Job) -> Result<(), StoreError> {
    let [stood, stands] = [before, Some(job)].map(|job| job.and_then(by_tag));
    if stood == stands {
        return Ok(());
    }
    let put = "insert or ignore into job_tag (tag, status, ended_at, job, feature) \
               select ?1, ?2, ?3, n, feature from job where n = ?4";
    for (statement, place) in [(DROP_TAG, stood), (put, stands)] {
        let Some((status, at)) = place else { continue };
        let mut change = db.prepare_cached(statement).map_err(unavailable)?;
        for tag in &job.spec.tags {
            change
                .execute(params![tag_key(tag.as_str()), status_number(status), at.0, n])
                .map_err(unavailable)?;
        }
    }
    Ok(())
}

/// Takes a job out of the list of a label.
const DROP_TAG: &str = "delete from job_tag where tag = ?1 and status = ?2 and ended_at = ?3 and job = ?4";

/// The labels of the ended job in row `?1`, as they are listed.
pub(super) const TAGS_OF: &str = "select job.more -> label.fullkey, job.status, job.ended_at \
    from job, json_each(case when json_valid(job.more) then job.more end, '$.tags') as label where job.n = ?1";

/// Takes an ended job that is about to be removed out of the lists by label.
pub(super) fn unlist_by_tag(db: &Connection, n: i64) -> rusqlite::Result<()> {
    let mut find = db.prepare_cached(TAGS_OF)?;
    let mut rows = find.query([n])?;
    let mut drop = db.prepare_cached(DROP_TAG)?;
    while let Some(row) = rows.next()? {
        drop.execute(params![row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?, n])?;
    }
    Ok(())
}

/// Brings a job's row up to date. What was asked for at its start never changes and is not written.
///
/// `before` is how it stood in the row. While a run only reports, no indexed column changes, and none is named:
/// SQLite takes an entry out of each index over a column that is written and puts it back, the same or not.
pub(super) fn update_job(db: &Connection, n: i64, before: Option<&Job>, job: &Job) -> Result<(), StoreError> {
    list_by_tag(db, n, before, job)?;
    let document = document_of(job)?;
    let numbers = numbers_of(job);
    let error = job.error.as_deref();
    if before.map(|before| before.status) == Some(job.status) && !job.status.is_final() {
        db.prepare_cached("update job set progress = ?2, numbers = ?3, error = ?4, more = ?5 where n = ?1")
            .and_then(|mut update| update.execute(params![n, job.progress, numbers, error, document]))
    } else {
        db.prepare_cached(
            "update job set status = ?2, created_at = ?3, ended_at = ?4, progress = ?5, numbers = ?6, pinned = ?7, \
             error = ?8, more = ?9 where n = ?1",
        )
        .and_then(|mut update| {
            update.execute(params![
                n,
                status_number(job.status),
                created_column(job),
                job.ended_at.map(|at| at.0),
                job.progress,
                numbers,
                job.pinned,
                error,
                document,
            ])
        })
    }
    .map(drop)
    .map_err(unavailable)
}
