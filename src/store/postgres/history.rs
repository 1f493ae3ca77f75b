//! What removes jobs and what brings whole ones, on a connection of its own: commands do not wait for it.
//!
//! Those who remove do so one after the other, whichever nodes they are on, and count what is too much when
//! it is their turn. Rows that somebody else has locked are passed over: something is just being done to the
//! job. The counters come last in each transaction, because other nodes may wait for them, and in the order
//! of their names, so that those who wait for each other do not deadlock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::batch::{BEGIN, Sent, count, count_ended, in_order};
use super::connect::{ANSWERS_WITHIN, DatabaseAddress, DbError, answered_within, unavailable};
use super::job_columns::NewJobs;
use super::node_view::NodeView;
use super::rows::{self, EventColumns, Statements, StepColumns, TagColumns, get};
use super::text::stored;
use super::writer::{Doubtful, Session, commit, fate, in_doubt};
use crate::model::{Counts, Job, JobId, Refusal, Timestamp};
use crate::store::ledger::Tally;
use crate::store::{ImportedJob, Pruned, StoreError};

/// The most jobs in one transaction.
const MAX_JOBS: usize = 500;
/// A transaction takes no further job when the logs of those it has are this long together.
const MAX_ROWS: u64 = 20_000;
/// This many entries are sent at once.
const ENTRIES_AT_ONCE: usize = 5_000;
/// The rows of the counters that are added to here. Writers have 0 to 63.
const SLOT: i16 = 64;
/// Rows of the counters are folded this often. Each start of a server draws a slot and leaves its rows behind,
/// one for every feature and status it met.
const FOLD_EVERY: Duration = Duration::from_secs(3600);
/// The most of them in one transaction.
const FOLDED_AT_ONCE: usize = 1_000;
/// A transaction may take this long up to its commit. A job's log is imported and removed as one, and may have
/// millions of lines.
const TAKES_AT_MOST: Duration = Duration::from_secs(15 * 60);
/// Whoever holds it decides how many jobs are too many: two who did so at once would each remove as many.
/// "LHpr".
const PRUNE_LOCK: i64 = 0x4c48_7072;

const OLDEST: &str = "select n, id, feature, status, ended_at, seq, tags from job where ended_at is not null \
    and not pinned order by ended_at, id limit $1 for update skip locked";

/// Removes and imports.
pub(super) struct History {
    place: DatabaseAddress,
    node: Uuid,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    session: Option<Session>,
    folded: Option<Instant>,
}

/// What a transaction led to, to be published.
struct Outcome {
    jobs: Vec<Arc<Job>>,
    removed: Vec<JobId>,
    counts: Counts,
}

impl History {
    pub(super) fn new(place: DatabaseAddress, node: Uuid) -> Self {
        Self { place, node, held: Mutex::default() }
    }

    /// Removes up to `batch` ended jobs that nobody pinned.
    pub(super) async fn prune(
        &self,
        shared: &NodeView,
        keep: u64,
        before: Option<Timestamp>,
        batch: usize,
    ) -> Result<Pruned, StoreError> {
        let mut held = self.held.lock().await;
        let session = self.session(held.session.take()).await?;
        if held.folded.is_none_or(|at| at.elapsed() >= FOLD_EVERY) {
            in_time(fold(&session)).await?;
            held.folded = Some(Instant::now());
        }
        let work = prune(&session, self.node, keep, before, batch.min(MAX_JOBS));
        let Some((pruned, outcome, doubtful)) = in_time(work).await? else {
            held.session = Some(session);
            return Ok(Pruned::default());
        };
        held.session = self.commit(session, &doubtful).await?;
        shared.publish(outcome.jobs, outcome.removed, outcome.counts);
        Ok(pruned)
    }

    /// Adds jobs with their logs. Refused, before anything is written, where one is there already.
    pub(super) async fn import(&self, shared: &NodeView, jobs: Vec<ImportedJob>) -> Result<u64, StoreError> {
        let mut seen = BTreeSet::new();
        if let Some(twice) = jobs.iter().find(|imported| !seen.insert(imported.job.id.0)) {
            return Err(Refusal::Exists { id: twice.job.id }.into());
        }
        let mut held = self.held.lock().await;
        let session = self.session(held.session.take()).await?;
        let (outcome, doubtful) = in_time(import(&session, self.node, &jobs)).await?;
        held.session = self.commit(session, &doubtful).await?;
        shared.publish(outcome.jobs, outcome.removed, outcome.counts);
        Ok(jobs.len() as u64)
    }

    /// A session, which is given back when its transaction is over. One that fails, or whose caller has gone
    /// away in the midst of it, ends with what it had begun.
    async fn session(&self, held: Option<Session>) -> Result<Session, StoreError> {
        match held.filter(|session| !session.client.is_closed()) {
            Some(session) => Ok(session),
            None => Session::open(&self.place).await,
        }
    }

