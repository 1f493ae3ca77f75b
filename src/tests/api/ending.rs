//! `heartbeat`, `complete`, `fail`, `aborted`: a runner's last words, and the beat before them.

use std::time::Duration;

use serde_json::json;

use crate::support::TestApp;

#[tokio::test]
async fn a_heartbeat_tells_whether_to_stop_and_is_no_activity() {
    let (app, _, viewer, reporter, operator, _) = TestApp::init().await;
    let job = reporter.start("import").await;
    app.clock.advance(Duration::from_secs(5));
    let reply = reporter.post_nothing(&job.at("heartbeat")).await;
    assert_eq!(
        (reply.status().as_u16(), reply.json()),
        (200, json!({"abortRequested": false, "status": "running"}))
    );
    let seen = viewer.job(&job).await;
    assert_eq!(seen["heartbeatTime"], "2026-11-22T16:20:10.123Z");
    assert_eq!(seen["lastActivityTime"], "2026-11-22T16:20:05.123Z");

    operator.post(&job.at("abort"), json!({"reason": "enough"})).await;
    let reply = reporter.post(&job.at("heartbeat"), json!({"epoch": job.epoch})).await;
    assert_eq!(reply.json(), json!({"abortRequested": true, "status": "aborting"}));
    let told = reporter.post(&job.at("message"), json!({"type": "info", "message": "x"})).await.json();
    assert_eq!(told["abortRequested"], true);
}

#[tokio::test]
async fn a_completed_job_is_at_one_whatever_was_reported() {
    let (app, _, viewer, reporter, ..) = TestApp::init().await;
    for body in ["", "{}", "null", r#"{"output": {"rows": 5}, "epoch": 1}"#] {
        let job = reporter.start("import").await;
        reporter.post(&job.at("progress"), json!({"progress": 0.3})).await;
        app.clock.advance(Duration::from_secs(2));
        let reply = reporter.post_text(&job.at("complete"), body).await;
        assert_eq!(reply.status(), 200, "{body}: {}", reply.text());
        let answer = reply.json();
        assert_eq!((&answer["status"], &answer["progress"]), (&json!("completed"), &json!(1.0)));
        assert_eq!(answer["message"], "Job marked as completed");
        let seen = viewer.job(&job).await;
        assert_eq!((&seen["status"], &seen["progress"]), (&json!("completed"), &json!(1.0)));
        assert_eq!(seen["endTime"], seen["lastActivityTime"]);
    }
}

