//! Lists of jobs: page after page while work goes on, by label, and by texts that databases find hard.

use super::super::memory::matches;
use super::*;

/// The number of a job, as [`job`] takes it.
pub(super) fn number(job: &Job) -> u128 {
    job.id.0.as_u128() >> 64
}

/// Reads a list in pages of that size, and does something between them.
pub(super) async fn walk<S: Engine>(
    f: &Fixture<S>,
    filter: JobFilter,
    size: u32,
    mut between: impl AsyncFnMut(usize),
) -> Vec<u128> {
    let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = f.store.list(filter.clone(), after, PageSize::new(Some(size)).unwrap()).await.unwrap();
        found.extend(page.jobs.iter().map(|job| number(job)));
        // As it comes from whoever asks.
        after = page.next.map(|next| next.to_string().parse().unwrap());
        if after.is_none() {
            return found;
        }
        pages += 1;
        between(pages).await;
    }
}

pub(super) async fn a_job_that_ends_between_two_pages_comes_once<S: Engine>(f: Fixture<S>) {
    let id = |number: u128| JobId(Uuid::from_u128(number << 64));
    // None has ended yet.
    for number in 1..=5 {
        start(&*f.store, number, "import", number as i64).await;
    }
    let walked = walk(&f, JobFilter::default(), 2, async |page| {
        if page == 1 {
            f.store.transact(id(5), COMPLETE, at(6)).await.unwrap();
            f.store.transact(id(1), COMPLETE, at(6)).await.unwrap();
            start(&*f.store, 6, "import", 6).await;
        }
    });
    assert_eq!(walked.await, [5, 4, 3, 2, 1]);
    // Some have; what has ended is pinned and let go, what has not goes on.
    let walked = walk(&f, JobFilter::default(), 2, async |page| match page {
        1 => {
            for number in [6, 3] {
                f.store.transact(id(number), COMPLETE, at(7)).await.unwrap();
            }
            f.store.transact(id(1), Command::Pin, at(7)).await.unwrap();
            f.store.transact(id(2), report(vec![said(Level::Info, "on")]), at(7)).await.unwrap();
        }
        2 => drop(f.store.transact(id(2), fail("no"), at(8)).await.unwrap()),
        _ => {}
    });
    assert_eq!(walked.await, [6, 4, 3, 2, 5, 1]);
    // An emergency cleanup, with every filter a list goes through both for.
    for number in 10..310 {
        let mut new = job(number, if number % 2 == 0 { "import" } else { "export" });
        new.spec.title = Some(Title::new(format!("Number {number}")).unwrap());
        new.spec.tags = vec![Tag::new("nightly").unwrap()];
        f.store.create(new, CreateRules::default(), at(number as i64)).await.unwrap();
    }
    let some = |text: &str| Some(text.to_owned());
    let filters = [
        JobFilter { feature: some("import"), ..JobFilter::default() },
        JobFilter { tag: some("nightly"), ..JobFilter::default() },
        JobFilter { text: some("number"), author: some("anna@example.org"), ..JobFilter::default() },
        JobFilter::default(),
    ];
    let wanted = |filter: &JobFilter| -> Vec<u128> {
        let all: Vec<u128> = (10..310).rev().chain([4, 2, 6, 3, 5, 1]).collect();
        let is = |number: &u128| {
            (filter.feature.is_none() || number.is_multiple_of(2) || *number < 10)
                && (filter.tag.is_none() && filter.text.is_none() || *number >= 10)
        };
        all.into_iter().filter(is).collect()
    };
    let mut walks = Vec::new();
    for filter in &filters {
        let page = f.store.list(filter.clone(), None, PageSize::new(Some(70)).unwrap()).await.unwrap();
        walks.push((filter, page.jobs.iter().map(|job| number(job)).collect::<Vec<_>>(), page.next));
    }
    let clean = |number| Command::EmergencyClean { reason: Reason::new(format!("{number}")).unwrap() };
    for number in (10..310).chain([4]) {
        f.store.transact(id(number), clean(number), at(1_000)).await.unwrap();
    }
    for (filter, mut found, mut after) in walks {
        while let Some(cursor) = after {
            let size = PageSize::new(Some(70)).unwrap();
            let page = f.store.list(filter.clone(), Some(cursor), size).await.unwrap();
            found.extend(page.jobs.iter().map(|job| number(job)));
            after = page.next;
        }
        assert_eq!(found, wanted(filter), "{filter:?}");
    }
    // Whoever asks for one sort only gets no other.
    for filter in [
        JobFilter { only_open: true, ..JobFilter::default() },
        JobFilter { status: Some(Status::Running), ..JobFilter::default() },
    ] {
        for number in 400..405 {
            let _ = f.store.create(job(number, "import"), CreateRules::default(), at(number as i64)).await;
        }
        let first = f.store.list(filter.clone(), None, PageSize::new(Some(2)).unwrap()).await.unwrap();
        f.store.transact(first.jobs[0].id, COMPLETE, at(2_000)).await.unwrap();
        let rest = f.store.list(filter, first.next, PageSize::default()).await.unwrap();
        assert!(rest.jobs.iter().all(|job| job.ended_at.is_none() && !first.jobs.contains(job)), "{rest:?}");
    }
}