    /// Commits, and finds out whether that happened. Gives the session back where it is good for more.
    async fn commit(&self, session: Session, doubtful: &Doubtful) -> Result<Option<Session>, StoreError> {
        let Err(error) = commit(&session.client).await else {
            return Ok(Some(session));
        };
        drop(session);
        match fate(&self.place, self.node, doubtful).await {
            Some(true) => {
                tracing::warn!(error = %error, "A commit that was not answered with success has happened");
                Ok(None)
            }
            Some(false) => Err(error),
            None => Err(in_doubt(&error)),
        }
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, DbError>>) -> Result<T, StoreError> {
    answered_within(TAKES_AT_MOST, work).await.map_err(|error| error.told)
}

async fn prune(
    session: &Session,
    node: Uuid,
    keep: u64,
    before: Option<Timestamp>,
    most: usize,
) -> Result<Option<(Pruned, Outcome, Doubtful)>, DbError> {
    let Session { client, statements, .. } = session;
    client.batch_execute(BEGIN).await?;
    client.query(&statements.admit, &[&PRUNE_LOCK]).await?;
    let counts = rows::counts(&client.query(&statements.counts, &[]).await?)?;
    let pinned = client.query_one("select count(*) from job where pinned", &[]).await?;
    let over = counts.past().saturating_sub(keep).saturating_sub(get::<i64>(&pinned, 0)? as u64);
    let oldest = client.query(OLDEST, &[&(most as i64)]).await?;
    let (mut numbers, mut ids, mut entries) = (Vec::new(), Vec::new(), 0);
    let mut unlisted = TagColumns::default();
    let mut tally = Tally::new(counts);
    let mut full = oldest.len() >= most;
    for row in &oldest {
        let ended_at: i64 = get(row, 4)?;
        let expired = before.is_some_and(|before| ended_at < before.0);
        if !(expired || (ids.len() as u64) < over) {
            full = false;
            break;
        }
        if entries >= MAX_ROWS {
            full = true;
            break;
        }
        entries += get::<i64>(row, 5)? as u64;
        let (n, id) = (get::<i64>(row, 0)?, get::<Uuid>(row, 1)?);
        for tag in rows::tags_in(get(row, 6)?) {
            unlisted.push_place(n, (get(row, 3)?, ended_at, id), tag.to_owned());
        }
        numbers.push(n);
        ids.push(id);
        tally.shift(&get::<String>(row, 2)?, Some(rows::status(get(row, 3)?)?), None);
    }
    if ids.is_empty() {
        client.batch_execute("rollback").await?;
        return Ok(None);
    }
    let removal = |statement| -> Sent<'_, Vec<Row>> {
        let numbers = &numbers;
        Box::pin(async move { client.query(statement, &[numbers]).await.map_err(DbError::from) })
    };
    let flight = vec![
        removal(&statements.drop_events),
        removal(&statements.drop_steps),
        removal(&statements.drop_jobs),
    ];
    in_order(flight).await?;
    if !unlisted.is_empty() {
        unlisted.remove(client, statements).await?;
    }
    let none: Vec<i64> = Vec::new();
    let removed = ids.iter().copied().map(JobId).collect();
    let pruned = Pruned { jobs: ids.len() as u64, more: full };
    let (counts, doubtful) = finish(session, node, (none, ids), &tally).await?;
    Ok(Some((pruned, Outcome { jobs: Vec::new(), removed, counts }, doubtful)))
}

async fn import(session: &Session, node: Uuid, jobs: &[ImportedJob]) -> Result<(Outcome, Doubtful), DbError> {
    let Session { client, statements, .. } = session;
    let ids: Vec<Uuid> = jobs.iter().map(|imported| imported.job.id.0).collect();
    client.batch_execute(BEGIN).await?;
    let there = client.query_opt("select id from job where id = any($1) limit 1", &[&ids]).await?;
    if let Some(row) = there {
        let id = JobId(get(&row, 0)?);
        return Err(StoreError::from(Refusal::Exists { id }).into());
    }
    let drawn = client.query(&statements.numbers, &[&(jobs.len() as i64)]).await?;
    let numbers = drawn.iter().map(|row| get::<i64>(row, 0)).collect::<Result<Vec<_>, _>>()?;
    let mut tally = Tally::default();
    let (mut new, mut listed) = (NewJobs::default(), TagColumns::default());
    for (ImportedJob { job, .. }, &n) in jobs.iter().zip(&numbers) {
        new.push(n, job)?;
        listed.push(n, job);
    }
    new.write(client, statements).await?;
    if !listed.is_empty() {
        listed.write(client, statements).await?;
    }
    for (ImportedJob { job, log }, &n) in jobs.iter().zip(&numbers) {
        for part in log.chunks(ENTRIES_AT_ONCE) {
            let mut events = EventColumns::default();
            for event in part {
                events.push(n, event)?;
            }
            events.write(client, statements).await?;
        }
        let mut steps = StepColumns::default();
        for (index, step) in job.steps.steps().iter().enumerate() {
            steps.push(n, index, step);
        }
        if !steps.is_empty() {
            steps.write(client, statements).await?;
        }
        tally.count(&stored(job.spec.feature.as_str()), None, job);
    }
    let none: Vec<Uuid> = Vec::new();
    let (counts, doubtful) = finish(session, node, (numbers, none), &tally).await?;
    let jobs = jobs.iter().map(|imported| Arc::clone(&imported.job)).collect();
    Ok((Outcome { jobs, removed: Vec::new(), counts }, doubtful))
}

