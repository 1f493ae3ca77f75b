//! What open pages poll: `/rpc/board/poll`, `/rpc/jobs/past`, `/rpc/jobs/poll`, `/rpc/jobs/log`.

use longhaul::rpc::PastPage;
use longhaul::server::build_id;
use longhaul::view::{BoardAnswer, BoardView, JobAnswer, JobPageView, LogAnswer};
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
        let answer = reply.read_packed();
        if let BoardAnswer { view: Some(view), .. } = &answer {
            self.boot.clone_from(&view.boot);
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
    Watcher { client, boot: String::new(), build: build_id(), since: 0 }
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
async fn a_board_of_another_run_or_from_the_future_brings_everything() {
    let (_, _, viewer, reporter, ..) = TestApp::init().await;
    reporter.start("one").await;
    let mut board = watch(&viewer);
    board.full().await;
    for spoil in [
        |board: &mut Watcher<'_>| board.boot = "another".to_owned(),
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
    let build = build_id();
    let build = ("build", build.as_str());
    let board = [("boot", ""), ("since", "0"), build];
    let of_job = |id| [("id", id), ("since", "0"), ("unfolded", "false"), build];
    let of_log = |id| [("id", id), ("after", "0"), build];
    anon.poll("/rpc/board/poll", &board).await.assert_refused(401, "not_signed_in");
    anon.poll("/rpc/jobs/past", &[build]).await.assert_refused(401, "not_signed_in");
    anon.poll("/rpc/jobs/poll", &of_job(&job.id)).await.assert_refused(401, "not_signed_in");
    anon.poll("/rpc/jobs/log", &of_log(&job.id)).await.assert_refused(401, "not_signed_in");
    viewer
        .poll("/rpc/jobs/past", &[("cursor", "nonsense"), build])
        .await
        .assert_refused(400, "invalid_value");
    let nowhere = "00000000-0000-7000-8000-000000000000";
    viewer.poll("/rpc/jobs/poll", &of_job(nowhere)).await.assert_refused(404, "job_not_found");
    viewer.poll("/rpc/jobs/log", &of_log(nowhere)).await.assert_refused(404, "job_not_found");
    for (path, fields) in [
        ("/rpc/board/poll", vec![("since", "x"), build]),
        ("/rpc/jobs/poll", vec![("id", "x"), build]),
        ("/rpc/jobs/log", vec![("id", &job.id), ("after", "-1"), build]),
        ("/rpc/jobs/past", vec![("status", "done"), build]),
    ] {
        let reply = viewer.poll(path, &fields).await;
        assert_eq!((reply.status().as_u16(), &reply.json()["code"]), (400, &json!("wrong_shape")), "{path}");
    }
}

#[tokio::test]
async fn a_page_of_another_build_is_told_so_and_not_answered_in_a_form_it_cannot_read() {
    let (_, anon, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("one").await;
    let other = ("build", "another");
    for (path, fields) in [
        ("/rpc/board/poll", vec![("boot", ""), ("since", "0"), other]),
        ("/rpc/jobs/past", vec![other]),
        ("/rpc/jobs/poll", vec![("id", job.id.as_str()), ("since", "0"), ("unfolded", "false"), other]),
        ("/rpc/jobs/log", vec![("id", job.id.as_str()), ("after", "0"), other]),
    ] {
        viewer.poll(path, &fields).await.assert_refused(409, "other_build");
        anon.poll(path, &fields).await.assert_refused(401, "not_signed_in");
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
    let build = build_id();
    let page = async |fields: &[(&str, &str)]| -> PastPage {
        let fields: Vec<_> = fields.iter().copied().chain([("build", build.as_str())]).collect();
        viewer.poll("/rpc/jobs/past", &fields).await.read_packed()
    };
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

async fn job_poll(client: &Client, job: &Started, since: u64) -> JobAnswer {
    let path = format!("/rpc/jobs/poll?build={}&id={}&since={since}&unfolded=false", build_id(), job.id);
    client.get(&path).await.read_packed()
}

async fn log_poll(client: &Client, job: &Started, after: u64, more: &str) -> LogAnswer {
    let path = format!("/rpc/jobs/log?build={}&id={}&after={after}{more}", build_id(), job.id);
    client.get(&path).await.read_packed()
}

async fn lines(client: &Client, job: &Started, after: u64, more: &str) -> Vec<String> {
    log_poll(client, job, after, more).await.lines.into_iter().map(|line| line.text).collect()
}

fn changed(answer: JobAnswer) -> JobPageView {
    let JobAnswer { view: Some(view), .. } = answer else { panic!("something had changed") };
    view
}

#[tokio::test]
async fn a_job_brings_what_changed_and_the_lines_since() {
    let (app, _, viewer, reporter, operator, _) = TestApp::init().await;
    let job = reporter.start("import").await;
    let view = changed(job_poll(&viewer, &job, 0).await);
    assert_eq!(lines(&viewer, &job, 0, "").await, ["Started by token reporter"]);
    let (revision, seq) = (view.row.revision, view.seq);
    assert_eq!(job_poll(&viewer, &job, revision).await.view, None);
    assert_eq!(lines(&viewer, &job, seq, "").await, [""; 0]);

    let list = json!([{"type": "info", "message": "a"}, {"type": "error", "message": "b"}]);
    reporter.post(&job.at("message"), list).await;
    operator.post(&job.at("abort"), json!({"reason": "enough"})).await;
    let answer = job_poll(&viewer, &job, revision).await;
    // What the answer holds is told, so that a page knows which nudge it has covered.
    assert_eq!(
        (answer.boot.as_str(), answer.revision),
        (app.service.board().boot(), app.service.board().revision())
    );
    assert_eq!(changed(answer).actions[0].text, "token operator asked it to stop: enough");
    assert_eq!(lines(&viewer, &job, seq, "").await, ["a", "b", "token operator asked it to stop: enough"]);
    assert_eq!(lines(&viewer, &job, seq, "&kind=error").await, ["b"]);
    let asked = lines(&viewer, &job, seq, &format!("&text={}", encode("ENOUGH"))).await;
    assert_eq!(asked, ["token operator asked it to stop: enough"]);
    // Lines that do not match are behind the reader all the same.
    let answer = log_poll(&viewer, &job, seq, "&kind=warning").await;
    assert_eq!((answer.lines.len(), answer.more, answer.seq), (0, false, seq + 3));
}

/// Who only follows sees a few hundred lines. After a night in the background the others are not fetched first.
#[tokio::test]
async fn who_follows_a_log_is_given_the_newest_lines_of_many() {
    let (_, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    let list = |from: u32, to: u32| -> Vec<_> {
        let line = |n: u32| json!({"type": "info", "message": format!("line {n}")});
        (from..to).map(line).collect()
    };
    reporter.post(&job.at("message"), json!(list(0, 300))).await;
    // All that came fits: nothing is left out.
    let answer = log_poll(&viewer, &job, 1, "&follows=true").await;
    assert_eq!((answer.lines.len(), answer.skipped_of, answer.more, answer.seq), (300, None, false, 301));
    reporter.post(&job.at("message"), json!(list(300, 2_000))).await;
    let answer = log_poll(&viewer, &job, 301, "&follows=true").await;
    let (first, last) = (&answer.lines[0], &answer.lines[299]);
    assert_eq!(
        (answer.lines.len(), first.text.as_str(), last.text.as_str()),
        (300, "line 1700", "line 1999")
    );
    assert_eq!((answer.skipped_of, answer.more, answer.seq), (Some(2_001), false, 2_001));
    // Of those that match few are new, and they follow what is shown.
    let answer = log_poll(&viewer, &job, 301, "&follows=true&text=line%2019").await;
    assert_eq!((answer.lines.len(), answer.skipped_of, answer.seq), (100, None, 2_001));
    let answer = log_poll(&viewer, &job, 1, "&follows=true&kind=error").await;
    assert_eq!((answer.lines.len(), answer.skipped_of, answer.seq), (0, None, 2_001));
}

#[tokio::test]
async fn many_lines_come_in_parts() {
    let (_, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    let list: Vec<_> = (0..1_200).map(|n| json!({"type": "info", "message": format!("line {n}")})).collect();
    reporter.post(&job.at("message"), json!(list)).await;
    let (mut after, mut seen) = (1, Vec::new());
    loop {
        let answer = log_poll(&viewer, &job, after, "").await;
        assert!(answer.lines.len() <= 500);
        after = answer.seq;
        seen.extend(answer.lines.into_iter().map(|line| line.text));
        if !answer.more {
            break;
        }
    }
    assert_eq!(seen, (0..1_200).map(|n| format!("line {n}")).collect::<Vec<_>>());
}
