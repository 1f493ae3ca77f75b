//! `POST /api/admin/jobs/start`.

use serde_json::json;

use crate::support::{HOSTILE, TestApp};

const START: &str = "/api/admin/jobs/start";

#[tokio::test]
async fn a_start_answers_the_job_its_epoch_and_where_it_is() {
    let (_, _, viewer, reporter, ..) = TestApp::init().await;
    let reply = reporter.post(START, json!({"feature": "nightly-import"})).await;
    assert_eq!(reply.status(), 201);
    let body = reply.json();
    let id = body["jobId"].as_str().unwrap();
    assert_eq!(body, json!({"jobId": id, "epoch": 1, "message": "Job started for nightly-import"}));
    assert_eq!(reply.header("location"), format!("/api/admin/jobs/{id}/progress"));
    assert_eq!(viewer.get(reply.header("location")).await.json()["status"], "running");
}

#[tokio::test]
async fn a_job_has_exactly_the_fields_of_the_design() {
    let (_, _, _, reporter, ..) = TestApp::init().await;
    let job = reporter
        .start_with(json!({
            "feature": "nightly-import", "title": "Import of the night", "input": {"rows": 5},
            "tags": ["night", "import"], "timeout": 60, "activityTimeout": 0,
        }))
        .await;
    assert_eq!(
        reporter.job(&job).await,
        json!({
            "id": job.id, "feature": "nightly-import", "author": "reporter", "title": "Import of the night",
            "status": "running", "progress": 0.0,
            "startTime": "2026-11-22T16:20:05.123Z", "lastActivityTime": "2026-11-22T16:20:05.123Z",
            "heartbeatTime": "2026-11-22T16:20:05.123Z",
            "infoMessages": [], "warningMessages": [], "errorMessages": [],
            "truncated": {"info": 0, "warning": 0, "error": 0},
            "attempt": 1, "maxAttempts": 1, "epoch": 1, "queue": "default", "priority": 0,
            "steps": [], "eta": null, "verdict": null, "tags": ["night", "import"],
            "input": {"rows": 5}, "output": null, "error": null,
            "abortRequested": false, "abort": null, "dropped": {"info": 0, "warning": 0, "error": 0},
            "pinned": false, "lateWrites": 0, "revision": 1,
        })
    );
    reporter.post(&job.at("complete"), json!({"output": [1, 2]})).await;
    let ended = reporter.job(&job).await;
    assert_eq!((&ended["endTime"], &ended["output"]), (&json!("2026-11-22T16:20:05.123Z"), &json!([1, 2])));
}

#[tokio::test]
async fn what_cannot_be_started_is_refused_and_nothing_is_made() {
    let (app, _, _, reporter, ..) = TestApp::init().await;
    let before = app.everything().await;
    let long = |count: usize| "ä".repeat(count);
    for body in [
        json!({}),
        json!({"feature": "  "}),
        json!({"feature": long(101)}),
        json!({"feature": "a", "title": long(201)}),
        json!({"feature": "a", "title": " "}),
        json!({"feature": "a", "author": ""}),
        json!({"feature": "a", "tags": [""]}),
        json!({"feature": "a", "tags": [long(51)]}),
        json!({"feature": "a", "tags": vec!["t"; 21]}),
        json!({"feature": "a", "timeout": 366 * 86_400 + 1}),
        json!({"feature": "a", "activityTimeout": u64::MAX}),
    ] {
        let reply = reporter.post(START, body.clone()).await;
        assert!([400, 403].contains(&reply.status().as_u16()), "{body}: {}", reply.text());
        assert!(["invalid_value", "may_not_act_as"].contains(&reply.json()["code"].as_str().unwrap()));
    }
    for body in [
        json!({"feature": 5}),
        json!({"feature": "a", "timeout": -1}),
        json!({"feature": "a", "timeout": 1.5}),
        json!({"feature": "a", "tags": "night"}),
        json!({"feature": "a", "onePerFeature": "yes"}),
    ] {
        reporter.post(START, body).await.assert_refused(400, "wrong_shape");
    }
    assert_eq!(app.everything().await, before);
}

