//! The default store: one SQLite file beside the program.
//!
//! One thread owns the only connection that writes jobs. It takes whatever commands are waiting, decides
//! and applies them in one transaction, commits with `synchronous=FULL`, publishes what changed, and only
//! then answers. Waiting commands thus share one sync of the disk: that is where the throughput comes
//! from (measured: a single statement a commit 3 600 operations a second, commits of 256 over 130 000).
//! Readers have connections of their own and never wait for the writer (WAL).
//!
//! A file can also be opened [for reading only](SqliteStore::open_read_only), beside a server that has it:
//! that is how the command line backs up, checks and exports. The writer keeps every job that has not ended
//! in memory, which makes it the authority on them: a file is used by one server at a time, and a lock file
//! beside it sees to that. Accounts are few and are written through a connection of their own, so that the
//! command line can manage them beside a server.

mod accounts;
mod batch;
mod checkpoint;
mod database_file;
mod entries;
mod import;
mod interned;
mod lists;
mod logs;
mod maintenance;
mod numbers;
mod open;
#[cfg(test)]
mod plans;
mod prune;
mod reader;
mod restore;
mod rows;
#[cfg(test)]
mod unreadable;
mod varint;
mod writer;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::Connection;
use tokio::sync::oneshot;

pub use accounts::SqliteAccounts;
use database_file::DatabaseFile;
pub use open::OpenError;
use reader::Readers;
pub use restore::{RestoreError, restore};
use writer::{Op, Published, Writer};

use super::bounds::{Searches, Until};
use super::{
    ChangeSink, ClockMark, CreateRules, Created, FeatureCounts, ImportedJob, IntegrityReport, JobPage,
    JobStore, LogPage, LogQuery, Newest, Pruned, StoreError, StoreProgress,
};
use crate::model::{
    Command, Context, Counts, Cursor, Event, Job, JobFilter, JobId, NewJob, OutcomeCounts, PageSize,
    Timestamp,
};

/// Jobs in a SQLite file.
pub struct SqliteStore {
    shared: Arc<Published>,
    /// `None` where the file was opened for reading only.
    writer: Option<Writer>,
    readers: Arc<Readers>,
    searches: Searches,
    accounts: Arc<std::sync::Mutex<Connection>>,
    /// `None` where the file was opened for reading only. Last: its handle outlives the connections.
    place: Option<Arc<DatabaseFile>>,
}

impl SqliteStore {
    /// Opens the file, makes it where it is missing, and brings it to this version's schema.
    ///
    /// Fails, without touching the file, where it belongs to a newer version, to another program, or to a
    /// server that is running.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::over(path, open::open(path)?)
    }

    /// Opens the file with these migrations instead of the release's own: how tests rehearse the upgrade
    /// to a release that is still to come.
    #[doc(hidden)]
    pub fn open_with_migrations(path: &Path, migrations: &refinery::Runner) -> Result<Self, OpenError> {
        Self::over(path, open::open_with(path, migrations)?)
    }

    fn over(path: &Path, opened: open::Opened) -> Result<Self, OpenError> {
        let place = Arc::clone(&opened.claim.0);
        let (writer, shared) = Writer::start(path, opened.writer, opened.lock, opened.claim)?;
        Ok(Self {
            shared,
            writer: Some(writer),
            readers: Arc::new(Readers::new(path.to_owned(), Some(Arc::clone(&place)))),
            searches: Searches::in_this_program(),
            accounts: Arc::new(std::sync::Mutex::new(opened.accounts)),
            place: Some(place),
        })
    }

    /// Opens the file to look at it, also while a server has it open. Whatever would write is refused,
    /// and the counters are those of this moment.
    pub fn open_read_only(path: &Path) -> Result<Self, OpenError> {
        let db = open::open_read_only(path)?;
        let counts = writer::load_counts(&db).map_err(|error| OpenError::Unusable {
            path: path.display().to_string(),
            problem: error.to_string(),
        })?;
        Ok(Self {
            shared: Arc::new(Published::with_counts(counts)),
            writer: None,
            readers: Arc::new(Readers::new(path.to_owned(), None)),
            searches: Searches::in_this_program(),
            accounts: Arc::new(std::sync::Mutex::new(db)),
            place: None,
        })
    }

    async fn ask<T>(
        &self,
        op: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Op,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let Some(writer) = &self.writer else {
            return Err(StoreError::Unavailable("the file was opened for reading only".to_owned()));
        };
        writer.send(op(reply))?;
        answer.await.unwrap_or_else(|_| Err(writer.given_up()))
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let read = self.look_through(|db| query(db)).await;
        self.shared.note_read(&read);
        read
    }

    /// The same for what people ask for, which has an end where it looks through texts.
    async fn look<T: Send + 'static>(
        &self,
        looks: bool,
        query: impl FnOnce(&Readers, &Until, &Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let readers = Arc::clone(&self.readers);
        let turn = if looks { Some(self.searches.turn().await?) } else { None };
        // Ends with this future: whoever asked has left then.
        let (until, _waiting) = Until::begin();
        let read = blocking(move || {
            let _turn = turn;
            let query = |db: &Connection| query(&readers, &until, db);
            if looks { readers.search(&until, query) } else { readers.with(query) }
        })
        .await;
        self.shared.note_read(&read);
        read
    }

    /// The same for long operations, which fail for reasons of their own: they are told to stop, or cannot
    /// write their copy. That says nothing of the store.
    async fn look_through<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let readers = Arc::clone(&self.readers);
        blocking(move || readers.lend(query)).await
    }
}

/// Runs disk work where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(StoreError::Unavailable(format!("a query did not finish: {error}"))))
}

