//! Removing history in transactions of a bounded size.
//!
//! Commands wait while a transaction runs, so one removes at most [`MAX_JOBS`] jobs and [`MAX_ROWS`] rows of
//! their logs and steps, and about [`MAX_BYTES`] of what is in them: SQLite reads every page of a long text to
//! let it go. A job goes at once: its row, its counters. A log that is longer than fits is left to
//! later transactions, and a table says that nobody owns it any more; a restart finds it there. Row numbers
//! are never used twice, or a new job would get what is left of an old one.

use rusqlite::{OptionalExtension, params};

use super::batch::Batch;
use super::{rows, unavailable};
use crate::model::{JobId, Timestamp};
use crate::store::{Pruned, StoreError};

/// The most jobs in one transaction.
const MAX_JOBS: usize = 500;
/// The most rows of logs and step trees in one transaction.
pub(super) const MAX_ROWS: u64 = 20_000;
/// So many bytes of texts, and nothing more is taken on.
const MAX_BYTES: u64 = 16 << 20;

/// What a transaction may still remove.
struct Left {
    rows: u64,
    bytes: u64,
}

impl Left {
    fn is_nothing(&self) -> bool {
        self.rows == 0 || self.bytes == 0
    }

    fn take(&mut self, rows: u64, bytes: u64) {
        self.rows = self.rows.saturating_sub(rows);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl Batch<'_> {
    /// Removes what is left of removed jobs, then up to `batch` ended jobs that nobody pinned.
    pub(super) fn prune(
        &mut self,
        keep: u64,
        before: Option<Timestamp>,
        batch: usize,
    ) -> Result<Pruned, StoreError> {
        let mut left = Left { rows: MAX_ROWS, bytes: MAX_BYTES };
        while !left.is_nothing()
            && let Some(n) = self.ownerless()?
        {
            self.remove_rows(n, &mut left)?;
            if !left.is_nothing() {
                self.change("delete from ownerless where job = ?1", n)?;
            }
        }
        let mut pruned = Pruned { jobs: 0, more: left.is_nothing() };
        let pinned: i64 = self
            .db
            .prepare_cached("select count(*) from job where pinned = 1")
            .and_then(|mut count| count.query_row([], |row| row.get(0)))
            .map_err(unavailable)?;
        let over = self.tally.counts.past().saturating_sub(keep).saturating_sub(pinned as u64);
        let batch = batch.min(MAX_JOBS);
        let oldest: Vec<(i64, [u8; 16], String, i64, i64, u32)> = self
            .db
            .prepare_cached(
                "select n, id, (select text from name where n = job.feature), status, ended_at, \
                 coalesce(octet_length(more), 0) from job where ended_at is not null and pinned = 0 order by ended_at, n limit ?1",
            )
            .and_then(|mut find| {
                let row = |row: &rusqlite::Row<'_>| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
                };
                find.query_map([batch as i64], row)?.collect()
            })
            .map_err(unavailable)?;
        for (n, id, feature, status, ended_at, bytes) in oldest {
            if left.is_nothing() {
                return Ok(Pruned { more: true, ..pruned });
            }
            let expired = before.is_some_and(|before| ended_at < before.0);
            if !(expired || pruned.jobs < over) {
                return Ok(pruned);
            }
            let id = JobId(uuid::Uuid::from_bytes(id));
            // Somebody has just done something to it that is not written yet: pinned it, sent it to the
            // queue again. The next transaction judges it by that.
            if self.jobs.get(&id).is_some_and(|pending| pending.changed) {
                continue;
            }
            self.jobs.remove(&id);
            if bytes > 0 {
                rows::unlist_by_tag(self.db, n).map_err(unavailable)?;
            }
            self.change("delete from job where n = ?1", n)?;
            left.take(0, u64::from(bytes));
            self.remove_rows(n, &mut left)?;
            if left.is_nothing() {
                self.change("insert into ownerless (job) values (?1)", n)?;
            }
            self.tally.shift(&feature, Some(rows::status(status).map_err(unavailable)?), None);
            self.removed.push(id);
            pruned.jobs += 1;
        }
        pruned.more |= left.is_nothing() || pruned.jobs >= batch as u64;
        Ok(pruned)
    }

    /// A job that is no more, of whose rows some are.
    fn ownerless(&self) -> Result<Option<i64>, StoreError> {
        self.db
            .prepare_cached("select job from ownerless limit 1")
            .and_then(|mut find| find.query_row([], |row| row.get(0)).optional())
            .map_err(unavailable)
    }

    /// Removes up to `left` of a removed job's rows. Where something is left of `left`, nothing is of the job.
    fn remove_rows(&self, n: i64, left: &mut Left) -> Result<(), StoreError> {
        let gone = self
            .db
            .prepare_cached(
                "delete from step where job = ?1 and i in (select i from step where job = ?1 order by i limit ?2)",
            )
            .and_then(|mut delete| delete.execute(params![n, left.rows as i64]))
            .map_err(unavailable)?;
        left.take(gone as u64, 0);
        let last = self.last_that_fits(n, left).map_err(unavailable)?;
        self.db
            .prepare_cached("delete from event where job = ?1 and seq <= ?2")
            .and_then(|mut delete| delete.execute(params![n, last]))
            .map(|_| ())
            .map_err(unavailable)
    }

    /// The last entry that goes, if entries go from the first on until nothing is left of `left`. How long a
    /// text is stands before it; to know that, SQLite need not read it.
    fn last_that_fits(&self, n: i64, left: &mut Left) -> rusqlite::Result<i64> {
        let mut entries = self.db.prepare_cached(
            "select seq, octet_length(text) + coalesce(octet_length(data), 0) from event \
             where job = ?1 order by seq",
        )?;
        let mut rows = entries.query([n])?;
        let mut last = 0;
        while !left.is_nothing()
            && let Some(row) = rows.next()?
        {
            last = row.get(0)?;
            left.take(1, row.get::<_, u32>(1)?.into());
        }
        Ok(last)
    }

