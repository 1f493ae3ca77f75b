//! What one node hears of another when the two, or the database, are not at their best.

use std::collections::HashMap;
use std::sync::Mutex;

use super::super::cluster::Cluster;
use super::super::{PostgresSettings, PostgresStore, connection};
use super::*;
use crate::clock::{Clock as _, SystemClock};
use crate::model::{Actor, Author, Command, Context, Counts, Feature, NewJob, Spec, Status};
use crate::store::postgres::tests::within;
use crate::store::{ChangeSink, Changes, CreateRules, JobStore as _};

const COMPLETE: Command = Command::Complete { epoch: None, output: None };

fn context() -> Context {
    Context { actor: Actor::user("anna"), at: Timestamp(5) }
}

async fn open(cluster: &Cluster, database: &str, node: Option<&str>) -> Arc<PostgresStore> {
    let node = node.map(str::to_owned);
    let settings = PostgresSettings { address: cluster.address(database), connections: 2, node };
    Arc::new(PostgresStore::open(settings).await.unwrap())
}

async fn start(store: &PostgresStore) -> JobId {
    let spec = Spec::new(Feature::new("import").unwrap(), Author::new("anna").unwrap(), "user:anna");
    let new = NewJob { id: JobId(Uuid::now_v7()), spec, enqueue: false, run_at: None };
    store.create(new, CreateRules::default(), context()).await.unwrap().job.id
}

/// What is told of each job, and what a board would go on to believe.
#[derive(Default)]
struct Told {
    jobs: Mutex<HashMap<JobId, Option<Status>>>,
    believes: Mutex<Vec<JobId>>,
}

impl Told {
    fn of(&self, id: JobId) -> Option<Option<Status>> {
        self.jobs.lock().unwrap().get(&id).copied()
    }
}

impl ChangeSink for Told {
    fn publish(&self, changes: &Changes) {
        let jobs = changes.jobs.iter().map(|job| (job.id, Some(job.status)));
        self.jobs.lock().unwrap().extend(jobs.chain(changes.removed.iter().map(|id| (*id, None))));
    }

    fn believed_open(&self) -> Vec<JobId> {
        self.believes.lock().unwrap().clone()
    }
}

/// A node whose feed is asked step by step.
struct Node {
    task: Task,
    client: ClientWrapper,
    told: Arc<Told>,
}

async fn node(cluster: &Cluster, database: &str) -> Node {
    let place = DatabaseAddress::new(&cluster.address(database)).unwrap();
    let (client, wire) = place.connect().await.unwrap();
    let driver = tokio::spawn(async move { drop(wire.await) });
    let client = ClientWrapper::new(client, driver);
    let (shared, told) = (Arc::new(NodeView::default()), Arc::new(Told::default()));
    shared.add_sink(Arc::clone(&told) as Arc<dyn ChangeSink>);
    let row = client.query_one("select pg_current_snapshot()::text", &[]).await.unwrap();
    let seen = Seen(row.get(0));
    let name = "slow".to_owned();
    let (written, (_, asked)) = (Arc::new(Notify::new()), mpsc::unbounded_channel());
    let task = Task::new(place, seen, Uuid::new_v4(), name, shared, written, asked);
    Node { task, client, told }
}

impl Node {
    async fn read(&mut self) {
        self.task.read(&mut self.client).await.unwrap();
    }

    async fn compare(&mut self) {
        self.task.compare(&mut self.client).await.unwrap();
    }

    /// The numbers of the jobs that a read would fetch.
    async fn news(&mut self) -> usize {
        let (seen, me) = (self.task.seen.clone(), self.task.node);
        let news = news(&moment(&mut self.client).await.unwrap(), &seen, me).await.unwrap();
        self.task.seen = news.seen;
        news.jobs.len()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ended_before_the_first_read_is_told_too() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let other = open(cluster, &database, None).await;
    let (ended, removed) = (start(&other).await, start(&other).await);
    let mut node = node(cluster, &database).await;
    other.transact(removed, COMPLETE, context()).await.unwrap();
    other.prune(0, None, 10).await.unwrap();
    other.transact(ended, COMPLETE, context()).await.unwrap();
    node.read().await;
    assert_eq!(node.told.of(ended), Some(Some(Status::Completed)));
    assert_eq!(node.told.of(removed), Some(None));
    let counts: Counts = node.task.shared.counts();
    assert_eq!((counts.active(), counts.past()), (0, 1));
}

/// The changes themselves were cleared away: only what a board believes can tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrongly_believed_to_be_open_is_put_right() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let other = open(cluster, &database, None).await;
    let mut node = node(cluster, &database).await;
    let (ended, removed, running) = (start(&other).await, start(&other).await, start(&other).await);
    other.transact(removed, COMPLETE, context()).await.unwrap();
    other.prune(0, None, 10).await.unwrap();
    other.transact(ended, COMPLETE, context()).await.unwrap();
    cluster.ask(&database, "delete from change");
    node.read().await;
    assert_eq!(node.told.of(ended), None, "it was never told");
    *node.told.believes.lock().unwrap() = vec![ended, removed, running];
    node.compare().await;
    assert_eq!(node.told.of(ended), Some(Some(Status::Completed)));
    assert_eq!(node.told.of(removed), Some(None));
    assert_eq!(node.told.of(running), Some(Some(Status::Running)));
}

