//! Work whose process vouches for itself: it is missed, given up and taken back, and no clock that nobody set for
//! it ends it. And what is told of it later.

use longhaul::model::Role;
use serde_json::{Value, json};

use crate::support::{Client, Started, TestApp};

async fn vouched(client: &Client, more: Value) -> Started {
    let mut body = json!({"feature": "import", "heartbeatEvery": 5});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    client.start_with(body).await
}

#[tokio::test]
async fn the_installations_timeouts_end_only_work_that_reports_by_itself() {
    let (app, _, viewer, reporter, ..) = TestApp::init().await;
    let (vouched_for, by_itself) = (vouched(&reporter, json!({})).await, reporter.start("import").await);
    let limited = vouched(&reporter, json!({"activityTimeout": 30})).await;
    app.minutes_pass(40);
    for job in [&vouched_for, &limited] {
        reporter.post(&job.at("heartbeat"), json!({"epoch": 1})).await;
    }
    let verdict = viewer.job(&vouched_for).await["verdict"].clone();
    assert_eq!(verdict["severity"], "soon");
    assert!(verdict["text"].as_str().unwrap().contains("nothing ends it"), "{verdict}");
    let health = viewer.get("/api/admin/jobs/health").await.json();
    assert!(health["warnings"].to_string().contains("nothing ends it"), "{health}");
    assert_eq!(app.service.sweeper().sweep().await.unwrap().len(), 2);
    assert_eq!(viewer.job(&vouched_for).await["status"], "running");
    let (by_itself, limited) = (viewer.job(&by_itself).await, viewer.job(&limited).await);
    assert_eq!((&by_itself["cause"], &limited["cause"]), (&json!("timeout"), &json!("inactive")));
    let because = limited["endedBecause"].as_str().unwrap();
    assert!(because.contains("30 seconds") && because.contains("--activity-timeout"), "{because}");
}

#[tokio::test]
async fn a_process_that_is_not_heard_of_is_missed_given_up_and_taken_back() {
    let (app, _, viewer, reporter, operator, _) = TestApp::init().await;
    let job = vouched(&reporter, json!({})).await;
    let message = json!([{"type": "info", "message": "one", "epoch": 1, "key": 1}]);
    reporter.post(&job.at("message"), message.clone()).await.assert_ok();
    let health = async || viewer.get("/api/admin/jobs/health").await.json();
    assert_eq!(health().await["status"], "healthy");
    app.minutes_pass(1);
    assert_eq!((&health().await["status"], &health().await["staleJobs"]), (&json!("degraded"), &json!(0)));
    let verdict = viewer.job(&job).await["verdict"].clone();
    assert_eq!(verdict["severity"], "now");
    assert!(verdict["text"].as_str().unwrap().contains("not been heard of since 60 seconds"), "{verdict}");
    assert!(app.service.sweeper().sweep().await.unwrap().is_empty());
    app.minutes_pass(15);
    assert_eq!(app.service.sweeper().sweep().await.unwrap().len(), 1);
    let lost = viewer.job(&job).await;
    assert_eq!(
        (&lost["status"], &lost["cause"], &lost["epoch"]),
        (&json!("failed"), &json!("lost"), &json!(2))
    );

    // It was only cut off: what was said twice is there once, and its outcome is its own.
    reporter.post(&job.at("message"), message).await.assert_ok();
    let back = viewer.job(&job).await;
    assert_eq!(
        (&back["status"], &back["epoch"], &back["cause"]),
        (&json!("running"), &json!(1), &Value::Null)
    );
    assert_eq!(back["infoMessages"].as_array().unwrap().len(), 1);
    assert!(viewer.log(&job, "system").await.iter().any(|line| line.contains("was not lost")));
    reporter.post(&job.at("complete"), json!({"epoch": 1})).await.assert_ok();
    let ended = viewer.job(&job).await;
    assert_eq!((&ended["status"], &ended["lateWrites"]), (&json!("completed"), &json!(0)));

    // What a person ended stays ended.
    let job = vouched(&reporter, json!({})).await;
    operator.post(&job.at("force-fail"), json!({"reason": "hung"})).await.assert_ok();
    let refused = reporter.post(&job.at("heartbeat"), json!({"epoch": 1})).await;
    refused.assert_refused(409, "stale_epoch");
    let told = refused.json();
    assert_eq!(told["details"]["cause"], "force_failed");
    assert!(told["error"].as_str().unwrap().starts_with("Job force-failed: hung. token operator"), "{told}");
}

