//! Runs built-in jobs in this process.
//!
//! Each run is a task of its own. A panic ends its job and nothing else. Being asked to stop cancels the
//! run's token; being force-failed cancels it too, and what does not listen is dropped at its next await
//! a moment later, so that a force-fail stops the work and not just the record of it.

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use thiserror::Error;
use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Timekeeper;
use crate::clock::Clock;
use crate::logger::{Cancelled, JobLogger};
use crate::model::{
    Actor, Command, Context, Execution, Job, JobFilter, JobId, Limits, PageSize, Timeouts, Timestamp,
};
use crate::store::{ChangeSink, Changes, JobStore, StoreError};
use crate::watch::panic_words;

/// How long a force-failed run may go on to its next check before it is dropped.
const FORCE_GRACE: Duration = Duration::from_millis(300);

/// A run of another server that was silent for so long is given up. It beats every five seconds.
const ABANDONED_AFTER: Duration = Duration::from_secs(30);

type SignOfLife = (Option<Timestamp>, Timestamp);

/// Why a run did not do its work.
#[derive(Debug, Error)]
pub enum JobError {
    /// It was asked to stop, and did.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The store would not.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something else, in words.
    #[error("{0}")]
    Failed(String),
}

/// What a run has to work with.
pub struct RunContext {
    /// How it reports, and how it learns that it should stop.
    pub logger: JobLogger,
    /// The store it works on.
    pub store: Arc<dyn JobStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Whether that can be believed.
    pub timekeeper: Arc<Timekeeper>,
    /// Where files are put.
    pub files: PathBuf,
    /// What history is kept.
    pub limits: Limits,
    /// What it was given.
    pub input: Option<Value>,
}

/// A job this server can run.
#[async_trait]
pub trait AdminJob: Send + Sync + 'static {
    /// Its feature, by which it is started.
    fn feature(&self) -> &'static str;
    /// What people call it.
    fn title(&self) -> &'static str;
    /// What it does, in a sentence.
    fn summary(&self) -> &'static str;
    /// Whether a second one is refused while one runs: two backups at once do no good.
    fn one_at_a_time(&self) -> bool {
        true
    }
    /// How long it may take and be silent.
    fn timeouts(&self) -> Timeouts {
        // A copy of a large store may take hours, so only silence shows that it hangs.
        Timeouts { run: None, ..Timeouts::REQUIRED }
    }
    /// Does the work. What it returns is the job's output.
    async fn run(&self, context: RunContext) -> Result<Value, JobError>;
}

/// Runs built-in jobs.
pub struct Runner {
    store: Arc<dyn JobStore>,
    clock: Arc<dyn Clock>,
    timekeeper: Arc<Timekeeper>,
    files: PathBuf,
    limits: Limits,
    jobs: Vec<Arc<dyn AdminJob>>,
    runs: Mutex<HashMap<JobId, Run>>,
    /// The last sign of life of runs of other servers, and when it was first seen, by the stopwatch.
    signs: Mutex<HashMap<JobId, (SignOfLife, Duration)>>,
    tasks: TaskTracker,
    runtime: tokio::runtime::Handle,
}

struct Run {
    cancel: CancellationToken,
    abort: AbortHandle,
}

