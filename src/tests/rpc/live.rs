//! What open pages poll: `/rpc/board/poll`, `/rpc/jobs/past`, `/rpc/jobs/poll`.

use longhaul::rpc::PastPage;
use longhaul::view::{BoardAnswer, BoardView, JobAnswer, JobPageView};
use serde_json::json;

use crate::support::{Client, Started, TestApp, encode};

struct Watcher<'a> {
    client: &'a Client,
    boot: String,
    build: String,
    since: u64,
}

impl Watcher<'_> {
    async fn poll(&mut self) -> BoardAnswer {
        let since = self.since.to_string();
        let fields = [("boot", self.boot.as_str()), ("build", &self.build), ("since", &since)];
        let reply = self.client.poll("/rpc/board/poll", &fields).await;
        assert_eq!(reply.status(), 200, "{}", reply.text());
        assert_eq!(reply.header("cache-control"), "no-store");
        let answer = reply.read_as();
        if let BoardAnswer { view: Some(view), .. } = &answer {
            self.boot.clone_from(&view.boot);
            self.build.clone_from(&view.build);
            self.since = view.revision;
        }
        answer
    }

    async fn full(&mut self) -> BoardView {
        match self.poll().await {
            BoardAnswer { view: Some(view), full: true, .. } => view,
            other => panic!("everything was due, but: {other:?}"),
        }
    }

    async fn delta(&mut self) -> (BoardView, Vec<String>) {
        match self.poll().await {
            BoardAnswer { view: Some(view), full: false, gone, .. } => {
                (view, gone.iter().map(ToString::to_string).collect())
            }
            other => panic!("a delta was due, but: {other:?}"),
        }
    }
}

fn watch(client: &Client) -> Watcher<'_> {
    Watcher { client, boot: String::new(), build: String::new(), since: 0 }
}

#[tokio::test]
async fn a_board_brings_everything_then_what_changed_then_nothing() {
    let (_, _, viewer, reporter, ..) = TestApp::init().await;
    let (one, two) = (reporter.start("one").await, reporter.start("two").await);
    let mut board = watch(&viewer);
    let all = board.full().await;
    assert_eq!((all.rows.len(), all.counts.active(), all.max_active), (2, 2, 50));
    assert_eq!(board.poll().await.view, None);

    reporter.post(&one.at("progress"), json!({"progress": 0.5})).await;
    let (view, gone) = board.delta().await;
    assert_eq!((view.rows.len(), view.rows[0].percent, gone.len()), (1, 50, 0));
    assert_eq!(view.rows[0].id.to_string(), one.id);

    reporter.post_nothing(&two.at("complete")).await;
    let (view, gone) = board.delta().await;
    assert_eq!((view.rows.len(), gone), (0, vec![two.id]));
    assert_eq!((view.counts.active(), view.today.completed), (1, 1));
    assert_eq!(board.poll().await.view, None);
}

#[tokio::test]
async fn a_board_of_another_run_or_build_or_from_the_future_brings_everything() {
    let (_, _, viewer, reporter, ..) = TestApp::init().await;
    reporter.start("one").await;
    let mut board = watch(&viewer);
    board.full().await;
    for spoil in [
        |board: &mut Watcher<'_>| board.boot = "another".to_owned(),
        |board: &mut Watcher<'_>| board.build = "another".to_owned(),
        |board: &mut Watcher<'_>| board.since = u64::MAX,
    ] {
        spoil(&mut board);
        assert_eq!(board.full().await.rows.len(), 1);
    }
}

