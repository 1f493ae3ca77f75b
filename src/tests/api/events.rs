//! `GET /api/admin/jobs/events`, over a real socket: a nudge that something changed.

use std::time::{Duration, Instant};

use longhaul::model::Role;
use serde_json::json;

use crate::support::{Client, TestApp, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_event_tells_where_things_stand_and_the_next_names_the_job() {
    let (app, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    let mut events = app.events(&viewer, "", None).await;
    let first = events.next().await.unwrap();
    assert_eq!((&first.data["revision"], &first.data["jobs"]), (&json!(1), &json!(null)));
    let boot = first.data["boot"].as_str().unwrap();
    assert_eq!(first.id, format!("{boot}-1"));
    events.assert_silent().await;

    reporter.post(&job.at("message"), json!({"type": "info", "message": "x"})).await;
    let second = events.next().await.unwrap();
    assert_eq!((&second.data["revision"], &second.data["jobs"]), (&json!(2), &json!([job.id])));
    assert_eq!(second.id, format!("{boot}-2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_one_job_hears_of_that_job_only() {
    let (app, _, viewer, reporter, ..) = TestApp::init().await;
    let (job, other) = (reporter.start("import").await, reporter.start("export").await);
    let mut events = app.events(&viewer, &format!("?job={}", job.id), None).await;
    events.next().await.unwrap();
    reporter.post(&other.at("message"), json!({"type": "info", "message": "x"})).await;
    events.assert_silent().await;
    reporter.post_nothing(&job.at("complete")).await;
    assert!(events.next().await.unwrap().data["jobs"].as_array().unwrap().contains(&json!(job.id)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_resumed_says_nothing_twice_and_misses_nothing() {
    let (app, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    let last = app.events(&viewer, "", None).await.next().await.unwrap().id;

    let mut resumed = app.events(&viewer, "", Some(&last)).await;
    resumed.assert_silent().await;
    let new = reporter.start("export").await;
    assert_eq!(resumed.next().await.unwrap().data["jobs"], json!([new.id]));

    reporter.post_nothing(&job.at("complete")).await;
    let missed = app.events(&viewer, "", Some(&last)).await.next().await.unwrap();
    let mut jobs = [job.id.as_str(), new.id.as_str()];
    jobs.sort_unstable();
    assert_eq!(missed.data["jobs"], json!(jobs));

    for unknown in ["another-boot-1", "nonsense", "-", "99999999999999999999"] {
        let first = app.events(&viewer, "", Some(unknown)).await.next().await.unwrap();
        assert_eq!(first.data["jobs"], json!(null), "{unknown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_changes_at_once_are_few_events() {
    let (app, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    let mut events = app.events(&viewer, "", None).await;
    events.next().await.unwrap();
    for _ in 0..200 {
        reporter.post(&job.at("message"), json!({"type": "info", "message": "x"})).await;
    }
    let mut count = 0;
    while events.next().await.unwrap().data["revision"] != 201 {
        count += 1;
    }
    assert!(count < 150, "{count} events for 200 changes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_when_the_server_stops() {
    let (app, _, viewer, ..) = TestApp::init().await;
    let mut events = app.events(&viewer, "", None).await;
    events.next().await.unwrap();
    app.closing.cancel();
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_stream_is_asked_for_properly_or_refused() {
    let (_, anon, viewer, ..) = TestApp::init().await;
    anon.get("/api/admin/jobs/events").await.assert_refused(401, "not_signed_in");
    viewer.get("/api/admin/jobs/events?job=nonsense").await.assert_refused(400, "wrong_query");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_within_five_seconds_for_whoever_is_shut_out() {
    use longhaul::service::accounts::{remove_token, remove_user};
    let (app, _, viewer, ..) = TestApp::init().await;
    let browser = app.signed_in("anna", Role::Viewer).await;
    let mut events = [app.events(&viewer, "", None).await, app.events(&browser, "", None).await];
    for stream in &mut events {
        stream.next().await.unwrap();
    }
    // As the command line does it, of which the server is told nothing.
    remove_token(&*app.accounts, "viewer", app.service.now()).await.unwrap();
    remove_user(&*app.accounts, "anna", app.service.now()).await.unwrap();
    app.clock.advance(Duration::from_secs(1));
    let since = Instant::now();
    for stream in &mut events {
        assert!(stream.next().await.is_none());
    }
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_passed_on_at_once_and_so_many_are_open() {
    let (app, _, viewer, reporter, ..) = TestApp::init().await;
    let ask = async |client: &Client| client.request("GET", "/api/admin/jobs/events").head().await;
    let reply = ask(&viewer).await;
    assert_eq!(reply.header("x-accel-buffering"), "no");
    assert!(reply.header("cache-control").contains("no-transform"), "{}", reply.header("cache-control"));
    let mut open = Vec::new();
    for _ in 0..32 {
        open.push(app.events(&viewer, "", None).await);
    }
    assert_eq!(ask(&viewer).await.status(), 429);
    assert_eq!(ask(&reporter).await.status(), 200, "another's share is another's");
    drop(open);
    eventually("the streams have ended", async || (ask(&viewer).await.status() == 200).then_some(())).await;
}
