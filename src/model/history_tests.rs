//! Properties of whole histories: any commands, in any order, from several writers at once.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn spec(execution: Execution, max_attempts: u32) -> Spec {
    Spec {
        execution,
        max_attempts,
        ..Spec::new(
            Feature::new("argument-condensation").unwrap(),
            Author::new("anna@example.org").unwrap(),
            "token:importer",
        )
    }
}

fn started(execution: Execution) -> (Job, Vec<Event>) {
    let new =
        NewJob { id: JobId(Uuid::from_u128(1)), spec: spec(execution, 1), enqueue: false, run_at: None };
    let (job, event) = Job::create(new, &at(0)).unwrap();
    (job, vec![event])
}

fn at(ms: i64) -> Context {
    Context { actor: Actor::user("anna"), at: Timestamp(ms) }
}

fn run(job: &mut Job, log: &mut Vec<Event>, command: Command, context: &Context) -> Result<(), Refusal> {
    let events = job.decide(command, context)?;
    assert!(!events.is_empty(), "an accepted command has an effect");
    for event in events {
        let left_out = job.tails.leaves_out(&event);
        job.apply(&event);
        let Some(seq) = event.seq else { continue };
        match left_out {
            Some(left_out) => {
                log.retain(|event| !left_out.takes(event));
                let place = log.partition_point(|event| event.seq < Some(seq));
                log.insert(place, event);
            }
            None => {
                assert_eq!(seq, job.seq);
                log.push(event);
            }
        }
    }
    assert!(log.is_sorted_by_key(|event| event.seq) && log.last().unwrap().seq == Some(job.seq));
    let places = log.len() as u64 + job.empty_places();
    assert!(places == job.seq || job.unrecorded_drops, "the log has no gap but those it tells of");
    Ok(())
}

fn must(job: &mut Job, log: &mut Vec<Event>, command: Command, ms: i64) {
    run(job, log, command, &at(ms)).unwrap();
}

fn progress(step: Option<&str>, value: f64) -> Command {
    Command::Report(Report {
        epoch: None,
        items: vec![ReportItem::Progress { step: step.map(str::to_owned), value }],
    })
}

fn message(level: Level, text: &str) -> Command {
    Command::Report(Report {
        epoch: None,
        items: vec![ReportItem::Message {
            level,
            text: MessageText::new(text).unwrap(),
            step: None,
            key: None,
        }],
    })
}

fn steps(specs: Vec<StepSpec>) -> Command {
    Command::Report(Report { epoch: None, items: vec![ReportItem::Steps(specs)] })
}

fn reason(text: &str) -> Reason {
    Reason::new(text).unwrap()
}

fn fail(text: &str) -> Command {
    Command::Fail { epoch: None, error: Some(text.to_owned()), retryable: true }
}

const COMPLETE: Command = Command::Complete { epoch: None, output: None };
const MINUTE: i64 = 60_000;

/// In the original: NaN was stored as NaN.
#[test]
fn flaw_nan_infinite_and_out_of_range_numbers_are_refused_and_change_nothing() {
    let (job, _) = started(Execution::External);
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.001, 1.001] {
        let refusal = job.decide(progress(None, value), &at(1)).unwrap_err();
        assert_eq!(refusal.code(), "invalid_value", "{value}");
    }
}

/// §7, 6: force-fail changed the record only, and the zombie's later calls vanished silently.
#[test]
fn flaw_6_a_force_failed_run_is_fenced_and_its_late_writes_are_counted() {
    let (mut job, mut log) = started(Execution::External);
    must(&mut job, &mut log, Command::ForceFail { reason: reason("hung") }, 1);
    assert_eq!((job.status, job.epoch), (Status::Failed, 2));
    assert_eq!(job.error.as_deref(), Some("Job force-failed: hung"));
    for epoch in [Some(1), None] {
        let refusal = job.decide(Command::Complete { epoch, output: None }, &at(2)).unwrap_err();
        assert!(job.is_late_write(&refusal), "{refusal:?}");
        job.count_late_write(Timestamp(2), true);
        assert_eq!(job.late_write_at, None, "its process has said that it is done");
    }
    assert_eq!(job.late_writes, 2);
    job.count_late_write(Timestamp(3), false);
    assert_eq!((job.late_writes, job.late_write_at), (3, Some(Timestamp(3))), "and has not");
}

#[test]
fn a_runner_that_finishes_twice_is_told_so_but_is_no_zombie() {
    let (mut job, mut log) = started(Execution::External);
    must(&mut job, &mut log, COMPLETE, 1);
    let refusal = job.decide(COMPLETE, &at(2)).unwrap_err();
    assert_eq!(refusal, Refusal::Finished { status: Status::Completed });
    assert!(!job.is_late_write(&refusal));
}

/// §7, 9: half an hour of steady work was killed with no way to allow more.
#[test]
fn flaw_9_a_healthy_three_hour_job_survives_where_its_timeout_is_lifted() {
    let mut spec = spec(Execution::External, 1);
    spec.timeouts = Timeouts::REQUIRED.with_seconds(Some(0), None);
    let new = NewJob { id: JobId(Uuid::from_u128(1)), spec, enqueue: false, run_at: None };
    let (mut job, created) = Job::create(new, &at(0)).unwrap();
    let mut log = vec![created];
    for five_minutes in 1..=36 {
        must(&mut job, &mut log, message(Level::Info, "still here"), five_minutes * 5 * MINUTE);
        assert_eq!(job.decide(Command::Sweep, &at(five_minutes * 5 * MINUTE)), Err(Refusal::NotStale));
    }
    assert_eq!(job.health(Timestamp(181 * MINUTE)).stale, None);
    assert_eq!(job.health(Timestamp(191 * MINUTE)).stale, Some(StaleReason::Inactive));
}

#[test]
fn the_sweep_ends_a_run_of_more_than_30_minutes_and_one_silent_for_more_than_10() {
    let (mut job, mut log) = started(Execution::External);
    for minute in 1..=30 {
        must(&mut job, &mut log, message(Level::Info, "tick"), minute * MINUTE);
    }
    assert_eq!(job.decide(Command::Sweep, &at(30 * MINUTE)), Err(Refusal::NotStale));
    must(&mut job, &mut log, Command::Sweep, 30 * MINUTE + 1);
    assert_eq!(job.error.as_deref(), Some("Job force-failed: Job running too long (30 minutes)"));

    let (mut job, mut log) = started(Execution::External);
    assert_eq!(job.decide(Command::Sweep, &at(10 * MINUTE)), Err(Refusal::NotStale));
    must(&mut job, &mut log, Command::Sweep, 11 * MINUTE);
    assert_eq!(job.error.as_deref(), Some("Job force-failed: Job inactive too long (11 minutes)"));
    assert_eq!(job.epoch, 2);
}

#[test]
fn a_heartbeat_that_tells_of_output_is_activity_and_no_line_of_the_log() {
    let (mut job, mut log) = started(Execution::External);
    let before = log.len();
    let active = Command::Report(Report { epoch: None, items: vec![ReportItem::Active] });
    must(&mut job, &mut log, active, 9 * MINUTE);
    assert_eq!((job.activity_at, job.heartbeat_at), (Timestamp(9 * MINUTE), Some(Timestamp(9 * MINUTE))));
    assert_eq!(log.iter().filter(|event| event.seq.is_some()).count(), before);
    assert_eq!(job.health(Timestamp(18 * MINUTE)).stale, None);
}

