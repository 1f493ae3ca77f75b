//! What a long history costs readers: the same requests with a thousand finished jobs and with
//! many, searches in a log of a million lines, memory, disk, and the first page after a start.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::http::Http;
use crate::machine::memory_of;
use crate::report::{Row, percentiles};
use crate::server::{Service, launch, longhaul, sign_in};

/// Makes a history. Returns whether it was there.
fn generate(file: &Path, jobs: u64, logs: &str, long_log: u64) {
    if file.exists() {
        return;
    }
    let partial = file.with_extension("partial");
    let _ = std::fs::remove_file(&partial);
    let made = Command::new("target/release/examples/generate")
        .args([
            "--jobs",
            &jobs.to_string(),
            "--logs",
            logs,
            "--long-log",
            &long_log.to_string(),
            "--database",
        ])
        .arg(format!("sqlite://{}", partial.display()))
        // What is measured without a log is measured without labels.
        .args((logs != "none").then_some("--tags"))
        .status()
        .expect("target/release/examples/generate can be started");
    assert!(made.success(), "the history could not be made");
    for suffix in ["-wal", "-shm"] {
        let left = std::path::PathBuf::from(format!("{}{suffix}", partial.display()));
        assert!(
            !left.exists() || std::fs::metadata(&left).is_ok_and(|left| left.len() == 0),
            "it was closed"
        );
    }
    std::fs::rename(partial, file).expect("the history gets its name");
}

async fn json_of(http: &mut Http, path: &str) -> Value {
    let answer = http.get(path).await.expect("an answer");
    assert_eq!(answer.status, 200, "{path}");
    serde_json::from_slice(answer.body).expect("an answer in JSON")
}

/// The hot requests, by name, with how many jobs they may show. Ids are those of the history at hand.
async fn requests(http: &mut Http) -> Vec<(&'static str, String)> {
    let list = "/api/admin/jobs?includePast=true";
    let page = json_of(http, &format!("{list}&limit=50")).await;
    let job = page["jobs"].as_array().and_then(|jobs| jobs.last()).cloned().unwrap_or_default();
    let (id, feature) = (job["id"].as_str().unwrap_or_default(), job["feature"].as_str().unwrap_or_default());
    let author = job["author"].as_str().unwrap_or_default();
    let cursor = page["nextCursor"].as_str().unwrap_or_default();
    vec![
        ("first page of all", list.to_owned()),
        ("second page of all", format!("{list}&cursor={cursor}")),
        ("a feature's", format!("{list}&feature={feature}")),
        ("the failed", format!("{list}&status=failed")),
        ("an author's", format!("{list}&author={author}")),
        ("a feature's failed", format!("{list}&feature={feature}&status=failed")),
        ("a label's", format!("{list}&tag=llm")),
        ("a rare label's", format!("{list}&tag=seldom")),
        ("a feature's failed of a label", format!("{list}&tag=nightly&feature={feature}&status=failed")),
        ("exact counts", "/api/admin/jobs/health".to_owned()),
        ("a job", format!("/api/admin/jobs/{id}/progress")),
        ("its log", format!("/api/admin/jobs/{id}/messages?limit=100")),
    ]
}

