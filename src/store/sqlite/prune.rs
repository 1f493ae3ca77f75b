//! Removing history in transactions of a bounded size.
//!
//! Commands wait while a transaction runs, so one removes at most [`MAX_JOBS`] jobs and [`MAX_ROWS`] rows of
//! their logs and steps. A job goes at once: its row, its counters. A log that is longer than fits is left to
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

impl Batch<'_> {
    /// Removes what is left of removed jobs, then up to `batch` ended jobs that nobody pinned.
    pub(super) fn prune(
        &mut self,
        keep: u64,
        before: Option<Timestamp>,
        batch: usize,
    ) -> Result<Pruned, StoreError> {
        let mut left = MAX_ROWS;
        while left > 0
            && let Some(n) = self.ownerless()?
        {
            self.remove_rows(n, &mut left)?;
            if left > 0 {
                self.change("delete from ownerless where job = ?1", n)?;
            }
        }
        let mut pruned = Pruned { jobs: 0, more: left == 0 };
        let pinned: i64 = self
            .db
            .prepare_cached("select count(*) from job where pinned = 1")
            .and_then(|mut count| count.query_row([], |row| row.get(0)))
            .map_err(unavailable)?;
        let over = self.counts.past().saturating_sub(keep).saturating_sub(pinned as u64);
        let batch = batch.min(MAX_JOBS);
        let oldest: Vec<(i64, [u8; 16], String, i64, i64)> = self
            .db
            .prepare_cached(
                "select n, id, (select text from name where n = job.feature), status, ended_at from job \
                 where ended_at is not null and pinned = 0 order by ended_at, n limit ?1",
            )
            .and_then(|mut find| {
                let row = |row: &rusqlite::Row<'_>| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
                };
                find.query_map([batch as i64], row)?.collect()
            })
            .map_err(unavailable)?;
        for (n, id, feature, status, ended_at) in oldest {
            if left == 0 {
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
            self.change("delete from job where n = ?1", n)?;
            self.remove_rows(n, &mut left)?;
            if left == 0 {
                self.change("insert into ownerless (job) values (?1)", n)?;
            }
            self.count(&feature, Some(rows::status(status).map_err(unavailable)?), None);
            self.removed.push(id);
            pruned.jobs += 1;
        }
        pruned.more |= left == 0 || pruned.jobs >= batch as u64;
        Ok(pruned)
    }

    /// A job that is no more, of whose rows some are.
    fn ownerless(&self) -> Result<Option<i64>, StoreError> {
        self.db
            .prepare_cached("select job from ownerless limit 1")
            .and_then(|mut find| find.query_row([], |row| row.get(0)).optional())
            .map_err(unavailable)
    }

    /// Removes up to `left` rows of a removed job. Where some are left of `left`, there are none of the job.
    fn remove_rows(&self, n: i64, left: &mut u64) -> Result<(), StoreError> {
        for statement in [
            "delete from step where job = ?1 and i in (select i from step where job = ?1 order by i limit ?2)",
            "delete from event where job = ?1 and seq in \
             (select seq from event where job = ?1 order by seq limit ?2)",
        ] {
            let gone = self
                .db
                .prepare_cached(statement)
                .and_then(|mut delete| delete.execute(params![n, *left as i64]))
                .map_err(unavailable)?;
            *left = left.saturating_sub(gone as u64);
        }
        Ok(())
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