    fn change(&self, statement: &str, n: i64) -> Result<(), StoreError> {
        self.db
            .prepare_cached(statement)
            .and_then(|mut change| change.execute([n]))
            .map(|_| ())
            .map_err(unavailable)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use rusqlite::Connection;

    use super::*;
    use crate::library::Jobs;
    use crate::model::Limits;
    use crate::store::{JobStore, LogQuery, SqliteStore};

    fn rows(path: &Path, table: &str) -> u64 {
        let db = Connection::open(path).unwrap();
        db.query_row(&format!("select count(*) from {table}"), [], |row| row.get::<_, i64>(0)).unwrap() as u64
    }

    /// A store with an ended job of that many lines.
    async fn with_long_log(path: &Path, lines: u64) -> (Arc<SqliteStore>, Jobs, JobId) {
        let store = Arc::new(SqliteStore::open(path).unwrap());
        let jobs = Jobs::new(Arc::clone(&store) as Arc<dyn JobStore>)
            .with_limits(Limits { max_active: 10_000, ..Limits::DURABLE });
        let long = jobs.create_job("import", "anna").await.unwrap();
        let logger = crate::JobLogger::new(jobs.store(), long);
        for line in 0..lines {
            logger.info(format!("line {line}"));
        }
        logger.complete().await.unwrap();
        (store, jobs, long)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_long_log_goes_in_pieces_and_work_goes_on_between_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.db");
        let (store, jobs, long) = with_long_log(&path, 50_000).await;
        let first = store.prune(0, None, 500).await.unwrap();
        assert_eq!(first, Pruned { jobs: 1, more: true });
        assert_eq!(store.get(long).await.unwrap(), None, "the job itself goes at once");
        assert_eq!(store.counts().past(), 0);
        let mut pieces = 1;
        loop {
            let before = rows(&path, "event");
            // Whoever comes between two pieces is answered between them, and gets none of the old lines.
            let id = jobs.create_job("meanwhile", "anna").await.unwrap();
            let log = store.log(id, LogQuery { limit: 9, ..LogQuery::default() }).await.unwrap();
            assert_eq!(log.lines.len(), 1);
            let report = store.check(Box::new(|_, _| true)).await.unwrap();
            assert_eq!(report.problems, Vec::<String>::new(), "what is half gone is no contradiction");
            let pruned = store.prune(0, None, 500).await.unwrap();
            assert!(before + 1 - rows(&path, "event") <= MAX_ROWS, "no transaction removes more");
            pieces += 1;
            if !pruned.more {
                break;
            }
        }
        assert_eq!((pieces, rows(&path, "ownerless"), rows(&path, "event")), (3, 0, 2));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn long_messages_and_inputs_go_in_pieces_of_bounded_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.db");
        let store = Arc::new(SqliteStore::open(&path).unwrap());
        let jobs = Jobs::new(Arc::clone(&store) as Arc<dyn JobStore>).with_limits(Limits::DURABLE);
        let long = jobs.create_job("import", "anna").await.unwrap();
        let logger = crate::JobLogger::new(jobs.store(), long);
        for _ in 0..600 {
            logger.info("a long line ".repeat(5_000));
        }
        logger.complete().await.unwrap();
        let bytes = |path: &Path| {
            let db = Connection::open(path).unwrap();
            let sum = "select coalesce(sum(octet_length(text)), 0) from event";
            db.query_row(sum, [], |row| row.get::<_, i64>(0)).unwrap() as u64
        };
        let (mut before, mut pieces) = (bytes(&path), 0);
        assert!(before > 2 * MAX_BYTES);
        loop {
            let pruned = store.prune(0, None, 500).await.unwrap();
            let after = bytes(&path);
            assert!(before - after < MAX_BYTES + 100_000, "{} bytes at once", before - after);
            (before, pieces) = (after, pieces + 1);
            if !pruned.more {
                break;
            }
        }
        assert_eq!((pieces, rows(&path, "event"), rows(&path, "ownerless")), (3, 0, 0));
        let report = store.check(Box::new(|_, _| true)).await.unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_left_of_a_log_when_the_server_stops_goes_after_its_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.db");
        let (store, jobs, _) = with_long_log(&path, 30_000).await;
        assert!(store.prune(0, None, 500).await.unwrap().more);
        store.close().await;
        drop((store, jobs));
        let store = SqliteStore::open(&path).unwrap();
        assert_eq!(store.prune(9, None, 500).await.unwrap(), Pruned { jobs: 0, more: false });
        assert_eq!((rows(&path, "ownerless"), rows(&path, "event")), (0, 0));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn many_short_jobs_go_in_batches_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.db");
        let store = SqliteStore::open(&path).unwrap();
        let jobs = Jobs::new(Arc::new(store)).with_limits(Limits { max_active: 10_000, ..Limits::DURABLE });
        for _ in 0..1_200 {
            let id = jobs.create_job("import", "anna").await.unwrap();
            jobs.force_fail_job(id, "r").await.unwrap();
        }
        let store = jobs.store();
        let mut batches = Vec::new();
        loop {
            // However many are asked for.
            let pruned = store.prune(0, None, 1_000_000).await.unwrap();
            batches.push(pruned.jobs);
            if !pruned.more {
                break;
            }
        }
        assert_eq!(batches, [500, 500, 200]);
    }
}
