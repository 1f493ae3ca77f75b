//! Queries about logs and counters. Nothing counts rows but a text search that was asked to.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OpenFlags, params_from_iter};

use super::{entries, rows, unavailable};
use crate::model::{Counts, Event, JobId, LineKind, LogFilter, LogLine, OutcomeCounts, Refusal, Status};
use crate::store::{FeatureCounts, LogFrom, LogPage, LogQuery, StoreError};

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
#[derive(Clone, Default)]
pub(super) struct Conditions {
    pub text: String,
    pub values: Vec<Sql>,
}

impl Conditions {
    pub(super) fn and(&mut self, condition: &str, values: impl IntoIterator<Item = Sql>) {
        self.text.push_str(" and ");
        self.text.push_str(condition);
        self.values.extend(values);
    }
}

/// A `like` pattern that finds `text` anywhere, with `\` as the escape.
pub(super) fn containing(text: &str) -> String {
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

/// The kinds that are wanted, each once.
fn kinds_of(filter: &LogFilter) -> Vec<LineKind> {
    let mut kinds = filter.wanted().to_vec();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

fn log_conditions(n: i64, filter: &LogFilter, kinds: &[LineKind]) -> Conditions {
    let mut where_ = Conditions { text: "job = ?".to_owned(), values: vec![Sql::from(n)] };
    match kinds {
        // Said outright, so that the index over the few lines that are not infos can be used.
        [kind] if *kind != LineKind::Info => where_.and(&format!("kind = {} and kind <> 0", *kind as u8), []),
        kinds => {
            let numbers: Vec<String> = kinds.iter().map(|kind| (*kind as u8).to_string()).collect();
            where_.and(&format!("kind in ({})", numbers.join(", ")), []);
        }
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

/// The queries whose answers, merged, are the lines, and those whose sum counts them all. Infos are most of
/// a log and are read in its order; what leaves them out is found through an index, a kind at a time.
pub(super) fn log_queries(n: i64, query: &LogQuery) -> (Vec<Conditions>, Vec<Conditions>) {
    let (place, order) = match query.from {
        LogFrom::End => (None, "desc"),
        LogFrom::Before(seq) => (Some(("seq < ?", seq)), "desc"),
        LogFrom::After(seq) => (Some(("seq > ?", seq)), "asc"),
    };
    let wanted = kinds_of(&query.filter);
    let groups: Vec<&[LineKind]> =
        if wanted.contains(&LineKind::Info) { vec![&wanted] } else { wanted.chunks(1).collect() };
    let mut pages = Vec::new();
    let mut counts = Vec::new();
    for kinds in groups {
        let where_ = log_conditions(n, &query.filter, kinds);
        // The planner, who has no statistics, would read the whole log for its three errors.
        let table = if kinds.contains(&LineKind::Info) { "event" } else { "event indexed by event_kind" };
        counts.push(Conditions {
            text: format!("select count(*) from {table} where {}", where_.text),
            values: where_.values.clone(),
        });
        let mut page = where_;
        if let Some((condition, seq)) = place {
            page.and(condition, [Sql::from(i64::try_from(seq).unwrap_or(i64::MAX))]);
        }
        page.text = format!(
            "select seq, at, kind, text, step from {table} where {} order by seq {order} limit {}",
            page.text,
            query.limit + 1
        );
        pages.push(page);
    }
    (pages, counts)
}

pub(super) fn log(db: &Connection, id: JobId, query: &LogQuery) -> Result<LogPage, StoreError> {
    // One snapshot for the counters and the lines.
    let db = db.unchecked_transaction().map_err(unavailable)?;
    let n = rows::number_of(&db, id).map_err(unavailable)?.ok_or(Refusal::NotFound { id })?;
    let (pages, counts) = log_queries(n, query);
    let mut lines: Vec<LogLine> = Vec::new();
    for page in pages {
        let mut find = db.prepare_cached(&page.text).map_err(unavailable)?;
        let found = find.query_map(params_from_iter(page.values), entries::line).map_err(unavailable)?;
        for line in found {
            lines.push(line.map_err(unavailable)?);
        }
    }
    let forwards = matches!(query.from, LogFrom::After(_));
    lines.sort_unstable_by_key(|line| if forwards { line.seq } else { u64::MAX - line.seq });
    let more = lines.len() > query.limit;
    lines.truncate(query.limit);
    if !forwards {
        lines.reverse();
    }
    let total = match (query.count, query.filter.needs_scan()) {
        (false, _) => None,
        (true, true) => {
            let mut total = 0;
            for count in counts {
                total += db
                    .prepare_cached(&count.text)
                    .and_then(|mut find| {
                        find.query_row(params_from_iter(count.values), |row| row.get::<_, i64>(0))
                    })
                    .map_err(unavailable)?;
            }
            Some(total as u64)
        }
        (true, false) => {
            let counts = db
                .prepare_cached("select facts from job where n = ?1")
                .and_then(|mut find| find.query_row([n], |row| Ok(rows::counts(row.get_ref(0)?.as_blob()?))))
                .map_err(unavailable)?;
            Some(kinds_of(&query.filter).iter().map(|kind| counts.of(*kind)).sum())
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
    .and_then(|mut find| find.query_map([n, after, limit as i64], entries::event)?.collect())
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
