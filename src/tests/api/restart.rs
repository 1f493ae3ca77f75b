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
