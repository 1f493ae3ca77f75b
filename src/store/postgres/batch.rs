//! One transaction over all operations that wait: locks their jobs, decides, writes what changed.
//!
//! It takes two flights of messages, whatever the number of operations: one that begins, locks and reads,
//! one that writes and commits. Every node locks in the same order (the rules for new jobs, then jobs by
//! id), so that nodes wait for each other and do not deadlock.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::connect::{ANSWERS_WITHIN, DbError, answered_within, unavailable};
use super::job_columns::{ChangedJobs, NewJobs};
use super::node_view::NodeView;
use super::reader;
use super::rows::{self, EventColumns, LeftOutColumns, Statements, StepColumns, TagColumns, get};
use super::text::{original, stored};
use super::writer::{Doubtful, Failure, Op, Session, commit};
use crate::model::{Command, Context, Counts, Job, JobId, NewJob, Refusal, Spec, Timestamp};
use crate::store::ledger::{self, Tally};
use crate::store::record::execution_number;
use crate::store::{CreateRules, Created, IdempotencyKey, StoreError};
use crate::watch::guarded;

/// Whoever holds it decides whether a job may be made: limits hold across nodes. "LHad".
const ADMISSION_LOCK: i64 = 0x4c48_6164;

/// Each statement sees what was committed before it, whatever the database does by default: who has waited
/// for a lock must see what was done under it.
pub(super) const BEGIN: &str = "begin isolation level read committed";

/// What to tell a caller once the transaction has happened.
pub(super) enum Answer {
    Created(Result<Created, StoreError>),
    Transacted(Result<Arc<Job>, StoreError>),
}

/// A transaction's result.
pub(super) struct Done {
    pub(super) answers: Vec<Answer>,
    pub(super) changed: Vec<Arc<Job>>,
    /// How many jobs there now are; nothing where nothing changed.
    pub(super) counts: Option<Counts>,
}

pub(super) type Sent<'a, T> = Pin<Box<dyn Future<Output = Result<T, DbError>> + Send + 'a>>;

/// Sends all, in this order, before it waits for the first: that is what makes them one flight.
pub(super) async fn in_order<T>(mut sent: Vec<Sent<'_, T>>) -> Result<Vec<T>, DbError> {
    let mut results: Vec<Option<Result<T, DbError>>> = sent.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        let mut waiting = false;
        for (future, result) in sent.iter_mut().zip(&mut results) {
            if result.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(ready) => *result = Some(ready),
                    Poll::Pending => waiting = true,
                }
            }
        }
        if waiting { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    // The first failure is the cause; those behind it only say that the transaction is broken.
    results.into_iter().flatten().collect()
}

/// What the first flight brings beside the jobs.
struct Read {
    /// What is wrong with jobs that cannot be read. Operations on the other jobs of the batch go on.
    unreadable: HashMap<JobId, StoreError>,
    /// For the rows of new jobs.
    numbers: Vec<i64>,
    counts: Counts,
    /// The jobs that have not ended, by feature and by who runs them, where a rule asks.
    of_feature: HashMap<(String, i64), Vec<JobId>>,
    /// The active jobs of the owners that start one.
    active_of: HashMap<String, Vec<JobId>>,
    /// What was asked for with each key, and the job, while it is kept.
    keys: HashMap<String, (String, Option<JobId>)>,
}

/// Has the operations decided and committed.
pub(super) async fn run(
    session: &Session,
    known: &NodeView,
    node: Uuid,
    slot: i16,
    ops: &[Op],
) -> Result<Done, (Failure, Done)> {
    let nothing = || Done { answers: Vec::new(), changed: Vec::new(), counts: None };
    let read = answered_within(ANSWERS_WITHIN, read(session, known, ops)).await;
    let (jobs, read) = read.map_err(|error| (error.into(), nothing()))?;
    let mut batch = Batch::new(jobs, read);
    let mut answers = Vec::with_capacity(ops.len());
    for op in ops {
        match op {
            Op::Create { new, rules, context, .. } => {
                answers.push(Answer::Created(guarded(new.id, || batch.create(new, rules, context))));
            }
            Op::Transact { id, command, context, .. } => {
                let result = guarded(*id, || batch.transact(*id, command.clone(), context));
                answers.push(Answer::Transacted(result));
            }
            Op::Probe { .. } | Op::Close { .. } => {}
        }
    }
    if let Err(error) = answered_within(ANSWERS_WITHIN, batch.recall(session, &mut answers)).await {
        return Err((error.into(), nothing()));
    }
    batch.write(session, node, slot, answers).await
}

