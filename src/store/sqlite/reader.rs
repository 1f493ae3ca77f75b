//! Queries. Every list is a keyset page over an index; nothing counts rows but a text search that was
//! asked to.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OpenFlags, params, params_from_iter};

use super::{rows, unavailable};
use crate::model::{
    Counts, Cursor, Event, Job, JobFilter, JobId, LineKind, LogFilter, OutcomeCounts, PageSize, Refusal,
    Status,
};
use crate::store::memory::cursor_of;
use crate::store::{FeatureCounts, JobPage, LogFrom, LogPage, LogQuery, StoreError};

/// Connections that only read, handed out and taken back.
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

/// More than this are closed rather than kept.
const MAX_IDLE: usize = 8;

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, idle: Mutex::default() }
    }

    pub(super) fn with<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let db = match idle {
            Some(db) => db,
            None => self.connect().map_err(unavailable)?,
        };
        let result = query(&db);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(db);
        }
        result
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(&self.path, flags)?;
        db.busy_timeout(Duration::from_secs(5))?;
        db.set_prepared_statement_cache_capacity(64);
        Ok(db)
    }
}

/// A query that is put together from conditions.
#[derive(Default)]
struct Conditions {
    text: String,
    values: Vec<Sql>,
}

impl Conditions {
    fn and(&mut self, condition: &str, values: impl IntoIterator<Item = Sql>) {
        self.text.push_str(" and ");
        self.text.push_str(condition);
        self.values.extend(values);
    }
}

/// A `like` pattern that finds `text` anywhere, with `\` as the escape.
fn containing(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

pub(super) fn list(
    db: &Connection,
    filter: &JobFilter,
    after: Option<Cursor>,
    size: PageSize,
) -> Result<JobPage, StoreError> {
    let mut jobs: Vec<Arc<Job>> = Vec::new();
    let wanted = size.get() + 1;
    let status_open = filter.status.is_none_or(|status| !status.is_final());
    let status_past = filter.status.is_none_or(Status::is_final);
    if !filter.only_past && status_open && !matches!(after, Some(Cursor::Past { .. })) {
        jobs.extend(phase(db, filter, after, true, wanted)?);
    }
    if !filter.only_open && status_past && jobs.len() < wanted {
        let after = after.filter(|cursor| matches!(cursor, Cursor::Past { .. }));
        jobs.extend(phase(db, filter, after, false, wanted - jobs.len())?);
    }
    let more = jobs.len() == wanted;
    jobs.truncate(size.get());
    let next = jobs.last().filter(|_| more).map(|job| cursor_of(job));
    Ok(JobPage { jobs, next })
}

/// A page of the jobs that have not ended, or of those that have.
fn phase(
    db: &Connection,
    filter: &JobFilter,
    after: Option<Cursor>,
    open: bool,
    limit: usize,
) -> Result<Vec<Arc<Job>>, StoreError> {
    let (is, column) = if open { ("is", "created_at") } else { ("is not", "ended_at") };
    let mut where_ = Conditions { text: format!("ended_at {is} null"), values: Vec::new() };
    if let Some(feature) = &filter.feature {
        where_.and("feature = ?", [Sql::from(feature.clone())]);
    }
    if let Some(status) = filter.status {
        where_.and("status = ?", [Sql::from(rows::status_number(status))]);
    }
    if let Some(author) = &filter.author {
        where_.and("author = ?", [Sql::from(author.clone())]);
    }
    if let Some(tag) = &filter.tag {
        where_.and(
            "exists (select 1 from json_each(more, '$.tags') where value = ?)",
            [Sql::from(tag.clone())],
        );
    }
    if let Some(text) = &filter.text {
        let pattern = containing(text);
        let prefix: String = text.chars().filter(|c| *c != '-').flat_map(char::to_lowercase).collect();
        let like = "like ? escape '\\'";
        where_.and(
            &format!(
                "(coalesce(title, feature) {like} or feature {like} or author {like} or error {like} \
                 or lower(hex(id)) like ? || '%')"
            ),
            [pattern.clone(), pattern.clone(), pattern.clone(), pattern, id_prefix(&prefix)].map(Sql::from),
        );
    }
    if let Some(Cursor::Open { at, id } | Cursor::Past { at, id }) = after {
        where_
            .and(&format!("({column}, id) < (?, ?)"), [Sql::from(at.0), Sql::from(id.0.as_bytes().to_vec())]);
    }
    let query = format!(
        "select {} from job where {} order by {column} desc, id desc limit {limit}",
        rows::JOB,
        where_.text
    );
    let mut find = db.prepare_cached(&query).map_err(unavailable)?;
    let found: Vec<(i64, Job)> = find
        .query_map(params_from_iter(where_.values), rows::job)
        .and_then(Iterator::collect)
        .map_err(unavailable)?;
    with_steps(db, found)
}

fn with_steps(db: &Connection, found: Vec<(i64, Job)>) -> Result<Vec<Arc<Job>>, StoreError> {
    found
        .into_iter()
        .map(|(n, mut job)| {
            job.steps = Arc::new(rows::steps(db, n).map_err(unavailable)?);
            Ok(Arc::new(job))
        })
        .collect()
}

/// Jobs in the order of their ids, after one of them.
pub(super) fn jobs_by_id(
    db: &Connection,
    after: Option<JobId>,
    limit: usize,
) -> Result<Vec<Arc<Job>>, StoreError> {
    // One snapshot for the jobs and their steps.
    let db = db.unchecked_transaction().map_err(unavailable)?;
    let after = after.map(|id| id.0.as_bytes().to_vec()).unwrap_or_default();
    let found: Vec<(i64, Job)> = db
        .prepare_cached(&format!("select {} from job where id > ?1 order by id limit ?2", rows::JOB))
        .and_then(|mut find| find.query_map(params![after, limit as i64], rows::job)?.collect())
        .map_err(unavailable)?;
    with_steps(&db, found)
}

/// What may stand before `%` to find an id by its beginning: hexadecimal digits, or nothing that matches.
fn id_prefix(text: &str) -> String {
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_hexdigit()) {
        text.to_owned()
    } else {
        "no id".to_owned()
    }
}

