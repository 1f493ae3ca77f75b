//! Three servers on one PostgreSQL database, and what can happen to them: a server is killed, all its
//! connections are cut, the database dies and comes back, a server stands still and goes on.
//!
//! Eight writers as in `kill`, who turn to another server when theirs does not answer. After each mishap
//! the journals are held against the tables, every server must count what is there within five seconds,
//! and whoever stood still must be named by the others. A server that stands still holds its locks and its
//! half-done transaction as long as the database lets it; that is the mishap most like a real one.

use std::collections::HashMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::cluster::Cluster;
use super::http::Http;
use super::kill::{Found, Writer, compare};
use super::server::{Server, free_port};
use super::{Dice, seed, setting};

const WRITERS: usize = 8;
const NAMES: [&str; 3] = ["ada", "bea", "cleo"];
/// A writer turns to another server when an answer takes longer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Dashboards have caught up by then.
const CAUGHT_UP: Duration = Duration::from_secs(5);

/// The servers, and their database.
struct Site {
    cluster: Cluster,
    database: String,
    folder: tempfile::TempDir,
    ports: [u16; 3],
    servers: Vec<Option<Server>>,
}

#[derive(Clone, Copy, Debug)]
enum Mishap {
    /// `kill -9` of a server, which starts again.
    Kill,
    /// Every connection of every server is cut at once.
    Cut,
    /// `kill -9` of the database, which starts again.
    Restart,
    /// A server stands still and goes on.
    Pause,
}

impl Site {
    fn start() -> Self {
        let cluster = Cluster::start(&["fsync=off"]);
        let database = cluster.database();
        let ports = [free_port(), free_port(), free_port()];
        let folder = tempfile::tempdir().unwrap();
        let mut site = Self { cluster, database, folder, ports, servers: vec![None, None, None] };
        (0..3).for_each(|place| site.begin(place));
        (0..3).for_each(|place| drop(site.servers[place].as_mut().unwrap().ready(ports[place])));
        site
    }

    fn begin(&mut self, place: usize) {
        let address = self.cluster.address(&self.database);
        let server = Server::spawn_on(&address, self.folder.path(), self.ports[place], NAMES[place]);
        self.servers[place] = Some(server);
    }

