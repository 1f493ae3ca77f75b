//! Jobs and what is done to them: decided once, kept whole, told in order.

use super::*;

pub(super) async fn a_job_is_read_back_as_it_was_written<S: Engine>(f: Fixture<S>) {
    let mut new = job(1, "argument-condensation");
    new.spec.title = Some(Title::new("Condense").unwrap());
    new.spec.tags = vec![Tag::new("llm").unwrap()];
    new.spec.input = Some(serde_json::json!({"election": "muni-2027", "n": 18_446_744_073_709_551_615_u64}));
    new.spec.timeouts = Timeouts { run: None, activity: Some(Duration::from_secs(7)) };
    let made = f.store.create(new, CreateRules::default(), at(5)).await.unwrap().job;
    let steps =
        vec![StepSpec::new("load").weight(0.5).title("Load"), StepSpec::new("q").steps([StepSpec::new("a")])];
    let moved = report(vec![
        ReportItem::Steps(steps),
        ReportItem::Progress { step: Some("load".to_owned()), value: 1.0 },
        ReportItem::Progress { step: Some("q/a".to_owned()), value: 0.25 },
        said(Level::Warning, "careful"),
    ]);
    let written = f.store.transact(made.id, moved, at(9)).await.unwrap();
    assert_eq!(f.store.get(made.id).await.unwrap(), Some(Arc::clone(&written)));
    let f = f.reopen().await;
    assert_eq!(f.store.get(made.id).await.unwrap().as_deref(), Some(&*written));
    let abort = Command::Abort { reason: Reason::new("enough").unwrap() };
    f.store.transact(made.id, abort, at(10)).await.unwrap();
    let output = Some(serde_json::json!([1, null, "x"]));
    let ended =
        f.store.transact(made.id, Command::Complete { epoch: Some(1), output }, at(11)).await.unwrap();
    assert_eq!(f.store.get(made.id).await.unwrap().as_deref(), Some(&*ended));
    let f = f.reopen().await;
    assert_eq!(f.store.get(made.id).await.unwrap().as_deref(), Some(&*ended));
}

pub(super) async fn a_refused_command_changes_nothing<S: Engine>(f: Fixture<S>) {
    let made = start(&*f.store, 1, "import", 0).await;
    let before = f.store.get(made.id).await.unwrap();
    for command in [
        report(vec![ReportItem::Progress { step: None, value: f64::NAN }]),
        report(vec![
            said(Level::Info, "one"),
            ReportItem::Progress { step: Some("nope".to_owned()), value: 0.5 },
        ]),
        Command::Complete { epoch: Some(2), output: None },
        Command::AcknowledgeAbort { epoch: None, how: Stopped::default() },
        Command::Claim,
    ] {
        let refused = f.store.transact(made.id, command.clone(), at(1)).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{command:?}");
    }
    let f = f.reopen().await;
    assert_eq!(f.store.get(made.id).await.unwrap(), before);
    assert_eq!(log(&*f.store, made.id, LogFilter::default()).await, ["Started by anna"]);
}

pub(super) async fn an_unknown_job_is_refused_by_name<S: Engine>(f: Fixture<S>) {
    let id = JobId(Uuid::from_u128(404));
    let not_found = StoreError::Refused(Refusal::NotFound { id });
    assert_eq!(f.store.transact(id, COMPLETE, at(0)).await, Err(not_found.clone()));
    assert_eq!(f.store.get(id).await, Ok(None));
    assert_eq!(f.store.log(id, LogQuery::default()).await, Err(not_found));
}

