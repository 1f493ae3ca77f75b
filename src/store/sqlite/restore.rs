//! A backup becomes the store again: only where there is none, and only if it is sound.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::open::{self, OpenError};
use super::{maintenance, unavailable};
use crate::store::{IntegrityReport, StoreError, StoreProgress};

/// Why a backup was not restored. Neither it nor the place it was to go to was changed.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// There is a database where it should go.
    #[error(
        "There is a database {path} already, and restore overwrites nothing. Move it away first, or name another \
         with --database."
    )]
    Exists {
        /// The file.
        path: String,
    },
    /// SQLite would take what is left of an earlier database for the newest part of this one.
    #[error(
        "{path} is left of an earlier database, and would be mixed into this one. If it is not needed, remove it first."
    )]
    Leftover {
        /// The file.
        path: String,
    },
    /// The backup is no database of ours, or the place is in use.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The log, the jobs and the counters of the backup do not agree.
    #[error("{path} is damaged and was not restored: {}", .problems.join("; "))]
    Damaged {
        /// The backup.
        path: String,
        /// What is wrong with it.
        problems: Vec<String>,
    },
    /// It could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Copies the backup `from` to the database `to`, which must not exist. The copy is brought to this
/// version's schema and checked from end to end before it gets its name, so that `to` is sound or not there.
pub fn restore(
    from: &Path,
    to: &Path,
    copying: StoreProgress,
    checking: StoreProgress,
) -> Result<IntegrityReport, RestoreError> {
    open::look_at(from)?;
    if !from.exists() {
        let problem = "there is no such file".to_owned();
        return Err(OpenError::Unusable { path: from.display().to_string(), problem }.into());
    }
    // As a server would: whoever else wants this place waits outside until we are done.
    let _lock = open::lock(to)?;
    if to.exists() {
        return Err(RestoreError::Exists { path: to.display().to_string() });
    }
    for ending in ["-wal", "-journal"] {
        let left = beside(to, ending);
        if left.exists() {
            return Err(RestoreError::Leftover { path: left.display().to_string() });
        }
    }
    let partial = beside(to, ".restoring");
    forget(&partial);
    let restored = build(from, &partial, copying, checking).and_then(|report| {
        let cannot = |error: std::io::Error| {
            StoreError::Unavailable(format!("{} cannot be written: {error}", to.display()))
        };
        std::fs::rename(&partial, to).map_err(cannot)?;
        maintenance::sync_folder(to).map_err(cannot)?;
        Ok(report)
    });
    if restored.is_err() {
        forget(&partial);
    }
    restored
}

fn build(
    from: &Path,
    partial: &Path,
    copying: StoreProgress,
    checking: StoreProgress,
) -> Result<IntegrityReport, RestoreError> {
    maintenance::backup(&open::read_only(from)?, partial, copying)?;
    let mut db = open::prepare(partial)?;
    let report = maintenance::check(&mut db, checking)?;
    if !report.problems.is_empty() {
        return Err(RestoreError::Damaged { path: from.display().to_string(), problems: report.problems });
    }
    // One plain file again, all of it on the disk.
    db.pragma_update(None, "journal_mode", "delete").map_err(unavailable)?;
    drop(db);
    std::fs::File::open(partial).and_then(|file| file.sync_all()).map_err(|error| {
        StoreError::Unavailable(format!("{} cannot be written: {error}", partial.display()))
    })?;
    Ok(report)
}

