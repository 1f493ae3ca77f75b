//! What removes jobs and what brings whole ones, on a connection of its own: commands do not wait for it.
//!
//! Rows that somebody else has locked are passed over: another node removes them, or has just done
//! something to the job. The counters come last in each transaction, because other nodes may wait for them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio_postgres::Client;
use uuid::Uuid;

use super::batch::{Sent, count, in_order};
use super::connect::{DbError, Place, unavailable};
use super::job_columns::NewJobs;
use super::rows::{self, EventColumns, Statements, StepColumns, get};
use super::shared::Shared;
use super::writer::Session;
use crate::model::{Counts, Job, JobId, Refusal, Timestamp};
use crate::store::record::status_number;
use crate::store::{ImportedJob, Pruned, StoreError};

/// The most jobs in one transaction.
const MAX_JOBS: usize = 500;
/// A transaction takes no further job when the logs of those it has are this long together.
const MAX_ROWS: u64 = 20_000;
/// This many entries are sent at once.
const ENTRIES_AT_ONCE: usize = 5_000;
/// The rows of the counters that are added to here. Writers have 0 to 63.
const SLOT: i16 = 64;

const OLDEST: &str = "select n, id, feature, status, ended_at, seq from job where ended_at is not null \
    and not pinned order by ended_at, id limit $1 for update skip locked";

/// Removes and imports.
pub(super) struct History {
    place: Place,
    node: Uuid,
    session: Mutex<Option<Session>>,
}

/// What a transaction led to, to be published.
struct Outcome {
    jobs: Vec<Arc<Job>>,
    removed: Vec<JobId>,
    counts: Counts,
}

impl History {
    pub(super) fn new(place: Place, node: Uuid) -> Self {
        Self { place, node, session: Mutex::new(None) }
    }

    /// Removes up to `batch` ended jobs that nobody pinned.
    pub(super) async fn prune(
        &self,
        shared: &Shared,
        keep: u64,
        before: Option<Timestamp>,
        batch: usize,
    ) -> Result<Pruned, StoreError> {
        let mut held = self.session.lock().await;
        let session = self.session(&mut held).await?;
        match prune(session, self.node, keep, before, batch.min(MAX_JOBS)).await {
            Ok((pruned, outcome)) => {
                if let Some(outcome) = outcome {
                    shared.publish(outcome.jobs, outcome.removed, outcome.counts);
                }
                Ok(pruned)
            }
            Err(error) => {
                *held = None;
                Err(error.told)
            }
        }
    }

    /// Adds jobs with their logs. Refused, before anything is written, where one is there already.
    pub(super) async fn import(&self, shared: &Shared, jobs: Vec<ImportedJob>) -> Result<u64, StoreError> {
        let mut seen = BTreeSet::new();
        if let Some(twice) = jobs.iter().find(|imported| !seen.insert(imported.job.id.0)) {
            return Err(Refusal::Exists { id: twice.job.id }.into());
        }
        let mut held = self.session.lock().await;
        let session = self.session(&mut held).await?;
        match import(session, self.node, &jobs).await {
            Ok(outcome) => {
                shared.publish(outcome.jobs, outcome.removed, outcome.counts);
                Ok(jobs.len() as u64)
            }
            Err(error) => {
                // Whatever was begun ends with its connection.
                *held = None;
                Err(error.told)
            }
        }
    }

    async fn session<'a>(&self, held: &'a mut Option<Session>) -> Result<&'a Session, StoreError> {
        if held.as_ref().is_some_and(|session| session.client.is_closed()) {
            *held = None;
        }
        match held {
            Some(session) => Ok(session),
            empty => Ok(empty.insert(Session::open(&self.place).await?)),
        }
    }
}