fn stopping() -> StoreError {
    StoreError::Unavailable("the server is stopping".to_owned())
}

/// What SQLite says, as a reason people can act on. A value that makes no sense is not the disk's fault, and
/// will not go away by trying again.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn unavailable(error: rusqlite::Error) -> StoreError {
    use rusqlite::Error as Sql;
    match &error {
        Sql::FromSqlConversionFailure(..)
        | Sql::IntegralValueOutOfRange(..)
        | Sql::InvalidColumnType(..)
        | Sql::Utf8Error(..) => StoreError::Corrupt(error.to_string()),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

#[async_trait]
impl JobStore for SqliteStore {
    async fn create(&self, new: NewJob, rules: CreateRules, context: Context) -> Result<Created, StoreError> {
        self.ask(|reply| Op::Create { new: Box::new(new), rules, context, reply }).await
    }

    async fn transact(&self, id: JobId, command: Command, context: Context) -> Result<Arc<Job>, StoreError> {
        self.ask(|reply| Op::Transact { id, command, context, reply }).await
    }

    async fn get(&self, id: JobId) -> Result<Option<Arc<Job>>, StoreError> {
        if let Some(job) = self.shared.open_job(id) {
            return Ok(Some(job));
        }
        self.read(move |db| Ok(rows::job_by_id(db, id)?.map(|(_, job)| Arc::new(job)))).await
    }

    async fn list(
        &self,
        filter: JobFilter,
        after: Option<Cursor>,
        size: PageSize,
    ) -> Result<JobPage, StoreError> {
        // What has ended since a list of open jobs was begun is looked through as well.
        let since = after.is_some_and(|after| after.ended().is_some());
        let looks = filter.text.is_some() || since;
        self.look(looks, move |_, _, db| lists::list(db, &filter, after, size)).await
    }

    async fn active(&self) -> Result<Vec<Arc<Job>>, StoreError> {
        if self.writer.is_some() {
            return Ok(self.shared.active());
        }
        let open = self.read(writer::load_open).await?;
        Ok(open.into_values().map(|(_, job)| job).filter(|job| job.status.is_active()).collect())
    }

    async fn jobs_by_id(&self, after: Option<JobId>, limit: usize) -> Result<Vec<Arc<Job>>, StoreError> {
        self.read(move |db| lists::jobs_by_id(db, after, limit)).await
    }

    async fn import(&self, jobs: Vec<ImportedJob>) -> Result<u64, StoreError> {
        self.ask(|reply| Op::Import { jobs, reply }).await
    }

    async fn log(&self, id: JobId, query: LogQuery) -> Result<LogPage, StoreError> {
        let looks = query.filter.needs_scan();
        self.look(looks, move |readers, until, db| logs::log(readers, until, db, id, &query)).await
    }

    async fn newest_messages(&self, jobs: &[Arc<Job>], most: usize) -> Result<Vec<Newest>, StoreError> {
        let jobs = jobs.to_vec();
        self.read(move |db| logs::newest_messages(db, &jobs, most)).await
    }

    async fn events(&self, id: JobId, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.read(move |db| logs::events(db, id, after, limit)).await
    }

    fn counts(&self) -> Counts {
        self.shared.counts()
    }

    async fn ended_on(&self, day: i64) -> Result<OutcomeCounts, StoreError> {
        self.read(move |db| reader::ended_on(db, day)).await
    }

    async fn features(&self, limit: usize) -> Result<Vec<FeatureCounts>, StoreError> {
        self.read(move |db| reader::features(db, limit)).await
    }

    async fn prune(&self, keep: u64, before: Option<Timestamp>, batch: usize) -> Result<Pruned, StoreError> {
        self.ask(|reply| Op::Prune { keep, before, batch, reply }).await
    }

    async fn forget_keys(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.ask(|reply| Op::ForgetKeys { before, reply }).await
    }

    async fn clock_mark(&self) -> Result<Option<ClockMark>, StoreError> {
        self.read(reader::clock_mark).await
    }

    async fn mark_clock(&self, mark: ClockMark) -> Result<(), StoreError> {
        self.ask(|reply| Op::MarkClock { mark, reply }).await
    }

    async fn newest_moment(&self) -> Result<Option<Timestamp>, StoreError> {
        let open = self.active().await?.iter().map(|job| job.activity_at).max();
        Ok(open.max(self.read(reader::newest_moment).await?))
    }

    fn changes(&self, sink: Arc<dyn ChangeSink>) {
        self.shared.add_sink(sink);
    }

    fn last_failure(&self) -> Option<String> {
        // Looked at each time: nobody may be writing.
        let lost = self.place.as_ref().and_then(|place| place.lost());
        let ended = || {
            let ended = self.writer.as_ref().is_some_and(Writer::has_ended);
            ended.then(|| "the thread that writes has ended. Start the server again".to_owned())
        };
        lost.or_else(ended).or_else(|| self.shared.trouble())
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.ask(|reply| Op::Probe { reply }).await?;
        // What was just written is in nobody's cache: this reads the disk.
        self.read(|db| db.query_row("select at from probe", [], |_| Ok(())).map_err(unavailable)).await
    }

    async fn check(&self, progress: StoreProgress) -> Result<IntegrityReport, StoreError> {
        self.look_through(move |db| maintenance::check(db, progress)).await
    }

    async fn backup(&self, to: &Path, progress: StoreProgress) -> Result<u64, StoreError> {
        let to = to.to_owned();
        self.look_through(move |db| maintenance::backup(db, &to, progress)).await
    }

    async fn close(&self) {
        if let Some(writer) = &self.writer {
            writer.close().await;
        }
    }
}