pub(super) async fn a_list_goes_on_behind_a_job_that_is_gone<S: Engine>(f: Fixture<S>) {
    // All of one moment.
    for number in 1..=9 {
        start(&*f.store, number, "import", 5).await;
    }
    let id = |number: u128| JobId(Uuid::from_u128(number << 64));
    let walked = walk(&f, JobFilter::default(), 3, async |page| {
        if page == 1 {
            f.store.transact(id(7), COMPLETE, at(6)).await.unwrap();
            assert_eq!(f.store.prune(0, None, 9).await.unwrap().jobs, 1);
        }
    });
    assert_eq!(walked.await, [9, 8, 7, 6, 5, 4, 3, 2, 1]);
    for number in [9, 8, 6, 5, 4, 3] {
        f.store.transact(id(number), COMPLETE, at(7)).await.unwrap();
    }
    f.store.transact(id(3), Command::Pin, at(8)).await.unwrap();
    let past = JobFilter { only_past: true, ..JobFilter::default() };
    let walked = walk(&f, past, 2, async |page| {
        if page == 1 {
            assert_eq!(f.store.prune(1, None, 9).await.unwrap().jobs, 4);
        }
    });
    assert_eq!(walked.await, [9, 8, 3], "what is kept of those of one moment");
}

/// Pages are read while others write, as fast as they can.
pub(super) async fn whoever_reads_a_list_while_jobs_start_and_end_gets_each_once<S: Engine>(f: Fixture<S>) {
    for number in 1..=60 {
        start(&*f.store, number, "import", number as i64).await;
        if number % 3 == 0 {
            f.store
                .transact(JobId(Uuid::from_u128(number << 64)), COMPLETE, at(number as i64))
                .await
                .unwrap();
        }
    }
    let ends = async {
        for number in 1..=60 {
            let (id, now) = (JobId(Uuid::from_u128((number * 37 % 61) << 64)), 1_000 + number as i64);
            let _ = f.store.transact(id, COMPLETE, at(now)).await;
            start(&*f.store, 100 + number, "import", now).await;
            tokio::task::yield_now().await;
        }
    };
    let reads = async {
        for _ in 0..8 {
            let mut found = walk(&f, JobFilter::default(), 7, async |_| tokio::task::yield_now().await).await;
            let all = found.len();
            found.sort_unstable();
            found.dedup();
            assert_eq!(found.len(), all, "none comes twice");
            let there = found.iter().filter(|number| **number <= 60).count();
            assert_eq!(there, 60, "and none is left out");
        }
    };
    tokio::join!(ends, reads);
}