#[test]
fn a_heartbeat_is_not_activity_and_a_number_that_stands_still_is_only_a_heartbeat() {
    let (mut job, mut log) = started(Execution::External);
    must(&mut job, &mut log, progress(None, 0.4), MINUTE);
    must(&mut job, &mut log, Command::Report(Report::default()), 5 * MINUTE);
    must(&mut job, &mut log, progress(None, 0.4), 6 * MINUTE);
    assert_eq!(job.activity_at, Timestamp(MINUTE));
    assert_eq!(job.heartbeat_at, Some(Timestamp(6 * MINUTE)));
    assert_eq!(job.health(Timestamp(12 * MINUTE)).stale, Some(StaleReason::Inactive));
}

/// §7, 10: the warnings at 80 % never reached anybody. §7, 12: a full history warned for ever.
#[test]
fn flaws_10_and_12_early_warnings_reach_the_system_and_a_full_history_is_no_warning() {
    let (job, _) = started(Execution::External);
    let mut counts = Counts::default();
    counts.set(Status::Running, 1);
    counts.set(Status::Completed, 100);
    let early =
        SystemHealth::assess([&job].into_iter(), &counts, &Limits::MEMORY, &[], Timestamp(9 * MINUTE));
    assert_eq!(early.status, HealthStatus::Healthy);
    assert_eq!(early.stale_jobs, 0);
    assert_eq!(
        early.warnings,
        [format!("Job {}: Job has been inactive for 9 minutes (inactivity timeout: 10 minutes)", job.id)]
    );
    let late =
        SystemHealth::assess([&job].into_iter(), &counts, &Limits::MEMORY, &[], Timestamp(11 * MINUTE));
    assert_eq!((late.status, late.stale_jobs), (HealthStatus::Degraded, 1));
}

#[test]
fn the_limit_of_active_jobs_warns_above_80_percent_and_is_critical_when_reached() {
    let health = |active| {
        let mut counts = Counts::default();
        counts.set(Status::Running, active);
        SystemHealth::assess(std::iter::empty(), &counts, &Limits::MEMORY, &[], Timestamp(0)).status
    };
    assert_eq!(health(40), HealthStatus::Healthy);
    assert_eq!(health(41), HealthStatus::Degraded);
    assert_eq!(health(50), HealthStatus::Critical);
}

/// §7, 15: declaring sub-steps took the bar from 100 % back to 25 %.
#[test]
fn flaw_15_new_scope_is_shown_as_such_and_the_bar_never_goes_back() {
    let (mut job, mut log) = started(Execution::External);
    must(&mut job, &mut log, steps(vec![StepSpec::new("a")]), 1);
    must(&mut job, &mut log, progress(Some("a"), 1.0), 2);
    assert_eq!(job.progress, 1.0);
    must(
        &mut job,
        &mut log,
        steps(vec![StepSpec::new("a").steps([StepSpec::new("x"), StepSpec::new("y")])]),
        3,
    );
    assert_eq!(job.steps.progress(), 0.0);
    assert_eq!(job.progress, 1.0);
    assert!(job.shown().scope_grew);
    assert!(log.iter().any(|event| matches!(event.kind, EventKind::StepsDeclared { grew: true, .. })));
}

/// Numbers within a second of the last are not recorded one by one. What they took the bar to is, before new
/// scope takes the tree back.
#[test]
fn the_log_says_how_far_the_bar_was_before_scope_grew() {
    for (in_one_report, again) in [(false, false), (true, false), (true, true)] {
        let (mut job, mut log) = started(Execution::External);
        let more = ReportItem::Steps(vec![StepSpec::new("b")]);
        let far = ReportItem::Progress { step: Some("a".to_owned()), value: 0.8 };
        must(&mut job, &mut log, steps(vec![StepSpec::new("a")]), 1);
        must(&mut job, &mut log, progress(Some("a"), 0.1), 2);
        if again {
            // What was said before does not move, and is still not in the log.
            must(&mut job, &mut log, progress(Some("a"), 0.8), 2);
        }
        if in_one_report {
            let report = Report { epoch: None, items: vec![far, more] };
            must(&mut job, &mut log, Command::Report(report), 3);
        } else {
            must(&mut job, &mut log, progress(Some("a"), 0.8), 3);
            must(&mut job, &mut log, steps(vec![StepSpec::new("b")]), 4);
        }
        must(&mut job, &mut log, fail("broke"), 5);
        let replayed = Job::replay(job.id, &log).unwrap();
        assert_eq!((job.progress, replayed.progress), (0.8, 0.8));
        assert_eq!(replayed.steps, job.steps);
    }
    let (mut job, mut log) = started(Execution::External);
    must(&mut job, &mut log, progress(None, 0.1), 1);
    must(&mut job, &mut log, progress(None, 0.7), 2);
    must(&mut job, &mut log, steps(vec![StepSpec::new("a")]), 3);
    must(&mut job, &mut log, fail("broke"), 4);
    assert_eq!((job.progress, Job::replay(job.id, &log).unwrap().progress), (0.7, 0.7));
}

/// Reporters that say their whole tree with every report would fill the log with it.
#[test]
fn steps_that_are_there_already_are_a_sign_of_life_and_nothing_else() {
    let (mut job, mut log) = started(Execution::External);
    let tree = || {
        let parts = [StepSpec::new("x").weight(2.0), StepSpec::new("y").title("Why")];
        steps(vec![StepSpec::new("a").title("a").steps(parts), StepSpec::new("b")])
    };
    must(&mut job, &mut log, tree(), 1);
    must(&mut job, &mut log, progress(Some("a/x"), 1.0), 2);
    let (before, entries) = (job.clone(), log.len());
    must(&mut job, &mut log, tree(), 3);
    assert_eq!(log.len(), entries);
    assert_eq!((&job.steps, job.seq, job.activity_at), (&before.steps, before.seq, before.activity_at));
    assert_eq!(job.heartbeat_at, Some(Timestamp(3)));
    for changed in [
        StepSpec::new("a").title("Another"),
        StepSpec::new("a").steps([StepSpec::new("x").weight(3.0)]),
        StepSpec::new("a").steps([StepSpec::new("z")]),
    ] {
        let entries = log.len();
        must(&mut job, &mut log, steps(vec![changed.clone()]), 4);
        assert_eq!(log.len(), entries + 1, "{changed:?}");
    }
}

/// §7, 16: a failure was logged twice, once as a message and once as the outcome.
#[test]
fn flaw_16_failing_with_words_already_logged_counts_one_error() {
    let (mut job, mut log) = started(Execution::External);
    must(&mut job, &mut log, message(Level::Error, "Argument condensation failed: no key"), 1);
    must(&mut job, &mut log, fail("no key"), 2);
    assert_eq!(job.counts.error, 1);
    assert_eq!(job.error.as_deref(), Some("no key"));

    let (mut job, mut log) = started(Execution::External);
    must(&mut job, &mut log, fail("no key"), 2);
    assert_eq!(job.counts.error, 1);
}

/// §7, 28: an aborting job had no way out. §7, 29: finishing after an abort request hid that request.
#[test]
fn flaws_28_and_29_an_aborting_job_can_be_forced_and_one_that_finished_first_says_so() {
    let (mut job, mut log) = started(Execution::External);
    must(&mut job, &mut log, Command::Abort { reason: reason("wrong election") }, 1);
    assert_eq!(job.status, Status::Aborting);
    let mut forced = job.clone();
    must(&mut forced, &mut log.clone(), Command::ForceFail { reason: reason("it does not listen") }, 2);
    assert_eq!(forced.status, Status::Failed);
    must(&mut job, &mut log, COMPLETE, 2);
    assert_eq!(job.status, Status::Completed);
    assert!(log.last().unwrap().sentence().contains("before it noticed"));
}

