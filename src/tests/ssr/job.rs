//! `/admin/jobs/{id}`.

use longhaul::model::Role;
use serde_json::{Value, json};

use super::{assert_escaped, assert_no_inline_style};
use crate::support::{HOSTILE, TestApp};

#[tokio::test]
async fn a_running_job_shows_all_there_is_to_know() {
    let (app, _, _, reporter, ..) = TestApp::init().await;
    let job = reporter
        .start_with(json!({"feature": "import", "title": "Import of the night", "tags": ["night"], "input": {"rows": 5}}))
        .await;
    let steps = json!([{"id": "load", "title": "Load data"}, {"id": "save", "title": "Save data"}]);
    reporter.post(&job.at("progress"), json!({"steps": steps, "step": "load", "progress": 1})).await;
    reporter.post(&job.at("message"), json!({"type": "error", "message": "Row 7 is odd"})).await;
    app.minutes_pass(1);
    let otto = app.signed_in("otto", Role::Operator).await;
    let page = otto.page(&job.page()).await;
    let text = page.assert_page(200);
    for part in [
        "<title>Import of the night · Longhaul</title>",
        "Running",
        "running for 01:00",
        "Load data",
        "Save data",
        "Row 7 is odd",
        "50\u{a0}%",
        "started by reporter",
        "night",
        "30 min run, 10 min silence",
        &job.id,
        "First error",
        "role=\"log\"",
        "ask=abort",
        "ask=force-fail",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("<dialog id=\"ask-abort\" open"), "nothing is asked yet");
    assert_no_inline_style(text);
}

#[tokio::test]
async fn an_ended_job_shows_how_and_offers_nothing_more() {
    let (app, _, viewer, reporter, operator, _) = TestApp::init().await;
    let failed = reporter.start("import").await;
    reporter.post(&failed.at("progress"), json!({"progress": 0.4})).await;
    app.minutes_pass(2);
    reporter.post(&failed.at("fail"), json!({"errorMessage": "Disk full"})).await;
    let aborted = reporter.start("import").await;
    operator.post(&aborted.at("abort"), json!({"reason": "not needed"})).await;
    reporter.post_nothing(&aborted.at("aborted")).await;
    let completed = reporter.start("import").await;
    reporter.post(&completed.at("complete"), json!({"output": {"rows": 17}})).await;
    for (job, parts) in [
        (failed, ["Failed", "Disk full", "took 02:00", "40\u{a0}%"]),
        (aborted, ["Aborted", "asked it to stop: not needed", "Who did what", "Stopped on request"]),
        (completed, ["Completed", "{\"rows\":17}", "100\u{a0}%", "Output"]),
    ] {
        let page = viewer.page(&job.page()).await;
        let text = page.assert_page(200);
        for part in parts {
            assert!(text.contains(part), "{part}");
        }
        assert!(!text.contains("<dialog") && !text.contains("?ask="), "nothing can be done to it any more");
        assert_no_inline_style(text);
    }
}

