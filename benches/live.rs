//! Open dashboards: how soon what was written is on the screen, and what each costs in memory.
//!
//! A hundred dashboards: one is a page in Chromium, and the others do over the wire what a page does. Each holds
//! the stream of events, and when it is nudged asks for what has changed, no sooner than 40 ms after it asked
//! last. All are signed in.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::http::Http;
use crate::machine::{memory_of, sync_time};
use crate::report::{Row, percentiles};
use crate::server::{Service, longhaul, longhaul_with, sign_in};

/// As many streams as one who is signed in may have, with room for more.
const OF_ONE_SESSION: usize = 30;
/// A page asks again no sooner.
const APART: Duration = Duration::from_millis(40);

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds make sense")
}

/// Dashboards that are open until this is dropped.
struct Dashboards {
    tasks: JoinSet<u64>,
    stop: watch::Sender<bool>,
}

impl Dashboards {
    fn new() -> Self {
        Self { tasks: JoinSet::new(), stop: watch::channel(false).0 }
    }

    /// Opens so many more in the sessions there are, and waits until each has heard where things stand.
    async fn open(&mut self, service: &Service, sessions: &[String], count: usize) {
        for _ in 0..count {
            let cookie = &sessions[self.tasks.len() / OF_ONE_SESSION];
            let mut dashboard = Dashboard::open(service.port, cookie).await.expect("a dashboard opens");
            let mut stop = self.stop.subscribe();
            self.tasks.spawn(async move {
                tokio::select! {
                    () = dashboard.live() => {}
                    _ = stop.changed() => {}
                }
                dashboard.errors
            });
        }
    }

    /// Closes them. Answers how many of their requests failed.
    async fn close(mut self) -> u64 {
        let _ = self.stop.send(true);
        let mut errors = 0;
        while let Some(ended) = self.tasks.join_next().await {
            errors += ended.unwrap_or(1);
        }
        errors
    }
}

/// As many sessions as so many dashboards need.
async fn sessions(service: &Service, dashboards: usize) -> Vec<String> {
    let mut sessions = Vec::new();
    for _ in 0..dashboards.div_ceil(OF_ONE_SESSION) {
        sessions.push(sign_in(service).await);
    }
    sessions
}

/// What a page does, over the wire.
struct Dashboard {
    events: tokio::io::Lines<BufReader<TcpStream>>,
    http: Http,
    build: String,
    since: u64,
    asked: Instant,
    errors: u64,
}

impl Dashboard {
    async fn open(port: u16, cookie: &str) -> std::io::Result<Self> {
        let mut http = Http::connect(port, cookie).await?;
        let page = http.get("/admin/jobs").await?;
        assert_eq!(page.status, 200, "the overview");
        let text = String::from_utf8_lossy(page.body);
        let build = text.split("/pkg/").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let build = build.to_owned();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let ask = format!(
            "GET /api/admin/jobs/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: text/event-stream\r\n{cookie}\r\n\r\n"
        );
        stream.write_all(ask.as_bytes()).await?;
        let mut events = BufReader::with_capacity(1_024, stream).lines();
        let status = events.next_line().await?.unwrap_or_default();
        assert!(status.contains(" 200 "), "a stream of events: {status}");
        let mut dashboard = Self { events, http, build, since: 0, asked: Instant::now(), errors: 0 };
        dashboard.heard().await;
        Ok(dashboard)
    }

    /// The next state that is announced, and of which run of the server.
    async fn heard(&mut self) -> Option<(u64, String)> {
        let mut announced = false;
        while let Ok(Some(line)) = self.events.next_line().await {
            match line.strip_prefix("data: ") {
                None => announced |= line == "event: revision",
                Some(data) if announced => {
                    let data: Value = serde_json::from_str(data).ok()?;
                    return Some((data["revision"].as_u64()?, data["boot"].as_str()?.to_owned()));
                }
                Some(_) => {}
            }
        }
        None
    }