pub(super) async fn a_run_that_was_given_up_and_comes_back_had_not_ended<S: Engine>(f: Fixture<S>) {
    let vouched = |number: u128| {
        let mut new = job(number, "import");
        new.spec.heartbeat_every = Some(5);
        new.spec.grace = Some(60);
        new.spec.warn_after = Timeouts::REQUIRED;
        new.spec.began_at = Some(Timestamp(2_000));
        new
    };
    let made = f.store.create(vouched(1), CreateRules::default(), at(9_000)).await.unwrap().job;
    let (id, hour) = (made.id, 3_600_000);
    let said = |text: &str, key| ReportItem::Message {
        level: Level::Info,
        text: MessageText::new(text).unwrap(),
        step: None,
        key: Some(key),
    };
    let guess = || {
        vec![
            ReportItem::At(Timestamp(3_000)),
            said("one", 1),
            ReportItem::From(ProgressSource::Guessed),
            ReportItem::Progress { step: None, value: 0.4 },
        ]
    };
    let report = |items| Command::Report(Report { epoch: Some(1), items });
    f.store.transact(id, report(guess()), at(9_500)).await.unwrap();
    let give_up = Command::GiveUp { after: Duration::from_secs(900) };
    let lost = f.store.transact(id, give_up, at(hour)).await.unwrap();
    assert_eq!((lost.status, lost.cause(), lost.epoch), (Status::Failed, Some(Cause::Lost), 2));
    assert_eq!(f.store.ended_on(0).await.unwrap().failed, 1);
    let f = f.reopen().await;
    assert_eq!(f.store.get(id).await.unwrap().unwrap(), lost, "every field of it is kept");
    f.store.transact(id, report(guess()), at(hour + 1)).await.unwrap();
    let f = f.reopen().await;
    let back = f.store.get(id).await.unwrap().unwrap();
    assert_eq!((back.status, back.epoch, back.ended_at, back.cause()), (Status::Running, 1, None, None));
    assert_eq!((back.progress_source, back.spec.began_at), (ProgressSource::Guessed, Some(Timestamp(2_000))));
    assert_eq!(*back.spec, *made.spec);
    assert_eq!((f.store.counts().active(), f.store.counts().past()), (1, 0));
    assert_eq!(f.store.ended_on(0).await.unwrap(), OutcomeCounts::default());
    assert_eq!(f.store.active().await.unwrap().len(), 1);
    let log = log(&*f.store, id, LogFilter::default()).await;
    assert_eq!(log.iter().filter(|line| *line == "one").count(), 1, "{log:?}");
    // Lost and back again, with its last word alone.
    f.store.transact(id, Command::GiveUp { after: Duration::ZERO }, at(2 * hour)).await.unwrap();
    let end = Command::Complete { epoch: Some(1), output: None };
    f.store.transact(id, end, at(3 * hour)).await.unwrap();
    assert_eq!(f.store.ended_on(0).await.unwrap(), OutcomeCounts { completed: 1, failed: 0, aborted: 0 });
    let f = f.reopen().await;
    let report = f.store.check(Box::new(|_, _| true)).await.unwrap();
    assert_eq!((report.jobs, report.problems), (1, Vec::<String>::new()));
}

pub(super) async fn late_writes_are_counted_on_an_ended_job<S: Engine>(f: Fixture<S>) {
    let id = start(&*f.store, 1, "import", 0).await.id;
    f.store.transact(id, force_fail(), at(1)).await.unwrap();
    let late = async |f: &Fixture<S>, command: Command, ms: i64| {
        let late = f.store.transact(id, command, at(ms)).await;
        assert!(matches!(late, Err(StoreError::Refused(Refusal::Fenced { given: 1, current: 2, .. }))));
    };
    for ms in [5, 6] {
        late(&f, Command::Report(Report { epoch: Some(1), items: Vec::new() }), ms).await;
    }
    let f = f.reopen().await;
    let job = f.store.get(id).await.unwrap().unwrap();
    assert_eq!((job.late_writes, job.late_write_at, job.status), (2, Some(Timestamp(6)), Status::Failed));
    late(&f, Command::Complete { epoch: Some(1), output: None }, 7).await;
    let f = f.reopen().await;
    let job = f.store.get(id).await.unwrap().unwrap();
    assert_eq!((job.late_writes, job.late_write_at), (3, None), "its process says that it is done");
}

pub(super) async fn changes_are_published_in_order_before_the_answer<S: Engine>(f: Fixture<S>) {
    let heard = Arc::new(Heard::default());
    f.store.changes(Arc::clone(&heard) as Arc<dyn ChangeSink>);
    let id = start(&*f.store, 1, "import", 0).await.id;
    assert_eq!(heard.0.lock().unwrap().len(), 1);
    f.store.transact(id, report(vec![said(Level::Info, "a")]), at(1)).await.unwrap();
    let _ = f.store.transact(id, Command::Claim, at(1)).await;
    f.store.transact(id, COMPLETE, at(2)).await.unwrap();
    let heard = heard.0.lock().unwrap();
    let revisions: Vec<u64> = heard.iter().map(|changes| changes.jobs[0].revision).collect();
    assert_eq!(revisions, [1, 2, 3], "a refusal is no change");
    assert_eq!(heard[2].counts.past(), 1);
}

pub(super) async fn racing_finishers_leave_one_terminal_status<S: Engine>(f: Fixture<S>) {
    let store = f.store;
    for number in 0..40 {
        let id = start(&*store, number, "import", 0).await.id;
        let finishers = [COMPLETE, fail("x"), force_fail(), Command::Sweep];
        let racing: Vec<_> = finishers
            .into_iter()
            .map(|command| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.transact(id, command, at(3_600_000)).await.is_ok() })
            })
            .collect();
        let mut winners = 0;
        for racer in racing {
            winners += u32::from(racer.await.unwrap());
        }
        assert_eq!(winners, 1);
        let ends = store.events(id, 0, 100).await.unwrap();
        let ends = ends.iter().filter(|event| {
            matches!(
                event.kind,
                crate::model::EventKind::Completed { .. } | crate::model::EventKind::Failed { .. }
            )
        });
        assert_eq!(ends.count(), 1);
    }
    assert_eq!(store.counts().past(), 40);
}