/// No revision of a job.
const UNKNOWN: i64 = -1;

/// The jobs of these operations, locked, and what their rules ask for. The steps of a job that nobody else has
/// changed are those the node knows: there may be ten thousand, and a report touches few.
async fn read(session: &Session, known: &NodeView, ops: &[Op]) -> Result<(Vec<(i64, Job)>, Read), DbError> {
    let Session { client, statements, .. } = session;
    let mut ids = BTreeSet::new();
    let mut features = BTreeSet::new();
    let mut keys = BTreeSet::new();
    let mut owners = BTreeSet::new();
    let (mut creates, mut guarded) = (0_i64, false);
    for op in ops {
        match op {
            Op::Transact { id, .. } => {
                ids.insert(id.0);
            }
            Op::Create { new, rules, .. } => {
                creates += 1;
                guarded |= rules.max_active.is_some() || rules.one_per_feature || rules.idempotency.is_some();
                if rules.one_per_feature {
                    features.insert(stored(new.spec.feature.as_str()).into_owned());
                }
                if rules.max_active_each.is_some() {
                    owners.insert(stored(&new.spec.owner).into_owned());
                }
                if let Some(key) = &rules.idempotency {
                    keys.insert(stored(&key.key).into_owned());
                }
            }
            Op::Probe { .. } | Op::Close { .. } => {}
        }
    }
    let ids: Vec<Uuid> = ids.into_iter().collect();
    let known: HashMap<JobId, Arc<Job>> =
        ids.iter().filter_map(|id| known.open_job(JobId(*id))).map(|job| (job.id, job)).collect();
    let revisions: Vec<i64> =
        ids.iter().map(|id| known.get(&JobId(*id)).map_or(UNKNOWN, |job| job.revision as i64)).collect();
    let features: Vec<String> = features.into_iter().collect();
    let keys: Vec<String> = keys.into_iter().collect();
    let owners: Vec<String> = owners.into_iter().collect();
    let lock = ADMISSION_LOCK;
    let none = || -> Sent<'_, Vec<Row>> { Box::pin(async { Ok(Vec::new()) }) };
    macro_rules! ask {
        ($when:expr, $statement:expr, $values:expr) => {
            if $when {
                let values = $values;
                Box::pin(async move { client.query($statement, &values).await.map_err(DbError::from) })
            } else {
                none()
            }
        };
    }
    let flight: Vec<Sent<'_, Vec<Row>>> = vec![
        Box::pin(async { client.batch_execute(BEGIN).await.map(|()| Vec::new()).map_err(DbError::from) }),
        ask!(guarded, &statements.admit, [&lock as &(dyn tokio_postgres::types::ToSql + Sync)]),
        ask!(!ids.is_empty(), &statements.lock, [&ids as &(dyn tokio_postgres::types::ToSql + Sync)]),
        ask!(
            !ids.is_empty(),
            &statements.steps,
            [&ids as &(dyn tokio_postgres::types::ToSql + Sync), &revisions]
        ),
        ask!(creates > 0, &statements.numbers, [&creates as &(dyn tokio_postgres::types::ToSql + Sync)]),
        ask!(guarded, &statements.counts, []),
        ask!(
            !features.is_empty(),
            &statements.open_of,
            [&features as &(dyn tokio_postgres::types::ToSql + Sync)]
        ),
        ask!(!keys.is_empty(), &statements.keys, [&keys as &(dyn tokio_postgres::types::ToSql + Sync)]),
        ask!(
            !owners.is_empty(),
            &statements.active_of,
            [&owners as &(dyn tokio_postgres::types::ToSql + Sync)]
        ),
    ];
    let mut answered = in_order(flight).await?.into_iter();
    let mut next = || answered.next().unwrap_or_default();
    let (_, _) = (next(), next());
    let (jobs, steps, numbers, counts, of_feature, keys) = (next(), next(), next(), next(), next(), next());
    let mut active_of: HashMap<String, Vec<JobId>> = HashMap::new();
    for row in &next() {
        active_of.entry(original(get(row, 0)?)).or_default().push(JobId(get(row, 1)?));
    }
    let mut open_of: HashMap<(String, i64), Vec<JobId>> = HashMap::new();
    for row in &of_feature {
        let sort = (get(row, 0)?, i64::from(get::<i16>(row, 2)?));
        open_of.entry(sort).or_default().push(JobId(get(row, 1)?));
    }
    let (mut jobs, unreadable) = reader::each_with_steps(&jobs, &steps)?;
    for (_, job) in &mut jobs {
        if let Some(known) = known.get(&job.id).filter(|known| known.revision == job.revision) {
            job.steps = Arc::clone(&known.steps);
        }
    }
    let read = Read {
        unreadable,
        numbers: numbers.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?,
        counts: rows::counts(&counts)?,
        of_feature: open_of,
        active_of,
        keys: keys
            .iter()
            .map(|row| {
                let job = get::<Option<Uuid>>(row, 2)?.map(JobId);
                Ok((get::<String>(row, 0)?, (get::<String>(row, 1)?, job)))
            })
            .collect::<Result<_, StoreError>>()?,
    };
    Ok((jobs, read))
}

