//! Long operations over the whole file: is it sound, and a copy of it.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::{entries, open, rows, unavailable};
use crate::model::JobId;
use crate::store::{IntegrityReport, StoreError, StoreProgress, is_sound, ledger, told_to_stop};
use crate::watch::guarded;

/// How many problems are spelt out.
const MAX_PROBLEMS: usize = 100;

/// SQLite's steps between two looks at who listens: a page of the file each, or a piece of a comparison.
const STEPS_BETWEEN_LOOKS: u32 = 1_000;

/// Whoever hears how far a check has come, also while SQLite is busy with a single statement.
struct Listener(Mutex<Listening>);

struct Listening {
    progress: StoreProgress,
    /// How far it has come: of how much, where that is known, and otherwise how many steps.
    done: u64,
    total: u64,
    told_to_stop: bool,
}

impl Listening {
    fn tell(&mut self) -> bool {
        self.told_to_stop |= !(self.progress)(self.done, self.total);
        !self.told_to_stop
    }
}

impl Listener {
    fn new(progress: StoreProgress) -> Self {
        Self(Mutex::new(Listening { progress, done: 0, total: 0, told_to_stop: false }))
    }

    fn listening(&self) -> MutexGuard<'_, Listening> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So much is done. Answers whether to go on.
    fn reached(&self, done: u64, total: u64) -> bool {
        let mut listening = self.listening();
        (listening.done, listening.total) = (done, total);
        listening.tell()
    }

    /// SQLite has gone on. Answers whether it may.
    fn stepped(&self) -> bool {
        let mut listening = self.listening();
        if listening.total == 0 {
            listening.done += u64::from(STEPS_BETWEEN_LOOKS);
        }
        listening.tell()
    }

    fn told_to_stop(&self) -> bool {
        self.listening().told_to_stop
    }
}

/// Looks whether pages, log, jobs and counters agree: SQLite's own check, each job against its log, the
/// counters against the rows. How much the first of them has to do nobody knows; it counts its steps.
pub(super) fn check(db: &mut Connection, progress: StoreProgress) -> Result<IntegrityReport, StoreError> {
    let listener = Arc::new(Listener::new(progress));
    let heard = Arc::clone(&listener);
    let stops = move || !heard.stepped();
    db.progress_handler(STEPS_BETWEEN_LOOKS as i32, Some(stops)).map_err(unavailable)?;
    let checked = check_all(db, &listener);
    let nobody: Option<fn() -> bool> = None;
    db.progress_handler(0, nobody).map_err(unavailable)?;
    // A statement that is stopped fails in words of SQLite's own.
    if checked.is_err() && listener.told_to_stop() { Err(told_to_stop()) } else { checked }
}

