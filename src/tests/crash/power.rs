//! Power cuts, simulated: the store works on a disk that keeps a journal of every write and sync, and the
//! power fails at any point of it.
//!
//! What was not synced may have reached the disk or not, torn at sectors and in any order (see `image`).
//! SQLite recovers what is left, and the judge holds it against what the store had published by then: every
//! change is there, and nothing is half there. Most cuts are judged by a few queries, some by opening the
//! image as a server would, with the store's whole check and one more job. The controls are the same store
//! on `synchronous = normal`, which must lose acknowledged changes, and the same journal from a disk that
//! only says it syncs, which must leave something half.

pub mod image;
mod work;

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use longhaul::store::CreateRules;
use longhaul::{JobStore, SqliteStore};
use rusqlite::Connection;

use self::image::{Image, Player};
pub use self::work::new_job;
use self::work::{JOBS, Promise, Recorded, context, record, record_long};
use super::judge::{nothing_is_half_there, read_numbers};
use super::vfs::Entry;
use super::{Dice, seed, setting};

/// The most cuts of one journal; more begin another one.
const CUTS_A_JOURNAL: u64 = 50_000;
/// So many of the cuts are opened as a server would.
const WHOLE_CHECK_EVERY: u64 = 500;

/// How far a job has come.
#[derive(Debug)]
struct State {
    revision: u64,
    seq: u64,
    status: i64,
    ended: bool,
}

/// What must be there after a cut.
#[derive(Default)]
struct Promised {
    /// How far each job has come at least; `None` where it was removed.
    jobs: HashMap<[u8; 16], Option<State>>,
    may_go: HashSet<[u8; 16]>,
    tokens: Vec<String>,
}

impl Promised {
    fn add(&mut self, promise: &Promise) {
        match promise {
            Promise::Token(name) => self.tokens.push(name.clone()),
            Promise::MayGo(jobs) => self.may_go.extend(jobs.iter().map(|id| *id.0.as_bytes())),
            Promise::Changes(changes) => {
                for job in &changes.jobs {
                    let place = longhaul::model::Status::ALL.iter().position(|status| *status == job.status);
                    let state = State {
                        revision: job.revision,
                        seq: job.seq,
                        status: place.unwrap() as i64,
                        ended: job.status.is_final(),
                    };
                    self.jobs.insert(*job.id.0.as_bytes(), Some(state));
                }
                for id in &changes.removed {
                    self.jobs.insert(*id.0.as_bytes(), None);
                }
            }
        }
    }

    /// Whether all of it is there.
    fn is_kept(&self, db: &Connection) -> rusqlite::Result<Result<(), String>> {
        if self.jobs.is_empty() && self.tokens.is_empty() {
            // Before the first promise there may not even be tables.
            return Ok(Ok(()));
        }
        if tables(db)? == 0 {
            return Ok(Err("not even tables are there".to_owned()));
        }
        let mut found = HashMap::new();
        read_numbers(db)?;
        let mut jobs = db.prepare(
            "select id, number(numbers, 0) + signed(numbers, 1), number(numbers, 0), status, ended_at is not null from job",
        )?;
        let mut rows = jobs.query([])?;
        while let Some(row) = rows.next()? {
            let [revision, seq] = [row.get::<_, i64>(1)? as u64, row.get::<_, i64>(2)? as u64];
            let state = State { revision, seq, status: row.get(3)?, ended: row.get(4)? };
            found.insert(row.get::<_, [u8; 16]>(0)?, state);
        }
        for (id, promised) in &self.jobs {
            let kept = match (promised, found.get(id)) {
                (None, found) => found.is_none(),
                (Some(_), None) => self.may_go.contains(id),
                (Some(promised), Some(found)) => {
                    let same_end = !promised.ended || (found.ended && found.status == promised.status);
                    found.revision >= promised.revision && found.seq >= promised.seq && same_end
                }
            };
            if !kept {
                return Ok(Err(format!("{promised:?} was promised of a job, {:?} is there", found.get(id))));
            }
        }
        let tokens: i64 = db.query_row("select count(*) from token", [], |row| row.get(0))?;
        if tokens < self.tokens.len() as i64 {
            return Ok(Err(format!("{} tokens were promised, {tokens} are there", self.tokens.len())));
        }
        Ok(Ok(()))
    }
}