#[tokio::test]
async fn a_process_that_has_said_its_last_word_is_no_zombie() {
    let (app, _, viewer, reporter, operator, _) = TestApp::init().await;
    let job = vouched(&reporter, json!({})).await;
    operator.post(&job.at("force-fail"), json!({"reason": "hung"})).await;
    let said = json!({"type": "info", "message": "still here", "epoch": 1});
    reporter.post(&job.at("message"), said.clone()).await.assert_refused(409, "stale_epoch");
    assert!(viewer.job(&job).await["verdict"]["text"].as_str().unwrap().contains("still running"));
    reporter.post(&job.at("fail"), json!({"errorMessage": "killed", "epoch": 1})).await;
    let job_now = viewer.job(&job).await;
    assert_eq!((&job_now["verdict"], &job_now["lateWrites"]), (&Value::Null, &json!(2)));
    reporter.post(&job.at("message"), said).await;
    assert!(viewer.job(&job).await["verdict"]["text"].as_str().unwrap().contains("still running"));
    app.minutes_pass(6);
    assert_eq!(viewer.job(&job).await["verdict"], Value::Null);
}

#[tokio::test]
async fn what_is_delivered_late_bears_the_runners_time() {
    let (app, _, viewer, reporter, ..) = TestApp::init().await;
    // The clock stands at 16:20:05.123.
    let job = vouched(&reporter, json!({"at": "2026-11-22T16:20:01.000Z"})).await;
    let lines = json!([
        {"type": "info", "message": "one", "epoch": 1, "at": "2026-11-22T17:20:02.000+01:00"},
        {"type": "info", "message": "two", "epoch": 1, "at": "2026-11-22T16:20:03.000Z"},
    ]);
    reporter.post(&job.at("message"), lines).await.assert_ok();
    let done = json!({"epoch": 1, "at": "2026-11-22T16:20:05.000Z"});
    reporter.post(&job.at("complete"), done).await.assert_ok();
    let ended = viewer.job(&job).await;
    let times: Vec<&Value> =
        ended["infoMessages"].as_array().unwrap().iter().map(|line| &line["timestamp"]).collect();
    assert_eq!(times, ["2026-11-22T16:20:02.000Z", "2026-11-22T16:20:03.000Z"]);
    assert_eq!(ended["startTime"], "2026-11-22T16:20:01.000Z");
    assert_eq!(ended["endTime"], "2026-11-22T16:20:05.000Z");
    assert_eq!(ended["clockDoubted"], Value::Null);

    let job = vouched(&reporter, json!({})).await;
    let line = json!({"type": "info", "message": "x", "epoch": 1, "at": "2031-01-01T00:00:00Z"});
    reporter.post(&job.at("message"), line).await.assert_ok();
    let doubted = viewer.job(&job).await;
    assert_eq!(doubted["clockDoubted"], true);
    assert_eq!(doubted["infoMessages"][0]["timestamp"], "2026-11-22T16:20:05.123Z");
    for at in ["yesterday", "2026-11-22", ""] {
        reporter.post(&job.at("complete"), json!({"at": at})).await.assert_refused(400, "wrong_shape");
    }
    let before = app.everything().await;
    for body in [
        json!({"feature": "a", "heartbeatEvery": 0}),
        json!({"feature": "a", "heartbeatEvery": 3_601}),
        json!({"feature": "a", "grace": 86_401}),
    ] {
        reporter.post("/api/admin/jobs/start", body).await.assert_refused(400, "invalid_value");
    }
    assert_eq!(app.everything().await, before);
}

