//! What a database that several servers share promises beyond the conformance suite.

mod commits;
mod proxy;
mod several;

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::connect::DatabaseAddress;
use super::writer::Doubtful;
use super::*;
use crate::engine::Board;
use crate::model::{
    Actor, Author, Feature, Level, LineKind, LogFilter, MessageText, Reason, Refusal, Report, ReportItem,
    Spec, Status, StepSpec, Tag,
};
use crate::store::{AccountStore as _, Changes, IdempotencyKey, LogFrom};

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
struct SeenJobs(Mutex<HashMap<JobId, (u64, Status)>>);

impl ChangeSink for SeenJobs {
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
        let known = Arc::new(SeenJobs::default());
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
    let known = Arc::new(SeenJobs::default());
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
    within(Duration::from_secs(5), "it is over", || a.last_failure().is_none() && b.last_failure().is_none())
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
async fn labels_of_jobs_that_are_there_are_listed_by_the_upgrade_and_looked_at_by_the_check() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let store = open(cluster, &database, "a").await;
    for number in 1..=4 {
        let mut new = job(number, "import");
        new.spec.tags.push(Tag::new(format!("of \0{number}")).unwrap());
        store.create(new, CreateRules::default(), context()).await.unwrap();
    }
    for number in 1..=3 {
        store.transact(JobId(Uuid::from_u128(number << 64)), COMPLETE, context()).await.unwrap();
    }
    let listed = "select tag, status, ended_at, id, job, feature from job_tag order by tag, id";
    let before = cluster.ask(&database, listed);
    store.close().await;
    // As it was before.
    cluster.ask(&database, "drop table job_tag; delete from refinery_schema_history where version = 4");
    let store = open(cluster, &database, "a").await;
    assert_eq!(cluster.ask(&database, listed), before);
    let problems = async || store.check(Box::new(|_, _| true)).await.unwrap().problems;
    assert_eq!(problems().await, Vec::<String>::new());
    cluster.ask(&database, "delete from job_tag where job = (select min(n) from job where ended_at is not null) and tag = 'nightly'");
    assert_eq!(problems().await, ["1 labels are not listed as the jobs that have ended have them"]);
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
        let names =
            [(None, None), (Some("import"), None), (None, Some("anna")), (Some("import"), Some("anna"))];
        for ((feature, author), tag) in
            names.into_iter().flat_map(|names| [(names, None), (names, Some("nightly"))])
        {
            let filter = JobFilter {
                status,
                feature: feature.map(str::to_owned),
                author: author.map(str::to_owned),
                tag: tag.map(str::to_owned),
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
    for table in ["job", "job_tag", "event", "step", "idempotency", "change"] {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_the_database_refuses_fails_its_own_request_alone() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let store = open(cluster, &database, "a").await;
    let job = start(&store, 1).await;
    let refuses = "create function refuses() returns trigger language plpgsql as $$ begin \
         if new.text like '%poison%' then raise exception 'no such thing' using errcode = '22P05'; end if; \
         return new; end $$; \
         create trigger refuses before insert on event for each row execute function refuses()";
    cluster.ask(&database, refuses);
    let says = |text: String| {
        let item = ReportItem::Message {
            level: Level::Info,
            text: MessageText::new(text).unwrap(),
            step: None,
            key: None,
        };
        store.transact(job, Command::Report(Report { epoch: None, items: vec![item] }), context())
    };
    let texts = (0..60).map(|n| if n % 20 == 7 { "poison".to_owned() } else { format!("line {n}") });
    let told = futures::future::join_all(texts.map(says)).await;
    for (n, told) in told.iter().enumerate() {
        match told {
            Ok(_) => assert_ne!(n % 20, 7),
            Err(error) => {
                assert!(matches!(error, StoreError::Refused(Refusal::Invalid(_))), "{n}: {error}");
                assert_eq!(n % 20, 7, "{error}");
            }
        }
    }
    assert_eq!(store.last_failure(), None, "nothing is wrong with the store");
    let report = store.check(Box::new(|_, _| true)).await.unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreadable_job_hides_no_other_and_is_named_by_check() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let store = open(cluster, &database, "a").await;
    let mut made = Vec::new();
    for number in 1..=4 {
        made.push(start(&store, number).await);
    }
    let spoil = |id: JobId, to: &str| {
        cluster.ask(&database, &format!("update job set {to} where id = '{id}'"));
    };
    spoil(made[1], "more = '{'");
    spoil(made[2], "status = 99");
    spoil(made[3], "more = '{\"unrecorded\":[9]}'");
    let page = store.list(JobFilter::default(), None, PageSize::default()).await.unwrap();
    let listed: Vec<JobId> = page.jobs.iter().map(|job| job.id).collect();
    assert!(listed.contains(&made[0]) && !listed.contains(&made[1]) && !listed.contains(&made[2]));
    for id in &made[1..] {
        assert!(matches!(store.transact(*id, COMPLETE, context()).await, Err(StoreError::Corrupt(_))));
    }
    store.transact(made[0], COMPLETE, context()).await.unwrap();
    let report = store.check(Box::new(|_, _| true)).await.unwrap();
    for id in &made[1..] {
        assert!(report.problems.iter().any(|problem| problem.contains(&id.to_string())), "{report:?}");
    }
    // Nor does it keep a server from starting.
    let other = open(cluster, &database, "b").await;
    assert!(Board::over(&(other as Arc<dyn JobStore>), 50, "build".to_owned(), Timestamp(0)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_database_lacks_is_said_in_a_sentence_at_the_start() {
    let cluster = Cluster::shared();
    let open_as = async |database: &str, user: &str| {
        let address = cluster.address(database).replace("longhaul@", &format!("{user}@"));
        let opened = PostgresStore::open(PostgresSettings { address, connections: 2, node: None }).await;
        opened.map_err(|error| error.to_string())
    };
    cluster.ask(
        "postgres",
        "create database latin encoding 'LATIN1' template template0 lc_collate 'C' lc_ctype 'C'",
    );
    let said = open_as("latin", "longhaul").await.err().unwrap();
    assert!(said.contains("encoding is LATIN1") && said.contains("encoding 'UTF8'"), "{said}");

    cluster.ask("postgres", "create role guest login");
    let database = cluster.database();
    let said = open_as(&database, "guest").await.err().unwrap();
    assert!(
        said.contains("permission denied") && said.contains("grant create on schema public to guest"),
        "{said}"
    );
    // A role that may not make tables works with those that are there.
    open_as(&database, "longhaul").await.unwrap().close().await;
    let grant = "grant select, insert, update, delete on all tables in schema public to guest; \
                 grant usage on all sequences in schema public to guest";
    cluster.ask(&database, grant);
    let store = open_as(&database, "guest").await.unwrap();
    start(&store, 1).await;
    store.close().await;
}

/// Somebody else's lock makes a search take for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_search_is_given_up_in_time_and_with_its_client_and_keeps_nobody_else_out() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let store = open(cluster, &database, "a").await;
    let job = start(&store, 1).await;
    let place = DatabaseAddress::new(&cluster.address(&database)).unwrap();
    let (holder, _driver) = place.client().await.unwrap();
    holder.batch_execute("begin; lock table event in access exclusive mode").await.unwrap();
    let filter = LogFilter { text: Some("word".to_owned()), ..LogFilter::default() };
    let search = || {
        let (store, query) =
            (Arc::clone(&store), LogQuery { filter: filter.clone(), limit: 9, ..LogQuery::default() });
        async move { store.log(job, query).await }
    };
    let going_on = || {
        let count = format!(
            "select count(*) from pg_stat_activity where datname = '{database}' and query like '%ilike%' \
             and state = 'active' and pid <> pg_backend_pid()"
        );
        cluster.ask("postgres", &count).trim().parse::<u32>().unwrap()
    };
    // The client leaves.
    assert!(tokio::time::timeout(Duration::from_millis(500), search()).await.is_err());
    within(Duration::from_secs(3), "the database has given it up", || going_on() == 0).await;

    // Eight at once: the first are given up in time, the others are told to come again; accounts are free.
    let begun = Instant::now();
    let searches: Vec<_> = (0..8).map(|_| tokio::spawn(search())).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let asked = Instant::now();
    assert!(store.accounts().users().await.unwrap().is_empty());
    store.ended_on(0).await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert!(going_on() <= 2);
    let mut told = std::collections::BTreeMap::new();
    for search in searches {
        match search.await.unwrap() {
            Err(StoreError::Refused(refusal)) => *told.entry(refusal.code()).or_insert(0) += 1,
            other => panic!("{other:?}"),
        }
    }
    let took = begun.elapsed();
    assert_eq!((told["search_too_long"], told["too_many_searches"]), (2, 6));
    assert!((Duration::from_secs(10)..Duration::from_secs(13)).contains(&took), "{took:?}");
    within(Duration::from_secs(3), "the database has given them up", || going_on() == 0).await;
}

/// There may be ten thousand steps, and a report touches few.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_that_nobody_else_has_changed_are_not_read_again() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let (here, there) = (open(cluster, &database, "here").await, open(cluster, &database, "there").await);
    let id = start(&here, 1).await;
    let report = |item| Command::Report(Report { epoch: None, items: vec![item] });
    let moved = |step: &str, value| report(ReportItem::Progress { step: Some(step.to_owned()), value });
    let steps = vec![StepSpec::new("a"), StepSpec::new("b"), StepSpec::new("c")];
    here.transact(id, report(ReportItem::Steps(steps)), context()).await.unwrap();
    // What is read would show it.
    let place = DatabaseAddress::new(&cluster.address(&database)).unwrap();
    let (client, _driver) = place.client().await.unwrap();
    client.execute("update step set title = 'read' where id = 'c'", &[]).await.unwrap();
    let job = here.transact(id, moved("a", 0.5), context()).await.unwrap();
    assert_eq!((job.steps.steps()[2].label(), job.progress), ("c", 0.5 / 3.0));
    // Another node has not seen it before, and this one not what the other did.
    let job = there.transact(id, moved("b", 0.5), context()).await.unwrap();
    assert_eq!((job.steps.steps()[2].label(), job.steps.steps()[0].progress), ("read", 0.5));
    let job = here.transact(id, moved("a", 0.6), context()).await.unwrap();
    assert_eq!((job.steps.steps()[2].label(), job.steps.steps()[1].progress), ("read", 0.5));
    let stored = here.get(id).await.unwrap().unwrap();
    assert_eq!(stored.steps, job.steps);
}