fn check_all(db: &Connection, listener: &Listener) -> Result<IntegrityReport, StoreError> {
    // One snapshot, or work going on would look like a contradiction.
    let db = db.unchecked_transaction().map_err(unavailable)?;
    let mut report = IntegrityReport::default();
    let total: i64 = db.query_row("select count(*) from job", [], |row| row.get(0)).map_err(unavailable)?;
    let total = total as u64 + 2;
    let pages: Vec<String> = db
        .prepare("pragma integrity_check(20)")
        .and_then(|mut check| check.query_map([], |row| row.get(0))?.collect())
        .map_err(unavailable)?;
    report
        .problems
        .extend(pages.into_iter().filter(|line| line != "ok").map(|line| format!("SQLite: {line}")));
    let mut go_on = listener.reached(1, total);

    let differing: Vec<(String, i64, i64)> = db
        .prepare(
            "select feature || ' ' || status, sum(rows), sum(counted) from ( \
               select (select text from name where n = job.feature) as feature, status, count(*) as rows, \
               0 as counted from job group by job.feature, status union all \
               select feature, status, 0, n from counter) group by 1 having sum(rows) <> sum(counted)",
        )
        .and_then(|mut find| find.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect())
        .map_err(unavailable)?;
    for (what, rows, counted) in differing {
        report.problems.push(format!("The counter of {what} says {counted}, there are {rows} jobs"));
    }
    let astray: i64 = db
        .query_row(
            "select count(*) from job left join spec on spec.n = job.spec \
             where job.feature is not spec.feature or job.author is not spec.author",
            [],
            |row| row.get(0),
        )
        .map_err(unavailable)?;
    if astray > 0 {
        report.problems.push(format!("{astray} jobs are listed under another feature or author than theirs"));
    }
    // Of a job whose JSON cannot be read nothing is known; it is named below.
    let labels = "select job.more -> label.fullkey, job.status, job.ended_at, job.n, job.feature \
        from job, json_each(case when json_valid(job.more) then job.more end, '$.tags') as label \
        where job.ended_at is not null and job.more is not null";
    let listed = "select tag, status, ended_at, job, feature from job_tag \
        where job not in (select n from job where not json_valid(more))";
    let astray: i64 = db
        .query_row(
            &format!(
                "select (select count(*) from ({labels} except {listed})) + \
                 (select count(*) from ({listed} except {labels}))"
            ),
            [],
            |row| row.get(0),
        )
        .map_err(unavailable)?;
    if astray > 0 {
        report.problems.push(format!("{astray} labels are not listed as the jobs that have ended have them"));
    }
    go_on &= listener.reached(2, total);

    let mut reader = rows::JobReader::new(&db);
    let mut last = 0_i64;
    loop {
        if !go_on {
            return Err(told_to_stop());
        }
        let next: Option<i64> = db
            .prepare_cached("select n from job where n > ?1 order by n limit 1")
            .and_then(|mut find| find.query_map([last], |row| row.get(0))?.next().transpose())
            .map_err(unavailable)?;
        let Some(n) = next else { break };
        last = n;
        let job = match guarded(format_args!("in row {n}"), || reader.get(n)) {
            Ok(None) => continue,
            Ok(Some(job)) => Ok(job),
            // It is what was looked for; the rest may be sound.
            Err(StoreError::Corrupt(reason)) => Err(reason),
            Err(other) => return Err(other),
        };
        report.jobs += 1;
        // An entry at a time: a log may be longer than memory is large.
        let id = match &job {
            Ok(job) => job.id.to_string(),
            Err(_) => db
                .query_row("select lower(hex(id)) from job where n = ?1", [n], |row| row.get(0))
                .map_err(unavailable)?,
        };
        let mut replay = ledger::Replay::new(job.as_ref().map_or(JobId(uuid::Uuid::nil()), |job| job.id));
        let mut unread = None;
        let mut find = db
            .prepare_cached("select seq, at, kind, text, step, data from event where job = ?1 order by seq")
            .map_err(unavailable)?;
        let log = find.query_map([n], entries::event).map_err(unavailable)?;
        for event in log {
            match event.map_err(unavailable) {
                Ok(event) => replay.add(&event),
                Err(StoreError::Corrupt(reason)) => {
                    replay.skip();
                    unread.get_or_insert(reason);
                }
                Err(other) => return Err(other),
            }
        }
        report.events += replay.entries();
        let problem = match (job, unread) {
            (Err(reason), _) => Some(format!("Job {id} cannot be read: {reason}")),
            (Ok(_), Some(reason)) => Some(format!("The log of job {id} cannot be read: {reason}")),
            (Ok(job), None) if replay.agrees_with(&job) && is_sound(&job) => None,
            (Ok(_), None) => Some(format!("Job {id} is not what its log says")),
        };
        if report.problems.len() < MAX_PROBLEMS {
            report.problems.extend(problem);
        }
        go_on = listener.reached(report.jobs + 2, total);
    }
    let entries: i64 = db
        .query_row("select count(*) from event where job not in (select job from ownerless)", [], |row| {
            row.get(0)
        })
        .map_err(unavailable)?;
    if entries as u64 != report.events {
        let (all, known) = (entries, report.events);
        report.problems.push(format!("There are {all} log entries, and the jobs have {known}"));
    }
    Ok(report)
}

