//! `pin`, `unpin`: an ended job that outlives every limit of history.

use longhaul::clock::Clock as _;
use longhaul::model::Role;

use crate::support::TestApp;

#[tokio::test]
async fn a_pinned_job_is_kept_and_says_who_pinned_it() {
    let (app, _, viewer, reporter, operator, _) = TestApp::init().await;
    let job = reporter.start("import").await;
    operator.post_nothing(&job.at("pin")).await.assert_refused(409, "wrong_state");
    reporter.post_nothing(&job.at("complete")).await;
    let today = app.service.board().view(app.clock.now(), Vec::new());
    app.minutes_pass(5);
    for _ in 0..2 {
        let reply = operator.post_nothing(&job.at("pin")).await;
        assert_eq!((reply.status().as_u16(), &reply.json()["message"]), (200, &"Job pinned".into()));
    }
    assert_eq!(viewer.job(&job).await["pinned"], true);
    assert_eq!(
        viewer.log(&job, "operator").await,
        ["token operator pinned it: it is kept as long as it is pinned"],
        "twice is once"
    );
    let after = app.service.board().view(app.clock.now(), Vec::new());
    assert_eq!(after.today, today.today, "a pin is no end");

    let otto = app.signed_in("otto", Role::Operator).await;
    let page = otto.page(&job.page()).await;
    let text = page.assert_page(200);
    assert!(text.contains("no limit of history removes it") && text.contains("/rpc/jobs/unpin"), "{text}");
    assert!(!viewer.page(&job.page()).await.assert_page(200).contains("/rpc/jobs/unpin"));
    let fields = [("id", job.id.as_str())];
    otto.form("/rpc/jobs/unpin", &fields).await.assert_sent_to(&format!("{}?notice=unpinned", job.page()));
    assert_eq!(viewer.job(&job).await["pinned"], false);
    otto.form("/rpc/jobs/pin", &fields).await.assert_sent_to(&format!("{}?notice=pinned", job.page()));
    assert_eq!(viewer.job(&job).await["pinned"], true);
}
