//! `kill -9` of the real server under eight writers, again and again on the same file.
//!
//! Each writer keeps a journal of what the server acknowledged to it, in this process, which survives. It
//! works on one job after the other, across the kills: what was in flight when the server died is sent
//! again with the same keys, as a client that follows the documentation does, and must then be there
//! exactly once. After every restart the journal is held against the file, read through SQLite and not
//! through our own code. A kill leaves the operating system running, so this says nothing of what a power
//! cut does to unsynced pages; that is `power`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use super::http::Http;
use super::judge::nothing_is_half_there;
use super::server::{Server, free_port};
use super::{Dice, seed, setting};

const WRITERS: usize = 8;
/// After so many kills a new file is begun, so that looking at every row stays quick.
const KILLS_A_FILE: u64 = 100;
/// Messages that are sent, and must be kept, together.
const TOGETHER: u64 = 3;

/// What a writer wants of the server next.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ask {
    Start,
    Say,
    Move,
    Complete,
    Fail,
}

/// What the server acknowledged of one job.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub id: String,
    /// Messages, in order from 1.
    said: u64,
    progress: f64,
    ended: Option<&'static str>,
    /// Asked for, and not answered: may be there or not, but not half.
    doubt: Option<Ask>,
}

/// What is stored of a job.
pub struct Found {
    /// Its infos, in order.
    pub said: Vec<String>,
    pub progress: f64,
    /// As the schema numbers it.
    pub status: i64,
}

/// A program that works through jobs and writes down what it was told.
pub struct Writer {
    name: usize,
    /// How many jobs it has ended.
    pub jobs: u64,
    pub now: Option<Told>,
    /// Ended since the journal was last held against the database.
    pub ended: Vec<Told>,
    dice: Dice,
    asking: Ask,
    /// What is answered 503 was not done, and is asked for again.
    pub patient: bool,
}

impl Writer {
    pub fn new(name: usize, seed: u64) -> Self {
        let dice = Dice(seed);
        Self { name, jobs: 0, now: None, ended: Vec::new(), dice, asking: Ask::Start, patient: false }
    }

    /// Works until the server is gone.
    fn work(&mut self, port: u16, acknowledged: &AtomicU64) {
        let Ok(mut http) = Http::connect(port) else { return };
        while self.step(&mut http).is_ok() {
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// One request and its answer; what is not answered is asked again next time.
    pub fn step(&mut self, http: &mut Http) -> io::Result<()> {
        let (feature, key) = (format!("w{}", self.name), format!("w{}-{}", self.name, self.jobs));
        let Some(told) = &mut self.now else {
            let (status, body) =
                http.post("/api/admin/jobs/start", Some(&key), &json!({"feature": feature}))?;
            if self.patient && status == 503 {
                return Err(io::ErrorKind::ResourceBusy.into());
            }
            assert_eq!(status, 201, "{body}");
            self.now = Some(Told { id: body["jobId"].as_str().unwrap().to_owned(), ..Told::default() });
            self.asking = Ask::Say;
            return Ok(());
        };
        told.doubt = Some(self.asking);
        let at = |what: &str| format!("/api/admin/jobs/{}/{what}", told.id);
        let (status, body) = match self.asking {
            Ask::Start => unreachable!("there is a job"),
            Ask::Say => http.post(&at("message"), None, &messages(told.said))?,
            Ask::Move => http.post(&at("progress"), None, &json!({"progress": next_progress(told)}))?,
            Ask::Complete => http.post(&at("complete"), None, &json!({"output": told.said}))?,
            Ask::Fail => http.post(&at("fail"), None, &json!({"errorMessage": "as planned"}))?,
        };
        if self.patient && status == 503 {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        // An end that was recorded before the kill and is asked for again is refused, by name.
        let again = status == 409 && body["code"] == "job_finished";
        assert!(status == 200 || again, "{:?} was answered {status}: {body}", self.asking);
        told.doubt = None;
        match self.asking {
            Ask::Say => told.said += TOGETHER,
            Ask::Move => told.progress = next_progress(told),
            Ask::Complete => told.ended = Some("completed"),
            Ask::Fail => told.ended = Some("failed"),
            Ask::Start => {}
        }
        if told.ended.is_some() {
            self.ended.extend(self.now.take());
            self.jobs += 1;
            self.asking = Ask::Start;
        } else {
            self.asking = match self.dice.below(8) {
                0 => Ask::Complete,
                1 => Ask::Fail,
                2 | 3 => Ask::Move,
                _ => Ask::Say,
            };
        }
        Ok(())
    }
}

/// The next messages after `said`, under keys that make them safe to send again.
fn messages(said: u64) -> Value {
    (said + 1..=said + TOGETHER)
        .map(|n| json!({"type": "info", "message": n.to_string(), "key": n}))
        .collect()
}

fn next_progress(told: &Told) -> f64 {
    (told.progress + 0.01).min(1.0)
}

/// Holds a job's journal against the file.
fn judge(db: &Connection, told: &Told) -> Result<(), String> {
    let id = told.id.replace('-', "");
    let found = db.query_row("select n, status, progress from job where hex(id) = upper(?1)", [&id], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, f64>(2)?))
    });
    let (n, status, progress) = found.map_err(|error| format!("job {id} was acknowledged: {error}"))?;
    let said: Vec<String> = db
        .prepare("select text from event where job = ?1 and kind = 0 order by seq")
        .and_then(|mut find| find.query_map([n], |row| row.get(0))?.collect())
        .map_err(|error| error.to_string())?;
    compare(told, &Found { said, progress, status })
}

