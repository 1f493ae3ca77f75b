//! The spool by itself: full disks, torn files, lost positions.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::json;
use uuid::Uuid;

use super::fake::{Fake, TOO_LONG};
use super::{PACE, Screen, Workspace};
use crate::cli::client::{Client, PATIENCE};
use crate::cli::exec::backlog::{Backlog, Bundle};
use crate::cli::exec::leftovers::{self, Swept};
use crate::cli::exec::notices::Notices;
use crate::cli::exec::record::{End, Progress, Record, Start, StartRequest};
use crate::cli::exec::spool::{Spool, runs};
use crate::model::{Level, MessageText, ProgressSource};

fn start(server: &str) -> Start {
    Start {
        key: Uuid::now_v7(),
        server: server.to_owned(),
        request: StartRequest { feature: "f".to_owned(), ..StartRequest::default() },
    }
}

fn say(spool: &mut Spool, text: &str) {
    spool.message(Level::Info, MessageText::cut(text), None, None);
}

fn texts(batch: &Bundle) -> Vec<&str> {
    batch.messages.iter().map(|message| message.message.as_str()).collect()
}

async fn next(backlog: &mut Backlog) -> Bundle {
    let batch = backlog.next().await.unwrap().unwrap();
    backlog.delivered(&batch);
    batch
}

/// A spool as a killed `exec` leaves it.
fn killed(folder: &Path, server: &str, lines: usize) -> PathBuf {
    let mut spool = Spool::create(Some(folder), true, &start(server), Notices::new(Screen::new()));
    for line in 1..=lines {
        say(&mut spool, &line.to_string());
        spool.flush();
    }
    runs(folder).unwrap().pop().unwrap()
}

#[test]
fn a_spool_is_the_users_alone() {
    let place = Workspace::new();
    let path = killed(&place.spool(), "http://x", 1);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&place.spool())), (0o600, 0o700));
}

#[tokio::test]
async fn a_full_disk_is_said_once_and_the_missing_lines_are_counted_where_they_are_missing() {
    let (place, screen) = (Workspace::new(), Screen::new());
    let notices = Notices::new(screen.clone());
    let mut spool = Spool::create(Some(&place.spool()), true, &start("http://x"), notices.clone());
    let shared = spool.shared();
    let mut backlog = Backlog::of_run(Arc::clone(&shared));
    assert!(matches!(next(&mut backlog).await.last, Some(Record::Start(_))));
    spool.limit(600);
    say(&mut spool, "before");
    spool.flush();
    for _ in 0..3 {
        say(&mut spool, &"x".repeat(500));
        say(&mut spool, &"y".repeat(500));
        spool.flush();
    }
    assert_eq!(texts(&next(&mut backlog).await), ["before"]);
    say(&mut spool, "after");
    spool.flush();
    let batch = next(&mut backlog).await;
    assert_eq!(texts(&batch), ["6 lines before this one were not recorded: the spool was full", "after"]);
    assert!(batch.messages.is_sorted_by_key(|message| message.key));
    say(&mut spool, &"z".repeat(600));
    spool.finish(End::Completed);
    let batch = next(&mut backlog).await;
    assert_eq!(texts(&batch), ["The last 1 lines were not recorded: the spool was full"]);
    assert_eq!(batch.last, Some(Record::End(End::Completed.into())));
    assert_eq!(backlog.next().await.unwrap(), None);
    notices.heard(TOO_LONG).await;
    assert_eq!(screen.count("cannot be kept"), 1);
}

#[tokio::test]
async fn the_end_is_kept_when_the_disk_takes_nothing() {
    let screen = Screen::new();
    let full = OpenOptions::new().read(true).write(true).open("/dev/full").unwrap();
    let mut spool = Spool::over(full, PathBuf::from("/dev/full"), Notices::new(screen.clone()));
    let mut backlog = Backlog::of_run(spool.shared());
    say(&mut spool, "lost");
    spool.flush();
    spool.finish(End::Completed);
    let batch = backlog.next().await.unwrap().unwrap();
    assert_eq!(texts(&batch), ["The last 1 lines were not recorded: the spool was full"]);
    assert_eq!(batch.last, Some(Record::End(End::Completed.into())));
    screen.until("No space left").await;
}

