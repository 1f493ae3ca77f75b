//! `/admin/jobs`.

use longhaul::model::Role;
use serde_json::json;

use super::{assert_escaped, assert_no_inline_style, text_of};
use crate::support::{HOSTILE, TestApp, encode};

#[tokio::test]
async fn an_empty_board_says_what_to_do() {
    let (app, _, viewer, ..) = TestApp::init().await;
    let page = viewer.page("/admin/jobs").await;
    let text = page.assert_page(200);
    assert!(text.contains("Nothing is running.") && text.contains("longhaul exec"));
    assert!(!text.contains("/rpc/jobs/start"), "a viewer is not offered what a viewer may not do");
    assert_no_inline_style(text);
    let otto = app.signed_in("otto", Role::Operator).await;
    let page = otto.page("/admin/jobs?ask=start").await;
    let text = page.assert_page(200);
    for feature in ["backup", "integrity-check", "history-export", "retention", "demo-condensation"] {
        assert!(text.contains(&format!("name=\"feature\" value=\"{feature}\"")), "{feature}");
    }
    assert!(text.contains("<details open class=\"menu start\""));
}

/// The text of a tile: its number and what is beside it.
fn tile(page: &str, name: &str) -> String {
    let (_, rest) = page.split_once(&format!(">{name}</a></dt>")).unwrap();
    text_of(rest.split("</dd>").next().unwrap()).trim().to_owned()
}

#[tokio::test]
async fn the_health_card_counts_every_outcome() {
    let (app, _, viewer, reporter, operator, _) = TestApp::init().await;
    for number in 0..6 {
        let job = reporter.start("import").await;
        let what = ["complete", "complete", "complete", "fail", "fail", "aborted"][number];
        if what == "aborted" {
            operator.post(&job.at("abort"), json!({"reason": "r"})).await;
        }
        assert_eq!(reporter.post_nothing(&job.at(what)).await.status(), 200);
    }
    app.minutes_pass(24 * 60);
    reporter.completed("import").await;
    reporter.start("export").await;
    let page = viewer.page("/admin/jobs").await;
    let text = page.assert_page(200);
    for (name, expected) in [
        ("Health", "Healthy"),
        ("Active", "1 of 50"),
        ("Waiting", "0"),
        ("Stale", "0"),
        ("Completed", "4 1 today"),
        ("Failed", "2 0 today"),
        ("Aborted", "1 0 today"),
    ] {
        assert_eq!(tile(text, name), expected, "{name}");
    }
    app.minutes_pass(11);
    let page = viewer.page("/admin/jobs").await;
    assert_eq!(
        (tile(page.text(), "Health"), tile(page.text(), "Stale")),
        ("Degraded".to_owned(), "1".to_owned())
    );
    assert!(page.text().contains("has been silent for 11 minutes."), "and says which and why");
}