async fn prune(
    session: &Session,
    node: Uuid,
    keep: u64,
    before: Option<Timestamp>,
    most: usize,
) -> Result<(Pruned, Option<Outcome>), DbError> {
    let Session { client, statements } = session;
    let counts = rows::counts(&client.query(&statements.counts, &[]).await?)?;
    let pinned = client.query_one("select count(*) from job where pinned", &[]).await?;
    let over = counts.past().saturating_sub(keep).saturating_sub(get::<i64>(&pinned, 0)? as u64);
    client.batch_execute("begin").await?;
    let oldest = client.query(OLDEST, &[&(most as i64)]).await?;
    let (mut numbers, mut ids, mut entries) = (Vec::new(), Vec::new(), 0);
    let mut counters: BTreeMap<(String, i64), i64> = BTreeMap::new();
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
        numbers.push(get::<i64>(row, 0)?);
        ids.push(get::<Uuid>(row, 1)?);
        *counters.entry((get(row, 2)?, i64::from(get::<i16>(row, 3)?))).or_default() -= 1;
    }
    if ids.is_empty() {
        client.batch_execute("rollback").await?;
        return Ok((Pruned::default(), None));
    }
    let removal = |statement| -> Sent<'_, Vec<tokio_postgres::Row>> {
        let numbers = &numbers;
        Box::pin(async move { client.query(statement, &[numbers]).await.map_err(DbError::from) })
    };
    let flight = vec![
        removal(&statements.drop_events),
        removal(&statements.drop_steps),
        removal(&statements.drop_jobs),
    ];
    in_order(flight).await?;
    let none: Vec<i64> = Vec::new();
    let counts = finish(client, statements, node, (&none, &ids), &counters, &BTreeMap::new()).await?;
    let pruned = Pruned { jobs: ids.len() as u64, more: full };
    let removed = ids.into_iter().map(JobId).collect();
    Ok((pruned, Some(Outcome { jobs: Vec::new(), removed, counts })))
}

async fn import(session: &Session, node: Uuid, jobs: &[ImportedJob]) -> Result<Outcome, DbError> {
    let Session { client, statements } = session;
    let ids: Vec<Uuid> = jobs.iter().map(|imported| imported.job.id.0).collect();
    client.batch_execute("begin").await?;
    let there = client.query_opt("select id from job where id = any($1) limit 1", &[&ids]).await?;
    if let Some(row) = there {
        let id = JobId(get(&row, 0)?);
        return Err(StoreError::from(Refusal::Exists { id }).into());
    }
    let drawn = client.query(&statements.numbers, &[&(jobs.len() as i64)]).await?;
    let numbers = drawn.iter().map(|row| get::<i64>(row, 0)).collect::<Result<Vec<_>, _>>()?;
    let mut counters: BTreeMap<(String, i64), i64> = BTreeMap::new();
    let mut ended: BTreeMap<(i64, i64), i64> = BTreeMap::new();
    let mut new = NewJobs::default();
    for (ImportedJob { job, .. }, &n) in jobs.iter().zip(&numbers) {
        new.push(n, job)?;
    }
    new.write(client, statements).await?;
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
        let status = status_number(job.status);
        let feature = super::text::stored(job.spec.feature.as_str()).into_owned();
        *counters.entry((feature, status)).or_default() += 1;
        if let Some(at) = job.ended_at {
            *ended.entry((at.day(), status)).or_default() += 1;
        }
    }
    let none: Vec<Uuid> = Vec::new();
    let counts = finish(client, statements, node, (&numbers, &none), &counters, &ended).await?;
    let jobs = jobs.iter().map(|imported| Arc::clone(&imported.job)).collect();
    Ok(Outcome { jobs, removed: Vec::new(), counts })
}

/// Counts, says what changed, and commits.
async fn finish(
    client: &Client,
    statements: &Statements,
    node: Uuid,
    (changed, removed): (&Vec<i64>, &Vec<Uuid>),
    counters: &BTreeMap<(String, i64), i64>,
    ended: &BTreeMap<(i64, i64), i64>,
) -> Result<Counts, DbError> {
    client.query(&statements.change, &[&node, changed, removed]).await?;
    if !ended.is_empty() {
        let days: Vec<i64> = ended.keys().map(|(day, _)| *day).collect();
        let kinds: Vec<i16> = ended.keys().map(|(_, status)| *status as i16).collect();
        let by: Vec<i64> = ended.values().copied().collect();
        client.query(&statements.add_ended, &[&SLOT, &days, &kinds, &by]).await?;
    }
    let by = counters.iter().map(|((feature, status), by)| (feature.as_str(), *status, *by));
    count(client, statements, SLOT, by).await?;
    let counts = rows::counts(&client.query(&statements.counts, &[]).await?)?;
    client.batch_execute("commit").await?;
    Ok(counts)
}

impl Session {
    /// Connects, and prepares what is asked often.
    pub(super) async fn open(place: &Place) -> Result<Self, StoreError> {
        let client = place.client().await?;
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
        Ok(Self { client, statements })
    }
}
