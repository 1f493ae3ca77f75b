//! The task that carries what a logger was told to the store, and what stops the work.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::gathered::MAX_BATCH;
use super::{End, LoggerCore};
use crate::clock::Clock;
use crate::model::{Actor, Command, Context, Job, Refusal, Report, ReportItem, Status, Stopped};
use crate::store::{ChangeSink, Changes, JobStore, StoreError};

/// At most ten writes a second, while one holds what there is to write.
const WRITE_EVERY: Duration = Duration::from_millis(100);
/// A run that says nothing is still heard of this often.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);
/// How long `complete` and `fail` go on trying while the store is away.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a run may take to notice that somebody ended its job, before what it says counts as late.
const NOTICE_WITHIN: Duration = Duration::from_secs(1);

/// Cancels the work when the job is asked to stop or is ended by somebody else.
pub(super) struct Watch(pub(super) Weak<LoggerCore>);

impl ChangeSink for Watch {
    fn publish(&self, changes: &Changes) {
        let Some(shared) = self.0.upgrade() else {
            return;
        };
        let ours = changes.jobs.iter().find(|job| job.id == shared.id);
        let Some(job) = ours.filter(|job| should_stop(job)) else {
            return;
        };
        if job.status.is_final() {
            shared.over.get_or_init(|| (Instant::now(), job.status));
        }
        shared.cancel.cancel();
    }

    fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

fn should_stop(job: &Job) -> bool {
    job.status == Status::Aborting || job.status.is_final()
}

/// The keys by which the store knows a message that comes again, after an answer that was lost.
///
/// A job knows the highest key only, so two loggers of one job could pass each other. A key is a round, whose it is,
/// and a place: the messages of one write share round and owner, so that all of them are above what the job knows,
/// or none is. A logger that meets another's keys gives its own up: a line may then come twice, but none is lost.
pub(super) struct Keys {
    own: u64,
    highest: u64,
    given_up: bool,
}

/// The keys of one round, and of one owner in it: more than a write has messages.
const ROUND: u64 = 1 << 32;
const OWNER: u64 = 1 << 16;

impl Keys {
    /// Keys of one's own.
    pub(super) fn new() -> Self {
        let own = (uuid::Uuid::new_v4().as_u128() as u64) % OWNER;
        Self { own, highest: 0, given_up: false }
    }

    /// Begins above what the job has.
    fn begin(&mut self, job: &Job) {
        self.highest = self.highest.max(job.message_key);
    }

    /// Gives each message of a write a key. Not where some have one already, from a write that failed: what came
    /// since is of another round.
    fn give(&mut self, items: &mut [ReportItem]) {
        let keyed = |item: &ReportItem| matches!(item, ReportItem::Message { key: Some(_), .. });
        if self.given_up {
            for item in items {
                if let ReportItem::Message { key, .. } = item {
                    *key = None;
                }
            }
            return;
        }
        if items.iter().any(keyed) {
            return;
        }
        let mut next = (self.highest / ROUND + 1) * ROUND + self.own * OWNER;
        for item in items {
            if let ReportItem::Message { key, .. } = item {
                *key = Some(next);
                self.highest = next;
                next += 1;
            }
        }
    }

    /// Whether what was sent may have been taken for what another logger said: the job knows a key of its.
    fn met_another(&mut self, job: &Job) -> bool {
        let met = !self.given_up && job.message_key > self.highest;
        self.given_up |= met;
        met
    }
}

/// Carries what a logger gathers to the store.
pub(super) struct Carrier {
    pub(super) store: Arc<dyn JobStore>,
    pub(super) shared: Arc<LoggerCore>,
    pub(super) epoch: Option<u32>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) keys: Keys,
}

/// Ends a logger when nobody carries for it any more: its clones are told so, and nobody waits for an answer
/// that will not come.
struct Ended(Arc<LoggerCore>);

impl Drop for Ended {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.ended = true;
        let waiting = (std::mem::take(&mut state.flushes), state.end.take());
        state.said = VecDeque::new();
        (state.waiting, state.left_out) = (0, 0);
        drop(state);
        drop(waiting);
    }
}

impl Carrier {
    pub(super) async fn run(mut self) {
        let _ended = Ended(Arc::clone(&self.shared));
        if let Ok(Some(job)) = self.store.get(self.shared.id).await {
            self.epoch.get_or_insert(job.epoch);
            self.keys.begin(&job);
            self.shared.state().adopt(&job);
            if should_stop(&job) {
                self.shared.cancel.cancel();
            }
        }
        loop {
            let quiet = tokio::time::timeout(HEARTBEAT_EVERY, self.shared.wake.notified()).await.is_err();
            if self.carry(quiet).await {
                return;
            }
            tokio::time::sleep(WRITE_EVERY).await;
        }
    }

    /// Carries once, and all of it where an end waits. True when nothing more will come.
    async fn carry(&mut self, heartbeat: bool) -> bool {
        if let Some(ended) = self.let_go() {
            return ended;
        }
        let mut outcome = Ok(());
        loop {
            let (items, ending) = {
                let mut state = self.shared.state();
                (state.take(), state.end.is_some())
            };
            if items.is_empty() && !heartbeat {
                break;
            }
            outcome = self.send(items).await;
            let (more, hurry) = {
                let state = self.shared.state();
                (!state.is_empty(), !state.flushes.is_empty() || state.said.len() >= MAX_BATCH)
            };
            if outcome.is_err() || !more || !(ending || hurry) {
                break;
            }
        }
        let (flushes, end) = {
            let mut state = self.shared.state();
            let unfinished = outcome.is_ok() && !state.is_empty();
            let flushes = if unfinished { Vec::new() } else { std::mem::take(&mut state.flushes) };
            (flushes, state.end.take())
        };
        for flush in flushes {
            let _ = flush.send(outcome.clone());
        }
        let Some((end, reply)) = end else {
            if outcome.is_err() {
                // Try again without being woken.
                self.shared.wake.notify_one();
            }
            return self.shared.cancel.is_cancelled() && self.shared.state().ended;
        };
        let ended = self.finish(end).await;
        self.shared.state().ended = true;
        if let Some(reply) = reply {
            let _ = reply.send(ended);
        }
        true
    }