/// What a judge found wrong with an image.
#[derive(Debug)]
enum Wrong {
    Lost(String),
    Half(String),
}

/// How many of the first and the last table there are.
fn tables(db: &Connection) -> rusqlite::Result<i64> {
    let query = "select count(*) from sqlite_schema where name in ('job', 'probe')";
    db.query_row(query, [], |row| row.get(0))
}

fn judge(image: Image, promised: &Promised) -> Result<(), Wrong> {
    let unreadable = |error: rusqlite::Error| Wrong::Half(error.to_string());
    let db = image::open(image).map_err(unreadable)?;
    promised.is_kept(&db).map_err(unreadable)?.map_err(Wrong::Lost)?;
    match tables(&db).map_err(unreadable)? {
        0 => Ok(()),
        2 => nothing_is_half_there(&db).map_err(Wrong::Half),
        _ => Err(Wrong::Half("only some of the tables are there".to_owned())),
    }
}

/// Opens an image as a server would, looks through all of it, and works on.
fn open_for_work(image: Image, promised: &Promised) -> Result<(), Wrong> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    for (suffix, bytes) in ["", "-wal", "-journal"].iter().zip(image) {
        if let Some(bytes) = bytes {
            std::fs::write(format!("{}{suffix}", path.display()), bytes).unwrap();
        }
    }
    let half = |error: &dyn std::fmt::Display| Wrong::Half(error.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(&path).map_err(|error| half(&error))?;
        let report = store.check(Box::new(|_, _| true)).await.map_err(|error| half(&error))?;
        if !report.problems.is_empty() {
            return Err(Wrong::Half(report.problems.join("; ")));
        }
        let counts = store.counts();
        if counts.active() + counts.past() != report.jobs {
            return Err(Wrong::Half(format!("{counts:?} for {} jobs", report.jobs)));
        }
        let next = store.create(new_job(JOBS + 1), CreateRules::default(), context(0)).await;
        next.map_err(|error| half(&error))?;
        store.close().await;
        Ok(())
    })?;
    let db = Connection::open(&path).unwrap();
    promised.is_kept(&db).map_err(|error| half(&error))?.map_err(Wrong::Lost)
}

/// How cuts went.
#[derive(Debug, Default)]
struct Tally {
    cuts: u64,
    opened: u64,
    lost: u64,
    half: u64,
    first: Option<String>,
}

/// Cuts the power `count` times, spread evenly over the journal from where it may fail. Threads share the work.
fn cut(recorded: &Recorded, count: u64, seed: u64) -> Tally {
    let threads = thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let points = recorded.journal.len() as u64 + 1;
    let (from, span) = (recorded.from as u64, points - recorded.from as u64);
    let tally = Mutex::new(Tally::default());
    let share = |thread: u64| {
        let (mut player, mut promised) = (Player::default(), Promised::default());
        let mut promises = recorded.promises.iter().peekable();
        for point in 0..points {
            if let Some(entry) = (point > 0).then(|| &recorded.journal[point as usize - 1]) {
                player.play(entry);
            }
            while let Some((_, promise)) = promises.next_if(|(made, _)| *made as u64 <= point) {
                promised.add(promise);
            }
            if point < from {
                continue;
            }
            for number in (count * (point - from) / span)..(count * (point - from + 1) / span) {
                if number % threads != thread {
                    continue;
                }
                let image = player.cut(&mut Dice(seed ^ number.wrapping_mul(0x9e37_79b9)));
                let whole = number % WHOLE_CHECK_EVERY == 0;
                let went = judge(image.clone(), &promised)
                    .and_then(|()| if whole { open_for_work(image, &promised) } else { Ok(()) });
                let mut tally = tally.lock().unwrap();
                tally.cuts += 1;
                tally.opened += u64::from(whole);
                if let Err(wrong) = went {
                    let what = match wrong {
                        Wrong::Lost(what) => {
                            tally.lost += 1;
                            what
                        }
                        Wrong::Half(what) => {
                            tally.half += 1;
                            what
                        }
                    };
                    let place = format!("point {point} of {points}, cut {number}, seed {seed}: {what}");
                    tally.first.get_or_insert(place);
                }
            }
        }
    };
    thread::scope(|scope| (0..threads).for_each(|thread| drop(scope.spawn(move || share(thread)))));
    tally.into_inner().unwrap()
}

