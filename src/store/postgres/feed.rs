//! How a node hears of the others, and they of it.
//!
//! One connection listens, notifies and says that the node lives. A notice holds nothing but its sender:
//! what changed is read from the table of changes, so that a notice lost, late or out of order costs nothing
//! but a moment. The place read up to is a snapshot of the database, not a number: rows it does not see are
//! those of transactions after it and of those it saw running, so each row is read once, and a transaction
//! that stays open for hours, in whatever database of the instance, does not bring the same rows up again.
//! Notices are sent outside the transactions that cause them and at most one each few milliseconds: a NOTIFY
//! inside each was measured to cost 71 to 90 % of the write rate. The same connection holds the lock of
//! whoever does what must be done once.
//!
//! It also fetches the jobs, and asks for the database's time: readers that are slow, or many, must not make the node deaf. An answer that does
//! not come in time ends the connection, and with it the lead; the next connection reads on from where the
//! last one was. The first reads on from what the database held before anything else was asked of it, so
//! that whoever reads from the store hears of all that comes after.
//!
//! Given up: telling changes in the notice itself. It holds 8 000 bytes, is not kept for who is away, and
//! would make two ways for data where one is enough.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{ClientWrapper, GenericClient, Transaction};
use futures::FutureExt as _;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_postgres::{AsyncMessage, Client, IsolationLevel};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::connect::{DatabaseAddress, answered_within, unavailable};
use super::node_view::NodeView;
use super::reader;
use super::rows::get;
use crate::model::{Job, JobFilter, JobId, PageSize, Timestamp};
use crate::store::{NodeRecord, StoreError};
use crate::watch::panic_words;

/// Notices are this far apart at least.
const NOTICE_EVERY: Duration = Duration::from_millis(8);
/// Without a notice the changes are read this often.
const READ_EVERY: Duration = Duration::from_millis(500);
/// A node says this often that it lives, and asks for the lead.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// Everything open is compared this often, whatever was heard.
const COMPARE_EVERY: Duration = Duration::from_secs(60);
/// Changes are kept this long; a node that was away longer compares everything.
pub(super) const KEPT: Duration = Duration::from_secs(600);
/// A node that was not heard of for this long is late.
pub(super) const LATE_AFTER: Duration = Duration::from_secs(5);
/// A node that was not heard of for this long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);
/// After this long without a word the server ends the session, and with it the lead.
const LEAD_LASTS: &str = "10s";
/// The feed waits no longer than this for an answer: whoever leads must not do so on old news for long.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Jobs are fetched in parts, each of which is answered soon: whoever was away gets on however much happened.
const FETCHED_AT_ONCE: usize = 500;
/// The leader looks at this many of the oldest changes with each beat for those to clear away.
const CLEARED_AT_ONCE: i64 = 20_000;
/// "LHld".
const LEADER_LOCK: i64 = 0x4c48_6c64;
const CHANNEL: &str = "longhaul";

type Clock = oneshot::Sender<Timestamp>;

pub(super) struct Feed {
    clock: mpsc::UnboundedSender<Clock>,
    stop: CancellationToken,
    ended: CancellationToken,
}

impl Feed {
    pub(super) fn start(
        place: DatabaseAddress,
        since: Seen,
        node: Uuid,
        name: String,
        shared: Arc<NodeView>,
        written: Arc<Notify>,
    ) -> Self {
        let stop = CancellationToken::new();
        let (clock, asked) = mpsc::unbounded_channel();
        let task = Task::new(place, since, node, name, shared, written, asked);
        let (stopped, ended) = (stop.clone(), CancellationToken::new());
        let ending = ended.clone().drop_guard();
        tokio::spawn(async move {
            task.run(stopped).await;
            drop(ending);
        });
        Self { clock, stop, ended }
    }

    /// What the database's clock shows: no earlier than this was asked.
    pub(super) async fn clock(&self) -> Result<Timestamp, StoreError> {
        let (reply, told) = oneshot::channel();
        let _ = self.clock.send(reply);
        let lost = |_| StoreError::Unavailable("the connection to the database broke".to_owned());
        answered_within(ANSWER_WITHIN, async { told.await.map_err(lost) }).await
    }

    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// Says goodbye to the other nodes, within a moment.
    pub(super) async fn finish(&self) {
        self.stop();
        let _ = tokio::time::timeout(Duration::from_secs(3), self.ended.cancelled()).await;
    }
}

/// A place in what happens to the database: all that a snapshot sees, in the server's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen(String);