pub(super) async fn concurrent_writers_lose_nothing<S: Engine>(f: Fixture<S>) {
    let store = f.store;
    let id = start(&*store, 1, "import", 0).await.id;
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for line in 0..50 {
                    let item = said(Level::Info, &format!("{writer}:{line}"));
                    store.transact(id, report(vec![item]), at(line)).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let lines = log(&*store, id, LogFilter { kinds: vec![LineKind::Info], ..LogFilter::default() }).await;
    assert_eq!(lines.len(), 400);
    for writer in 0..8 {
        let own: Vec<_> = lines.iter().filter(|line| line.starts_with(&format!("{writer}:"))).collect();
        let sent: Vec<_> = (0..50).map(|line| format!("{writer}:{line}")).collect();
        assert!(own.into_iter().eq(sent.iter()), "each writer's lines are in its order");
    }
}

pub(super) async fn more_time_is_kept<S: Engine>(f: Fixture<S>) {
    let id = start(&*f.store, 1, "import", 0).await.id;
    let more = |seconds: u64| {
        let reason = Some(Reason::new("the disk is slow").unwrap());
        Command::MoreTime { span: Some(Duration::from_secs(seconds)), reason }
    };
    f.store.transact(id, more(3_600), at(700_000)).await.unwrap();
    let f = f.reopen().await;
    let given = Some(MoreTime { at: Timestamp(700_000), until: Some(Timestamp(4_300_000)) });
    assert_eq!(f.store.get(id).await.unwrap().unwrap().more_time, given);
    let less = f.store.transact(id, more(10), at(700_001)).await;
    assert!(matches!(less, Err(StoreError::Refused(Refusal::Unchanged { .. }))), "{less:?}");
    assert_eq!(
        f.store.transact(id, Command::Sweep, at(4_300_000)).await,
        Err(StoreError::Refused(Refusal::NotStale))
    );
    f.store.transact(id, Command::Sweep, at(4_300_001)).await.unwrap();
    let f = f.reopen().await;
    let job = f.store.get(id).await.unwrap().unwrap();
    assert_eq!((job.status, job.cause(), job.more_time), (Status::Failed, Some(Cause::Timeout), given));
    let lines = log(&*f.store, id, LogFilter::default()).await;
    assert!(lines[1].contains("no limit ends it for 60 minutes. the disk is slow"), "{lines:?}");
    let report = f.store.check(Box::new(|_, _| true)).await.unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
}

pub(super) async fn a_restart_keeps_everything<S: Engine>(f: Fixture<S>) {
    let running = start(&*f.store, 1, "import", 0).await.id;
    f.store.transact(running, report(vec![said(Level::Error, "kept")]), at(1)).await.unwrap();
    let f = f.reopen().await;
    assert_eq!(f.store.active().await.unwrap().len(), 1);
    assert_eq!(f.store.counts().active(), 1);
    // And goes on where it was.
    f.store.transact(running, report(vec![said(Level::Info, "more")]), at(2)).await.unwrap();
    assert_eq!(log(&*f.store, running, LogFilter::default()).await, ["Started by anna", "kept", "more"]);
}

pub(super) async fn replaying_the_log_gives_the_stored_job<S: Engine>(f: Fixture<S>) {
    let id = start(&*f.store, 1, "import", 0).await.id;
    f.store
        .transact(id, report(vec![ReportItem::Steps(vec![StepSpec::new("a"), StepSpec::new("b")])]), at(1))
        .await
        .unwrap();
    for ms in 2..40 {
        let value = ms as f64 / 40.0;
        let items =
            vec![ReportItem::Progress { step: Some("a".to_owned()), value }, said(Level::Info, "tick")];
        f.store.transact(id, report(items), at(ms)).await.unwrap();
    }
    let ended = f.store.transact(id, fail("bad"), at(50)).await.unwrap();
    let f = f.reopen().await;
    let events = f.store.events(id, 0, 1_000).await.unwrap();
    let replayed = Job::replay(id, &events).unwrap();
    assert_eq!(replayed.steps, ended.steps);
    assert_eq!(
        (replayed.status, replayed.progress, replayed.counts),
        (ended.status, ended.progress, ended.counts)
    );
    assert_eq!(ended.status.outcome(), Some(Outcome::Failed));
}

pub(super) async fn a_closed_store_refuses_and_says_why<S: Engine>(f: Fixture<S>) {
    f.store.close().await;
    let refused = f.store.create(job(1, "import"), CreateRules::default(), at(0)).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(reason)) if reason.contains("stopping")));
}

pub(super) async fn hostile_text_is_kept_to_the_byte<S: Engine>(f: Fixture<S>) {
    let id = start(&*f.store, 1, "</script><b>", 0).await.id;
    let hostile = "\u{0}\u{8}[2J</script>'; drop table job; --\u{202e}\u{ffff}\r\n\t💥";
    f.store.transact(id, report(vec![said(Level::Info, hostile)]), at(1)).await.unwrap();
    f.store.transact(id, fail(hostile), at(2)).await.unwrap();
    let f = f.reopen().await;
    let lines = log(
        &*f.store,
        id,
        LogFilter { kinds: vec![LineKind::Info, LineKind::Error], ..LogFilter::default() },
    )
    .await;
    assert_eq!(lines, [hostile, hostile]);
    assert_eq!(f.store.get(id).await.unwrap().unwrap().error.as_deref(), Some(hostile));
}