impl Runner {
    /// A runner over a store. Must be called within a tokio runtime.
    pub fn new(
        store: &Arc<dyn JobStore>,
        clock: Arc<dyn Clock>,
        timekeeper: Arc<Timekeeper>,
        files: PathBuf,
        limits: Limits,
        jobs: Vec<Arc<dyn AdminJob>>,
    ) -> Arc<Self> {
        let runner = Arc::new(Self {
            store: Arc::clone(store),
            clock,
            timekeeper,
            files,
            limits,
            jobs,
            runs: Mutex::default(),
            signs: Mutex::default(),
            tasks: TaskTracker::new(),
            runtime: tokio::runtime::Handle::current(),
        });
        store.changes(Arc::clone(&runner) as Arc<dyn ChangeSink>);
        runner
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<JobId, Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The jobs it can run.
    pub fn jobs(&self) -> &[Arc<dyn AdminJob>] {
        &self.jobs
    }

    /// The job of that feature.
    pub fn find(&self, feature: &str) -> Option<Arc<dyn AdminJob>> {
        self.jobs.iter().find(|job| job.feature() == feature).cloned()
    }

    /// Works on a job that was just made.
    pub fn spawn(self: &Arc<Self>, work: Arc<dyn AdminJob>, job: &Job) {
        let logger =
            JobLogger::with(Arc::clone(&self.store), job.id, Some(job.epoch), Arc::clone(&self.clock));
        let context = RunContext {
            logger: logger.clone(),
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            timekeeper: Arc::clone(&self.timekeeper),
            files: self.files.clone(),
            limits: self.limits,
            input: job.spec.input.clone(),
        };
        let cancel = logger.cancellation();
        let doing: JoinHandle<Result<Value, JobError>> = tokio::spawn(async move { work.run(context).await });
        let id = job.id;
        self.runs().insert(id, Run { cancel, abort: doing.abort_handle() });
        let runner = Arc::clone(self);
        self.tasks.spawn(async move {
            let ended = match doing.await {
                Ok(Ok(output)) => logger.complete_with(output).await,
                Ok(Err(JobError::Cancelled(_))) => logger.aborted().await,
                Ok(Err(error)) => logger.fail(error.to_string()).await,
                Err(error) if error.is_panic() => {
                    let text = panic_words(&*error.into_panic());
                    logger.fail(format!("The job panicked: {text}")).await
                }
                // Dropped after a force-fail: the job has ended already.
                Err(_) => Ok(()),
            };
            if let Err(StoreError::Unavailable(reason)) = ended {
                tracing::error!(job = %id, reason, "The end of a job could not be recorded");
            }
            runner.runs().remove(&id);
        });
    }

    /// Whether this process is working on the job.
    pub fn is_running(&self, id: JobId) -> bool {
        self.runs().contains_key(&id)
    }

    /// Fails the runs that ended with the process before this one. Returns how many.
    pub async fn settle_interrupted(&self) -> Result<u64, StoreError> {
        let (mut settled, mut after) = (0, None);
        let filter = JobFilter { only_open: true, ..JobFilter::default() };
        loop {
            let page = self.store.list(filter.clone(), after, PageSize::default()).await?;
            for job in &page.jobs {
                if job.spec.execution != Execution::InProcess
                    || !job.status.is_active()
                    || self.is_running(job.id)
                {
                    continue;
                }
                let context = Context { actor: Actor::system("restart"), at: self.clock.now() };
                match self.store.transact(job.id, Command::Interrupt, context).await {
                    Ok(_) => settled += 1,
                    Err(StoreError::Refused(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(settled);
            }
        }
    }

    /// Fails runs of other servers that have given no sign of life for [`ABANDONED_AFTER`]: their process is
    /// gone, or can reach nobody. To be asked every few seconds with the jobs as they are known. Signs of
    /// life are told apart by being another than the last, and timed by the stopwatch here: what their
    /// server's clock says does not matter. Returns how many.
    pub async fn settle_abandoned(&self, active: &[Arc<Job>]) -> Result<u64, StoreError> {
        let now = self.clock.steady();
        let sign = |job: &Job| (job.heartbeat_at, job.activity_at);
        let silent: Vec<JobId> = {
            let mut signs = self.signs.lock().unwrap_or_else(PoisonError::into_inner);
            let others: Vec<&Arc<Job>> = active
                .iter()
                .filter(|job| job.spec.execution == Execution::InProcess && !self.is_running(job.id))
                .collect();
            signs.retain(|id, _| others.iter().any(|job| job.id == *id));
            for job in &others {
                let seen = signs.entry(job.id).or_insert((sign(job), now));
                if seen.0 != sign(job) {
                    *seen = (sign(job), now);
                }
            }
            signs
                .iter()
                .filter(|(_, (_, since))| now.saturating_sub(*since) >= ABANDONED_AFTER)
                .map(|(id, _)| *id)
                .collect()
        };
        let mut settled = 0;
        for id in silent {
            let job = self.store.get(id).await?;
            let known = self.signs.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            // It has spoken, and word has not come here yet: watched afresh.
            let Some(job) = job.filter(|job| known.is_some_and(|(known, _)| known == sign(job))) else {
                continue;
            };
            let context = Context { actor: Actor::system("sweep"), at: self.clock.now() };
            match self.store.transact(job.id, Command::Interrupt, context).await {
                Ok(_) => settled += 1,
                Err(StoreError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(settled)
    }

    /// Forgets since when the runs of other servers are silent. To be called whenever they may not have been
    /// heard, or could not have spoken: the time before says nothing about them.
    pub fn forget_signs(&self) {
        self.signs.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Lets what runs come to an end: waits, then cancels, then waits once more. What is still running
    /// after that is settled by the next start.
    pub async fn stop(&self, patience: Duration) {
        self.tasks.close();
        if tokio::time::timeout(patience / 2, self.tasks.wait()).await.is_ok() {
            return;
        }
        for run in self.runs().values() {
            run.cancel.cancel();
        }
        if tokio::time::timeout(patience / 2, self.tasks.wait()).await.is_err() {
            tracing::warn!(jobs = self.runs().len(), "Jobs were still running when the server stopped");
        }
    }

    /// A task that ends with the runner's others.
    pub fn track<F: Future<Output = ()> + Send + 'static>(&self, task: F) {
        self.tasks.spawn(task);
    }
}

impl ChangeSink for Runner {
    fn publish(&self, changes: &Changes) {
        for job in changes.jobs.iter().filter(|job| job.status.is_final() && job.fenced) {
            let runs = self.runs();
            let Some(run) = runs.get(&job.id) else {
                continue;
            };
            run.cancel.cancel();
            let abort = run.abort.clone();
            drop(runs);
            self.runtime.spawn(async move {
                tokio::time::sleep(FORCE_GRACE).await;
                abort.abort();
            });
        }
    }
}