    async fn live(&mut self) {
        while let Some((revision, boot)) = self.heard().await {
            tokio::time::sleep((self.asked + APART).saturating_duration_since(Instant::now())).await;
            self.asked = Instant::now();
            let (build, since) = (&self.build, self.since);
            let path = format!("/rpc/board/poll?boot={boot}&build={build}&since={since}");
            match self.http.get(&path).await {
                Ok(answer) if answer.status == 200 => self.since = revision,
                _ => self.errors += 1,
            }
        }
        // The stream has ended under it.
        self.errors += 1;
    }
}

/// A job that is open, and whose messages are what changes.
struct Writing {
    http: Http,
    path: String,
}

impl Writing {
    async fn begin(service: &Service) -> Self {
        let mut http = service.connect().await;
        let answer = http.post("/api/admin/jobs/start", b"{\"feature\":\"paint\",\"timeout\":0}").await;
        let job: Value =
            serde_json::from_slice(answer.expect("a job starts").body).expect("an answer in JSON");
        let path = format!("/api/admin/jobs/{}/message", job["jobId"].as_str().expect("a job has an id"));
        Self { http, path }
    }

    /// Answers when the write was acknowledged, in milliseconds of the machine's clock.
    async fn write(&mut self, number: u64) -> Option<f64> {
        let body = format!("{{\"type\":\"info\",\"message\":\"paint {number}\"}}");
        let answer = self.http.post(&self.path, body.as_bytes()).await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
        answer.is_ok_and(|answer| answer.status == 200).then_some(now.as_secs_f64() * 1e3)
    }
}

/// A page in Chromium.
struct Browser {
    _process: Child,
    input: ChildStdin,
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
}

impl Browser {
    async fn open(service: &Service) -> Self {
        let cookie = sign_in(service).await;
        let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
        let mut process = Command::new("node")
            .arg("benches/live/page.mjs")
            .env("ADDRESS", format!("http://127.0.0.1:{}", service.port))
            .env("COOKIE", cookie.trim_start_matches("Cookie: "))
            .env("CHROMIUM", chromium)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node can be started");
        let input = process.stdin.take().expect("standard input");
        let mut lines = BufReader::new(process.stdout.take().expect("standard output")).lines();
        let ready = lines.next_line().await.ok().flatten();
        assert_eq!(ready.as_deref(), Some("ready"), "the page in Chromium is live: npm ci --prefix end2end");
        Self { _process: process, input, lines }
    }

    /// When each message was painted.
    async fn close(mut self) -> Value {
        drop(self.input);
        let line = self.lines.next_line().await.ok().flatten().expect("the page says what it has painted");
        serde_json::from_str(&line).expect("an answer in JSON")
    }
}

