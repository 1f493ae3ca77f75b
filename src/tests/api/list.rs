//! `GET /api/admin/jobs`.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::{Client, TestApp, encode};

const REASON: &str = "hung";

/// A running, a completed, a failed and an aborted job, a second apart.
async fn one_of_each(app: &TestApp, reporter: &Client, operator: &Client) {
    let tick = || app.clock.advance(std::time::Duration::from_secs(1));
    for feature in ["completed-one", "failed-one", "aborted-one", "running-one"] {
        let job = reporter.start_with(json!({"feature": feature, "tags": [feature, "all"]})).await;
        tick();
        match feature {
            "completed-one" => {
                reporter.post_nothing(&job.at("complete")).await;
            }
            "failed-one" => {
                reporter.post(&job.at("fail"), json!({"errorMessage": "Disk FULL at 50 %"})).await;
            }
            "aborted-one" => {
                operator.post(&job.at("abort"), json!({"reason": REASON})).await;
                reporter.post_nothing(&job.at("aborted")).await;
            }
            _ => {}
        }
        tick();
    }
}

#[tokio::test]
async fn a_list_is_of_active_jobs_and_of_past_ones_too_where_asked() {
    let (app, _, viewer, reporter, operator, _) = TestApp::init().await;
    assert_eq!(viewer.get("/api/admin/jobs").await.json(), json!({"jobs": []}));
    one_of_each(&app, &reporter, &operator).await;
    assert_eq!(viewer.listed("").await, ["running-one"]);
    assert_eq!(viewer.listed("includePast=false").await, ["running-one"]);
    assert_eq!(
        viewer.listed("includePast=true").await,
        ["running-one", "aborted-one", "failed-one", "completed-one"]
    );
}

#[tokio::test]
async fn every_filter_narrows_and_all_of_them_must_hold() {
    let (app, _, viewer, reporter, operator, admin) = TestApp::init().await;
    one_of_each(&app, &reporter, &operator).await;
    let other = admin.start_with(json!({"feature": "other", "title": "A Title of its own"})).await;
    for (query, expected) in [
        ("status=running", vec!["other", "running-one"]),
        ("status=failed", vec!["failed-one"]),
        ("status=completed", vec!["completed-one"]),
        ("status=aborted&includePast=true", vec!["aborted-one"]),
        ("status=aborting", vec![]),
        ("feature=failed-one", vec![]),
        ("feature=failed-one&includePast=true", vec!["failed-one"]),
        ("feature=failed&includePast=true", vec![]),
        ("author=admin&includePast=true", vec!["other"]),
        ("tag=failed-one&includePast=true", vec!["failed-one"]),
        ("tag=all", vec!["running-one"]),
        ("tag=none", vec![]),
        ("q=title+of", vec!["other"]),
        ("q=disk+full&includePast=true", vec!["failed-one"]),
        ("q=50+%25&includePast=true", vec!["failed-one"]),
        ("q=%25&includePast=true", vec!["failed-one"]),
        ("q=FAILED-ONE&includePast=true&status=failed&author=reporter&tag=all", vec!["failed-one"]),
        ("q=FAILED-ONE&includePast=true&status=completed", vec![]),
        ("q=&feature=other", vec!["other"]),
        ("q=%27+OR+1%3D1--", vec![]),
    ] {
        assert_eq!(viewer.listed(query).await, expected, "{query}");
    }
    assert_eq!(viewer.listed(&format!("q={}", other.id)).await, ["other"]);
}

#[tokio::test]
async fn a_query_that_makes_no_sense_is_refused() {
    let (_, _, viewer, ..) = TestApp::init().await;
    for query in ["limit=0", "limit=201", "status=done", "cursor=abc", "cursor=", "cursor=p1.zz"] {
        viewer.get(&format!("/api/admin/jobs?{query}")).await.assert_refused(400, "invalid_value");
    }
    let long = "_".repeat(201);
    for name in ["q", "feature", "author", "tag"] {
        let query = format!("includePast=true&{name}={long}");
        viewer.get(&format!("/api/admin/jobs?{query}")).await.assert_refused(400, "invalid_value");
    }
    assert!(viewer.listed(&format!("includePast=true&q={}", &long[1..])).await.is_empty());
    for query in ["limit=-1", "limit=many", "limit=99999999999", "includePast=maybe", "limit=5&limit=6"] {
        viewer.get(&format!("/api/admin/jobs?{query}")).await.assert_refused(400, "wrong_query");
    }
    assert_eq!(viewer.get("/api/admin/jobs?limit=1").await.status(), 200);
    assert_eq!(viewer.get("/api/admin/jobs?limit=200").await.status(), 200);
}