#[test]
fn a_power_cut_anywhere_loses_nothing_and_leaves_nothing_half() {
    let (cuts, begun, mut seed, mut done) =
        (setting("LONGHAUL_POWER_CUTS", 10_000), Instant::now(), seed(), 0);
    let mut opened = 0;
    while done < cuts {
        let recorded = record(seed, false);
        assert!(recorded.promises.len() > 50 && recorded.journal.len() > 1_000);
        let tally = cut(&recorded, CUTS_A_JOURNAL.min(cuts - done), seed);
        assert_eq!((tally.lost, tally.half), (0, 0), "{tally:?}");
        done += tally.cuts;
        opened += tally.opened;
        seed += 1;
    }
    let span = begun.elapsed();
    let rate = done as f64 / span.as_secs_f64();
    eprintln!(
        "{done} power cuts, {opened} of them opened for work, nothing lost, in {span:.1?}, {rate:.0} a second"
    );
}

/// The same while the store moves its log beside the writer and begins it anew. The files are a thousand times
/// larger than above, so the cuts are fewer.
#[test]
fn a_power_cut_while_the_log_is_moved_loses_nothing_and_leaves_nothing_half() {
    let cuts = (setting("LONGHAUL_POWER_CUTS", 10_000) / 50).max(1);
    let (begun, recorded) = (Instant::now(), record_long());
    let tally = cut(&recorded, cuts, seed());
    assert_eq!((tally.cuts, tally.lost, tally.half), (cuts, 0, 0), "{tally:?}");
    eprintln!("{cuts} power cuts while the log was moved, nothing lost, in {:.1?}", begun.elapsed());
}

/// The control that is part of the claim: it is `synchronous = full` that keeps the promise.
#[test]
fn on_synchronous_normal_a_power_cut_loses_what_was_acknowledged() {
    let tally = cut(&record(seed(), true), 2_000, seed());
    assert!(tally.lost > 100, "the same test must fail: {tally:?}");
    assert_eq!(tally.half, 0, "it loses the latest changes, but whole: {tally:?}");
}

/// A disk that says it synced and did not leaves half of things behind, and the judge sees it.
#[test]
fn a_disk_that_only_says_it_syncs_is_found_out() {
    let mut recorded = record(seed(), false);
    let mut promises = std::mem::take(&mut recorded.promises);
    // Every sync is taken out; places in the journal move with it.
    let mut kept = 0;
    let places: Vec<usize> = std::iter::once(0)
        .chain(recorded.journal.iter().map(|entry| {
            kept += usize::from(!matches!(entry, Entry::Sync(_) | Entry::SyncFolder));
            kept
        }))
        .collect();
    promises.iter_mut().for_each(|(place, _)| *place = places[*place]);
    recorded.promises = promises;
    recorded.journal.retain(|entry| !matches!(entry, Entry::Sync(_) | Entry::SyncFolder));
    let tally = cut(&recorded, 500, seed());
    assert!(tally.lost > 0 && tally.half > 0, "{tally:?}");
}