fn log_conditions(n: i64, filter: &LogFilter) -> Conditions {
    let mut where_ = Conditions { text: "job = ?".to_owned(), values: vec![Sql::from(n)] };
    let mut kinds = String::new();
    for kind in filter.wanted() {
        let separator = if kinds.is_empty() { "" } else { ", " };
        let _ = write!(kinds, "{separator}{}", *kind as u8);
    }
    where_.and(&format!("kind in ({kinds})"), []);
    if !filter.wanted().contains(&LineKind::Info) {
        // Said outright, so that the index over the few lines that are not infos can be used.
        where_.and("kind <> 0", []);
    }
    if let Some(step) = &filter.step {
        let below = format!("{step}/");
        where_.and(
            "(step = ? or substr(step, 1, ?) = ?)",
            [Sql::from(step.clone()), Sql::from(below.chars().count() as i64), Sql::from(below)],
        );
    }
    if let Some(text) = &filter.text {
        where_.and("text like ? escape '\\'", [Sql::from(containing(text))]);
    }
    where_
}

pub(super) fn log(db: &Connection, id: JobId, query: &LogQuery) -> Result<LogPage, StoreError> {
    // One snapshot for the counters and the lines.
    let db = db.unchecked_transaction().map_err(unavailable)?;
    let n = rows::number_of(&db, id).map_err(unavailable)?.ok_or(Refusal::NotFound { id })?;
    let where_ = log_conditions(n, &query.filter);
    let (place, order) = match query.from {
        LogFrom::End => (None, "desc"),
        LogFrom::Before(seq) => (Some(("seq < ?", seq)), "desc"),
        LogFrom::After(seq) => (Some(("seq > ?", seq)), "asc"),
    };
    let mut page = Conditions { text: where_.text.clone(), values: where_.values.clone() };
    if let Some((condition, seq)) = place {
        page.and(condition, [Sql::from(i64::try_from(seq).unwrap_or(i64::MAX))]);
    }
    let text = format!(
        "select seq, at, kind, text, step from event where {} order by seq {order} limit {}",
        page.text,
        query.limit + 1
    );
    let mut lines: Vec<_> = db
        .prepare_cached(&text)
        .and_then(|mut find| find.query_map(params_from_iter(page.values), rows::line)?.collect())
        .map_err(unavailable)?;
    let more = lines.len() > query.limit;
    lines.truncate(query.limit);
    if order == "desc" {
        lines.reverse();
    }
    let total = match (query.count, query.filter.needs_scan()) {
        (false, _) => None,
        (true, true) => {
            let count = format!("select count(*) from event where {}", where_.text);
            let total: i64 = db
                .prepare_cached(&count)
                .and_then(|mut count| count.query_row(params_from_iter(where_.values), |row| row.get(0)))
                .map_err(unavailable)?;
            Some(total as u64)
        }
        (true, false) => {
            let counts = db
                .prepare_cached("select infos, warnings, errors, systems, operators from job where n = ?1")
                .and_then(|mut find| {
                    find.query_row([n], |row| {
                        LineKind::SHOWN
                            .iter()
                            .filter(|kind| query.filter.wanted().contains(kind))
                            .try_fold(0, |sum, kind| Ok(sum + row.get::<_, i64>(*kind as usize)? as u64))
                    })
                })
                .map_err(unavailable)?;
            Some(counts)
        }
    };
    Ok(LogPage { lines, total, more })
}