pub(super) async fn a_label_finds_its_jobs_whatever_becomes_of_them<S: Engine>(f: Fixture<S>) {
    let some = |text: &str| Some(text.to_owned());
    let filters = || {
        let mut filters = Vec::new();
        for (tag, feature, author, text) in [
            ("a", None, None, None),
            ("b", None, None, None),
            ("nobody's", None, None, None),
            ("a", some("import"), None, None),
            ("a", some("nothing"), None, None),
            ("b", some("export"), some("anna@example.org"), None),
            ("a", None, some("nobody"), None),
            ("a", None, None, some("disk")),
            ("b", some("import"), None, some("DISK")),
        ] {
            let filter = JobFilter { tag: some(tag), feature, author, text, ..JobFilter::default() };
            filters.push(filter.clone());
            filters.push(JobFilter { only_past: true, ..filter.clone() });
            for status in [Status::Completed, Status::Failed, Status::Aborted, Status::Running] {
                filters.push(JobFilter { status: Some(status), ..filter.clone() });
            }
        }
        filters
    };
    let agrees = async |store: &S, when: &str| {
        let size = PageSize::new(Some(200)).unwrap();
        let all = store.list(JobFilter::default(), None, size).await.unwrap().jobs;
        for filter in filters() {
            let expected: Vec<u128> =
                all.iter().filter(|job| matches(job, &filter)).map(|job| number(job)).collect();
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = store.list(filter.clone(), after, PageSize::new(Some(3)).unwrap()).await.unwrap();
                found.extend(page.jobs.iter().map(|job| number(job)));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(found, expected, "{when}: {filter:?}");
        }
        let report = store.check(Box::new(|_, _| true)).await.unwrap();
        assert_eq!(report.problems, Vec::<String>::new(), "{when}");
    };
    let id = |number: u128| JobId(Uuid::from_u128(number << 64));
    for number in 1..=24 {
        let mut new = job(number, if number % 2 == 0 { "import" } else { "export" });
        let tags: &[&str] = [&["a"][..], &["b"], &["a", "b", "a"], &[]][number as usize % 4];
        new.spec.tags = tags.iter().map(|tag| Tag::new(*tag).unwrap()).collect();
        new.spec.execution = Execution::InProcess;
        new.spec.heartbeat_every = Some(5);
        f.store.create(new, CreateRules::default(), at(number as i64)).await.unwrap();
    }
    agrees(&f.store, "none has ended").await;
    for number in 1..=18 {
        let give_up = Command::GiveUp { after: Duration::ZERO };
        let end = [COMPLETE, fail("no disk"), give_up][number as usize % 3].clone();
        f.store.transact(id(number), end, at(60_000 + number as i64 / 4)).await.unwrap();
    }
    let f = f.reopen().await;
    agrees(&f.store, "most have").await;
    for number in [2, 5, 6] {
        // Two that were lost come back, one of them to end at once; one is pinned, one sent to the queue again.
        let _ = f.store.transact(id(number), report(vec![said(Level::Info, "back")]), at(70_000)).await;
    }
    f.store.transact(id(5), COMPLETE, at(70_001)).await.unwrap();
    f.store.transact(id(3), Command::Pin, at(70_002)).await.unwrap();
    let again = Command::Retry { reason: Reason::new("again").unwrap() };
    f.store.transact(id(4), again, at(70_003)).await.unwrap();
    agrees(&f.store, "some came back").await;
    let jobs = f.store.jobs_by_id(None, 100).await.unwrap();
    let mut whole = Vec::new();
    for job in jobs {
        let log = f.store.events(job.id, 0, 100).await.unwrap();
        whole.push(ImportedJob { job, log });
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let other = S::make(elsewhere.path()).await;
    other.import(whole).await.unwrap();
    agrees(&other, "elsewhere").await;
    f.store.prune(6, None, 500).await.unwrap();
    agrees(&f.store, "some are removed").await;
    while f.store.prune(0, None, 500).await.unwrap().more {}
    agrees(&f.store, "only what is pinned is left").await;
}

/// U+0000 ends a text for one database, and cannot be stored in the other, which has a stand-in for it.
pub(super) async fn a_search_takes_every_character_for_itself<S: Engine>(f: Fixture<S>) {
    let texts = [
        "plain 0",
        "a\0b",
        "A\0B",
        "\0front",
        "end\0",
        "x\0\0y",
        "0\0",
        "\u{f8ff}0",
        "\u{f8ff}0x",
        "\u{f8ff}",
        "\u{f8ff}\u{f8ff}0x",
        "\u{f8ff}\0x",
        "\0\u{f8ff}",
        "u\u{1f}v",
        "u",
        "é\0À",
        "50%\0_",
        "1\u{f8ff}1",
    ];
    let wanted = [
        "\0",
        "0",
        "00",
        "a\0",
        "\0b",
        "\0B",
        "b",
        "FRONT",
        "0x",
        "x",
        "\0x",
        "\0\0",
        "0\0",
        "\u{f8ff}",
        "\u{f8ff}0",
        "\u{f8ff}\u{f8ff}",
        "\u{f8ff}0x",
        "\u{f8ff}\0",
        "\0\u{f8ff}",
        "u",
        "v",
        "\u{1f}v",
        "1",
        "À",
        "à",
        "É\0",
        "%\0_",
        "0%",
        "\0_",
        "é\0À",
    ];
    for (number, text) in (1..).zip(texts) {
        let mut new = job(number, text);
        new.spec.author = Author::new(format!("by {text}.")).unwrap();
        new.spec.tags = vec![Tag::new(format!("t{text}.")).unwrap(), Tag::new(text).unwrap()];
        new.spec.title = (number % 3 > 0).then(|| Title::new(format!("Of {text}!")).unwrap());
        let id = f.store.create(new, CreateRules::default(), at(number as i64)).await.unwrap().job.id;
        match number % 4 {
            0 => drop(f.store.transact(id, COMPLETE, at(100)).await.unwrap()),
            1 => drop(f.store.transact(id, fail(&format!("No {text}?")), at(100)).await.unwrap()),
            _ => {}
        }
    }
    let all = f.store.list(JobFilter::default(), None, PageSize::default()).await.unwrap().jobs;
    let some = |text: &str| Some(text.to_owned());
    let filters = wanted.iter().chain(&texts).flat_map(|text| {
        [
            JobFilter { text: some(text), ..JobFilter::default() },
            JobFilter { tag: some(text), ..JobFilter::default() },
            JobFilter { tag: some(&format!("t{text}.")), only_past: true, ..JobFilter::default() },
            JobFilter { feature: some(text), ..JobFilter::default() },
            JobFilter { author: some(&format!("by {text}.")), text: some("o"), ..JobFilter::default() },
        ]
    });
    for filter in filters {
        let expected: Vec<u128> =
            all.iter().filter(|job| matches(job, &filter)).map(|job| number(job)).collect();
        assert_eq!(ids(&*f.store, filter.clone()).await, expected, "{filter:?}");
    }
    let id = start(&*f.store, 99, "log", 0).await.id;
    f.store
        .transact(id, report(vec![ReportItem::Steps(texts.map(StepSpec::new).to_vec())]), at(1))
        .await
        .unwrap();
    let lines = texts.iter().chain(&wanted).map(|text| ReportItem::Message {
        level: Level::Info,
        text: MessageText::new(*text).unwrap(),
        step: texts.contains(text).then(|| (*text).to_owned()),
        key: None,
    });
    f.store.transact(id, report(lines.collect()), at(1)).await.unwrap();
    let all = f.store.log(id, LogQuery { limit: 1_000, ..LogQuery::default() }).await.unwrap().lines;
    let texts = wanted.iter().chain(&texts);
    let filters = texts.flat_map(|text| {
        let kinds = vec![LineKind::Info];
        [
            LogFilter { text: some(text), kinds: kinds.clone(), ..LogFilter::default() },
            LogFilter { step: some(text), kinds, ..LogFilter::default() },
        ]
    });
    for filter in filters {
        let expected: Vec<&str> =
            all.iter().filter(|line| filter.matches(line)).map(|line| line.text.as_str()).collect();
        assert_eq!(log(&*f.store, id, filter.clone()).await, expected, "{filter:?}");
    }
}

pub(super) async fn pages_meet_without_gap_or_repeat<S: Engine>(f: Fixture<S>) {
    for number in 1..=9 {
        start(&*f.store, number, "import", number as i64).await;
    }
    // Three end at the same millisecond, and not in the order they began.
    for (number, ms) in [(8, 20), (2, 20), (5, 20), (1, 30)] {
        f.store.transact(JobId(Uuid::from_u128(number << 64)), COMPLETE, at(ms)).await.unwrap();
    }
    assert_eq!(ids(&*f.store, JobFilter::default()).await, [9, 7, 6, 4, 3, 1, 8, 5, 2]);
    assert_eq!(ids(&*f.store, JobFilter { only_open: true, ..JobFilter::default() }).await, [9, 7, 6, 4, 3]);
    assert_eq!(ids(&*f.store, JobFilter { only_past: true, ..JobFilter::default() }).await, [1, 8, 5, 2]);
}

pub(super) async fn filters_find_what_they_name<S: Engine>(f: Fixture<S>) {
    let mut tagged = job(1, "argument-condensation");
    tagged.spec.tags = vec![Tag::new("llm").unwrap(), Tag::new("50%_off").unwrap()];
    tagged.spec.title = Some(Title::new("Condense: Municipal 100%").unwrap());
    f.store.create(tagged, CreateRules::default(), at(1)).await.unwrap();
    let mut marias = job(2, "import");
    marias.spec.author = Author::new("maria@example.org").unwrap();
    f.store.create(marias, CreateRules::default(), at(2)).await.unwrap();
    start(&*f.store, 3, "import", 3).await;
    f.store.transact(JobId(Uuid::from_u128(3 << 64)), fail("no disk_space left"), at(4)).await.unwrap();
    let some = |text: &str| Some(text.to_owned());
    let all = JobFilter::default();
    for (filter, expected) in [
        (JobFilter { feature: some("import"), ..all.clone() }, vec![2, 3]),
        (JobFilter { feature: some("impor"), ..all.clone() }, vec![]),
        (JobFilter { status: Some(Status::Failed), ..all.clone() }, vec![3]),
        (JobFilter { status: Some(Status::Running), ..all.clone() }, vec![2, 1]),
        (JobFilter { author: some("maria@example.org"), ..all.clone() }, vec![2]),
        (JobFilter { tag: some("llm"), ..all.clone() }, vec![1]),
        (JobFilter { tag: some("l%m"), ..all.clone() }, vec![]),
        (JobFilter { text: some("MUNICIPAL"), ..all.clone() }, vec![1]),
        (JobFilter { text: some("100%"), ..all.clone() }, vec![1]),
        (JobFilter { text: some("%"), ..all.clone() }, vec![1]),
        (JobFilter { text: some("disk_space"), ..all.clone() }, vec![3]),
        (JobFilter { text: some("disk-space"), ..all.clone() }, vec![]),
        (JobFilter { text: some("00000000-0000-0002"), ..all.clone() }, vec![2]),
        (JobFilter { text: some("maria"), feature: some("import"), ..all.clone() }, vec![2]),
    ] {
        assert_eq!(ids(&*f.store, filter.clone()).await, expected, "{filter:?}");
    }
}
