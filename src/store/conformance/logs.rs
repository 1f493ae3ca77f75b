//! A job's log: its pages, its filters, its bounds.

use super::*;

/// A control character is six bytes of JSON.
pub(super) async fn a_page_of_a_log_is_bounded_as_it_is_sent<S: Engine>(f: Fixture<S>) {
    let id = start(&*f.store, 1, "import", 1).await.id;
    let levels = [Level::Warning, Level::Error, Level::Info];
    for (number, level) in (0..60).zip(levels.into_iter().cycle()) {
        let text = format!("{number}{}", "\u{1}".repeat(60_000));
        f.store.transact(id, report(vec![said(level, &text)]), at(2)).await.unwrap();
    }
    let bounded = |lines: &[LogLine]| {
        let sent: usize = lines.iter().map(|line| sent_bytes(&line.text)).sum();
        assert!(sent < LOG_PAGE_BYTES + 400_000, "{sent} bytes");
    };
    let graves = vec![LineKind::Warning, LineKind::Error];
    for (kinds, expected) in [(vec![], 60), (graves, 40), (vec![LineKind::Error], 20)] {
        let filter = LogFilter { kinds, ..LogFilter::default() };
        let page = async |from| {
            let query = LogQuery { filter: filter.clone(), from, limit: 1_000, count: true };
            let page = f.store.log(id, query).await.unwrap();
            bounded(&page.lines);
            page
        };
        let (mut forwards, mut from) = (Vec::new(), 0);
        loop {
            let page = page(LogFrom::After(from)).await;
            forwards.extend(page.lines.iter().map(|line| line.seq));
            from = *forwards.last().unwrap();
            if !page.more {
                break;
            }
        }
        let (mut backwards, mut from) = (Vec::new(), LogFrom::End);
        loop {
            let page = page(from).await;
            backwards.extend(page.lines.iter().rev().map(|line| line.seq));
            from = LogFrom::Before(*backwards.last().unwrap());
            if !page.more {
                break;
            }
        }
        backwards.reverse();
        assert_eq!(forwards, backwards);
        let texts = forwards.len() - usize::from(expected == 60);
        assert_eq!(texts, expected, "and the entry that says it was started");
    }
    let job = f.store.get(id).await.unwrap().unwrap();
    let mut newest = f.store.newest_messages(&[Arc::clone(&job)], 1_000).await.unwrap();
    fit_messages(&[job], &mut newest);
    bounded(&newest[0].concat());
    assert!(newest[0][2].len() > 15 && newest[0][0].is_empty(), "errors come first");
}

pub(super) async fn a_log_is_filtered_searched_and_paged<S: Engine>(f: Fixture<S>) {
    let id = start(&*f.store, 1, "import", 0).await.id;
    let in_step = |text: &str, step: &str| ReportItem::Message {
        level: Level::Info,
        text: MessageText::new(text).unwrap(),
        step: Some(step.to_owned()),
        key: None,
    };
    let items = vec![
        ReportItem::Steps(vec![
            StepSpec::new("load").steps([StepSpec::new("parse")]),
            StepSpec::new("loader"),
        ]),
        in_step("in load", "load"),
        in_step("in parse", "load/parse"),
        in_step("in loader", "loader"),
        said(Level::Error, "100% wrong"),
        said(Level::Warning, "Careful"),
    ];
    f.store.transact(id, report(items), at(1)).await.unwrap();
    let kinds = |kinds: &[LineKind]| LogFilter { kinds: kinds.to_vec(), ..LogFilter::default() };
    assert_eq!(
        log(&*f.store, id, kinds(&[LineKind::Error, LineKind::Warning])).await,
        ["100% wrong", "Careful"]
    );
    assert_eq!(log(&*f.store, id, kinds(&[LineKind::Info])).await, ["in load", "in parse", "in loader"]);
    let step = LogFilter { step: Some("load".to_owned()), ..LogFilter::default() };
    assert_eq!(log(&*f.store, id, step).await, ["in load", "in parse"]);
    for (text, expected) in [
        ("0%", vec!["100% wrong"]),
        ("CAREFUL", vec!["Careful"]),
        ("_", vec![]),
        ("in l", vec!["in load", "in loader"]),
    ] {
        let filter = LogFilter { text: Some(text.to_owned()), ..LogFilter::default() };
        assert_eq!(log(&*f.store, id, filter).await, expected, "{text}");
    }
    let page = |from| LogQuery { filter: LogFilter::default(), from, limit: 2, count: false };
    let seqs = |page: LogPage| (page.lines.iter().map(|line| line.seq).collect::<Vec<_>>(), page.more);
    assert_eq!(seqs(f.store.log(id, page(LogFrom::End)).await.unwrap()), (vec![6, 7], true));
    assert_eq!(seqs(f.store.log(id, page(LogFrom::Before(6))).await.unwrap()), (vec![4, 5], true));
    assert_eq!(seqs(f.store.log(id, page(LogFrom::Before(3))).await.unwrap()), (vec![1, 2], false));
    assert_eq!(seqs(f.store.log(id, page(LogFrom::After(5))).await.unwrap()), (vec![6, 7], false));
    assert_eq!(seqs(f.store.log(id, page(LogFrom::After(7))).await.unwrap()), (vec![], false));
}