/// What a job works on and what it made may be a megabyte each: two hundred of them at once are too much.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_large_jobs_ends_early_and_the_rest_is_on_the_next() {
    let (_app, _, viewer, reporter, ..) = TestApp::with().init_sqlite().await;
    let document = "x".repeat(700_000);
    let long = "y".repeat(60_000);
    for _ in 0..16 {
        let job = reporter.start_with(json!({"feature": "large", "input": document})).await;
        let messages: Vec<_> = (0..12).map(|_| json!({"type": "info", "message": long})).collect();
        assert_eq!(reporter.post(&job.at("message"), json!(messages)).await.status(), 200);
        reporter.post(&job.at("message"), json!({"type": "error", "message": "no space left"})).await;
        reporter.post_nothing(&job.at("complete")).await;
    }
    let (mut seen, mut cursor, mut pages) = (BTreeSet::new(), String::new(), 0);
    loop {
        let reply = viewer.get(&format!("/api/admin/jobs?includePast=true&limit=200{cursor}")).await;
        assert!(reply.text().len() < 18 << 20, "{} bytes", reply.text().len());
        let page = reply.json();
        for job in page["jobs"].as_array().unwrap() {
            assert!(seen.insert(job["id"].as_str().unwrap().to_owned()));
            assert_eq!(job["input"], document.as_str());
            let shown = job["infoMessages"].as_array().unwrap().len();
            assert_eq!(job["truncated"]["info"], 12 - shown, "what is left out is told");
        }
        let first = &page["jobs"][0];
        assert_eq!(first["errorMessages"][0]["message"], "no space left");
        pages += 1;
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={}", encode(next)),
            None => break,
        }
    }
    assert_eq!((seen.len(), pages), (16, 2));
}

#[tokio::test]
async fn paging_shows_everything_exactly_once() {
    let (app, _, viewer, reporter, ..) = TestApp::init().await;
    let mut made = BTreeSet::new();
    for number in 0..57 {
        let job = reporter.start("paged").await;
        if number % 3 != 0 {
            reporter.post_nothing(&job.at("complete")).await;
        }
        // Several end within one millisecond: the order must hold among them too.
        if number % 5 == 0 {
            app.clock.advance(std::time::Duration::from_millis(1));
        }
        made.insert(job.id);
    }
    for limit in [1, 7, 50, 57, 200] {
        let (mut seen, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let path = format!("/api/admin/jobs?includePast=true&limit={limit}{cursor}");
            let page = viewer.get(&path).await.json();
            let jobs = page["jobs"].as_array().unwrap();
            assert!(jobs.len() <= limit);
            seen.extend(jobs.iter().map(|job| job["id"].as_str().unwrap().to_owned()));
            pages += 1;
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={}", encode(next)),
                None => break,
            }
        }
        assert_eq!((seen.len(), pages), (57, 57_usize.div_ceil(limit)), "limit {limit}");
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), made, "limit {limit}");
    }
}

#[tokio::test]
async fn a_job_in_a_list_carries_its_newest_ten_messages_and_says_how_many_more_there_are() {
    let (_, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    let list: Vec<_> = (1..=12).map(|n| json!({"type": "info", "message": format!("line {n}")})).collect();
    reporter.post(&job.at("message"), json!(list)).await;
    let listed = viewer.get("/api/admin/jobs").await.json()["jobs"][0].clone();
    let infos = listed["infoMessages"].as_array().unwrap();
    assert_eq!(
        (infos.len(), &infos[0]["message"], &infos[9]["message"]),
        (10, &json!("line 3"), &json!("line 12"))
    );
    assert_eq!(listed["truncated"], json!({"info": 2, "warning": 0, "error": 0}));
}