/// A transaction that stays open counts in the numbers of all databases of the instance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_stays_open_somewhere_brings_no_change_up_twice() {
    let cluster = Cluster::shared();
    let (database, elsewhere) = (cluster.database(), cluster.database());
    let other = open(cluster, &database, None).await;
    let mut node = node(cluster, &database).await;
    let (report, _report) =
        DatabaseAddress::new(&cluster.address(&elsewhere)).unwrap().client().await.unwrap();
    report.batch_execute("begin; create table report ()").await.unwrap();
    // One that changes a job, and takes its time.
    let (slow, _slow) = DatabaseAddress::new(&cluster.address(&database)).unwrap().client().await.unwrap();
    slow.batch_execute("begin").await.unwrap();
    let sql = "insert into change (node, jobs, removed) values (gen_random_uuid(), '{4711}', '{}')";
    slow.execute(sql, &[]).await.unwrap();
    for _ in 0..3 {
        start(&other).await;
        assert_eq!(node.news().await, 1);
        assert_eq!(node.news().await, 0, "each change is read once");
    }
    slow.batch_execute("commit").await.unwrap();
    assert_eq!(node.news().await, 1, "and one that was committed late is not missed");
    assert_eq!(node.news().await, 0);
    report.batch_execute("rollback").await.unwrap();
    assert_eq!(node.news().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_found_by_the_index() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    open(cluster, &database, None).await;
    let asked = NEWS.replace("$1", "'10:20:10,12'").replace("$2", &format!("'{}'", Uuid::nil()));
    let plan = cluster.ask(&database, &format!("set enable_seqscan = off; explain (costs off) {asked}"));
    let conditions = plan.lines().filter(|line| line.contains("Index Cond: (") && line.contains("xid"));
    assert_eq!((conditions.count(), plan.contains("Seq Scan")), (2, false), "{plan}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_hold_every_connection_do_not_make_a_node_deaf() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let (busy, other) = (open(cluster, &database, Some("busy")).await, open(cluster, &database, None).await);
    let told = Arc::new(Told::default());
    busy.changes(Arc::clone(&told) as Arc<dyn ChangeSink>);
    within(Duration::from_secs(5), "it leads", || busy.leads()).await;
    let held = [connection(&busy.pool).await.unwrap(), connection(&busy.pool).await.unwrap()];
    let id = start(&other).await;
    within(Duration::from_secs(3), "it hears the other", || told.of(id).is_some()).await;
    assert!(busy.leads());
    let (ours, theirs) = (SystemClock.now(), busy.clock().await.unwrap().unwrap());
    assert!((theirs.0 - ours.0).abs() < 60_000, "{theirs:?} on the same machine as {ours:?}");
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_does_not_answer_is_given_up_and_told_of() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let other = open(cluster, &database, None).await;
    let mut node = node(cluster, &database).await;
    node.task.patience = Duration::from_millis(200);
    let (lock, _lock) = DatabaseAddress::new(&cluster.address(&database)).unwrap().client().await.unwrap();
    lock.batch_execute("begin; lock table change").await.unwrap();
    let Node { task, told, .. } = node;
    let (shared, stop) = (Arc::clone(&task.shared), CancellationToken::new());
    let running = tokio::spawn(task.run(stop.clone()));
    within(Duration::from_secs(3), "it says so", || shared.error().is_some()).await;
    assert!(!shared.leads());
    lock.batch_execute("rollback").await.unwrap();
    let id = start(&other).await;
    within(Duration::from_secs(5), "it hears again", || told.of(id).is_some()).await;
    within(Duration::from_secs(5), "and leads", || shared.leads() && shared.error().is_none()).await;
    stop.cancel();
    running.await.unwrap();
}

#[test]
fn a_node_that_has_not_read_for_seconds_is_deaf_whatever_else_it_says() {
    let (shared, now) = (NodeView::default(), Instant::now());
    assert_eq!(shared.error_at(now + Duration::from_secs(3600)), None, "a guest does not listen");
    shared.set_heard(now);
    assert_eq!(shared.error_at(now + Duration::from_secs(4)), None);
    let told = shared.error_at(now + Duration::from_secs(7));
    assert_eq!(told.as_deref(), Some("what other servers changed could not be read for 7 seconds"));
}

/// A read takes a moment, in which this node goes on writing.
#[test]
fn counters_that_were_read_do_not_overtake_those_that_were_written() {
    let (shared, mut counts) = (NodeView::default(), Counts::default());
    counts.shift(None, Some(Status::Running));
    let before = shared.written();
    shared.publish(Vec::new(), Vec::new(), counts);
    shared.hear(before, Vec::new(), Vec::new(), Counts::default());
    assert_eq!(shared.counts(), counts);
    shared.hear(shared.written(), Vec::new(), Vec::new(), Counts::default());
    assert_eq!(shared.counts(), Counts::default(), "nothing was written meanwhile");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_may_not_lead_leaves_it_to_another_and_can_have_it_back() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let (wrong, right) =
        (open(cluster, &database, Some("a")).await, open(cluster, &database, Some("b")).await);
    within(Duration::from_secs(5), "somebody leads", || wrong.leads() || right.leads()).await;
    let (wrong, right) = if wrong.leads() { (wrong, right) } else { (right, wrong) };
    wrong.may_lead(false);
    assert!(!wrong.leads(), "at once");
    within(Duration::from_secs(5), "the other leads", || right.leads()).await;
    right.close().await;
    assert!(!wrong.leads());
    wrong.may_lead(true);
    within(Duration::from_secs(5), "it leads again", || wrong.leads()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_changes_are_cleared_away_and_new_ones_stay() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let other = open(cluster, &database, None).await;
    start(&other).await;
    cluster.ask(&database, "update change set at = now() - interval '1 day'");
    start(&other).await;
    // As in a dump of another server, whose numbers were higher.
    let restored = "insert into change (xid, at, node, jobs, removed) \
                    select '900000000000'::xid8, now() - interval '1 hour', node, jobs, removed from change limit 1";
    cluster.ask(&database, restored);
    let node = node(cluster, &database).await;
    clear_away(&node.client).await.unwrap();
    assert_eq!(cluster.ask(&database, "select count(*) from change"), "1");
}