/// A job of a batch, with its row number.
type Pending = ledger::Pending<i64>;

struct Batch {
    jobs: HashMap<JobId, Pending>,
    /// What was read, with what new jobs add to it.
    read: Read,
    new_keys: Vec<(IdempotencyKey, JobId, Timestamp)>,
    tally: Tally,
}

/// What there may be only one of, where that is asked for: see `ledger::admit`.
fn sort_of(spec: &Spec) -> (String, i64) {
    (stored(spec.feature.as_str()).into_owned(), execution_number(spec.execution))
}

impl Batch {
    fn new(jobs: Vec<(i64, Job)>, read: Read) -> Self {
        let jobs = jobs.into_iter().map(|(n, job)| (job.id, Pending::stored(n, Arc::new(job)))).collect();
        let tally = Tally::new(read.counts);
        Self { jobs, read, new_keys: Vec::new(), tally }
    }

    fn create(
        &mut self,
        new: &NewJob,
        rules: &CreateRules,
        context: &Context,
    ) -> Result<Created, StoreError> {
        if let Some(key) = &rules.idempotency
            && let Some((fingerprint, id)) = self.read.keys.get(&*stored(&key.key))
        {
            if *fingerprint != *stored(&key.fingerprint) {
                return Err(Refusal::KeyReused.into());
            }
            // A job of this batch is at hand; another one is fetched by `recall`. One that history removed leaves its
            // key to the next.
            if let Some(id) = id {
                return match self.jobs.get(id) {
                    Some(pending) => Ok(Created { job: Arc::clone(&pending.job), replayed: true }),
                    None => Err(StoreError::Refused(Refusal::NotFound { id: *id })),
                };
            }
        }
        self.admit(new, rules)?;
        let Some(n) = self.read.numbers.pop() else {
            return Err(StoreError::Corrupt("the database gave too few numbers".to_owned()));
        };
        let (job, event) = Job::create(new.clone(), context)?;
        let job = Arc::new(job);
        if let Some(key) = &rules.idempotency {
            let known = (stored(&key.fingerprint).into_owned(), Some(job.id));
            self.read.keys.insert(stored(&key.key).into_owned(), known);
            self.new_keys.push((key.clone(), job.id, context.at));
        }
        self.read.of_feature.entry(sort_of(&job.spec)).or_default().push(job.id);
        self.read.active_of.entry(job.spec.owner.clone()).or_default().push(job.id);
        self.tally.count(&stored(job.spec.feature.as_str()), None, &job);
        self.jobs.insert(job.id, Pending::made(n, Arc::clone(&job), event));
        Ok(Created { job, replayed: false })
    }

    fn admit(&self, new: &NewJob, rules: &CreateRules) -> Result<(), StoreError> {
        let Read { of_feature, active_of, .. } = &self.read;
        let another =
            || of_feature.get(&sort_of(&new.spec))?.iter().copied().find(|other| self.is_open(*other));
        let of_owner = || {
            let active = |id: &&JobId| self.jobs.get(id).is_none_or(|pending| pending.job.status.is_active());
            active_of.get(&new.spec.owner).map_or(0, |ids| ids.iter().filter(active).count())
        };
        Ok(ledger::admit(new, rules, &self.tally.counts, another, of_owner)?)
    }

    /// Whether a job that was open when the transaction began, or was made in it, still is.
    fn is_open(&self, id: JobId) -> bool {
        self.jobs.get(&id).is_none_or(|pending| !pending.job.status.is_final())
    }