#[tokio::test]
async fn numbers_between_messages_do_not_break_a_batch_and_the_last_one_counts() {
    let place = Workspace::new();
    let mut spool =
        Spool::create(Some(&place.spool()), true, &start("http://x"), Notices::new(Screen::new()));
    let mut backlog = Backlog::of_run(spool.shared());
    next(&mut backlog).await;
    for line in 1..=700_u32 {
        say(&mut spool, &line.to_string());
        spool.progress(Progress {
            step: None,
            progress: f64::from(line) / 1000.0,
            progress_source: ProgressSource::Reported,
            at: None,
        });
    }
    spool.finish(End::Completed);
    let (first, second) = (next(&mut backlog).await, next(&mut backlog).await);
    assert_eq!((first.messages.len(), first.progress.len()), (500, 1));
    assert_eq!((second.messages.len(), second.progress[0].progress), (200, 0.7));
    assert_eq!(second.last, Some(Record::End(End::Completed.into())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_exec_was_killed_is_delivered_and_failed() {
    let (fake, place) = (Fake::up(), Workspace::new());
    let path = killed(&place.spool(), &fake.url(), 3);
    // The last record was torn.
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"rubbish\n{\"message\":{\"key\":4,\"ty").unwrap();
    drop(file);
    let client = Client::new(&fake.url(), None, PATIENCE).unwrap();
    let swept =
        leftovers::deliver(&place.spool(), &client, &Notices::new(Screen::new()), PACE).await.unwrap();
    assert_eq!(swept, Swept { delivered: 1, ..Swept::default() });
    assert_eq!(fake.world().job().texts(), ["1", "2", "3"]);
    let end = fake.world().job().end.clone().unwrap();
    assert!(end["errorMessage"].as_str().unwrap().contains("went away"), "{end}");
    assert_eq!(end["retryable"], json!(true));
    assert_eq!(place.spooled(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_or_broken_position_delivers_nothing_twice() {
    for position in [None, Some("{"), Some(r#"{"offset":99999999}"#)] {
        let (fake, place) = (Fake::up(), Workspace::new());
        let path = killed(&place.spool(), &fake.url(), 3);
        let client = Client::new(&fake.url(), None, PATIENCE).unwrap();
        let (start, backlog) = Backlog::of_file(&path).unwrap().unwrap();
        let mut delivery = super::super::reporter::Delivery::new(
            client.clone(),
            start,
            backlog,
            Notices::new(Screen::new()),
            PACE,
        );
        delivery.start().await.unwrap();
        drop(delivery);
        let pos = path.with_extension("pos");
        match position {
            None => std::fs::remove_file(&pos).unwrap(),
            Some(text) => std::fs::write(&pos, text).unwrap(),
        }
        // Some lines had been delivered under it.
        fake.world().jobs[0].top_key = 2;
        let swept =
            leftovers::deliver(&place.spool(), &client, &Notices::new(Screen::new()), PACE).await.unwrap();
        assert_eq!(swept.delivered, 1);
        assert_eq!(fake.world().job().texts(), ["3"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_a_job_that_was_ended_meanwhile_are_set_aside_not_lost() {
    let (fake, place) = (Fake::up(), Workspace::new());
    let path = killed(&place.spool(), &fake.url(), 2);
    let client = Client::new(&fake.url(), None, PATIENCE).unwrap();
    let (start, backlog) = Backlog::of_file(&path).unwrap().unwrap();
    let mut delivery = super::super::reporter::Delivery::new(
        client.clone(),
        start,
        backlog,
        Notices::new(Screen::new()),
        PACE,
    );
    delivery.start().await.unwrap();
    drop(delivery);
    fake.world().jobs[0].force_fail();
    let screen = Screen::new();
    let swept =
        leftovers::deliver(&place.spool(), &client, &Notices::new(screen.clone()), PACE).await.unwrap();
    assert_eq!(swept, Swept { refused: 1, ..Swept::default() });
    assert!(place.spooled()[0].ends_with(".refused"), "{:?}", place.spooled());
    screen.until(".refused").await;
}

#[tokio::test]
async fn space_that_was_given_back_reads_as_nothing() {
    let place = Workspace::new();
    let mut spool =
        Spool::create(Some(&place.spool()), true, &start("http://x"), Notices::new(Screen::new()));
    let shared = spool.shared();
    let mut backlog = Backlog::of_run(Arc::clone(&shared));
    let line = "x".repeat(60_000);
    for _ in 0..200 {
        say(&mut spool, &line);
    }
    spool.flush();
    say(&mut spool, "last");
    spool.flush();
    while shared.delivered.load(Ordering::Relaxed) < shared.extent.borrow().bytes {
        next(&mut backlog).await;
    }
    let path = backlog.path().unwrap().to_owned();
    drop((spool, backlog, shared));
    let file = File::open(&path).unwrap();
    use std::os::unix::fs::MetadataExt;
    let used = file.metadata().unwrap().blocks() * 512;
    assert!(used < file.metadata().unwrap().len() / 2, "{used}");
    std::fs::remove_file(path.with_extension("pos")).unwrap();
    let (_, mut again) = Backlog::of_file(&path).unwrap().unwrap();
    let mut seen = Vec::new();
    while let Some(batch) = again.next().await.unwrap() {
        again.delivered(&batch);
        seen.extend(texts(&batch).into_iter().map(str::to_owned));
    }
    assert_eq!(seen.last().map(String::as_str), Some("last"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_spool_that_is_not_taken_for_now_does_not_hold_up_the_others() {
    for refusal in [(403, "not_your_job"), (409, "duplicate_job")] {
        let (fake, place) = (Fake::up(), Workspace::new());
        let first = killed(&place.spool(), &fake.url(), 1);
        killed(&place.spool(), &fake.url(), 2);
        fake.world().refuse_start = Some(refusal);
        fake.world().refuse_only = first.file_stem().and_then(|key| key.to_str()).map(str::to_owned);
        let client = Client::new(&fake.url(), None, PATIENCE).unwrap();
        let swept =
            leftovers::deliver(&place.spool(), &client, &Notices::new(Screen::new()), PACE).await.unwrap();
        assert_eq!((swept.delivered, swept.away), (1, None));
        assert_eq!(swept.held.into_iter().map(|(path, _)| path).collect::<Vec<_>>(), [first.as_path()]);
        assert_eq!(runs(&place.spool()).unwrap(), [first]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_is_delivered_by_a_later_run_though_the_spool_or_the_disk_was_full() {
    for is_disk in [false, true] {
        let (fake, place) = (Fake::up(), Workspace::new());
        let mut spool =
            Spool::create(Some(&place.spool()), true, &start(&fake.url()), Notices::new(Screen::new()));
        say(&mut spool, "kept");
        spool.flush();
        spool.limit(600);
        if is_disk {
            spool.fill_disk();
        }
        say(&mut spool, &"x".repeat(600));
        spool.finish(End::Completed);
        let client = Client::new(&fake.url(), None, PATIENCE).unwrap();
        let swept =
            leftovers::deliver(&place.spool(), &client, &Notices::new(Screen::new()), PACE).await.unwrap();
        assert_eq!(swept, Swept { delivered: 1, ..Swept::default() });
        let world = fake.world();
        assert_eq!(world.job().texts(), ["kept", "The last 1 lines were not recorded: the spool was full"]);
        assert_eq!(world.job().status, "completed");
        assert_eq!(place.spooled(), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_can_be_taken_in_as_a_job_of_its_own_or_thrown_away() {
    use crate::cli::exec::Refused;
    for what in [Refused::Take, Refused::Discard] {
        let (fake, place) = (Fake::up(), Workspace::new());
        let path = killed(&place.spool(), &fake.url(), 2);
        let other = killed(&place.spool(), "http://elsewhere", 1);
        for path in [&path, &other] {
            std::fs::rename(path, path.with_extension("refused")).unwrap();
        }
        assert_eq!(leftovers::refused(&place.spool()).unwrap().len(), 2);
        assert_eq!(leftovers::settle_refused(&place.spool(), &fake.url(), what).unwrap(), 1);
        let client = Client::new(&fake.url(), None, PATIENCE).unwrap();
        let notices = Notices::new(Screen::new());
        let swept = leftovers::deliver(&place.spool(), &client, &notices, PACE).await.unwrap();
        let is_taken = what == Refused::Take;
        assert_eq!(swept, Swept { delivered: usize::from(is_taken), ..Swept::default() });
        if is_taken {
            assert_eq!(fake.world().job().texts(), ["1", "2"]);
        }
        assert_eq!(leftovers::refused(&place.spool()).unwrap(), [other.with_extension("refused")]);
    }
}
