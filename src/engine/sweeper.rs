//! The periodic part: end what is stale, keep history in bounds, see whether a broken store has mended.
//!
//! A reconciler in the sense of omicron's background tasks: it takes no input, can run at any time, and
//! running it twice changes nothing more. Each job it ends is judged once more inside its transaction.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Board, Runner, Timekeeper};
use crate::clock::Clock;
use crate::library;
use crate::model::{Actor, Context, Job, Limits, Trouble};
use crate::store::{JobStore, StoreError};
use crate::view::clock_time;

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
/// History is removed in transactions of this many jobs, so that writers never wait long.
const PRUNE_BATCH: usize = 200;

/// What is wrong with the system itself, gravest first.
pub fn troubles(store: &dyn JobStore, timekeeper: &Timekeeper) -> Vec<Trouble> {
    let refused = store.write_error().map(|error| Trouble::of_store(&error));
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
        clock: Arc<dyn Clock>,
        board: Arc<Board>,
        timekeeper: Arc<Timekeeper>,
        runner: Arc<Runner>,
        settings: SweeperSettings,
    ) -> Self {
        Self { store, clock, board, timekeeper, runner, settings }
    }

    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut sweep = tokio::time::interval(self.settings.every);
        let mut probe = tokio::time::interval(PROBE_EVERY);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // The first tick comes at once: whatever was running when the server stopped deserves a moment
        // to report before it is judged.
        sweep.tick().await;
        let mut told = Vec::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = sweep.tick(), if self.store.leads() => {
                    match self.sweep().await {
                        Ok(ended) if ended.is_empty() => {}
                        Ok(ended) => tracing::info!(jobs = ended.len(), "The sweep ended stale jobs"),
                        Err(error) => tracing::error!(error = %error, "The sweep failed"),
                    }
                    if let Err(error) = self.prune().await {
                        tracing::error!(error = %error, "History could not be kept in bounds");
                    }
                }
                _ = probe.tick() => {
                    if let Err(error) = self.timekeeper.look().await {
                        tracing::error!(error = %error, "Jobs could not be moved with the clock");
                    }
                    if self.store.write_error().is_some() {
                        let _ = self.store.probe().await;
                    }
                    let troubles = troubles(&*self.store, &self.timekeeper);
                    if told != troubles {
                        told = troubles;
                        self.board.nudge();
                    }
                    self.give_up_abandoned().await;
                }
            }
        }
    }

    /// Where several servers share the store, ends the runs of those that are gone.
    async fn give_up_abandoned(&self) {
        if !(self.store.is_shared() && self.store.leads()) {
            return;
        }
        match self.runner.settle_abandoned(&self.board.active()).await {
            Ok(0) => {}
            Ok(jobs) => tracing::warn!(jobs, "Jobs whose server fell silent are failed"),
            Err(error) => tracing::error!(error = %error, "Jobs of a silent server could not be ended"),
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
        let context = Context { actor, at: self.clock.now() };
        library::sweep(&*self.store, &context).await
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
                return Ok(removed);
            }
            tokio::task::yield_now().await;
        }
    }
}
