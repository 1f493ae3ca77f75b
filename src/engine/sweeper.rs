//! The periodic part: end what is stale, keep history in bounds, see whether a broken store has mended.
//!
//! A reconciler in the sense of omicron's background tasks: it takes no input, can run at any time, and
//! running it twice changes nothing more. Each job it ends is judged once more inside its transaction.
//!
//! While the store is away no job can report, and while another server leads this one does not hear of reports. That
//! silence is not the jobs'. So a server that begins to judge, after a start, an outage or on gaining the lead, first
//! gives the jobs the time between two sweeps to report, but no more than [`GRACE`]. History is removed by when jobs
//! ended, and does not wait for that.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Board, Runner, Timekeeper};
use crate::clock::Clock;
use crate::model::{Actor, Command, Context, Job, Limits, Refusal, Trouble};
use crate::store::{AccountStore, IdempotencyKey, JobStore, StoreError};
use crate::view::{SweepPlan, clock_time};

/// How often the parts run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweeperSettings {
    /// Ending what is stale.
    pub every: Duration,
    /// What history is kept.
    pub limits: Limits,
}

/// A broken store is looked at this often, and the clock.
const PROBE_EVERY: Duration = Duration::from_secs(2);
/// The most time jobs are given to report before anybody judges them.
const GRACE: Duration = Duration::from_secs(5 * 60);
/// When looking took longer than this, the store or the whole server stood still meanwhile.
const STOOD_STILL: Duration = Duration::from_secs(6);
/// History is removed in transactions of this many jobs, so that writers never wait long.
const PRUNE_BATCH: usize = 200;

/// What is wrong with the system itself, gravest first.
pub fn troubles(store: &dyn JobStore, timekeeper: &Timekeeper) -> Vec<Trouble> {
    let refused = store.last_failure().map(|error| Trouble::of_store(&error));
    let late = store.nodes().into_iter().filter(|node| node.late).map(|node| Trouble {
        critical: false,
        what: format!("Server {} is late", node.name),
        detail: format!("nothing was heard of it since {} UTC", clock_time(node.seen_at)),
    });
    refused.into_iter().chain(timekeeper.trouble()).chain(late).collect()
}

/// Ends what is stale and keeps history in bounds.
pub struct Sweeper {
    store: Arc<dyn JobStore>,
    accounts: Arc<dyn AccountStore>,
    clock: Arc<dyn Clock>,
    board: Arc<Board>,
    timekeeper: Arc<Timekeeper>,
    runner: Arc<Runner>,
    settings: SweeperSettings,
}

