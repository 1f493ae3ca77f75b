//! A job whose record cannot be read: requests for it fail, while lists, counters and all other jobs go on.

use std::sync::Arc;

use rusqlite::Connection;

use crate::library::Jobs;
use crate::model::{Actor, Command, Context, Timestamp};
use crate::store::{JobStore, SqliteStore, StoreError};

fn context() -> Context {
    Context { actor: Actor::user("anna"), at: Timestamp(1_795_364_405_123) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_one_job_stops_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let mut made = Vec::new();
    {
        let jobs = Jobs::new(Arc::new(SqliteStore::open(&path).unwrap()));
        for _ in 0..4 {
            made.push(jobs.create_job("import", "anna").await.unwrap());
        }
        jobs.store().close().await;
    }
    let db = Connection::open(&path).unwrap();
    db.execute_batch(
        "update job set more = '{\"unrecorded\":[9]}' where n = 2; update job set more = '{' where n = 3; \
         update job set numbers = x'ff' where n = 4",
    )
    .unwrap();
    drop(db);
    let store = Arc::new(SqliteStore::open(&path).unwrap());
    let jobs = Jobs::new(Arc::clone(&store) as Arc<dyn JobStore>);
    let complete = Command::Complete { epoch: None, output: None };
    for _ in 0..2 {
        for id in &made[1..] {
            let told = store.transact(*id, complete.clone(), context()).await;
            assert!(matches!(told, Err(StoreError::Corrupt(_))), "{told:?}");
        }
    }
    store.transact(made[0], complete, context()).await.unwrap();
    let fresh = jobs.create_job("import", "anna").await.unwrap();
    let listed: Vec<_> = jobs.get_all_jobs().await.unwrap().iter().map(|job| job.id).collect();
    assert!(listed.contains(&fresh) && !listed.contains(&made[2]), "{listed:?}");
    assert_eq!(store.last_failure(), None, "nothing is wrong with the store");
    let report = store.check(Box::new(|_, _| true)).await.unwrap();
    for id in &made[1..] {
        let plain = id.to_string().replace('-', "");
        let named = |problem: &String| problem.contains(&id.to_string()) || problem.contains(&plain);
        assert!(report.problems.iter().any(named), "{id}: {report:?}");
    }
    store.close().await;
}

/// A copy that cannot be made leaves nothing behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_was_stopped_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("jobs.db")).unwrap();
    let copies = folder.path().join("copies");
    std::fs::create_dir(&copies).unwrap();
    assert!(store.backup(&copies.join("copy"), Box::new(|_, _| false)).await.is_err());
    std::fs::write(copies.join("copy.partial-journal"), "left by a crash").unwrap();
    assert!(store.backup(&copies.join("copy"), Box::new(|_, _| false)).await.is_err());
    assert_eq!(std::fs::read_dir(&copies).unwrap().count(), 0);
}

/// What an attempt that was cut short has left is neither taken for a part of the next copy nor left behind by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_leaves_the_copy_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("jobs.db")).unwrap();
    let copies = folder.path().join("copies");
    std::fs::create_dir(&copies).unwrap();
    for left in ["copy.partial", "copy.partial-journal"] {
        std::fs::write(copies.join(left), "left by a crash").unwrap();
    }
    store.backup(&copies.join("copy"), Box::new(|_, _| true)).await.unwrap();
    assert_eq!(std::fs::read_dir(&copies).unwrap().count(), 1);
}