/// The place now.
pub(super) async fn place_now(db: &impl GenericClient) -> Result<Seen, StoreError> {
    let row = db.query_one("select pg_current_snapshot()::text", &[]).await.map_err(unavailable)?;
    get(&row, 0).map(Seen)
}

/// What the database's clock shows.
async fn clock(db: &Client) -> Result<Timestamp, StoreError> {
    let sql = "select floor(extract(epoch from clock_timestamp()) * 1000)::bigint";
    let row = db.query_one(sql, &[]).await.map_err(unavailable)?;
    get(&row, 0).map(Timestamp)
}

/// A transaction that sees one moment: jobs are fetched as they stood at the place the changes are complete
/// up to, each with its own steps.
async fn moment(client: &mut ClientWrapper) -> Result<Transaction<'_>, StoreError> {
    let begun = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
    begun.start().await.map_err(unavailable)
}

/// What the other nodes than `$2` changed since the snapshot `$1`: what that does not see, in two parts, so
/// that an index finds it however long some transaction has been open.
const NEWS: &str = "with news as (\
           select jobs, removed from change \
             where xid >= pg_snapshot_xmax($1::text::pg_snapshot) and node <> $2 \
           union all select jobs, removed from change \
             where xid = any (array(select pg_snapshot_xip($1::text::pg_snapshot))) and node <> $2) \
         select pg_current_snapshot()::text, \
           coalesce((select array_agg(distinct n) from news, unnest(jobs) n), '{}'), \
           coalesce((select array_agg(distinct r) from news, unnest(removed) r), '{}')";

/// What other nodes changed since a place.
#[derive(Debug, PartialEq, Eq)]
struct FeedDelta {
    /// The jobs, by their numbers.
    jobs: Vec<i64>,
    removed: Vec<Uuid>,
    /// The place it is complete up to.
    seen: Seen,
}

/// Reads what other nodes than `me` changed since a place, each change once. `db` is a transaction: the
/// changes and the place they are complete up to are of one moment.
async fn news(db: &impl GenericClient, since: &Seen, me: Uuid) -> Result<FeedDelta, StoreError> {
    let found = reader::ask(db, NEWS, &[&since.0, &me]).await?;
    let Some(row) = found.first() else {
        return Err(StoreError::Corrupt("the database answered too little".to_owned()));
    };
    Ok(FeedDelta { seen: Seen(get(row, 0)?), jobs: get(row, 1)?, removed: get(row, 2)? })
}

struct Task {
    place: DatabaseAddress,
    node: Uuid,
    name: String,
    shared: Arc<NodeView>,
    written: Arc<Notify>,
    /// Who wants to know the database's time.
    asked: mpsc::UnboundedReceiver<Clock>,
    /// Everything up to here has been read.
    seen: Seen,
    last_read: Instant,
    /// This session has the lock of the leader.
    has_lock: bool,
    /// [`ANSWER_WITHIN`].
    patience: Duration,
}

impl Task {
    fn new(
        place: DatabaseAddress,
        seen: Seen,
        node: Uuid,
        name: String,
        shared: Arc<NodeView>,
        written: Arc<Notify>,
        asked: mpsc::UnboundedReceiver<Clock>,
    ) -> Self {
        let last_read = Instant::now();
        shared.set_heard(last_read);
        Self {
            place,
            node,
            name,
            shared,
            written,
            asked,
            seen,
            last_read,
            has_lock: false,
            patience: ANSWER_WITHIN,
        }
    }

