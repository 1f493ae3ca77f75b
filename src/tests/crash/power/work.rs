//! The work that is under way when the power fails: jobs that live their lives side by side, tokens, a
//! history that is pruned, and another process that empties the write-ahead log now and then. Or else a few
//! jobs that write so much that the store itself moves its log beside the writer and begins it anew.

use std::path::Path;
use std::sync::{Arc, Mutex};

use longhaul::model::{
    Actor, Author, Command, Context, Feature, JobId, Level, MessageText, NewJob, Reason, Report, ReportItem,
    Role, Spec, StepSpec, Timestamp,
};
use longhaul::store::{
    AccountChange, AccountStore, By, ChangeSink, Changes, CreateRules, IdempotencyKey, TokenRecord,
};
use longhaul::{JobStore, SqliteStore};
use rusqlite::Connection;
use uuid::Uuid;

use crate::crash::Dice;
use crate::crash::vfs::{Disk, Entry, Part};

/// Jobs from the start to the end of which power may fail.
pub const JOBS: u64 = 24;
/// Jobs that are worked on at once, so that commits are shared as they are in a server.
const LANES: u64 = 4;

/// What was promised: a job as published, its removal, or the name of a token.
#[derive(Clone)]
pub enum Promise {
    Changes(Changes),
    Token(String),
    /// These were asked to be removed, and from now on may be gone.
    MayGo(Vec<JobId>),
}

/// Writes down what is promised, and where in the disk's journal that was.
struct Promises {
    disk: Arc<Disk>,
    made: Mutex<Vec<(usize, Promise)>>,
}

impl Promises {
    fn made(&self, promise: Promise) {
        self.made.lock().unwrap().push((self.disk.position(), promise));
    }
}

impl ChangeSink for Promises {
    fn publish(&self, changes: &Changes) {
        self.made(Promise::Changes(changes.clone()));
    }
}

/// A workload, as the disk saw it and as the store's callers did.
pub struct Recorded {
    pub journal: Vec<Entry>,
    pub promises: Vec<(usize, Promise)>,
    /// The place in the journal from which on the power may fail.
    pub from: usize,
}

pub fn context(ms: i64) -> Context {
    Context { actor: Actor::user("anna"), at: Timestamp(1_795_364_405_123 + ms) }
}

pub fn new_job(number: u64) -> NewJob {
    let spec = Spec {
        input: Some(serde_json::json!({"rows": number})),
        ..Spec::new(
            Feature::new(format!("import-{}", number % 3)).unwrap(),
            Author::new("anna").unwrap(),
            "user:anna",
        )
    };
    NewJob { id: JobId(Uuid::from_u128(u128::from(number + 1) << 64)), spec, enqueue: false, run_at: None }
}

fn said(text: &str) -> ReportItem {
    ReportItem::Message { level: Level::Info, text: MessageText::new(text).unwrap(), step: None, key: None }
}

/// One job from its start to its end.
async fn live(store: &SqliteStore, number: u64, mut dice: Dice) {
    let key = IdempotencyKey { key: format!("k{number}"), fingerprint: "f".to_owned() };
    let rules = CreateRules { idempotency: Some(key), ..CreateRules::default() };
    let id = store.create(new_job(number), rules, context(0)).await.unwrap().job.id;
    let report = |items| Command::Report(Report { epoch: Some(1), items });
    let steps = vec![StepSpec::new("load"), StepSpec::new("store").steps([StepSpec::new("rows")])];
    let loaded = ReportItem::Progress { step: Some("load".to_owned()), value: 0.5 };
    let long = said(&"line ".repeat(dice.below(600) as usize + 1));
    let reason = Reason::new("hung").unwrap();
    let mut commands = vec![
        report(vec![ReportItem::Steps(steps), loaded, said("one"), said("two"), said("three")]),
        report(Vec::new()),
        report(vec![long]),
    ];
    commands.push(match dice.below(3) {
        0 => Command::Complete { epoch: Some(1), output: Some(serde_json::json!([number])) },
        1 => Command::Fail { epoch: Some(1), error: Some("broke".to_owned()), retryable: false },
        _ => Command::ForceFail { reason },
    });
    commands.push(report(vec![said("too late")]));
    for (ms, command) in (1..).zip(commands) {
        let _ = store.transact(id, command, context(ms)).await;
    }
}

