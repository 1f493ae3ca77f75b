//! Five hundred requests at once for each page, and every one of them is answered whole: the renderer has
//! been known to wait for ever, or to let go in the middle, when it is asked by many.

use longhaul::model::Role;
use serde_json::json;

use crate::support::TestApp;

const AT_ONCE: usize = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_is_whole_when_five_hundred_ask_for_it_at_once() {
    let (app, _, _, reporter, ..) = TestApp::init().await;
    let otto = app.signed_in("otto", Role::Operator).await;
    let ended = reporter.completed("import").await;
    let job = reporter.start("import").await;
    let steps = json!([{"id": "load"}, {"id": "save"}]);
    reporter.post(&job.at("progress"), json!({"steps": steps, "step": "load", "progress": 0.5})).await;
    reporter.post(&job.at("message"), json!({"type": "error", "message": "Row 7 is odd"})).await;
    let fields = [("reason", "r"), ("confirm", "no"), ("shown", "1")];
    let refused = otto.form("/rpc/system/emergency-cleanup", &fields).await;
    for (path, status) in [
        ("/login", 200),
        ("/admin/jobs", 200),
        ("/admin/jobs?status=completed&q=import", 200),
        (job.page().as_str(), 200),
        (format!("{}?ask=force-fail", job.page()).as_str(), 200),
        (ended.page().as_str(), 200),
        ("/admin/jobs/emergency-cleanup", 200),
        (refused.location(), 200),
        ("/admin/jobs/nonsense", 404),
        ("/admin/nothing", 404),
    ] {
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..AT_ONCE {
            let (otto, path) = (otto.clone(), path.to_owned());
            asking.spawn(async move { otto.page(&path).await });
        }
        let mut answered = 0;
        while let Some(reply) = asking.join_next().await {
            reply.unwrap().assert_page(status);
            answered += 1;
        }
        assert_eq!(answered, AT_ONCE, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_whole_while_jobs_change_under_them() {
    let (_, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..200 {
        let (viewer, reporter, job) = (viewer.clone(), reporter.clone(), job.clone());
        asking.spawn(async move {
            let message = json!({"type": "info", "message": format!("line {number}")});
            assert_eq!(reporter.post(&job.at("message"), message).await.status(), 200);
            let path = if number % 2 == 0 { "/admin/jobs".to_owned() } else { job.page() };
            viewer.page(&path).await.assert_page(200);
        });
    }
    while let Some(done) = asking.join_next().await {
        done.unwrap();
    }
    assert_eq!(reporter.log(&job, "info").await.len(), 200);
}
