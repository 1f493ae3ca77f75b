//! Runs in which the server is not there, or loses what it says.

use std::time::Duration;

use super::fake::Fake;
use super::{PACE, Run, Screen, Workspace};
use crate::cli::client::{Client, PATIENCE};
use crate::cli::exec::leftovers::{self, Swept};
use crate::cli::exec::notices::Notices;

fn numbers(up_to: usize) -> Vec<String> {
    (1..=up_to).map(|number| number.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_up_during_the_run_gets_every_line() {
    let (mut fake, place) = (Fake::down(), Workspace::new());
    let mut run = place.shell(&fake, &[], "seq 1 10; await go; seq 11 20");
    run.notices.until("is away").await;
    run.out.until("10\n").await;
    fake.revive();
    fake.until(|world| world.jobs.iter().any(|job| job.messages.len() == 10)).await;
    run.notices.until("is back").await;
    place.touch("go");
    assert_eq!(run.code().await, 0);
    assert_eq!(fake.world().job().texts(), numbers(20));
    assert_eq!(fake.world().job().status, "completed");
    assert_eq!((run.notices.count("is away"), run.notices.count("is back")), (1, 1));
    assert_eq!(place.spooled(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_up_after_the_run_gets_every_line() {
    let (mut fake, place) = (Fake::down(), Workspace::new());
    let mut run = place.shell(&fake, &[], "seq 1 10; exit 4");
    run.out.until("10\n").await;
    fake.revive();
    assert_eq!(run.code().await, 4);
    assert_eq!(fake.world().job().texts(), numbers(10));
    assert_eq!(fake.world().job().status, "failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_in_mid_run_misses_nothing_and_gets_nothing_twice() {
    let (mut fake, place) = (Fake::up(), Workspace::new());
    let script = "i=0; while [ ! -e $DIR/go ]; do i=$((i+1)); echo $i; done; echo end $i";
    let mut run = place.shell(&fake, &["--heartbeat", "10ms"], script);
    for round in 1..=3 {
        let seen = fake.world().jobs.first().map_or(0, |job| job.messages.len());
        fake.until(|world| world.jobs.iter().any(|job| job.messages.len() > seen + 500)).await;
        fake.kill().await;
        // The next report finds it gone.
        while run.notices.count("is away") < round {
            tokio::task::yield_now().await;
        }
        fake.revive();
    }
    fake.until(|world| world.job().messages.len() > 2_000).await;
    place.touch("go");
    assert_eq!(run.code().await, 0);
    let world = fake.world();
    let texts = world.job().texts();
    assert_eq!(texts[..texts.len() - 1], numbers(texts.len() - 1));
    assert_eq!(*texts.last().unwrap(), format!("end {}", texts.len() - 1));
    assert_eq!(run.notices.count("is back"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_make_no_second_job_and_no_second_line() {
    for lost in 1..=8 {
        let (fake, place) = (Fake::up(), Workspace::new());
        fake.world().lose_answers = lost;
        let mut run =
            place.shell(&fake, &[], "echo ::step a; seq 1 5; echo ::progress 0.5; echo ::step b; seq 6 9");
        assert_eq!(run.code().await, 0);
        let world = fake.world();
        assert_eq!(world.answers_lost, lost);
        assert_eq!(world.job().texts(), numbers(9));
        assert_eq!(world.job().status, "completed");
        assert_eq!(run.notices.count("was not recorded"), 0, "{}", run.notices.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_the_end_is_recognised() {
    let (fake, place) = (Fake::up(), Workspace::new());
    let mut run = place.shell(&fake, &[], "echo one; await go; exit 2");
    fake.until(|world| world.jobs.iter().any(|job| job.messages.len() == 1)).await;
    fake.world().lose_answers = 1;
    place.touch("go");
    assert_eq!(run.code().await, 2);
    let world = fake.world();
    assert_eq!((world.job().status.as_str(), world.job().late_writes), ("failed", 1));
    assert_eq!(run.notices.count("was not recorded"), 0);
    assert_eq!(place.spooled(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_is_waited_for_while_the_command_runs() {
    let (fake, place) = (Fake::up(), Workspace::new());
    fake.world().refuse_start = Some((429, "active_limit"));
    let mut run = place.shell(&fake, &[], "seq 1 3; await go");
    run.notices.until("active_limit").await;
    run.out.until("3\n").await;
    fake.world().refuse_start = None;
    place.touch("go");
    assert_eq!(run.code().await, 0);
    assert_eq!(fake.world().job().texts(), numbers(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers_does_not_hold_the_command_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (fake, place) = (Fake::down(), Workspace::new());
    let mut args = place.args(&fake, &["--drain", "0"], &["echo", "one"]);
    args.client.server = Some(format!("http://{}", silent.local_addr().unwrap()));
    let pace = super::Pace { start_patience: Duration::from_millis(50), ..PACE };
    let out = Screen::new();
    let mut run = Run::start_with(args, Box::new(out.clone()), out, pace);
    assert_eq!(run.code().await, 0);
    assert_eq!(run.out.text(), "one\n");
    assert!(run.notices.text().contains("did not answer in time"), "{}", run.notices.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_delivered_is_taken_up_by_the_next_run() {
    let (mut fake, place) = (Fake::down(), Workspace::new());
    for code in [0, 7] {
        let mut run = place.shell(&fake, &["--drain", "0"], &format!("echo run {code}; exit {code}"));
        assert_eq!(run.code().await, code);
        assert!(run.notices.text().contains("--drain-spool"), "{}", run.notices.text());
    }
    assert_eq!(place.spooled().len(), 2);
    fake.revive();
    let mut run = place.shell(&fake, &[], "echo now");
    assert_eq!(run.code().await, 0);
    assert!(run.notices.text().contains("the reports of 2 earlier runs"), "{}", run.notices.text());
    let mut seen: Vec<_> =
        fake.world().jobs.iter().map(|job| (job.texts().join(","), job.status.clone())).collect();
    seen.sort();
    let expected = [("now", "completed"), ("run 0", "completed"), ("run 7", "failed")];
    assert_eq!(seen, expected.map(|(text, status)| (text.to_owned(), status.to_owned())));
    assert_eq!(place.spooled(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn spools_of_other_servers_and_of_running_runs_are_left_alone() {
    let (mut fake, other, place) = (Fake::down(), Fake::up(), Workspace::new());
    assert_eq!(place.shell(&fake, &["--drain", "0"], "echo one").code().await, 0);
    let mut running = place.shell(&fake, &["--drain", "10s"], "echo two; await go");
    running.out.until("two").await;
    let notices = Notices::new(Screen::new());
    let client = |fake: &Fake| Client::new(&fake.url(), None, PATIENCE).unwrap();
    let swept = leftovers::deliver(&place.spool(), &client(&other), &notices, PACE).await.unwrap();
    assert_eq!(swept, Swept { elsewhere: 1, busy: 1, ..Swept::default() });
    let swept = leftovers::deliver(&place.spool(), &client(&fake), &notices, PACE).await.unwrap();
    assert!(swept.away.is_some(), "{swept:?}");
    // The running one takes up what the other left.
    fake.revive();
    place.touch("go");
    assert_eq!(running.code().await, 0);
    assert_eq!(fake.world().jobs.len(), 2);
    assert_eq!(other.world().jobs.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forgot_the_job_does_not_stop_the_command() {
    let (fake, place) = (Fake::up(), Workspace::new());
    let mut run = place.shell(&fake, &[], "echo one; await go; echo two");
    fake.until(|world| world.jobs.iter().any(|job| job.messages.len() == 1)).await;
    fake.world().jobs.clear();
    place.touch("go");
    assert_eq!(run.code().await, 0);
    assert_eq!(run.out.text(), "one\ntwo\n");
    assert!(run.notices.text().contains("job_not_found"), "{}", run.notices.text());
    assert!(place.spooled()[0].ends_with(".refused"), "{:?}", place.spooled());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_spool_the_command_runs_and_its_end_is_reported() {
    let (fake, place) = (Fake::up(), Workspace::new());
    // A file where the folder should be.
    place.touch("spool");
    let mut run = place.shell(&fake, &[], "seq 1 3; exit 5");
    assert_eq!(run.code().await, 5);
    assert_eq!(run.out.text(), "1\n2\n3\n");
    assert_eq!(run.notices.count("no spool can be made"), 1);
    assert_eq!(fake.world().job().status, "failed");
    assert_eq!(fake.world().job().texts(), numbers(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_folder_everything_is_recorded_without_a_word() {
    let (fake, place) = (Fake::up(), Workspace::new());
    let mut args = place.args(&fake, &[], &["seq", "50000"]);
    args.spool = None;
    let out = Screen::new();
    let mut run = Run::start_with(args, Box::new(out.clone()), out, PACE);
    assert_eq!(run.code().await, 0);
    assert_eq!(fake.world().job().texts(), numbers(50_000));
    // A slow machine may have to wait for its own server, and says that.
    assert!(!run.notices.text().contains("spool"), "{}", run.notices.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_folder_an_outage_is_survived_and_what_is_lost_is_said_to_be() {
    for comes_back in [true, false] {
        let (mut fake, place) = (Fake::down(), Workspace::new());
        let mut args = place.args(
            &fake,
            &["--drain", "300ms"],
            &[
                "sh",
                "-c",
                "seq 10; while [ ! -e $1 ]; do sleep 0.01; done; exit 4",
                "sh",
                place.file("go").to_str().unwrap(),
            ],
        );
        args.spool = None;
        let out = Screen::new();
        let mut run = Run::start_with(args, Box::new(out.clone()), out, PACE);
        run.notices.until("kept until exec ends").await;
        if comes_back {
            fake.revive();
            fake.until(|world| world.jobs.iter().any(|job| job.messages.len() == 10)).await;
        }
        place.touch("go");
        assert_eq!(run.code().await, 4);
        assert_eq!(run.notices.count("the rest is lost"), usize::from(!comes_back), "{}", run.notices.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_the_wait_for_the_server() {
    let (fake, place) = (Fake::down(), Workspace::new());
    let mut run = place.shell(&fake, &["--drain", "10min"], "echo one; exit 6");
    run.notices.until("is away").await;
    // Passed on while the command lives, so it is repeated until exec is the one who hears it.
    while !run.task.is_finished() {
        let _ = run.signals.send(libc::SIGTERM);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(matches!(run.code().await, 6 | 143));
    assert_eq!(place.spooled().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_failed_for_silence_while_the_server_was_away_does_not_stop_its_command() {
    for by_hand in [false, true] {
        let (mut fake, place) = (Fake::up(), Workspace::new());
        let mut run = place.shell(&fake, &[], "echo one; await cut; echo two; await go; echo three; exit 3");
        fake.until(|world| world.jobs.iter().any(|job| job.messages.len() == 1)).await;
        fake.kill().await;
        place.touch("cut");
        run.notices.until("is away").await;
        match by_hand {
            false => fake.world().jobs[0].fail_for_silence(),
            true => fake.world().jobs[0].force_fail(),
        }
        fake.revive();
        run.notices.until(".refused").await;
        if !by_hand {
            place.touch("go");
        }
        assert_eq!(run.code().await, if by_hand { 143 } else { 3 });
        let spooled = place.spooled();
        let kept = std::fs::read_to_string(place.spool().join(&spooled[0])).unwrap();
        assert!(kept.contains("two") && (by_hand || kept.contains("three")), "{kept}");
    }
}

/// Nothing waits to be told, so it is the heartbeats that notice.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_says_nothing_is_not_stopped_for_a_silence_that_was_the_networks() {
    for by_hand in [false, true] {
        let (mut fake, place) = (Fake::up(), Workspace::new());
        let mut run = place.shell(&fake, &["--heartbeat", "10ms"], "await go; exit 3");
        fake.until(|world| world.jobs.first().is_some_and(|job| job.heartbeats > 0)).await;
        fake.kill().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        match by_hand {
            false => fake.world().jobs[0].fail_for_silence(),
            true => fake.world().jobs[0].force_fail(),
        }
        fake.revive();
        if !by_hand {
            tokio::time::sleep(Duration::from_millis(300)).await;
            place.touch("go");
        }
        assert_eq!(run.code().await, if by_hand { 143 } else { 3 });
    }
}

/// What stands between and is not Longhaul: load balancers, sign-in pages of a company, hotels.
const GATEWAYS: [(u16, &str, &str); 10] = [
    (502, "text/html", "<html><h1>502 Bad Gateway</h1></html>"),
    (503, "text/html; charset=utf-8", "<html>Back soon</html>"),
    (200, "text/html", "<html>Sign in to the Wi-Fi</html>"),
    (200, "text/plain", ""),
    (204, "text/plain", ""),
    (200, "application/json", "{}"),
    (200, "application/json", r#"{"message": "ok"}"#),
    (302, "text/html", "<html>Moved</html>"),
    (307, "application/json", r#"{"error": "Sign in first.", "code": "redirect"}"#),
    (404, "text/html", "<html>No such site</html>"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_answers_instead_of_longhaul_takes_no_report_and_keeps_nothing_from_running() {
    for gateway in GATEWAYS {
        let (fake, place) = (Fake::up(), Workspace::new());
        fake.world().gateway = Some(gateway);
        let mut run = place.shell(&fake, &["--drain", "50ms"], "echo one; exit 3");
        assert_eq!(run.code().await, 3, "{gateway:?}");
        assert_eq!(run.out.text(), "one\n");
        let said = run.notices.text();
        let (status, kind, _) = gateway;
        for part in ["is not Longhaul", &status.to_string(), kind, "kept in", "--drain-spool"] {
            assert!(said.contains(part), "{gateway:?}: `{part}` is not in {said}");
        }
        assert_eq!(said.contains("leads to https://sign-in.example"), (300..400).contains(&status), "{said}");
        assert_eq!(place.spooled().len(), 1, "{gateway:?}");
        fake.world().gateway = None;
        let client = Client::new(&fake.url(), None, PATIENCE).unwrap();
        let notices = Notices::new(Screen::new());
        let swept = leftovers::deliver(&place.spool(), &client, &notices, PACE).await.unwrap();
        assert_eq!(swept, Swept { delivered: 1, ..Swept::default() });
        let world = fake.world();
        assert_eq!((world.job().texts(), world.job().status.as_str()), (vec!["one"], "failed"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_comes_and_goes_during_the_run_costs_no_line() {
    for gateway in GATEWAYS {
        let (fake, place) = (Fake::up(), Workspace::new());
        let script = "seq 1 5; await cut; seq 6 9; await go; echo 10";
        let mut run = place.shell(&fake, &["--heartbeat", "10ms"], script);
        fake.until(|world| world.jobs.iter().any(|job| job.messages.len() == 5)).await;
        fake.world().gateway = Some(gateway);
        place.touch("cut");
        run.notices.until("is not Longhaul").await;
        fake.world().gateway = None;
        run.notices.until("is back").await;
        place.touch("go");
        assert_eq!(run.code().await, 0, "{gateway:?}: {}", run.notices.text());
        assert_eq!(fake.world().job().texts(), numbers(10), "{gateway:?}");
        assert_eq!(fake.world().job().status, "completed");
        assert_eq!(place.spooled(), [""; 0]);
    }
}
