//! `make bench`: the figures of the README, measured on this machine.
//!
//! The server is a release build and runs on one core, with sign-in as always; the load runs on another.
//! Contenders take turns, a warm-up is not counted, and every figure is printed beside its target. A row in
//! which a request failed is void. The figures are also written to `target/bench/*.json`, with the machine
//! and all percentiles.
//!
//! Made as an example and not as a bench target: cargo would build the server itself anew for a bench
//! target, with the libraries of the tests, over the one that is to be measured.
#![expect(clippy::expect_used, reason = "a measurement that cannot be made ends with a sentence")]

mod crowd;
mod http;
mod lifecycle;
mod live;
mod machine;
mod paired;
mod postgres;
mod reading;
mod report;
mod server;
mod writing;

use std::path::{Path, PathBuf};

use clap::Parser;

use report::Row;

#[derive(Parser)]
struct Args {
    /// Only these, with commas: race, single, lists, history, search, size, start, live, dashboards, crowd,
    /// searches, large, postgres
    #[arg(long)]
    only: Option<String>,
    /// How many finished jobs a long history has
    #[arg(long, default_value_t = 1_000_000)]
    scale: u64,
    /// Only the lifecycle race against another build, in pairs: its binary
    #[arg(long)]
    against: Option<PathBuf>,
    /// How many pairs
    #[arg(long, default_value_t = 9)]
    pairs: usize,
    /// Without BullMQ and Redis
    #[arg(long)]
    alone: bool,
}

const DURABLE: &str =
    "every acknowledged change is on the disk first (fsync before the answer); bearer token on every request";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args = Args::parse();
    let root = PathBuf::from("target/bench");
    let cache = std::path::absolute(root.join("histories")).expect("a folder for histories");
    std::fs::create_dir_all(&cache).expect("a folder for histories");
    let machine = machine::describe(&root);
    println!("{}", serde_json::to_string_pretty(&machine).unwrap_or_default());
    println!(
        "Server on core {}, load on another, unless a row says otherwise. {DURABLE}.",
        machine::SERVER_CORE
    );
    let wanted = |name: &str| args.only.as_ref().is_none_or(|only| only.split(',').any(|one| one == name));
    let told = |name: &str, conditions: &str, rows: Vec<Row>| {
        println!("\n{name} ({conditions})");
        rows.iter().for_each(Row::say);
        report::write(name, &machine, conditions, &rows);
    };
    let folder = || Folder::new(&root);
    machine::open_many_files();
    machine::keep_to_load_core(true);
    if let Some(other) = args.against {
        let rows = paired::race(&folder().0, &other, args.pairs).await;
        return told("paired", "64 connections; each pair in the order ABBA", rows);
    }
    if wanted("race") {
        let folder = folder();
        let conditions =
            "start, progress, message, complete over HTTP; BullMQ with AOF everysec promises less";
        told("race", conditions, writing::race(&folder.0, !args.alone).await);
    }
    if wanted("single") {
        told("single", "one connection", writing::one_at_a_time(&folder().0).await);
    }
    if wanted("lists") {
        told("lists", "lists of 500 messages of 40 characters", writing::lists(&folder().0).await);
    }
    if wanted("history") {
        told(
            "history",
            "one connection, the round trip included",
            reading::history(&cache, args.scale).await,
        );
    }
    if wanted("search") {
        told("search", "server on both cores", reading::search(&cache).await);
    }
    if wanted("size") {
        told(
            "size",
            "private memory; the file after it was closed",
            reading::size(&folder().0, &cache, args.scale).await,
        );
    }
    if wanted("start") {
        told("start", "server on both cores, signed in", reading::start(&cache, args.scale).await);
    }
    machine::keep_to_load_core(false);
    if wanted("live") {
        let conditions = "server, browser and load share both cores; one dashboard in Chromium";
        told("live", conditions, live::paint(&folder().0, 100, 480).await);
    }
    if wanted("dashboards") {
        let conditions = "signed in, each with its stream and its polls; a change a second";
        told("dashboards", conditions, live::memory(&folder().0).await);
    }
    if wanted("crowd") {
        told("crowd", "server and load share both cores", crowd::connections(&folder().0).await);
    }
    if wanted("searches") {
        told("searches", "server and load share both cores", crowd::searches(&folder().0).await);
    }
    if wanted("large") {
        told("large", "server and load share both cores", crowd::large(&folder().0).await);
    }
    if wanted("postgres") {
        let conditions = "database, server and load share both cores; synchronous_commit on";
        told("postgres", conditions, postgres::against_pgbench(&folder().0).await);
    }
}

/// A folder on the project's own disk, removed when dropped. The system's temporary folder may be in memory.
struct Folder(PathBuf);

impl Folder {
    fn new(root: &Path) -> Self {
        let path = root.join(format!("run-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder for a run");
        Self(std::path::absolute(path).expect("a folder for a run"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