/// Copies the file page by page while work goes on, to a name of its own first, so that a copy is whole or
/// not there.
pub(super) fn backup(db: &Connection, to: &Path, mut progress: StoreProgress) -> Result<u64, StoreError> {
    let cannot = |what: &str, error: &dyn std::fmt::Display| {
        StoreError::Unavailable(format!("the backup cannot be written to {}: {what}{error}", to.display()))
    };
    if to.exists() {
        return Err(cannot("", &"there is a file of that name already"));
    }
    let mut partial = to.as_os_str().to_owned();
    partial.push(".partial");
    let partial = std::path::PathBuf::from(partial);
    // What an earlier attempt may have left.
    remove_with_logs(&partial);
    let copied = (|| {
        open::make_private(&partial);
        let mut copy = Connection::open(&partial)?;
        {
            // One snapshot to the end. Without it SQLite begins again with every change to the file, and a
            // copy of a busy store never ends.
            let db = db.unchecked_transaction()?;
            db.query_row("select 1 from sqlite_schema limit 1", [], |_| Ok(()))?;
            let backup = Backup::new(&db, &mut copy)?;
            loop {
                let step = backup.step(256)?;
                let pages = backup.progress();
                let total = u64::try_from(pages.pagecount).unwrap_or(0);
                let left = u64::try_from(pages.remaining).unwrap_or(0);
                let go_on = progress(total.saturating_sub(left), total);
                match step {
                    _ if !go_on => return Ok(false),
                    StepResult::Done => break,
                    StepResult::More => {}
                    // The writer is in mid-commit; it will not be long.
                    _ => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        }
        // The copy is a plain file, complete in itself.
        copy.pragma_update(None, "journal_mode", "delete")?;
        Ok(true)
    })();
    let finished = copied.map_err(|error: rusqlite::Error| cannot("", &error)).and_then(|whole| {
        if !whole {
            return Err(told_to_stop());
        }
        let file = std::fs::File::open(&partial).map_err(|error| cannot("", &error))?;
        file.sync_all().map_err(|error| cannot("", &error))?;
        let bytes = file.metadata().map_err(|error| cannot("", &error))?.len();
        std::fs::rename(&partial, to).map_err(|error| cannot("", &error))?;
        sync_folder(to).map_err(|error| cannot("", &error))?;
        Ok(bytes)
    });
    if finished.is_err() {
        remove_with_logs(&partial);
    }
    finished
}

/// Removes a copy with what SQLite keeps beside it, which another copy of that name would be taken to need.
fn remove_with_logs(path: &Path) {
    for suffix in ["", "-journal", "-wal", "-shm"] {
        let mut left = path.as_os_str().to_owned();
        left.push(suffix);
        let _ = std::fs::remove_file(left);
    }
}

/// Makes sure that a file's new name survives a power cut.
pub(super) fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::library::Jobs;
    use crate::model::{
        Actor, Author, Command, Context, Feature, Level, MessageText, NewJob, Report, ReportItem, Spec, Tag,
        Timestamp,
    };
    use crate::store::{CreateRules, JobStore, SqliteStore};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_check_names_what_cannot_be_read_and_looks_at_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.db");
        let store = Arc::new(SqliteStore::open(&path).unwrap());
        let jobs = Jobs::new(Arc::clone(&store) as Arc<dyn JobStore>);
        let mut ended = Vec::new();
        for _ in 0..4 {
            let id = jobs.create_job("import", "anna").await.unwrap();
            jobs.force_fail_job(id, "hung").await.unwrap();
            ended.push(id);
        }
        let db = Connection::open(&path).unwrap();
        db.execute_batch(
            "update job set more = '{' where n = 1; update event set data = '{' where job = 3 and seq = 2",
        )
        .unwrap();
        let report = store.check(Box::new(|_, _| true)).await.unwrap();
        let plain = ended[0].to_string().replace('-', "");
        assert_eq!((report.jobs, report.events, report.problems.len()), (4, 12, 2), "{report:?}");
        assert!(report.problems[0].starts_with(&format!("Job {plain} cannot be read: ")), "{report:?}");
        assert!(report.problems[1].starts_with(&format!("The log of job {} cannot", ended[2])), "{report:?}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_check_finds_labels_that_are_not_listed_and_those_that_are_too_much() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.db");
        let store = Arc::new(SqliteStore::open(&path).unwrap());
        let context = || Context { actor: Actor::user("anna"), at: Timestamp(5) };
        for number in 1..=3_u128 {
            let spec = Spec {
                tags: vec![Tag::new("nightly").unwrap(), Tag::new("llm").unwrap()],
                ..Spec::new(Feature::new("import").unwrap(), Author::new("anna").unwrap(), "user:anna")
            };
            let new =
                NewJob { id: JobId(uuid::Uuid::from_u128(number << 64)), spec, enqueue: false, run_at: None };
            let id = store.create(new, CreateRules::default(), context()).await.unwrap().job.id;
            store.transact(id, Command::Complete { epoch: None, output: None }, context()).await.unwrap();
        }
        let problems = async || store.check(Box::new(|_, _| true)).await.unwrap().problems;
        assert_eq!(problems().await, Vec::<String>::new());
        let db = Connection::open(&path).unwrap();
        db.execute_batch("delete from job_tag where job = 2 and tag = '\"llm\"'").unwrap();
        let one = "1 labels are not listed as the jobs that have ended have them";
        assert_eq!(problems().await, [one]);
        db.execute_batch("update job_tag set status = 5 where job = 1 and tag = '\"llm\"'").unwrap();
        assert_eq!(problems().await, [one.replace('1', "3")]);
        // What history removes takes its labels along.
        db.execute_batch("delete from job_tag where status = 5").unwrap();
        assert_eq!(store.prune(0, None, 9).await.unwrap().jobs, 3);
        assert_eq!(problems().await, Vec::<String>::new());
    }

    /// SQLite's own look at the file is one statement, and takes minutes where the file is large.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_check_is_heard_of_and_can_be_stopped_while_sqlite_looks_at_its_pages() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(&folder.path().join("jobs.db")).unwrap());
        let jobs = Jobs::new(Arc::clone(&store) as Arc<dyn JobStore>);
        let id = jobs.create_job("import", "anna").await.unwrap();
        let said = |n: i32| ReportItem::Message {
            level: Level::Info,
            text: MessageText::new(format!("line {n}")).unwrap(),
            step: None,
            key: None,
        };
        let report = Report { epoch: None, items: (0..5_000).map(said).collect() };
        let context = Context { actor: Actor::user("anna"), at: Timestamp(1) };
        store.transact(id, Command::Report(report), context).await.unwrap();

        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        let listen = move |done, total| {
            heard.lock().unwrap().push((done, total));
            true
        };
        let report = store.check(Box::new(listen)).await.unwrap();
        assert_eq!((report.jobs, report.problems), (1, Vec::<String>::new()));
        let told = std::mem::take(&mut *told.lock().unwrap());
        let steps: Vec<_> = told.iter().take_while(|(_, total)| *total == 0).collect();
        assert!(steps.len() > 2 && steps.is_sorted(), "{steps:?}");
        assert_eq!(told.last(), Some(&(3, 3)));
        assert!(told[steps.len()..].iter().all(|(_, total)| *total == 3));

        let stopped = store.check(Box::new(|_, total| total > 0)).await;
        assert_eq!(stopped, Err(told_to_stop()));
        // Whoever reads through the same connection is not stopped.
        assert_eq!(store.check(Box::new(|_, _| true)).await.map(|report| report.jobs), Ok(1));
    }
}