pub(super) fn events(db: &Connection, id: JobId, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
    let n = rows::number_of(db, id).map_err(unavailable)?.ok_or(Refusal::NotFound { id })?;
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    db.prepare_cached(
        "select seq, at, kind, text, step, data from event where job = ?1 and seq > ?2 order by seq limit ?3",
    )
    .and_then(|mut find| find.query_map([n, after, limit as i64], rows::event)?.collect())
    .map_err(unavailable)
}

pub(super) fn ended_on(db: &Connection, day: i64) -> Result<OutcomeCounts, StoreError> {
    let found: Vec<(Status, i64)> = db
        .prepare_cached("select status, n from ended where day = ?1")
        .and_then(|mut find| {
            find.query_map([day], |row| Ok((rows::status(row.get(0)?)?, row.get(1)?)))?.collect()
        })
        .map_err(unavailable)?;
    let mut counts = OutcomeCounts::default();
    for (status, n) in found {
        if let Some(outcome) = status.outcome() {
            *counts.of_mut(outcome) = n as u64;
        }
    }
    Ok(counts)
}

pub(super) fn features(db: &Connection, limit: usize) -> Result<Vec<FeatureCounts>, StoreError> {
    // Over the counters, of which there is a handful a feature; never over the jobs.
    let found: Vec<(String, Status, i64)> = db
        .prepare_cached(
            "select feature, status, n from counter where feature in \
             (select feature from counter group by feature order by sum(n) desc, feature limit ?1)",
        )
        .and_then(|mut find| {
            find.query_map([limit as i64], |row| Ok((row.get(0)?, rows::status(row.get(1)?)?, row.get(2)?)))?
                .collect()
        })
        .map_err(unavailable)?;
    let mut features: Vec<FeatureCounts> = Vec::new();
    for (feature, status, n) in found {
        let place = match features.iter().position(|row| row.feature == feature) {
            Some(place) => place,
            None => {
                features.push(FeatureCounts { feature, counts: Counts::default() });
                features.len() - 1
            }
        };
        features[place].counts.set(status, n as u64);
    }
    features.sort_by_key(|row| {
        (std::cmp::Reverse(row.counts.by_status.iter().sum::<u64>()), row.feature.clone())
    });
    Ok(features)
}