/// §7, 30: aborted jobs of one feature ended as failed.
#[test]
fn flaw_30_an_acknowledged_abort_ends_as_aborted_and_only_where_one_was_asked_for() {
    let (mut job, mut log) = started(Execution::External);
    let acknowledge = Command::AcknowledgeAbort { epoch: Some(1), how: Stopped::default() };
    assert!(matches!(job.decide(acknowledge.clone(), &at(1)), Err(Refusal::WrongState { .. })));
    must(&mut job, &mut log, Command::Abort { reason: reason("stop") }, 1);
    must(&mut job, &mut log, acknowledge, 2);
    assert_eq!(job.status, Status::Aborted);
}

#[test]
fn a_bare_number_has_no_place_in_a_job_with_steps() {
    let (mut job, mut log) = started(Execution::External);
    must(&mut job, &mut log, steps(vec![StepSpec::new("a")]), 1);
    assert_eq!(job.decide(progress(None, 0.5), &at(2)), Err(Refusal::StepNeeded));
}

#[test]
fn a_running_job_that_reported_one_is_finishing_at_99_percent() {
    let (mut job, mut log) = started(Execution::External);
    must(&mut job, &mut log, progress(None, 1.0), 1);
    assert_eq!(job.shown(), Shown { percent: 99, finishing: true, scope_grew: false });
    must(&mut job, &mut log, COMPLETE, 2);
    assert_eq!(job.shown().percent, 100);
}

#[test]
fn on_failure_progress_stays_where_it_was() {
    let (mut job, mut log) = started(Execution::External);
    must(&mut job, &mut log, progress(None, 0.29), 1);
    must(&mut job, &mut log, fail("x"), 2);
    assert_eq!(job.progress, 0.29);
    assert_eq!(job.shown().percent, 29);
}

#[test]
fn a_number_is_recorded_once_a_second_and_the_last_one_before_the_end() {
    let (mut job, mut log) = started(Execution::External);
    for ms in 1..=2_500 {
        must(&mut job, &mut log, progress(None, ms as f64 / 2_500.0 * 0.9), ms);
    }
    assert_eq!(log.len(), 1 + 3, "created, and one number a second");
    must(&mut job, &mut log, fail("x"), 2_501);
    assert_eq!(log.len(), 1 + 3 + 2, "the last number, and the end");
    assert_eq!(Job::replay(job.id, &log).unwrap().progress, job.progress);
}

#[test]
fn a_queued_job_is_claimed_fails_and_is_claimed_again_each_time_with_a_new_epoch() {
    let new = NewJob {
        id: JobId(Uuid::from_u128(1)),
        spec: spec(Execution::Worker, 2),
        enqueue: true,
        run_at: Some(Timestamp(50)),
    };
    let (mut job, created) = Job::create(new, &at(0)).unwrap();
    let mut log = vec![created];
    assert_eq!((job.status, job.epoch, job.attempt), (Status::Scheduled, 0, 0));
    assert!(job.decide(progress(None, 0.5), &at(1)).is_err());
    must(&mut job, &mut log, Command::BecomeDue, 50);
    must(&mut job, &mut log, Command::Claim, 60);
    assert_eq!((job.status, job.epoch, job.attempt), (Status::Running, 1, 1));
    must(&mut job, &mut log, fail("first"), 70);
    assert_eq!(job.status, Status::Queued);
    must(&mut job, &mut log, Command::Claim, 80);
    assert_eq!((job.epoch, job.attempt), (2, 2));
    assert!(matches!(
        job.decide(Command::Complete { epoch: Some(1), output: None }, &at(81)),
        Err(Refusal::Fenced { given: 1, current: 2, ended: None })
    ));
    must(&mut job, &mut log, fail("second"), 90);
    assert_eq!(job.status, Status::Failed);
    must(&mut job, &mut log, Command::Retry { reason: reason("fixed the key") }, 100);
    assert_eq!(job.status, Status::Queued);
}

#[test]
fn a_job_run_by_somebody_else_cannot_be_retried_here() {
    let (mut job, mut log) = started(Execution::External);
    must(&mut job, &mut log, fail("x"), 1);
    assert!(matches!(
        job.decide(Command::Retry { reason: reason("again") }, &at(2)),
        Err(Refusal::WrongState { .. })
    ));
}

#[test]
fn a_report_is_all_or_nothing() {
    let (job, _) = started(Execution::External);
    let report = Report {
        epoch: None,
        items: vec![
            ReportItem::Message {
                level: Level::Info,
                text: MessageText::new("first").unwrap(),
                step: None,
                key: None,
            },
            ReportItem::Progress { step: None, value: 7.0 },
        ],
    };
    assert!(job.decide(Command::Report(report), &at(1)).is_err());
}

#[test]
fn a_message_sent_again_with_its_key_is_recorded_once() {
    let (mut job, mut log) = started(Execution::External);
    let keyed = |key| {
        let text = MessageText::new(format!("line {key}")).unwrap();
        ReportItem::Message { level: Level::Info, text, step: None, key: Some(key) }
    };
    let send = |keys: &[u64]| {
        Command::Report(Report { epoch: None, items: keys.iter().copied().map(keyed).collect() })
    };
    must(&mut job, &mut log, send(&[1, 2]), 1);
    must(&mut job, &mut log, send(&[1, 2, 3]), 2);
    must(&mut job, &mut log, send(&[3]), 3);
    assert_eq!(job.counts.info, 3);
    assert_eq!(Job::replay(job.id, &log).unwrap().message_key, 3);
}

#[test]
fn steps_may_be_declared_and_reported_on_in_one_go() {
    let (mut job, mut log) = started(Execution::External);
    let report = Report {
        epoch: Some(1),
        items: vec![
            ReportItem::Steps(vec![StepSpec::new("load"), StepSpec::new("save")]),
            ReportItem::Progress { step: Some("load".to_owned()), value: 0.5 },
            ReportItem::Progress { step: Some("load".to_owned()), value: 1.0 },
        ],
    };
    must(&mut job, &mut log, Command::Report(report), 1);
    assert_eq!(job.progress, 0.5);
    assert_eq!(job.current_step(), None);
}

#[test]
fn a_clock_set_back_does_not_reorder_the_log() {
    let (mut job, mut log) = started(Execution::External);
    must(&mut job, &mut log, message(Level::Info, "a"), 1_000);
    must(&mut job, &mut log, message(Level::Info, "b"), 10);
    assert_eq!(log.last().unwrap().at, Timestamp(1_000));
}

/// What replaying the log cannot give back: heartbeats, late writes, numbers not yet recorded.
fn recorded_part(job: &Job) -> Job {
    Job {
        heartbeat_at: None,
        late_writes: 0,
        late_write_at: None,
        revision: 0,
        progress_at: None,
        last_error: None,
        ..job.clone()
    }
}

/// A job whose log keeps so many messages of each level from its beginning.
fn short(max_lines: u32) -> (Job, Vec<Event>) {
    let spec = Spec { max_lines, ..spec(Execution::External, 1) };
    let new = NewJob { id: JobId(Uuid::from_u128(1)), spec, enqueue: false, run_at: None };
    let (job, created) = Job::create(new, &at(0)).unwrap();
    (job, vec![created])
}

/// Reports so many messages in one go.
fn messages(level: Level, texts: impl Iterator<Item = u64>) -> Command {
    let said = |number: u64| ReportItem::Message {
        level,
        text: MessageText::new(number.to_string()).unwrap(),
        step: None,
        key: None,
    };
    Command::Report(Report { epoch: None, items: texts.map(said).collect() })
}

