//! Upgrades: what the previous release wrote opens and works on, and a migration that is cut short was
//! never there, and is done at the next opening.
//!
//! `upgrade/v1.sql` is a database as a release with schema 1 left it (`sqlite3 FILE .dump` after a few
//! requests), and stays as it is once that is released: an edit to its migration shows here. The last migration
//! is made up, so that the next upgrade can be rehearsed before there is one: it changes a table, fills a
//! column, and makes more, so that there are many ways to be half done.

mod kept;

use std::path::Path;

use longhaul::model::{Actor, Command, Context, JobFilter, PageSize, Status, Timestamp};
use longhaul::store::{AccountStore, OpenError};
use longhaul::{JobStore, SqliteStore};
use refinery::{Migration, Runner};
use rusqlite::Connection;

use super::judge::nothing_is_half_there;
use super::power::image::{self, Image, Player};
use super::vfs::{Disk, Entry};
use super::{Dice, seed, setting};

const PREVIOUS: &str = include_str!("upgrade/v1.sql");
const FIRST: &str = include_str!("../../store/migrations/sqlite/V1__jobs_and_accounts.sql");
const SECOND: &str = include_str!("../../store/migrations/sqlite/V2__accounts_by_id.sql");
const THIRD: &str = include_str!("../../store/migrations/sqlite/V3__jobs_by_tag.sql");
/// Labels of ended jobs, of which that dump has none.
const LABELLED: &str = r#"update job set more = '{"tags":["night","50%\u0000"],"output":[1,2]}' where n = 3;
    update event set data = replace(data, '"owner":', '"tags":["night","50%\u0000"],"owner":') where job = 3;"#;
const LATER: &str = "alter table job add column later text;
    update job set later = feature;
    create index job_later on job (later);
    create table later (job integer primary key, padding blob not null);
    insert into later select n, zeroblob(20000) from job;
    update counter set n = n;";

/// The previous release's database, as its file.
fn previous(path: &Path) {
    let db = Connection::open(path).unwrap();
    db.execute_batch(PREVIOUS).unwrap();
    db.execute_batch(LABELLED).unwrap();
    // What a dump leaves out.
    db.execute_batch(&format!("pragma application_id = {}; pragma journal_mode = wal", 0x4c48_4a42)).unwrap();
}

/// The migrations of a release to come, whose last one says `later`.
fn to_come(later: &str) -> Runner {
    Runner::new(&[
        Migration::unapplied("V1__jobs_and_accounts", FIRST).unwrap(),
        Migration::unapplied("V2__accounts_by_id", SECOND).unwrap(),
        Migration::unapplied("V3__jobs_by_tag", THIRD).unwrap(),
        Migration::unapplied("V4__later", later).unwrap(),
    ])
}

fn context() -> Context {
    Context { actor: Actor::user("anna"), at: Timestamp(1_795_500_000_000) }
}

type Seen = (String, Status, f64, Option<String>, u64);

async fn jobs(store: &SqliteStore) -> Vec<Seen> {
    let page = store.list(JobFilter::default(), None, PageSize::new(Some(50)).unwrap()).await.unwrap();
    let seen = |job: &longhaul::model::Job| {
        let error = job.error.as_deref().map(str::to_owned);
        (job.spec.feature.as_str().to_owned(), job.status, job.progress, error, job.late_writes)
    };
    page.jobs.iter().map(|job| seen(job)).collect()
}