#[tokio::test]
async fn what_is_just_within_the_limits_is_taken_and_kept_as_it_came() {
    let (app, ..) = TestApp::init().await;
    let importer = app.token("importer", longhaul::model::Role::Reporter).await;
    let (feature, title, tag) = ("ä".repeat(100), "ö".repeat(200), "ü".repeat(50));
    let job = importer
        .start_with(json!({"feature": feature, "title": title, "tags": vec![tag.as_str(); 20], "timeout": 0}))
        .await;
    let job = importer.job(&job).await;
    assert_eq!((&job["feature"], &job["title"]), (&json!(feature), &json!(title)));
    assert_eq!(job["tags"].as_array().unwrap().len(), 20);

    let hostile = importer.start_with(json!({"feature": HOSTILE, "title": HOSTILE, "input": HOSTILE})).await;
    let hostile = importer.job(&hostile).await;
    assert_eq!((&hostile["feature"], &hostile["input"]), (&json!(HOSTILE), &json!(HOSTILE)));
    assert_eq!(hostile["title"], HOSTILE.replace("\u{1b}[31m", ""), "but for terminal escapes");
}

#[tokio::test]
async fn an_idempotency_key_makes_one_job_of_many_requests() {
    let (app, .., operator, admin) = TestApp::init().await;
    let start = async |client: &crate::support::Client, key: &str, feature: &str| {
        let body = json!({"feature": feature});
        client.request("POST", START).header("idempotency-key", key).json(&body).send().await
    };
    let first = start(&admin, "k-1", "import").await;
    assert_eq!(first.status(), 201);
    let again = start(&admin, "k-1", "import").await;
    assert_eq!((again.status(), again.json()), (first.status(), first.json()));
    assert_eq!(admin.listed("includePast=true").await, ["import"]);

    start(&admin, "k-1", "export").await.assert_refused(409, "idempotency_key_reused");
    assert_ne!(start(&operator, "k-1", "import").await.json()["jobId"], first.json()["jobId"]);
    start(&admin, "", "import").await.assert_refused(400, "invalid_value");
    start(&admin, &"k".repeat(201), "import").await.assert_refused(400, "invalid_value");
    assert_eq!(admin.listed("includePast=true").await, ["import", "import"]);

    // It is kept for a day; the sweep after that forgets it.
    app.minutes_pass(24 * 60 + 1);
    app.service.sweeper().prune().await.unwrap();
    assert_ne!(start(&admin, "k-1", "import").await.json()["jobId"], first.json()["jobId"]);
}

#[tokio::test]
async fn a_replayed_start_is_answered_though_the_limit_is_reached() {
    let (.., admin) = TestApp::with().max_active(1).init().await;
    let body = json!({"feature": "import"});
    let start = || admin.request("POST", START).header("idempotency-key", "k").json(&body).send();
    let (first, again) = (start().await, start().await);
    assert_eq!((first.status().as_u16(), again.status().as_u16()), (201, 201));
    assert_eq!(first.json(), again.json());
}

#[tokio::test]
async fn a_reporter_has_half_of_the_places_and_is_told_so() {
    let (app, _, _, reporter, operator, _) = TestApp::with().max_active(9).init().await;
    let starts = (0..9).map(|_| reporter.post(START, json!({"feature": "import"})));
    let replies = futures::future::join_all(starts).await;
    assert_eq!(replies.iter().filter(|reply| reply.status() == 201).count(), 5);
    let before = app.everything().await;
    let refused = reporter.post(START, json!({"feature": "import"})).await;
    refused.assert_refused(429, "active_share");
    assert_eq!(refused.header("retry-after"), "5");
    assert_eq!(refused.json()["details"], json!({"share": 5, "limit": 9}));
    let said = refused.json()["error"].as_str().unwrap().to_owned();
    assert!(
        said.contains("5 jobs") && said.contains("token:reporter") && said.contains("of the 9"),
        "{said}"
    );
    assert_eq!(app.everything().await, before);
    let other = app.token("other", longhaul::model::Role::Reporter).await;
    other.start("import").await;
    for _ in 0..3 {
        operator.start("import").await;
    }
    operator.post(START, json!({"feature": "import"})).await.assert_refused(429, "active_limit");
}