/// Works on a new database at `path`, and closes it.
async fn work(path: &Path, disk: Arc<Disk>, seed: u64) -> Recorded {
    let store = Arc::new(SqliteStore::open(path).unwrap());
    let promises = Arc::new(Promises { disk: Arc::clone(&disk), made: Mutex::default() });
    store.changes(Arc::clone(&promises) as Arc<dyn ChangeSink>);
    let mut lanes = tokio::task::JoinSet::new();
    for lane in 0..LANES {
        let (store, promises, path) = (Arc::clone(&store), Arc::clone(&promises), path.to_owned());
        lanes.spawn(async move {
            for number in (lane..JOBS).step_by(LANES as usize) {
                live(&store, number, Dice(seed ^ number)).await;
                let name = format!("t{number}");
                let token = TokenRecord {
                    name: name.clone(),
                    hash: [number as u8; 32],
                    role: Role::Viewer,
                    act_as: false,
                    created_at: Timestamp(0),
                    expires_at: None,
                };
                store.change(AccountChange::AddToken(token), By::Owner).await.unwrap();
                promises.made(Promise::Token(name));
                // As another process does that looks after the file: the log is emptied again and again.
                let db = Connection::open(&path).unwrap();
                db.query_row("pragma wal_checkpoint(passive)", [], |_| Ok(())).unwrap();
            }
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane.unwrap();
    }
    let asked = disk.position();
    store.prune(JOBS / 2, None, 5).await.unwrap();
    store.create(new_job(JOBS), CreateRules::default(), context(9)).await.unwrap();
    store.close().await;
    drop(store);
    let mut promises = std::mem::take(&mut *promises.made.lock().unwrap());
    let removed: Vec<_> = promises
        .iter()
        .flat_map(|(_, promise)| match promise {
            Promise::Changes(changes) => changes.removed.clone(),
            _ => Vec::new(),
        })
        .collect();
    assert_eq!(removed.len(), 5);
    let place = promises.partition_point(|(place, _)| *place <= asked);
    promises.insert(place, (asked, Promise::MayGo(removed)));
    Recorded { journal: disk.journal(), promises, from: 0 }
}

/// Where the store first moved pages out of its log, and where it began the log anew after that.
fn moved(disk: &Disk, opened: usize) -> Option<(usize, usize)> {
    let begun = disk.find(opened, |entry| matches!(entry, Entry::Write(Part::Main, ..)))?;
    Some((begun, disk.find(begun, |entry| matches!(entry, Entry::Write(Part::Wal, 0, _)))?))
}

/// Works on a new database until the store has moved its log beside the writer and begun it anew, and some
/// more. Nobody else touches the file.
async fn work_long(path: &Path, disk: Arc<Disk>) -> Recorded {
    let store = Arc::new(SqliteStore::open(path).unwrap());
    let promises = Arc::new(Promises { disk: Arc::clone(&disk), made: Mutex::default() });
    store.changes(Arc::clone(&promises) as Arc<dyn ChangeSink>);
    let opened = disk.position();
    let mut lanes = tokio::task::JoinSet::new();
    for lane in 0..LANES {
        let (store, disk) = (Arc::clone(&store), Arc::clone(&disk));
        lanes.spawn(async move {
            let id = store.create(new_job(lane), CreateRules::default(), context(0)).await.unwrap().job.id;
            for ms in 1..1_000 {
                let items = (0..5).map(|_| said(&"a long line ".repeat(300))).collect();
                let report = Command::Report(Report { epoch: Some(1), items });
                store.transact(id, report, context(ms)).await.unwrap();
                if moved(&disk, opened).is_some_and(|(_, anew)| disk.position() > anew + 200) {
                    break;
                }
            }
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane.unwrap();
    }
    let journal = disk.journal();
    let (from, _) = moved(&disk, opened).expect("the store moves its log and begins it anew");
    store.close().await;
    let promises = std::mem::take(&mut *promises.made.lock().unwrap());
    Recorded { journal, promises, from }
}

/// Records a workload; with `normal`, of a store whose `synchronous = full` is heard as `normal`.
pub fn record(seed: u64, normal: bool) -> Recorded {
    on_a_disk(async |path, disk| {
        if normal {
            disk.hear_normal();
        }
        work(path, disk, seed).await
    })
}

/// Records how the store moves its log while it is written to, and begins it anew.
pub fn record_long() -> Recorded {
    on_a_disk(work_long)
}

fn on_a_disk(work: impl AsyncFnOnce(&Path, Arc<Disk>) -> Recorded) -> Recorded {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let disk = Disk::recording(&path);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(work(&path, disk))
}
