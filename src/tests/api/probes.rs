//! `/healthz`, `/readyz`, and the files anybody may have.

use crate::support::TestApp;

#[tokio::test]
async fn the_probes_answer_and_readiness_ends_with_the_stop() {
    let (app, anon, viewer, ..) = TestApp::init().await;
    assert_eq!(anon.get("/healthz").await.text(), "ok\n");
    assert_eq!(viewer.get("/readyz").await.text(), "ready\n");
    app.service.stop_taking_work();
    assert_eq!(anon.get("/healthz").await.status(), 200);
    viewer.get("/readyz").await.assert_refused(503, "stopping");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_not_found_and_none_lies_outside() {
    let (_, anon, ..) = TestApp::init().await;
    for path in ["/pkg/x/nothing.js", "/pkg/x/..%2f..%2f..%2fCargo.toml", "/pkg/x/%2fetc%2fpasswd"] {
        assert_eq!(anon.get(path).await.status(), 404, "{path}");
    }
}
