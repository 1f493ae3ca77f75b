//! The store that several servers share: a PostgreSQL database.
//!
//! Each node has one writer, which decides what waits in one transaction with the jobs' rows locked, so
//! that a transition is decided once whichever nodes race for it; readers on a pool; and a feed that tells
//! it what the others changed. A commit is acknowledged after it is on the database's disk
//! (`synchronous_commit`), and one that was not answered with success is asked after, not guessed.
//!
//! Given up: a copy of the open jobs as authority, as the SQLite store has it. Another node may have
//! changed them a moment ago, so what is decided and what is answered is read from the database; the copy
//! here feeds dashboards only.

mod accounts;
mod batch;
#[cfg(test)]
pub(super) mod cluster;
mod columns;
mod connect;
mod feed;
mod history;
mod job_columns;
mod maintenance;
mod node_view;
mod reader;
mod rows;
mod search;
#[cfg(test)]
mod tests;
mod text;
mod writer;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use deadpool_postgres::{Object, Pool};
use tokio::sync::Notify;
use uuid::Uuid;

pub use accounts::PostgresAccounts;
pub use connect::PostgresError;
use connect::{DatabaseAddress, READS_WITHIN, answered_within, unavailable};
use feed::Feed;
use history::History;
use node_view::NodeView;
use search::Search;
use writer::{Op, Writer};

use super::{
    ChangeSink, ClockMark, CreateRules, Created, FeatureCounts, ImportedJob, IntegrityReport, JobPage,
    JobStore, LogPage, LogQuery, Newest, NodeRecord, Pruned, StoreError, StoreProgress,
};
use crate::model::{
    Command, Context, Counts, Cursor, Event, Job, JobFilter, JobId, NewJob, OutcomeCounts, PageSize,
    Timestamp,
};

/// Jobs in a PostgreSQL database.
pub struct PostgresStore {
    shared: Arc<NodeView>,
    writer: Writer,
    feed: Option<Feed>,
    history: History,
    pool: Pool,
    search: Search,
}

/// How a PostgreSQL database is used.
#[derive(Clone, Debug)]
pub struct PostgresSettings {
    /// Its address: `postgres://user:password@host:5432/name?sslmode=require`.
    pub address: String,
    /// The most connections for reading. Five more are for writing, for listening, for the history and for searches.
    pub connections: usize,
    /// What other nodes call this one. `None` for a guest, who hears nothing of what others change and
    /// never leads: a command that comes and goes.
    pub node: Option<String>,
}

impl PostgresStore {
    /// Connects, and brings the database to this version's schema.
    ///
    /// Fails, without touching anything, where the database belongs to a newer version or to another
    /// program, or does not answer.
    pub async fn open(settings: PostgresSettings) -> Result<Self, PostgresError> {
        let place = DatabaseAddress::new(&settings.address)?;
        place.migrate().await?;
        let pool = place.pool(settings.connections)?;
        let search = Search::new(&place)?;
        let (node, shared, written) =
            (Uuid::new_v4(), Arc::new(NodeView::default()), Arc::new(Notify::new()));
        let unreachable = PostgresError::unreachable;
        // Before anything is read from it: what changes from here on is heard.
        let since =
            feed::place_now(&connection(&pool).await.map_err(unreachable)?).await.map_err(unreachable)?;
        let counts =
            reader::counts(&connection(&pool).await.map_err(unreachable)?).await.map_err(unreachable)?;
        shared.publish(Vec::new(), Vec::new(), counts);
        let writer = Writer::start(place.clone(), node, Arc::clone(&shared), Arc::clone(&written));
        let history = History::new(place.clone(), node);
        let feed =
            settings.node.map(|name| Feed::start(place, since, node, name, Arc::clone(&shared), written));
        Ok(Self { shared, writer, feed, history, pool, search })
    }

    /// The accounts in the same database.
    pub fn accounts(&self) -> PostgresAccounts {
        PostgresAccounts::of(self.pool.clone())
    }

    async fn db(&self) -> Result<Object, StoreError> {
        connection(&self.pool).await
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        if let Some(feed) = &self.feed {
            feed.stop();
        }
    }
}

async fn connection(pool: &Pool) -> Result<Object, StoreError> {
    pool.get().await.map_err(|error| match error {
        deadpool_postgres::PoolError::Backend(error) => unavailable(error),
        error => StoreError::Unavailable(error.to_string()),
    })
}

#[async_trait]
impl JobStore for PostgresStore {
    async fn create(&self, new: NewJob, rules: CreateRules, context: Context) -> Result<Created, StoreError> {
        self.writer.ask(|reply| Op::Create { new: Box::new(new), rules, context, reply }).await
    }

    async fn transact(&self, id: JobId, command: Command, context: Context) -> Result<Arc<Job>, StoreError> {
        self.writer.ask(|reply| Op::Transact { id, command, context, reply }).await
    }

    async fn get(&self, id: JobId) -> Result<Option<Arc<Job>>, StoreError> {
        let mut db = self.db().await?;
        let moment = snapshot(&mut db).await?;
        Ok(reader::jobs_where(&moment, "id = $1", &id.0).await?.pop())
    }