    /// Waits for an answer of the database, and no longer than it may take.
    async fn answered<T>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        answered_within(self.patience, answer).await
    }

    async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let listened = AssertUnwindSafe(self.listen(&stop)).catch_unwind().await;
            let listened = listened.unwrap_or_else(|panic| {
                let reason = panic_words(&*panic);
                Err(StoreError::Unavailable(format!("a fault of the program ({reason})")))
            });
            if let Err(error) = listened {
                self.shared.set_leads(false);
                self.shared.set_feed_error(Some(error.to_string()));
                tracing::warn!(error = %error, "Other nodes cannot be heard");
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(500)) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
        self.shared.set_leads(false);
    }

    /// Listens until the connection breaks or the store is closed.
    async fn listen(&mut self, stop: &CancellationToken) -> Result<(), StoreError> {
        let (client, mut wire) = self.place.connect().await?;
        let (heard, mut notices) = mpsc::channel::<()>(1);
        let me = self.node.to_string();
        let driver = tokio::spawn(async move {
            while let Some(message) = std::future::poll_fn(|context| wire.poll_message(context)).await {
                match message {
                    Ok(AsyncMessage::Notification(notice)) if notice.payload() != me => {
                        // One that waits stands for all that come before it is looked at.
                        let _ = heard.try_send(());
                    }
                    Ok(_) => {}
                    Err(error) => {
                        tracing::debug!(error = %error, "The listening connection ended");
                        break;
                    }
                }
            }
        });
        // It ends with the client.
        let mut client = ClientWrapper::new(client, driver);
        let listened = self.follow(&mut client, &mut notices, stop).await;
        if stop.is_cancelled() {
            let gone = async { client.execute("delete from node where id = $1", &[&self.node]).await };
            let _ = tokio::time::timeout(Duration::from_secs(2), gone).await;
        }
        listened
    }

    async fn follow(
        &mut self,
        client: &mut ClientWrapper,
        notices: &mut mpsc::Receiver<()>,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        self.has_lock = false;
        // What is asked here is found by an index, whatever the planner believes of tables that grow and
        // shrink within minutes.
        let patience = self.patience.as_millis();
        let set = format!(
            "set idle_session_timeout = '{LEAD_LASTS}'; \
             set idle_in_transaction_session_timeout = '{LEAD_LASTS}'; \
             set statement_timeout = {patience}; set enable_seqscan = off; listen {CHANNEL}"
        );
        self.answered(async { client.batch_execute(&set).await.map_err(unavailable) }).await?;
        self.read(client).await?;
        // What was cleared away meanwhile, and what a database that died or was replaced has numbered anew,
        // is not among the changes.
        self.compare(client).await?;
        // Last: whoever leads judges by what it has heard.
        self.beat(client).await?;
        self.shared.set_feed_error(None);
        let every = |span| {
            let mut ticks = tokio::time::interval_at(Instant::now() + span, span);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        let (mut reads, mut beats, mut compares) =
            (every(READ_EVERY), every(BEAT_EVERY), every(COMPARE_EVERY));
        let mut noticed = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                heard = notices.recv() => match heard {
                    Some(()) => self.read(client).await?,
                    None => return Err(StoreError::Unavailable("the connection to the database broke".to_owned())),
                },
                () = self.written.notified() => {
                    // What is written meanwhile is told by the same notice.
                    tokio::time::sleep_until(noticed + NOTICE_EVERY).await;
                    let me = self.node.to_string();
                    let told = async { client.execute("select pg_notify($1, $2)", &[&CHANNEL, &me]).await };
                    self.answered(async { told.await.map_err(unavailable) }).await?;
                    noticed = Instant::now();
                }
                // Those who asked while there was no connection have given up.
                Some(reply) = self.asked.recv() => if !reply.is_closed() {
                    let _ = reply.send(self.answered(clock(client)).await?);
                },
                _ = reads.tick() => self.read(client).await?,
                _ = beats.tick() => self.beat(client).await?,
                _ = compares.tick() => self.compare(client).await?,
            }
        }
    }

    /// Says that the node lives, asks for the lead, and as the leader clears away what is old.
    async fn beat(&mut self, client: &Client) -> Result<(), StoreError> {
        let alive = "insert into node (id, name) values ($1, $2) \
             on conflict (id) do update set seen_at = now(), name = excluded.name";
        let beaten = async { client.execute(alive, &[&self.node, &self.name]).await.map_err(unavailable) };
        self.answered(beaten).await?;
        let led = self.shared.leads();
        match (self.shared.may_lead(), self.has_lock) {
            (true, false) => self.has_lock = self.lock(client, "select pg_try_advisory_lock($1)").await?,
            (false, true) => {
                self.shared.set_leads(false);
                self.lock(client, "select pg_advisory_unlock($1)").await?;
                self.has_lock = false;
            }
            _ => {}
        }
        self.shared.set_leads(self.has_lock);
        if led
            && self.has_lock
            && let Err(error) = self.answered(clear_away(client)).await
        {
            // What is left there longer costs room, and not the lead.
            tracing::warn!(error = %error, "Old changes could not be cleared away");
        }
        let nodes = self.answered(nodes(client, self.node)).await?;
        self.shared.set_nodes(nodes);
        Ok(())
    }

    async fn lock(&self, client: &Client, sql: &str) -> Result<bool, StoreError> {
        let asked = async { client.query_one(sql, &[&LEADER_LOCK]).await.map_err(unavailable) };
        get(&self.answered(asked).await?, 0)
    }

    /// Reads what other nodes changed since the last time.
    async fn read(&mut self, client: &mut ClientWrapper) -> Result<(), StoreError> {
        let away = self.last_read.elapsed();
        let written = self.shared.written();
        let db = self.answered(moment(client)).await?;
        let FeedDelta { jobs, removed, seen } = self.answered(news(&db, &self.seen, self.node)).await?;
        // With nothing new too: counters that this node wrote do not know of what others committed meanwhile.
        let counts = self.answered(reader::counts(&db)).await?;
        for some in jobs.chunks(FETCHED_AT_ONCE) {
            let jobs = self.answered(reader::jobs_where(&db, "n = any($1)", &some)).await?;
            self.shared.hear(written, jobs, Vec::new(), counts);
        }
        self.shared.hear(written, Vec::new(), removed.into_iter().map(JobId).collect(), counts);
        drop(db);
        self.seen = seen;
        self.last_read = Instant::now();
        self.shared.set_heard(self.last_read);
        if away > KEPT / 2 {
            self.compare(client).await?;
        }
        Ok(())
    }

    /// Compares what is believed to be open with what is.
    async fn compare(&mut self, client: &mut ClientWrapper) -> Result<(), StoreError> {
        let (written, believed) = (self.shared.written(), self.shared.open_ids());
        let db = self.answered(moment(client)).await?;
        let (mut open, mut after): (Vec<Arc<Job>>, _) = (Vec::new(), None);
        let filter = JobFilter { only_open: true, ..JobFilter::default() };
        loop {
            let size = PageSize::new(Some(PageSize::MAX as u32)).unwrap_or_default();
            let page = self.answered(reader::list(&db, &filter, after, size)).await?;
            open.extend(page.jobs);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let is_open: std::collections::HashSet<JobId> = open.iter().map(|job| job.id).collect();
        let ended: Vec<Uuid> = believed.difference(&is_open).map(|id| id.0).collect();
        let mut removed = Vec::new();
        for some in ended.chunks(FETCHED_AT_ONCE) {
            let jobs = self.answered(reader::jobs_where(&db, "id = any($1)", &some)).await?;
            let kept: std::collections::HashSet<Uuid> = jobs.iter().map(|job| job.id.0).collect();
            removed.extend(some.iter().filter(|id| !kept.contains(id)).copied().map(JobId));
            open.extend(jobs);
        }
        let counts = self.answered(reader::counts(&db)).await?;
        self.shared.hear(written, open, removed, counts);
        Ok(())
    }
}

