//! Export and import: out of any store, into any other, and nothing lost on the way.

use super::super::archive::{Exporter, ImportError, Importer, Moved};
use super::*;

async fn exported(store: &Arc<dyn JobStore>) -> String {
    let (mut exporter, mut text) = (Exporter::new(Arc::clone(store), false), String::new());
    while let Some(piece) = exporter.next().await.unwrap() {
        text.push_str(&piece);
    }
    text
}

async fn import(store: &Arc<dyn JobStore>, text: &str) -> Result<Moved, ImportError> {
    let mut importer = Importer::new(Arc::clone(store));
    for line in text.lines() {
        importer.line(line).await?;
    }
    importer.finish().await
}

async fn no_problems(store: &Arc<dyn JobStore>) {
    let report = store.check(Box::new(|_, _| true)).await.unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
}

/// One of each: every status, steps and numbers on the way, late writes, texts that want escaping.
async fn fill(store: &Arc<dyn JobStore>) {
    let steps = || {
        vec![
            StepSpec::new("load").weight(0.1).title("Load"),
            StepSpec::new("q").steps([StepSpec::new("a").weight(0.2), StepSpec::new("b")]),
        ]
    };
    let moved = |value| ReportItem::Progress { step: Some("q/b".to_owned()), value };
    for number in 1..=6 {
        let mut new = job(number, if number % 2 == 0 { "import" } else { "déjà </script>" });
        new.spec.tags = vec![Tag::new("llm").unwrap()];
        new.spec.input = Some(serde_json::json!({"b": 0.1 + 0.2, "a": [null, u64::MAX, "\u{1b}[2J"]}));
        new.spec.execution = Execution::InProcess;
        let id = store.create(new, CreateRules::default(), at(number as i64)).await.unwrap().job.id;
        let items =
            vec![ReportItem::Steps(steps()), moved(1.0 / 3.0), said(Level::Warning, "careful\r\n\u{2028}💥")];
        store.transact(id, report(items), at(10)).await.unwrap();
        // Less than a second later: in the job, and not yet in its log.
        store.transact(id, report(vec![moved(0.7)]), at(11)).await.unwrap();
    }
    let id = |number: u128| JobId(Uuid::from_u128(number << 64));
    let output = Some(serde_json::json!({"z": 1, "a": 1e-7}));
    store.transact(id(1), Command::Complete { epoch: None, output }, at(20)).await.unwrap();
    store.transact(id(2), fail("no disk left"), at(21)).await.unwrap();
    store.transact(id(3), force_fail(), at(22)).await.unwrap();
    let _ = store.transact(id(3), COMPLETE, at(23)).await;
    let abort = || Command::Abort { reason: Reason::new("enough").unwrap() };
    store.transact(id(4), abort(), at(24)).await.unwrap();
    store
        .transact(
            id(4),
            Command::AcknowledgeAbort { epoch: Some(1), how: Stopped::default() },
            at(86_400_025),
        )
        .await
        .unwrap();
    store.transact(id(5), abort(), at(26)).await.unwrap();
    let again = Command::Retry { reason: Reason::new("again").unwrap() };
    store.transact(id(2), again, at(27)).await.unwrap();
    let mut waiting = job(7, "import");
    (waiting.enqueue, waiting.run_at) = (true, Some(Timestamp(1_000_000)));
    store.create(waiting, CreateRules::default(), at(30)).await.unwrap();
    let many = start(&**store, 8, "import", 31).await.id;
    let lines = (0..2_500).map(|line| said(Level::Info, &format!("line {line}"))).collect();
    store.transact(many, report(lines), at(32)).await.unwrap();
}

pub(super) async fn what_is_exported_and_imported_is_the_same_to_the_byte<S: Engine>(f: Fixture<S>) {
    let Fixture { store, folder } = f;
    let store: Arc<dyn JobStore> = store;
    fill(&store).await;
    no_problems(&store).await;
    let text = exported(&store).await;
    assert_eq!(text.lines().last(), Some(format!("{{\"end\":{}}}", moved_of(&text)).as_str()));
    assert_eq!(exported(&store).await, text, "an export changes nothing");

    let elsewhere = folder.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let others: [Arc<dyn JobStore>; 4] = [
        Arc::new(MemoryStore::make(&elsewhere).await),
        Arc::new(SqliteStore::make(&elsewhere).await),
        Arc::new(PostgresStore::make(&elsewhere).await),
        Arc::new(S::make(&tempfile::tempdir_in(folder.path()).unwrap().keep()).await),
    ];
    for other in others {
        let moved = import(&other, &text).await.unwrap();
        assert_eq!(moved.jobs, 8);
        assert_eq!(exported(&other).await, text);
        no_problems(&other).await;
        assert_eq!(other.counts(), store.counts());
        assert_eq!(other.features(9).await.unwrap(), store.features(9).await.unwrap());
        assert_eq!(other.ended_on(1).await.unwrap(), store.ended_on(1).await.unwrap());
        for job in store.jobs_by_id(None, 100).await.unwrap() {
            assert_eq!(other.get(job.id).await.unwrap().as_ref(), Some(&job));
        }
        // And lives on: what was open can be finished, by whoever has its epoch.
        let id = JobId(Uuid::from_u128(6 << 64));
        let ended = other.transact(id, Command::Complete { epoch: Some(1), output: None }, at(99)).await;
        assert_eq!(ended.unwrap().status, Status::Completed);
        no_problems(&other).await;
    }
}

