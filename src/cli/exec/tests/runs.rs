//! Runs in which the server is there.

use std::io::{self, Write};

use serde_json::json;

use super::fake::Fake;
use super::{PACE, Run, Screen, Workspace};
use crate::cli::exit::{EXEC_CANNOT_RUN, EXEC_NOT_FOUND, EXEC_REFUSED};

#[tokio::test(flavor = "multi_thread")]
async fn lines_go_through_unchanged_and_are_reported_with_their_level() {
    let (fake, place) = (Fake::up(), Workspace::new());
    let script = r"printf 'one\n\ncaf\351\n'; sleep 0.05; echo careful >&2; sleep 0.05; echo '::error broken'; printf last";
    let mut run = place.shell(
        &fake,
        &[
            "--feature",
            "import",
            "--title",
            "T",
            "--tag",
            "a",
            "--tag",
            "b",
            "--timeout",
            "90s",
            "--activity-timeout",
            "0",
        ],
        script,
    );
    assert_eq!(run.code().await, 0);
    assert_eq!(run.out.bytes(), b"one\n\ncaf\xe9\n::error broken\nlast");
    assert_eq!(run.err.bytes(), b"careful\n");
    assert_eq!(run.notices.text(), "");
    let world = fake.world();
    let job = world.job();
    let expected = [
        ("info", "one"),
        ("info", "caf\u{fffd}"),
        ("warning", "careful"),
        ("error", "broken"),
        ("info", "last"),
    ];
    assert_eq!(job.messages, expected.map(|(level, text)| (level.to_owned(), text.to_owned())));
    assert_eq!(job.status, "completed");
    assert_eq!(job.end, Some(json!({"output": {"exitCode": 0}, "epoch": 1})));
    let request = &job.request;
    assert_eq!(
        (&request["feature"], &request["title"], &request["tags"]),
        (&json!("import"), &json!("T"), &json!(["a", "b"]))
    );
    assert_eq!((&request["timeout"], &request["activityTimeout"]), (&json!(90), &json!(0)));
    assert_eq!(request["input"]["command"][0], "sh");
    assert_eq!(place.spooled(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_lines_on_standard_error_are_can_be_said() {
    let (fake, place) = (Fake::up(), Workspace::new());
    let flags = ["--stderr", "info", "--linger", "100ms"];
    assert_eq!(place.shell(&fake, &flags, "echo one >&2; echo ::warning two >&2").code().await, 0);
    let world = fake.world();
    let seen: Vec<_> =
        world.job().messages.iter().map(|(level, text)| (level.as_str(), text.as_str())).collect();
    assert_eq!(seen, [("info", "one"), ("warning", "two")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn quiet_passes_nothing_through_and_reports_the_same() {
    let (fake, place) = (Fake::up(), Workspace::new());
    let mut run = place.shell(&fake, &["--quiet"], "echo one; echo two >&2");
    assert_eq!(run.code().await, 0);
    assert_eq!((run.out.text(), run.err.text()), (String::new(), String::new()));
    assert_eq!(fake.world().job().messages.len(), 2);
    assert_eq!(fake.world().job().request["feature"], "sh");
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_and_numbers_are_reported_and_the_last_one_always_arrives() {
    let (fake, place) = (Fake::up(), Workspace::new());
    let script = r"
        printf '10%%\r'; for i in 11 12 13 14 15 16 17 18 19 20; do printf '%s%%\r' $i; done; echo
        echo '::step load'; echo 'reading'; echo '3/4'; echo '::step work/parse'; echo '::progress 0.5'
        echo '::step work/write'; i=0; while [ $i -lt 1000 ]; do i=$((i+1)); echo ::progress 0.$((1000 + i)); done
        echo '99%'; exit 1";
    let mut run = place.shell(&fake, &[], script);
    assert_eq!(run.code().await, 1);
    let world = fake.world();
    let job = world.job();
    assert_eq!(job.texts(), ["20%", "reading", "3/4", "99%"]);
    assert_eq!(
        job.message_steps,
        [None, Some("load"), Some("load"), Some("work/write")].map(|step| step.map(str::to_owned))
    );
    assert_eq!(job.number(None), Some(0.2));
    assert_eq!(job.number(Some("load")), Some(1.0));
    assert_eq!(job.number(Some("work/parse")), Some(1.0));
    // Explicit numbers end the guessing, and a failure leaves the step where it was.
    assert_eq!(job.number(Some("work/write")), Some(0.2));
    assert!(job.numbers.len() < 40, "{:?}", job.numbers);
    assert_eq!(job.steps, ["load", "work/parse", "work", "work/write"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_can_be_said_ahead_and_a_new_one_is_there_before_the_last_one_is_done() {
    let (fake, place) = (Fake::up(), Workspace::new());
    let script = "echo ::steps a, b/c, b/d; echo ::step a; echo ::step z; exit 1";
    assert_eq!(place.shell(&fake, &[], script).code().await, 1);
    let world = fake.world();
    let job = world.job();
    assert_eq!(job.steps, ["a", "b/c", "b", "b/d", "z"]);
    assert_eq!(
        (job.number(Some("a")), job.number(Some("z")), job.number(Some("b/c"))),
        (Some(1.0), Some(0.0), None)
    );
    // What was known when the step was done.
    assert_eq!(job.declared_when_done, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_current_step_is_done_when_the_command_is() {
    let (fake, place) = (Fake::up(), Workspace::new());
    assert_eq!(place.shell(&fake, &[], "echo ::step a; echo ::progress 0.3").code().await, 0);
    assert_eq!(fake.world().job().number(Some("a")), Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bar_that_waits_unfinished_is_seen() {
    let (fake, place) = (Fake::up(), Workspace::new());
    let mut run = place.shell(&fake, &[], r"printf '\r 40%%\r 41%%\r 42%%'; await go");
    fake.until(|world| world.jobs.iter().any(|job| job.number(None) == Some(0.42))).await;
    place.touch("go");
    assert_eq!(run.code().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_command_fails_its_job_and_keeps_its_exit_code() {
    let (fake, place) = (Fake::up(), Workspace::new());
    assert_eq!(place.shell(&fake, &[], "exit 3").code().await, 3);
    assert_eq!(
        fake.world().job().end,
        Some(json!({"errorMessage": "Exited with code 3", "retryable": true, "epoch": 1}))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_killed_by_a_signal_says_which() {
    let (fake, place) = (Fake::up(), Workspace::new());
    assert_eq!(place.shell(&fake, &[], "kill -9 $$").code().await, 137);
    assert_eq!(
        fake.world().job().end,
        Some(json!({"errorMessage": "Killed by signal SIGKILL", "retryable": true, "epoch": 1}))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_cannot_be_started_fails_its_job_as_a_shell_would() {
    let place = Workspace::new();
    place.touch("no-program");
    let file = place.file("no-program");
    for (program, code) in [("/no/such/program", EXEC_NOT_FOUND), (file.to_str().unwrap(), EXEC_CANNOT_RUN)] {
        let fake = Fake::up();
        let mut run = place.command(&fake, &[], &[program]);
        assert_eq!(run.code().await, code);
        let world = fake.world();
        let end = world.job().end.clone().unwrap();
        assert!(end["errorMessage"].as_str().unwrap().starts_with("Cannot run `"), "{end}");
        assert_eq!((&end["retryable"], world.job().status.as_str()), (&json!(false), "failed"));
        assert!(run.notices.text().contains("Cannot run"), "{}", run.notices.text());
    }
    assert_eq!(place.spooled(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_lines_arrive_in_order_and_fast() {
    let (fake, place) = (Fake::up(), Workspace::new());
    let begun = std::time::Instant::now();
    assert_eq!(place.command(&fake, &[], &["seq", "100000"]).code().await, 0);
    let took = begun.elapsed();
    let world = fake.world();
    assert_eq!(world.job().messages.len(), 100_000);
    assert!(world.job().texts().iter().zip(1..).all(|(text, number)| *text == number.to_string()));
    assert!(world.requests < 2_000, "{} requests", world.requests);
    assert!(took.as_secs() < 10, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_guard_nothing_the_server_says_keeps_the_command_from_running() {
    for refusal in [
        (401, "unauthenticated"),
        (403, "forbidden"),
        (400, "invalid_value"),
        (404, "not_found"),
        (405, "method_not_allowed"),
        (409, "duplicate_job"),
        (413, "too_large"),
        (503, "unavailable"),
    ] {
        let (fake, place) = (Fake::up(), Workspace::new());
        fake.world().refuse_start = Some(refusal);
        let mut run = place.shell(&fake, &["--drain", "100ms"], "touch $DIR/ran; echo kept; exit 3");
        assert_eq!(run.code().await, 3);
        assert!(place.file("ran").exists());
        assert!(run.notices.text().contains(refusal.1), "{}", run.notices.text());
        let spooled = place.spooled();
        let spool = spooled.iter().find(|name| name.ends_with(".jsonl") || name.ends_with(".refused"));
        let kept = std::fs::read_to_string(place.spool().join(spool.expect("no spool"))).unwrap();
        assert!(kept.contains("kept"), "{refusal:?}: {kept}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_limit_is_asked_for_but_what_was_said_and_what_is_printed_is_told_by_heartbeats() {
    let (fake, place) = (Fake::up(), Workspace::new());
    let flags = ["--heartbeat", "20ms"];
    let mut run =
        place.shell(&fake, &flags, "await dots; while [ ! -e $DIR/go ]; do printf .; sleep 0.01; done");
    fake.until(|world| world.jobs.iter().any(|job| job.heartbeats > 2)).await;
    assert_eq!(fake.world().job().active_heartbeats, 0);
    place.touch("dots");
    fake.until(|world| world.job().active_heartbeats > 3).await;
    place.touch("go");
    assert_eq!(run.code().await, 0);
    let world = fake.world();
    let request = &world.job().request;
    assert_eq!((&request["timeout"], &request["activityTimeout"]), (&json!(0), &json!(0)));
    assert_eq!((&request["heartbeatEvery"], &request["grace"]), (&json!(1), &json!(10)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_forbids_is_not_run() {
    for refusal in
        [(401, "unauthenticated"), (403, "forbidden"), (400, "invalid_value"), (409, "duplicate_job")]
    {
        let (fake, place) = (Fake::up(), Workspace::new());
        fake.world().refuse_start = Some(refusal);
        let mut run = place.shell(&fake, &["--one-per-feature"], "touch $DIR/ran");
        assert_eq!(run.code().await, EXEC_REFUSED);
        assert!(
            run.notices.text().contains(refusal.1) && run.notices.text().contains("was not run"),
            "{}",
            run.notices.text()
        );
        assert!(!place.file("ran").exists());
        assert_eq!(place.spooled(), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_the_server_will_not_take_does_not_hold_up_the_others() {
    let (fake, place) = (Fake::up(), Workspace::new());
    fake.world().poison = Some("poison");
    let mut run = place.shell(&fake, &[], r"printf 'a\npoison\nb\n'");
    assert_eq!(run.code().await, 0);
    assert_eq!(fake.world().job().texts(), ["a", "b"]);
    assert_eq!(run.notices.count("did not take a report"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_very_long_line_is_cut_and_passed_through_whole() {
    let (fake, place) = (Fake::up(), Workspace::new());
    let mut run = place.shell(
        &fake,
        &[],
        "printf 'begin '; head -c 300000 /dev/zero | tr '\\0' x; echo ' end'; echo next",
    );
    assert_eq!(run.code().await, 0);
    assert_eq!(run.out.bytes().len(), 300_016);
    let world = fake.world();
    let texts = world.job().texts();
    assert!(texts[0].len() <= 64 * 1024 && texts[0].contains("x … (cut to 64 KiB) … x"));
    assert!(texts[0].starts_with("begin x") && texts[0].ends_with("x end"));
    assert_eq!(texts[1..], ["next"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_output_nobody_reads_ends_as_without_longhaul() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (fake, place) = (Fake::up(), Workspace::new());
    let mut run = Run::start_with(place.args(&fake, &[], &["yes"]), Box::new(Closed), Screen::new(), PACE);
    assert_eq!(run.code().await, 128 + 13);
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_flow_while_the_command_is_silent() {
    let (fake, place) = (Fake::up(), Workspace::new());
    let mut run = place.shell(&fake, &[], "await go");
    fake.until(|world| world.jobs.iter().any(|job| job.heartbeats > 2)).await;
    place.touch("go");
    assert_eq!(run.code().await, 0);
}

/// Takes so many bytes, and no more.
struct Full(usize, i32);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        if taken == 0 { Err(io::Error::from_raw_os_error(self.1)) } else { Ok(taken) }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn output_that_cannot_be_written_fails_the_job_and_stops_nothing() {
    for (room, errno, script, code) in [
        (0, libc::ENOSPC, "seq 100000; touch $DIR/done", 1),
        (10, libc::EFBIG, "seq 100000; touch $DIR/done", 1),
        (0, libc::EIO, "seq 100000; touch $DIR/done; exit 7", 7),
    ] {
        let (fake, place) = (Fake::up(), Workspace::new());
        let mut run = place.shell(&fake, &[], "true");
        run.code().await;
        fake.world().jobs.clear();
        let folder = place.0.path().to_str().unwrap();
        let script = format!("DIR=$1; {script}");
        let args = place.args(&fake, &[], &["sh", "-c", &script, "sh", folder]);
        let mut run = Run::start_with(args, Box::new(Full(room, errno)), Screen::new(), PACE);
        assert_eq!(run.code().await, code);
        assert!(place.file("done").exists());
        let why = io::Error::from_raw_os_error(errno).to_string();
        assert_eq!(run.notices.count(&why), 1, "{}", run.notices.text());
        let world = fake.world();
        let job = world.job();
        assert_eq!(job.status, "failed");
        let expected =
            ("error".to_owned(), format!("The command's standard output could not be written: {why}"));
        assert!(job.messages.contains(&expected));
        assert_eq!(job.texts().iter().filter(|text| text.parse::<u32>().is_ok()).count(), 100_000);
        let error = job.end.as_ref().unwrap()["errorMessage"].as_str().unwrap();
        assert!(if code == 1 { error.contains(&why) } else { error == "Exited with code 7" }, "{error}");
    }
}
