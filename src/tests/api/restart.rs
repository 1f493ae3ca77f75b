//! What a restart leaves as it was, and what it settles.

use serde_json::json;

use crate::support::TestApp;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_fails_what_ran_in_the_process_and_leaves_the_rest_alone() {
    let (app, _, _, reporter, operator, _) = TestApp::with().init_sqlite().await;
    let external = reporter.start_with(json!({"feature": "import", "tags": ["kept"]})).await;
    reporter
        .post(&external.at("progress"), json!({"steps": [{"id": "load"}], "step": "load", "progress": 0.5}))
        .await;
    reporter.post(&external.at("message"), json!({"type": "info", "message": "half-way", "key": 1})).await;
    let done = reporter.completed("export").await;
    let aborting = reporter.start("aborting").await;
    operator.post(&aborting.at("abort"), json!({"reason": "enough"})).await;
    // Long enough that a stop which waits for nobody finds it running.
    let inside = operator.run(json!({"feature": "demo-condensation", "input": {"pace": 5000}})).await;
    let before = (
        operator.job(&external).await,
        operator.job(&done).await,
        operator.job(&aborting).await,
        operator.log(&external, "all").await,
    );

    let (app, admin) = app.restart().await;
    assert_eq!(
        (
            admin.job(&external).await,
            admin.job(&done).await,
            admin.job(&aborting).await,
            admin.log(&external, "all").await
        ),
        before
    );
    let interrupted = admin.job(&inside).await;
    assert_eq!(
        (&interrupted["status"], &interrupted["error"]),
        (&json!("failed"), &json!("Interrupted by a restart"))
    );
    assert_eq!(interrupted["epoch"], 2, "the old process is fenced");

    let counts = admin.get("/api/admin/jobs/health").await.json();
    assert_eq!((&counts["activeJobs"], &counts["pastJobs"]), (&json!(2), &json!(2)));
    let again = json!({"type": "info", "message": "half-way", "key": 1});
    admin.post(&external.at("message"), again).await;
    assert_eq!(admin.log(&external, "info").await, ["half-way"]);
    assert_eq!(admin.post(&external.at("complete"), json!({"epoch": 1})).await.status(), 200);
    assert_eq!(admin.post_nothing(&aborting.at("aborted")).await.status(), 200);
    drop(app);
}

/// The library that reads JSON takes one name for its own where it comes first, and names are kept sorted; and
/// it reads only so deep, while what is kept lies inside of more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_read_back_is_refused_and_a_restart_reads_the_rest() {
    let (app, _, _, reporter, ..) = TestApp::with().init_sqlite().await;
    let name = "$serde_json::private::RawValue";
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let job = reporter.start("import").await;
    for document in [format!(r#"{{"a":1,"{name}":"x"}}"#), deep(66), deep(120)] {
        let start = format!(r#"{{"feature":"import","input":{document}}}"#);
        reporter.post_text("/api/admin/jobs/start", start).await.assert_refused(400, "invalid_value");
        let end = format!(r#"{{"output":{document}}}"#);
        reporter.post_text(&job.at("complete"), end).await.assert_refused(400, "invalid_value");
    }
    let deepest = reporter
        .post_text("/api/admin/jobs/start", format!(r#"{{"feature":"deep","input":{}}}"#, deep(65)))
        .await;
    assert_eq!(deepest.status(), 201, "{}", deepest.text());
    let before = reporter.job(&job).await;
    let (app, admin) = app.restart().await;
    assert_eq!(admin.job(&job).await, before);
    assert_eq!(admin.listed("").await, ["deep", "import"]);
    drop(app);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotency_key_is_remembered_over_a_restart() {
    let (app, .., admin) = TestApp::with().init_sqlite().await;
    let body = json!({"feature": "import"});
    let start = async |admin: &crate::support::Client| {
        let request = admin.request("POST", "/api/admin/jobs/start").header("idempotency-key", "k");
        request.json(&body).send().await.json()
    };
    let first = start(&admin).await;
    let (_app, admin) = app.restart().await;
    assert_eq!(start(&admin).await, first);
    assert_eq!(admin.listed("").await, ["import"]);
}