#[tokio::test]
async fn a_guess_is_marked_as_one() {
    let (_, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    reporter
        .post(&job.at("progress"), json!({"progress": 0.4, "progressSource": "guessed"}))
        .await
        .assert_ok();
    let guessed = viewer.job(&job).await;
    assert_eq!((&guessed["progressSource"], &guessed["progress"]), (&json!("guessed"), &json!(0.4)));
    reporter.post(&job.at("progress"), json!({"progress": 0.5})).await.assert_ok();
    assert_eq!(viewer.job(&job).await["progressSource"], Value::Null);
    let wrong = json!({"progress": 0.5, "progressSource": "felt"});
    reporter.post(&job.at("progress"), wrong).await.assert_refused(400, "wrong_shape");
    let nothing = json!({"progressSource": "guessed"});
    reporter.post(&job.at("progress"), nothing).await.assert_refused(400, "invalid_value");
}

#[tokio::test]
async fn a_request_is_the_same_however_it_is_written() {
    let (app, ..) = TestApp::init().await;
    let importer = app.token("importer", Role::Reporter).await;
    let start = async |body: &str| {
        let sending = importer.request("POST", "/api/admin/jobs/start").header("idempotency-key", "k");
        sending.header("content-type", "application/json").body(body.to_owned()).send().await
    };
    let first = start(r#"{"feature": "a", "title": "T", "input": {"n": 1, "m": [2.5, 1e2]}}"#).await;
    assert_eq!(first.status(), 201);
    for same in [
        r#"{"input": {"m": [2.50, 100], "n": 1.0}, "title": " T ", "feature": "a ", "tags": []}"#,
        r#"{"feature": "a", "title": "T", "author": " importer", "input": {"n": 1, "m": [2.5, 100.0]}, "activityTimeout": null}"#,
    ] {
        assert_eq!(start(same).await.json(), first.json(), "{same}");
    }
    for other in [
        r#"{"feature": "a", "title": "T", "input": {"n": 1, "m": [2.5, 101]}}"#,
        r#"{"feature": "a", "title": "t", "input": {"n": 1, "m": [2.5, 100]}}"#,
        r#"{"feature": "a", "title": "T", "input": {"n": 1, "m": [2.5, 100]}, "timeout": 60}"#,
    ] {
        start(other).await.assert_refused(409, "idempotency_key_reused");
    }
}

#[tokio::test]
async fn a_number_that_would_be_changed_is_refused_by_its_name() {
    let (app, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    let before = app.everything().await;
    let send = async |path: &str, body: String| {
        let sending = reporter.request("POST", path).header("content-type", "application/json");
        sending.body(body).send().await
    };
    for number in [
        "18446744073709551616",
        "-9223372036854775809",
        "1e400",
        "0.1234567890123456789",
        "123456789012345678901.5",
    ] {
        for (path, field) in [("/api/admin/jobs/start".to_owned(), "input"), (job.at("complete"), "output")] {
            let refused =
                send(&path, format!(r#"{{"feature": "a", "{field}": {{"n": ["\"7", {number}]}}}}"#)).await;
            assert_eq!(refused.status(), 400, "{number}: {}", refused.text());
            assert!(refused.text().contains(number), "{number}: {}", refused.text());
        }
    }
    assert_eq!(app.everything().await, before);
    let kept = r#"{"a":18446744073709551615,"b":-9223372036854775808,"c":0.1,"d":1.5e-7,"e":"99999999999999999999"}"#;
    let done = send(&job.at("complete"), format!(r#"{{"output": {kept}}}"#)).await;
    assert_eq!(done.status(), 200, "{}", done.text());
    assert_eq!(viewer.job(&job).await["output"], serde_json::from_str::<Value>(kept).unwrap());
}
