//! What several who write at once must not do to each other.

use super::super::history;
use super::super::writer::Session;
use super::*;

/// Jobs that have ended, by number.
async fn past(store: &PostgresStore, numbers: impl Iterator<Item = u128>) {
    for number in numbers {
        let id = start(store, number).await;
        store.transact(id, COMPLETE, context()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_prune_at_once_keep_what_must_be_kept() {
    const KEEP: u64 = 10;
    let cluster = Cluster::shared();
    let database = cluster.database();
    let (a, b) = (open(cluster, &database, "a").await, open(cluster, &database, "b").await);
    past(&a, 1..=10).await;
    for round in 0..30_u128 {
        past(&a, (round * 4 + 11)..=(round * 4 + 14)).await;
        let (by_a, by_b) = tokio::join!(a.prune(KEEP, None, 4), b.prune(KEEP, None, 4));
        assert_eq!(by_a.unwrap().jobs + by_b.unwrap().jobs, 4, "round {round}");
        assert_eq!(cluster.ask(&database, "select count(*) from job"), KEEP.to_string());
    }
    let report = b.check(Box::new(|_, _| true)).await.unwrap();
    assert_eq!((report.jobs, report.problems), (KEEP, Vec::new()));
}

/// One whose caller goes away in the midst of it leaves nothing half done for the next one to commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prune_that_is_broken_off_leaves_nothing_behind() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let store = open(cluster, &database, "a").await;
    past(&store, 1..=70).await;
    assert_eq!(store.prune(70, None, 1).await.unwrap().jobs, 0);
    for steps in 1..=60 {
        let (mut pruned, mut left) = (store.prune(0, None, 1), steps);
        std::future::poll_fn(|context| {
            left -= 1;
            let ended = pruned.as_mut().poll(context).is_ready() || left == 0;
            if ended { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
    past(&store, 101..=102).await;
    assert!(!store.prune(1, None, 500).await.unwrap().more);
    within(Duration::from_secs(2), "one is left", || store.counts().past() == 1).await;
    let report = store.check(Box::new(|_, _| true)).await.unwrap();
    assert_eq!((report.jobs, report.problems), (1, Vec::new()));
}

/// In one batch: what is asked for in the same turn of a single thread is decided in the same transaction.
#[tokio::test]
async fn one_of_two_jobs_of_a_feature_ends_and_the_other_still_counts() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let store = open(cluster, &database, "a").await;
    let rules = CreateRules { one_per_feature: true, ..CreateRules::default() };
    for (feature, first) in [("a", true), ("b", false)] {
        let number = u128::from(first) * 10;
        let mut both = Vec::new();
        for number in [number + 1, number + 2] {
            let made = store.create(job(number, feature), CreateRules::default(), context()).await.unwrap();
            both.push(made.job.id);
        }
        let (ends, stays) = if first { (both[0], both[1]) } else { (both[1], both[0]) };
        let (ended, refused) = tokio::join!(
            store.transact(ends, COMPLETE, context()),
            store.create(job(number + 3, feature), rules.clone(), context())
        );
        ended.unwrap();
        let Err(StoreError::Refused(crate::model::Refusal::Duplicate { id, .. })) = refused else {
            panic!("{feature}: {refused:?}");
        };
        assert_eq!(id, stays);
        let (ended, made) = tokio::join!(
            store.transact(stays, COMPLETE, context()),
            store.create(job(number + 4, feature), rules.clone(), context())
        );
        ended.unwrap();
        made.unwrap();
    }
}

/// Whatever the database's administrator made the default: who has waited for the rules sees what was made
/// meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_where_transactions_see_one_moment_by_default() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let level = "alter database DB set default_transaction_isolation = 'repeatable read'";
    cluster.ask("postgres", &level.replace("DB", &database));
    let (a, b) = (open(cluster, &database, "a").await, open(cluster, &database, "b").await);
    let rules = CreateRules { one_per_feature: true, ..CreateRules::default() };
    for round in 0..40_u128 {
        let feature = format!("feature-{round}");
        let (by_a, by_b) = tokio::join!(
            a.create(job(round * 2 + 1, &feature), rules.clone(), context()),
            b.create(job(round * 2 + 2, &feature), rules.clone(), context())
        );
        let both = [by_a, by_b];
        let refused = |made: &Result<Created, StoreError>| matches!(made, Err(StoreError::Refused(_)));
        assert!(
            both.iter().any(Result::is_ok) && both.iter().any(refused),
            "one of them, in round {round}: {both:?}"
        );
    }
}

/// Each start of a server draws a slot of the counters; what it leaves there must not pile up for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_are_folded_while_others_count_and_stay_true() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    for start_of in 1..=6_u128 {
        let store = open(cluster, &database, "a").await;
        past(&store, [start_of].into_iter()).await;
        store.close().await;
    }
    let (a, b) = (open(cluster, &database, "a").await, open(cluster, &database, "b").await);
    start(&a, 10).await;
    let rows = || cluster.ask(&database, "select count(*), sum(n) from counter");
    assert!(rows().split_once('|').unwrap().0.parse::<u64>().unwrap() > 2, "{}", rows());
    assert_eq!(a.prune(1_000, None, 500).await.unwrap().jobs, 0);
    assert_eq!(rows(), "2|7", "six completed, one runs");

    let place = DatabaseAddress::new(&cluster.address(&database)).unwrap();
    let session = Session::open(&place).await.unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    let writes = async {
        tokio::join!(past(&a, 100..=160), past(&b, 200..=260));
        done.store(true, std::sync::atomic::Ordering::SeqCst);
    };
    let folds = async {
        let mut folded = 0;
        while !done.load(std::sync::atomic::Ordering::SeqCst) {
            history::fold(&session).await.unwrap();
            let sum =
                cluster.ask(&database, "select (select count(*) from job) - (select sum(n) from counter)");
            assert_eq!(sum, "0", "at every moment");
            folded += 1;
        }
        folded
    };
    let ((), folded) = tokio::join!(writes, folds);
    assert!(folded > 3, "only {folded} times meanwhile");
    history::fold(&session).await.unwrap();
    assert_eq!(rows(), "2|129");
    let report = b.check(Box::new(|_, _| true)).await.unwrap();
    assert_eq!((report.jobs, report.problems), (129, Vec::new()));
}