    fn transact(&mut self, id: JobId, command: Command, context: &Context) -> Result<Arc<Job>, StoreError> {
        let pending = match self.jobs.entry(id) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) => {
                let unreadable = self.read.unreadable.get(&id).cloned();
                return Err(unreadable.unwrap_or_else(|| Refusal::NotFound { id }.into()));
            }
        };
        let before = Arc::clone(&pending.job);
        let job = pending.transact(command, context)?;
        self.tally.count(&stored(job.spec.feature.as_str()), Some(&before), &job);
        Ok(job)
    }

    /// Fetches the jobs that earlier requests with the same keys had made.
    async fn recall(&self, session: &Session, answers: &mut [Answer]) -> Result<(), DbError> {
        for answer in answers {
            let Answer::Created(Err(StoreError::Refused(Refusal::NotFound { id }))) = answer else {
                continue;
            };
            let id = *id;
            let ids = vec![id.0];
            let (jobs, steps) = (
                session.client.query(&session.statements.lock, &[&ids]).await?,
                session.client.query(&session.statements.steps, &[&ids, &vec![UNKNOWN]]).await?,
            );
            if let Some((_, job)) = rows::with_steps(&jobs, &steps)?.pop() {
                *answer = Answer::Created(Ok(Created { job: Arc::new(job), replayed: true }));
            }
        }
        Ok(())
    }

    /// Writes what changed, each job once, and commits.
    async fn write(
        mut self,
        session: &Session,
        node: Uuid,
        slot: i16,
        answers: Vec<Answer>,
    ) -> Result<Done, (Failure, Done)> {
        let Session { client, .. } = session;
        self.jobs.retain(|_, pending| pending.changed);
        if self.jobs.is_empty() {
            // Nothing was written that would do harm if it were written twice.
            let ended = async { client.batch_execute("commit").await.map_err(DbError::from) };
            let ended = answered_within(ANSWERS_WITHIN, ended).await;
            let done = Done { answers, changed: Vec::new(), counts: None };
            return match ended {
                Ok(()) => Ok(done),
                Err(error) => Err((error.into(), done)),
            };
        }
        let mut writes = Writes::default();
        let mut broken = None;
        for pending in self.jobs.values() {
            broken = broken.or(writes.add(pending).err());
        }
        let changed: Vec<Arc<Job>> = self.jobs.values().map(|pending| Arc::clone(&pending.job)).collect();
        let done = |counts| Done { answers, changed, counts };
        if let Some(error) = broken {
            return Err((Failure::For(error), done(None)));
        }
        let flight = self.flight(session, node, slot, &writes);
        let rows = match answered_within(ANSWERS_WITHIN, in_order(flight)).await {
            Ok(rows) => rows,
            Err(error) => return Err((error.into(), done(None))),
        };
        let told = || -> Result<(Doubtful, Counts), StoreError> {
            let [.., change, counts] = rows.as_slice() else {
                return Err(StoreError::Corrupt("the database answered too little".to_owned()));
            };
            Ok((Doubtful::new(change, writes.numbers, Vec::new())?, rows::counts(counts)?))
        };
        let (doubtful, counts) = match told() {
            Ok(told) => told,
            Err(error) => return Err((Failure::For(error), done(None))),
        };
        match commit(client).await {
            Ok(()) => Ok(done(Some(counts))),
            Err(error) => Err((Failure::Unknown(error, doubtful), done(Some(counts)))),
        }
    }

    /// The writes, in the order they are sent. The last two answer with the transaction's number and the
    /// counters.
    fn flight<'a>(
        &'a self,
        session: &'a Session,
        node: Uuid,
        slot: i16,
        writes: &'a Writes,
    ) -> Vec<Sent<'a, Vec<Row>>> {
        let Session { client, statements, .. } = session;
        let Writes { numbers, new, changed, left_out, events, steps, replaced, unlisted, listed } = writes;
        let mut flight: Vec<Sent<'a, Vec<Row>>> = Vec::with_capacity(self.jobs.len() + 8);
        if !new.is_empty() {
            flight.push(Box::pin(async move {
                new.write(client, statements).await?;
                Ok(Vec::new())
            }));
        }
        if !changed.is_empty() {
            flight.push(Box::pin(async move {
                changed.write(client, statements).await?;
                Ok(Vec::new())
            }));
        }
        if !left_out.is_empty() {
            for statement in [&statements.drop_infos, &statements.drop_others] {
                flight.push(Box::pin(async move {
                    client.query(statement, &left_out.messages()).await.map_err(DbError::from)
                }));
            }
            flight.push(Box::pin(async move {
                client.query(&statements.drop_markers, &left_out.markers()).await.map_err(DbError::from)
            }));
        }
        if !events.is_empty() {
            flight.push(Box::pin(async move {
                events.write(client, statements).await?;
                Ok(Vec::new())
            }));
        }
        if !unlisted.is_empty() {
            flight.push(Box::pin(async move {
                unlisted.remove(client, statements).await?;
                Ok(Vec::new())
            }));
        }
        if !listed.is_empty() {
            flight.push(Box::pin(async move {
                listed.write(client, statements).await?;
                Ok(Vec::new())
            }));
        }
        if !replaced.is_empty() {
            flight.push(Box::pin(async move {
                client.query(&statements.drop_steps, &[replaced]).await.map_err(DbError::from)
            }));
        }
        if !steps.is_empty() {
            flight.push(Box::pin(async move {
                steps.write(client, statements).await?;
                Ok(Vec::new())
            }));
        }
        for (key, id, at) in &self.new_keys {
            flight.push(Box::pin(async move {
                let (key, fingerprint) = (stored(&key.key), stored(&key.fingerprint));
                client
                    .query(&statements.put_key, &[&key, &fingerprint, &id.0, &at.0])
                    .await
                    .map_err(DbError::from)
            }));
        }
        flight.push(count(client, statements, slot, self.tally.changed_jobs()));
        if !self.tally.ended.is_empty() {
            flight.push(count_ended(client, statements, slot, &self.tally));
        }
        let none: Vec<Uuid> = Vec::new();
        flight.push(Box::pin(async move {
            client.query(&statements.change, &[&node, &numbers, &none]).await.map_err(DbError::from)
        }));
        flight.push(Box::pin(
            async move { client.query(&statements.counts, &[]).await.map_err(DbError::from) },
        ));
        flight
    }
}