#[tokio::test]
async fn one_per_feature_is_refused_while_one_has_not_ended() {
    let (_, _, _, reporter, ..) = TestApp::init().await;
    let body = json!({"feature": "import", "onePerFeature": true});
    let first = reporter.start_with(body.clone()).await;
    let reply = reporter.post(START, body.clone()).await;
    reply.assert_refused(409, "duplicate_job");
    assert_eq!(reply.json()["details"], json!({"jobId": first.id}));
    reporter.start_with(json!({"feature": "export", "onePerFeature": true})).await;
    reporter.post_nothing(&first.at("complete")).await;
    reporter.start_with(body).await;
}

#[tokio::test]
async fn concurrent_starts_of_one_feature_make_one_job() {
    let (_, _, _, reporter, ..) = TestApp::init().await;
    let body = json!({"feature": "import", "onePerFeature": true});
    let starts = (0..20).map(|_| reporter.post(START, body.clone()));
    let replies = futures::future::join_all(starts).await;
    assert_eq!(replies.iter().filter(|reply| reply.status() == 201).count(), 1);
    assert_eq!(reporter.listed("").await, ["import"]);
}

#[tokio::test]
async fn an_author_is_named_only_by_a_token_that_may() {
    let (app, _, _, reporter, ..) = TestApp::init().await;
    let body = json!({"feature": "import", "author": "anna@example.org"});
    reporter.post(START, body.clone()).await.assert_refused(403, "may_not_act_as");
    let own = reporter.start_with(json!({"feature": "import", "author": "reporter"})).await;
    assert_eq!(reporter.job(&own).await["author"], "reporter");

    let acting = app
        .token_that(longhaul::service::NewToken {
            name: "gateway".to_owned(),
            role: longhaul::model::Role::Reporter,
            act_as: true,
            lasts: None,
        })
        .await;
    let job = acting.start_with(body).await;
    assert_eq!(acting.job(&job).await["author"], "anna@example.org");
    for author in [" ".to_owned(), "ä".repeat(201)] {
        let reply = acting.post(START, json!({"feature": "import", "author": author})).await;
        reply.assert_refused(400, "invalid_value");
        assert_eq!(reply.json()["details"], json!({"field": "author"}));
    }
    let log = acting.log(&job, "system").await;
    assert!(log[0].contains("token gateway"), "the log keeps who really did it: {log:?}");
}

#[tokio::test]
async fn nothing_is_started_while_the_server_stops() {
    let (app, _, _, reporter, operator, admin) = TestApp::init().await;
    let job = reporter.start("import").await;
    let before = app.everything().await;
    app.service.stop_taking_work();
    let stopping = async |reply: crate::support::Reply| {
        reply.assert_refused(503, "stopping");
        assert_eq!(reply.header("retry-after"), "2");
    };
    stopping(reporter.post(START, json!({"feature": "import"})).await).await;
    stopping(operator.post("/api/admin/jobs/run", json!({"feature": "retention"})).await).await;
    stopping(reporter.post(&job.at("progress"), json!({"progress": 0.5})).await).await;
    stopping(reporter.post(&job.at("message"), json!({"type": "info", "message": "x"})).await).await;
    stopping(reporter.post_nothing(&job.at("heartbeat")).await).await;
    stopping(reporter.post_nothing(&job.at("complete")).await).await;
    stopping(reporter.post_nothing(&job.at("fail")).await).await;
    stopping(operator.post(&job.at("abort"), json!({"reason": "r"})).await).await;
    stopping(operator.post(&job.at("force-fail"), json!({"reason": "r"})).await).await;
    stopping(operator.post("/api/admin/jobs/emergency-cleanup", json!({"reason": "r"})).await).await;
    stopping(operator.post_nothing("/api/admin/jobs/cleanup").await).await;
    stopping(admin.post("/api/admin/users", json!({"name": "x"})).await).await;
    stopping(admin.post("/api/admin/tokens", json!({"name": "x"})).await).await;
    stopping(admin.get("/readyz").await).await;
    assert_eq!(reporter.job(&job).await["status"], "running", "reading goes on");
    assert_eq!(app.everything().await, before);
}