/// Holds a job's journal against what is stored of it.
pub fn compare(told: &Told, Found { said, progress, status }: &Found) -> Result<(), String> {
    let more = if told.doubt == Some(Ask::Say) { TOGETHER } else { 0 };
    let whole = [told.said, told.said + more].contains(&(said.len() as u64));
    let in_order = said.iter().zip(1..).all(|(text, n)| *text == n.to_string());
    if !(whole && in_order) {
        return Err(format!("{told:?}: the log says {said:?}"));
    }
    if *progress < told.progress {
        return Err(format!("{told:?}: the progress is {progress}"));
    }
    let status = match status {
        2 => None,
        4 => Some("completed"),
        5 => Some("failed"),
        other => return Err(format!("{told:?}: nobody brought it to status {other}")),
    };
    let doubtful = matches!(told.doubt, Some(Ask::Complete | Ask::Fail));
    if status != told.ended && !doubtful {
        return Err(format!("{told:?}: it is {status:?} where it is stored"));
    }
    Ok(())
}

fn look(file: &Path) -> Connection {
    Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
}

/// Lets the writers at a server, and kills it once it has acknowledged so many requests.
fn load_and_kill(server: Server, port: u16, writers: &mut [Writer], enough: u64) -> u64 {
    let acknowledged = AtomicU64::new(0);
    thread::scope(|scope| {
        let work: Vec<_> = writers
            .iter_mut()
            .map(|writer| {
                let acknowledged = &acknowledged;
                scope.spawn(move || writer.work(port, acknowledged))
            })
            .collect();
        while acknowledged.load(Ordering::Relaxed) < enough && work.iter().any(|work| !work.is_finished()) {
            thread::sleep(Duration::from_micros(200));
        }
        server.kill();
    });
    acknowledged.into_inner()
}

/// Every journal against the file, and the restarted server's own numbers against the rows.
fn after_the_restart(file: &Path, http: &mut Http, writers: &[Writer]) -> Result<(), String> {
    let mut db = look(file);
    let db = db.transaction().map_err(|error| error.to_string())?;
    for told in writers.iter().flat_map(|writer| writer.now.iter().chain(&writer.ended)) {
        judge(&db, told)?;
    }
    nothing_is_half_there(&db)?;
    let rows: (u64, u64) = db
        .query_row("select sum(ended_at is null), sum(ended_at is not null) from job", [], |row| {
            Ok((
                row.get::<_, Option<i64>>(0)?.unwrap_or(0) as u64,
                row.get::<_, Option<i64>>(1)?.unwrap_or(0) as u64,
            ))
        })
        .map_err(|error| error.to_string())?;
    let (_, health) = http.get("/api/admin/jobs/health").map_err(|error| error.to_string())?;
    let said = (health["activeJobs"].as_u64(), health["pastJobs"].as_u64());
    if said == (Some(rows.0), Some(rows.1)) {
        Ok(())
    } else {
        Err(format!("health says {health}, there are {rows:?}"))
    }
}

/// The database and its log, as they are now.
fn copy(file: &Path, to: &Path) -> PathBuf {
    let wal = |file: &Path| PathBuf::from(format!("{}-wal", file.display()));
    let copied = to.join("copy.db");
    std::fs::copy(file, &copied).unwrap();
    std::fs::copy(wal(file), wal(&copied)).unwrap();
    copied
}

