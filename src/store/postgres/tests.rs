//! What a database that several servers share promises beyond the conformance suite.

mod commits;
mod proxy;
mod several;

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::connect::Place;
use super::writer::Doubtful;
use super::*;
use crate::model::{
    Actor, Author, Feature, Level, LineKind, LogFilter, MessageText, Reason, Report, ReportItem, Spec,
    Status, StepSpec, Tag,
};
use crate::store::{Changes, IdempotencyKey, LogFrom};

async fn open(cluster: &Cluster, database: &str, node: &str) -> Arc<PostgresStore> {
    let settings =
        PostgresSettings { address: cluster.address(database), connections: 2, node: Some(node.to_owned()) };
    Arc::new(PostgresStore::open(settings).await.unwrap())
}

fn context() -> Context {
    Context { actor: Actor::user("anna"), at: Timestamp(5) }
}

fn job(number: u128, feature: &str) -> NewJob {
    let spec = Spec {
        tags: vec![Tag::new("nightly").unwrap()],
        ..Spec::new(Feature::new(feature).unwrap(), Author::new("anna").unwrap(), "user:anna")
    };
    NewJob { id: JobId(Uuid::from_u128(number << 64)), spec, enqueue: false, run_at: None }
}

async fn start(store: &PostgresStore, number: u128) -> JobId {
    let rules = CreateRules { max_active: Some(1_000), ..CreateRules::default() };
    store.create(job(number, "import"), rules, context()).await.unwrap().job.id
}

const COMPLETE: Command = Command::Complete { epoch: None, output: None };

/// What a node has heard of each job.
#[derive(Default)]
struct Known(Mutex<HashMap<JobId, (u64, Status)>>);

impl ChangeSink for Known {
    fn publish(&self, changes: &Changes) {
        let mut known = self.0.lock().unwrap();
        for job in &changes.jobs {
            let before = known.insert(job.id, (job.revision, job.status));
            assert!(
                before.is_none_or(|(revision, _)| revision < job.revision),
                "no news is older than the last"
            );
        }
        for id in &changes.removed {
            known.remove(id);
        }
    }
}

