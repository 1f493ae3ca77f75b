//! Rows to model values, and back. The only place that knows the columns.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::{FromSqlError, Type};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{
    AbortRequest, Author, Dropped, Event, EventKind, EventSource, Execution, Feature, Job, JobId,
    LastMessage, Level, LineKind, LogCounts, LogLine, MessageText, Reason, Spec, Status, Step, StepTree, Tag,
    Timeouts, Timestamp, Title, Weight,
};
use crate::store::StoreError;

use super::unavailable;

/// The columns of a job, in the order [`job`] reads them.
pub(super) const JOB: &str = "n, id, feature, author, owner, title, status, execution, attempt, max_attempts, epoch, \
    queue, priority, progress, created_at, run_at, started_at, ended_at, activity_at, progress_at, heartbeat_at, \
    run_timeout, activity_timeout, seq, revision, infos, warnings, errors, systems, operators, fenced, late_writes, \
    late_write_at, message_key, error, more, pinned";

/// What no query looks at.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct More<'a> {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Tag>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    input: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output: Option<Arc<Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    abort: Option<Abort>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_message: Option<Arc<LastMessage>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_error: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recorded_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "<[usize]>::is_empty")]
    unrecorded: std::borrow::Cow<'a, [usize]>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unrecorded_whole: bool,
    #[serde(default, skip_serializing_if = "Dropped::is_none")]
    dropped: Dropped,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unrecorded_drops: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_lines: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct Abort {
    reason: Reason,
    by: String,
    at: Timestamp,
}

/// A status as the database counts it.
pub(super) fn status_number(status: Status) -> i64 {
    Status::ALL.iter().position(|other| *other == status).map_or(-1, |place| place as i64)
}

/// The status with that number.
pub(super) fn status(number: i64) -> rusqlite::Result<Status> {
    usize::try_from(number)
        .ok()
        .and_then(|place| Status::ALL.get(place).copied())
        .ok_or(rusqlite::Error::IntegralValueOutOfRange(0, number))
}

const EXECUTIONS: [Execution; 3] = [Execution::External, Execution::InProcess, Execution::Worker];

fn execution(number: i64) -> rusqlite::Result<Execution> {
    usize::try_from(number)
        .ok()
        .and_then(|place| EXECUTIONS.get(place).copied())
        .ok_or(rusqlite::Error::IntegralValueOutOfRange(0, number))
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error))
}

fn span(ms: Option<i64>) -> Option<Duration> {
    ms.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
}

fn span_ms(span: Option<Duration>) -> Option<i64> {
    span.map(|span| i64::try_from(span.as_millis()).unwrap_or(i64::MAX))
}

fn at(ms: Option<i64>) -> Option<Timestamp> {
    ms.map(Timestamp)
}

/// Reads a job, without its steps, and its row number.
pub(super) fn job(row: &Row<'_>) -> rusqlite::Result<(i64, Job)> {
    let more: String = row.get(35)?;
    let more: More<'_> = serde_json::from_str(&more).map_err(unreadable)?;
    let count = |column: usize| row.get::<_, i64>(column).map(|count| count as u64);
    let id = JobId(
        uuid::Uuid::from_slice(row.get_ref(1)?.as_blob().map_err(|_| FromSqlError::InvalidType)?)
            .map_err(unreadable)?,
    );
    let spec = Spec {
        feature: Feature::new(row.get::<_, String>(2)?).map_err(unreadable)?,
        author: Author::new(row.get::<_, String>(3)?).map_err(unreadable)?,
        owner: row.get(4)?,
        title: row.get::<_, Option<String>>(5)?.map(Title::new).transpose().map_err(unreadable)?,
        tags: more.tags,
        input: more.input,
        timeouts: Timeouts { run: span(row.get(21)?), activity: span(row.get(22)?) },
        execution: execution(row.get(7)?)?,
        max_attempts: row.get(9)?,
        queue: row.get(11)?,
        priority: row.get(12)?,
        max_lines: more.max_lines.unwrap_or(Spec::MAX_LINES),
    };
    let job = Job {
        id,
        spec: Arc::new(spec),
        status: status(row.get(6)?)?,
        attempt: row.get(8)?,
        epoch: row.get(10)?,
        progress: row.get(13)?,
        steps: Arc::default(),
        created_at: Timestamp(row.get(14)?),
        run_at: at(row.get(15)?),
        started_at: at(row.get(16)?),
        ended_at: at(row.get(17)?),
        activity_at: Timestamp(row.get(18)?),
        progress_at: at(row.get(19)?),
        heartbeat_at: at(row.get(20)?),
        seq: count(23)?,
        revision: count(24)?,
        counts: LogCounts {
            info: count(25)?,
            warning: count(26)?,
            error: count(27)?,
            system: count(28)?,
            operator: count(29)?,
        },
        fenced: row.get(30)?,
        late_writes: count(31)?,
        late_write_at: at(row.get(32)?),
        message_key: count(33)?,
        error: row.get::<_, Option<String>>(34)?.map(Arc::from),
        last_message: more.last_message,
        output: more.output,
        abort: more
            .abort
            .map(|abort| Arc::new(AbortRequest { reason: abort.reason, by: abort.by, at: abort.at })),
        last_error: more.last_error,
        recorded_at: more.recorded_at,
        unrecorded: more.unrecorded.into_owned(),
        unrecorded_whole: more.unrecorded_whole,
        dropped: more.dropped,
        unrecorded_drops: more.unrecorded_drops,
        pinned: row.get(36)?,
    };
    Ok((row.get(0)?, job))
}

