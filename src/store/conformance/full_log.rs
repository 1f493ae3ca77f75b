//! Logs that are full: what they keep, what they say of the rest, and whoever follows them.

use super::*;

/// A job whose log keeps so many of each level from its beginning.
pub(super) async fn start_short(store: &impl JobStore, max_lines: u32) -> JobId {
    let mut new = job(1, "import");
    new.spec.max_lines = max_lines;
    store.create(new, CreateRules::default(), at(0)).await.unwrap().job.id
}

pub(super) fn lines(level: Level, numbers: std::ops::RangeInclusive<u64>) -> Command {
    report(numbers.map(|number| said(level, &format!("line {number}"))).collect())
}

pub(super) async fn a_full_log_keeps_its_beginning_and_its_end_and_says_what_it_left_out<S: Engine>(
    f: Fixture<S>,
) {
    let id = start_short(&*f.store, 5).await;
    let no_problems = async |store: &S| {
        let report = store.check(Box::new(|_, _| true)).await.unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
    };
    f.store.transact(id, lines(Level::Info, 1..=500), at(1)).await.unwrap();
    f.store.transact(id, report(vec![said(Level::Error, "still heard")]), at(2)).await.unwrap();
    for number in 501..=1_300 {
        f.store.transact(id, lines(Level::Info, number..=number), at(3)).await.unwrap();
    }
    no_problems(&f.store).await;
    let f = f.reopen().await;
    // One command, of which the log keeps a part alone.
    let job = f.store.transact(id, lines(Level::Info, 1_301..=4_000), at(4)).await.unwrap();
    f.store.transact(id, lines(Level::Warning, 1..=2_500), at(5)).await.unwrap();
    assert_eq!((job.counts.info, job.dropped.info, job.counts.error), (1_100, 2_900, 1));
    assert_eq!(job.last_message.as_ref().unwrap().text, "line 4000", "people see that it goes on");
    no_problems(&f.store).await;
    let f = f.reopen().await;
    let job = f.store.get(id).await.unwrap().unwrap();
    assert_eq!(
        (job.counts.info + job.dropped.info, job.counts.warning + job.dropped.warning),
        (4_000, 2_500)
    );
    let kind = |kind| LogFilter { kinds: vec![kind], ..LogFilter::default() };
    let query = LogQuery { filter: kind(LineKind::Info), limit: 5_000, count: true, ..LogQuery::default() };
    let page = f.store.log(id, query).await.unwrap();
    let expected: Vec<String> =
        (1..=5).chain(4_001 - 1_095..=4_000).map(|number| format!("line {number}")).collect();
    assert_eq!(
        page.lines.iter().map(|line| &line.text).collect::<Vec<_>>(),
        expected.iter().collect::<Vec<_>>()
    );
    assert_eq!(page.total, Some(1_100));
    let said = log(&*f.store, id, kind(LineKind::System)).await;
    assert_eq!(said.len(), 3, "{said:?}");
    assert_eq!(
        said[1],
        "2900 infos were left out here. The log is full: it has those before, and the newest"
    );
    assert!(
        said[2]
            .ends_with(" warnings were left out here. The log is full: it has those before, and the newest")
    );
    let found = LogFilter { text: Some("line 2000".to_owned()), ..LogFilter::default() };
    assert_eq!(log(&*f.store, id, found).await, ["line 2000"], "of the warnings alone");
    assert_eq!(log(&*f.store, id, kind(LineKind::Error)).await, ["still heard"]);
    f.store.transact(id, COMPLETE, at(6)).await.unwrap();
    let ended = f.store.get(id).await.unwrap().unwrap();
    assert_eq!((ended.dropped, &ended.last_message), (job.dropped, &job.last_message));
    no_problems(&f.store).await;
    // Exported and imported it is the same, and removed it is gone.
    let log = f.store.events(id, 0, 10_000).await.unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let other = S::make(elsewhere.path()).await;
    other.import(vec![ImportedJob { job: Arc::clone(&ended), log: log.clone() }]).await.unwrap();
    assert_eq!(other.get(id).await.unwrap(), Some(ended));
    assert_eq!(other.events(id, 0, 10_000).await.unwrap(), log);
    no_problems(&other).await;
    while f.store.prune(0, None, 500).await.unwrap().more {}
    no_problems(&f.store).await;
}

pub(super) async fn whoever_follows_a_full_log_meets_the_gap_and_the_newest_lines<S: Engine>(f: Fixture<S>) {
    let id = start_short(&*f.store, 10).await;
    let (mut seen, mut after, mut sent) = (Vec::new(), 0, 0);
    for pages in 0..40 {
        let burst = 37 + pages * 13 % 700;
        f.store.transact(id, lines(Level::Error, sent + 1..=sent + burst), at(pages as i64)).await.unwrap();
        f.store.transact(id, report(vec![said(Level::Info, "between")]), at(pages as i64)).await.unwrap();
        sent += burst;
        // A page that falls behind now and then.
        if pages % 5 == 3 {
            continue;
        }
        loop {
            let query = LogQuery { from: LogFrom::After(after), limit: 300, ..LogQuery::default() };
            let page = f.store.log(id, query).await.unwrap();
            after = page.lines.last().map_or(after, |line| line.seq);
            seen.extend(page.lines);
            if !page.more {
                break;
            }
        }
        assert_eq!(
            seen.iter().rfind(|line| line.kind == LineKind::Error).unwrap().text,
            format!("line {sent}")
        );
    }
    assert!(seen.is_sorted_by_key(|line| line.seq));
    let mut expected = 1;
    for line in &seen {
        if line.text.contains("were left out here") {
            expected = 0;
        } else if let Some(number) =
            line.text.strip_prefix("line ").and_then(|number| number.parse::<u64>().ok())
        {
            assert!(
                expected == 0 || number == expected,
                "{number} instead of {expected}, and nothing says so"
            );
            expected = number + 1;
        }
    }
    assert_eq!(expected, sent + 1);
    // Whoever begins anew reads it backwards to the same end.
    let query = LogQuery { limit: 50, ..LogQuery::default() };
    let mut page = f.store.log(id, query.clone()).await.unwrap();
    let mut all = page.lines.clone();
    while page.more {
        let from = LogFrom::Before(page.lines[0].seq);
        page = f.store.log(id, LogQuery { from, ..query.clone() }).await.unwrap();
        all.splice(0..0, page.lines.clone());
    }
    let job = f.store.get(id).await.unwrap().unwrap();
    assert_eq!(all.len() as u64, job.counts.total());
    assert_eq!(job.counts.error + job.dropped.error, sent);
    let report = f.store.check(Box::new(|_, _| true)).await.unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
}
