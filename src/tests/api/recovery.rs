//! `abort`, `force-fail`, `emergency-cleanup`, `cleanup`.

use std::time::Duration;

use serde_json::json;

use crate::support::TestApp;

const CLEAN: &str = "/api/admin/jobs/emergency-cleanup";
const SWEEP: &str = "/api/admin/jobs/cleanup";

#[tokio::test]
async fn a_force_failed_job_ends_now_with_reason_and_actor_kept() {
    let (app, _, viewer, reporter, operator, _) = TestApp::init().await;
    let job = reporter.start("import").await;
    reporter.post(&job.at("progress"), json!({"progress": 0.4})).await;
    app.clock.advance(Duration::from_secs(90));
    let reply = operator.post(&job.at("force-fail"), json!({"reason": " stuck in Reduce "})).await;
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.json()["message"], "Job force-failed successfully");
    let seen = viewer.job(&job).await;
    assert_eq!(
        (&seen["status"], &seen["progress"], &seen["epoch"]),
        (&json!("failed"), &json!(0.4), &json!(2))
    );
    assert_eq!(seen["error"], "Job force-failed: stuck in Reduce");
    assert_eq!(seen["errorMessages"][0]["message"], "Job force-failed: stuck in Reduce");
    assert_eq!(seen["endTime"], "2026-11-22T16:21:35.123Z");
    assert_eq!(viewer.log(&job, "operator").await, ["token operator force-failed it: stuck in Reduce"]);
}

#[tokio::test]
async fn recovery_takes_a_reason_within_its_limit() {
    let (app, _, _, reporter, operator, _) = TestApp::init().await;
    let job = reporter.start("import").await;
    let before = app.everything().await;
    for path in [job.at("abort"), job.at("force-fail"), CLEAN.to_owned()] {
        for body in [
            json!({}),
            json!({"reason": null}),
            json!({"reason": " \n"}),
            json!({"reason": "ä".repeat(1001)}),
        ] {
            let reply = operator.post(&path, body).await;
            reply.assert_refused(400, "invalid_value");
            assert_eq!(reply.json()["details"], json!({"field": "reason"}));
        }
        operator.post(&path, json!({"reason": 5})).await.assert_refused(400, "wrong_shape");
    }
    assert_eq!(app.everything().await, before);
    assert_eq!(operator.post(&job.at("abort"), json!({"reason": "ä".repeat(1000)})).await.status(), 202);
}

#[tokio::test]
async fn an_aborting_job_can_still_be_force_failed() {
    let (_, _, viewer, reporter, operator, _) = TestApp::init().await;
    let job = reporter.start("import").await;
    operator.post(&job.at("abort"), json!({"reason": "enough"})).await;
    assert_eq!(operator.post(&job.at("force-fail"), json!({"reason": "it hangs"})).await.status(), 200);
    reporter.post_nothing(&job.at("aborted")).await.assert_refused(409, "job_finished");
    assert_eq!(viewer.job(&job).await["status"], "failed");
}

#[tokio::test]
async fn a_dry_run_says_what_an_emergency_cleanup_would_do_and_does_nothing() {
    let (app, _, _, reporter, operator, _) = TestApp::init().await;
    let first = reporter.start_with(json!({"feature": "import", "title": "The import"})).await;
    app.clock.advance(Duration::from_millis(1));
    let second = reporter.start("export").await;
    operator.post(&second.at("abort"), json!({"reason": "enough"})).await;
    reporter.completed("done").await;
    let before = app.everything().await;
    let reply = operator.post(CLEAN, json!({"reason": "all hung", "dryRun": true})).await;
    assert_eq!(reply.status(), 200);
    assert_eq!(
        reply.json(),
        json!({
            "cleanedJobs": 0, "activeJobsRemaining": 2, "pastJobsRemaining": 1, "dryRun": true,
            "reason": "all hung", "message": "Dry run: nothing was changed",
            "jobs": [
                {"id": second.id, "feature": "export", "title": "export", "statusBefore": "aborting", "outcome": "would_fail"},
                {"id": first.id, "feature": "import", "title": "The import", "statusBefore": "running", "outcome": "would_fail"},
            ],
        })
    );
    assert_eq!(app.everything().await, before);
}

