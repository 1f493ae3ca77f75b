//! `more-time`: a person keeps the sweep from a job.

use longhaul::model::Role;
use serde_json::json;

use crate::support::TestApp;

const SWEEP: &str = "/api/admin/jobs/cleanup";

#[tokio::test]
async fn a_job_that_has_more_time_is_left_alone_and_its_log_says_who_gave_it() {
    let (app, _, viewer, reporter, operator, _) = TestApp::init().await;
    let job = reporter.start("import").await;
    app.minutes_pass(12);
    assert!(
        viewer.job(&job).await["verdict"]["text"].as_str().unwrap().contains("The next sweep will fail it")
    );
    let body = json!({"seconds": 3600, "reason": " the disk is slow "});
    for _ in 0..2 {
        let reply = operator.post(&job.at("more-time"), body.clone()).await;
        assert_eq!((reply.status().as_u16(), &reply.json()["message"]), (200, &"Job has more time".into()));
    }
    let seen = viewer.job(&job).await;
    assert_eq!(seen["verdict"], json!(null));
    assert_eq!(seen["moreTime"]["until"], "2026-11-22T17:32:05.123Z");
    assert_eq!(
        viewer.log(&job, "operator").await,
        ["token operator gave it more time: no limit ends it for 60 minutes. the disk is slow"],
        "twice is once"
    );
    app.minutes_pass(60);
    assert_eq!(operator.post_nothing(SWEEP).await.json()["cleanedJobs"], 0);
    app.minutes_pass(1);
    assert_eq!(operator.post_nothing(SWEEP).await.json()["cleanedJobs"], 1);
    let ended = viewer.job(&job).await;
    assert!(ended["endedBecause"].as_str().unwrap().contains("with the time it was given beyond it"));
    operator.post_nothing(&job.at("more-time")).await.assert_refused(409, "job_finished");
}

#[tokio::test]
async fn where_nothing_is_said_it_is_as_long_again_and_0_is_no_limit() {
    let (app, _, viewer, reporter, operator, _) = TestApp::init().await;
    let job = reporter.start_with(json!({"feature": "import", "timeout": 7200})).await;
    assert_eq!(operator.post_nothing(&job.at("more-time")).await.status(), 200);
    assert_eq!(viewer.job(&job).await["moreTime"]["until"], "2026-11-22T18:20:05.123Z");
    assert_eq!(operator.post(&job.at("more-time"), json!({"seconds": 0})).await.status(), 200);
    assert_eq!(viewer.job(&job).await["moreTime"]["until"], json!(null));
    app.minutes_pass(1_000);
    assert_eq!(operator.post_nothing(SWEEP).await.json()["cleanedJobs"], 0);
    assert_eq!(viewer.log(&job, "operator").await[1], "token operator took its limits away");

    let (app, _, _, reporter, operator, _) = TestApp::init().await;
    let job = reporter.start("import").await;
    let before = app.everything().await;
    let most = operator.post(&job.at("more-time"), json!({"seconds": 31_622_401})).await;
    most.assert_refused(400, "invalid_value");
    assert_eq!(most.json()["details"], json!({"field": "seconds"}));
    let long = operator.post(&job.at("more-time"), json!({"reason": "ä".repeat(1_001)})).await;
    long.assert_refused(400, "invalid_value");
    assert_eq!(long.json()["details"], json!({"field": "reason"}));
    operator.post(&job.at("more-time"), json!({"seconds": -1})).await.assert_refused(400, "wrong_shape");
    assert_eq!(app.everything().await, before);
    operator.post(&job.at("abort"), json!({"reason": "enough"})).await;
    operator.post_nothing(&job.at("more-time")).await.assert_refused(409, "wrong_state");
}

#[tokio::test]
async fn the_pages_offer_more_time_before_what_ends_it_and_a_plain_form_gives_it() {
    let (app, _, viewer, reporter, operator, _) = TestApp::init().await;
    let job = reporter.start("import").await;
    app.minutes_pass(12);
    let otto = app.signed_in("otto", Role::Operator).await;
    let overview = otto.page("/admin/jobs").await;
    let text = overview.assert_page(200);
    let places = ["?ask=more-time", "?ask=abort", "?ask=force-fail"].map(|link| text.find(link).unwrap());
    assert!(places.is_sorted(), "the mildest first: {places:?}");
    assert!(text.contains("The next sweep will fail it."));
    assert!(!viewer.page(&job.page()).await.assert_page(200).contains("more-time"));

    let asked = otto.page(&format!("{}?ask=more-time", job.page())).await;
    let text = asked.assert_page(200);
    assert!(text.contains("<dialog id=\"ask-more-time\" open"), "{text}");
    for part in ["value=\"600\"", "30 minutes", "1 hour", "4 hours", "No limit", "Give more time"] {
        assert!(text.contains(part), "{part}");
    }
    assert_eq!(text.matches(" checked").count(), 1, "as long again is chosen");
    // Without a reason, as the form sends it.
    let fields = [("id", job.id.as_str()), ("seconds", "3600"), ("reason", "")];
    let sent = otto.form("/rpc/jobs/more-time", &fields).await;
    sent.assert_sent_to(&format!("{}?notice=more-time", job.page()));
    let page = otto.page(&format!("{}?notice=more-time", job.page())).await;
    let text = page.assert_page(200);
    for part in [
        "The job has more time",
        "otto gave it more time: no limit ends it for 60 minutes",
        "none for 60 minutes",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let fields = [("id", job.id.as_str()), ("seconds", "0")];
    otto.form("/rpc/jobs/more-time", &fields)
        .await
        .assert_sent_to(&format!("{}?notice=more-time", job.page()));
    assert!(
        !otto.page(&job.page()).await.assert_page(200).contains("ask-more-time"),
        "there is no more to give"
    );
    operator.post(&job.at("force-fail"), json!({"reason": "enough"})).await;
    let late = otto.form("/rpc/jobs/more-time", &fields).await;
    late.assert_sent_to(&format!("{}?notice=job_finished", job.page()));
}
