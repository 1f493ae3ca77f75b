//! Runs that somebody stops.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::fake::Fake;
use super::{PACE, Run, Screen, Workspace};
use crate::cli::exec::signals::is_ignored;

/// Whether a process is there and has not ended.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Ends a process that a test started.
fn kill(pid: &str) {
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

async fn running(fake: &Fake, run: &Run) {
    run.out.until("ready\n").await;
    fake.until(|world| world.jobs.len() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_asks_the_command_to_stop_and_is_acknowledged() {
    let (fake, place) = (Fake::up(), Workspace::new());
    let mut run = place.shell(&fake, &[], "trap 'echo tidying; exit 0' TERM; echo ready; await never");
    running(&fake, &run).await;
    fake.world().jobs[0].abort_requested = true;
    assert_eq!(run.code().await, 0);
    assert_eq!(fake.world().job().status, "aborted");
    assert!(fake.world().job().texts().contains(&"tidying"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_will_not_stop_is_killed_with_everything_it_started() {
    let (fake, place) = (Fake::up(), Workspace::new());
    let script = "trap '' TERM; sh -c 'trap \"\" TERM; sleep 1000' & sleep 1000 & echo $! > $DIR/pid; echo ready; while :; do sleep 0.01; done";
    let mut run = place.shell(&fake, &["--heartbeat", "10ms", "--grace", "200ms"], script);
    running(&fake, &run).await;
    fake.world().jobs[0].abort_requested = true;
    assert_eq!(run.code().await, 137);
    assert_eq!(fake.world().job().status, "aborted");
    assert!(run.notices.text().contains("killing it"), "{}", run.notices.text());
    assert!(!lives(&std::fs::read_to_string(place.file("pid")).unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_ended_from_outside_stops_its_command_heard_by_heartbeat() {
    let (fake, place) = (Fake::up(), Workspace::new());
    let mut run = place.shell(&fake, &[], "echo ready; await never");
    running(&fake, &run).await;
    fake.until(|world| world.job().messages.len() == 1).await;
    fake.world().jobs[0].force_fail();
    assert_eq!(run.code().await, 143);
    let world = fake.world();
    assert_eq!((world.job().status.as_str(), &world.job().end), ("failed", &None));
    let said =
        "the job was ended from outside: Job force-failed: hung. admin force-failed it. Stopping the command";
    assert!(run.notices.text().contains(said), "{}", run.notices.text());
    assert_eq!(place.spooled(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_ended_from_outside_stops_its_command_heard_by_a_report() {
    let (fake, place) = (Fake::up(), Workspace::new());
    let mut run = place.shell(&fake, &["--heartbeat", "1h"], "echo ready; await go; echo late; await never");
    running(&fake, &run).await;
    fake.until(|world| world.job().messages.len() == 1).await;
    fake.world().jobs[0].force_fail();
    place.touch("go");
    assert_eq!(run.code().await, 143);
    assert_eq!(fake.world().job().texts(), ["ready"]);
    // The line that came too late is not thrown away.
    assert!(place.spooled()[0].ends_with(".refused"), "{:?}", place.spooled());
    assert!(run.notices.text().contains(".refused"), "{}", run.notices.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_are_passed_on_to_the_command() {
    let (fake, place) = (Fake::up(), Workspace::new());
    let mut run = place.shell(&fake, &[], "trap 'echo heard' USR1; echo ready; await go; kill -TERM $$");
    running(&fake, &run).await;
    run.signals.send(libc::SIGUSR1).unwrap();
    run.out.until("heard").await;
    place.touch("go");
    assert_eq!(run.code().await, 143);
    assert_eq!(fake.world().job().end.as_ref().unwrap()["errorMessage"], "Killed by signal SIGTERM");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_does_not_wait_for_whoever_reads_the_output() {
    /// A pipe that nobody reads until its other end is gone.
    struct Blocked(Receiver<()>);
    impl Write for Blocked {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (fake, place) = (Fake::up(), Workspace::new());
    let (unblock, blocked) = channel();
    let args = place.args(&fake, &[], &["sh", "-c", "echo one; exec sleep 1000"]);
    let mut run = Run::start_with(args, Box::new(Blocked(blocked)), Screen::new(), PACE);
    fake.until(|world| world.jobs.iter().any(|job| job.heartbeats > 0)).await;
    fake.world().jobs[0].abort_requested = true;
    assert_eq!(run.code().await, 143);
    assert_eq!(fake.world().job().status, "aborted");
    assert!(fake.world().job().texts().contains(&"one"));
    drop(unblock);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn an_abort_reaches_what_made_a_process_group_of_its_own() {
    let (fake, place) = (Fake::up(), Workspace::new());
    let script = "timeout 1000 sh -c 'trap \"\" TERM; echo $$ > \"$1/pid\"; while :; do sleep 0.01; done' sh $DIR & await pid; echo ready; await never";
    let mut run = place.shell(&fake, &["--heartbeat", "10ms", "--grace", "200ms"], script);
    running(&fake, &run).await;
    fake.world().jobs[0].abort_requested = true;
    assert_eq!(run.code().await, 143);
    assert!(!lives(&std::fs::read_to_string(place.file("pid")).unwrap()));
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn there_is_one_grace_for_the_command_and_for_what_it_leaves() {
    let (fake, place) = (Fake::up(), Workspace::new());
    let script = "(trap '' TERM; echo $$ > $DIR/pid; while :; do sleep 0.01; done) & await pid; trap 'sleep 0.5; exit 0' TERM; echo ready; await never";
    let mut run = place.shell(&fake, &["--heartbeat", "10ms", "--grace", "700ms"], script);
    running(&fake, &run).await;
    let asked = std::time::Instant::now();
    fake.world().jobs[0].abort_requested = true;
    assert_eq!(run.code().await, 0);
    assert!(asked.elapsed() < Duration::from_millis(1300), "{:?}", asked.elapsed());
    let world = fake.world();
    let log = world.job().texts().join("\n");
    assert!(log.contains("Killed with SIGKILL, because it had not ended when asked to: sh ("), "{log}");
    let end = world.job().end.as_ref().unwrap();
    assert_eq!((&end["exitCode"], &end["killedAfter"]), (&0.into(), &1.into()), "{end}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_up_that_was_cut_short_does_not_read_like_a_clean_stop() {
    for (handler, code, expected) in [
        (
            "while :; do sleep 0.01; done",
            137,
            "was killed in the middle of what it was doing: Killed by signal SIGKILL, exit code 137",
        ),
        ("exit 3", 3, "after SIGTERM: Exited with code 3"),
    ] {
        let (fake, place) = (Fake::up(), Workspace::new());
        let script = format!("trap '{handler}' TERM; echo ready; await never");
        let mut run = place.shell(&fake, &["--heartbeat", "10ms", "--grace", "300ms"], &script);
        running(&fake, &run).await;
        fake.world().jobs[0].abort_requested = true;
        assert_eq!(run.code().await, code);
        let world = fake.world();
        let log = world.job().texts().join("\n");
        assert!(log.contains("SIGKILL to what is left after 300 ms") && log.contains(expected), "{log}");
        assert_eq!(world.job().status, "aborted");
        let end = world.job().end.as_ref().unwrap();
        assert_eq!(end["exitCode"], code, "{end}");
        // Whole seconds, rounded up.
        assert_eq!(end.get("killedAfter").is_some_and(|seconds| *seconds == 1), code == 137, "{end}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_that_do_not_say_end_reach_the_command_alone() {
    for (name, number) in [("USR1", libc::SIGUSR1), ("USR2", libc::SIGUSR2), ("HUP", libc::SIGHUP)] {
        // No shell traps what was ignored when it began, as under `nohup` and, for INT and QUIT, in the background.
        if is_ignored(number) {
            continue;
        }
        let (fake, place) = (Fake::up(), Workspace::new());
        let script =
            format!("trap 'echo heard' {name}; sleep 0.3 & echo ready; wait $!; wait $!; echo rc $?");
        let mut run = place.shell(&fake, &[], &script);
        running(&fake, &run).await;
        run.signals.send(number).unwrap();
        assert_eq!(run.code().await, 0, "{name}");
        assert_eq!(run.out.text(), "ready\nheard\nrc 0\n", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_that_say_end_reach_everything() {
    for number in [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT] {
        if is_ignored(number) {
            continue;
        }
        let (fake, place) = (Fake::up(), Workspace::new());
        let script = "sleep 1000 & echo $! > $DIR/pid; trap 'wait; exit 9' TERM INT QUIT; echo ready; wait; await never";
        // A shell makes its background ignore INT and QUIT, as it does without exec: what is left is ended.
        let mut run = place.shell(&fake, &["--grace", "300ms"], &script.replace("trap 'wait; ", "trap '"));
        running(&fake, &run).await;
        run.signals.send(number).unwrap();
        assert_eq!(run.code().await, 9);
        assert_eq!(fake.world().job().status, "failed");
        assert!(!lives(&std::fs::read_to_string(place.file("pid")).unwrap()), "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_an_abort_did_not_reach_is_named() {
    let (fake, place) = (Fake::up(), Workspace::new());
    let script = "setsid sh -c 'echo $$ > \"$1/pid\"; exec sleep 1000' sh $DIR & await pid; sleep 0.1; echo ready; await never";
    let mut run = place.shell(&fake, &["--heartbeat", "10ms"], script);
    running(&fake, &run).await;
    fake.world().jobs[0].abort_requested = true;
    assert_eq!(run.code().await, 143);
    let pid = std::fs::read_to_string(place.file("pid")).unwrap();
    assert!(lives(&pid));
    let log = fake.world().job().texts().join("\n");
    assert!(
        log.contains(&format!(
            "Not reached when the command was stopped, and still running: sleep ({})",
            pid.trim()
        )),
        "{log}"
    );
    kill(&pid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_was_asked_for_is_announced_on_the_terminal() {
    let (fake, place) = (Fake::up(), Workspace::new());
    let flags = ["--timeout", "1s", "--activity-timeout", "400ms", "--linger", "100ms"];
    let mut run = place.shell(&fake, &flags, "echo ready; await go");
    run.notices.until("(--timeout sets it)").await;
    place.touch("go");
    assert_eq!(run.code().await, 0);
    let said = run.notices.text();
    assert!(
        said.contains("the command has run for ") && said.contains("its limit of 1 second ends it in"),
        "{said}"
    );
    assert!(
        said.contains("the command has printed nothing for ") && said.contains("its limit of 400 ms"),
        "{said}"
    );
    assert_eq!(run.notices.count("(--activity-timeout sets it)"), 1, "{said}");
}