#[test]
fn killed_again_and_again_the_server_keeps_what_it_acknowledged() {
    let cycles: u64 = setting("LONGHAUL_CRASH_CYCLES", 200);
    let (seed, port, begun) = (seed(), free_port(), Instant::now());
    let mut dice = Dice(seed);
    let (mut cycle, mut acknowledged) = (0, 0);
    while cycle < cycles {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jobs.db");
        let mut writers: Vec<_> = (0..WRITERS).map(|name| Writer::new(name, dice.throw())).collect();
        let mut before = None;
        for _ in 0..KILLS_A_FILE.min(cycles - cycle) {
            if dice.below(8) == 0 {
                // A kill while it starts: in the middle of a migration or of a recovery.
                let starting = Server::spawn(&file, port);
                thread::sleep(Duration::from_micros(dice.below(60_000)));
                starting.kill();
            }
            let mut server = Server::spawn(&file, port);
            let mut http = server.ready(port);
            if let Err(problem) = after_the_restart(&file, &mut http, &writers) {
                panic!("cycle {cycle}, seed {seed}: {problem}");
            }
            writers.iter_mut().for_each(|writer| writer.ended.clear());
            before.get_or_insert_with(|| copy(&file, folder.path()));
            drop(http);
            acknowledged += load_and_kill(server, port, &mut writers, 1 + dice.below(80));
            cycle += 1;
        }
        let mut server = Server::spawn(&file, port);
        after_the_restart(&file, &mut server.ready(port), &writers).unwrap();
        server.kill();
        let report = check(&file);
        assert_eq!(report.problems, Vec::<String>::new(), "seed {seed}");
        assert!(report.jobs > 0 && report.events > report.jobs);

        // The control: a file that lost what came after its first start is found out.
        let lost = look(&before.unwrap());
        let told = writers.iter().find_map(|writer| writer.now.as_ref().or(writer.ended.last())).unwrap();
        assert!(judge(&lost, told).is_err(), "a lost job must be noticed");
    }
    assert!(acknowledged > cycles, "the kills came under load");
    eprintln!("{cycles} kills, {acknowledged} acknowledged writes, none lost, in {:.1?}", begun.elapsed());
}

/// The store's own check, to the last page.
fn check(file: &Path) -> longhaul::store::IntegrityReport {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    runtime.block_on(async {
        let store = longhaul::SqliteStore::open(file).unwrap();
        let report = longhaul::JobStore::check(&store, Box::new(|_, _| true)).await.unwrap();
        longhaul::JobStore::close(&store).await;
        report
    })
}

/// The control for "nothing half": each kind of half is found.
#[test]
fn a_file_in_which_something_is_half_there_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.db");
    let (port, mut writer) = (free_port(), Writer::new(0, 7));
    let mut server = Server::spawn(&file, port);
    let mut http = server.ready(port);
    (0..4).for_each(|_| writer.step(&mut http).unwrap());
    server.kill();
    let told = writer.now.or(writer.ended.pop()).unwrap();
    let db = Connection::open(&file).unwrap();
    assert_eq!((nothing_is_half_there(&db), judge(&db, &told)), (Ok(()), Ok(())));
    for harm in [
        "delete from event where kind = 0 and seq = (select max(seq) from event where kind = 0)",
        "update job set numbers = x'00'",
        "update counter set n = n + 1",
        "insert into event select 99, seq, at, kind, text, step, data from event limit 1",
        "update job set ended_at = 1",
    ] {
        db.execute_batch("begin").unwrap();
        assert!(db.execute(harm, []).unwrap() > 0, "{harm}");
        assert!(nothing_is_half_there(&db).is_err(), "{harm}");
        db.execute_batch("rollback").unwrap();
    }
    for harm in
        ["delete from event where kind = 0 and seq = 2", "update job set status = 6", "delete from job"]
    {
        db.execute_batch("begin").unwrap();
        assert!(db.execute(harm, []).unwrap() > 0, "{harm}");
        assert!(judge(&db, &told).is_err(), "{harm}");
        db.execute_batch("rollback").unwrap();
    }
}

/// The first migration is the one every installation runs: killed in it, the server begins again.
#[test]
fn killed_while_it_makes_its_database_the_server_makes_it_again() {
    let (mut dice, port) = (Dice(seed()), free_port());
    for _ in 0..12 {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jobs.db");
        for _ in 0..3 {
            let starting = Server::spawn(&file, port);
            thread::sleep(Duration::from_micros(dice.below(50_000)));
            starting.kill();
        }
        let mut server = Server::spawn(&file, port);
        let mut writer = Writer::new(0, dice.throw());
        let mut http = server.ready(port);
        (0..3).for_each(|_| writer.step(&mut http).unwrap());
        assert_eq!(after_the_restart(&file, &mut http, &[writer]), Ok(()));
    }
}