/// Waits for something that must come within a time.
pub(super) async fn within(limit: Duration, what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_hears_of_every_job_within_a_second() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        let store = open(cluster, &database, name).await;
        let known = Arc::new(Known::default());
        store.changes(Arc::clone(&known) as Arc<dyn ChangeSink>);
        nodes.push((store, known));
    }
    within(Duration::from_secs(5), "three nodes know of each other", || {
        nodes.iter().all(|(store, _)| store.nodes().len() == 3)
    })
    .await;
    for number in 0..60 {
        let (here, next) = (&nodes[number % 3].0, &nodes[(number + 1) % 3].0);
        let id = start(here, number as u128 + 1).await;
        let everywhere = |status: Status| {
            nodes
                .iter()
                .all(|(_, known)| known.0.lock().unwrap().get(&id).is_some_and(|(_, is)| *is == status))
        };
        within(Duration::from_secs(1), "it began", || everywhere(Status::Running)).await;
        // Whoever asks another node, and does not wait for word of it, gets the same answer.
        assert_eq!(next.get(id).await.unwrap().unwrap().status, Status::Running);
        next.transact(id, COMPLETE, context()).await.unwrap();
        within(Duration::from_secs(1), "it ended", || everywhere(Status::Completed)).await;
    }
    assert!(nodes.iter().all(|(store, _)| (store.counts().active(), store.counts().past()) == (0, 60)));
    let pruned = nodes[0].0.prune(10, None, 500).await.unwrap();
    assert_eq!(pruned.jobs, 50);
    within(Duration::from_secs(1), "removals are heard of", || {
        nodes.iter().all(|(store, known)| store.counts().past() == 10 && known.0.lock().unwrap().len() == 10)
    })
    .await;
    let report = nodes[1].0.check(Box::new(|_, _| true)).await.unwrap();
    assert_eq!((report.jobs, report.problems), (10, Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_leads_and_another_takes_over() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(open(cluster, &database, name).await);
    }
    let leaders = |nodes: &[Arc<PostgresStore>]| nodes.iter().filter(|store| store.leads()).count();
    within(Duration::from_secs(5), "somebody leads", || leaders(&nodes) == 1).await;
    while nodes.len() > 1 {
        let place = nodes.iter().position(|store| store.leads()).unwrap();
        nodes.remove(place).close().await;
        within(Duration::from_secs(5), "somebody else leads", || leaders(&nodes) == 1).await;
    }
    within(Duration::from_secs(5), "who left is not missed", || nodes[0].nodes().len() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_connections_are_cut_goes_on_and_catches_up() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let (a, b) = (open(cluster, &database, "a").await, open(cluster, &database, "b").await);
    let known = Arc::new(Known::default());
    b.changes(Arc::clone(&known) as Arc<dyn ChangeSink>);
    for round in 0..5_u128 {
        let open = start(&b, round * 10 + 1).await;
        cluster.ask(
            "postgres",
            &format!(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = '{database}'"
            ),
        );
        let meanwhile = start(&a, round * 10 + 2).await;
        b.transact(open, COMPLETE, context()).await.unwrap();
        within(Duration::from_secs(5), "what happened meanwhile is known", || {
            known.0.lock().unwrap().contains_key(&meanwhile)
        })
        .await;
        assert_eq!(a.get(open).await.unwrap().unwrap().status, Status::Completed);
    }
    within(Duration::from_secs(5), "it is over", || a.write_error().is_none() && b.write_error().is_none())
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_a_newer_version_or_of_somebody_else_is_left_alone() {
    let cluster = Cluster::shared();
    let (newer, other) = (cluster.database(), cluster.database());
    let open = |database: &str| {
        PostgresStore::open(PostgresSettings {
            address: cluster.address(database),
            connections: 2,
            node: None,
        })
    };
    open(&newer).await.unwrap().close().await;
    cluster.ask(
        &newer,
        "insert into refinery_schema_history (version, name, applied_on, checksum) \
         values (99, 'from_the_future', '2030-01-01T00:00:00Z', '1')",
    );
    cluster.ask(&other, "create table job (title text)");
    for (database, why) in [(&newer, "newer version"), (&other, "another program's tables")] {
        let tables = "select string_agg(relname || relpages, ' ' order by relname) from pg_class \
                      where relnamespace = 'public'::regnamespace";
        let before = cluster.ask(database, tables);
        let refused = open(database).await.err().unwrap().to_string();
        assert!(refused.contains(why), "{refused}");
        assert_eq!(cluster.ask(database, tables), before, "nothing was touched");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_start_together_make_one_schema() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let opened = futures::future::join_all(["a", "b", "c"].map(|node| open(cluster, &database, node))).await;
    start(&opened[2], 1).await;
    within(Duration::from_secs(1), "all count it", || {
        opened.iter().all(|store| store.counts().active() == 1)
    })
    .await;
}

/// Every hot query finds what it wants by an index: the server explains each statement it is sent, with
/// reading a table from end to end as a last resort only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hot_queries_go_by_an_index() {
    let cluster = Cluster::start(&[
        "fsync=off",
        "session_preload_libraries=auto_explain",
        "auto_explain.log_min_duration=0",
        "enable_seqscan=off",
    ]);
    let database = cluster.database();
    let store = open(&cluster, &database, "a").await;
    let key = Some(IdempotencyKey { key: "k".to_owned(), fingerprint: "f".to_owned() });
    let rules = CreateRules {
        max_active: Some(50),
        one_per_feature: true,
        idempotency: key,
        ..CreateRules::default()
    };
    let id = store.create(job(1, "import"), rules, context()).await.unwrap().job.id;
    let items = vec![
        ReportItem::Steps(vec![StepSpec::new("a"), StepSpec::new("b")]),
        ReportItem::Progress { step: Some("a".to_owned()), value: 0.5 },
        ReportItem::Message {
            level: Level::Error,
            text: MessageText::new("bad").unwrap(),
            step: None,
            key: None,
        },
    ];
    store.transact(id, Command::Report(Report { epoch: None, items }), context()).await.unwrap();
    let past = start(&store, 2).await;
    store.transact(past, COMPLETE, context()).await.unwrap();
    let statuses = Status::ALL.into_iter().map(Some).chain([None]);
    for status in statuses {
        for (feature, author) in
            [(None, None), (Some("import"), None), (None, Some("anna")), (Some("import"), Some("anna"))]
        {
            let filter = JobFilter {
                status,
                feature: feature.map(str::to_owned),
                author: author.map(str::to_owned),
                ..JobFilter::default()
            };
            let size = PageSize::new(Some(1)).unwrap();
            let page = store.list(filter.clone(), None, size).await.unwrap();
            if page.next.is_some() {
                store.list(filter, page.next, size).await.unwrap();
            }
        }
    }
    let kinds =
        [vec![], vec![LineKind::Info], vec![LineKind::Error], vec![LineKind::Warning, LineKind::Error]];
    for kinds in kinds {
        for from in [LogFrom::End, LogFrom::After(1), LogFrom::Before(9)] {
            let filter = LogFilter { kinds: kinds.clone(), ..LogFilter::default() };
            store.log(id, LogQuery { filter, from, limit: 10, count: true }).await.unwrap();
        }
    }
    store.events(id, 0, 10).await.unwrap();
    let active = store.active().await.unwrap();
    store.newest_messages(&active, 3).await.unwrap();
    store.jobs_by_id(Some(id), 10).await.unwrap();
    store.get(id).await.unwrap();
    store.prune(0, None, 10).await.unwrap();
    let abort = Command::Abort { reason: Reason::new("enough").unwrap() };
    store.transact(id, abort, context()).await.unwrap();
    store.close().await;
    let log = cluster.log();
    for table in ["job", "event", "step", "idempotency", "change"] {
        assert!(log.contains(&format!(" on {table}")), "statements on {table} were explained");
        let scan = format!("Seq Scan on {table} ");
        let found =
            log.find(&scan).map(|place| &log[place.saturating_sub(1_500)..(place + 300).min(log.len())]);
        assert_eq!(found, None, "{table} is read from end to end");
    }
    // The control: what no index helps is seen in the same way.
    cluster.ask(&database, "select count(*) from job where title = 'none'");
    assert!(cluster.log().contains("Seq Scan on job "));
}
