//! What is counted and kept of what has ended, and what goes.

use super::*;

pub(super) async fn what_is_believed_of_the_clock_is_kept<S: Engine>(f: Fixture<S>) {
    assert_eq!((f.store.clock_mark().await, f.store.newest_moment().await), (Ok(None), Ok(None)));
    start(&*f.store, 1, "import", 5).await;
    f.store.transact(start(&*f.store, 2, "import", 6).await.id, COMPLETE, at(20)).await.unwrap();
    start(&*f.store, 3, "import", 7).await;
    assert_eq!(f.store.newest_moment().await, Ok(Some(Timestamp(20))));
    for (believed, doubted) in [(20, false), (20, true)] {
        f.store.mark_clock(ClockMark { believed: Timestamp(believed), doubted }).await.unwrap();
    }
    start(&*f.store, 4, "import", 30).await;
    let f = f.reopen().await;
    let mark = ClockMark { believed: Timestamp(20), doubted: true };
    assert_eq!(f.store.clock_mark().await, Ok(Some(mark)));
    assert_eq!(f.store.newest_moment().await, Ok(Some(Timestamp(30))));
}

pub(super) async fn counters_are_exact<S: Engine>(f: Fixture<S>) {
    for number in 1..=6 {
        start(&*f.store, number, if number % 2 == 0 { "even" } else { "odd" }, 0).await;
    }
    let id = |number: u128| JobId(Uuid::from_u128(number << 64));
    f.store.transact(id(1), COMPLETE, at(86_400_000)).await.unwrap();
    f.store.transact(id(2), fail("x"), at(86_400_001)).await.unwrap();
    f.store.transact(id(3), force_fail(), at(1)).await.unwrap();
    let _ = f.store.transact(id(3), COMPLETE, at(2)).await;
    let f = f.reopen().await;
    let counts = f.store.counts();
    assert_eq!((counts.active(), counts.past()), (3, 3));
    assert_eq!(counts.outcomes(), OutcomeCounts { completed: 1, failed: 2, aborted: 0 });
    assert_eq!(f.store.ended_on(1).await.unwrap(), OutcomeCounts { completed: 1, failed: 1, aborted: 0 });
    assert_eq!(f.store.ended_on(0).await.unwrap(), OutcomeCounts { completed: 0, failed: 1, aborted: 0 });
    let features = f.store.features(10).await.unwrap();
    assert_eq!(features.len(), 2);
    assert_eq!(features[0].feature, "even");
    assert_eq!(features[0].counts.of(Status::Failed), 1);
    assert_eq!(features[1].counts.active(), 1);
    let report = f.store.check(Box::new(|_, _| true)).await.unwrap();
    assert_eq!((report.jobs, report.problems), (6, Vec::<String>::new()));
}

pub(super) async fn old_history_goes_oldest_first<S: Engine>(f: Fixture<S>) {
    for number in 1..=10 {
        let id = start(&*f.store, number, "import", 0).await.id;
        if number < 10 {
            f.store.transact(id, COMPLETE, at(number as i64 * 10)).await.unwrap();
        }
    }
    let pruned = |jobs, more| Ok(Pruned { jobs, more });
    assert_eq!(f.store.prune(100, Some(Timestamp(25)), 500).await, pruned(2, false));
    assert_eq!(f.store.prune(4, None, 2).await, pruned(2, true), "in batches");
    assert_eq!(f.store.prune(4, None, 500).await, pruned(1, false));
    assert_eq!(f.store.prune(4, None, 500).await, pruned(0, false));
    let f = f.reopen().await;
    assert_eq!(ids(&*f.store, JobFilter::default()).await, [10, 9, 8, 7, 6]);
    assert_eq!(f.store.counts().of(Status::Completed), 4);
    let report = f.store.check(Box::new(|_, _| true)).await.unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
}

pub(super) async fn what_is_pinned_outlives_every_limit<S: Engine>(f: Fixture<S>) {
    for number in 1..=10 {
        let id = start(&*f.store, number, "import", 0).await.id;
        f.store.transact(id, COMPLETE, at(number as i64 * 10)).await.unwrap();
    }
    let id = |number: u128| JobId(Uuid::from_u128(number << 64));
    for number in [2, 5] {
        assert!(f.store.transact(id(number), Command::Pin, at(200)).await.unwrap().pinned);
    }
    let again = f.store.transact(id(2), Command::Pin, at(201)).await;
    assert_eq!(again, Err(StoreError::Refused(Refusal::Unchanged { already: "pinned" })));
    let open = start(&*f.store, 11, "import", 0).await.id;
    assert!(f.store.transact(open, Command::Pin, at(201)).await.is_err(), "what has not ended is no history");
    let f = f.reopen().await;
    // Beside those that are pinned, so many are kept.
    assert_eq!(f.store.prune(3, None, 500).await.unwrap().jobs, 5);
    assert_eq!(ids(&*f.store, JobFilter::default()).await, [11, 10, 9, 8, 5, 2]);
    assert_eq!(f.store.prune(0, Some(Timestamp(1_000)), 500).await.unwrap().jobs, 3);
    f.store.transact(id(2), Command::Unpin, at(300)).await.unwrap();
    assert_eq!(f.store.prune(9, Some(Timestamp(1_000)), 500).await.unwrap().jobs, 1);
    assert_eq!(ids(&*f.store, JobFilter::default()).await, [11, 5]);
    assert_eq!(
        log(&*f.store, id(5), LogFilter::default()).await.len(),
        3,
        "the log is kept, and who pinned it"
    );
    let report = f.store.check(Box::new(|_, _| true)).await.unwrap();
    assert_eq!((report.jobs, report.problems), (2, Vec::new()));
}