/// The file of that name with something more at its end.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn forget(partial: &Path) {
    for ending in ["", ".partial", "-wal", "-shm", "-journal"] {
        let _ = std::fs::remove_file(beside(partial, ending));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::library::Jobs;
    use crate::store::{Exporter, JobStore, SqliteStore};

    fn quiet() -> StoreProgress {
        Box::new(|_, _| true)
    }

    async fn text_of(store: Arc<SqliteStore>) -> String {
        let (mut exporter, mut text) = (Exporter::new(store, false), String::new());
        while let Some(piece) = exporter.next().await.unwrap() {
            text.push_str(&piece);
        }
        text
    }

    /// A store with some history, at work.
    async fn working(path: &Path) -> (Arc<SqliteStore>, Jobs) {
        let store = Arc::new(SqliteStore::open(path).unwrap());
        let jobs = Jobs::new(Arc::clone(&store) as Arc<dyn JobStore>);
        for number in 0..30 {
            let id = jobs.create_job("import", "anna").await.unwrap();
            jobs.force_fail_job(id, &format!("number {number}")).await.unwrap();
        }
        (store, jobs)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_backup_made_while_work_goes_on_is_restored_as_it_was_at_its_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let (path, copy, new) =
            (folder.path().join("jobs.db"), folder.path().join("copy.db"), folder.path().join("new.db"));
        let (store, jobs) = working(&path).await;
        // Large enough for several steps of the copy.
        let noise = jobs.create_job("noise", "anna").await.unwrap();
        let logger = crate::JobLogger::new(jobs.store(), noise);
        for line in 0..12_000 {
            logger.info(format!("{line} {}", "x".repeat(300)));
        }
        logger.complete().await.unwrap();
        let before = text_of(Arc::clone(&store)).await;
        let (handle, busy) = (tokio::runtime::Handle::current(), Jobs::new(jobs.store()));
        let (counted, steps) = (Arc::new(std::sync::atomic::AtomicU64::new(0)), 40);
        let seen = Arc::clone(&counted);
        let progress: StoreProgress = Box::new(move |_, _| {
            // A writer that never leaves the file alone. A copy that begins again with every change to it
            // would need more steps than there are.
            handle.block_on(async { busy.create_job("meanwhile", "anna").await.unwrap() });
            seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < steps
        });
        store.backup(&copy, progress).await.unwrap();
        let steps = counted.load(std::sync::atomic::Ordering::SeqCst);
        assert!(steps > 2, "the copy had several steps, with a write between any two: {steps}");
        assert_ne!(text_of(Arc::clone(&store)).await, before);
        store.close().await;

        let report = restore(&copy, &new, quiet(), quiet()).unwrap();
        assert_eq!(report.jobs, 31);
        let restored = Arc::new(SqliteStore::open(&new).unwrap());
        assert_eq!(text_of(restored).await, before);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn beside_a_server_a_file_can_be_read_and_copied_but_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.db");
        let (server, jobs) = working(&path).await;
        let beside = Arc::new(SqliteStore::open_read_only(&path).unwrap());
        assert_eq!(beside.counts(), server.counts());
        assert_eq!(text_of(Arc::clone(&beside)).await, text_of(Arc::clone(&server)).await);
        let report = beside.check(quiet()).await.unwrap();
        assert_eq!((report.jobs, report.problems), (30, Vec::new()));
        let running = jobs.create_job("import", "anna").await.unwrap();
        assert_eq!(beside.active().await.unwrap()[0].id, running, "it sees what came since");
        beside.backup(&folder.path().join("copy.db"), quiet()).await.unwrap();
        let refused = beside.import(Vec::new()).await.unwrap_err();
        assert!(refused.to_string().contains("reading only"), "{refused}");
        assert!(matches!(SqliteStore::open(&path), Err(OpenError::InUse { .. })), "nor may an import begin");
        let copy = folder.path().join("copy.db");
        assert!(matches!(
            restore(&copy, &path, quiet(), quiet()),
            Err(RestoreError::Open(OpenError::InUse { .. }))
        ));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_restore_overwrites_nothing_and_takes_nothing_that_is_unsound() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (store, _) = working(&at("jobs.db")).await;
        store.backup(&at("copy.db"), quiet()).await.unwrap();
        store.close().await;
        drop(store);
        let before = std::fs::read(at("jobs.db")).unwrap();
        assert!(matches!(
            restore(&at("copy.db"), &at("jobs.db"), quiet(), quiet()),
            Err(RestoreError::Exists { .. })
        ));
        assert_eq!(std::fs::read(at("jobs.db")).unwrap(), before);

        std::fs::write(at("new.db-wal"), "left over").unwrap();
        assert!(matches!(
            restore(&at("copy.db"), &at("new.db"), quiet(), quiet()),
            Err(RestoreError::Leftover { .. })
        ));
        std::fs::remove_file(at("new.db-wal")).unwrap();

        std::fs::write(at("notes.txt"), "remember the milk, and the bread").unwrap();
        for (bad, name) in [(at("notes.txt"), "no database"), (at("nothing.db"), "no file")] {
            let refused = restore(&bad, &at("new.db"), quiet(), quiet());
            assert!(matches!(refused, Err(RestoreError::Open(_))), "{name}");
        }
        for damage in [
            "update job set numbers = x'0001' where n = 3",
            "delete from event where job = 4 and seq = 2",
            "update counter set n = n - 1",
            "insert into event (job, seq, at, kind, text) values (999, 1, 0, 0, 'nobody''s')",
            "update job set status = 4 where n = 5",
            "update job set feature = feature + 1 where n = 6",
        ] {
            std::fs::copy(at("copy.db"), at("damaged.db")).unwrap();
            rusqlite::Connection::open(at("damaged.db")).unwrap().execute_batch(damage).unwrap();
            let refused = restore(&at("damaged.db"), &at("new.db"), quiet(), quiet());
            assert!(matches!(refused, Err(RestoreError::Damaged { .. })), "{damage}");
        }
        let left: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("new.db") && !name.ends_with("-lock"))
            .collect();
        assert_eq!(left, Vec::<String>::new(), "a restore that failed leaves nothing behind");
        assert!(restore(&at("copy.db"), &at("new.db"), quiet(), quiet()).is_ok());
    }
}