fn texts(log: &[Event], wanted: Level) -> Vec<u64> {
    let text = |event: &Event| match &event.kind {
        EventKind::Message { level, text, .. } if *level == wanted => text.as_str().parse().ok(),
        _ => None,
    };
    log.iter().filter_map(text).collect()
}

#[test]
fn a_full_log_keeps_its_beginning_and_its_end_says_what_it_left_out_and_still_hears_of_errors() {
    let (mut job, mut log) = short(2);
    must(&mut job, &mut log, messages(Level::Info, 1..=1_101), 1);
    assert_eq!(
        (job.counts.info, job.dropped.info),
        (1_101, 0),
        "as many as it keeps at its end, and some more"
    );
    must(&mut job, &mut log, message(Level::Error, "7"), 2);
    must(&mut job, &mut log, messages(Level::Info, 1_102..=1_102), 3);
    assert_eq!((job.counts.info, job.dropped.info, job.counts.error), (1_002, 100, 1));
    assert_eq!(texts(&log, Level::Info), [1, 2].into_iter().chain(103..=1_102).collect::<Vec<_>>());
    let gap = &log[3];
    assert_eq!(
        gap.sentence(),
        "100 infos were left out here. The log is full: it has those before, and the newest"
    );
    assert_eq!((gap.seq, gap.at), (Some(103), Timestamp(1)), "where and when the last of them was");
    assert_eq!(job.activity_at, Timestamp(3));
    // Many at once, and others in between.
    must(&mut job, &mut log, messages(Level::Warning, 1..=5_000), 4);
    must(&mut job, &mut log, messages(Level::Info, 1_103..=9_999), 5);
    let warnings = texts(&log, Level::Warning);
    assert_eq!((warnings[1], *warnings.last().unwrap()), (2, 5_000));
    assert!((1_002..1_102).contains(&warnings.len()) && warnings[2..].is_sorted_by(|a, b| a + 1 == *b));
    assert_eq!(warnings.len() as u64 + job.dropped.warning, 5_000);
    assert_eq!(texts(&log, Level::Info).len() as u64 + job.dropped.info, 9_999);
    assert_eq!(texts(&log, Level::Error), [7]);
    let gaps: Vec<String> =
        log.iter().map(Event::sentence).filter(|line| line.contains("left out here")).collect();
    assert_eq!(gaps.len(), 2, "one of each level: {gaps:?}");
    assert!(gaps.contains(&format!(
        "{} infos were left out here. The log is full: it has those before, and the newest",
        job.dropped.info
    )));
    must(&mut job, &mut log, fail("no disk"), 7);
    assert_eq!(recorded_part(&Job::replay(job.id, &log).unwrap()), recorded_part(&job));
}

#[test]
fn a_key_that_came_is_known_though_its_message_was_left_out() {
    let (mut job, mut log) = short(0);
    let keyed = |keys: std::ops::RangeInclusive<u64>| {
        let said = |key: u64| ReportItem::Message {
            level: Level::Info,
            text: MessageText::new(key.to_string()).unwrap(),
            step: None,
            key: Some(key),
        };
        Command::Report(Report { epoch: None, items: keys.map(said).collect() })
    };
    must(&mut job, &mut log, keyed(1..=3_000), 1);
    let before = log.clone();
    must(&mut job, &mut log, keyed(1..=3_000), 2);
    assert_eq!(log, before);
    must(&mut job, &mut log, keyed(2_999..=3_001), 3);
    assert_eq!(texts(&log, Level::Info).last(), Some(&3_001));
    assert_eq!(texts(&log, Level::Info).len() as u64 + job.dropped.info, 3_001);
}

/// What an older version had dropped has no place in the log, and its number is kept.
#[test]
fn a_log_that_was_full_before_goes_on_with_an_end() {
    let (mut job, mut log) = short(2);
    must(&mut job, &mut log, messages(Level::Info, 1..=2), 1);
    job.dropped.info = 40;
    job.unrecorded_drops = true;
    must(&mut job, &mut log, messages(Level::Info, 3..=1_102), 2);
    assert_eq!(job.dropped.info, 140);
    let gap = log.iter().find(|event| matches!(event.kind, EventKind::LeftOut { .. })).unwrap();
    assert!(gap.sentence().starts_with("140 infos were left out here"), "{}", gap.sentence());
}

proptest! {
    /// However messages come and whatever comes between them: the first and the last are there, in order, the log
    /// says how many are not, and is bounded.
    #[test]
    fn a_log_of_any_length_has_its_beginning_and_its_end(
        max_lines in 0..150_u32,
        bursts in prop::collection::vec((0..3_usize, 1..700_u64, any::<bool>()), 1..14),
    ) {
        let (mut job, mut log) = short(max_lines);
        let levels = [Level::Info, Level::Warning, Level::Error];
        let (mut sent, mut ms) = ([0; 3], 0);
        for (which, count, progress_too) in bursts {
            ms += 1_500;
            must(&mut job, &mut log, messages(levels[which], sent[which] + 1..=sent[which] + count), ms);
            sent[which] += count;
            if progress_too {
                must(&mut job, &mut log, progress(None, ms as f64 / 1e6), ms);
            }
        }
        let most = u64::from(max_lines);
        for (level, sent) in levels.into_iter().zip(sent) {
            let texts = texts(&log, level);
            let head = most.min(sent);
            prop_assert!(texts[..head as usize].iter().copied().eq(1..=head));
            let tail = &texts[head as usize..];
            prop_assert!(tail.iter().copied().eq(sent + 1 - tail.len() as u64..=sent), "the newest, without a gap");
            prop_assert!(tail.len() as u64 >= (sent - head).min(Tail::LINES));
            prop_assert!((tail.len() as u64) < Tail::LINES + Tail::STRIDE);
            prop_assert_eq!(texts.len() as u64 + job.dropped.of(level), sent);
            prop_assert_eq!(job.counts.of(level.into()), texts.len() as u64);
        }
        let replayed = Job::replay(job.id, &log).unwrap();
        prop_assert_eq!((replayed.counts, replayed.dropped, replayed.seq), (job.counts, job.dropped, job.seq));
        prop_assert_eq!(&replayed.tails, &job.tails);
        let times = log.iter().map(|event| event.at);
        prop_assert!(times.is_sorted(), "the gap is as old as what is left out");
        must(&mut job, &mut log, COMPLETE, ms);
        prop_assert_eq!(recorded_part(&Job::replay(job.id, &log).unwrap()), recorded_part(&job));
    }
}

#[test]
fn only_what_has_ended_is_pinned_and_a_pin_is_recorded_with_who_did_it() {
    let (mut job, mut log) = started(Execution::External);
    assert!(matches!(job.decide(Command::Pin, &at(1)), Err(Refusal::WrongState { .. })));
    must(&mut job, &mut log, COMPLETE, 1);
    must(&mut job, &mut log, Command::Pin, 2);
    assert!(job.pinned && Job::replay(job.id, &log).unwrap().pinned);
    assert_eq!(log.last().unwrap().sentence(), "anna pinned it: it is kept as long as it is pinned");
    assert_eq!(job.decide(Command::Pin, &at(3)), Err(Refusal::Unchanged { already: "pinned" }));
    must(&mut job, &mut log, Command::Unpin, 3);
    assert!(!job.pinned);
    assert!(job.decide(Command::Unpin, &at(4)).is_err());
}

fn vouched_for(every: u32) -> (Job, Vec<Event>) {
    let spec =
        Spec { heartbeat_every: Some(every), timeouts: Timeouts::NONE, ..spec(Execution::External, 1) };
    let new = NewJob { id: JobId(Uuid::from_u128(1)), spec, enqueue: false, run_at: None };
    let (job, event) = Job::create(new, &at(0)).unwrap();
    (job, vec![event])
}

