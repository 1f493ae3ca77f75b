//! `/rpc/system/sweep` and `/rpc/system/emergency-cleanup`.

use longhaul::model::Role;
use serde_json::json;

use crate::support::TestApp;

const SWEEP: &str = "/rpc/system/sweep";
const CLEAN: &str = "/rpc/system/emergency-cleanup";

#[tokio::test]
async fn a_sweep_says_whether_it_found_something() {
    let (app, _, viewer, reporter, operator, _) = TestApp::init().await;
    let otto = app.signed_in("otto", Role::Operator).await;
    reporter.start("import").await;
    otto.form(SWEEP, &[]).await.assert_sent_to("/admin/jobs?notice=swept-none");
    app.minutes_pass(11);
    viewer.form(SWEEP, &[]).await.assert_sent_to("/admin/jobs?notice=forbidden");
    viewer.call(SWEEP, &[]).await.assert_refused(403, "forbidden");
    let reply = otto.form(SWEEP, &[]).await;
    reply.assert_sent_to("/admin/jobs?notice=swept");
    assert!(otto.page(reply.location()).await.text().contains("Stale jobs were ended."));
    assert_eq!(operator.call(SWEEP, &[]).await.json(), json!(null));
}

#[tokio::test]
async fn an_emergency_cleanup_takes_a_reason_and_a_typed_number() {
    let (app, _, viewer, reporter, operator, _) = TestApp::init().await;
    let otto = app.signed_in("otto", Role::Operator).await;
    for _ in 0..3 {
        reporter.start("import").await;
    }
    let before = app.everything().await;
    let page = "/admin/jobs/emergency-cleanup";
    for (reason, confirm, shown, code) in [
        ("hung", "", "3", "not_confirmed"),
        ("hung", "2", "3", "not_confirmed"),
        ("hung", "yes", "3", "not_confirmed"),
        (" ", "3", "3", "invalid_value"),
    ] {
        let fields = [("reason", reason), ("confirm", confirm), ("shown", shown)];
        otto.form(CLEAN, &fields).await.assert_sent_to(&format!("{page}?notice={code}"));
        operator.call(CLEAN, &fields).await.assert_refused(400, code);
    }
    let good = [("reason", "hung"), ("confirm", " 3 "), ("shown", "3")];
    viewer.form(CLEAN, &good).await.assert_sent_to(&format!("{page}?notice=forbidden"));
    viewer.call(CLEAN, &good).await.assert_refused(403, "forbidden");
    assert_eq!(app.everything().await, before);

    let reply = otto.form(CLEAN, &good).await;
    assert!(reply.location().starts_with(&format!("{page}?report=")), "{}", reply.location());
    let report = otto.page(reply.location()).await;
    let report = report.assert_page(200);
    assert!(report.contains("3 jobs were force-failed") && report.contains("By otto: hung."), "{report}");
    assert_eq!(operator.listed("").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_form_that_confirms_nothing_at_all_cleans_nothing() {
    let (app, _, _, reporter, operator, _) = TestApp::init().await;
    reporter.start("import").await;
    let before = app.everything().await;
    operator.call(CLEAN, &[]).await.assert_refused(400, "not_confirmed");
    operator.call(CLEAN, &[("reason", "r")]).await.assert_refused(400, "not_confirmed");
    assert_eq!(app.everything().await, before);
}