/// The same requests with few jobs and with many, in turns.
pub async fn history(cache: &Path, scale: u64) -> Vec<Row> {
    let (few, many) = (cache.join("1000-labelled.db"), cache.join(format!("{scale}-labelled.db")));
    generate(&few, 1_000, "short", 0);
    generate(&many, scale, "short", 0);
    let sides = [
        longhaul(cache, "sqlite://1000-labelled.db", true).await,
        longhaul(cache, &format!("sqlite://{scale}-labelled.db"), true).await,
    ];
    let mut https = [sides[0].connect().await, sides[1].connect().await];
    let asked = [requests(&mut https[0]).await, requests(&mut https[1]).await];
    let (mut rows, mut worst, mut errors_of_all) = (Vec::new(), 0.0_f64, 0);
    let mut ratios: f64 = 0.0;
    for ((name, few), (_, many)) in asked[0].iter().zip(&asked[1]) {
        // Both must show as many jobs, or the sizes of the pages would be compared.
        let shown =
            json_of(&mut https[0], few).await["jobs"].as_array().map(|jobs| format!("&limit={}", jobs.len()));
        let shown = shown.unwrap_or_default();
        let (few, many) = (format!("{few}{shown}"), format!("{many}{shown}"));
        let histogram =
            || Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).expect("the bounds make sense");
        let (mut times, mut errors) = ([histogram(), histogram()], 0);
        for round in 0..1_200 {
            for side in [round % 2, (round + 1) % 2] {
                let begun = Instant::now();
                let answer = https[side].get([&few, &many][side]).await;
                if !answer.is_ok_and(|answer| answer.status == 200) {
                    errors += 1;
                } else if round >= 200 {
                    let _ = times[side].record((begun.elapsed().as_micros() as u64).max(1));
                }
            }
        }
        let at = |side: usize, quantile| times[side].value_at_quantile(quantile) as f64 / 1e3;
        // The two histories have different jobs, so answers differ in size. Their medians are compared.
        let ratio = at(1, 0.5) / at(0, 0.5);
        worst = worst.max(at(1, 0.99));
        ratios = ratios.max(ratio);
        errors_of_all += errors;
        rows.push(
            Row::new(format!("{name}, {scale} jobs: p99"), at(1, 0.99), "ms").at_most(5.0).errors(errors).more(
                json!({"ms": percentiles(&times[1]), "msWith1000Jobs": percentiles(&times[0]), "ratioOfMedians": ratio}),
            ),
        );
        let tails = at(1, 0.99) / at(0, 0.99);
        rows.push(
            Row::new(format!("{name}: median to that of 1000 jobs"), ratio, "times")
                .at_most(1.2)
                .errors(errors),
        );
        rows.push(Row::new(format!("{name}: p99 to that of 1000 jobs"), tails, "times").errors(errors));
    }
    rows.push(Row::new("the worst p99", worst, "ms").at_most(5.0).errors(errors_of_all));
    rows.push(Row::new("the worst ratio", ratios, "times").at_most(1.2).errors(errors_of_all));
    let (all, own) = memory_of(sides[1].id());
    rows.push(
        Row::new(format!("memory with {scale} finished jobs, after all that"), all as f64 / 1e6, "MB")
            .at_most(64.0)
            .more(json!({"bytesOfItsOwn": own})),
    );
    sides.into_iter().for_each(Service::stop);
    rows
}