    async fn list(
        &self,
        filter: JobFilter,
        after: Option<Cursor>,
        size: PageSize,
    ) -> Result<JobPage, StoreError> {
        // What has ended since a list of open jobs was begun is looked through as well.
        let since = after.is_some_and(|after| after.ended().is_some());
        if filter.text.is_some() || since {
            return self.search.look(async |moment| reader::list(moment, &filter, after, size).await).await;
        }
        let mut db = self.db().await?;
        let moment = snapshot(&mut db).await?;
        reader::list(&moment, &filter, after, size).await
    }

    async fn jobs_by_id(&self, after: Option<JobId>, limit: usize) -> Result<Vec<Arc<Job>>, StoreError> {
        let mut db = self.db().await?;
        let moment = snapshot(&mut db).await?;
        reader::in_order_of_id(&moment, after, limit).await
    }

    async fn import(&self, jobs: Vec<ImportedJob>) -> Result<u64, StoreError> {
        self.history.import(&self.shared, jobs).await
    }

    async fn active(&self) -> Result<Vec<Arc<Job>>, StoreError> {
        let filter = JobFilter { only_open: true, ..JobFilter::default() };
        let (mut active, mut after) = (Vec::new(), None);
        loop {
            let size = PageSize::new(Some(PageSize::MAX as u32)).unwrap_or_default();
            let page = self.list(filter.clone(), after, size).await?;
            active.extend(page.jobs.into_iter().filter(|job| job.status.is_active()));
            after = page.next;
            if after.is_none() {
                return Ok(active);
            }
        }
    }

    async fn log(&self, id: JobId, query: LogQuery) -> Result<LogPage, StoreError> {
        if query.filter.needs_scan() {
            return self.search.look(async |moment| reader::log(moment, id, &query).await).await;
        }
        let mut db = self.db().await?;
        let moment = snapshot(&mut db).await?;
        reader::log(&moment, id, &query).await
    }

    async fn newest_messages(&self, jobs: &[Arc<Job>], most: usize) -> Result<Vec<Newest>, StoreError> {
        reader::newest_messages(&self.db().await?, jobs, most).await
    }

    async fn events(&self, id: JobId, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        reader::events(&self.db().await?, id, after, limit).await
    }

    fn counts(&self) -> Counts {
        self.shared.counts()
    }

    async fn ended_on(&self, day: i64) -> Result<OutcomeCounts, StoreError> {
        reader::ended_on(&self.db().await?, day).await
    }

    async fn features(&self, limit: usize) -> Result<Vec<FeatureCounts>, StoreError> {
        reader::features(&self.db().await?, limit).await
    }

    async fn prune(&self, keep: u64, before: Option<Timestamp>, batch: usize) -> Result<Pruned, StoreError> {
        self.history.prune(&self.shared, keep, before, batch).await
    }

    async fn forget_keys(&self, before: Timestamp) -> Result<u64, StoreError> {
        maintenance::forget_keys(&self.db().await?, before).await
    }

    async fn clock_mark(&self) -> Result<Option<ClockMark>, StoreError> {
        maintenance::clock_mark(&self.db().await?).await
    }

    async fn mark_clock(&self, mark: ClockMark) -> Result<(), StoreError> {
        maintenance::mark_clock(&self.db().await?, mark).await
    }

    async fn newest_moment(&self) -> Result<Option<Timestamp>, StoreError> {
        maintenance::newest_moment(&self.db().await?).await
    }

    fn changes(&self, sink: Arc<dyn ChangeSink>) {
        self.shared.add_sink(sink);
    }

    fn last_failure(&self) -> Option<String> {
        let ended = self.writer.has_ended();
        ended
            .then(|| "the task that writes has ended. Start the server again".to_owned())
            .or_else(|| self.shared.error())
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.writer.ask(|reply| Op::Probe { reply }).await
    }

    fn leads(&self) -> bool {
        self.shared.leads()
    }

    fn may_lead(&self, may: bool) {
        self.shared.set_may_lead(may);
    }

    async fn clock(&self) -> Result<Option<Timestamp>, StoreError> {
        match &self.feed {
            Some(feed) => feed.clock().await.map(Some),
            None => Ok(None),
        }
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn nodes(&self) -> Vec<NodeRecord> {
        self.shared.nodes()
    }

    async fn check(&self, progress: StoreProgress) -> Result<IntegrityReport, StoreError> {
        let mut db = self.db().await?;
        let moment = snapshot(&mut db).await?;
        maintenance::check(&moment, progress).await
    }

    async fn backup(&self, _to: &Path, _progress: StoreProgress) -> Result<u64, StoreError> {
        Err(StoreError::Unavailable(
            "a PostgreSQL database is backed up with its own tools, such as pg_dump or pg_basebackup; \
             longhaul export writes its jobs as text"
                .to_owned(),
        ))
    }

    async fn close(&self) {
        self.writer.close().await;
        if let Some(feed) = &self.feed {
            // So that the other nodes do not call this one late.
            feed.finish().await;
        }
        self.pool.close();
        self.search.close();
    }
}

/// A transaction that sees one moment, for reads of several statements.
async fn snapshot(db: &mut Object) -> Result<deadpool_postgres::Transaction<'_>, StoreError> {
    let begun = db
        .build_transaction()
        .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
        .read_only(true)
        .start();
    answered_within(READS_WITHIN, async { begun.await.map_err(unavailable) }).await
}