const GIVE_UP: Command = Command::GiveUp { after: Duration::from_secs(15 * 60) };
const SECOND: i64 = 1_000;

#[test]
fn a_run_that_breaks_its_promise_is_missed_then_given_up_and_has_its_job_back_when_it_reports() {
    let (mut job, mut log) = vouched_for(5);
    let said = |key| {
        let text = MessageText::new("rows").unwrap();
        let item = ReportItem::Message { level: Level::Info, text, step: None, key: Some(key) };
        Command::Report(Report { epoch: Some(1), items: vec![item] })
    };
    must(&mut job, &mut log, said(7), SECOND);
    let need = |job: &Job, ms: i64| job.watched().need(Timestamp(ms));
    assert_eq!(need(&job, 30 * SECOND), None);
    assert_eq!(need(&job, 41 * SECOND), Some(Need::Unheard));
    assert_eq!(job.decide(GIVE_UP, &at(15 * MINUTE)), Err(Refusal::NotStale));
    must(&mut job, &mut log, GIVE_UP, 16 * MINUTE);
    assert_eq!((job.status, job.cause(), job.epoch), (Status::Failed, Some(Cause::Lost), 2));
    assert_eq!(job.error.as_deref(), Some("Lost: its process was not heard of for 16 minutes"));
    let told = job.ended_because().unwrap();
    assert!(told.contains("--lost-after") && told.contains("5 seconds"), "{told}");

    // What is of another run, or of nobody, does not bring it back.
    assert!(
        job.decide(Command::Report(Report { epoch: Some(2), items: Vec::new() }), &at(17 * MINUTE)).is_err()
    );
    assert!(job.decide(Command::ForceFail { reason: reason("dead") }, &at(17 * MINUTE)).is_err());
    let mut alive = job.clone();
    for (command, lines) in [(said(7), 1), (said(8), 2)] {
        run(&mut alive, &mut log, command, &at(20 * MINUTE)).unwrap();
        assert_eq!((alive.status, alive.epoch, alive.ended_at), (Status::Running, 1, None));
        assert_eq!((alive.error.as_deref(), alive.cause(), alive.fenced), (None, None, false));
        assert_eq!(alive.counts.info, lines, "a message that came before is not there twice");
    }
    must(&mut alive, &mut log, Command::Complete { epoch: Some(1), output: None }, 21 * MINUTE);
    assert_eq!((alive.status, alive.cause()), (Status::Completed, Some(Cause::Reported)));
    let replayed = Job::replay(alive.id, &log).unwrap();
    assert_eq!(recorded_part(&replayed), recorded_part(&alive));

    // Its last word alone is enough.
    let mut ended = job.clone();
    let mut rest = log[..job.seq as usize].to_vec();
    must(&mut ended, &mut rest, fail("disk full"), 30 * MINUTE);
    assert_eq!((ended.status, ended.error.as_deref()), (Status::Failed, Some("disk full")));
    assert_eq!((ended.cause(), ended.epoch), (Some(Cause::Reported), 1));
}

#[test]
fn whoever_promised_nothing_is_not_missed_and_one_that_was_given_up_while_it_was_stopping_goes_on_stopping() {
    let (job, _) = started(Execution::External);
    assert!(job.decide(GIVE_UP, &at(600 * MINUTE)).is_err());
    let (mut job, mut log) = vouched_for(600);
    assert_eq!(job.watched().need(Timestamp(29 * MINUTE)), None, "three of its promises are longer");
    assert!(job.decide(GIVE_UP, &at(29 * MINUTE)).is_err());
    must(&mut job, &mut log, Command::Abort { reason: reason("stop") }, MINUTE);
    must(&mut job, &mut log, GIVE_UP, 40 * MINUTE);
    must(&mut job, &mut log, Command::Report(Report::default()), 41 * MINUTE);
    assert_eq!((job.status, job.epoch), (Status::Aborting, 1));
    must(
        &mut job,
        &mut log,
        Command::AcknowledgeAbort { epoch: Some(1), how: Stopped::default() },
        42 * MINUTE,
    );
    assert_eq!(job.cause(), Some(Cause::Aborted));
}

#[test]
fn no_limit_cuts_a_granted_grace_short() {
    let mut spec = spec(Execution::External, 1);
    spec.timeouts = Timeouts { run: Some(Duration::from_secs(60)), activity: Some(Duration::from_secs(10)) };
    spec.grace = Some(600);
    let new = NewJob { id: JobId(Uuid::from_u128(1)), spec, enqueue: false, run_at: None };
    let (mut job, created) = Job::create(new, &at(0)).unwrap();
    let mut log = vec![created];
    must(&mut job, &mut log, Command::Abort { reason: reason("stop") }, 5 * SECOND);
    assert_eq!(job.decide(Command::Sweep, &at(600 * SECOND)), Err(Refusal::NotStale));
    assert_eq!(job.watched().need(Timestamp(600 * SECOND)), None);
    must(&mut job, &mut log, Command::Sweep, 700 * SECOND);
    assert_eq!(job.cause(), Some(Cause::Timeout));
}

#[test]
fn what_takes_long_and_is_vouched_for_is_told_of_and_ends_by_no_clock() {
    let (mut job, _) = vouched_for(5);
    Arc::make_mut(&mut job.spec).warn_after = Timeouts::REQUIRED;
    job.heartbeat_at = Some(Timestamp(11 * MINUTE));
    assert_eq!(job.watched().need(Timestamp(11 * MINUTE)), Some(Need::Quiet));
    assert_eq!(Need::Quiet.severity(), Severity::Soon);
    assert_eq!(job.decide(Command::Sweep, &at(11 * MINUTE)), Err(Refusal::NotStale));
    assert!(job.health(Timestamp(11 * MINUTE)).warnings[0].contains("nothing ends it"));
    (job.activity_at, job.heartbeat_at) = (Timestamp(180 * MINUTE), Some(Timestamp(180 * MINUTE)));
    assert_eq!(job.watched().need(Timestamp(180 * MINUTE)), Some(Need::Long));
    assert_eq!(job.decide(Command::Sweep, &at(180 * MINUTE)), Err(Refusal::NotStale));
}

#[test]
fn a_limit_of_seconds_is_told_in_seconds_with_what_changes_it() {
    let mut spec = spec(Execution::External, 1);
    spec.timeouts = Timeouts { run: Some(Duration::from_secs(5)), activity: None };
    let new = NewJob { id: JobId(Uuid::from_u128(1)), spec, enqueue: false, run_at: None };
    let (mut job, created) = Job::create(new, &at(0)).unwrap();
    let mut log = vec![created];
    must(&mut job, &mut log, Command::Sweep, 7 * SECOND);
    assert_eq!(job.error.as_deref(), Some("Job force-failed: Job running too long (7 seconds)"));
    let refusal = job.decide(Command::Report(Report { epoch: Some(1), items: Vec::new() }), &at(8_000));
    let told = refusal.unwrap_err();
    for part in
        ["running too long (7 seconds)", "limit of 5 seconds", "anna ended it", "--timeout", "epoch 1"]
    {
        assert!(told.to_string().contains(part), "{told}");
    }
    assert_eq!(told.details().unwrap()["cause"], "timeout");
}