/// Everything is as the previous release showed it, and goes on.
async fn is_as_it_was_and_works_on(store: &SqliteStore) {
    let seen = |feature: &str, status, progress, error: Option<&str>, late| -> Seen {
        (feature.to_owned(), status, progress, error.map(str::to_owned), late)
    };
    assert_eq!(
        jobs(store).await,
        [
            seen("aborting", Status::Aborting, 0.0, None, 0),
            seen("import", Status::Running, 0.5, None, 0),
            seen("stopped", Status::Aborted, 0.0, None, 0),
            seen("hung", Status::Failed, 0.0, Some("Job force-failed: stuck for an hour"), 1),
            seen("broken", Status::Failed, 0.0, Some("no rows"), 0),
            seen("export", Status::Completed, 1.0, None, 0),
        ]
    );
    let report = store.check(Box::new(|_, _| true)).await.unwrap();
    assert_eq!((report.jobs, report.problems), (6, Vec::new()));
    assert_eq!((store.counts().active(), store.counts().past()), (2, 4));
    let filter = JobFilter { tag: Some("50%\0".to_owned()), ..JobFilter::default() };
    let page = store.list(filter, None, PageSize::default()).await.unwrap();
    assert_eq!(page.jobs.iter().map(|job| job.spec.feature.as_str()).collect::<Vec<_>>(), ["export"]);
    assert_eq!(store.tokens().await.unwrap().len(), 1);
    let all = store.jobs_by_id(None, 10).await.unwrap();
    let at = |ms: i64| Some(Timestamp(1_795_493_175_000 + ms));
    let running = &all[0];
    assert_eq!(running.spec.title.as_ref().map(longhaul::model::Title::as_str), Some("Import of the night"));
    assert_eq!(running.spec.input, Some(serde_json::json!({"rows": 5})));
    assert_eq!((running.attempt, running.epoch, running.seq, running.revision), (1, 1, 6, 6));
    assert_eq!((running.started_at, running.run_at, running.message_key), (at(660), None, 2));
    assert_eq!(
        (running.progress_at, running.heartbeat_at, Some(running.activity_at)),
        (at(670), at(672), at(672))
    );
    assert_eq!((running.counts.info, running.counts.warning, running.counts.system), (1, 1, 4));
    assert_eq!(running.last_message.as_ref().map(|said| said.text.as_str()), Some("it's slow ü"));
    let steps: Vec<_> = running.steps.steps().iter().map(|step| (step.id.as_str(), step.progress)).collect();
    assert_eq!(steps, [("load", 1.0), ("store", 0.25), ("rows", 0.25)]);
    assert_eq!(all[1].abort.as_ref().map(|abort| abort.reason.as_str()), Some("enough"));
    assert_eq!((all[2].output.as_deref(), all[2].ended_at), (Some(&serde_json::json!([1, 2])), at(680)));
    assert_eq!((all[3].last_error.as_deref(), all[3].created_at), (Some("no rows"), at(682).unwrap()));
    assert_eq!((all[4].fenced, all[4].revision, all[4].late_write_at), (true, 4, at(706)));
    for job in store.active().await.unwrap() {
        let complete = Command::Complete { epoch: Some(1), output: None };
        store.transact(job.id, complete, context()).await.unwrap();
    }
    assert_eq!(store.check(Box::new(|_, _| true)).await.unwrap().problems, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_the_previous_release_opens_and_works_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    previous(&path);
    let store = SqliteStore::open(&path).unwrap();
    is_as_it_was_and_works_on(&store).await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_upgrade_to_a_release_to_come_keeps_everything_and_is_not_undone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    previous(&path);
    let store = SqliteStore::open_with_migrations(&path, &to_come(LATER)).unwrap();
    is_as_it_was_and_works_on(&store).await;
    store.close().await;
    drop(store);
    assert_eq!(version(&Connection::open(&path).unwrap()), Ok(4));
    assert!(
        matches!(SqliteStore::open(&path), Err(OpenError::TooNew { found: 4, .. })),
        "this release is older"
    );
    assert_eq!(version(&Connection::open(&path).unwrap()), Ok(4), "and keeps its hands off");
}

/// A migration that fails at its last word leaves the old version whole, for the old release and the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_fails_was_never_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    previous(&path);
    let broken = format!("{LATER} insert into nowhere values (1);");
    let error = SqliteStore::open_with_migrations(&path, &to_come(&broken)).err().expect("it cannot be done");
    assert!(error.to_string().contains("nowhere"), "{error}");
    assert_eq!(version(&Connection::open(&path).unwrap()), Ok(1));
    let store = SqliteStore::open(&path).unwrap();
    store.close().await;
    drop(store);
    let error = SqliteStore::open_with_migrations(&path, &to_come(&broken)).err().expect("nor now");
    assert!(error.to_string().contains("nowhere"), "{error}");
    assert_eq!(version(&Connection::open(&path).unwrap()), Ok(3));
    let store = SqliteStore::open_with_migrations(&path, &to_come(LATER)).unwrap();
    is_as_it_was_and_works_on(&store).await;
    store.close().await;
}