#[tokio::test]
async fn a_guess_is_said_to_be_one() {
    let (_, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    reporter.post(&job.at("progress"), json!({"progress": 0.4, "progressSource": "guessed"})).await;
    for page in [job.page(), "/admin/jobs".to_owned()] {
        assert!(viewer.page(&page).await.assert_page(200).contains("about\u{a0}40\u{a0}%"), "{page}");
    }
    reporter.post(&job.at("progress"), json!({"progress": 0.5})).await;
    assert!(!viewer.page(&job.page()).await.assert_page(200).contains("about\u{a0}"));
}

#[tokio::test]
async fn a_question_is_open_where_the_address_asks_it_and_the_visitor_may() {
    let (app, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    let otto = app.signed_in("otto", Role::Operator).await;
    for (ask, other) in [("force-fail", "abort"), ("abort", "force-fail")] {
        let path = format!("{}?ask={ask}", job.page());
        let page = otto.page(&path).await;
        let text = page.assert_page(200);
        assert!(text.contains(&format!("<dialog id=\"ask-{ask}\" open")), "{text}");
        assert!(!text.contains(&format!("<dialog id=\"ask-{other}\" open")));
        assert!(text.contains(&format!("action=\"/rpc/jobs/{ask}\"")) && text.contains("name=\"reason\""));
        assert!(!viewer.page(&path).await.assert_page(200).contains("<dialog"));
    }
    let nonsense = otto.page(&format!("{}?ask=nonsense", job.page())).await;
    assert!(
        !nonsense.assert_page(200).contains("-fail\" open") && !nonsense.text().contains("-abort\" open")
    );
}

#[tokio::test]
async fn of_a_long_log_a_page_shows_the_end_and_leads_to_the_rest() {
    let (_, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    let list: Vec<Value> = (1..=5_000)
        .map(|n| json!({"type": if n == 1_000 { "error" } else { "info" }, "message": format!("line {n}.")}))
        .collect();
    reporter.post(&job.at("message"), json!(list)).await;
    let page = viewer.page(&job.page()).await;
    let text = page.assert_page(200);
    assert!(
        text.contains("5\u{202f}001 lines") && text.contains("line 5000.") && text.contains("line 4801.")
    );
    assert!(!text.contains("line 4800.") && text.contains("Older lines"));
    assert!(text.len() < 400_000, "{} bytes", text.len());

    let older = viewer.page(&format!("{}?before=4802", job.page())).await;
    let text = older.assert_page(200);
    assert!(
        text.contains("line 4800.")
            && !text.contains("line 4801.")
            && text.contains("Go to the newest lines")
    );
    // The error is the log's line 1001: behind "started", and the thousandth message.
    assert!(text.contains(&format!("{}?from=error#marked", job.page())));
    for from in ["error", "1001"] {
        let first_error = viewer.page(&format!("{}?from={from}", job.page())).await;
        let text = first_error.assert_page(200);
        assert!(text.contains("line 1000.") && text.contains("line 995.") && !text.contains("line 994."));
        assert!(text.contains("id=\"L1001\" class=\"error marked\""));
        assert_eq!(text.matches("id=\"marked\"").count(), 1);
    }

    let narrowed = viewer.page(&format!("{}?level=error", job.page())).await;
    let lines = narrowed.assert_page(200).split("role=\"log\"").nth(1).unwrap();
    assert!(lines.contains("line 1000.") && !lines.contains("line 5000."));
    let search = viewer.page(&format!("{}?q=LINE+4242", job.page())).await;
    assert!(search.assert_page(200).contains("line 4242.") && search.text().contains("1 line<"));
    let nothing = viewer.page(&format!("{}?q=absent", job.page())).await;
    assert!(nothing.assert_page(200).contains("No line matches."));
    for odd in
        ["from=0", "from=18446744073709551615", "before=0", "before=1", "from=x", "level=loud", "step=none"]
    {
        viewer.page(&format!("{}?{odd}", job.page())).await.assert_page(200);
    }
}

#[tokio::test]
async fn a_deep_tree_is_folded_and_can_be_unfolded() {
    let (_, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    let steps: Vec<Value> =
        (0..50).map(|n| json!({"id": format!("s{n}"), "title": format!("Step {n}.")})).collect();
    reporter.post(&job.at("progress"), json!({"steps": steps})).await;
    let page = viewer.page(&job.page()).await;
    assert!(page.assert_page(200).contains("Step 0.") && !page.text().contains("Step 49."));
    let unfolded = viewer.page(&format!("{}?steps=all", job.page())).await;
    assert!(unfolded.assert_page(200).contains("Step 49."));
}

#[tokio::test]
async fn what_a_program_or_a_person_wrote_is_text_and_never_markup() {
    let (app, _, viewer, reporter, operator, _) = TestApp::init().await;
    let job = reporter
        .start_with(json!({"feature": HOSTILE, "title": HOSTILE, "input": HOSTILE, "tags": [&HOSTILE[..40]]}))
        .await;
    reporter.post(&job.at("progress"), json!({"steps": [{"id": "a b\"<", "title": HOSTILE}]})).await;
    for kind in ["info", "warning", "error"] {
        reporter.post(&job.at("message"), json!({"type": kind, "message": HOSTILE, "step": "a b\"<"})).await;
    }
    operator.post(&job.at("abort"), json!({"reason": HOSTILE})).await;
    let otto = app.signed_in("otto", Role::Operator).await;
    for query in ["", "?ask=force-fail", "?q=%3Cscript%3E", "?level=operator", "?step=%3Cscript%3E"] {
        let page = otto.page(&format!("{}{query}", job.page())).await;
        assert_escaped(page.assert_page(200));
        assert_no_inline_style(page.text());
    }
    reporter.post(&job.at("fail"), json!({"errorMessage": HOSTILE})).await;
    let page = viewer.page(&job.page()).await;
    assert_escaped(page.assert_page(200));
    assert!(page.text().contains("\\u{202e}"), "what is not seen is spelt out");
}

#[tokio::test]
async fn what_is_not_there_is_a_page_too() {
    let (_, _, viewer, ..) = TestApp::init().await;
    for id in ["00000000-0000-7000-8000-000000000000", "nonsense", "%3Cscript%3E"] {
        let page = viewer.page(&format!("/admin/jobs/{id}")).await;
        assert!(page.assert_page(404).contains("This page cannot be shown"), "{id}");
        assert!(page.text().contains("href=\"/admin/jobs\"") && !page.text().contains("<script>"));
    }
    for path in ["/admin/nothing", "/admin/jobs/a/b"] {
        let page = viewer.page(path).await;
        assert!(page.assert_page(404).contains("There is no such page"), "{path}");
        assert_no_inline_style(page.text());
    }
}

#[tokio::test]
async fn the_step_it_failed_in_is_marked_and_the_error_leads_to_its_line() {
    let (_, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter
        .start_with(json!({"feature": "import", "input": {"command": ["./import.sh", "a b"], "host": "b4", "pid": 33}}))
        .await;
    let steps = json!([{"id": "load", "steps": [{"id": "parties"}, {"id": "rows"}]}, {"id": "save"}]);
    reporter
        .post(&job.at("progress"), json!({"steps": steps, "step": "load/parties", "progress": 0.4}))
        .await;
    reporter.post(&job.at("message"), json!({"type": "error", "message": "Retrying"})).await;
    reporter.post(&job.at("fail"), json!({"errorMessage": "Disk full"})).await;
    let page = viewer.page(&job.page()).await;
    let text = page.assert_page(200);
    assert_eq!(text.matches("class=\"step d1 failed\"").count(), 1, "the innermost, and only it");
    assert!(text.contains("failed here"));
    for part in ["./import.sh &#x27;a b&#x27;", "./import.sh 'a b'"] {
        if text.contains(part) {
            assert!(
                text.contains(">Command</dt>")
                    && text.contains(">Host</dt>")
                    && text.contains(">Process</dt>")
            );
            assert!(!text.contains(">Input</dt>"), "nothing else is in it");
        }
    }
    assert!(text.contains(">Command</dt>"), "{text}");
    assert!(text.contains("?from=failure#marked") && text.contains(&format!("/jobs/{}/log.txt", job.id)));
    let page = viewer.page(&format!("{}?from=failure", job.page())).await;
    let text = page.assert_page(200);
    let (_, marked) = text.split_once("marked\"").unwrap();
    assert!(marked.find("Disk full").unwrap_or(usize::MAX) < marked.find("</p>").unwrap_or(0), "{marked}");
}

#[tokio::test]
async fn times_have_a_day_a_zone_and_a_machine_readable_form() {
    let (app, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    app.minutes_pass(5);
    app.clock.advance(std::time::Duration::from_secs(86_400));
    reporter.post(&job.at("message"), json!({"type": "info", "message": "A day later"})).await;
    let page = viewer.page(&job.page()).await;
    let text = page.assert_page(200);
    assert_eq!(text.matches("class=\"more day\"").count(), 2, "a line where the day changes");
    assert!(
        text.contains("Times in UTC") && text.contains(" UTC\" datetime=\"") || text.contains("datetime=\"")
    );
}

#[tokio::test]
async fn a_built_in_job_can_be_run_again_and_its_kind_has_a_record() {
    let (app, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("integrity-check").await;
    app.minutes_pass(3);
    reporter.post_nothing(&job.at("complete")).await;
    let otto = app.signed_in("otto", Role::Operator).await;
    let page = otto.page(&job.page()).await;
    let text = page.assert_page(200);
    assert!(text.contains("Run again") && text.contains("Last success") && text.contains("03:00"), "{text}");
    assert!(!viewer.page(&job.page()).await.text().contains("Run again"), "a viewer may not");
}