#[test]
fn what_comes_late_bears_its_own_time_where_that_can_be() {
    let late = |items: Vec<ReportItem>| Command::Report(Report { epoch: None, items });
    let said = |text: &str| ReportItem::Message {
        level: Level::Info,
        text: MessageText::new(text).unwrap(),
        step: None,
        key: None,
    };
    let mut spec = spec(Execution::External, 1);
    spec.began_at = Some(Timestamp(40 * SECOND));
    let new = NewJob { id: JobId(Uuid::from_u128(1)), spec, enqueue: false, run_at: None };
    let (mut job, created) = Job::create(new, &at(100 * SECOND)).unwrap();
    assert_eq!((created.at, job.start_time()), (Timestamp(40 * SECOND), Timestamp(40 * SECOND)));
    assert_eq!(
        job.activity_at,
        Timestamp(100 * SECOND),
        "it was heard of now: no silence is held against it"
    );
    let mut log = vec![created];
    let told = |ms: i64| ReportItem::At(Timestamp(ms));
    let items = vec![told(41_000), said("one"), told(42_500), said("two"), told(101_000), said("three")];
    must(&mut job, &mut log, late(items), 100 * SECOND);
    let times: Vec<i64> = log[1..].iter().map(|event| event.at.0).collect();
    assert_eq!(times, [41_000, 42_500, 100_000], "a second ahead is no wrong clock, and no future");
    assert!(!job.clock_doubted);

    // Before its job, and in the future: the server's time, and said once.
    let items = vec![told(1_000), said("four"), told(900_000_000), said("five"), told(99_000), said("six")];
    must(&mut job, &mut log, late(items), 110 * SECOND);
    let times: Vec<i64> = log[4..].iter().map(|event| event.at.0).collect();
    assert_eq!(times, [110_000, 110_000, 110_000, 99_000]);
    assert!(job.clock_doubted && matches!(log[4].kind, EventKind::ClockDoubted { .. }));
    assert!(log[4].sentence().contains("not believed"), "{}", log[4].sentence());

    let end = Command::Complete { epoch: Some(1), output: None };
    must(
        &mut job,
        &mut log,
        Command::Happened { at: Timestamp(44 * SECOND), what: Box::new(end) },
        120 * SECOND,
    );
    assert_eq!(job.ended_at, Some(Timestamp(44 * SECOND)), "it took four seconds");
    assert_eq!(recorded_part(&Job::replay(job.id, &log).unwrap()), recorded_part(&job));
}

#[test]
fn a_beginning_that_cannot_be_is_the_servers_now_and_is_doubted() {
    const DAY: i64 = 86_400_000;
    for (claimed, believed) in [(99 * DAY, true), (60 * DAY, false), (101 * DAY, false), (-1, false)] {
        let mut spec = spec(Execution::External, 1);
        spec.began_at = Some(Timestamp(claimed));
        let new = NewJob { id: JobId(Uuid::from_u128(1)), spec, enqueue: false, run_at: None };
        let (job, created) = Job::create(new, &at(100 * DAY)).unwrap();
        assert_eq!(job.start_time(), Timestamp(if believed { claimed } else { 100 * DAY }), "{claimed}");
        assert_eq!(job.clock_doubted, !believed);
        assert_eq!(created.sentence().contains("not believed"), !believed);
        assert_eq!(Job::replay(job.id, &[created]).unwrap().clock_doubted, !believed);
    }
}

#[test]
fn a_guess_is_marked_as_one_until_the_run_says_a_number_or_completes() {
    let (mut job, mut log) = started(Execution::External);
    let guess = |value: f64| {
        let items =
            vec![ReportItem::From(ProgressSource::Guessed), ReportItem::Progress { step: None, value }];
        Command::Report(Report { epoch: None, items })
    };
    must(&mut job, &mut log, guess(0.4), SECOND);
    assert_eq!(job.progress_source, ProgressSource::Guessed);
    assert_eq!(log[1].sentence(), "The job at about 40 %");
    must(&mut job, &mut log, progress(None, 0.5), 2 * SECOND);
    assert_eq!(job.progress_source, ProgressSource::Reported);
    must(&mut job, &mut log, guess(0.6), 3 * SECOND);
    must(&mut job, &mut log, COMPLETE, 4 * SECOND);
    assert_eq!((job.progress_source, job.progress), (ProgressSource::Reported, 1.0));
}

#[test]
fn a_guess_is_put_right_when_another_phase_begins_and_what_was_reported_never_falls() {
    let (mut job, mut log) = started(Execution::External);
    let guess = |step: &str, value: f64| {
        let number = ReportItem::Progress { step: Some(step.to_owned()), value };
        Command::Report(Report {
            epoch: None,
            items: vec![ReportItem::From(ProgressSource::Guessed), number],
        })
    };
    must(&mut job, &mut log, steps(vec![StepSpec::new("counting")]), 1);
    must(&mut job, &mut log, guess("counting", 0.99), 2);
    assert_eq!(job.progress, 0.99);
    must(&mut job, &mut log, steps(vec![StepSpec::new("receiving")]), 3);
    must(&mut job, &mut log, guess("counting", 1.0), 4);
    must(&mut job, &mut log, guess("receiving", 0.2), 5);
    assert_eq!(job.shown(), Shown { percent: 60, finishing: false, scope_grew: false });
    assert_eq!(Job::replay(job.id, &log).unwrap().progress, 0.6);
    must(&mut job, &mut log, progress(Some("receiving"), 0.4), 6);
    must(&mut job, &mut log, steps(vec![StepSpec::new("resolving")]), 7);
    must(&mut job, &mut log, guess("resolving", 0.1), 8);
    assert_eq!((job.progress, job.shown().scope_grew), (0.7, true));
}

fn more_time(span: Option<Duration>) -> Command {
    Command::MoreTime { span, reason: None }
}

const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn more_time_keeps_a_silent_job_and_the_log_says_who_gave_it_and_why() {
    let (mut job, mut log) = started(Execution::External);
    let need = |job: &Job, minute: i64| job.watched().need(Timestamp(minute * MINUTE));
    assert_eq!(need(&job, 12), Some(Need::Silent));
    let given = Command::MoreTime { span: Some(HOUR), reason: Some(reason("the disk is slow")) };
    must(&mut job, &mut log, given, 12 * MINUTE);
    let told = log.last().unwrap();
    assert_eq!(told.sentence(), "anna gave it more time: no limit ends it for 60 minutes. the disk is slow");
    assert_eq!((told.kind.line_kind(), job.counts.operator), (LineKind::Operator, 1));
    assert_eq!(job.activity_at, Timestamp(0), "the job is as silent as it was");
    assert_eq!((need(&job, 12), need(&job, 59)), (None, None));
    assert_eq!(need(&job, 61), Some(Need::SilentSoon), "a fifth of it is left");
    assert_eq!(job.decide(Command::Sweep, &at(72 * MINUTE)), Err(Refusal::NotStale));
    let mut spoke = job.clone();
    must(&mut job, &mut log.clone(), Command::Sweep, 73 * MINUTE);
    assert_eq!(job.cause(), Some(Cause::Timeout));
    assert!(job.ended_because().unwrap().contains("with the time it was given beyond it"));

    // What has spoken again has its own limits again, once that is over.
    must(&mut spoke, &mut log, message(Level::Info, "on"), 70 * MINUTE);
    assert_eq!(spoke.watched().due(None), Some(Timestamp(72 * MINUTE)), "it ran for more than half an hour");
}

#[test]
fn no_limit_is_no_limit_and_a_person_is_told_when_it_took_as_long_again() {
    let (mut job, mut log) = started(Execution::External);
    must(&mut job, &mut log, more_time(None), 12 * MINUTE);
    assert_eq!(log.last().unwrap().sentence(), "anna took its limits away");
    let need = |job: &Job, minute: i64| job.watched().need(Timestamp(minute * MINUTE));
    assert_eq!((need(&job, 21), need(&job, 23)), (None, Some(Need::Quiet)));
    assert!(job.health(Timestamp(23 * MINUTE)).warnings[0].contains("nothing ends it"));
    assert_eq!(job.watched().due(None), None);
    assert_eq!(job.decide(Command::Sweep, &at(10_000 * MINUTE)), Err(Refusal::NotStale));
    let less = job.decide(more_time(Some(HOUR)), &at(13 * MINUTE));
    assert_eq!(less, Err(Refusal::Unchanged { already: "given as much time" }));
}