#[tokio::test]
async fn polls_are_for_those_who_are_signed_in_and_say_what_is_wrong() {
    let (_, anon, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("one").await;
    anon.poll("/rpc/board/poll", &[("boot", ""), ("build", ""), ("since", "0")])
        .await
        .assert_refused(401, "not_signed_in");
    anon.poll("/rpc/jobs/past", &[]).await.assert_refused(401, "not_signed_in");
    let fields = [("id", job.id.as_str()), ("since", "0"), ("after", "0"), ("unfolded", "false")];
    anon.poll("/rpc/jobs/poll", &fields).await.assert_refused(401, "not_signed_in");
    viewer.poll("/rpc/jobs/past", &[("cursor", "nonsense")]).await.assert_refused(400, "invalid_value");
    let nowhere = [
        ("id", "00000000-0000-7000-8000-000000000000"),
        ("since", "0"),
        ("after", "0"),
        ("unfolded", "false"),
    ];
    viewer.poll("/rpc/jobs/poll", &nowhere).await.assert_refused(404, "job_not_found");
    for (path, fields) in [
        ("/rpc/board/poll", vec![("since", "x")]),
        ("/rpc/jobs/poll", vec![("id", "x")]),
        ("/rpc/jobs/past", vec![("status", "done")]),
    ] {
        let reply = viewer.poll(path, &fields).await;
        assert_eq!((reply.status().as_u16(), &reply.json()["code"]), (400, &json!("wrong_shape")), "{path}");
    }
}

#[tokio::test]
async fn history_pages_through_everything_once_and_by_its_filters() {
    let (app, _, viewer, reporter, operator, _) = TestApp::init().await;
    for number in 0..60 {
        let job = reporter
            .start_with(json!({"feature": format!("f{}", number % 2), "title": format!("job {number}")}))
            .await;
        app.clock.advance(std::time::Duration::from_secs(1));
        let what = if number % 3 == 0 { "fail" } else { "complete" };
        reporter.post(&job.at(what), json!({"errorMessage": "Disk full"})).await;
    }
    operator.start("open").await;
    let page =
        async |fields: &[(&str, &str)]| -> PastPage { viewer.poll("/rpc/jobs/past", fields).await.read_as() };
    let (mut titles, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let got = match &cursor {
            None => page(&[]).await,
            Some(cursor) => page(&[("cursor", cursor)]).await,
        };
        titles.extend(got.rows.into_iter().map(|row| row.title));
        match got.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(titles, (0..60).rev().map(|number| format!("job {number}")).collect::<Vec<_>>());
    assert_eq!(page(&[("status", "failed")]).await.rows.len(), 20);
    assert_eq!(page(&[("status", "failed"), ("feature", "f0")]).await.rows.len(), 10);
    assert_eq!(
        page(&[("text", "disk FULL"), ("author", "reporter"), ("feature", "f1")]).await.rows.len(),
        10
    );
    assert_eq!(page(&[("author", "operator")]).await.rows.len(), 0);
    assert_eq!(page(&[("text", "disk")]).await.rows[0].result, "Disk full");
}

async fn job_poll(client: &Client, job: &Started, since: u64, after: u64, more: &str) -> JobAnswer {
    let path = format!("/rpc/jobs/poll?id={}&since={since}&after={after}&unfolded=false{more}", job.id);
    client.get(&path).await.read_as()
}

fn changed(answer: JobAnswer) -> (JobPageView, Vec<String>, bool) {
    let JobAnswer { view: Some(view), lines, more, .. } = answer else { panic!("something had changed") };
    (view, lines.into_iter().map(|line| line.text).collect(), more)
}

#[tokio::test]
async fn a_job_brings_what_changed_and_the_lines_since() {
    let (_, _, viewer, reporter, operator, _) = TestApp::init().await;
    let job = reporter.start("import").await;
    let (view, lines, more) = changed(job_poll(&viewer, &job, 0, 0, "").await);
    assert_eq!((lines, more), (vec!["Started by token reporter".to_owned()], false));
    let (revision, seq) = (view.row.revision, view.seq);
    assert_eq!(job_poll(&viewer, &job, revision, seq, "").await.view, None);

    let list = json!([{"type": "info", "message": "a"}, {"type": "error", "message": "b"}]);
    reporter.post(&job.at("message"), list).await;
    operator.post(&job.at("abort"), json!({"reason": "enough"})).await;
    let (view, lines, _) = changed(job_poll(&viewer, &job, revision, seq, "").await);
    assert_eq!(lines, ["a", "b", "token operator asked it to stop: enough"]);
    assert_eq!(view.actions[0].text, "token operator asked it to stop: enough");
    let (_, lines, _) = changed(job_poll(&viewer, &job, revision, seq, "&kind=error").await);
    assert_eq!(lines, ["b"]);
    let (_, lines, _) =
        changed(job_poll(&viewer, &job, revision, seq, &format!("&text={}", encode("ENOUGH"))).await);
    assert_eq!(lines, ["token operator asked it to stop: enough"]);
}

#[tokio::test]
async fn many_lines_come_in_parts() {
    let (_, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    let list: Vec<_> = (0..1_200).map(|n| json!({"type": "info", "message": format!("line {n}")})).collect();
    reporter.post(&job.at("message"), json!(list)).await;
    let (mut after, mut seen) = (1, Vec::new());
    loop {
        let (_, lines, more) = changed(job_poll(&viewer, &job, 0, after, "").await);
        assert!(lines.len() <= 500);
        after += lines.len() as u64;
        seen.extend(lines);
        if !more {
            break;
        }
    }
    assert_eq!(seen, (0..1_200).map(|n| format!("line {n}")).collect::<Vec<_>>());
}
