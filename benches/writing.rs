//! How fast acknowledged changes are taken: the lifecycle race, one call at a time, long message lists.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::lifecycle::{Measured, load};
use crate::machine::sync_time;
use crate::report::{Row, percentiles};
use crate::server::{Service, bullmq, longhaul};

/// Rounds in which the contenders take turns.
const ROUNDS: usize = 3;
const WARM_UP: Duration = Duration::from_secs(2);
const SPAN: Duration = Duration::from_secs(6);

fn milliseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

struct Lane {
    name: &'static str,
    connections: usize,
    service: usize,
    rates: Vec<f64>,
    all: Option<Measured>,
}

/// Longhaul, on one core and on both, against a service over BullMQ, in turns.
pub async fn race(folder: &Path, peer: bool) -> Vec<Row> {
    let mut services: Vec<Service> = Vec::new();
    let mut lanes = Vec::new();
    for (name, pin) in [("Longhaul", true), ("Longhaul, both cores", false)] {
        let place = folder.join(if pin { "one" } else { "both" });
        std::fs::create_dir_all(&place).expect("a folder for the server");
        services.push(longhaul(&place, "sqlite://jobs.db", pin).await);
        // 64 connections are measured twice: the difference between the two is the noise.
        for connections in if pin { vec![16, 64, 64] } else { vec![64] } {
            lanes.push(Lane { name, connections, service: services.len() - 1, rates: Vec::new(), all: None });
        }
    }
    if peer {
        services.push(bullmq(folder).await);
        for connections in [16, 64] {
            let service = services.len() - 1;
            lanes.push(Lane { name: "BullMQ", connections, service, rates: Vec::new(), all: None });
        }
    }
    let mut syncs = Vec::new();
    for round in 0..ROUNDS {
        // The order changes from round to round.
        let count = lanes.len();
        for place in 0..count {
            let lane = &mut lanes[(place + round) % count];
            syncs.push(milliseconds(sync_time(folder)));
            let measured = load(&services[lane.service], lane.connections, WARM_UP, SPAN).await;
            lane.rates.push(measured.rate());
            match &mut lane.all {
                Some(all) => all.add(&measured),
                all => *all = Some(measured),
            }
        }
    }
    let mut rows = Vec::new();
    // Every acknowledged job must be in the store.
    for (number, service) in services.iter().enumerate().take(2) {
        let acknowledged: u64 = lanes
            .iter()
            .filter(|lane| lane.service == number)
            .filter_map(|lane| lane.all.as_ref())
            .map(|all| all.acknowledged)
            .sum();
        let mut http = service.connect().await;
        let answer = http.get("/api/admin/jobs/health").await.expect("an answer");
        let health: Value = serde_json::from_slice(answer.body).expect("an answer in JSON");
        assert_eq!(health["pastJobs"].as_u64(), Some(acknowledged), "every acknowledged job is counted");
    }
    let best_of = |name: &str| -> f64 {
        let of = lanes.iter().filter(|lane| lane.name == name && lane.connections == 64);
        of.map(|lane| median(&lane.rates)).fold(0.0, f64::max)
    };
    let (ours, peers) = (best_of("Longhaul"), best_of("BullMQ"));
    for lane in &lanes {
        let Some(all) = &lane.all else { continue };
        let who = format!("{}, {} connections", lane.name, lane.connections);
        let more = json!({
            "roundsLifecyclesPerSecond": lane.rates, "lifecycleMs": percentiles(&all.whole),
            "callMs": percentiles(&all.call), "diskSyncMs": syncs,
        });
        let aimed = lane.name == "Longhaul" && lane.connections == 64;
        let range = |pick: fn(f64, f64) -> f64| lane.rates.iter().copied().reduce(pick).unwrap_or(0.0);
        let rounds = format!("{who} ({:.0} to {:.0})", range(f64::min), range(f64::max));
        let rate = Row::new(rounds, median(&lane.rates), "lifecycles/s").errors(all.errors).more(more);
        rows.push(if aimed { rate.at_least(9_000.0) } else { rate });
        let p99 = all.call.value_at_quantile(0.99) as f64 / 1e3;
        let call = Row::new(format!("{who}: a call's p99"), p99, "ms").errors(all.errors);
        rows.push(if aimed { call.at_most(12.0) } else { call });
        let p99 = all.whole.value_at_quantile(0.99) as f64 / 1e3;
        let whole = Row::new(format!("{who}: a whole lifecycle's p99"), p99, "ms").errors(all.errors);
        rows.push(if aimed { whole.at_most(12.0) } else { whole });
    }
    if peers > 0.0 {
        let errors = lanes.iter().filter_map(|lane| lane.all.as_ref()).map(|all| all.errors).sum();
        rows.push(
            Row::new("Longhaul to BullMQ, 64 connections", ours / peers, "times")
                .at_least(10.0)
                .errors(errors),
        );
    }
    rows
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

async fn started(service: &Service) -> (crate::http::Http, String) {
    let mut http = service.connect().await;
    let answer = http.post("/api/admin/jobs/start", b"{\"feature\":\"load\",\"timeout\":0}").await;
    let body: Value = serde_json::from_slice(answer.expect("a job starts").body).expect("an answer in JSON");
    let id = body["jobId"].as_str().expect("a job has an id").to_owned();
    (http, id)
}

/// One call at a time on one connection, against what the disk takes to sync at the same time.
pub async fn one_at_a_time(folder: &Path) -> Vec<Row> {
    let service = longhaul(folder, "sqlite://jobs.db", true).await;
    let (mut http, id) = started(&service).await;
    let (mut times, mut syncs, mut errors) = (Vec::new(), Vec::new(), 0);
    for round in 0..60_u32 {
        // Call and sync take turns, so that both are measured on the disk in the same condition.
        syncs.push(milliseconds(sync_time(folder)));
        for call in 0..50_u32 {
            let body = format!("{{\"type\":\"info\",\"message\":\"line {round}-{call}\"}}");
            let begun = Instant::now();
            let answer = http.post(&format!("/api/admin/jobs/{id}/message"), body.as_bytes()).await;
            if !answer.is_ok_and(|answer| answer.status == 200) {
                errors += 1;
            } else if round >= 10 {
                times.push(milliseconds(begun.elapsed()));
            }
        }
    }
    let (call, sync) = (median(&times), median(&syncs[10..]));
    service.stop();
    vec![
        Row::new("the disk's own sync of 4 KB, p50", sync, "ms"),
        Row::new("a message, one connection, p50", call, "ms").errors(errors),
        Row::new("a message beyond the disk's own sync, p50", call - sync, "ms").at_most(1.0).errors(errors),
    ]
}

/// Lists of 500 messages.
pub async fn lists(folder: &Path) -> Vec<Row> {
    const LIST: u64 = 500;
    let mut rows = Vec::new();
    for connections in [4, 16] {
        let place = folder.join(connections.to_string());
        std::fs::create_dir_all(&place).expect("a folder for the server");
        let service = longhaul(&place, "sqlite://jobs.db", true).await;
        let mut rates = Vec::new();
        let mut errors = 0;
        for _ in 0..ROUNDS {
            let end = Instant::now() + SPAN;
            let begun = Instant::now();
            let work = (0..connections).map(|_| async {
                let (mut http, id) = started(&service).await;
                let list: Vec<Value> = (0..LIST)
                    .map(|n| json!({"type": "info", "message": format!("Row {n} of the import was stored in 12 ms")}))
                    .collect();
                let list = serde_json::to_vec(&list).expect("a list is JSON");
                let path = format!("/api/admin/jobs/{id}/message");
                tokio::spawn(async move {
                    let (mut sent, mut failed) = (0, 0);
                    // Below what one job's log keeps.
                    while Instant::now() < end && sent < 900_000 {
                        match http.post(&path, &list).await {
                            Ok(answer) if answer.status == 200 => sent += LIST,
                            _ => failed += 1,
                        }
                    }
                    let ended = Instant::now();
                    // Every acknowledged job must be in the store.
                    let log = path.replace("/message", "/messages?limit=1");
                    let answer = http.get(&log).await.expect("an answer");
                    let page: Value = serde_json::from_slice(answer.body).expect("an answer in JSON");
                    assert_eq!(page["total"].as_u64(), Some(sent), "every acknowledged message is counted");
                    (sent, failed, ended)
                })
                .await
                .expect("a worker ends")
            });
            let done = futures::future::join_all(work).await;
            let sent: u64 = done.iter().map(|(sent, ..)| sent).sum();
            errors += done.iter().map(|(_, failed, _)| failed).sum::<u64>();
            let ended = done.iter().map(|(.., ended)| *ended).max().unwrap_or(begun);
            rates.push(sent as f64 / (ended - begun).as_secs_f64());
        }
        let row = Row::new(
            format!("messages in lists of 500, {connections} connections"),
            median(&rates),
            "messages/s",
        )
        .errors(errors)
        .more(json!({"rounds": rates}));
        rows.push(if connections == 16 { row.at_least(200_000.0) } else { row });
        service.stop();
    }
    rows
}
