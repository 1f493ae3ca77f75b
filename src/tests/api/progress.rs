//! `GET` and `POST …/{id}/progress`: numbers, steps, and looking at a job.

use std::time::Duration;

use serde_json::json;

use crate::support::TestApp;

#[tokio::test]
async fn a_number_moves_the_job() {
    let (app, _, _, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    app.clock.advance(Duration::from_millis(1_500));
    let reply = reporter.post(&job.at("progress"), json!({"progress": 0.25, "epoch": 1})).await;
    assert_eq!(reply.status(), 200);
    assert_eq!(
        reply.json(),
        json!({
            "jobId": job.id, "progress": 0.25, "status": "running", "revision": 2,
            "message": "Progress updated successfully",
        })
    );
    let moved = reporter.job(&job).await;
    assert_eq!(moved["lastActivityTime"], "2026-11-22T16:20:06.623Z");
    assert_eq!((&moved["progress"], &moved["revision"]), (&json!(0.25), &json!(2)));
}

#[tokio::test]
async fn a_number_that_is_none_between_0_and_1_is_refused_and_changes_nothing() {
    let (app, _, _, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    reporter.post(&job.at("progress"), json!({"progress": 0.5})).await;
    let before = app.everything().await;
    for value in ["-0.001", "1.0000001", "2", "-1", "1e300", "-1e300"] {
        let reply = reporter.post_text(&job.at("progress"), format!("{{\"progress\":{value}}}")).await;
        reply.assert_refused(400, "invalid_value");
        assert_eq!(reply.json()["details"], json!({"field": "progress"}), "{value}");
    }
    for value in ["\"0.5\"", "\"NaN\"", "\"Infinity\"", "[0.5]", "{}", "true"] {
        let reply = reporter.post_text(&job.at("progress"), format!("{{\"progress\":{value}}}")).await;
        reply.assert_refused(400, "wrong_shape");
    }
    for value in ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", ".5", "0x1"] {
        let reply = reporter.post_text(&job.at("progress"), format!("{{\"progress\":{value}}}")).await;
        reply.assert_refused(400, "malformed_json");
    }
    for body in [json!({}), json!({"progress": null}), json!({"step": "a"}), json!({"steps": []})] {
        reporter.post(&job.at("progress"), body).await.assert_refused(400, "invalid_value");
    }
    assert_eq!(app.everything().await, before);
    for (value, shown) in [("0", 0.5), ("-0.0", 0.5), ("0.5", 0.5), ("1", 1.0), ("0.3", 1.0)] {
        let reply = reporter.post_text(&job.at("progress"), format!("{{\"progress\":{value}}}")).await;
        assert_eq!((reply.status().as_u16(), &reply.json()["progress"]), (200, &json!(shown)), "{value}");
    }
}

#[tokio::test]
async fn steps_of_any_depth_weigh_what_they_weigh() {
    let (_, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    let steps = json!([
        {"id": "load", "title": "Load data", "weight": 1},
        {"id": "work", "weight": 3, "steps": [{"id": "map"}, {"id": "reduce", "steps": [{"id": "deep"}]}]},
        {"id": "free", "weight": 0},
    ]);
    let post = async |body| {
        let reply = reporter.post(&job.at("progress"), body).await;
        assert_eq!(reply.status(), 200, "{}", reply.text());
        reply.json()["progress"].as_f64().unwrap()
    };
    assert_eq!(post(json!({"steps": steps})).await, 0.0);
    assert_eq!(post(json!({"step": "load", "progress": 1})).await, 0.25);
    assert_eq!(post(json!({"step": "free", "progress": 1})).await, 0.25);
    assert_eq!(post(json!({"step": "work/map", "progress": 0.5})).await, 0.4375);
    assert_eq!(post(json!({"step": "deep", "progress": 1})).await, 0.8125);
    assert_eq!(post(json!({"steps": [{"id": "late"}], "step": "late", "progress": 0.5})).await, 0.8125);
    let tree = viewer.job(&job).await["steps"].clone();
    assert_eq!(
        tree[0],
        json!({
            "id": "load", "title": "Load data", "weight": 1.0, "progress": 1.0,
            "startedAt": "2026-11-22T16:20:05.123Z", "endedAt": "2026-11-22T16:20:05.123Z",
        })
    );
    assert_eq!((&tree[1]["id"], &tree[1]["progress"]), (&json!("work"), &json!(0.75)));
    assert_eq!(tree[1]["steps"][1]["steps"][0]["id"], "deep");
    assert_eq!((&tree[3]["id"], &tree[3]["progress"]), (&json!("late"), &json!(0.5)));
}

#[tokio::test]
async fn a_step_that_makes_no_sense_is_refused_and_changes_nothing() {
    let (app, _, _, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    let steps =
        json!([{"id": "a", "steps": [{"id": "x"}]}, {"id": "b", "steps": [{"id": "x"}]}, {"id": "c"}]);
    reporter.post(&job.at("progress"), json!({"steps": steps})).await;
    let before = app.everything().await;
    for (body, code) in [
        (json!({"step": "nothing", "progress": 0.5}), "unknown_step"),
        (json!({"step": "a/c", "progress": 0.5}), "unknown_step"),
        (json!({"step": "", "progress": 0.5}), "unknown_step"),
        (json!({"step": "x", "progress": 0.5}), "ambiguous_step"),
        (json!({"step": "a", "progress": 0.5}), "step_has_parts"),
        (json!({"progress": 0.5}), "step_needed"),
        (json!({"step": "c", "progress": 1.5}), "invalid_value"),
        (json!({"steps": [{"id": "d"}, {"id": "d"}]}), "duplicate_step"),
        (json!({"steps": [{"id": "d", "steps": [{"id": "e"}, {"id": "e"}]}]}), "duplicate_step"),
        (json!({"steps": [{"id": "d/e"}]}), "invalid_value"),
        (json!({"steps": [{"id": " "}]}), "invalid_value"),
        (json!({"steps": [{"id": "d".repeat(201)}]}), "invalid_value"),
        (json!({"steps": [{"id": "d", "title": "t".repeat(201)}]}), "invalid_value"),
        (json!({"steps": [{"id": "d", "weight": -1}]}), "invalid_value"),
        (json!({"steps": [{"id": "d", "weight": 1e10}]}), "invalid_value"),
        (json!({"steps": [{"id": "d"}], "step": "nothing", "progress": 0.5}), "unknown_step"),
        (json!({"steps": [{"title": "no id"}]}), "wrong_shape"),
    ] {
        reporter.post(&job.at("progress"), body.clone()).await.assert_refused(400, code);
    }
    let unknown = reporter.post(&job.at("progress"), json!({"step": "nothing", "progress": 1})).await;
    assert_eq!(unknown.json()["details"], json!({"knownSteps": ["a", "a/x", "b", "b/x", "c"]}));
    assert_eq!(app.everything().await, before);
}

#[tokio::test]
async fn parallel_reports_lose_nothing() {
    let (_, _, _, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    let steps: Vec<_> = (0..20).map(|number| json!({"id": format!("s{number}")})).collect();
    reporter.post(&job.at("progress"), json!({"steps": steps})).await;
    let done = (0..20).map(|number| (number, job.at("progress"))).map(async |(number, path)| {
        let step = format!("s{number}");
        reporter.post(&path, json!({"step": step, "progress": 1})).await.status().as_u16()
    });
    assert_eq!(futures::future::join_all(done).await, [200; 20]);
    assert_eq!(reporter.job(&job).await["progress"], 1.0);
}

#[tokio::test]
async fn an_etag_saves_the_answer_until_the_job_changes() {
    let (_, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    let tag = viewer.get(&job.at("progress")).await.header("etag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    let again = async |seen: &str| {
        viewer.request("GET", &job.at("progress")).header("if-none-match", seen).send().await
    };
    let reply = again(&tag).await;
    assert_eq!((reply.status().as_u16(), reply.text(), reply.header("etag")), (304, "", tag.as_str()));
    assert_eq!(again(&format!("\"other\", W/{tag}")).await.status(), 304);
    assert_eq!(again("\"other\"").await.status(), 200);
    reporter.post(&job.at("message"), json!({"type": "info", "message": "x"})).await;
    let changed = again(&tag).await;
    assert_eq!(changed.status(), 200);
    assert_ne!(changed.header("etag"), tag);
}

#[tokio::test]
async fn a_verdict_that_time_brings_is_not_hidden_by_an_etag() {
    let (app, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    let fresh = viewer.get(&job.at("progress")).await;
    assert!(fresh.json()["verdict"].is_null());
    app.minutes_pass(11);
    let request = viewer.request("GET", &job.at("progress")).header("if-none-match", fresh.header("etag"));
    let stale = request.send().await;
    assert_eq!(stale.status(), 200);
    assert_eq!(stale.json()["verdict"]["severity"], "now");
    assert!(stale.json()["verdict"]["text"].as_str().unwrap().contains("silent for 11 minutes"));
}
