//! How a node hears of the others, and they of it.
//!
//! One connection listens, notifies and says that the node lives. A notice holds nothing but its sender:
//! what changed is read from the table of changes, from the last place known to be complete, so that a
//! notice lost, late or out of order costs nothing but a moment. Notices are sent outside the transactions
//! that cause them and at most one each few milliseconds: a NOTIFY inside each was measured to cost 71 to
//! 90 % of the write rate. The same connection holds the lock of whoever does what must be done once.
//!
//! Given up: telling changes in the notice itself. It holds 8 000 bytes, is not kept for who is away, and
//! would make two ways for data where one is enough.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_postgres::{AsyncMessage, Client};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::connect::{Place, unavailable};
use super::reader;
use super::rows::get;
use super::shared::Shared;
use crate::model::{Job, JobFilter, JobId, PageSize, Timestamp};
use crate::store::{NodeRecord, StoreError};

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
/// "LHld".
const LEADER_LOCK: i64 = 0x4c48_6c64;
const CHANNEL: &str = "longhaul";

pub(super) struct Feed {
    stop: CancellationToken,
    ended: CancellationToken,
}

impl Feed {
    pub(super) fn start(
        place: Place,
        pool: Pool,
        node: Uuid,
        name: String,
        shared: Arc<Shared>,
        written: Arc<Notify>,
    ) -> Self {
        let stop = CancellationToken::new();
        let task = Task { place, pool, node, name, shared, written, cursor: None, last_read: Instant::now() };
        let (stopped, ended) = (stop.clone(), CancellationToken::new());
        let ending = ended.clone().drop_guard();
        tokio::spawn(async move {
            task.run(stopped).await;
            drop(ending);
        });
        Self { stop, ended }
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

struct Task {
    place: Place,
    pool: Pool,
    node: Uuid,
    name: String,
    shared: Arc<Shared>,
    written: Arc<Notify>,
    /// Everything of transactions before this number has been read.
    cursor: Option<String>,
    last_read: Instant,
}

impl Task {
    async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.listen(&stop).await {
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
        let listened = self.follow(&client, &mut notices, stop).await;
        if stop.is_cancelled() {
            let gone = async { client.execute("delete from node where id = $1", &[&self.node]).await };
            let _ = tokio::time::timeout(Duration::from_secs(2), gone).await;
        }
        drop(client);
        driver.abort();
        listened
    }

    async fn follow(
        &mut self,
        client: &Client,
        notices: &mut mpsc::Receiver<()>,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        client
            .batch_execute(&format!("set idle_session_timeout = '{LEAD_LASTS}'; listen {CHANNEL}"))
            .await
            .map_err(unavailable)?;
        self.read(client).await?;
        self.compare().await?;
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
                    client
                        .execute("select pg_notify($1, $2)", &[&CHANNEL, &self.node.to_string()])
                        .await
                        .map_err(unavailable)?;
                    noticed = Instant::now();
                }
                _ = reads.tick() => self.read(client).await?,
                _ = beats.tick() => self.beat(client).await?,
                _ = compares.tick() => self.compare().await?,
            }
        }
    }

    /// Says that the node lives, asks for the lead, and as the leader clears away what is old.
    async fn beat(&mut self, client: &Client) -> Result<(), StoreError> {
        client
            .execute(
                "insert into node (id, name) values ($1, $2) \
                 on conflict (id) do update set seen_at = now(), name = excluded.name",
                &[&self.node, &self.name],
            )
            .await
            .map_err(unavailable)?;
        if !self.shared.leads() {
            let row = client
                .query_one("select pg_try_advisory_lock($1)", &[&LEADER_LOCK])
                .await
                .map_err(unavailable)?;
            let leads: bool = get(&row, 0)?;
            self.shared.set_leads(leads);
        } else {
            let (kept, forgotten) = (KEPT.as_secs_f64(), FORGOTTEN_AFTER.as_secs_f64());
            client
                .execute("delete from change where at < now() - make_interval(secs => $1)", &[&kept])
                .await
                .map_err(unavailable)?;
            client
                .execute("delete from node where seen_at < now() - make_interval(secs => $1)", &[&forgotten])
                .await
                .map_err(unavailable)?;
        }
        self.shared.set_nodes(nodes(client, self.node).await?);
        Ok(())
    }

    /// Reads what other nodes changed since the last time.
    async fn read(&mut self, client: &Client) -> Result<(), StoreError> {
        let away = self.last_read.elapsed();
        // One statement, so that the changes and the place they are complete up to are of one moment.
        let found = client
            .query(
                "select pg_snapshot_xmin(pg_current_snapshot())::text, \
                 coalesce((select array_agg(distinct n) from change, unnest(jobs) n \
                    where xid >= $1::text::xid8 and node <> $2), '{}'), \
                 coalesce((select array_agg(distinct r) from change, unnest(removed) r \
                    where xid >= $1::text::xid8 and node <> $2), '{}')",
                &[&self.cursor.as_deref().unwrap_or("0"), &self.node],
            )
            .await
            .map_err(unavailable)?;
        let Some(row) = found.first() else { return Ok(()) };
        let complete: String = get(row, 0)?;
        let (jobs, removed): (Vec<i64>, Vec<Uuid>) = (get(row, 1)?, get(row, 2)?);
        let first = self.cursor.is_none();
        if !first {
            let db = super::connection(&self.pool).await?;
            let counts = reader::counts(&db).await?;
            let jobs = match jobs.is_empty() {
                true => Vec::new(),
                false => reader::jobs_where(&db, "n = any($1)", &jobs).await?,
            };
            self.shared.publish(jobs, removed.into_iter().map(JobId).collect(), counts);
        }
        self.cursor = Some(complete);
        self.last_read = Instant::now();
        self.shared.set_feed_error(None);
        if away > KEPT / 2 {
            self.compare().await?;
        }
        Ok(())
    }

    /// Compares what is believed to be open with what is.
    async fn compare(&mut self) -> Result<(), StoreError> {
        let believed = self.shared.open_ids();
        let db = super::connection(&self.pool).await?;
        let (mut open, mut after): (Vec<Arc<Job>>, _) = (Vec::new(), None);
        let filter = JobFilter { only_open: true, ..JobFilter::default() };
        loop {
            let size = PageSize::new(Some(PageSize::MAX as u32)).unwrap_or_default();
            let page = reader::list(&db, &filter, after, size).await?;
            open.extend(page.jobs);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let is_open: std::collections::HashSet<JobId> = open.iter().map(|job| job.id).collect();
        let ended: Vec<Uuid> = believed.iter().filter(|id| !is_open.contains(id)).map(|id| id.0).collect();
        let ended_jobs = match ended.is_empty() {
            true => Vec::new(),
            false => reader::jobs_where(&db, "id = any($1)", &ended).await?,
        };
        let kept: std::collections::HashSet<Uuid> = ended_jobs.iter().map(|job| job.id.0).collect();
        let removed = ended.into_iter().filter(|id| !kept.contains(id)).map(JobId).collect();
        open.extend(ended_jobs);
        let counts = reader::counts(&db).await?;
        self.shared.publish(open, removed, counts);
        Ok(())
    }
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