/// A job with its steps, and its row number.
pub(super) fn job_by_id(db: &Connection, id: JobId) -> Result<Option<(i64, Job)>, StoreError> {
    let mut find = db.prepare_cached(&format!("select {JOB} from job where id = ?1")).map_err(unavailable)?;
    let found = find.query_row([id.0.as_bytes().as_slice()], job).optional().map_err(unavailable)?;
    let Some((n, mut job)) = found else {
        return Ok(None);
    };
    job.steps = Arc::new(steps(db, n).map_err(unavailable)?);
    Ok(Some((n, job)))
}

/// The row number of a job.
pub(super) fn number_of(db: &Connection, id: JobId) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("select n from job where id = ?1")?
        .query_row([id.0.as_bytes().as_slice()], |row| row.get(0))
        .optional()
}

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

fn more_of(job: &Job) -> Result<String, StoreError> {
    let more = More {
        tags: job.spec.tags.clone(),
        input: job.spec.input.clone(),
        output: job.output.clone(),
        abort: job.abort.as_ref().map(|abort| Abort {
            reason: abort.reason.clone(),
            by: abort.by.clone(),
            at: abort.at,
        }),
        last_message: job.last_message.clone(),
        last_error: job.last_error.clone(),
        recorded_at: job.recorded_at,
        unrecorded: std::borrow::Cow::Borrowed(&job.unrecorded),
        unrecorded_whole: job.unrecorded_whole,
        dropped: job.dropped,
        unrecorded_drops: job.unrecorded_drops,
        max_lines: (job.spec.max_lines != Spec::MAX_LINES).then_some(job.spec.max_lines),
    };
    serde_json::to_string(&more).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// Adds a job. Returns its row number.
pub(super) fn insert_job(db: &Connection, job: &Job) -> Result<i64, StoreError> {
    let more = more_of(job)?;
    let mut insert = db
        .prepare_cached(
            "insert into job (id, feature, author, owner, title, execution, max_attempts, queue, priority, \
             created_at, run_at, run_timeout, activity_timeout, status, attempt, epoch, progress, started_at, ended_at, \
             activity_at, progress_at, heartbeat_at, seq, revision, infos, warnings, errors, systems, operators, \
             fenced, late_writes, late_write_at, message_key, error, more, pinned) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, \
             ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, \
             ?31, ?32, ?33, ?34, ?35, ?36)",
        )
        .map_err(unavailable)?;
    let spec = &job.spec;
    let execution =
        EXECUTIONS.iter().position(|other| *other == spec.execution).map_or(0, |place| place as i64);
    insert
        .execute(params![
            job.id.0.as_bytes().as_slice(),
            spec.feature.as_str(),
            spec.author.as_str(),
            spec.owner,
            spec.title.as_ref().map(Title::as_str),
            execution,
            spec.max_attempts,
            spec.queue,
            spec.priority,
            job.created_at.0,
            job.run_at.map(|at| at.0),
            span_ms(spec.timeouts.run),
            span_ms(spec.timeouts.activity),
            status_number(job.status),
            job.attempt,
            job.epoch,
            job.progress,
            job.started_at.map(|at| at.0),
            job.ended_at.map(|at| at.0),
            job.activity_at.0,
            job.progress_at.map(|at| at.0),
            job.heartbeat_at.map(|at| at.0),
            job.seq as i64,
            job.revision as i64,
            job.counts.info as i64,
            job.counts.warning as i64,
            job.counts.error as i64,
            job.counts.system as i64,
            job.counts.operator as i64,
            job.fenced,
            job.late_writes as i64,
            job.late_write_at.map(|at| at.0),
            job.message_key as i64,
            job.error.as_deref(),
            more,
            job.pinned,
        ])
        .map_err(unavailable)?;
    Ok(db.last_insert_rowid())
}

/// Brings a job's row up to date. What was asked for at its start never changes and is not written.
pub(super) fn update_job(db: &Connection, n: i64, job: &Job) -> Result<(), StoreError> {
    let more = more_of(job)?;
    let mut update = db
        .prepare_cached(
            "update job set status = ?2, attempt = ?3, epoch = ?4, progress = ?5, started_at = ?6, ended_at = ?7, \
             activity_at = ?8, progress_at = ?9, heartbeat_at = ?10, seq = ?11, revision = ?12, infos = ?13, \
             warnings = ?14, errors = ?15, systems = ?16, operators = ?17, fenced = ?18, late_writes = ?19, \
             late_write_at = ?20, message_key = ?21, error = ?22, more = ?23, pinned = ?24 where n = ?1",
        )
        .map_err(unavailable)?;
    update
        .execute(params![
            n,
            status_number(job.status),
            job.attempt,
            job.epoch,
            job.progress,
            job.started_at.map(|at| at.0),
            job.ended_at.map(|at| at.0),
            job.activity_at.0,
            job.progress_at.map(|at| at.0),
            job.heartbeat_at.map(|at| at.0),
            job.seq as i64,
            job.revision as i64,
            job.counts.info as i64,
            job.counts.warning as i64,
            job.counts.error as i64,
            job.counts.system as i64,
            job.counts.operator as i64,
            job.fenced,
            job.late_writes as i64,
            job.late_write_at.map(|at| at.0),
            job.message_key as i64,
            job.error.as_deref(),
            more,
            job.pinned,
        ])
        .map_err(unavailable)?;
    Ok(())
}

/// What an entry is beyond its line.
#[derive(Serialize, Deserialize)]
struct Data {
    source: EventSource,
    kind: EventKind,
}

/// The statement for [`put_event`].
pub(super) const PUT_EVENT: &str =
    "insert into event (job, seq, at, kind, text, step, data) values (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

/// Adds an entry to a job's log. A message is its line, and its key where it has one.
pub(super) fn put_event(put: &mut CachedStatement<'_>, n: i64, event: &Event) -> Result<(), StoreError> {
    let kind = event.kind.line_kind() as u8;
    let seq = event.seq.unwrap_or_default() as i64;
    if let (EventKind::Message { text, step, key, .. }, EventSource::Run) = (&event.kind, &event.source) {
        put.execute(params![
            n,
            seq,
            event.at.0,
            kind,
            text.as_str(),
            step.as_deref(),
            key.map(|key| key.to_string())
        ])
        .map_err(unavailable)?;
        return Ok(());
    }
    let data = serde_json::to_string(&Data { source: event.source.clone(), kind: event.kind.clone() })
        .map_err(|error| StoreError::Corrupt(error.to_string()))?;
    put.execute(params![n, seq, event.at.0, kind, event.sentence(), event.step_path(), data])
        .map_err(unavailable)?;
    Ok(())
}

/// Reads an entry: `seq, at, kind, text, step, data`.
pub(super) fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    let data: Option<String> = row.get(5)?;
    let (source, kind) = match data {
        Some(data) if data.starts_with('{') => {
            let data: Data = serde_json::from_str(&data).map_err(unreadable)?;
            (data.source, data.kind)
        }
        key => {
            let key = key.map(|key| key.parse()).transpose().map_err(unreadable)?;
            let level = match line_kind(row.get(2)?)? {
                LineKind::Warning => Level::Warning,
                LineKind::Error => Level::Error,
                _ => Level::Info,
            };
            let text = MessageText::new(row.get::<_, String>(3)?).map_err(unreadable)?;
            (EventSource::Run, EventKind::Message { level, text, step: row.get(4)?, key })
        }
    };
    Ok(Event { seq: Some(row.get::<_, i64>(0)? as u64), at: Timestamp(row.get(1)?), source, kind })
}

fn line_kind(number: u8) -> rusqlite::Result<LineKind> {
    LineKind::from_number(number).ok_or(rusqlite::Error::IntegralValueOutOfRange(2, i64::from(number)))
}

/// Reads a line: `seq, at, kind, text, step`.
pub(super) fn line(row: &Row<'_>) -> rusqlite::Result<LogLine> {
    Ok(LogLine {
        seq: row.get::<_, i64>(0)? as u64,
        at: Timestamp(row.get(1)?),
        kind: line_kind(row.get(2)?)?,
        text: row.get(3)?,
        step: row.get(4)?,
    })
}
