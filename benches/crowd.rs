//! Crowds and large things: thousands of connections that say nothing, say half, or do not read; searches all at
//! once; answers and jobs of the largest kind.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use crate::http::Http;
use crate::machine::{forget_peak, memory_of, peak_of};
use crate::report::Row;
use crate::server::{Service, TOKEN, longhaul, sign_in};
use crate::writing::median;

const CROWD: usize = 2_000;
/// How long each crowd is kept up, while somebody else uses the server.
const SPAN: Duration = Duration::from_secs(5);

#[derive(Clone, Copy)]
enum Kind {
    Idle,
    Slow,
    Unread,
}

async fn one(port: u16, kind: Kind, asset: &str) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if matches!(kind, Kind::Unread) {
        socket.set_recv_buffer_size(4_096)?;
    }
    let mut stream = socket.connect(([127, 0, 0, 1], port).into()).await?;
    let said = match kind {
        Kind::Idle => String::new(),
        // Half of a sign-in as large as may be.
        Kind::Slow => format!(
            "POST /rpc/session/sign-in HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: 1000000\r\n\r\nname=admin&password={}",
            "x".repeat(500_000)
        ),
        Kind::Unread => format!("GET {asset} HTTP/1.1\r\nHost: x\r\n\r\n"),
    };
    // As much as the server takes.
    let _ = tokio::time::timeout(Duration::from_millis(500), stream.write_all(said.as_bytes())).await;
    Ok(stream)
}

async fn crowd(port: u16, kind: Kind, asset: &str) -> Vec<TcpStream> {
    let mut coming = JoinSet::new();
    let mut here = Vec::new();
    for _ in 0..CROWD {
        let asset = asset.to_owned();
        coming.spawn(async move { one(port, kind, &asset).await });
        if coming.len() >= 200 {
            here.extend(coming.join_next().await.and_then(Result::ok).and_then(Result::ok));
        }
    }
    while let Some(one) = coming.join_next().await {
        here.extend(one.ok().and_then(Result::ok));
    }
    here
}

