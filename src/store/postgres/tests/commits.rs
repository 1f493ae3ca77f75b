//! What is known of a commit that was not answered with success.

use super::proxy::{Instead, Proxy};
use super::*;

/// How a commit that has happened can be answered: the connection breaks; the server was told to shut down,
/// or to cancel, when it was done; what stands between makes an error up.
const ANSWERS: [Instead; 4] =
    [Instead::Nothing, Instead::Fatal("57P01"), Instead::Error("57014"), Instead::Fatal("08P01")];

fn says(text: &str) -> Command {
    let text = MessageText::new(text.to_owned()).unwrap();
    let said = ReportItem::Message { level: Level::Info, text, step: None, key: None };
    Command::Report(Report { epoch: None, items: vec![said] })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_not_answered_with_success_is_asked_after_and_happens_once() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let proxy = Proxy::new(cluster);
    let store = proxy.open(&database).await;
    let id = start(&store, 1).await;
    for line in 0..20 {
        proxy.arm(ANSWERS[line % ANSWERS.len()]);
        let told = store.transact(id, says(&format!("line {line}")), context()).await;
        assert_eq!(told.unwrap().counts.info, line as u64 + 1, "told that it happened");
        assert!(!proxy.is_armed(), "and was answered otherwise");
    }
    assert_eq!(store.get(id).await.unwrap().unwrap().counts.info, 20, "once each");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_is_one_that_removes_and_one_that_imports() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let proxy = Proxy::new(cluster);
    let store = proxy.open(&database).await;
    let id = start(&store, 1).await;
    let job = store.transact(id, COMPLETE, context()).await.unwrap();
    let imported = ImportedJob { job, log: store.events(id, 0, 100).await.unwrap() };
    assert_eq!(store.prune(1, None, 10).await.unwrap().jobs, 0, "what it does at first is done");
    for answer in ANSWERS {
        proxy.arm(answer);
        assert_eq!(store.prune(0, None, 10).await.unwrap().jobs, 1, "told that it happened");
        assert_eq!(store.counts().past(), 0);
        proxy.arm(answer);
        assert_eq!(store.import(vec![imported.clone()]).await.unwrap(), 1, "told that it happened");
        assert!(!proxy.is_armed(), "and was answered otherwise");
        assert_eq!(store.counts().past(), 1);
    }
    let report = store.check(Box::new(|_, _| true)).await.unwrap();
    assert_eq!((report.jobs, report.problems), (1, Vec::new()));
}

/// After a crash another transaction may have the number of one that was lost. That it was committed must not
/// be taken for the lost one's commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_transaction_is_not_mistaken_for_another_that_got_its_number() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let store = open(cluster, &database, "a").await;
    start(&store, 1).await;
    let (place, lost) =
        (DatabaseAddress::new(&cluster.address(&database)).unwrap(), Lost::newest(cluster, &database));
    let (client, _driver) = place.client().await.unwrap();
    assert_eq!(lost.happened(&client).await, Some(true));
    assert_eq!(
        Lost { job: lost.job + 1, ..lost.clone() }.happened(&client).await,
        Some(false),
        "another job"
    );
    assert_eq!(Lost { node: Uuid::nil(), ..lost.clone() }.happened(&client).await, Some(false), "another's");
    let not_yet = Lost { xid: "4000000000".to_owned(), ..lost.clone() };
    assert_eq!(not_yet.happened(&client).await, Some(false), "the number was not given again yet");

    // Rows are cleared away after a while: nothing can be told from one that is not there.
    let old = Lost { at: lost.at - 400_000, ..lost.clone() };
    assert_eq!(old.happened(&client).await, Some(true), "its row is still there");
    cluster.ask(&database, "delete from change");
    assert_eq!(lost.happened(&client).await, Some(false));
    assert_eq!(old.happened(&client).await, None, "it may have been");

    client.batch_execute("begin").await.unwrap();
    let row = client.query_one("select pg_current_xact_id()::text", &[]).await.unwrap();
    let begun = Lost { xid: row.get(0), ..lost };
    assert_eq!(begun.happened(&client).await, None, "it may still be committed");
    client.batch_execute("rollback").await.unwrap();
    assert_eq!(Lost { at: 0, ..begun }.happened(&client).await, Some(false), "it never will, however old");
}

