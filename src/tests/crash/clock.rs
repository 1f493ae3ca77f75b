//! A clock that jumps a year while the server runs, ahead or back: nobody's job is ended for it, hung jobs
//! are still found, history stays, order stays, and people are told until it is over.

use std::time::Duration;

use longhaul::Jobs;
use longhaul::clock::Clock;
use longhaul::model::{Role, Status, Timestamp};
use serde_json::{Value, json};

use super::vfs::Disk;
use crate::support::{Builder, Client, Started, TestApp, eventually};

const YEAR_MS: i64 = 365 * 86_400_000;
const HEALTH: &str = "/api/admin/jobs/health";
const CLEANUP: &str = "/api/admin/jobs/cleanup";

fn jump(app: &TestApp, by_ms: i64) {
    app.clock.set(Timestamp(app.clock.now().0 + by_ms));
}

async fn health(client: &Client) -> (String, String) {
    let health = client.get(HEALTH).await.json();
    let warning = health["warnings"][0].as_str().unwrap_or_default().to_owned();
    (health["status"].as_str().unwrap().to_owned(), warning)
}

async fn alive(reporter: &Client, at: &str) {
    let said = reporter.post(at, json!({"type": "info", "message": "alive"})).await;
    assert_eq!(said.status(), 200);
}

/// Both ways, over both stores.
async fn a_jump(by_ms: i64, words: &str, sqlite: bool) {
    let app = TestApp::with();
    let (app, _, viewer, reporter, operator, _) =
        if sqlite { app.init_sqlite().await } else { app.init().await };
    let healthy = reporter.start("healthy").await;
    let hung = reporter.start("hung").await;
    reporter
        .post(&healthy.at("progress"), json!({"steps": [{"id": "load"}], "step": "load", "progress": 0.1}))
        .await;
    app.minutes_pass(5);
    alive(&reporter, &healthy.at("message")).await;

    jump(&app, by_ms);
    let (status, warning) = health(&viewer).await;
    assert_eq!(status, "critical", "it is told at once");
    assert!(warning.contains(&format!("set {words}")), "{warning}");
    let swept = operator.post_nothing(CLEANUP).await;
    assert_eq!(swept.json()["cleanedJobs"], 0, "five minutes are five minutes: {}", swept.json());
    assert_eq!(health(&viewer).await.0, "critical", "and goes on being told");
    for job in [&healthy, &hung] {
        assert_eq!(viewer.job(job).await["status"], "running");
    }
    let log = viewer.log(&healthy, "system").await;
    assert_eq!(log.last().unwrap(), &format!("The server's clock was set {words}; the run keeps its age"));
    let began = viewer.job(&healthy).await["startTime"].as_str().unwrap().to_owned();
    let expected = Timestamp(app.clock.now().0 - 5 * 60_000);
    assert_eq!(began, longhaul::view::iso(expected), "it began five minutes ago, by the new clock");

    // The one that is silent is still found, and by its true age; so is the one that runs too long.
    app.minutes_pass(6);
    alive(&reporter, &healthy.at("message")).await;
    assert_eq!(operator.post_nothing(CLEANUP).await.json()["cleanedJobs"], 1);
    assert_eq!(viewer.job(&hung).await["error"], "Job force-failed: Job inactive too long (11 minutes)");
    app.minutes_pass(4);
    assert_eq!(health(&viewer).await, ("healthy".to_owned(), String::new()), "a time that stood is the time");
    for _ in 0..2 {
        app.minutes_pass(8);
        alive(&reporter, &healthy.at("message")).await;
    }
    operator.post_nothing(CLEANUP).await;
    assert_eq!(viewer.job(&healthy).await["error"], "Job force-failed: Job running too long (31 minutes)");

    // The log is in order, whatever its times say, and agrees with the job.
    let page = viewer.get(&format!("{}?level=all&limit=1000", healthy.at("messages"))).await.json();
    let seqs: Vec<u64> =
        page["messages"].as_array().unwrap().iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert!(seqs.is_sorted() && seqs.len() >= 8, "{page}");
    let report = app.jobs.check(Box::new(|_, _| true)).await.unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
}

#[tokio::test]
async fn a_clock_that_jumps_a_year_ahead_ends_nobody() {
    a_jump(YEAR_MS, "365 days ahead", false).await;
}