#[test]
fn more_time_is_for_what_runs_and_asking_to_stop_takes_it_back() {
    let (mut job, mut log) = started(Execution::External);
    must(&mut job, &mut log, more_time(Some(HOUR)), 40 * MINUTE);
    must(&mut job, &mut log, Command::Abort { reason: reason("stop") }, 41 * MINUTE);
    let refused = job.decide(more_time(Some(HOUR)), &at(41 * MINUTE));
    assert_eq!(refused, Err(Refusal::WrongState { status: Status::Aborting, wanted: "given more time" }));
    assert_eq!(job.decide(Command::Sweep, &at(42 * MINUTE)), Err(Refusal::NotStale), "it may take its grace");
    must(&mut job, &mut log, Command::Sweep, 43 * MINUTE);
    let refused = job.decide(more_time(Some(HOUR)), &at(44 * MINUTE));
    assert_eq!(refused, Err(Refusal::Finished { status: Status::Failed }));
}

#[test]
fn more_time_moves_with_a_clock_that_is_set_and_another_attempt_has_none() {
    let (mut job, mut log) = started(Execution::External);
    must(&mut job, &mut log, more_time(Some(HOUR)), 20 * MINUTE);
    must(&mut job, &mut log, Command::ClockMoved { by_ms: 600 * MINUTE }, 630 * MINUTE);
    assert_eq!(job.watched().due(None), Some(Timestamp(680 * MINUTE)));
    let (mut job, mut log) = started(Execution::InProcess);
    must(&mut job, &mut log, more_time(None), MINUTE);
    must(&mut job, &mut log, fail("x"), 2 * MINUTE);
    must(&mut job, &mut log, Command::Retry { reason: reason("again") }, 3 * MINUTE);
    must(&mut job, &mut log, Command::Claim, 4 * MINUTE);
    assert_eq!(job.more_time, None);
    assert_eq!(Job::replay(job.id, &log).unwrap().more_time, None);
}

fn any_command() -> impl Strategy<Value = Command> {
    let epoch = prop_oneof![3 => Just(None), 2 => (0..4_u32).prop_map(Some)];
    let step = prop_oneof![
        2 => Just(None),
        3 => prop::sample::select(vec!["a", "b", "c", "a/x", "y", "c/z"]).prop_map(|name| Some(name.to_owned())),
    ];
    let value = prop_oneof![8 => 0.0..=1.0_f64, 1 => Just(1.0), 1 => Just(f64::NAN), 1 => -1.0..2.0_f64];
    let declared = prop::sample::select(vec![
        vec![StepSpec::new("a"), StepSpec::new("b").weight(2.0)],
        vec![StepSpec::new("a").steps([StepSpec::new("x"), StepSpec::new("y").weight(0.0)])],
        vec![StepSpec::new("c").weight(3.0).steps([StepSpec::new("z")])],
        vec![StepSpec::new("b"), StepSpec::new("b")],
    ]);
    let item = prop_oneof![
        4 => (step.clone(), value).prop_map(|(step, value)| ReportItem::Progress { step, value }),
        1 => declared.prop_map(ReportItem::Steps),
        1 => (-20_000..4_000_000_i64).prop_map(|ms| ReportItem::At(Timestamp(ms))),
        1 => Just(ReportItem::From(ProgressSource::Guessed)),
        2 => (prop::sample::select(vec![Level::Info, Level::Warning, Level::Error]), step)
            .prop_map(|(level, step)| ReportItem::Message { level, text: MessageText::new("said").unwrap(), step, key: None }),
    ];
    prop_oneof![
        16 => (epoch.clone(), prop::collection::vec(item, 0..3))
            .prop_map(|(epoch, items)| Command::Report(Report { epoch, items })),
        2 => epoch.clone().prop_map(|epoch| Command::Complete { epoch, output: None }),
        1 => (epoch.clone(), -20_000..4_000_000_i64).prop_map(|(epoch, ms)| Command::Happened {
            at: Timestamp(ms),
            what: Box::new(Command::Complete { epoch, output: None }),
        }),
        2 => (0..60_000_u64).prop_map(|ms| Command::GiveUp { after: Duration::from_millis(ms) }),
        2 => (epoch.clone(), any::<bool>())
            .prop_map(|(epoch, retryable)| Command::Fail { epoch, error: Some("bad".to_owned()), retryable }),
        1 => epoch.prop_map(|epoch| Command::AcknowledgeAbort { epoch, how: Stopped::default() }),
        1 => Just(Command::Abort { reason: reason("stop") }),
        2 => (prop_oneof![Just(None), (1..5_000_000_u64).prop_map(Some)], any::<bool>()).prop_map(|(ms, says)| {
            Command::MoreTime { span: ms.map(Duration::from_millis), reason: says.then(|| reason("slow")) }
        }),
        1 => Just(Command::ForceFail { reason: reason("hung") }),
        1 => Just(Command::EmergencyClean { reason: reason("all") }),
        1 => Just(Command::Sweep),
        1 => Just(Command::Interrupt),
        1 => Just(Command::BecomeDue),
        3 => Just(Command::Claim),
        1 => Just(Command::Retry { reason: reason("again") }),
        2 => Just(Command::Pin),
        1 => Just(Command::Unpin),
    ]
}