/// Searches in a log of a million lines.
pub async fn search(cache: &Path) -> Vec<Row> {
    let file = cache.join("long.db");
    generate(&file, 10, "short", 1_000_000);
    let service = longhaul(cache, "sqlite://long.db", false).await;
    let mut http = service.connect().await;
    let newest = json_of(&mut http, "/api/admin/jobs?includePast=true&limit=1").await;
    let id = newest["jobs"][0]["id"].as_str().unwrap_or_default().to_owned();
    let mut rows = Vec::new();
    for (name, path, most) in [
        (
            "exact count, a word that is nowhere",
            format!("/api/admin/jobs/{id}/messages?q=zzznowhere&limit=100"),
            500.0,
        ),
        (
            "first page and exact count, a common word",
            format!("/api/admin/jobs/{id}/messages?q=rows&limit=100"),
            50.0,
        ),
    ] {
        let mut times = Vec::new();
        let mut total = 0;
        for _ in 0..9 {
            let begun = Instant::now();
            total = json_of(&mut http, &path).await["total"].as_u64().unwrap_or(0);
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        rows.push(
            Row::new(format!("search in a million lines: {name}"), crate::writing::median(&times), "ms")
                .at_most(most)
                .more(json!({"ms": times, "found": total})),
        );
    }
    let total = json_of(&mut http, &format!("/api/admin/jobs/{id}/messages?limit=1")).await["total"]
        .as_u64()
        .unwrap_or(0);
    let last = format!("/api/admin/jobs/{id}/messages?limit=100&after={}", total.saturating_sub(99));
    let mut times = Vec::new();
    for _ in 0..500 {
        let begun = Instant::now();
        let _ = json_of(&mut http, &last).await;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    rows.push(Row::new("last page of a million lines: p99", times[495], "ms").at_most(5.0));
    // The page as people see it, with the lines and the count.
    let cookie = sign_in(&service).await;
    let mut http = Http::connect(service.port, &cookie).await.expect("it takes connections");
    let page = format!("/admin/jobs/{id}?q=rows");
    let mut times = Vec::new();
    for _ in 0..9 {
        let begun = Instant::now();
        let answer = http.get(&page).await.expect("an answer");
        assert!(answer.status == 200 && answer.body.windows(7).any(|end| end == b"</html>"), "a whole page");
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    rows.push(
        Row::new("search in a million lines: the job's page, whole", crate::writing::median(&times), "ms")
            .more(json!({"ms": times})),
    );
    service.stop();
    rows
}

/// From the start of the process to the first whole overview in a signed-in browser.
pub async fn start(cache: &Path, scale: u64) -> Vec<Row> {
    let file = cache.join(format!("{scale}-labelled.db"));
    generate(&file, scale, "short", 0);
    let database = format!("sqlite://{scale}-labelled.db");
    let service = longhaul(cache, &database, true).await;
    let cookie = sign_in(&service).await;
    service.stop();
    let mut times = Vec::new();
    for _ in 0..15 {
        let begun = Instant::now();
        let service = launch(cache, &database, false, None);
        loop {
            if let Ok(mut http) = Http::connect(service.port, &cookie).await
                && let Ok(answer) = http.get("/admin/jobs").await
            {
                let whole = answer.body.windows(7).any(|end| end == b"</html>");
                assert!(answer.status == 200 && whole, "the overview, whole");
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "no page");
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        service.stop();
    }
    let row = Row::new(
        format!("start to the first whole overview, {scale} jobs"),
        crate::writing::median(&times),
        "ms",
    );
    vec![row.at_most(35.0).more(json!({"ms": times}))]
}

/// How large a copy of a database is that has everything but the log.
fn without_log(file: &Path, copy: &Path) -> u64 {
    std::fs::copy(file, copy).expect("a copy of the history");
    let db = rusqlite::Connection::open(copy).expect("the copy opens");
    db.execute_batch("drop table event; vacuum").expect("the copy loses its log");
    db.close().expect("the copy is closed");
    let bytes = std::fs::metadata(copy).map_or(0, |file| file.len());
    let _ = std::fs::remove_file(copy);
    bytes
}

/// What a job costs: in memory while it is active, on disk when it has ended.
pub async fn size(folder: &Path, cache: &Path, scale: u64) -> Vec<Row> {
    const ACTIVE: u64 = 20_000;
    let bare = cache.join(format!("{scale}-bare.db"));
    generate(&bare, scale, "none", 0);
    let bytes = without_log(&bare, &folder.join("without-log.db"));
    let service = longhaul(folder, "sqlite://jobs.db", true).await;
    let mut http = service.connect().await;
    let begin = async |http: &mut Http, count: u64| {
        for number in 0..count {
            let body = format!("{{\"feature\":\"load-{}\",\"title\":\"Import {number}\"}}", number % 8);
            let answer = http.post("/api/admin/jobs/start", body.as_bytes()).await;
            assert!(answer.is_ok_and(|answer| answer.status == 201), "a job starts");
        }
    };
    begin(&mut http, 1_000).await;
    let (_, before) = memory_of(service.id());
    begin(&mut http, ACTIVE).await;
    let (_, after) = memory_of(service.id());
    service.stop();
    vec![
        Row::new("memory of an active job", after.saturating_sub(before) as f64 / ACTIVE as f64, "bytes")
            .at_most(2_048.0),
        Row::new(
            format!("a finished job on disk, log without lines, of {scale}"),
            bytes as f64 / scale as f64,
            "bytes",
        )
        .at_most(150.0),
    ]
}