    fn signal(&self, place: usize, signal: &str) {
        let process = self.servers[place].as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &process]).status().unwrap().success());
    }

    fn health(&self, place: usize) -> Option<Value> {
        let mut http = Http::connect_with(self.ports[place], PATIENCE).ok()?;
        let (status, health) = http.get("/api/admin/jobs/health").ok()?;
        (status == 200).then_some(health)
    }

    fn ask(&self, sql: &str) -> String {
        self.cluster.ask(&self.database, sql)
    }

    /// Does it, while the writers go on.
    fn happen(&mut self, mishap: Mishap, place: usize, pause: Duration) {
        match mishap {
            Mishap::Kill => {
                self.servers[place].take().unwrap().kill();
                thread::sleep(Duration::from_millis(300));
                self.begin(place);
            }
            Mishap::Cut => {
                let database = &self.database;
                self.cluster.ask(
                    "postgres",
                    &format!(
                        "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                         where datname = '{database}' and application_name = 'longhaul'"
                    ),
                );
            }
            Mishap::Restart => {
                self.cluster.kill();
                thread::sleep(Duration::from_millis(500));
                self.cluster.start_again();
            }
            Mishap::Pause => {
                self.signal(place, "-STOP");
                let begun = Instant::now();
                let other = (place + 1) % 3;
                let late = format!("Server {} is late", NAMES[place]);
                let is_named = |health: &Value| {
                    let warnings = health["warnings"].as_array().cloned().unwrap_or_default();
                    health["status"] != "healthy"
                        && warnings.iter().any(|warning| warning.as_str().unwrap().starts_with(&late))
                };
                while !self.health(other).is_some_and(|health| is_named(&health)) {
                    assert!(begun.elapsed() < Duration::from_secs(10), "{} is not named", NAMES[place]);
                    thread::sleep(Duration::from_millis(100));
                }
                thread::sleep(pause.saturating_sub(begun.elapsed()));
                self.signal(place, "-CONT");
                let begun = Instant::now();
                while self.health(other).is_none_or(|health| is_named(&health)) {
                    assert!(begun.elapsed() < CAUGHT_UP, "{} is still named", NAMES[place]);
                    thread::sleep(Duration::from_millis(100));
                }
            }
        }
    }

    /// Every server counts what is there, soon.
    fn caught_up(&self) -> Result<(), String> {
        let begun = Instant::now();
        let mut behind: Vec<usize> = (0..3).collect();
        loop {
            let rows = self.ask("select count(*) filter (where ended_at is null), count(ended_at) from job");
            behind.retain(|place| {
                self.health(*place)
                    .is_none_or(|health| format!("{}|{}", health["activeJobs"], health["pastJobs"]) != rows)
            });
            if behind.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > CAUGHT_UP {
                let said: Vec<_> = behind.iter().map(|place| (NAMES[*place], self.health(*place))).collect();
                return Err(format!("there are {rows}, and after {CAUGHT_UP:?}: {said:?}"));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The journals against the tables.
    fn judge(&self, writers: &[Writer]) -> Result<(), String> {
        let stored = self.ask(
            "select id || ' ' || status || ' ' || progress || ' .' || coalesce((select string_agg(text, ',' \
             order by seq) from event where job = n and kind = 0), '') from job",
        );
        let mut found: HashMap<&str, Found> = HashMap::new();
        for line in stored.lines() {
            let mut parts = line.split(' ');
            let mut part = || parts.next().unwrap();
            let (id, status, progress) = (part(), part().parse().unwrap(), part().parse().unwrap());
            let said = part()[1..].split(',').filter(|text| !text.is_empty()).map(str::to_owned).collect();
            found.insert(id, Found { said, progress, status });
        }
        for told in writers.iter().flat_map(|writer| writer.now.iter().chain(&writer.ended)) {
            let stored = found.get(&*told.id).ok_or(format!("{told:?} was acknowledged and is not there"))?;
            compare(told, stored)?;
        }
        // A start that was asked for twice made one job.
        let began: u64 = writers.iter().map(|writer| writer.jobs + 1).sum();
        if found.len() as u64 > began {
            return Err(format!("there are {} jobs, and at most {began} were asked for", found.len()));
        }
        let ended_twice = self.ask(
            "select count(*) from (select job from event where data like '{%' and \
             data::json->'kind'->>'type' in ('completed', 'failed', 'aborted') group by job having count(*) > 1) twice",
        );
        if ended_twice == "0" { Ok(()) } else { Err(format!("{ended_twice} jobs ended twice")) }
    }
}

/// Works through jobs on whichever server answers.
fn roam(writer: &mut Writer, ports: [u16; 3], mut dice: Dice, stop: &AtomicBool, acknowledged: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        let port = ports[dice.below(3) as usize];
        let Ok(mut http) = Http::connect_with(port, PATIENCE) else {
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        while !stop.load(Ordering::Relaxed) && writer.step(&mut http).is_ok() {
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn three_servers_on_one_database_lose_nothing_whatever_happens_to_them() {
    let mishaps = [Mishap::Kill, Mishap::Cut, Mishap::Restart, Mishap::Pause, Mishap::Kill, Mishap::Cut];
    let rounds: usize = setting("LONGHAUL_NODE_ROUNDS", mishaps.len());
    let pause = Duration::from_secs(setting("LONGHAUL_NODE_PAUSE", 12));
    let (seed, begun) = (seed(), Instant::now());
    let mut dice = Dice(seed);
    let mut site = Site::start();
    let mut writers: Vec<_> = (0..WRITERS).map(|name| Writer::new(name, dice.throw())).collect();
    writers.iter_mut().for_each(|writer| writer.patient = true);
    let acknowledged = AtomicU64::new(0);
    for round in 0..rounds {
        let (mishap, place) = (mishaps[round % mishaps.len()], dice.below(3) as usize);
        let stop = AtomicBool::new(false);
        let before = acknowledged.load(Ordering::Relaxed);
        thread::scope(|scope| {
            for writer in &mut writers {
                let (ports, dice, stop, acknowledged) =
                    (site.ports, Dice(dice.throw()), &stop, &acknowledged);
                scope.spawn(move || roam(writer, ports, dice, stop, acknowledged));
            }
            // Whatever goes wrong, the writers must come to an end.
            let happened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                thread::sleep(Duration::from_millis(700));
                site.happen(mishap, place, pause);
                thread::sleep(Duration::from_millis(700));
            }));
            stop.store(true, Ordering::Relaxed);
            if let Err(panic) = happened {
                std::panic::resume_unwind(panic);
            }
        });
        assert!(acknowledged.load(Ordering::Relaxed) > before, "it happened under load");
        let told = site.caught_up().and_then(|()| site.judge(&writers));
        if let Err(problem) = told {
            panic!("round {round}, {mishap:?} of {}, seed {seed}: {problem}", NAMES[place]);
        }
    }
    let jobs: u64 = writers.iter().map(|writer| writer.jobs).sum();
    assert!(jobs > 10, "only {jobs} jobs");
    // The control: a lost line, and a lost job, are noticed.
    let of_a_writer = "(select max(job) from event where kind = 0)";
    site.ask(&format!("delete from event where kind = 0 and text = '1' and job = {of_a_writer}"));
    assert!(site.judge(&writers).is_err(), "a lost line must be noticed");
    eprintln!(
        "{rounds} mishaps, {acknowledged} acknowledged writes, {jobs} jobs, none lost, in {:.1?}",
        begun.elapsed(),
        acknowledged = acknowledged.into_inner()
    );
}