/// Says what changed, and counts. What is left to do is to commit.
async fn finish(
    session: &Session,
    node: Uuid,
    (changed, removed): (Vec<i64>, Vec<Uuid>),
    tally: &Tally,
) -> Result<(Counts, Doubtful), DbError> {
    let Session { client, statements, .. } = session;
    let said = client.query(&statements.change, &[&node, &changed, &removed]).await?;
    if !tally.ended.is_empty() {
        count_ended(client, statements, SLOT, tally).await?;
    }
    count(client, statements, SLOT, tally.changed_jobs()).await?;
    let counts = rows::counts(&client.query(&statements.counts, &[]).await?)?;
    Ok((counts, Doubtful::new(&said, changed, removed)?))
}

/// Moves what writers have counted to the rows of this module, and removes those that say zero. The sums are
/// the same at every moment. A row that somebody is just adding to is passed over; who comes to add to one
/// that is being moved waits for a moment and makes a new one.
pub(super) async fn fold(session: &Session) -> Result<(), DbError> {
    let Session { client, statements, .. } = session;
    loop {
        client.batch_execute(BEGIN).await?;
        client.query(&statements.admit, &[&PRUNE_LOCK]).await?;
        let of_writers = "select slot, feature, status, n from counter where slot <> $1 limit $2 \
            for update skip locked";
        let found = client.query(of_writers, &[&SLOT, &(FOLDED_AT_ONCE as i64)]).await?;
        let mut sums: BTreeMap<(String, i64), i64> = BTreeMap::new();
        for row in &found {
            let key = (get(row, 1)?, i64::from(get::<i16>(row, 2)?));
            *sums.entry(key).or_default() += get::<i64>(row, 3)?;
        }
        drop_counters(client, &found).await?;
        let sums = sums.iter().filter(|(_, n)| **n != 0);
        count(client, statements, SLOT, sums.map(|((feature, status), n)| (feature.as_str(), *status, *n)))
            .await?;
        let zero = "select slot, feature, status from counter where slot = $1 and n = 0 limit $2 \
            for update skip locked";
        let zero = client.query(zero, &[&SLOT, &(FOLDED_AT_ONCE as i64)]).await?;
        drop_counters(client, &zero).await?;
        // Whether this has happened matters to nobody.
        client.batch_execute("commit").await?;
        if found.len() < FOLDED_AT_ONCE && zero.len() < FOLDED_AT_ONCE {
            return Ok(());
        }
    }
}

/// Removes rows of the counters that the transaction has locked: `slot, feature, status`.
async fn drop_counters(client: &Client, locked: &[Row]) -> Result<(), DbError> {
    if locked.is_empty() {
        return Ok(());
    }
    let (mut slots, mut features, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
    for row in locked {
        slots.push(get::<i16>(row, 0)?);
        features.push(get::<String>(row, 1)?);
        kinds.push(get::<i16>(row, 2)?);
    }
    let sql = "delete from counter using unnest($1::smallint[], $2::text[], $3::smallint[]) \
        as gone (slot, feature, status) where counter.slot = gone.slot \
        and counter.feature = gone.feature and counter.status = gone.status";
    client.execute(sql, &[&slots, &features, &kinds]).await?;
    Ok(())
}

impl Session {
    /// Connects, and prepares what is asked often.
    pub(super) async fn open(place: &DatabaseAddress) -> Result<Self, StoreError> {
        answered_within(ANSWERS_WITHIN, Self::open_at_leisure(place)).await
    }

    async fn open_at_leisure(place: &DatabaseAddress) -> Result<Self, StoreError> {
        let (client, driver) = place.client().await?;
        // A node that stands still in a transaction must not make the others wait. Rows are found by their
        // numbers, whatever the planner believes of a table it has no statistics of yet.
        client
            .batch_execute(
                "set synchronous_commit = on; set idle_in_transaction_session_timeout = '5s'; \
                 set lock_timeout = '15s'; set enable_seqscan = off; set enable_hashjoin = off; \
                 set enable_mergejoin = off",
            )
            .await
            .map_err(unavailable)?;
        let statements = Statements::prepare(&client).await?;
        Ok(Self { client, statements, _driver: driver })
    }
}
