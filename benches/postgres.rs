//! The lifecycle on PostgreSQL, against what `pgbench` reaches with the same statements on the same server:
//! a transaction a call, as a program would send them that does not gather what waits.

#[path = "../src/store/postgres/cluster.rs"]
#[expect(clippy::unwrap_used, reason = "shared with the tests")]
mod cluster;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::lifecycle::load;
use crate::machine::sync_time;
use crate::report::{Row, percentiles};
use crate::server::longhaul;
use crate::writing::median;

/// Longhaul and pgbench in turns, with 64 connections each.
pub async fn against_pgbench(folder: &Path) -> Vec<Row> {
    let cluster =
        cluster::Cluster::start(&["synchronous_commit=on", "shared_buffers=256MB", "max_wal_size=4GB"]);
    let database = cluster.database();
    let address = cluster.address(&database);
    let service = longhaul(folder, &address, false).await;
    // pgbench has a database of its own with the same tables, so that neither finds the other's rows.
    let other = cluster.database();
    longhaul(folder, &cluster.address(&other), false).await.stop();
    pgbench(&cluster, &other, 2);
    let (mut ours, mut theirs, mut all, mut syncs) = (Vec::new(), Vec::new(), None, Vec::new());
    for _ in 0..3 {
        syncs.push(sync_time(folder).as_secs_f64() * 1e3);
        let measured = load(&service, 64, Duration::from_secs(2), Duration::from_secs(6)).await;
        ours.push(measured.rate());
        match &mut all {
            None => all = Some(measured),
            Some(all) => all.add(&measured),
        }
        theirs.push(pgbench(&cluster, &other, 6));
    }
    service.stop();
    let all = all.expect("three rounds");
    let more = json!({
        "rounds": ours, "lifecycleMs": percentiles(&all.whole), "callMs": percentiles(&all.call),
        "pgbenchRounds": theirs, "diskSyncMs": syncs,
    });
    let share = median(&ours) / median(&theirs) * 100.0;
    vec![
        Row::new("Longhaul on PostgreSQL, 64 connections", median(&ours), "lifecycles/s")
            .errors(all.errors)
            .more(more),
        Row::new("a call's p99", all.call.value_at_quantile(0.99) as f64 / 1e3, "ms").errors(all.errors),
        Row::new("pgbench, the same statements, 64 connections", median(&theirs), "lifecycles/s"),
        Row::new("Longhaul to pgbench", share, "%").at_least(60.0).errors(all.errors),
    ]
}

/// How many lifecycles a second pgbench reaches.
fn pgbench(cluster: &cluster::Cluster, database: &str, seconds: u32) -> f64 {
    let socket = cluster.socket();
    let program = cluster.program("pgbench");
    let out = Command::new(program)
        .args([
            "-n",
            "-M",
            "prepared",
            "-c",
            "64",
            "-j",
            "2",
            "-U",
            "longhaul",
            "-f",
            "benches/lifecycle.sql",
        ])
        .args(["-T", &seconds.to_string(), "-h"])
        .arg(socket.parent().expect("a socket is in a folder"))
        .arg(database)
        .output()
        .expect("pgbench can be started");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let rate = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    let failed = text
        .lines()
        .any(|line| line.starts_with("number of failed transactions: ") && !line.contains(": 0 "));
    assert!(!failed, "pgbench: {text}");
    rate.unwrap_or_else(|| panic!("pgbench: {text} {}", String::from_utf8_lossy(&out.stderr)))
}
