//! `/admin/jobs/emergency-cleanup`: before, and after.

use longhaul::model::Role;
use serde_json::json;

use super::{assert_escaped, assert_no_inline_style};
use crate::support::{HOSTILE, TestApp};

const PAGE: &str = "/admin/jobs/emergency-cleanup";

#[tokio::test]
async fn it_shows_what_would_be_ended_and_asks_for_a_reason_and_a_number() {
    let (app, _, viewer, reporter, ..) = TestApp::init().await;
    let otto = app.signed_in("otto", Role::Operator).await;
    assert!(otto.page(PAGE).await.assert_page(200).contains("Nothing to clean up"));
    reporter.start_with(json!({"feature": "import", "title": "Import of the night"})).await;
    reporter.start_with(json!({"feature": "export", "title": HOSTILE})).await;
    reporter.completed("done-already").await;
    let page = otto.page(PAGE).await;
    let text = page.assert_page(200);
    for part in [
        "This force-fails 2 jobs.",
        "Import of the night",
        "name=\"shown\" value=\"2\"",
        "name=\"reason\"",
        "pattern=\"2\"",
        "action=\"/rpc/system/emergency-cleanup\"",
        "Force-fail 2 jobs",
    ] {
        assert!(text.contains(part), "{part}");
    }
    assert!(!text.contains("done-already"));
    assert_escaped(text);
    assert_no_inline_style(text);

    let refused = viewer.page(PAGE).await;
    assert!(refused.assert_page(403).contains("This page cannot be shown"));
    assert!(!refused.text().contains("Import of the night"));
}

#[tokio::test]
async fn its_report_tells_the_jobs_apart() {
    let (app, _, viewer, reporter, ..) = TestApp::init().await;
    let otto = app.signed_in("otto", Role::Operator).await;
    reporter.start_with(json!({"feature": "import", "title": "Import of the night"})).await;
    reporter.start_with(json!({"feature": "export", "title": HOSTILE})).await;
    let fields = [("reason", HOSTILE), ("confirm", "2"), ("shown", "2")];
    let reply = otto.form("/rpc/system/emergency-cleanup", &fields).await;
    let page = otto.page(reply.location()).await;
    let text = page.assert_page(200);
    assert!(text.contains("Emergency cleanup done") && text.contains("2 jobs were force-failed"));
    assert!(text.contains("Import of the night") && text.contains("0 still active, 2 in history"));
    assert_escaped(text);
    assert_no_inline_style(text);
    viewer.page(reply.location()).await.assert_page(403);

    let gone = otto.page(&format!("{PAGE}?report=00000000-0000-7000-8000-000000000000")).await;
    assert!(gone.assert_page(200).contains("This report is not at hand any more."));
    otto.page(&format!("{PAGE}?report=nonsense")).await.assert_page(200);
}