/// A log that is full leaves lines out while it is read; what is exported is one moment of it, or nothing.
pub(super) async fn a_full_log_that_goes_on_is_exported_as_it_was_at_one_moment<S: Engine>(f: Fixture<S>) {
    let Fixture { store, folder } = f;
    let id = start_short(&*store, 2_000).await;
    say(&*store, id, 1..=4_000).await;
    let mut sent = 4_000;
    for (busy, jobs) in [(1..2, 1), (1..100, 0)] {
        let whole: Arc<dyn JobStore> = Arc::clone(&store) as Arc<dyn JobStore>;
        let (mut exporter, mut text, mut pieces) =
            (Exporter::new(Arc::clone(&whole), false), String::new(), 0);
        while let Some(piece) = exporter.next().await.unwrap() {
            text.push_str(&piece);
            if busy.contains(&pieces) {
                say(&*store, id, sent + 1..=sent + 300).await;
                sent += 300;
            }
            pieces += 1;
        }
        assert!(text.contains("{\"gone\":"), "it was begun again");
        let elsewhere = tempfile::tempdir_in(folder.path()).unwrap().keep();
        let other: Arc<dyn JobStore> = Arc::new(S::make(&elsewhere).await);
        assert_eq!(import(&other, &text).await.unwrap().jobs, jobs);
        if jobs == 1 {
            assert_eq!(other.get(id).await.unwrap(), store.get(id).await.unwrap());
            assert_eq!(exported(&other).await, exported(&whole).await);
        }
        no_problems(&other).await;
    }
}

async fn say(store: &impl JobStore, id: JobId, numbers: std::ops::RangeInclusive<u64>) {
    store.transact(id, lines(Level::Info, numbers), at(1)).await.unwrap();
}

fn moved_of(text: &str) -> String {
    let of = |what: &str| text.lines().filter(|line| line.starts_with(what)).count();
    format!("{{\"jobs\":{},\"events\":{}}}", of("{\"job\""), of("{\"event\""))
}

pub(super) async fn an_import_is_all_or_nothing_and_overwrites_nothing<S: Engine>(f: Fixture<S>) {
    let Fixture { store, folder } = f;
    let store: Arc<dyn JobStore> = store;
    fill(&store).await;
    let text = exported(&store).await;
    let again = import(&store, &text).await;
    assert!(matches!(
        again,
        Err(ImportError::Store { error: StoreError::Refused(Refusal::Exists { .. }), .. })
    ));
    assert_eq!(exported(&store).await, text, "nothing was overwritten");

    let tampered = text.replacen("careful", "carefree", 1).replacen("\"warning\":1", "\"warning\":2", 1);
    // A chain of steps, each within the one before.
    let chain = (0..17).map(|place| match place {
        0 => r#"{"id":"0","weight":1.0,"progress":0.0}"#.to_owned(),
        _ => format!(r#"{{"id":"{place}","weight":1.0,"progress":0.0,"parent":{}}}"#, place - 1),
    });
    let step = text.find("\"steps\":[{\"id\":\"").map(|from| {
        let name = text[from + 16..].find('"').expect("an id ends") + 16;
        &text[from..from + name + 2]
    });
    let step = step.expect("a job has steps");
    let tail = &text[text.find(step).expect("just found")..];
    let all = &tail[..tail.find("]}").expect("steps end")];
    let deep = text.replacen(all, &format!("\"steps\":[{}", chain.collect::<Vec<_>>().join(",")), 1);
    for (bad, why) in [
        ("", "cut off"),
        (text.split_inclusive('\n').next().unwrap(), "cut off"),
        (&*text.replacen("longhaul-jobs", "something-else", 1), "this program reads"),
        (&*text.replacen("\"version\":1", "\"version\":2", 1), "this program reads"),
        (&*tampered, "not what its log says"),
        (&*text.replace("\"import\"", "\" \""), "none can have"),
        (&*text.replacen("line 77\"", "\"", 1), "must not be empty"),
        (&*text.replacen("\"jobs\":8", "\"jobs\":9", 1), "there should be 9 jobs"),
        (&*text.replacen("{\"event\":", "{\"even\":", 1), "no line of an export"),
        (&*deep, "nested 16 deep at most"),
        (&*text.replacen(step, "\"steps\":[{\"id\":\"a/b\",", 1), "must not contain `/`"),
    ] {
        let other: Arc<dyn JobStore> =
            Arc::new(S::make(&tempfile::tempdir_in(folder.path()).unwrap().keep()).await);
        let refused = import(&other, bad).await.unwrap_err().to_string();
        assert!(refused.contains(why), "{refused}");
        no_problems(&other).await;
    }
}

pub(super) async fn jobs_are_visited_in_the_order_of_their_ids<S: Engine>(f: Fixture<S>) {
    for number in [5, 1, 9, 3] {
        start(&*f.store, number, "import", 0).await;
    }
    f.store.transact(JobId(Uuid::from_u128(9 << 64)), COMPLETE, at(1)).await.unwrap();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = f.store.jobs_by_id(after, 3).await.unwrap();
        seen.extend(page.iter().map(|job| job.id.0.as_u128() >> 64));
        after = page.last().map(|job| job.id);
        if page.is_empty() {
            break;
        }
    }
    assert_eq!(seen, [1, 3, 5, 9]);
}
