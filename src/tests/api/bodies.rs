//! What every endpoint does with a request it cannot read, and with a job that is not there.

use serde_json::{Value, json};

use crate::support::TestApp;

/// Every POST under a job, with a body it would take. True where a body is needed.
fn job_posts() -> [(&'static str, Value, bool); 8] {
    [
        ("progress", json!({"progress": 0.5}), true),
        ("message", json!({"type": "info", "message": "x"}), true),
        ("heartbeat", json!({"epoch": 1}), false),
        ("complete", json!({"output": 1}), false),
        ("fail", json!({"errorMessage": "x"}), false),
        ("aborted", json!({"epoch": 1}), false),
        ("abort", json!({"reason": "r"}), true),
        ("force-fail", json!({"reason": "r"}), true),
    ]
}

const OTHER_POSTS: [&str; 5] = [
    "/api/admin/jobs/start",
    "/api/admin/jobs/run",
    "/api/admin/jobs/emergency-cleanup",
    "/api/admin/users",
    "/api/admin/tokens",
];

#[tokio::test]
async fn what_is_no_json_or_the_wrong_json_is_refused_and_changes_nothing() {
    let (app, .., admin) = TestApp::init().await;
    let job = admin.start("import").await;
    let before = app.everything().await;
    let mut paths: Vec<(String, bool)> = OTHER_POSTS.map(|path| (path.to_owned(), true)).into();
    paths.extend(job_posts().map(|(what, _, needed)| (job.at(what), needed)));
    for (path, needs_body) in paths {
        for text in ["{", "nonsense", "{\"a\":}", "{} {}", "\u{feff}{}", "[1,]", "{\"progress\":NaN}"] {
            let reply = admin.post_text(&path, text).await;
            assert_eq!(reply.status(), 400, "{path} {text}: {}", reply.text());
            assert!(["malformed_json", "wrong_shape"].contains(&reply.json()["code"].as_str().unwrap()));
        }
        for text in ["5", "\"text\"", "true"] {
            admin.post_text(&path, text).await.assert_refused(400, "wrong_shape");
        }
        admin.post_text(&path, "[".repeat(5_000)).await.json();
        if needs_body {
            for text in ["", " \n\t"] {
                admin.post_text(&path, text).await.assert_refused(400, "empty_body");
            }
        }
        let text = admin.request("POST", &path).header("content-type", "text/plain").body("{}").send().await;
        text.assert_refused(415, "not_json");
        let form = "application/x-www-form-urlencoded";
        let form = admin.request("POST", &path).header("content-type", form).body("reason=x").send().await;
        form.assert_refused(415, "not_json");
        let binary = admin.request("POST", &path).body(vec![0xff_u8, 0xfe, 0x00]).send().await;
        binary.assert_refused(400, "malformed_json");
    }
    assert_eq!(app.everything().await, before);
}

#[tokio::test]
async fn json_is_taken_under_each_of_its_names_and_under_none() {
    let (_, _, _, reporter, ..) = TestApp::init().await;
    for kind in
        ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/x+json"]
    {
        let request = reporter.request("POST", "/api/admin/jobs/start").header("content-type", kind);
        assert_eq!(request.body(r#"{"feature":"a"}"#).send().await.status(), 201, "{kind}");
    }
    let request = reporter.request("POST", "/api/admin/jobs/start").body(r#"{"feature":"a"}"#);
    assert_eq!(request.send().await.status(), 201);
}

#[tokio::test]
async fn more_than_a_mebibyte_is_refused() {
    let (app, .., admin) = TestApp::init().await;
    let job = admin.start("import").await;
    let before = app.everything().await;
    let huge = format!("{{\"feature\":\"a\",\"input\":\"{}\"}}", "x".repeat(1024 * 1024));
    let mut paths: Vec<String> = OTHER_POSTS.map(str::to_owned).into();
    paths.extend(
        job_posts().map(|(what, ..)| job.at(what)).into_iter().filter(|path| !path.ends_with("message")),
    );
    for path in paths {
        admin.post_text(&path, huge.as_str()).await.assert_refused(413, "body_too_large");
    }
    assert_eq!(app.everything().await, before);
    let large = format!("{{\"feature\":\"a\",\"input\":\"{}\"}}", "x".repeat(1000 * 1024));
    assert_eq!(admin.post_text("/api/admin/jobs/start", large).await.status(), 201);
}

#[tokio::test]
async fn a_job_that_is_not_there_is_not_found_whatever_is_asked_of_it() {
    let (app, .., admin) = TestApp::init().await;
    let before = app.everything().await;
    for id in
        ["00000000-0000-7000-8000-000000000000", "not-a-uuid", "%00", "1", "%F0%9F%92%A3", &"a".repeat(5000)]
    {
        for (what, body, _) in job_posts() {
            admin
                .post(&format!("/api/admin/jobs/{id}/{what}"), body)
                .await
                .assert_refused(404, "job_not_found");
        }
        for what in ["progress", "messages"] {
            admin.get(&format!("/api/admin/jobs/{id}/{what}")).await.assert_refused(404, "job_not_found");
        }
    }
    admin.get("/api/admin/jobs/%FF/progress").await.assert_refused(404, "job_not_found");
    assert_eq!(app.everything().await, before);
}

#[tokio::test]
async fn a_job_that_has_ended_takes_nothing_more() {
    let (app, .., admin) = TestApp::init().await;
    let completed = admin.completed("import").await;
    let failed = admin.start("import").await;
    admin.post_nothing(&failed.at("fail")).await;
    let before = app.everything().await;
    for job in [&completed, &failed] {
        for (what, body, _) in job_posts() {
            let reply = admin.post(&job.at(what), body).await;
            reply.assert_refused(409, "job_finished");
            assert!(reply.json()["details"]["status"].is_string());
        }
    }
    assert_eq!(app.everything().await, before, "a job that ended by itself has no late writes");
}

#[tokio::test]
async fn another_epoch_is_refused_and_that_of_a_fenced_run_is_counted_and_shown() {
    let (app, _, viewer, reporter, operator, _) = TestApp::init().await;
    let job = reporter.start("import").await;
    let before = app.everything().await;
    let reply = reporter.post(&job.at("progress"), json!({"progress": 0.5, "epoch": 2})).await;
    reply.assert_refused(409, "stale_epoch");
    assert_eq!(reply.json()["details"], json!({"givenEpoch": 2, "epoch": 1}));
    assert_eq!(app.everything().await, before, "an epoch from the future is nobody's late write");

    operator.post(&job.at("force-fail"), json!({"reason": "hung"})).await;
    let reports = [
        ("progress", json!({"progress": 0.9, "epoch": 1})),
        ("message", json!([{"type": "info", "message": "I live", "epoch": 1}])),
        ("heartbeat", json!({"epoch": 1})),
        ("complete", json!({"epoch": 1})),
        ("fail", json!({"epoch": 1})),
        ("aborted", json!({"epoch": 1})),
    ];
    for (count, (what, body)) in (1..).zip(reports) {
        reporter.post(&job.at(what), body).await.assert_refused(409, "stale_epoch");
        assert_eq!(viewer.job(&job).await["lateWrites"], count);
    }
    reporter.post_nothing(&job.at("heartbeat")).await.assert_refused(409, "job_finished");
    let ended = viewer.job(&job).await;
    assert_eq!(
        (&ended["lateWrites"], &ended["epoch"], &ended["progress"]),
        (&json!(7), &json!(2), &json!(0.0))
    );
    assert!(ended["verdict"]["text"].as_str().unwrap().contains("7 late writes were refused"), "{ended}");
    let page = viewer.page("/admin/jobs").await;
    assert!(page.assert_page(200).contains("7 late writes were refused"));
    assert!(viewer.page(&job.page()).await.text().contains("7 refused after the run was ended"));
}

#[tokio::test]
async fn a_path_or_method_that_is_not_there_says_so_in_the_one_envelope() {
    let (_, _, viewer, ..) = TestApp::init().await;
    viewer.get("/api/admin/nothing").await.assert_refused(404, "no_such_path");
    viewer.get("/api/admin/jobs/a/b/c").await.assert_refused(404, "no_such_path");
    let reply = viewer.request("PUT", "/api/admin/jobs").send().await;
    reply.assert_refused(405, "method_not_allowed");
    assert!(reply.header("allow").contains("GET"), "{}", reply.header("allow"));
}

/// serde's structs take a list of their fields' values as well; the description says nothing of that.
#[tokio::test]
async fn a_list_is_taken_for_no_object_at_any_depth() {
    let (app, .., admin) = TestApp::init().await;
    let job = admin.start("import").await;
    let before = app.everything().await;
    let lists =
        ["[]", "[null]", "[null, null]", "[null, null, null]", "[\"a\", \"b\"]", "[\"a\", null, false, 60]"];
    let mut paths: Vec<String> = OTHER_POSTS.map(str::to_owned).into();
    paths.extend(
        job_posts().into_iter().filter(|(what, ..)| *what != "message").map(|(what, ..)| job.at(what)),
    );
    for path in paths {
        for list in lists {
            admin.post_text(&path, list).await.assert_refused(400, "wrong_shape");
        }
    }
    for (what, nested) in [
        ("progress", r#"{"steps": [["load", null, null, []]]}"#),
        ("progress", r#"{"steps": [{"id": "load", "steps": [["parse", null, null, []]]}]}"#),
        ("message", r#"[["info", "x", null, null, null]]"#),
    ] {
        admin.post_text(&job.at(what), nested).await.assert_refused(400, "wrong_shape");
    }
    assert_eq!(app.everything().await, before);
}

#[tokio::test]
async fn a_whole_number_is_whole_however_it_is_written() {
    let (_, _, _, reporter, ..) = TestApp::init().await;
    let start = |timeout: &str| format!("{{\"feature\": \"import\", \"timeout\": {timeout}}}");
    for timeout in ["60", "60.0", "6e1"] {
        let reply = reporter.post_text("/api/admin/jobs/start", start(timeout)).await;
        assert_eq!(reply.status(), 201, "{timeout}: {}", reply.text());
    }
    for timeout in ["60.5", "-1.0", "1e300", "\"60\""] {
        let reply = reporter.post_text("/api/admin/jobs/start", start(timeout)).await;
        reply.assert_refused(400, "wrong_shape");
    }
}

#[tokio::test]
async fn a_number_that_no_store_can_hold_is_refused() {
    let (_, _, _, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    let most = i64::MAX.unsigned_abs();
    for after in [most + 1, u64::MAX] {
        reporter.get(&job.at(&format!("messages?after={after}"))).await.assert_refused(400, "invalid_value");
    }
    assert_eq!(reporter.get(&job.at(&format!("messages?after={most}"))).await.status(), 200);
    let message = |key: u64| json!({"type": "info", "message": "x", "key": key});
    for key in [0, most + 1, u64::MAX] {
        reporter.post(&job.at("message"), message(key)).await.assert_refused(400, "invalid_value");
    }
    assert_eq!(reporter.post(&job.at("message"), message(most)).await.status(), 200);
}

#[tokio::test]
async fn a_path_that_cannot_be_decoded_is_refused_in_our_own_words() {
    let (.., admin) = TestApp::init().await;
    for name in ["%FF", "%C3%28", "%80abc"] {
        for what in ["users", "tokens"] {
            let reply = admin.request("DELETE", &format!("/api/admin/{what}/{name}")).send().await;
            reply.assert_refused(404, "not_found");
        }
        assert_eq!(admin.get(&format!("/pkg/{name}/longhaul.css")).await.status(), 404);
    }
}