/// From the acknowledgement of a write to the screen, with so many dashboards open.
pub async fn paint(folder: &Path, dashboards: usize, writes: u64) -> Vec<Row> {
    let mut sides = Vec::new();
    for name in ["a", "b"] {
        let place = folder.join(name);
        std::fs::create_dir_all(&place).expect("a folder for the server");
        let service = longhaul(&place, "sqlite://jobs.db", false).await;
        let writing = Writing::begin(&service).await;
        let mut open = Dashboards::new();
        let sessions = sessions(&service, dashboards).await;
        open.open(&service, &sessions, dashboards - 1).await;
        sides.push((service, writing, open, Vec::<f64>::new(), 0_u64));
    }
    let mut syncs = Vec::new();
    let mut browser = None;
    let mut seed = 7_u64;
    // The same program twice, in turns: the difference between the two is the noise.
    for turn in 0..8_usize {
        let (service, writing, _, painted, errors) = &mut sides[[0, 1, 1, 0][turn % 4]];
        syncs.push(sync_time(folder).as_secs_f64() * 1e3);
        let page = Browser::open(service).await;
        let from = turn as u64 * 10_000;
        let count = writes / 8;
        let mut acknowledged = Vec::new();
        for number in from + 1..=from + count {
            // Writes come when they come, and not when the last one was painted.
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            tokio::time::sleep(Duration::from_millis(100 + (seed >> 33) % 150)).await;
            acknowledged.push((number, writing.write(number).await));
        }
        let seen = page.close().await;
        *errors += seen["troubles"].as_array().map_or(1, |troubles| troubles.len() as u64);
        for (number, at) in acknowledged {
            match (at, seen["painted"][number.to_string()].as_f64()) {
                (Some(at), Some(seen)) => painted.push((seen - at).max(0.001)),
                _ => *errors += 1,
            }
        }
        browser = Some(seen["browser"].clone());
    }
    let (mut all, mut errors, mut medians, mut tails) = (histogram(), 0, Vec::new(), Vec::new());
    for (service, _, open, painted, failed) in sides {
        let mut own = histogram();
        painted.iter().for_each(|ms| own.record((ms * 1e3) as u64).expect("within the bounds"));
        medians.push(own.value_at_quantile(0.5) as f64 / 1e3);
        tails.push(own.value_at_quantile(0.99) as f64 / 1e3);
        all.add(&own).expect("the same bounds");
        errors += failed + open.close().await;
        service.stop();
    }
    let at = |quantile| all.value_at_quantile(quantile) as f64 / 1e3;
    let more = json!({
        "ms": percentiles(&all), "writes": all.len(), "sideP50": medians, "sideP99": tails, "diskSyncMs": syncs,
        "browser": browser,
    });
    let name = format!("acknowledged to painted, {dashboards} dashboards");
    vec![
        Row::new(format!("{name}: p50"), at(0.5), "ms").at_most(20.0).errors(errors).more(more),
        Row::new(format!("{name}: p99"), at(0.99), "ms").at_most(50.0).errors(errors),
        Row::new("the same program against itself: p50", (medians[0] - medians[1]).abs(), "ms apart")
            .errors(errors),
        Row::new("the same program against itself: p99", (tails[0] - tails[1]).abs(), "ms apart")
            .errors(errors),
    ]
}

/// Lets changes come, and answers what the server has in memory between them.
async fn settled(service: &Service, writing: &mut Writing, numbers: &mut u64, errors: &mut u64) -> f64 {
    let mut seen = Vec::new();
    for _ in 0..8 {
        *numbers += 1;
        *errors += u64::from(writing.write(*numbers).await.is_none());
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        seen.push(memory_of(service.id()).0 as f64);
    }
    crate::writing::median(&seen[3..])
}

/// What an open dashboard costs in memory: stream and polls.
pub async fn memory(folder: &Path) -> Vec<Row> {
    const MANY: [usize; 2] = [1_000, 2_000];
    let (mut each, mut errors) = ([Vec::new(), Vec::new()], 0);
    // The same program twice: the difference between the two is the noise.
    for round in 0..2 {
        let place = folder.join(format!("memory-{round}"));
        std::fs::create_dir_all(&place).expect("a folder for the server");
        // Two connections each.
        let room = [("LONGHAUL_MAX_CONNECTIONS", "8192")];
        let service = longhaul_with(&place, "sqlite://jobs.db", false, &room).await;
        let mut writing = Writing::begin(&service).await;
        let mut open = Dashboards::new();
        let mut numbers = 0;
        // What is needed once is there before it is counted; signing in needs much, for a moment.
        let sessions = sessions(&service, MANY[1]).await;
        open.open(&service, &sessions, 40).await;
        let before = settled(&service, &mut writing, &mut numbers, &mut errors).await;
        let mut opened = 0;
        for (place, many) in MANY.into_iter().enumerate() {
            // Of the most that may be open, the first few were not counted.
            let more = many - opened - if place == 1 { 40 } else { 0 };
            open.open(&service, &sessions, more).await;
            opened += more;
            let after = settled(&service, &mut writing, &mut numbers, &mut errors).await;
            each[place].push((after - before) / opened as f64 / 1e3);
        }
        errors += open.close().await;
        service.stop();
    }
    let mut rows = Vec::new();
    for (place, many) in MANY.into_iter().enumerate() {
        let two = &each[place];
        let more = json!({"rounds": two});
        let figure = two[0].max(two[1]);
        let row = Row::new(format!("memory of an open dashboard, of {many}"), figure, "KB");
        rows.push(row.at_most(16.0).errors(errors).more(more));
        let apart = (two[0] - two[1]).abs();
        rows.push(Row::new("the same program against itself", apart, "KB apart").errors(errors));
    }
    rows
}