pub(super) async fn logs_match_the_reference<S: Engine>(f: Fixture<S>) {
    let id = start(&*f.store, 1, "import", 0).await.id;
    let words = ["Alpha", "beta 50%", "ALPHA_beta", "déjà VU", "x"];
    let items =
        (0..40).map(|i| said([Level::Info, Level::Warning, Level::Error][i % 3], words[i % 5])).collect();
    f.store.transact(id, report(items), at(1)).await.unwrap();
    f.store.transact(id, force_fail(), at(2)).await.unwrap();
    let all = f.store.log(id, LogQuery { limit: 1_000, ..LogQuery::default() }).await.unwrap().lines;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let any_filter = (
        prop::collection::vec(prop::sample::select(LineKind::SHOWN.to_vec()), 0..3),
        prop::option::of(prop::sample::select(vec!["alpha", "BETA", "%", "_", "à", "", "hung"])),
    );
    for _ in 0..60 {
        let (kinds, text) = any_filter.new_tree(&mut runner).unwrap().current();
        let filter = LogFilter { kinds, text: text.map(str::to_owned), step: None };
        let expected: Vec<String> =
            all.iter().filter(|line| filter.matches(line)).map(|line| line.text.clone()).collect();
        assert_eq!(log(&*f.store, id, filter.clone()).await, expected, "{filter:?}");
    }
}

pub(super) async fn the_newest_messages_of_many_jobs_come_at_once<S: Engine>(f: Fixture<S>) {
    let mut jobs = Vec::new();
    for number in 1..=3 {
        let id = start(&*f.store, number, "import", 0).await.id;
        let levels = [Level::Info, Level::Warning, Level::Error];
        let items = (0..number * 4).map(|line| said(levels[line as usize % 3], &format!("{line}"))).collect();
        jobs.push(f.store.transact(id, report(items), at(1)).await.unwrap());
    }
    let gone = Arc::new(Job { id: JobId(Uuid::from_u128(404)), ..(*jobs[0]).clone() });
    jobs.insert(1, gone);
    let newest = f.store.newest_messages(&jobs, 2).await.unwrap();
    let texts =
        |newest: &Newest| newest.each_ref().map(|lines| lines.iter().map(|line| line.text.clone()).collect());
    let texts: Vec<[Vec<String>; 3]> = newest.iter().map(texts).collect();
    let expected = [
        [vec!["0", "3"], vec!["1"], vec!["2"]],
        [vec![], vec![], vec![]],
        [vec!["3", "6"], vec!["4", "7"], vec!["2", "5"]],
        [vec!["6", "9"], vec!["7", "10"], vec!["8", "11"]],
    ];
    assert_eq!(texts, expected);
    assert!(
        f.store.newest_messages(&jobs, 0).await.unwrap().iter().all(|newest| *newest == Newest::default())
    );
}