#[tokio::test]
async fn a_running_job_shows_its_bar_step_message_age_and_author() {
    let (app, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start_with(json!({"feature": "import", "title": "Import of the night"})).await;
    let steps = json!([{"id": "load", "title": "Load data"}, {"id": "save"}]);
    reporter.post(&job.at("progress"), json!({"steps": steps, "step": "load", "progress": 0.5})).await;
    reporter.post(&job.at("message"), json!({"type": "warning", "message": "Row 7 is odd"})).await;
    app.clock.advance(std::time::Duration::from_secs(62));
    let page = viewer.page("/admin/jobs").await;
    let text = page.assert_page(200);
    for part in
        ["Import of the night", "Load data", "Row 7 is odd", "01:02", "reporter", "<progress", "25\u{a0}%"]
    {
        assert!(text.contains(part), "{part}");
    }
    assert_no_inline_style(text);
}

#[tokio::test]
async fn filters_are_addresses() {
    let (_, _, viewer, reporter, ..) = TestApp::init().await;
    for (feature, error) in [("import", "Disk full"), ("export", "No network")] {
        let job = reporter.start_with(json!({"feature": feature, "title": format!("The {feature}")})).await;
        reporter.post(&job.at("fail"), json!({"errorMessage": error})).await;
    }
    let done = reporter.start_with(json!({"feature": "import", "title": "The good one"})).await;
    reporter.post_nothing(&done.at("complete")).await;
    for (query, shown) in [
        ("", vec!["The good one", "The export", "The import"]),
        ("?status=failed", vec!["The export", "The import"]),
        ("?feature=import", vec!["The good one", "The import"]),
        ("?feature=import&status=failed", vec!["The import"]),
        ("?q=network", vec!["The export"]),
        ("?author=reporter&q=disk", vec!["The import"]),
        ("?author=nobody", vec![]),
        // What makes no sense narrows nothing, as for a visitor who mistyped an address.
        ("?status=nonsense", vec!["The good one", "The export", "The import"]),
        ("?q=&feature=&author=", vec!["The good one", "The export", "The import"]),
    ] {
        let page = viewer.page(&format!("/admin/jobs{query}")).await;
        let text = page.assert_page(200);
        // What islands begin with carries the titles too; the table is what a person sees.
        let table = text.split("id=\"past\"").nth(1).unwrap();
        for title in ["The good one", "The export", "The import"] {
            assert_eq!(table.contains(&format!(">{title}<")), shown.contains(&title), "{query}: {title}");
        }
        assert_no_inline_style(text);
    }
    let page = viewer.page("/admin/jobs?cursor=nonsense").await;
    assert!(page.assert_page(400).contains("This page cannot be shown"));
}

#[tokio::test]
async fn history_goes_on_behind_its_first_page() {
    let (app, _, viewer, reporter, ..) = TestApp::init().await;
    for number in 0..30 {
        let job =
            reporter.start_with(json!({"feature": "import", "title": format!("Number {number}.")})).await;
        app.clock.advance(std::time::Duration::from_secs(1));
        reporter.post_nothing(&job.at("complete")).await;
    }
    let first = viewer.page("/admin/jobs").await;
    let text = first.assert_page(200);
    let next =
        text.split("href=\"").find(|part| part.starts_with("/admin/jobs?cursor=")).expect("a link to more");
    let next = next.split('"').next().unwrap().replace("&amp;", "&");
    let second = viewer.page(&next).await;
    let text = second.assert_page(200);
    assert!(text.contains("Number 4.") && text.contains("Number 0.") && !text.contains("Number 5."));
}

#[tokio::test]
async fn what_a_program_wrote_is_text_and_never_markup() {
    let (app, _, viewer, ..) = TestApp::init().await;
    let acting = app
        .token_that(longhaul::service::NewToken {
            name: "gateway".to_owned(),
            role: Role::Reporter,
            act_as: true,
            lasts: None,
        })
        .await;
    let body = json!({"feature": HOSTILE, "title": HOSTILE, "author": HOSTILE, "tags": ["<b>"]});
    let ended = acting.start_with(body.clone()).await;
    acting.post(&ended.at("fail"), json!({"errorMessage": HOSTILE})).await;
    let job = acting.start_with(body).await;
    acting
        .post(
            &job.at("progress"),
            json!({"steps": [{"id": "a", "title": HOSTILE}], "step": "a", "progress": 0.5}),
        )
        .await;
    acting.post(&job.at("message"), json!({"type": "error", "message": HOSTILE})).await;
    for path in [
        "/admin/jobs".to_owned(),
        format!("/admin/jobs?q={}", encode("</title><script>")),
        format!("/admin/jobs?feature={}", encode(HOSTILE)),
    ] {
        let page = viewer.page(&path).await;
        assert_escaped(page.assert_page(200));
        assert_no_inline_style(page.text());
    }
}

#[tokio::test]
async fn the_tab_counts_who_needs_somebody_and_rows_that_are_alike_are_folded() {
    let (app, _, viewer, reporter, ..) = TestApp::init().await;
    for _ in 0..6 {
        reporter.completed("import").await;
    }
    reporter.completed("export").await;
    reporter.start("reindex").await;
    let page = viewer.page("/admin/jobs").await;
    let text = page.assert_page(200);
    assert!(text.contains("<title>Jobs · Longhaul</title>"));
    assert!(text.contains("translate=\"no\"") && text.contains("content=\"notranslate\""));
    assert_eq!((text.matches("class=\"folded\"").count(), text.matches("5 more like it").count()), (1, 1));
    let narrowed = viewer.page("/admin/jobs?feature=import").await;
    assert!(!narrowed.text().contains("more like it"), "who asks for a feature sees all of it");
    app.minutes_pass(11);
    let page = viewer.page("/admin/jobs").await;
    assert!(page.text().contains("<title>(1) Jobs · Longhaul</title>"));
}
