//! What a command leaves in the background when it ends by itself.

use std::time::{Duration, Instant};

use super::Workspace;
use super::fake::{Fake, TOO_LONG};

async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + TOO_LONG;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_lives_on_is_named_and_may_go_on_printing() {
    let (fake, place) = (Fake::up(), Workspace::new());
    let script = "(await go; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i || exit 1; done; echo end >&2; echo mail > $DIR/mail) & echo $! > $DIR/pid; exit 0";
    let mut run = place.shell(&fake, &[], script);
    assert_eq!(run.code().await, 0);
    assert_eq!(fake.world().job().status, "completed");
    let pid = std::fs::read_to_string(place.file("pid")).unwrap();
    let log = fake.world().job().messages.clone();
    let expected = format!("The command left running in the background: sh ({})", pid.trim());
    assert!(log.iter().any(|(level, text)| level == "warning" && text.starts_with(&expected)), "{log:?}");
    assert_eq!(run.notices.count(&expected), 1);
    place.touch("go");
    until("the background's work", || place.file("mail").exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stragglers_print_within_the_linger_is_recorded() {
    let (fake, place) = (Fake::up(), Workspace::new());
    let flags = ["--heartbeat", "20ms", "--linger", "10s"];
    let mut run = place.shell(&fake, &flags, "(sleep 0.3; echo late) & echo early");
    let begun = Instant::now();
    assert_eq!(run.code().await, 0);
    assert_eq!(run.out.text(), "early\nlate\n");
    assert_eq!(fake.world().job().texts(), ["early", "late"]);
    // It is over with the last writer.
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(run.notices.text(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_no_output_delays_nothing_and_is_named_too() {
    let (fake, place) = (Fake::up(), Workspace::new());
    let flags = ["--heartbeat", "20ms", "--linger", "10s"];
    let script = "(await go; touch $DIR/done) > /dev/null 2>&1 & echo ready";
    let begun = Instant::now();
    let mut run = place.shell(&fake, &flags, script);
    assert_eq!(run.code().await, 0);
    assert!(begun.elapsed() < Duration::from_secs(5));
    let log = fake.world().job().messages.clone();
    assert!(
        log.iter().any(|(level, text)| level == "info"
            && text.starts_with("The command left running in the background: sh (")),
        "{log:?}"
    );
    assert_eq!(run.notices.text(), "");
    place.touch("go");
    until("the background's work", || place.file("done").exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_command_leaves_its_background_alone_too() {
    let (fake, place) = (Fake::up(), Workspace::new());
    let mut run = place.shell(&fake, &[], "(await go; touch $DIR/done) & kill -9 $$");
    assert_eq!(run.code().await, 137);
    assert_eq!(fake.world().job().status, "failed");
    place.touch("go");
    until("the background's work", || place.file("done").exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_during_the_linger_ends_it_and_loses_nothing() {
    let (fake, place) = (Fake::up(), Workspace::new());
    let flags = ["--heartbeat", "20ms", "--linger", "10min"];
    let mut run = place.shell(&fake, &flags, "(await go) & echo ready; echo $! > $DIR/pid; exit 4");
    until("the command's end", || place.file("pid").exists()).await;
    run.out.until("ready").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    run.signals.send(libc::SIGTERM).unwrap();
    assert_eq!(run.code().await, 4);
    assert_eq!(fake.world().job().status, "failed");
    place.touch("go");
}
