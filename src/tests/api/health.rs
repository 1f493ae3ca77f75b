//! `GET /api/admin/jobs/health`.

use serde_json::{Value, json};

use crate::support::TestApp;

const HEALTH: &str = "/api/admin/jobs/health";

#[tokio::test]
async fn health_tells_the_numbers() {
    let (_, _, viewer, reporter, ..) = TestApp::init().await;
    reporter.completed("done").await;
    reporter.start("import").await;
    let reply = viewer.get(HEALTH).await;
    assert_eq!(reply.status(), 200);
    let health = reply.json();
    assert!(!health["build"].as_str().unwrap().is_empty());
    assert_eq!(
        health,
        json!({
            "status": "healthy", "activeJobs": 1, "maxActiveJobs": 50, "queuedJobs": 0, "pastJobs": 1,
            "staleJobs": 0, "warnings": [], "nodes": [], "build": health["build"],
        })
    );
}

#[tokio::test]
async fn health_goes_from_healthy_to_degraded_to_critical_and_back() {
    let (app, _, viewer, reporter, operator, _) = TestApp::with().max_active(10).init().await;
    let health = async || -> Value { viewer.get(HEALTH).await.json() };
    for _ in 0..8 {
        operator.start("import").await;
    }
    assert_eq!(health().await["status"], "healthy");
    operator.start("import").await;
    let near = health().await;
    assert_eq!(
        (&near["status"], &near["warnings"][0]),
        (&json!("degraded"), &json!("High number of active jobs: 9/10"))
    );
    reporter.start("import").await;
    let full = health().await;
    assert_eq!(full["status"], "critical");
    assert_eq!(full["warnings"][0], "The limit of active jobs is reached: 10/10");
    operator.post("/api/admin/jobs/emergency-cleanup", json!({"reason": "r"})).await;
    assert_eq!(health().await["status"], "healthy");

    let job = reporter.start("import").await;
    app.minutes_pass(11);
    let stale = health().await;
    assert_eq!((&stale["status"], &stale["staleJobs"]), (&json!("degraded"), &json!(1)));
    let warning =
        format!("Job {}: Job has been inactive for 11 minutes (inactivity timeout: 10 minutes)", job.id);
    assert_eq!(stale["warnings"], json!([warning]));
    reporter.post(&job.at("message"), json!({"type": "info", "message": "alive"})).await;
    assert_eq!(health().await["status"], "healthy");
}

#[tokio::test]
async fn looking_never_changes_anything() {
    let (app, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    app.minutes_pass(60);
    let before = app.everything().await;
    for path in [
        HEALTH.to_owned(),
        format!("{HEALTH}?autoCleanup=true"),
        "/api/admin/jobs?includePast=true".to_owned(),
        job.at("progress"),
        job.at("messages"),
        "/admin/jobs".to_owned(),
        job.page(),
        format!("{}?ask=force-fail", job.page()),
        "/healthz".to_owned(),
        "/readyz".to_owned(),
    ] {
        assert_eq!(viewer.page(&path).await.status(), 200, "{path}");
    }
    assert_eq!(app.everything().await, before);
    assert_eq!(viewer.job(&job).await["status"], "running");
}
