//! The flaws of the system this one replaces, each with a test that would have found it. The numbers are
//! those of the list they were collected in.

use longhaul::view::BoardAnswer;
use serde_json::json;

use crate::support::TestApp;

#[tokio::test]
async fn flaw_1_anybody_could_start_spam_finish_and_clean_up() {
    let (app, anon, _, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    let before = app.everything().await;
    for path in ["start", "emergency-cleanup", "cleanup", "run"] {
        anon.post(&format!("/api/admin/jobs/{path}"), json!({})).await.assert_refused(401, "not_signed_in");
    }
    for path in ["progress", "message", "heartbeat", "complete", "fail", "force-fail", "abort", "aborted"] {
        anon.post(&job.at(path), json!({})).await.assert_refused(401, "not_signed_in");
    }
    for path in ["/api/admin/jobs", "/api/admin/jobs/health", &job.at("progress"), &job.at("messages")] {
        anon.get(path).await.assert_refused(401, "not_signed_in");
    }
    assert_eq!(app.everything().await, before);
}

#[tokio::test]
async fn flaw_2_the_author_was_whatever_the_request_said() {
    let (_, _, _, reporter, operator, _) = TestApp::init().await;
    let named = json!({"feature": "import", "author": "admin@example.com"});
    reporter.post("/api/admin/jobs/start", named).await.assert_refused(403, "may_not_act_as");
    let job = operator.start("import").await;
    assert_eq!(operator.job(&job).await["author"], "operator");
}

#[tokio::test]
async fn flaw_3_looking_at_the_health_killed_jobs() {
    let (app, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    app.minutes_pass(60);
    let before = app.everything().await;
    let health = viewer.get("/api/admin/jobs/health?autoCleanup=true").await.json();
    assert_eq!(health["staleJobs"], 1);
    assert_eq!(app.everything().await, before);
    assert_eq!(viewer.job(&job).await["status"], "running");
}

#[tokio::test]
async fn flaw_4_no_text_had_a_limit() {
    let (app, _, _, _, _, admin) = TestApp::init().await;
    let job = admin.start("import").await;
    let before = app.everything().await;
    let long = "x".repeat(100_000);
    let start = "/api/admin/jobs/start";
    admin.post(start, json!({"feature": long})).await.assert_refused(400, "invalid_value");
    admin.post(start, json!({"feature": "a", "title": long})).await.assert_refused(400, "invalid_value");
    admin.post(start, json!({"feature": "a", "tags": [long]})).await.assert_refused(400, "invalid_value");
    let message = json!({"type": "info", "message": long});
    admin.post(&job.at("message"), message).await.assert_refused(400, "invalid_value");
    for what in ["abort", "force-fail"] {
        admin.post(&job.at(what), json!({"reason": long})).await.assert_refused(400, "invalid_value");
    }
    assert_eq!(app.everything().await, before);
}

#[tokio::test]
async fn flaw_5_nobody_knew_who_had_ended_a_job_and_why() {
    let (_, _, viewer, reporter, operator, admin) = TestApp::init().await;
    let (forced, cleaned) = (reporter.start("import").await, reporter.start("export").await);
    operator.post(&forced.at("force-fail"), json!({"reason": "hung"})).await;
    admin.post("/api/admin/jobs/emergency-cleanup", json!({"reason": "the night shift"})).await;
    let who = viewer.get(&forced.at("messages?level=operator")).await.json();
    assert_eq!(who["messages"][0]["message"], "token operator force-failed it: hung");
    assert_eq!(who["messages"][0]["timestamp"], "2026-11-22T16:20:05.123Z");
    let deeds = viewer.log(&cleaned, "operator").await;
    assert_eq!(deeds, ["token admin ran an emergency cleanup: the night shift"]);
    assert!(viewer.page(&cleaned.page()).await.text().contains("the night shift"));
}

#[tokio::test]
async fn flaw_8_the_51st_job_killed_the_oldest_instead_of_being_refused() {
    let (app, _, viewer, reporter, operator, _) = TestApp::init().await;
    let oldest = reporter.start("import").await;
    for _ in 1..50 {
        operator.start("import").await;
    }
    let before = app.everything().await;
    let reply = reporter.post("/api/admin/jobs/start", json!({"feature": "import"})).await;
    reply.assert_refused(429, "active_limit");
    assert_eq!(reply.header("retry-after"), "5");
    assert_eq!(reply.json()["details"], json!({"limit": 50}));
    operator
        .post("/api/admin/jobs/run", json!({"feature": "retention"}))
        .await
        .assert_refused(429, "active_limit");
    operator.post_nothing("/api/admin/jobs/cleanup").await;
    assert_eq!(app.everything().await, before);
    assert_eq!(viewer.job(&oldest).await["status"], "running");
    reporter.post_nothing(&oldest.at("complete")).await;
    reporter.start("import").await;
}

#[tokio::test]
async fn flaw_10_early_warnings_never_reached_the_health() {
    let (app, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    app.minutes_pass(9);
    let health = viewer.get("/api/admin/jobs/health").await.json();
    let warning =
        format!("Job {}: Job has been inactive for 9 minutes (inactivity timeout: 10 minutes)", job.id);
    assert_eq!((&health["warnings"], &health["staleJobs"]), (&json!([warning]), &json!(0)));
    assert_eq!(viewer.job(&job).await["verdict"]["severity"], "soon");
}

#[tokio::test]
async fn flaw_11_emergency_cleanup_could_not_be_had_without_a_stale_job() {
    let (app, _, _, reporter, operator, _) = TestApp::init().await;
    reporter.start("import").await;
    let boss = app.signed_in("boss", longhaul::model::Role::Operator).await;
    assert!(boss.page("/admin/jobs").await.text().contains("href=\"/admin/jobs/emergency-cleanup\""));
    let page = boss.page("/admin/jobs/emergency-cleanup").await;
    assert!(page.assert_page(200).contains("Force-fail 1 job"));
    let report = operator.post("/api/admin/jobs/emergency-cleanup", json!({"reason": "now"})).await.json();
    assert_eq!(report["cleanedJobs"], 1);
}

#[tokio::test]
async fn flaw_12_a_full_history_was_a_warning_for_ever() {
    let (_, _, viewer, reporter, ..) = TestApp::init().await;
    for _ in 0..101 {
        reporter.completed("import").await;
    }
    let health = viewer.get("/api/admin/jobs/health").await.json();
    assert_eq!((&health["pastJobs"], &health["status"]), (&json!(100), &json!("healthy")));
    assert_eq!(health["warnings"], json!([]));
}

#[tokio::test]
async fn flaw_13_include_past_left_active_jobs_out_and_status_was_ignored() {
    let (_, _, viewer, reporter, ..) = TestApp::init().await;
    reporter.completed("ended").await;
    reporter.start("active").await;
    assert_eq!(viewer.listed("includePast=true").await, ["active", "ended"]);
    assert_eq!(viewer.listed("status=aborting").await, Vec::<String>::new());
    assert_eq!(viewer.listed("status=running").await, ["active"]);
    assert_eq!(viewer.listed("status=completed").await, ["ended"]);
    viewer.get("/api/admin/jobs?status=nonsense").await.assert_refused(400, "invalid_value");
}

#[tokio::test]
async fn flaw_14_success_for_jobs_that_were_not_there_and_500_for_what_was_not_json() {
    let (_, _, _, reporter, ..) = TestApp::init().await;
    let ended = reporter.completed("import").await;
    let nowhere = "/api/admin/jobs/00000000-0000-7000-8000-000000000000";
    for (what, body) in [
        ("progress", json!({"progress": 0.5})),
        ("message", json!({"type": "info", "message": "x"})),
        ("complete", json!({})),
        ("fail", json!({})),
    ] {
        reporter.post(&format!("{nowhere}/{what}"), body.clone()).await.assert_refused(404, "job_not_found");
        reporter.post(&ended.at(what), body).await.assert_refused(409, "job_finished");
        reporter.post_text(&ended.at(what), "{").await.assert_refused(400, "malformed_json");
    }
    reporter.post_text("/api/admin/jobs/start", "").await.assert_refused(400, "empty_body");
    reporter.post_nothing(&ended.at("progress")).await.assert_refused(400, "empty_body");
}

#[tokio::test]
async fn flaw_17_two_runs_of_a_feature_could_not_be_kept_apart() {
    let (_, _, viewer, reporter, ..) = TestApp::init().await;
    let one = json!({"feature": "import", "onePerFeature": true});
    let first = reporter.start_with(one.clone()).await;
    reporter.post("/api/admin/jobs/start", one).await.assert_refused(409, "duplicate_job");
    // Whoever wants two has two, and sees both.
    let second = reporter.start("import").await;
    assert_eq!(viewer.listed("feature=import").await.len(), 2);
    let page = viewer.page("/admin/jobs").await;
    for job in [first, second] {
        assert!(page.assert_page(200).contains(&format!("href=\"{}\"", job.page())));
    }
}

#[tokio::test]
async fn flaw_20_a_start_that_nobody_executes_ran_for_ever() {
    let (app, _, viewer, reporter, ..) = TestApp::init().await;
    let phantom = reporter.start("import").await;
    app.minutes_pass(11);
    app.service.sweeper().sweep().await.unwrap();
    let ended = viewer.job(&phantom).await;
    assert_eq!(ended["error"], "Job force-failed: Job inactive too long (11 minutes)");
}

#[tokio::test]
async fn flaw_22_the_history_showed_the_oldest() {
    let (app, _, viewer, reporter, ..) = TestApp::init().await;
    for number in 0..40 {
        let job =
            reporter.start_with(json!({"feature": "import", "title": format!("Number {number}.")})).await;
        app.clock.advance(std::time::Duration::from_secs(1));
        reporter.post_nothing(&job.at("complete")).await;
    }
    let page = viewer.page("/admin/jobs").await;
    let page = page.assert_page(200);
    assert!(page.contains("Number 39.") && page.contains("Number 15.") && !page.contains("Number 14."));
    assert!(page.find("Number 39.") < page.find("Number 38."));
    let listed = viewer.get("/api/admin/jobs?includePast=true&limit=1").await.json();
    assert_eq!(listed["jobs"][0]["title"], "Number 39.");
}

#[tokio::test]
async fn flaw_27_why_a_past_job_had_failed_could_not_be_seen() {
    let (_, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    reporter.post(&job.at("message"), json!({"type": "warning", "message": "the disk is nearly full"})).await;
    reporter.post(&job.at("fail"), json!({"errorMessage": "the disk is full"})).await;
    assert_eq!(viewer.log(&job, "").await, ["the disk is nearly full", "the disk is full"]);
    let page = viewer.page(&job.page()).await;
    assert!(
        page.assert_page(200).contains("the disk is nearly full") && page.text().contains("the disk is full")
    );
    assert!(viewer.page("/admin/jobs").await.text().contains("the disk is full"));
}

#[tokio::test]
async fn flaw_31_a_second_job_could_start_while_the_first_was_aborting() {
    let (_, _, _, reporter, operator, _) = TestApp::init().await;
    let one = json!({"feature": "import", "onePerFeature": true});
    let first = reporter.start_with(one.clone()).await;
    operator.post(&first.at("abort"), json!({"reason": "enough"})).await;
    reporter.post("/api/admin/jobs/start", one.clone()).await.assert_refused(409, "duplicate_job");
    reporter.post_nothing(&first.at("aborted")).await;
    reporter.start_with(one).await;
}

#[tokio::test]
async fn flaw_33_a_job_that_was_gone_stayed_on_the_screen() {
    let (app, _, viewer, reporter, ..) = TestApp::init().await;
    let board = app.service.board();
    let poll = async |boot: &str, since: u64| -> BoardAnswer {
        let since = since.to_string();
        let fields = [("boot", boot), ("build", board.build()), ("since", &since)];
        viewer.poll("/rpc/board/poll", &fields).await.read_packed()
    };
    let job = reporter.start("import").await;
    let seen = board.revision();
    reporter.post_nothing(&job.at("complete")).await;
    let BoardAnswer { view: Some(view), full: false, gone, .. } = poll(board.boot(), seen).await else {
        panic!("a delta was due")
    };
    assert_eq!(gone.iter().map(ToString::to_string).collect::<Vec<_>>(), [job.id]);
    assert!(view.rows.is_empty());
    // A page of another run of the server, whatever it has seen and whatever its clock says.
    let BoardAnswer { view: Some(view), full: true, .. } = poll("before-the-restart", 10_000).await else {
        panic!("all was due")
    };
    assert!(view.rows.is_empty());
}
