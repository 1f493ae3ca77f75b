//! Connections that read, the queries they are asked, and the counters, which are kept and never counted.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension, Row};

use super::database_file::DatabaseFile;
use super::{open, rows, unavailable};
use crate::model::{Counts, OutcomeCounts, Refusal, Status, Timestamp};
use crate::store::bounds::{SEARCH_LASTS, Until};
use crate::store::{ClockMark, FeatureCounts, StoreError};

/// Connections that only read, handed out and taken back.
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    /// What the server has open at that path. Last: its handle outlives the connections.
    place: Option<Arc<DatabaseFile>>,
}

/// SQLite's steps between two looks at the clock: a handful of lines, each of which can cost as many comparisons as
/// its length and the text's, multiplied.
const STEPS_BETWEEN_LOOKS: i32 = 50;
/// More than this are closed rather than kept.
const MAX_IDLE: usize = 8;

impl Readers {
    pub(super) fn new(path: PathBuf, place: Option<Arc<DatabaseFile>>) -> Self {
        Self { path, idle: Mutex::default(), place }
    }

    pub(super) fn with<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.lend(|db| query(db))
    }

    /// The same for what people look for, which is given up when it is over: comparing texts can cost as many steps as
    /// both have characters, multiplied.
    pub(super) fn search<T>(
        &self,
        until: &Until,
        query: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // Set by whoever stops the query: that its time was over does not prove that it failed for that.
        let stopped = Arc::new(AtomicBool::new(false));
        let (stops, until) = (Arc::clone(&stopped), until.clone());
        let is_over = move || {
            let over = until.is_over();
            stops.fetch_or(over, Ordering::Relaxed);
            over
        };
        let result = self.lend(|db| {
            db.progress_handler(STEPS_BETWEEN_LOOKS, Some(is_over)).map_err(unavailable)?;
            let result = query(db);
            let nobody: Option<fn() -> bool> = None;
            db.progress_handler(0, nobody).map_err(unavailable)?;
            result
        });
        match result {
            Err(StoreError::Unavailable(_)) if stopped.load(Ordering::Relaxed) => {
                Err(Refusal::SearchTooLong { seconds: SEARCH_LASTS.as_secs() }.into())
            }
            result => result,
        }
    }

    /// The same for what needs the connection for itself.
    pub(super) fn lend<T>(
        &self,
        query: impl FnOnce(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut db = match idle {
            Some(db) => db,
            None => self.connect()?,
        };
        let result = query(&mut db);
        if matches!(result, Err(StoreError::Unavailable(_))) {
            // What it remembers of the file may be wrong by now; the next one asks the disk.
            return result;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(db);
        }
        result
    }

    fn connect(&self) -> Result<Connection, StoreError> {
        if let Some(lost) = self.place.as_ref().and_then(|place| place.lost()) {
            return Err(StoreError::Unavailable(lost));
        }
        open::read_only(&self.path).map_err(|error| StoreError::Unavailable(error.to_string()))
    }
}

/// A condition on a text: that it contains `wanted`; ASCII letters match either case.
///
/// `like` is the quickest that SQLite has, and takes a U+0000 for the end of the pattern and of the text. So what has
/// one is compared otherwise: of texts those where SQLite counts fewer characters than there are bytes. Measured over
/// half a million lines without a match: 39 ms by `like` alone, 60 with a look for such texts, 94 without `like`.
pub(super) fn contains(column: &str, wanted: &str) -> (String, Vec<Sql>) {
    let exactly = format!("instr(lower({column}), ?) > 0");
    let lower = Sql::from(wanted.to_ascii_lowercase());
    if wanted.contains('\0') {
        return (exactly, vec![lower]);
    }
    let like = format!(
        "({column} like ? escape '\\' or (length({column}) < octet_length({column}) \
         and instr({column}, char(0)) > 0 and {exactly}))"
    );
    (like, vec![Sql::from(containing(wanted)), lower])
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

/// What was last believed of the clock.
pub(super) fn clock_mark(db: &Connection) -> Result<Option<ClockMark>, StoreError> {
    let mark = |row: &Row<'_>| Ok(ClockMark { believed: Timestamp(row.get(0)?), doubted: row.get(1)? });
    db.query_row("select believed, doubted from clock", [], mark).optional().map_err(unavailable)
}

/// When the last job ended, or the last of those that have not began.
pub(super) fn newest_moment(db: &Connection) -> Result<Option<Timestamp>, StoreError> {
    let newest = "select max(at) from (select max(ended_at) as at from job where ended_at is not null \
                  union all select max(created_at) from job where ended_at is null)";
    let newest = db.query_row(newest, [], |row| row.get::<_, Option<i64>>(0)).map_err(unavailable)?;
    Ok(newest.map(Timestamp))
}

pub(super) fn features(db: &Connection, limit: usize) -> Result<Vec<FeatureCounts>, StoreError> {
    // Over the counters, of which there is a handful a feature; never over the jobs.
    let found: Vec<(String, Status, i64)> = db
        .prepare_cached(
            "select feature, status, n from counter where feature in \
             (select feature from counter group by feature having sum(n) > 0 order by sum(n) desc, feature limit ?1)",
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::store::SqliteStore;

    #[tokio::test]
    async fn a_search_that_goes_on_and_on_is_given_up_and_the_next_one_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.db");
        let _store = SqliteStore::open(&path).unwrap();
        let readers = Readers::new(path, None);
        let counted = |up_to: i64| {
            move |db: &Connection| {
                let count = "with recursive n (i) as (select 1 union all select i + 1 from n where i < ?1) \
                             select count(*) from n";
                db.query_row(count, [up_to], |row| row.get::<_, i64>(0)).map_err(unavailable)
            }
        };
        let endless = readers.search(&Until::at(Instant::now()), counted(i64::MAX));
        assert_eq!(endless, Err(StoreError::Refused(Refusal::SearchTooLong { seconds: 10 })));
        assert_eq!(readers.with(counted(100_000)), Ok(100_000), "nobody looks at the clock any more");
        let minute = Until::at(Instant::now() + Duration::from_secs(60));
        assert_eq!(readers.search(&minute, counted(9)), Ok(9));
        // One that fails late, and was not stopped, failed for a reason of its own.
        let failed = readers
            .search(&Until::at(Instant::now()), |_| Err::<(), _>(StoreError::Unavailable("no".to_owned())));
        assert_eq!(failed, Err(StoreError::Unavailable("no".to_owned())));
    }
}