    /// Drops what waits where somebody has ended the job, and the run has just now noticed or may still:
    /// reporting it would count as the writes of a process that goes on, which this one does not. A run
    /// that goes on past that is carried, refused and counted like any other. `None` where there is
    /// something to carry; otherwise whether nothing more will come.
    fn let_go(&self) -> Option<bool> {
        let (since, status) = *self.shared.over.get()?;
        let refused = || Err(Refusal::Finished { status }.into());
        let mut state = self.shared.state();
        let end = state.end.take();
        if end.is_none() && since.elapsed() >= NOTICE_WITHIN {
            return None;
        }
        state.said.clear();
        (state.waiting, state.left_out) = (0, 0);
        state.numbers.clear();
        state.whole = None;
        state.ended |= end.is_some();
        let flushes = std::mem::take(&mut state.flushes);
        drop(state);
        for reply in flushes {
            let _ = reply.send(refused());
        }
        let ends = end.is_some();
        if let Some((_, Some(reply))) = end {
            let _ = reply.send(refused());
        }
        Some(ends)
    }

    async fn send(&mut self, mut items: Vec<ReportItem>) -> Result<(), StoreError> {
        self.keys.give(&mut items);
        let report = Command::Report(Report { epoch: self.epoch, items: items.clone() });
        let sent = match self.transact(report).await {
            Ok(job) if self.keys.met_another(&job) => {
                for item in &mut items {
                    if let ReportItem::Message { key, .. } = item {
                        *key = None;
                    }
                }
                items.retain(|item| matches!(item, ReportItem::Message { .. }));
                let report = Command::Report(Report { epoch: self.epoch, items: items.clone() });
                self.transact(report).await
            }
            sent => sent,
        };
        match sent {
            Ok(_) => Ok(()),
            Err(StoreError::Refused(
                refusal @ (Refusal::Finished { .. } | Refusal::Fenced { .. } | Refusal::NotFound { .. }),
            )) => {
                // The run is not the job's any more. What it says has no place to go.
                self.shared.cancel.cancel();
                Err(refusal.into())
            }
            Err(StoreError::Refused(_)) if items.len() > 1 => {
                // One of them is not acceptable after all; the others are.
                let mut items = items.into_iter();
                while let Some(item) = items.next() {
                    let report = Command::Report(Report { epoch: self.epoch, items: vec![item.clone()] });
                    match self.transact(report).await {
                        Err(StoreError::Refused(refusal)) => {
                            tracing::warn!(job = %self.shared.id, refusal = %refusal, "A report was refused");
                        }
                        Err(error @ StoreError::Unavailable(_)) => {
                            self.shared.state().put_back(std::iter::once(item).chain(items).collect());
                            return Err(error);
                        }
                        _ => {}
                    }
                }
                Ok(())
            }
            Err(StoreError::Refused(refusal)) => {
                tracing::warn!(job = %self.shared.id, refusal = %refusal, "A report was refused");
                Ok(())
            }
            Err(error) => {
                self.shared.state().put_back(items);
                Err(error)
            }
        }
    }

    async fn finish(&mut self, end: End) -> Result<(), StoreError> {
        let mut in_doubt = false;
        let deadline = Instant::now() + PATIENCE;
        let mut wait = Duration::from_millis(250);
        loop {
            let carried = loop {
                let items = self.shared.state().take();
                if items.is_empty() {
                    break Ok(());
                }
                if let Err(error) = self.send(items).await {
                    break Err(error);
                }
            };
            let epoch = self.epoch;
            let command = match end.clone() {
                End::Complete(output) => Command::Complete { epoch, output },
                End::Fail { error, retryable } => Command::Fail { epoch, error: Some(error), retryable },
                End::Aborted => Command::AcknowledgeAbort { epoch, how: Stopped::default() },
            };
            let ended = match carried {
                Ok(()) => self.transact(command).await.map(drop),
                Err(error) => Err(error),
            };
            match ended {
                // The work was done, but what it made cannot be kept: that is how the job ends, not in silence.
                Err(StoreError::Refused(refusal @ Refusal::Invalid(_)))
                    if matches!(end, End::Complete(_)) =>
                {
                    let error = Some(refusal.to_string());
                    self.transact(Command::Fail { epoch, error, retryable: false }).await?;
                    return Err(refusal.into());
                }
                // The answer to the first try was lost, and not what it did.
                Err(StoreError::Refused(Refusal::Finished { status }))
                    if in_doubt && status == end.status() && self.ended_itself().await =>
                {
                    return Ok(());
                }
                Err(StoreError::Unavailable(_)) if Instant::now() < deadline => {
                    in_doubt = true;
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(5));
                }
                outcome => return outcome,
            }
        }
    }

    /// Whether the job ended by its run's own word.
    async fn ended_itself(&self) -> bool {
        matches!(self.store.get(self.shared.id).await, Ok(Some(job)) if !job.fenced)
    }

    async fn transact(&self, command: Command) -> Result<Arc<Job>, StoreError> {
        let context = Context { actor: Actor::runner(), at: self.clock.now() };
        self.store.transact(self.shared.id, command, context).await
    }
}