/// What somebody else meets: pages and lists on a connection that is kept and on new ones, in milliseconds.
async fn beside(service: &Service, cookie: &str) -> (Vec<f64>, u64) {
    let mut kept = Http::connect(service.port, cookie).await.expect("it takes connections");
    let (mut times, mut errors, begun) = (Vec::new(), 0, Instant::now());
    while begun.elapsed() < SPAN {
        for (path, again) in [
            ("/admin/jobs", true),
            ("/api/admin/jobs?includePast=true", true),
            ("/admin/jobs", false),
            ("/api/admin/jobs?includePast=true", false),
        ] {
            let since = Instant::now();
            let status = if again {
                kept.get(path).await.map(|answer| answer.status)
            } else {
                match Http::connect(service.port, cookie).await {
                    Ok(mut new) => new.get(path).await.map(|answer| answer.status),
                    Err(error) => Err(error),
                }
            };
            times.push(since.elapsed().as_secs_f64() * 1e3);
            errors += u64::from(!status.is_ok_and(|status| status == 200));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    (times, errors)
}

fn at(times: &mut [f64], quantile: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get((times.len() as f64 * quantile) as usize).copied().unwrap_or(0.0)
}

/// Crowds of connections, and somebody beside them.
pub async fn connections(folder: &Path) -> Vec<Row> {
    let service = longhaul(folder, "sqlite://jobs.db", false).await;
    let cookie = sign_in(&service).await;
    let mut http = Http::connect(service.port, &cookie).await.expect("it takes connections");
    let page = http.get("/admin/jobs").await.expect("a page");
    let text = String::from_utf8_lossy(page.body).into_owned();
    let build = text.split("/pkg/").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let asset = format!("/pkg/{build}/longhaul.wasm");
    let wasm = http.get(&asset).await.map_or(0, |answer| answer.body.len());
    assert!(wasm > 100_000, "the browser's part is in the program: make build");
    let (mut quiet, failed) = beside(&service, &cookie).await;
    let mut rows = vec![
        Row::new("nobody else: p99 of pages and lists", at(&mut quiet, 0.99), "ms").errors(failed),
        Row::new("nobody else: memory", memory_of(service.id()).0 as f64 / 1e6, "MB"),
    ];
    for (name, kind) in [
        ("2 000 idle", Kind::Idle),
        ("2 000 that send half a sign-in", Kind::Slow),
        ("2 000 that do not read", Kind::Unread),
    ] {
        forget_peak(service.id());
        let here = crowd(service.port, kind, &asset).await;
        let (mut times, failed) = beside(&service, &cookie).await;
        let since = Instant::now();
        sign_in(&service).await;
        let signing_in = since.elapsed().as_secs_f64() * 1e3;
        let peak = peak_of(service.id()) as f64 / 1e6;
        let more = json!({"connected": here.len(), "signInMs": signing_in, "p50": at(&mut times, 0.5)});
        drop(here);
        rows.push(
            Row::new(format!("{name}: most memory"), peak, "MB").at_most(200.0).errors(failed).more(more),
        );
        rows.push(
            Row::new(format!("{name}: another's p99"), at(&mut times, 0.99), "ms")
                .at_most(100.0)
                .errors(failed),
        );
        rows.push(Row::new(format!("{name}: a sign-in"), signing_in, "ms").errors(failed));
    }
    service.stop();
    rows
}

async fn start(http: &mut Http, body: &Value) -> String {
    let body = serde_json::to_vec(body).expect("JSON");
    let answer = http.post("/api/admin/jobs/start", &body).await.expect("an answer");
    let job: Value = serde_json::from_slice(answer.body).expect("an answer in JSON");
    job["jobId"].as_str().expect("a job starts").to_owned()
}

async fn say(http: &mut Http, id: &str, lines: usize, line: &str) {
    // A list of messages may have eight megabytes.
    let bytes = serde_json::to_vec(line).map_or(1, |line| line.len());
    let together = (7_500_000 / (bytes + 50)).clamp(1, 500);
    let mut left = lines;
    while left > 0 {
        let count = left.min(together);
        left -= count;
        let list: Vec<Value> = (0..count).map(|_| json!({"type": "info", "message": line})).collect();
        let list = serde_json::to_vec(&list).expect("JSON");
        let answer = http.post(&format!("/api/admin/jobs/{id}/message"), &list).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(answer.body));
    }
}

/// Writes to a job of its own until it is told to stop. Answers how long each took in milliseconds, and how many
/// failed.
fn keep_writing(service: &Service) -> (oneshot::Sender<()>, JoinHandle<(Vec<f64>, u64)>) {
    let (stop, mut stopped) = oneshot::channel();
    let connection = (service.port, format!("Authorization: Bearer {TOKEN}"));
    let writing = tokio::spawn(async move {
        let mut http = Http::connect(connection.0, &connection.1).await.expect("it takes connections");
        let id = start(&mut http, &json!({"feature": "busy", "timeout": 0})).await;
        let path = format!("/api/admin/jobs/{id}/message");
        let (mut times, mut failed) = (Vec::new(), 0);
        while stopped.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
            let since = Instant::now();
            let answer = http.post(&path, b"{\"type\":\"info\",\"message\":\"still here\"}").await;
            failed += u64::from(!answer.is_ok_and(|answer| answer.status == 200));
            times.push(since.elapsed().as_secs_f64() * 1e3);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        (times, failed)
    });
    (stop, writing)
}

/// A hundred searches at once over long lines, and somebody who writes meanwhile.
pub async fn searches(folder: &Path) -> Vec<Row> {
    const SEARCHES: usize = 100;
    let service = longhaul(folder, "sqlite://jobs.db", false).await;
    let mut http = service.connect().await;
    let id = start(&mut http, &json!({"feature": "long", "timeout": 0})).await;
    let line: String = (0..65_000_u32).map(|n| char::from(b'a' + (n * 7 % 26) as u8)).collect();
    say(&mut http, &id, 5_000, &line).await;
    let (stop, alone) = keep_writing(&service);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let _ = stop.send(());
    let (mut alone, failed_alone) = alone.await.expect("a writer ends");
    let (stop, beside) = keep_writing(&service);
    let mut searching = JoinSet::new();
    for number in 0..SEARCHES {
        let mut http = service.connect().await;
        let path = format!("/api/admin/jobs/{id}/messages?q=zzznowhere{number}&limit=100");
        searching.spawn(async move {
            let since = Instant::now();
            let status = http.get(&path).await.map_or(0, |answer| answer.status);
            (status, since.elapsed().as_secs_f64())
        });
    }
    let mut answers = std::collections::BTreeMap::new();
    let (mut longest, mut failed) = (0.0_f64, 0);
    while let Some(one) = searching.join_next().await {
        let (status, seconds) = one.expect("a search ends");
        *answers.entry(status.to_string()).or_insert(0_u64) += 1;
        longest = longest.max(seconds);
        // Found nothing; gave up after its time; was not begun, because too many were.
        failed += u64::from(!matches!(status, 200 | 400 | 429));
    }
    let _ = stop.send(());
    let (mut beside, failed_beside) = beside.await.expect("a writer ends");
    failed += failed_alone + failed_beside;
    service.stop();
    let more = json!({
        "answers": answers, "alone": {"p50": at(&mut alone, 0.5), "p99": at(&mut alone, 0.99), "writes": alone.len()},
        "beside": {"p50": at(&mut beside, 0.5), "p99": at(&mut beside, 0.99), "writes": beside.len()},
    });
    println!("    {more}");
    vec![
        Row::new("100 searches at once in 325 MB: the last answer", longest, "s")
            .at_most(15.0)
            .errors(failed)
            .more(more),
        Row::new("a write beside them to one alone, p50", median(&beside) / median(&alone), "times")
            .at_most(2.0)
            .errors(failed),
    ]
}

/// The largest answers, and the largest jobs.
pub async fn large(folder: &Path) -> Vec<Row> {
    const MANY: u64 = 300;
    let service = longhaul(folder, "sqlite://jobs.db", false).await;
    let mut http = service.connect().await;
    let id = start(&mut http, &json!({"feature": "controls", "timeout": 0})).await;
    say(&mut http, &id, 1_000, &"\u{1}".repeat(65_000)).await;
    // What is needed once is there before it is counted.
    let path = format!("/api/admin/jobs/{id}/messages?limit=1000");
    let mut errors = u64::from(http.get(&path).await.map_or(0, |answer| answer.status) != 200);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = memory_of(service.id()).0;
    forget_peak(service.id());
    let (mut reading, mut bytes) = (JoinSet::new(), 0);
    for _ in 0..5 {
        let mut http = service.connect().await;
        let path = path.clone();
        reading.spawn(async move {
            let answer = http.get(&path).await.expect("an answer");
            (answer.status, answer.body.len())
        });
    }
    while let Some(read) = reading.join_next().await {
        let (status, length) = read.expect("a reader ends");
        errors += u64::from(status != 200);
        bytes = bytes.max(length);
    }
    let more = peak_of(service.id()).saturating_sub(before) as f64 / 1e6;
    let mut rows = vec![
        Row::new("a page of 1 000 lines of 65 000 control characters", bytes as f64 / 1e6, "MB")
            .at_most(16.8)
            .errors(errors),
        Row::new("five of them at once: most memory beyond before", more, "MB").at_most(100.0).errors(errors),
    ];
    let document = "x".repeat(1_000_000);
    for _ in 0..MANY {
        let id = start(&mut http, &json!({"feature": "large", "input": document})).await;
        let end = serde_json::to_vec(&json!({"output": document})).expect("JSON");
        let answer = http.post(&format!("/api/admin/jobs/{id}/complete"), &end).await;
        errors += u64::from(!answer.is_ok_and(|answer| answer.status == 200));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let memory = memory_of(service.id()).0 as f64 / 1e6;
    rows.push(
        Row::new("memory after 300 ended jobs of 2 MB", memory, "MB")
            .at_most(150.0)
            .errors(errors)
            .more(json!({"mostBytes": peak_of(service.id())})),
    );
    service.stop();
    rows
}
