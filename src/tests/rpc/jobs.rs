//! `/rpc/jobs/start`, `/rpc/jobs/abort`, `/rpc/jobs/force-fail`.

use longhaul::model::Role;
use serde_json::json;

use crate::support::{Started, TestApp};

const NOWHERE: &str = "00000000-0000-7000-8000-000000000000";

#[tokio::test]
async fn a_form_ends_a_job_and_comes_back_with_what_happened() {
    let (app, _, _, reporter, ..) = TestApp::init().await;
    let anna = app.signed_in("anna", Role::Operator).await;
    for (what, notice, status) in
        [("abort", "abort-requested", "aborting"), ("force-fail", "force-failed", "failed")]
    {
        let job = reporter.start("import").await;
        let path = format!("/rpc/jobs/{what}");
        let fields = [("id", job.id.as_str()), ("reason", "it hangs: 50 % & more")];
        let reply = anna.form(&path, &fields).await;
        reply.assert_sent_to(&format!("{}?notice={notice}", job.page()));
        assert_eq!(anna.job(&job).await["status"], status);
        let log = anna.log(&job, "operator").await;
        assert!(log[0].starts_with("anna ") && log[0].ends_with(": it hangs: 50 % & more"), "{log:?}");
        let page = anna.page(reply.location()).await;
        assert!(page.assert_page(200).contains("role=\"status\" class=\"notice\""));

        let again = anna.form(&path, &fields).await;
        let code = if what == "abort" { "wrong_state" } else { "job_finished" };
        again.assert_sent_to(&format!("{}?notice={code}", job.page()));
        let page = anna.page(again.location()).await;
        assert!(page.assert_page(200).contains("role=\"alert\" class=\"notice refused\""));
    }
}

#[tokio::test]
async fn a_form_that_is_refused_comes_back_with_the_reason_and_changes_nothing() {
    let (app, _, _, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    let viewer = app.signed_in("vera", Role::Viewer).await;
    let operator = app.signed_in("otto", Role::Operator).await;
    let before = app.everything().await;
    for what in ["abort", "force-fail"] {
        let path = format!("/rpc/jobs/{what}");
        let back = |code: &str| format!("{}?notice={code}", job.page());
        let long = "x".repeat(1001);
        let fields = |reason| [("id", job.id.as_str()), ("reason", reason)];
        viewer.form(&path, &fields("r")).await.assert_sent_to(&back("forbidden"));
        operator.form(&path, &fields(" ")).await.assert_sent_to(&back("invalid_value"));
        operator.form(&path, &fields(&long)).await.assert_sent_to(&back("invalid_value"));
        operator.form(&path, &[("id", &job.id)]).await.assert_sent_to(&back("invalid_value"));
        let nowhere = operator.form(&path, &[("id", NOWHERE), ("reason", "r")]).await;
        nowhere.assert_sent_to(&format!("/admin/jobs/{NOWHERE}?notice=job_not_found"));
    }
    operator
        .form("/rpc/jobs/start", &[("feature", "nothing")])
        .await
        .assert_sent_to("/admin/jobs?notice=not_found");
    viewer
        .form("/rpc/jobs/start", &[("feature", "retention")])
        .await
        .assert_sent_to("/admin/jobs?notice=forbidden");
    let wrong = [("feature", "demo-condensation"), ("input", "{no json")];
    operator.form("/rpc/jobs/start", &wrong).await.assert_sent_to("/admin/jobs?notice=malformed_input");
    assert_eq!(app.everything().await, before);
    app.service.stop_taking_work();
    let stopping = operator.form("/rpc/jobs/abort", &[("id", &job.id), ("reason", "r")]).await;
    stopping.assert_sent_to(&format!("{}?notice=stopping", job.page()));
}

#[tokio::test]
async fn a_call_is_answered_with_the_status_and_words_of_the_rest_api() {
    let (app, anon, viewer, reporter, operator, _) = TestApp::init().await;
    let job = reporter.start("import").await;
    let before = app.everything().await;
    for what in ["abort", "force-fail"] {
        let path = format!("/rpc/jobs/{what}");
        let fields = [("id", job.id.as_str()), ("reason", "r")];
        anon.call(&path, &fields).await.assert_refused(401, "not_signed_in");
        viewer.call(&path, &fields).await.assert_refused(403, "forbidden");
        reporter.call(&path, &fields).await.assert_refused(403, "forbidden");
        operator.call(&path, &[("id", &job.id), ("reason", "")]).await.assert_refused(400, "invalid_value");
        operator.call(&path, &[("id", NOWHERE), ("reason", "r")]).await.assert_refused(404, "job_not_found");
        for id in ["nonsense", ""] {
            let reply = operator.call(&path, &[("id", id), ("reason", "r")]).await;
            assert_eq!((reply.status().as_u16(), &reply.json()["code"]), (400, &json!("wrong_shape")));
        }
    }
    operator.call("/rpc/jobs/start", &[("feature", "nothing")]).await.assert_refused(404, "not_found");
    let wrong = [("feature", "demo-condensation"), ("input", "{no json")];
    operator.call("/rpc/jobs/start", &wrong).await.assert_refused(400, "malformed_input");
    assert_eq!(app.everything().await, before);

    let reply = operator.call("/rpc/jobs/abort", &[("id", &job.id), ("reason", "r")]).await;
    assert_eq!((reply.status().as_u16(), reply.json()), (200, json!(null)));
    assert_eq!(reply.location(), format!("{}?notice=abort-requested", job.page()), "an island may follow it");
    operator.call("/rpc/jobs/force-fail", &[("id", &job.id), ("reason", "r")]).await;
    operator
        .call("/rpc/jobs/force-fail", &[("id", &job.id), ("reason", "r")])
        .await
        .assert_refused(409, "job_finished");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_starts_a_built_in_job_and_leads_to_its_page() {
    let (app, ..) = TestApp::init().await;
    let otto = app.signed_in("otto", Role::Operator).await;
    let fields = [("feature", "demo-condensation"), ("input", "{\"hang\": true, \"pace\": 5000}")];
    let reply = otto.form("/rpc/jobs/start", &fields).await;
    let (page, notice) = reply.location().split_once("?notice=").unwrap();
    assert_eq!((reply.status().as_u16(), notice), (302, "started"));
    let job = Started { id: page.rsplit('/').next().unwrap().to_owned(), epoch: 1 };
    let seen = otto.job(&job).await;
    assert_eq!((&seen["author"], &seen["input"]), (&json!("otto"), &json!({"hang": true, "pace": 5000})));
    assert!(otto.page(reply.location()).await.assert_page(200).contains("The job was started."));
    otto.form("/rpc/jobs/force-fail", &[("id", &job.id), ("reason", "enough")]).await;
}

#[tokio::test]
async fn what_changes_something_is_no_get() {
    let (_, _, _, reporter, operator, _) = TestApp::init().await;
    let job = reporter.start("import").await;
    for path in [
        format!("/rpc/jobs/force-fail?id={}&reason=r", job.id),
        format!("/rpc/jobs/abort?id={}&reason=r", job.id),
        "/rpc/system/sweep".to_owned(),
        "/rpc/system/emergency-cleanup?reason=r&confirm=1&shown=1".to_owned(),
        "/rpc/session/sign-out".to_owned(),
    ] {
        assert_eq!(operator.get(&path).await.status(), 405, "{path}");
    }
    assert_eq!(operator.job(&job).await["status"], "running");
}