/// A transaction that is asked after.
#[derive(Clone)]
struct Lost {
    xid: String,
    node: Uuid,
    job: i64,
    at: i64,
}

impl Lost {
    /// The last that was committed.
    fn newest(cluster: &Cluster, database: &str) -> Self {
        let written = cluster.ask(
            database,
            "select xid, node, jobs[1], (extract(epoch from at) * 1000)::bigint from change \
             order by xid desc limit 1",
        );
        let [xid, node, job, at] = written.split('|').collect::<Vec<_>>().try_into().unwrap();
        let (node, job, at) = (node.parse().unwrap(), job.parse().unwrap(), at.parse().unwrap());
        Self { xid: xid.to_owned(), node, job, at }
    }

    async fn happened(&self, client: &tokio_postgres::Client) -> Option<bool> {
        let Self { xid, node, job, at } = self.clone();
        let commit = Doubtful { xid, jobs: vec![job], removed: Vec::new(), at };
        writer::happened(client, node, &commit).await.unwrap()
    }
}

/// A standby may be behind: that it has no trace of a commit means nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_is_not_asked_what_was_committed() {
    let mut cluster = Cluster::start(&["fsync=off"]);
    let database = cluster.database();
    let store = open(&cluster, &database, "a").await;
    start(&store, 1).await;
    store.close().await;
    let lost = Lost::newest(&cluster, &database);
    let address = cluster.address(&database);
    let data = cluster.socket().with_file_name("data");
    // A standby lets readers in once it knows from the log what was running.
    cluster.ask("postgres", "checkpoint");
    cluster.kill();
    std::fs::write(data.join("standby.signal"), "").unwrap();
    cluster.start_again();

    let told = DatabaseAddress::new(&address).unwrap().client().await.err().unwrap().to_string();
    assert!(told.contains("does not allow writes"), "{told}");
    let anyone = DatabaseAddress::new(&format!("{address}?target_session_attrs=any")).unwrap();
    let (client, _driver) = anyone.client().await.unwrap();
    assert_eq!(lost.happened(&client).await, None);
    assert_eq!(Lost { job: lost.job + 1, ..lost.clone() }.happened(&client).await, None);
    cluster.ask("postgres", "select pg_promote()");
    assert_eq!(lost.happened(&client).await, Some(true), "now it is the one to ask");
}

/// Once nothing comes any more, time is the runtime's: it passes at once.
#[tokio::test]
async fn a_database_that_stands_still_is_an_error_and_does_not_keep_the_server_from_stopping() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let proxy = Proxy::new(cluster);

    let store = proxy.open(&database).await;
    let id = start(&store, 1).await;
    proxy.arm(Instead::Silence);
    let silence = async {
        within(Duration::from_secs(5), "it committed", || proxy.is_still()).await;
        tokio::time::pause();
    };
    let (told, ()) = tokio::join!(store.transact(id, says("hello"), context()), silence);
    let told = told.err().unwrap().to_string();
    assert!(told.contains("has not answered") && told.contains("is not known"), "{told}");
    assert_eq!(store.last_failure().unwrap(), told);

    let closing = async {
        let begun = tokio::time::Instant::now();
        store.close().await;
        begun.elapsed()
    };
    let (told, took) = tokio::join!(store.transact(id, COMPLETE, context()), closing);
    assert!(matches!(told, Err(StoreError::Unavailable(_))), "{told:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert_eq!(cluster.ask(&database, "select infos from job"), "1", "it was kept, in truth");

    tokio::time::resume();
    proxy.stand_still(false);
    let store = proxy.open(&database).await;
    start(&store, 2).await;
    proxy.stand_still(true);
    tokio::time::pause();
    let told = store.transact(id, COMPLETE, context()).await.err().unwrap().to_string();
    assert!(told.contains("has not answered") && !told.contains("is not known"), "{told}");
    let read = store.get(id).await.err().unwrap().to_string();
    assert!(read.contains("has not answered"), "{read}");

    // What is still silent is not used again.
    tokio::time::resume();
    proxy.stand_still(false);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(store.get(id).await.unwrap().unwrap().counts.info, 1);
    assert_eq!(store.transact(id, COMPLETE, context()).await.unwrap().status, Status::Completed);
}