impl Sweeper {
    /// A sweeper over a store.
    pub fn new(
        store: Arc<dyn JobStore>,
        accounts: Arc<dyn AccountStore>,
        clock: Arc<dyn Clock>,
        board: Arc<Board>,
        timekeeper: Arc<Timekeeper>,
        runner: Arc<Runner>,
        settings: SweeperSettings,
    ) -> Self {
        Self { store, accounts, clock, board, timekeeper, runner, settings }
    }

    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut probe = tokio::time::interval(PROBE_EVERY);
        probe.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (every, grace) = (self.settings.every, self.settings.every.min(GRACE));
        // When it sweeps next, but not before the jobs had time to report; and when it removes history.
        let mut sweep_at = Instant::now() + every;
        let (mut judges_from, mut prune_at) = (sweep_at, sweep_at);
        // Whether it judges, and when it last looked whether it may.
        let (mut judges, mut looked) = (false, Instant::now());
        let mut told = Vec::new();
        loop {
            tokio::select! {
                // In this order: after a standstill everything is due at once, and looking comes first.
                biased;
                () = stop.cancelled() => return,
                _ = probe.tick() => {
                    let seen = self.timekeeper.look().await;
                    if let Err(error) = &seen {
                        tracing::error!(error = %error, "The clock could not be looked after");
                    }
                    if self.store.last_failure().is_some() {
                        let _ = self.store.probe().await;
                    }
                    let troubles = troubles(&*self.store, &self.timekeeper);
                    if told != troubles {
                        told = troubles;
                        self.board.nudge();
                    }
                    let judged = judges && looked.elapsed() < STOOD_STILL;
                    looked = Instant::now();
                    judges = seen.is_ok() && self.may_judge();
                    if judges && !judged {
                        judges_from = Instant::now() + grace;
                    }
                    if !(judges && judged) {
                        self.runner.forget_signs();
                    }
                    let next = sweep_at.max(judges_from);
                    self.board.plan_sweep((judges && self.timekeeper.may_judge()).then(|| self.plan(next)));
                    if judges {
                        self.give_up_abandoned().await;
                    }
                }
                () = tokio::time::sleep_until(sweep_at.max(judges_from)), if judges && self.timekeeper.may_judge() => {
                    if !self.may_judge() {
                        // The next look says when it may again.
                        judges = false;
                        continue;
                    }
                    match self.sweep().await {
                        Ok(ended) if ended.is_empty() => {}
                        Ok(ended) => tracing::info!(jobs = ended.len(), "The sweep ended stale jobs"),
                        Err(error) => tracing::error!(error = %error, "The sweep failed"),
                    }
                    // However long that took, it was no standstill.
                    looked = Instant::now();
                    sweep_at = looked + every;
                }
                () = tokio::time::sleep_until(prune_at), if self.store.leads() => {
                    if let Err(error) = self.prune().await {
                        tracing::error!(error = %error, "History could not be kept in bounds");
                    }
                    looked = Instant::now();
                    prune_at = looked + every;
                }
            }
        }
    }

    /// What dashboards are told of a sweep to come.
    fn plan(&self, next: Instant) -> SweepPlan {
        let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        SweepPlan {
            next: self.clock.now().plus(next.saturating_duration_since(Instant::now())),
            every_ms: ms(self.settings.every),
            lost_after_ms: self.settings.limits.lost_after.map(ms),
        }
    }

    /// Whether this server is the one that judges jobs, and can hear of them.
    fn may_judge(&self) -> bool {
        self.store.leads() && self.store.last_failure().is_none()
    }

    /// Ends the runs that nobody works on: those of servers that are gone, and those that were made and, whatever
    /// became of whoever made them, never begun.
    async fn give_up_abandoned(&self) {
        match self.runner.settle_abandoned(&self.board.active()).await {
            Ok(0) => {}
            Ok(jobs) => tracing::warn!(jobs, "Jobs that no server works on are failed"),
            Err(error) => tracing::error!(error = %error, "Jobs that no server works on could not be ended"),
        }
    }

    /// Ends what is stale now, by a clock that is known not to have jumped.
    pub async fn sweep(&self) -> Result<Vec<Arc<Job>>, StoreError> {
        self.sweep_as(Actor::system("sweep")).await
    }

    /// The same, because somebody asked.
    pub async fn sweep_as(&self, actor: Actor) -> Result<Vec<Arc<Job>>, StoreError> {
        self.timekeeper.look().await?;
        if let Some(trouble) = self.timekeeper.trouble().filter(|_| !self.store.leads()) {
            // The jobs were not moved with this clock, so it cannot judge them.
            return Err(StoreError::Unavailable(trouble.sentence()));
        }
        if !self.timekeeper.may_judge() {
            return Err(Refusal::ClockDoubted.into());
        }
        let context = Context { actor, at: self.clock.now() };
        end_stale(&*self.store, self.settings.limits.lost_after, &context).await
    }

    /// Removes history beyond its bounds. Returns how many jobs.
    pub async fn prune(&self) -> Result<u64, StoreError> {
        let limits = &self.settings.limits;
        self.timekeeper.look().await?;
        let by_age = limits.max_age.filter(|_| self.timekeeper.may_remove_by_age());
        let before = by_age.map(|age| self.clock.now().minus(age));
        let mut removed = 0;
        loop {
            let some = self.store.prune(u64::from(limits.max_past), before, PRUNE_BATCH).await?;
            removed += some.jobs;
            if !some.more {
                break;
            }
            tokio::task::yield_now().await;
        }
        if self.timekeeper.may_remove_by_age() {
            let now = self.clock.now();
            self.accounts.forget_sessions(now).await?;
            while self.store.forget_keys(now.minus(IdempotencyKey::KEPT)).await? > 0 {}
        }
        Ok(removed)
    }
}

/// Ends the jobs that are stale at the context's time, and those whose promised signs of life are missing for
/// longer than `lost_after`. Each is judged once more in its own transaction, so that one that moves meanwhile is
/// left alone.
pub(crate) async fn end_stale(
    store: &dyn JobStore,
    lost_after: Option<Duration>,
    context: &Context,
) -> Result<Vec<Arc<Job>>, StoreError> {
    let mut ended = Vec::new();
    for job in store.active().await? {
        let lost = lost_after.filter(|after| job.lost_for(context.at, *after).is_some());
        let command = match (job.watched().stale(context.at), lost) {
            (Some(_), _) => Command::Sweep,
            (None, Some(after)) => Command::GiveUp { after },
            (None, None) => continue,
        };
        match store.transact(job.id, command, context.clone()).await {
            Ok(job) => ended.push(job),
            Err(StoreError::Refused(_)) => {}
            Err(error) => return Err(error),
        }
    }
    debug_assert!(ended.iter().all(|job| job.status.is_final()));
    Ok(ended)
}
