//! A disk that is full, broken or read-only: nothing is acknowledged that is not kept, people are told, and
//! work goes on by itself within five seconds of the disk's return.
//!
//! The disk misbehaves below SQLite (see `vfs`), under the whole application with its real sweeper, which
//! is what looks whether a broken store has mended.

use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use longhaul::model::{
    Actor, Command, Context, JobId, Level, LogFilter, MessageText, Report, ReportItem, Timestamp,
};
use longhaul::store::{ChangeSink, Changes, CreateRules, IdempotencyKey, LogFrom, LogQuery, StoreError};
use longhaul::{JobStore, SqliteStore};
use rusqlite::{Connection, ffi};
use serde_json::json;

use super::judge::nothing_is_half_there;
use super::races::job;
use super::vfs::Disk;
use super::{Dice, seed};
use crate::support::{TestApp, eventually};

/// What the product promises.
const RECOVERS_WITHIN: Duration = Duration::from_secs(5);
const HEALTH: &str = "/api/admin/jobs/health";

/// An application whose disk begins to misbehave, and stops to.
async fn outage(begins: impl Fn(&Disk), ends: impl Fn(&Disk), reason: &str) {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::under(&folder.path().join("longhaul.db"));
    let (app, anon, viewer, reporter, operator, _) = TestApp::with().init_sqlite_in(folder).await;
    tokio::spawn(app.service.sweeper().run(app.closing.clone()));
    let running = reporter.start("import").await;
    reporter.post(&running.at("message"), json!({"type": "info", "message": "kept"})).await;
    let ended = reporter.completed("export").await;
    let state = async || {
        let jobs = (viewer.job(&running).await, viewer.job(&ended).await);
        (jobs, viewer.log(&running, "all").await, viewer.listed("?includePast=true").await)
    };
    let before = state().await;
    assert_eq!(viewer.get(HEALTH).await.json()["status"], "healthy");

    begins(&disk);
    let reason_given = json!({"reason": "hung"});
    for (client, path, body) in [
        (&reporter, running.at("message"), json!({"type": "info", "message": "lost"})),
        (&reporter, running.at("progress"), json!({"progress": 0.5})),
        (&reporter, running.at("heartbeat"), json!({})),
        (&reporter, running.at("complete"), json!({})),
        (&reporter, running.at("fail"), json!({})),
        (&reporter, "/api/admin/jobs/start".to_owned(), json!({"feature": "import"})),
        (&operator, running.at("abort"), reason_given.clone()),
        (&operator, running.at("force-fail"), reason_given),
    ] {
        client.post(&path, body).await.assert_refused(503, "store_unavailable");
    }
    let health = viewer.get(HEALTH).await.json();
    assert_eq!(health["status"], "critical");
    let warning = health["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("The store refuses writes: ") && warning.contains(reason), "{warning}");
    viewer.get("/readyz").await.assert_refused(503, "store_unavailable");
    assert_eq!(anon.get("/healthz").await.status(), 200, "the process lives");
    assert_eq!(state().await, before, "what was refused is not shown either");

    ends(&disk);
    let ended_at = Instant::now();
    eventually("the store is found mended", async || {
        (viewer.get(HEALTH).await.json()["status"] == "healthy").then_some(())
    })
    .await;
    assert!(ended_at.elapsed() < RECOVERS_WITHIN, "it took {:?}", ended_at.elapsed());
    assert_eq!(viewer.get("/readyz").await.status(), 200);
    assert_eq!(state().await, before);
    let (app, admin) = app.restart().await;
    assert_eq!((admin.job(&running).await, admin.job(&ended).await), before.0);
    assert_eq!(admin.log(&running, "all").await, before.1);
    assert_eq!(admin.post(&running.at("complete"), json!({"epoch": 1})).await.status(), 200);
    let report = app.jobs.check(Box::new(|_, _| true)).await.unwrap();
    assert_eq!((report.jobs, report.problems), (2, Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_survived() {
    outage(|disk| disk.answer_writes(ffi::SQLITE_FULL), |disk| disk.answer_writes(0), "full").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_cannot_write_is_told_and_survived() {
    outage(|disk| disk.answer_writes(ffi::SQLITE_IOERR_WRITE), |disk| disk.answer_writes(0), "I/O error")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_cannot_sync_is_told_and_survived() {
    outage(|disk| disk.answer_syncs(ffi::SQLITE_IOERR_FSYNC), |disk| disk.answer_syncs(0), "I/O error").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_made_read_only_is_told_and_survived() {
    outage(|disk| disk.answer_writes(ffi::SQLITE_READONLY), |disk| disk.answer_writes(0), "readonly").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_cannot_read_is_told_and_survived() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::under(&folder.path().join("longhaul.db"));
    let (app, _, viewer, reporter, ..) = TestApp::with().init_sqlite_in(folder).await;
    tokio::spawn(app.service.sweeper().run(app.closing.clone()));
    let ended = reporter.completed("export").await;
    // Who that is has been looked up; for somebody new, even that would need the disk.
    assert_eq!(viewer.get(HEALTH).await.json()["status"], "healthy");
    disk.answer_reads(ffi::SQLITE_IOERR_READ);
    viewer.get(&ended.at("messages")).await.assert_refused(503, "store_unavailable");
    let health = viewer.get(HEALTH).await.json();
    assert_eq!(health["status"], "critical");
    assert!(health["warnings"][0].as_str().unwrap().contains("I/O error"), "{health}");
    disk.answer_reads(0);
    let ended_at = Instant::now();
    eventually("the store is found mended", async || {
        (viewer.get(HEALTH).await.json()["status"] == "healthy").then_some(())
    })
    .await;
    assert!(ended_at.elapsed() < RECOVERS_WITHIN);
    assert_eq!(viewer.get(&ended.at("messages")).await.status(), 200);
}

#[tokio::test]
async fn a_read_only_file_is_not_opened_and_the_error_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    SqliteStore::open(&path).unwrap().close().await;
    let bytes = std::fs::read(&path).unwrap();
    let disk = Disk::under(&path);
    disk.make_read_only(true);
    let error = SqliteStore::open(&path).err().expect("it must not be served from").to_string();
    assert!(error.contains("jobs.db") && error.contains("readonly"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    disk.make_read_only(false);
    assert!(SqliteStore::open(&path).is_ok());
}

fn context() -> Context {
    Context { actor: Actor::user("anna"), at: Timestamp(1_795_364_405_123) }
}

fn say(text: String) -> Command {
    let text = MessageText::new(text).unwrap();
    let item = ReportItem::Message { level: Level::Info, text, step: None, key: None };
    Command::Report(Report { epoch: None, items: vec![item] })
}

async fn lines(store: &SqliteStore, id: JobId) -> Vec<String> {
    let kinds = vec![longhaul::model::LineKind::Info];
    let filter = LogFilter { kinds, ..LogFilter::default() };
    let query = LogQuery { filter, from: LogFrom::After(0), limit: 100_000, count: false };
    store.log(id, query).await.unwrap().lines.into_iter().map(|line| line.text).collect()
}

/// The disk goes away at any write or sync of a commit, and comes back: what was acknowledged is in the
/// log, what was not is not, in the running store and after a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_comes_and_goes_never_makes_the_store_lie() {
    let (seed, folder) = (seed(), tempfile::tempdir().unwrap());
    let path = folder.path().join("jobs.db");
    let disk = Disk::under(&path);
    let store = SqliteStore::open(&path).unwrap();
    let id = store.create(job(0), CreateRules::default(), context()).await.unwrap().job.id;
    let (mut dice, mut kept, mut refused) = (Dice(seed), Vec::new(), 0);
    for number in 0..400 {
        let gone = dice.below(2) == 0;
        if gone {
            let code = [ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_FULL][dice.below(2) as usize];
            match dice.below(3) {
                0 => disk.answer_syncs(ffi::SQLITE_IOERR_FSYNC),
                1 => disk.answer_writes(code),
                _ => disk.goes_away_after(dice.below(30) as i64),
            }
        }
        let text = format!("{number} {}", "x".repeat(dice.below(9_000) as usize));
        match store.transact(id, say(text.clone()), context()).await {
            Ok(_) => kept.push(text),
            Err(StoreError::Unavailable(_)) => refused += 1,
            Err(error) => panic!("{number}: {error}"),
        }
        disk.answer_syncs(0);
        disk.answer_writes(0);
        disk.goes_away_after(-1);
    }
    assert!(refused > 50 && kept.len() > 50, "{refused} refused, {} kept", kept.len());
    assert!(lines(&store, id).await == kept, "seed {seed}");
    assert_eq!(store.probe().await, Ok(()));
    assert_eq!(store.last_failure(), None);
    store.close().await;
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    assert!(lines(&store, id).await == kept, "seed {seed}");
    assert_eq!(store.check(Box::new(|_, _| true)).await.unwrap().problems, Vec::<String>::new());
}

/// Holds the writer's thread up, so that what is asked meanwhile falls into one batch.
struct Gate(Barrier, Barrier);

impl ChangeSink for Gate {
    fn publish(&self, changes: &Changes) {
        if changes.jobs.iter().any(|job| job.spec.feature.as_str() == "race-1") {
            self.0.wait();
            self.1.wait();
        }
    }
}

/// SQLite gives a whole transaction up when a read within it fails. What came after in the batch would then
/// be committed, piece by piece, though everybody is told that nothing was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_fails_in_a_batch_leaves_nothing_of_the_batch() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let disk = Disk::under(&path);
    let store = SqliteStore::open(&path).unwrap();
    // Numbers 0, 3, 6 … are of another feature than the one the gate waits for.
    let complete = Command::Complete { epoch: None, output: None };
    for number in (0..900).step_by(3) {
        let id = store.create(job(number), CreateRules::default(), context()).await.unwrap().job.id;
        store.transact(id, complete.clone(), context()).await.unwrap();
    }
    store.close().await;
    drop(store);
    let store = Arc::new(SqliteStore::open(&path).unwrap());
    let rules = |key: &str| CreateRules {
        idempotency: Some(IdempotencyKey { key: key.to_owned(), fingerprint: "f".to_owned() }),
        ..CreateRules::default()
    };
    // What the new job will touch is in the writer's cache now; the old jobs are not.
    store.create(job(3_000), rules("warm"), context()).await.unwrap();
    let gate = Arc::new(Gate(Barrier::new(2), Barrier::new(2)));
    store.changes(Arc::clone(&gate) as Arc<dyn ChangeSink>);
    let before = store.counts();
    let held = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.create(job(3_001), CreateRules::default(), context()).await }
    });
    gate.0.wait();
    let old = JobId(uuid::Uuid::from_u128(151 << 64));
    let (create, touch) = tokio::join!(store.create(job(3_003), rules("new"), context()), async {
        // Both are waiting by the time the gate opens.
        let touch = store.transact(old, complete, context());
        let opens = async {
            disk.answer_reads(ffi::SQLITE_IOERR_READ);
            gate.1.wait();
        };
        tokio::join!(touch, opens).0
    });
    disk.answer_reads(0);
    assert!(held.await.unwrap().is_ok());
    let unavailable = |told: &Result<_, StoreError>| matches!(told, Err(StoreError::Unavailable(_)));
    assert!(
        unavailable(&touch.map(drop)) && unavailable(&create.map(drop)),
        "everybody in the batch is told"
    );
    assert_eq!(store.probe().await, Ok(()));
    assert_eq!(store.get(job(3_003).id).await, Ok(None));
    assert_eq!(store.counts().active(), before.active() + 1);
    assert_eq!(nothing_is_half_there(&Connection::open(&path).unwrap()), Ok(()));
    assert!(!store.create(job(3_003), rules("new"), context()).await.unwrap().replayed);
}

/// Remembers which jobs it was told are gone.
#[derive(Default)]
struct Gone(Mutex<Vec<JobId>>);

impl ChangeSink for Gone {
    fn publish(&self, changes: &Changes) {
        self.0.lock().unwrap().extend(&changes.removed);
    }
}

/// What came of a commit that failed only the disk knows, and while it failed an operator may have made
/// room by hand. So the store looks again, and dashboards hear of what is different.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failure_the_disk_has_the_last_word() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let disk = Disk::under(&path);
    let store = SqliteStore::open(&path).unwrap();
    let gone = Arc::new(Gone::default());
    store.changes(Arc::clone(&gone) as Arc<dyn ChangeSink>);
    let kept = store.create(job(0), CreateRules::default(), context()).await.unwrap().job.id;
    let lost = store.create(job(1), CreateRules::default(), context()).await.unwrap().job.id;
    disk.answer_syncs(ffi::SQLITE_IOERR_FSYNC);
    assert!(store.transact(kept, say("unheard".to_owned()), context()).await.is_err());
    disk.answer_syncs(0);
    let by_hand = "delete from event where job = 2; delete from job where n = 2; \
                   delete from counter where feature = 'race-1';";
    Connection::open(&path).unwrap().execute_batch(by_hand).unwrap();
    assert_eq!(store.probe().await, Ok(()));
    assert_eq!((store.get(lost).await, store.counts().active()), (Ok(None), 1));
    assert_eq!(*gone.0.lock().unwrap(), [lost]);
    assert!(store.transact(lost, say("to nobody".to_owned()), context()).await.is_err());
    assert!(store.transact(kept, say("heard".to_owned()), context()).await.is_ok());
    assert_eq!(lines(&store, kept).await, ["heard"]);
    assert_eq!(store.check(Box::new(|_, _| true)).await.unwrap().problems, Vec::<String>::new());
}
