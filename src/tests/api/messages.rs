//! `POST …/{id}/message` and `GET …/{id}/messages`.

use serde_json::{Value, json};

use crate::support::{HOSTILE, TestApp, encode};

#[tokio::test]
async fn a_message_is_recorded_with_its_place_and_time() {
    let (_, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    for (kind, seq) in [("info", 2), ("warning", 3), ("error", 4)] {
        let reply =
            reporter.post(&job.at("message"), json!({"type": kind, "message": format!("one {kind}")})).await;
        let expected = json!({"seq": seq, "abortRequested": false, "message": "Message added successfully"});
        assert_eq!((reply.status().as_u16(), reply.json()), (200, expected));
    }
    let seen = viewer.job(&job).await;
    let at = "2026-11-22T16:20:05.123Z";
    assert_eq!(seen["infoMessages"], json!([{"message": "one info", "timestamp": at, "seq": 2}]));
    assert_eq!(seen["warningMessages"], json!([{"message": "one warning", "timestamp": at, "seq": 3}]));
    assert_eq!(seen["errorMessages"], json!([{"message": "one error", "timestamp": at, "seq": 4}]));
    assert_eq!(
        viewer.get(&job.at("messages")).await.json(),
        json!({
            "messages": [
                {"seq": 2, "timestamp": at, "type": "info", "message": "one info"},
                {"seq": 3, "timestamp": at, "type": "warning", "message": "one warning"},
                {"seq": 4, "timestamp": at, "type": "error", "message": "one error"},
            ],
            "total": 3,
        })
    );
}

#[tokio::test]
async fn a_message_that_makes_no_sense_is_refused_and_changes_nothing() {
    let (app, _, _, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    let before = app.everything().await;
    let too_long = "x".repeat(64 * 1024 + 1);
    for (body, field) in [
        (json!({"message": "x"}), "type"),
        (json!({"type": "debug", "message": "x"}), "type"),
        (json!({"type": "Info", "message": "x"}), "type"),
        (json!({"type": "", "message": "x"}), "type"),
        (json!({"type": "info"}), "message"),
        (json!({"type": "info", "message": ""}), "message"),
        (json!({"type": "info", "message": too_long}), "message"),
        (json!({"type": "info", "message": "x", "key": 0}), "key"),
        (json!([]), "messages"),
        (json!(vec![json!({"type": "info", "message": "x"}); 10_001]), "messages"),
        (
            json!([{"type": "info", "message": "x", "epoch": 1}, {"type": "info", "message": "x", "epoch": 2}]),
            "epoch",
        ),
    ] {
        let reply = reporter.post(&job.at("message"), body).await;
        reply.assert_refused(400, "invalid_value");
        assert_eq!(reply.json()["details"], json!({"field": field}));
    }
    for body in [
        json!({"type": 1, "message": "x"}),
        json!({"type": "info", "message": ["x"]}),
        json!([[]]),
        json!([1]),
    ] {
        reporter.post(&job.at("message"), body).await.assert_refused(400, "wrong_shape");
    }
    let unknown = json!({"type": "info", "message": "x", "step": "nothing"});
    reporter.post(&job.at("message"), unknown).await.assert_refused(400, "unknown_step");
    assert_eq!(app.everything().await, before);
}

#[tokio::test]
async fn a_list_is_recorded_whole_or_not_at_all() {
    let (app, _, _, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    let before = app.everything().await;
    let mut list = vec![json!({"type": "info", "message": "fine"}); 100];
    list[99] = json!({"type": "info", "message": ""});
    let reply = reporter.post(&job.at("message"), json!(list)).await;
    reply.assert_refused(400, "invalid_value");
    assert!(reply.json()["error"].as_str().unwrap().contains("message 100"), "{}", reply.text());
    list[99] = json!({"type": "info", "message": "x", "step": "nothing"});
    reporter.post(&job.at("message"), json!(list)).await.assert_refused(400, "unknown_step");
    assert_eq!(app.everything().await, before);

    let list: Vec<Value> = (1..=10_000).map(|n| json!({"type": "info", "message": n.to_string()})).collect();
    let reply = reporter.post(&job.at("message"), json!(list)).await;
    assert_eq!((reply.status().as_u16(), &reply.json()["seq"]), (200, &json!(10_001)));
}

#[tokio::test]
async fn sixty_four_kibibytes_are_taken_in_bytes_not_characters() {
    let (_, _, _, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    for text in ["x".repeat(64 * 1024), "ä".repeat(32 * 1024)] {
        assert_eq!(
            reporter.post(&job.at("message"), json!({"type": "info", "message": text})).await.status(),
            200
        );
    }
    let text = "ä".repeat(32 * 1024) + "x";
    let reply = reporter.post(&job.at("message"), json!({"type": "info", "message": text})).await;
    reply.assert_refused(400, "invalid_value");
}

#[tokio::test]
async fn a_list_of_two_mebibytes_is_taken_and_one_of_more_than_eight_is_not() {
    let (_, _, _, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    let of = |count: usize| json!(vec![json!({"type": "info", "message": "x".repeat(60_000)}); count]);
    let two = of(36);
    assert!(two.to_string().len() > 2 * 1024 * 1024);
    let reply = reporter.post(&job.at("message"), two).await;
    assert_eq!((reply.status().as_u16(), &reply.json()["seq"]), (200, &json!(37)));
    reporter.post(&job.at("message"), of(141)).await.assert_refused(413, "body_too_large");
    assert_eq!(reporter.job(&job).await["truncated"]["info"], 0);
    assert_eq!(reporter.job(&job).await["infoMessages"].as_array().unwrap().len(), 36);
}

#[tokio::test]
async fn every_character_but_terminal_escapes_is_kept_as_it_came() {
    let (_, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    let begin = |c: &char| matches!(c, '\u{1b}' | '\u{90}' | '\u{98}' | '\u{9b}' | '\u{9d}'..='\u{9f}');
    let controls: String = (0..=0x9f_u8).map(char::from).filter(|c| !begin(c)).collect();
    let hostile = HOSTILE.replace("\u{1b}[31m", "");
    let texts = [
        controls.as_str(),
        &hostile,
        " \t surrounded \n",
        "\u{1f4a3}\u{0}\u{ffff}\u{10ffff}",
        "\r\n",
        "%00 %s ${x}",
    ];
    let list: Vec<Value> = texts.iter().map(|text| json!({"type": "info", "message": text})).collect();
    assert_eq!(reporter.post(&job.at("message"), json!(list)).await.status(), 200);
    assert_eq!(viewer.log(&job, "info").await, texts);
}

/// What stands on every way out is what is looked for: of a sequence of escapes nothing, of one that is cut off
/// its characters.
#[tokio::test]
async fn terminal_escapes_are_no_part_of_what_a_program_says() {
    let (app, _, viewer, reporter, ..) = TestApp::with().init_sqlite().await;
    let coloured = "\u{1b}[31mre\u{1b}[0md";
    let job = reporter.start_with(json!({"feature": "import", "title": format!("{coloured} title")})).await;
    let link = "see \u{1b}]8;;http://x/\u{1b}\\the page\u{1b}]8;;\u{1b}\\";
    let declared = json!({"steps": [{"id": coloured, "title": link, "steps": [{"id": "\u{9b}1mparse"}]}]});
    assert_eq!(reporter.post(&job.at("progress"), declared).await.status(), 200);
    let moved = json!({"step": format!("{coloured}/parse"), "progress": 0.5});
    assert_eq!(reporter.post(&job.at("progress"), moved).await.status(), 200);
    let list = json!([
        {"type": "info", "message": coloured, "step": coloured, "key": 1},
        {"type": "info", "message": link, "key": 2},
        {"type": "info", "message": "\u{9b}31mre\u{9b}0md", "key": 3},
        {"type": "warning", "message": "red\u{1b}[3", "key": 4},
        {"type": "warning", "message": "red\u{1b}", "key": 5},
        {"type": "info", "message": "\u{1b}[0m", "key": 6},
    ]);
    let first = reporter.post(&job.at("message"), list.clone()).await;
    assert_eq!(
        (first.status().as_u16(), first.json()),
        (200, reporter.post(&job.at("message"), list).await.json())
    );
    let texts = ["red", "see the page", "red", "red[3", "red", " "];
    assert_eq!(viewer.log(&job, "info,warning").await, texts);
    let found = viewer.get(&job.at("messages?q=red")).await.json();
    assert_eq!(found["total"], 4, "{found}");
    assert_eq!(found["messages"][0]["step"], "red");
    let text = viewer.get(&job.at("log.txt")).await;
    assert!(
        text.text().contains("[red] red\n") && text.text().contains("info     see the page\n"),
        "{}",
        text.text()
    );
    let fail = json!({"errorMessage": format!("{coloured} alarm"), "epoch": 1});
    assert_eq!(reporter.post(&job.at("fail"), fail).await.status(), 200);

    let seen = viewer.job(&job).await;
    assert_eq!((&seen["title"], &seen["error"]), (&json!("red title"), &json!("red alarm")));
    assert_eq!(
        (&seen["steps"][0]["id"], &seen["steps"][0]["title"]),
        (&json!("red"), &json!("see the page"))
    );
    for wanted in ["red title", "red alarm"] {
        let found =
            viewer.get(&format!("/api/admin/jobs?includePast=true&q={}", encode(wanted))).await.json();
        assert_eq!(found["jobs"].as_array().map(Vec::len), Some(1), "{wanted}: {found}");
    }
    let page = viewer.page(&job.page()).await;
    let shown = page.assert_page(200);
    assert!(shown.contains("red title") && shown.contains("see the page") && shown.contains("red[3"));
    assert!(!shown.contains('\u{1b}') && !shown.contains("\\e[") && !shown.contains("u{9b}"), "{shown}");
    assert!(!app.everything().await.to_string().contains("\\u001b"));
}

#[tokio::test]
async fn a_message_with_a_key_is_recorded_once() {
    let (_, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    let list = json!([
        {"type": "info", "message": "a", "key": 1},
        {"type": "warning", "message": "b", "key": 2},
        {"type": "error", "message": "c", "key": 3},
    ]);
    let first = reporter.post(&job.at("message"), list.clone()).await.json();
    let again = reporter.post(&job.at("message"), list).await.json();
    assert_eq!(first, again);
    let more = json!([
        {"type": "info", "message": "c again", "key": 3},
        {"type": "info", "message": "d", "key": 7},
        {"type": "info", "message": "d again", "key": 7},
        {"type": "info", "message": "without a key"},
    ]);
    reporter.post(&job.at("message"), more).await;
    assert_eq!(viewer.log(&job, "").await, ["a", "b", "c", "d", "without a key"]);
}

#[tokio::test]
async fn pages_of_messages_show_each_once_and_end() {
    let (_, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    let list: Vec<Value> = (1..=25)
        .map(|n| json!({"type": if n % 5 == 0 { "warning" } else { "info" }, "message": format!("line {n}")}))
        .collect();
    reporter.post(&job.at("message"), json!(list)).await;
    let (mut seen, mut after) = (Vec::new(), 0);
    loop {
        let page = viewer.get(&job.at(&format!("messages?limit=10&after={after}"))).await.json();
        assert_eq!(page["total"], 25);
        seen.extend(page["messages"].as_array().unwrap().iter().map(|line| line["message"].clone()));
        match page.get("nextAfter") {
            Some(next) => after = next.as_u64().unwrap(),
            None => break,
        }
    }
    assert_eq!(seen, (1..=25).map(|n| json!(format!("line {n}"))).collect::<Vec<_>>());
    let exact = viewer.get(&job.at("messages?limit=25")).await.json();
    assert_eq!((exact["messages"].as_array().unwrap().len(), exact.get("nextAfter")), (25, None));
    let past_the_end = viewer.get(&job.at("messages?after=1000")).await.json();
    assert_eq!(past_the_end, json!({"messages": [], "total": 25}));
}

#[tokio::test]
async fn messages_are_narrowed_by_level_step_and_text() {
    let (_, _, viewer, reporter, operator, _) = TestApp::init().await;
    let job = reporter.start("import").await;
    let steps = json!([{"id": "load", "steps": [{"id": "parse"}]}, {"id": "loader"}]);
    reporter.post(&job.at("progress"), json!({"steps": steps})).await;
    let list = json!([
        {"type": "info", "message": "Alpha 100%", "step": "load/parse"},
        {"type": "warning", "message": "beta", "step": "load"},
        {"type": "error", "message": "GAMMA", "step": "loader"},
        {"type": "info", "message": "a_b"},
    ]);
    reporter.post(&job.at("message"), list).await;
    operator.post(&job.at("abort"), json!({"reason": "enough"})).await;
    for (query, expected) in [
        ("", vec!["Alpha 100%", "beta", "GAMMA", "a_b"]),
        ("level=warning", vec!["beta"]),
        ("level=warning,error", vec!["beta", "GAMMA"]),
        ("level=operator", vec!["token operator asked it to stop: enough"]),
        ("step=load", vec!["Alpha 100%", "beta"]),
        ("step=load/parse", vec!["Alpha 100%"]),
        ("step=parse", vec![]),
        ("q=gamma", vec!["GAMMA"]),
        ("q=%25", vec!["Alpha 100%"]),
        ("q=_", vec!["a_b"]),
        ("q=a&step=load&level=info", vec!["Alpha 100%"]),
    ] {
        let page = viewer.get(&job.at(&format!("messages?{query}"))).await.json();
        let texts: Vec<&str> = page["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line["message"].as_str().unwrap())
            .collect();
        assert_eq!(texts, expected, "{query}");
        assert_eq!(page["total"], texts.len(), "{query}");
    }
    assert_eq!(viewer.get(&job.at("messages?level=all")).await.json()["total"], 7);
    assert_eq!(viewer.get(&job.at("messages?step=load")).await.json()["messages"][0]["step"], "load/parse");
    for query in ["level=loud", "level=info,loud", "limit=0", "limit=1001"] {
        viewer.get(&job.at(&format!("messages?{query}"))).await.assert_refused(400, "invalid_value");
    }
    for query in ["after=-1", "after=x", "limit=-1", &format!("after={}", encode("18446744073709551616"))] {
        viewer.get(&job.at(&format!("messages?{query}"))).await.assert_refused(400, "wrong_query");
    }
    let largest = viewer.get(&job.at("messages?after=9223372036854775807")).await;
    assert_eq!(largest.json()["messages"], json!([]));
}

#[tokio::test]
async fn the_largest_place_is_taken_by_a_file_too() {
    let (_app, _, viewer, reporter, ..) = TestApp::with().init_sqlite().await;
    let job = reporter.start("import").await;
    reporter.post(&job.at("message"), json!({"type": "info", "message": "x"})).await;
    let reply = viewer.get(&job.at("messages?after=9223372036854775807")).await;
    assert_eq!((reply.status().as_u16(), reply.json()), (200, json!({"messages": [], "total": 1})));
    assert_eq!(
        reporter
            .post(&job.at("message"), json!({"type": "info", "message": "x", "key": i64::MAX}))
            .await
            .status(),
        200
    );
}

#[tokio::test]
async fn a_log_can_be_taken_away_whole_as_text() {
    let (_, anonymous, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    reporter.post(&job.at("progress"), json!({"steps": [{"id": "load"}]})).await;
    for first in [0, 1_500] {
        let list: Vec<_> = (first..first + 1_500)
            .map(|i| json!({"type": "info", "message": format!("line {i}"), "step": "load"}))
            .collect();
        assert_eq!(reporter.post(&job.at("message"), Value::from(list)).await.status(), 200);
    }
    reporter
        .post(&job.at("message"), json!({"type": "warning", "message": "two\nlines \u{202e}\u{84}"}))
        .await;
    let reply = viewer.get(&job.at("log.txt")).await;
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
    let text = reply.text();
    let infos: Vec<_> = text.lines().filter(|line| line.contains(" info ")).collect();
    assert_eq!(infos.len(), 3_000);
    assert_eq!(infos[2_999], "2026-11-22T16:20:05.123Z info     [load] line 2999");
    assert!(text.ends_with("Z warning  two\n    lines \\u{202e}\\u{84}\n"), "{}", &text[text.len() - 80..]);
    let warnings = viewer.get(&job.at("log.txt?level=warning")).await;
    assert_eq!(warnings.text().lines().count(), 2);
    assert_eq!(viewer.get(&job.at("log.txt?level=loud")).await.status(), 400);
    assert_eq!(anonymous.get(&job.at("log.txt")).await.status(), 401);
    let other = job.at("log.txt").replace(&job.id, "00000000-0000-7000-8000-000000000000");
    assert_eq!(viewer.get(&other).await.status(), 404);
}