#[tokio::test]
async fn a_failed_job_stays_where_it_was_and_says_why() {
    let (_, _, viewer, reporter, ..) = TestApp::init().await;
    for (body, error) in [
        ("", "Failed without saying why"),
        ("{}", "Failed without saying why"),
        (r#"{"errorMessage": ""}"#, "Failed without saying why"),
        (r#"{"errorMessage": "Disk full", "retryable": false, "epoch": 1}"#, "Disk full"),
    ] {
        let job = reporter.start("import").await;
        reporter.post(&job.at("progress"), json!({"progress": 0.3})).await;
        let reply = reporter.post_text(&job.at("fail"), body).await;
        assert_eq!(
            (reply.status().as_u16(), &reply.json()["message"]),
            (200, &json!("Job marked as failed"))
        );
        let seen = viewer.job(&job).await;
        assert_eq!(
            (&seen["status"], &seen["progress"], &seen["error"]),
            (&json!("failed"), &json!(0.3), &json!(error))
        );
        assert_eq!(seen["errorMessages"][0]["message"], error);
    }
    let job = reporter.start("import").await;
    let long = reporter.post(&job.at("fail"), json!({"errorMessage": "x".repeat(64 * 1024 + 1)})).await;
    long.assert_refused(400, "invalid_value");
    assert_eq!(long.json()["details"], json!({"field": "errorMessage"}));
    assert_eq!(viewer.job(&job).await["status"], "running");
}

#[tokio::test]
async fn an_abort_is_acknowledged_only_where_it_was_asked_for() {
    let (app, _, viewer, reporter, operator, _) = TestApp::init().await;
    let job = reporter.start("import").await;
    let before = app.everything().await;
    reporter.post_nothing(&job.at("aborted")).await.assert_refused(409, "wrong_state");
    assert_eq!(app.everything().await, before);
    let asked = operator.post(&job.at("abort"), json!({"reason": "enough"})).await;
    assert_eq!((asked.status().as_u16(), &asked.json()["status"]), (202, &json!("aborting")));
    let asking = viewer.job(&job).await;
    assert_eq!(asking["abortRequested"], true);
    assert_eq!(asking["abort"]["at"], asking["lastActivityTime"], "a moment, as any other is written");
    let reply = reporter.post_nothing(&job.at("aborted")).await;
    assert_eq!((reply.status().as_u16(), &reply.json()["status"]), (200, &json!("aborted")));
    assert_eq!(reply.json()["message"], "Job marked as aborted");
    assert_eq!(viewer.listed("status=aborted").await, ["import"]);
}

#[tokio::test]
async fn a_clean_up_that_was_cut_short_is_told_from_one_that_was_done() {
    let (_, _, viewer, reporter, operator, _) = TestApp::init().await;
    for (body, said) in [
        ("", "Stopped on request"),
        (r#"{"epoch": 1}"#, "Stopped on request"),
        (r#"{"exitCode": 0}"#, "Stopped on request; exit code 0"),
        (
            r#"{"exitCode": 137, "killedAfter": 10, "at": "2026-11-22T16:20:05.123Z"}"#,
            "Stopped on request, but not by itself: what had not ended 10 seconds later was killed with SIGKILL; \
             exit code 137",
        ),
        (
            r#"{"killedAfter": 1}"#,
            "Stopped on request, but not by itself: what had not ended 1 second later was killed with SIGKILL",
        ),
    ] {
        let job = reporter.start("import").await;
        operator.post(&job.at("abort"), json!({"reason": "enough"})).await;
        for wrong in [r#"{"exitCode": 256}"#, r#"{"exitCode": -1}"#, r#"{"killedAfter": 1.5}"#] {
            assert_eq!(reporter.post_text(&job.at("aborted"), wrong).await.status(), 400, "{wrong}");
        }
        assert_eq!(reporter.post_text(&job.at("aborted"), body).await.status(), 200, "{body}");
        assert_eq!(viewer.log(&job, "system").await.last().unwrap(), said);
    }
}

#[tokio::test]
async fn work_that_was_finished_before_it_noticed_ends_completed_and_says_so() {
    let (_, _, viewer, reporter, operator, _) = TestApp::init().await;
    let job = reporter.start("import").await;
    operator.post(&job.at("abort"), json!({"reason": "enough"})).await;
    operator.post(&job.at("abort"), json!({"reason": "again"})).await.assert_refused(409, "wrong_state");
    assert_eq!(reporter.post_nothing(&job.at("complete")).await.json()["status"], "completed");
    let said = "Completed: the work was finished before it noticed the request to stop";
    assert_eq!(viewer.log(&job, "system").await.last().unwrap(), said);
}

#[tokio::test]
async fn of_many_finishers_one_wins_and_all_others_are_told() {
    let (_, _, viewer, reporter, operator, _) = TestApp::init().await;
    for _ in 0..20 {
        let job = reporter.start("import").await;
        let (complete, fail, force_fail) = (job.at("complete"), job.at("fail"), job.at("force-fail"));
        let (a, b, c, d) = tokio::join!(
            reporter.post_nothing(&complete),
            reporter.post_nothing(&fail),
            operator.post(&force_fail, json!({"reason": "r"})),
            operator.post("/api/admin/jobs/emergency-cleanup", json!({"reason": "r"})),
        );
        let won = [a.status(), b.status(), c.status()].into_iter().filter(|status| *status == 200).count();
        let cleaned = d.json()["cleanedJobs"].as_u64().unwrap() as usize;
        assert_eq!(won + cleaned, 1);
        let ends = viewer.log(&job, "all").await;
        assert!(
            ["completed", "failed"].contains(&viewer.job(&job).await["status"].as_str().unwrap()),
            "{ends:?}"
        );
    }
}