/// What a transaction writes.
#[derive(Default)]
struct Writes {
    numbers: Vec<i64>,
    new: NewJobs,
    changed: ChangedJobs,
    left_out: LeftOutColumns,
    events: EventColumns,
    steps: StepColumns,
    /// Jobs whose steps are all new.
    replaced: Vec<i64>,
    /// Places in the lists by label that are no more, and those that are new.
    unlisted: TagColumns,
    listed: TagColumns,
}

impl Writes {
    fn add(&mut self, pending: &Pending) -> Result<(), StoreError> {
        let (n, job) = (pending.n, &pending.job);
        self.numbers.push(n);
        match &pending.before {
            None => self.new.push(n, job)?,
            Some(_) => self.changed.push(n, job)?,
        }
        let before = pending.before.as_deref();
        if before.and_then(ledger::by_tag) != ledger::by_tag(job) {
            if let Some(before) = before {
                self.unlisted.push(n, before);
            }
            self.listed.push(n, job);
        }
        for left_out in &pending.left_out {
            self.left_out.push(n, left_out);
        }
        for event in &pending.events {
            self.events.push(n, event)?;
        }
        if pending.steps_replaced {
            self.replaced.push(n);
        }
        for &index in &pending.touched {
            if let Some(step) = job.steps.steps().get(index) {
                self.steps.push(n, index, step);
            }
        }
        Ok(())
    }
}

/// Adds to the counters.
pub(super) fn count<'a, 'b>(
    client: &'a Client,
    statements: &'a Statements,
    slot: i16,
    by: impl Iterator<Item = (&'b str, i64, i64)>,
) -> Sent<'a, Vec<Row>> {
    let (mut features, mut kinds, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    for (feature, status, by) in by {
        features.push(feature.to_owned());
        kinds.push(status as i16);
        numbers.push(by);
    }
    Box::pin(async move {
        if features.is_empty() {
            return Ok(Vec::new());
        }
        client
            .query(&statements.add_counters, &[&slot, &features, &kinds, &numbers])
            .await
            .map_err(DbError::from)
    })
}

/// Counts what ended.
pub(super) fn count_ended<'a>(
    client: &'a Client,
    statements: &'a Statements,
    slot: i16,
    tally: &Tally,
) -> Sent<'a, Vec<Row>> {
    let days: Vec<i64> = tally.ended.keys().map(|(day, _)| *day).collect();
    let kinds: Vec<i16> = tally.ended.keys().map(|(_, status)| *status as i16).collect();
    let by: Vec<i64> = tally.ended.values().copied().collect();
    Box::pin(async move {
        client.query(&statements.add_ended, &[&slot, &days, &kinds, &by]).await.map_err(DbError::from)
    })
}

/// A write that changes nothing: it needs a number and a commit, as every write does.
pub(super) async fn probe(client: &Client) -> Result<(), StoreError> {
    let written = async { client.batch_execute("begin; select pg_current_xact_id(); commit").await };
    answered_within(ANSWERS_WITHIN, async { written.await.map_err(unavailable) }).await
}