/// Removes changes and nodes that nobody asks for any more. Of the changes only the oldest are looked at:
/// all of them would take too long where there are many. Where they are few all are, also those whose number
/// is still to come: they were restored from another server's dump.
async fn clear_away(db: &Client) -> Result<(), StoreError> {
    let (kept, forgotten) = (KEPT.as_secs_f64(), FORGOTTEN_AFTER.as_secs_f64());
    let changes = "delete from change where at < now() - make_interval(secs => $1) and xid < coalesce(\
         (select xid from change order by xid offset $2 limit 1), '18446744073709551615'::xid8)";
    db.execute(changes, &[&kept, &CLEARED_AT_ONCE]).await.map_err(unavailable)?;
    let nodes = "delete from node where seen_at < now() - make_interval(secs => $1)";
    db.execute(nodes, &[&forgotten]).await.map_err(unavailable)?;
    Ok(())
}

/// The servers that share the database, by name.
async fn nodes(db: &Client, me: Uuid) -> Result<Vec<NodeRecord>, StoreError> {
    let found = db
        .query(
            "select id, name, (extract(epoch from seen_at) * 1000)::bigint, \
             seen_at < now() - make_interval(secs => $1) and not exists (select 1 from node successor \
               where successor.name = node.name and successor.started_at > node.seen_at) \
             from node order by name collate \"C\", id",
            &[&LATE_AFTER.as_secs_f64()],
        )
        .await
        .map_err(unavailable)?;
    found
        .iter()
        .map(|row| {
            let id: Uuid = get(row, 0)?;
            let (name, seen_at, late) = (get(row, 1)?, Timestamp(get(row, 2)?), get(row, 3)?);
            Ok(NodeRecord { id, name, seen_at, late, here: id == me })
        })
        .collect()
}

#[cfg(test)]
mod tests;