/// Which version a file is of, where it is one of them whole.
fn version(db: &Connection) -> Result<u32, String> {
    let count =
        |query: &str| db.query_row(query, [], |row| row.get::<_, u32>(0)).map_err(|error| error.to_string());
    let version = count("select max(version) from refinery_schema_history")?;
    let tables = |names: &str| count(&format!("select count(*) from sqlite_schema where name in ({names})"));
    let column = count("select count(*) from pragma_table_info('job') where name = 'later'")?;
    let made = tables("'job_later', 'later'")?;
    let filled = match (column, made) {
        (1, 2) => {
            count("select (select count(*) from job where later = feature) + (select count(*) from later)")?
        }
        _ => 0,
    };
    if count("select count(*) from job")? != 6 {
        return Err("jobs are missing, or twice there".to_owned());
    }
    nothing_is_half_there(db)?;
    let accounts = count("select count(*) from pragma_table_info('account') where name = 'password_number'")?;
    if tables("'account_2', 'session_2', 'sign_in_link_2'")? != 0 || accounts != u32::from(version > 1) {
        return Err("accounts are half by name and half by id".to_owned());
    }
    // One of the ended jobs has two labels.
    let listed = match tables("'job_tag'")? {
        0 => 0,
        _ => count("select count(*) from job_tag where job = 3")?,
    };
    if listed != if version > 2 { 2 } else { 0 } {
        return Err(format!("{listed} labels are listed in version {version}"));
    }
    match (version, column, made, filled) {
        (1..=3, 0, 0, 0) | (4, 1, 2, 12) => Ok(version),
        half => Err(format!("version, tables, column, tables and rows: {half:?}")),
    }
}

/// Upgrades a database under a disk that keeps a journal. Returns what it held before.
fn recorded(path: &Path, upgrade: impl FnOnce()) -> (Vec<u8>, Vec<Entry>) {
    previous(path);
    let before = std::fs::read(path).unwrap();
    let disk = Disk::recording(path);
    upgrade();
    (before, disk.journal())
}

/// Cuts the power everywhere in an upgrade. Returns how often the file was of which version, and how often
/// half.
fn cut(before: &[u8], journal: &[Entry], cuts: u64, mut each: impl FnMut(u64, Image)) -> [u64; 5] {
    let (seed, points) = (seed(), journal.len() as u64 + 1);
    let (mut player, mut found) = (Player::over(before.to_vec()), [0; 5]);
    for point in 0..points {
        if point > 0 {
            player.play(&journal[point as usize - 1]);
        }
        for number in (cuts * point / points)..(cuts * (point + 1) / points) {
            let image = player.cut(&mut Dice(seed ^ number.wrapping_mul(0x9e37_79b9)));
            let read = image::open(image.clone()).map_err(|error| error.to_string());
            match read.and_then(|db| version(&db)) {
                Ok(version) => found[version as usize - 1] += 1,
                Err(_) => found[4] += 1,
            }
            each(number, image);
        }
    }
    found
}

#[test]
fn an_upgrade_cut_short_by_a_power_cut_is_done_at_the_next_opening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let (before, journal) = recorded(&path, || {
        let store = SqliteStore::open_with_migrations(&path, &to_come(LATER)).unwrap();
        runtime.block_on(store.close());
    });
    let resumed = folder.path().join("resumed.db");
    let [old, second, third, new, half] =
        cut(&before, &journal, setting("LONGHAUL_UPGRADE_CUTS", 2_000), |number, image| {
            if number % 50 > 0 {
                return;
            }
            for (suffix, bytes) in ["", "-wal", "-journal"].iter().zip(image) {
                let file = format!("{}{suffix}", resumed.display());
                let _ = std::fs::remove_file(&file);
                if let Some(bytes) = bytes {
                    std::fs::write(file, bytes).unwrap();
                }
            }
            let store = SqliteStore::open_with_migrations(&resumed, &to_come(LATER)).unwrap();
            runtime.block_on(store.close());
            drop(store);
            assert_eq!(version(&Connection::open(&resumed).unwrap()), Ok(4), "cut {number}, seed {}", seed());
        });
    assert_eq!((second, third, half), (0, 0, 0), "{old} were of the old version, {new} of the new");
    assert!(old > 100 && new > 100, "{old} were of the old version, {new} of the new");
}

/// The control: the same statements, each for itself, are found half done.
#[test]
fn an_upgrade_outside_a_transaction_is_found_half_done() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let (before, journal) = recorded(&path, || {
        let db = Connection::open(&path).unwrap();
        db.execute_batch(LATER).unwrap();
    });
    let [.., half] = cut(&before, &journal, 300, |_, _| ());
    assert!(half > 100, "{half} of 300");
}