fn any_job() -> impl Strategy<Value = (Job, Event)> {
    (
        any::<bool>(),
        any::<bool>(),
        prop::sample::select(vec![Execution::External, Execution::InProcess, Execution::Worker]),
        1..4_u32,
        prop_oneof![Just(Spec::MAX_LINES), 0..4_u32],
        prop_oneof![Just(None), (1..10_u32).prop_map(Some)],
    )
        .prop_map(|(enqueue, later, execution, max_attempts, max_lines, heartbeat_every)| {
            let run_at = (enqueue && later).then_some(Timestamp(5_000));
            let mut spec = spec(execution, max_attempts);
            spec.max_lines = max_lines;
            spec.heartbeat_every = heartbeat_every;
            Job::create(NewJob { id: JobId(Uuid::from_u128(1)), spec, enqueue, run_at }, &at(0)).unwrap()
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// The guarantees of ARCHITECTURE decision 2–6, over any history.
    #[test]
    fn any_history_keeps_the_promises(
        (mut job, created) in any_job(),
        commands in prop::collection::vec((any_command(), -50..90_000_i64), 0..60),
    ) {
        let mut log = vec![created];
        let mut now = 0;
        for (command, wait) in commands {
            now += wait;
            let before = job.clone();
            let epoch_given = command.epoch();
            // Given up as lost, and heard of again.
            let adopts = before.cause() == Some(Cause::Lost) && command.is_of_the_run();
            let own = if adopts { before.epoch - 1 } else { before.epoch };
            let of_an_ended_job = matches!(command, Command::Retry { .. } | Command::Pin | Command::Unpin);
            match run(&mut job, &mut log, command, &at(now)) {
                Err(refusal) => {
                    prop_assert_eq!(&job, &before, "a refused command changes nothing");
                    prop_assert!(!refusal.to_string().is_empty());
                }
                Ok(()) => {
                    prop_assert!(epoch_given.is_none_or(|epoch| epoch == own), "an old epoch wrote");
                    prop_assert!(!before.status.is_final() || of_an_ended_job || adopts, "an ended job changed");
                    prop_assert!(job.revision > before.revision);
                    prop_assert!(job.epoch >= own);
                    if let (Some(given), None) = (job.more_time, before.more_time) {
                        let until = given.until.unwrap_or(Timestamp(i64::MAX));
                        prop_assert_eq!(job.watched().stale(until), None, "ended within what was given");
                    }
                    prop_assert!(job.activity_at >= before.activity_at || job.status.is_final());
                    prop_assert!(job.ended_at.is_none_or(|ended| ended <= Timestamp(now).max(before.activity_at)));
                    prop_assert!(job.ended_at.is_none_or(|ended| ended >= job.created_at || now < 0));
                    if job.attempt == before.attempt {
                        let is_guess = !before.number_was_reported && !job.progress_source.is_reported();
                        prop_assert!(job.progress >= before.progress || is_guess, "progress fell");
                    }
                }
            }
            let most = u64::from(job.spec.max_lines) + Tail::LINES + Tail::STRIDE;
            let failures = log.iter().filter(|event| matches!(event.kind, EventKind::Failed { .. })).count();
            prop_assert!(job.counts.info <= most && job.counts.warning <= most, "the log is bounded");
            prop_assert!(job.counts.error <= most + failures as u64, "but for how each attempt ended");
            prop_assert!((0.0..=1.0).contains(&job.progress));
            prop_assert!(job.progress + 1e-12 >= job.steps.progress());
            if job.status == Status::Completed {
                prop_assert_eq!(job.progress, 1.0);
            }
            prop_assert_eq!(job.ended_at.is_some(), job.status.is_final());
            let shown = job.shown();
            prop_assert_eq!(shown.percent == 100, job.status == Status::Completed);

            let replayed = Job::replay(job.id, &log).unwrap();
            prop_assert_eq!(replayed.status, job.status);
            prop_assert_eq!((replayed.epoch, replayed.seq, replayed.counts), (job.epoch, job.seq, job.counts));
            if job.status.is_final() {
                prop_assert_eq!(recorded_part(&replayed), recorded_part(&job), "replaying the log gives the stored state");
            }
        }
    }

    /// More time never brings an end nearer, whatever else is known of the job; and what is told of when a sweep
    /// will end it is what the sweep does.
    #[test]
    fn more_time_only_moves_an_end_away_and_the_end_that_is_told_is_the_one_that_comes(
        limits in prop::array::uniform4(prop::option::of(1..200_u64)),
        times in prop::array::uniform4(0..200_i64),
        every in prop::option::of(1..20_u64),
        aborting in any::<bool>(),
        until in prop::option::of(0..300_i64),
        lost_after in prop::option::of(0..400_u64),
    ) {
        let second = |seconds: i64| Timestamp(seconds * 1_000);
        let ms = |seconds: Option<u64>| seconds.map(|seconds| seconds * 1_000);
        let [run_timeout, activity_timeout, warn_run, warn_activity] = limits.map(ms);
        let status = if aborting { Status::Aborting } else { Status::Running };
        let before = Watched {
            status,
            started_at: Timestamp(0),
            activity_at: second(times[0]),
            heartbeat_at: Some(second(times[1])),
            abort_at: aborting.then_some(second(times[2])),
            run_timeout,
            activity_timeout,
            warn_run,
            warn_activity,
            heartbeat_every: ms(every),
            grace: None,
            late_write_at: None,
            more_time: None,
        };
        let given = MoreTime { at: second(times[3]), until: until.map(|span| second(times[3] + span)) };
        let after = Watched { more_time: Some(given), ..before };
        let lost_after = ms(lost_after);
        for now in (0..700).map(second) {
            if after.stale(now).is_some() {
                prop_assert!(before.stale(now).is_some(), "more time ended it at {now:?}");
            }
            for watched in [&before, &after] {
                let ends = watched.stale(now).is_some() || lost_after.is_some_and(|lost| watched.lost(now, lost).is_some());
                prop_assert_eq!(watched.due(lost_after).is_some_and(|due| now > due), ends, "at {:?}", now);
            }
            if !aborting && until.is_none() {
                prop_assert_eq!(after.stale(now), None);
            }
        }
    }

    /// Several writers decide against what they last saw; only what the store decides counts.
    #[test]
    fn racing_finishers_leave_one_terminal_status(
        order in Just(vec![0, 1, 2, 3, 4]).prop_shuffle(),
    ) {
        let (mut job, mut log) = started(Execution::External);
        must(&mut job, &mut log, Command::Abort { reason: reason("stop") }, 1);
        let finishers = [
            COMPLETE,
            fail("bad"),
            Command::ForceFail { reason: reason("hung") },
            Command::AcknowledgeAbort { epoch: Some(1), how: Stopped::default() },
            Command::Sweep,
        ];
        let mut won = 0;
        for which in order {
            match run(&mut job, &mut log, finishers[which].clone(), &at(60 * MINUTE)) {
                Ok(()) => won += 1,
                Err(refusal) => {
                    let told =
                        matches!(refusal, Refusal::Finished { .. } | Refusal::Fenced { .. } | Refusal::NotStale);
                    prop_assert!(told, "{refusal:?}");
                }
            }
        }
        prop_assert_eq!(won, 1);
        let ends = log.iter().filter(|event| matches!(
            event.kind,
            EventKind::Completed { .. } | EventKind::Aborted { .. } | EventKind::Failed { .. }
        ));
        prop_assert_eq!(ends.count(), 1);
    }
}

#[test]
fn every_event_survives_being_stored() {
    let (mut job, mut log) = started(Execution::InProcess);
    must(
        &mut job,
        &mut log,
        steps(vec![StepSpec::new("a").weight(2.0).title("Load").steps([StepSpec::new("b")])]),
        1,
    );
    must(&mut job, &mut log, progress(Some("b"), 0.5), 2);
    must(&mut job, &mut log, message(Level::Warning, "\u{0}\u{1b}[31m"), 3);
    must(&mut job, &mut log, Command::MoreTime { span: Some(HOUR), reason: Some(reason("r")) }, 4);
    must(&mut job, &mut log, more_time(None), 4);
    must(&mut job, &mut log, Command::Abort { reason: reason("r") }, 4);
    must(&mut job, &mut log, Command::ForceFail { reason: reason("r") }, 5);
    must(&mut job, &mut log, Command::Retry { reason: reason("r") }, 6);
    must(&mut job, &mut log, Command::Claim, 7);
    must(&mut job, &mut log, Command::EmergencyClean { reason: reason("r") }, 8);
    for event in &log {
        let stored = serde_json::to_string(&event.kind).unwrap();
        assert_eq!(serde_json::from_str::<EventKind>(&stored).unwrap(), event.kind);
    }
    for how in [
        Stopped::default(),
        Stopped { exit_code: Some(137), killed_after: Some(10) },
        Stopped { exit_code: Some(0), killed_after: None },
    ] {
        let stored = serde_json::to_string(&EventKind::Aborted { how }).unwrap();
        assert_eq!(serde_json::from_str::<EventKind>(&stored).unwrap(), EventKind::Aborted { how });
    }
    let from_before = EventKind::Aborted { how: Stopped::default() };
    assert_eq!(serde_json::to_string(&from_before).unwrap(), r#"{"type":"aborted"}"#);
    assert_eq!(recorded_part(&Job::replay(job.id, &log).unwrap()), recorded_part(&job));
    assert_eq!(Duration::from_millis(8), Timestamp(8).since(job.created_at));
    assert!(Arc::strong_count(&job.spec) >= 1);
}