/// Neither by itself nor when an operator asks for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_not_removed_for_an_age_that_a_jump_gave_it() {
    let (app, _, _, reporter, operator, _) =
        TestApp::with().history_lasts(Duration::from_secs(86_400)).init().await;
    let kept = reporter.completed("kept").await;
    jump(&app, YEAR_MS);
    let run = operator.run(json!({"feature": "retention"})).await;
    eventually("the run has ended", async || {
        (operator.job(&run).await["status"] == "completed").then_some(())
    })
    .await;
    assert_eq!(operator.job(&run).await["output"], json!({"removedJobs": 0}));
    let warned = operator.log(&run, "warning").await;
    assert_eq!(warned, ["Nothing is removed for its age: this server's clock was set, or is wrong"]);
    assert_eq!(operator.job(&kept).await["status"], "completed");
}

#[tokio::test]
async fn a_clock_that_jumps_a_year_back_hides_nobody() {
    a_jump(-YEAR_MS, "365 days back", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jumps_are_kept_by_a_durable_store() {
    a_jump(YEAR_MS, "365 days ahead", true).await;
    a_jump(-YEAR_MS, "365 days back", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_times_a_jump_moved_are_the_same_after_a_restart() {
    let (app, _, viewer, reporter, operator, _) = TestApp::with().init_sqlite().await;
    let job = reporter.start("import").await;
    let steps = json!({"steps": [{"id": "load"}, {"id": "store"}], "step": "load", "progress": 1});
    reporter.post(&job.at("progress"), steps).await;
    app.minutes_pass(5);
    jump(&app, -YEAR_MS);
    operator.post_nothing(CLEANUP).await;
    let before = viewer.job(&job).await;
    assert!(before["startTime"].as_str().unwrap().starts_with("2025-11-22T16:20:05"), "{before}");
    let (_app, admin) = app.restart().await;
    assert_eq!(admin.job(&job).await, before);
}

#[tokio::test]
async fn a_clock_that_is_put_right_again_is_no_trouble_any_more() {
    for by_ms in [YEAR_MS, -YEAR_MS] {
        let (app, _, viewer, reporter, operator, _) = TestApp::init().await;
        let job = reporter.start("import").await;
        jump(&app, by_ms);
        operator.post_nothing(CLEANUP).await;
        assert_eq!(health(&viewer).await.0, "critical");
        app.clock.advance(Duration::from_secs(3));
        jump(&app, -by_ms);
        assert_ne!(health(&viewer).await.0, "critical", "at once");
        operator.post_nothing(CLEANUP).await;
        assert_eq!(health(&viewer).await.0, "healthy");
        assert_eq!(viewer.job(&job).await["startTime"], "2026-11-22T16:20:05.123Z");
        assert_eq!(viewer.job(&job).await["status"], "running");
    }
}

#[tokio::test]
async fn small_corrections_are_no_jumps_however_many() {
    let (app, _, viewer, reporter, operator, _) = TestApp::init().await;
    reporter.start("import").await;
    for _ in 0..10 {
        jump(&app, 30_000);
        operator.post_nothing(CLEANUP).await;
        assert_eq!(health(&viewer).await.0, "healthy");
    }
}

#[tokio::test]
async fn pages_and_cursors_do_not_mind_a_clock_that_jumped_back() {
    let (app, _, viewer, reporter, ..) = TestApp::init().await;
    for feature in ["a", "b"] {
        reporter.start(feature).await;
        reporter.completed(&format!("{feature} done")).await;
        jump(&app, -YEAR_MS);
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = viewer.get(&format!("/api/admin/jobs?includePast=true&limit=1{cursor}")).await.json();
        seen.extend(
            page["jobs"].as_array().unwrap().iter().map(|job| job["feature"].as_str().unwrap().to_owned()),
        );
        match &page["nextCursor"] {
            Value::String(next) => cursor = format!("&cursor={next}"),
            _ => break,
        }
        assert!(seen.len() < 10, "it goes round in circles");
    }
    seen.sort();
    assert_eq!(seen, ["a", "a done", "b", "b done"]);
}

/// Old history is removed by age, which a clock that jumped ahead must not decide.
#[tokio::test]
async fn history_is_not_removed_because_the_clock_jumped() {
    let (app, _, viewer, reporter, operator, _) = TestApp::with().history_lasts(days(90)).init().await;
    reporter.completed("import").await;
    let past = async || {
        operator.post_nothing(CLEANUP).await;
        viewer.get(HEALTH).await.json()["pastJobs"].clone()
    };
    jump(&app, YEAR_MS);
    assert_eq!(past().await, 1);
    app.minutes_pass(23 * 60);
    assert_eq!(past().await, 1, "somebody may still put the clock right");
    app.minutes_pass(61);
    assert_eq!(past().await, 0, "nobody did: it is the time, and the job is a year old");
}

/// The control: without a watch on the clock, the same jump ends the same job.
#[tokio::test]
async fn a_sweep_that_trusts_the_clock_ends_a_healthy_job() {
    let (app, _, _, reporter, ..) = TestApp::init().await;
    reporter.start("healthy").await;
    jump(&app, YEAR_MS);
    let jobs = Jobs::new(app.jobs.clone()).with_clock(app.clock.clone());
    let ended = jobs.cleanup_stale_jobs().await.unwrap();
    assert_eq!(ended.iter().map(|job| job.status).collect::<Vec<_>>(), [Status::Failed]);
}

/// Nobody has to ask: the server looks by itself, before anything is judged.
#[tokio::test]
async fn a_jump_is_noticed_without_anybody_asking() {
    let (app, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    tokio::spawn(app.service.sweeper().run(app.closing.clone()));
    jump(&app, YEAR_MS);
    eventually("the job is moved with the clock", async || {
        let log = viewer.log(&job, "system").await;
        log.iter().any(|line| line.contains("set 365 days ahead")).then_some(())
    })
    .await;
    assert_eq!(viewer.job(&job).await["status"], "running");
}

/// While jobs cannot be moved, nothing is judged by the new time; each is moved once, however often it takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jump_while_the_disk_is_full_ends_nobody_either() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::under(&folder.path().join("longhaul.db"));
    let (app, _, viewer, reporter, operator, _) = TestApp::with().init_sqlite_in(folder).await;
    let jobs = [reporter.start("a").await, reporter.start("b").await];
    app.minutes_pass(5);
    disk.answer_writes(rusqlite::ffi::SQLITE_FULL);
    for by_ms in [YEAR_MS, YEAR_MS] {
        jump(&app, by_ms);
        operator.post_nothing(CLEANUP).await.assert_refused(503, "store_unavailable");
    }
    disk.answer_writes(0);
    for _ in 0..2 {
        assert_eq!(operator.post_nothing(CLEANUP).await.json()["cleanedJobs"], 0);
    }
    let expected = longhaul::view::iso(Timestamp(app.clock.now().0 - 5 * 60_000));
    for job in &jobs {
        assert_eq!(viewer.job(job).await["startTime"], expected);
        let log = viewer.log(job, "system").await;
        let told: Vec<_> = log.iter().filter(|line| line.contains("clock")).collect();
        assert_eq!(told, ["The server's clock was set 730 days ahead; the run keeps its age"]);
    }
}

const ACCEPT: &str = "/api/admin/clock/accept";

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

fn keeps_history() -> Builder {
    TestApp::with().history_lasts(days(90))
}

/// A server with a past job and a running one, started again after so many milliseconds by its clock.
async fn started_again_after(ms: i64) -> (TestApp, Client, Started) {
    let (app, _, _, reporter, ..) = keeps_history().init_sqlite().await;
    reporter.completed("past").await;
    let running = reporter.start("running").await;
    jump(&app, ms);
    let (app, admin) = app.restart_as(keeps_history()).await;
    (app, admin, running)
}

async fn past_jobs(admin: &Client) -> u64 {
    admin.get(HEALTH).await.json()["pastJobs"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_starts_with_a_clock_far_ahead_removes_and_ends_nothing() {
    let (app, admin, running) = started_again_after(2 * YEAR_MS).await;
    let (status, warning) = health(&admin).await;
    assert_eq!(status, "critical");
    assert!(warning.contains("730 days ahead of the newest moment in the store"), "{warning}");
    assert!(warning.contains("longhaul clock accept"), "{warning}");
    admin.post_nothing(CLEANUP).await.assert_refused(409, "clock_doubted");
    let sweeper = app.service.sweeper();
    assert_eq!(sweeper.prune().await, Ok(0));
    let run = admin.run(json!({"feature": "retention"})).await;
    eventually("the run has ended", async || (admin.job(&run).await["status"] == "completed").then_some(()))
        .await;
    assert_eq!(admin.job(&run).await["output"], json!({"removedJobs": 0}));
    assert_eq!(admin.job(&running).await["status"], "running");
    // What the doubted clock has written is no proof of it at the next start.
    let (app, admin) = app.restart_as(keeps_history()).await;
    assert_eq!((health(&admin).await.0.as_str(), past_jobs(&admin).await), ("critical", 2));

    // An operator's word.
    let said = admin.post_nothing(ACCEPT).await;
    assert_eq!((said.status().as_u16(), &said.json()["doubted"]), (200, &json!(true)));
    assert_ne!(health(&admin).await.0, "critical");
    assert_eq!(admin.post_nothing(CLEANUP).await.json()["cleanedJobs"], 1);
    assert_eq!(admin.job(&running).await["status"], "failed");
    assert_eq!(past_jobs(&admin).await, 2, "the run of today, and the job that was just ended");
    assert_eq!(admin.post_nothing(ACCEPT).await.json()["doubted"], false);
    let (_app, admin) = app.restart_as(keeps_history()).await;
    assert_eq!(health(&admin).await.0, "healthy", "it was said once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_far_ahead_is_believed_after_a_day() {
    let (app, admin, running) = started_again_after(YEAR_MS).await;
    app.minutes_pass(24 * 60 - 1);
    admin.post_nothing(CLEANUP).await.assert_refused(409, "clock_doubted");
    app.minutes_pass(1);
    assert_eq!(admin.post_nothing(CLEANUP).await.json()["cleanedJobs"], 1);
    assert_eq!((admin.job(&running).await["status"].clone(), past_jobs(&admin).await), ("failed".into(), 1));
    assert_eq!(health(&admin).await.0, "healthy");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_off_for_a_day_or_started_by_an_earlier_clock_works_on() {
    for ms in [0, 24 * 3_600_000, -YEAR_MS] {
        let (app, admin, running) = started_again_after(ms).await;
        assert_ne!(health(&admin).await.0, "critical", "{ms}");
        assert_eq!(past_jobs(&admin).await, 1);
        app.minutes_pass(11);
        let ended = if ms < 0 { 0 } else { 1 };
        assert_eq!(admin.post_nothing(CLEANUP).await.json()["cleanedJobs"], ended, "{ms}");
        let status = if ms < 0 { "running" } else { "failed" };
        assert_eq!(admin.job(&running).await["status"], status);
    }
}

/// A quiet server is no server that was off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_jobs_for_a_week_is_not_told_that_its_clock_is_wrong() {
    let (app, _, _, reporter, operator, _) = keeps_history().init_sqlite().await;
    reporter.completed("past").await;
    app.minutes_pass(7 * 24 * 60);
    operator.post_nothing(CLEANUP).await;
    let (_app, admin) = app.restart_as(keeps_history()).await;
    assert_eq!(health(&admin).await.0, "healthy");
}

/// The machine's clock is put right while the server runs: jobs have the times they had, and what began by the
/// wrong clock moves with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_far_ahead_that_is_put_right_takes_back_what_it_brought() {
    let (app, admin, running) = started_again_after(2 * YEAR_MS).await;
    let reporter = app.token("another", Role::Admin).await;
    let began = admin.job(&running).await["startTime"].clone();
    app.minutes_pass(5);
    alive(&reporter, &running.at("message")).await;
    let wrong = reporter.start("by the wrong clock").await;
    app.minutes_pass(1);
    jump(&app, -2 * YEAR_MS);
    assert_eq!(admin.post_nothing(CLEANUP).await.json()["cleanedJobs"], 0);
    assert_eq!(health(&admin).await.0, "healthy");
    assert_eq!((admin.job(&running).await["startTime"].clone(), past_jobs(&admin).await), (began, 1));
    let now = app.clock.now().0;
    assert_eq!(admin.job(&wrong).await["startTime"], longhaul::view::iso(Timestamp(now - 60_000)));
    // Both are as silent as they are.
    app.minutes_pass(11);
    assert_eq!(admin.post_nothing(CLEANUP).await.json()["cleanedJobs"], 2);
    let (_app, admin) = app.restart_as(keeps_history()).await;
    assert_eq!((health(&admin).await.0.as_str(), past_jobs(&admin).await), ("healthy", 3));
}

/// Sessions and idempotency keys outlive a wrong clock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_clock_forgets_no_session_and_no_idempotency_key() {
    let (app, .., admin) = keeps_history().init_sqlite().await;
    let browser = app.signed_in("anna", Role::Operator).await;
    let start = async |client: &Client| {
        let request = client.request("POST", "/api/admin/jobs/start").header("idempotency-key", "k1");
        request.json(&json!({"feature": "import"})).send().await.json()
    };
    let first = start(&admin).await;
    jump(&app, 2 * YEAR_MS);
    let (app, admin) = app.restart_as(keeps_history()).await;
    // Whoever signs in by the wrong clock does not put the others out.
    app.signed_in("maria", Role::Operator).await;
    assert_eq!(app.service.sweeper().prune().await, Ok(0));
    let again = start(&admin).await;
    assert_eq!(again["jobId"], first["jobId"], "the same request, by whatever clock");
    jump(&app, -2 * YEAR_MS);
    assert_eq!(app.service.sweeper().prune().await, Ok(0));
    assert_eq!(browser.at(&app).get(HEALTH).await.status(), 200, "she is signed in for days yet");
    let again = start(&admin).await;
    assert_eq!(again["jobId"], first["jobId"]);
}