#[tokio::test]
async fn an_emergency_cleanup_ends_every_job_and_removes_no_history() {
    let (_, _, viewer, reporter, operator, _) = TestApp::init().await;
    for _ in 0..60 {
        reporter.completed("done").await;
    }
    let mut jobs = Vec::new();
    for _ in 0..3 {
        jobs.push(reporter.start("import").await);
    }
    let reply = operator.post(CLEAN, json!({"reason": "all hung"})).await;
    assert_eq!(reply.status(), 200);
    let report = reply.json();
    assert_eq!(
        (
            &report["cleanedJobs"],
            &report["activeJobsRemaining"],
            &report["pastJobsRemaining"],
            &report["dryRun"]
        ),
        (&json!(3), &json!(0), &json!(63), &json!(false))
    );
    assert_eq!(report["message"], "Emergency cleanup completed successfully");
    assert_eq!(report["jobs"].as_array().unwrap().len(), 3);
    assert!(report["jobs"].as_array().unwrap().iter().all(|job| job["outcome"] == "failed"));
    for job in &jobs {
        let seen = viewer.job(job).await;
        assert_eq!(seen["error"], "Job force-failed: Emergency cleanup - system recovery");
        assert_eq!(seen["epoch"], 2);
        assert_eq!(viewer.log(job, "operator").await, ["token operator ran an emergency cleanup: all hung"]);
    }
    let again = operator.post(CLEAN, json!({"reason": "once more"})).await.json();
    assert_eq!((&again["cleanedJobs"], &again["jobs"]), (&json!(0), &json!([])));
}

#[tokio::test]
async fn the_sweep_ends_what_is_stale_with_the_words_of_the_design_and_nothing_else() {
    let (app, _, viewer, reporter, operator, _) = TestApp::init().await;
    let silent = reporter.start("silent").await;
    let busy = reporter.start("busy").await;
    let unlimited =
        reporter.start_with(json!({"feature": "unlimited", "timeout": 0, "activityTimeout": 0})).await;
    let short = reporter.start_with(json!({"feature": "short", "timeout": 60})).await;
    let nothing = operator.post_nothing(SWEEP).await;
    assert_eq!((nothing.status().as_u16(), nothing.json()), (200, json!({"cleanedJobs": 0, "jobs": []})));

    app.minutes_pass(10);
    reporter.post(&busy.at("message"), json!({"type": "info", "message": "alive"})).await;
    reporter.post_nothing(&silent.at("heartbeat")).await;
    let swept = operator.post_nothing(SWEEP).await.json();
    assert_eq!(
        swept,
        json!({"cleanedJobs": 1, "jobs": [
            {"id": short.id, "feature": "short", "error": "Job force-failed: Job running too long (10 minutes)"},
        ]}),
        "ten minutes are not more than ten minutes"
    );
    app.clock.advance(Duration::from_millis(1));
    let swept = operator.post_nothing(SWEEP).await.json();
    assert_eq!(swept["jobs"][0]["error"], "Job force-failed: Job inactive too long (10 minutes)");
    assert_eq!(swept["jobs"][0]["id"], silent.id);

    for _ in 0..3 {
        app.minutes_pass(9);
        reporter.post(&busy.at("message"), json!({"type": "info", "message": "alive"})).await;
    }
    let swept = operator.post_nothing(SWEEP).await.json();
    assert_eq!(swept["jobs"][0]["error"], "Job force-failed: Job running too long (37 minutes)");
    assert_eq!(swept["jobs"][0]["id"], busy.id);
    reporter
        .post(&busy.at("progress"), json!({"progress": 1, "epoch": 1}))
        .await
        .assert_refused(409, "stale_epoch");

    app.minutes_pass(60 * 24 * 30);
    assert_eq!(operator.post_nothing(SWEEP).await.json()["cleanedJobs"], 0);
    assert_eq!(viewer.job(&unlimited).await["status"], "running");
}

#[tokio::test]
async fn the_periodic_sweep_does_the_same_by_itself() {
    let (app, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("silent").await;
    app.minutes_pass(11);
    let ended = app.service.sweeper().sweep().await.unwrap();
    assert_eq!(ended.len(), 1);
    assert_eq!(viewer.job(&job).await["error"], "Job force-failed: Job inactive too long (11 minutes)");
    assert!(app.service.sweeper().sweep().await.unwrap().is_empty());
}

#[tokio::test]
async fn history_is_kept_to_its_limit_newest_first() {
    let (_, _, viewer, reporter, operator, _) = TestApp::init().await;
    for number in 0..105 {
        reporter.completed(&format!("job-{number}")).await;
    }
    operator.post_nothing(SWEEP).await;
    assert_eq!(viewer.get("/api/admin/jobs/health").await.json()["pastJobs"], 100);
    let kept = viewer.listed("includePast=true&limit=200").await;
    assert_eq!((kept.len(), kept[0].as_str(), kept[99].as_str()), (100, "job-104", "job-5"));
}
