//! The face for Rust programs: the requirement's `jobStore`, in its own words.
//!
//! A program that embeds Longhaul acts as itself: there is no signing in here, and every action is
//! recorded as the program's. What the HTTP side does goes through `service/`, which asks who is calling.

use std::sync::Arc;

use uuid::Uuid;

use crate::clock::{Clock, SystemClock};
use crate::engine::end_stale;
use crate::model::{
    Actor, Author, Command, Context, Feature, Job, JobFilter, JobId, Limits, NewJob, PageSize, Reason,
    Refusal, Spec, SystemHealth, Timeouts, Trouble,
};
use crate::store::{CreateRules, JobStore, StoreError};

/// What an emergency cleanup did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmergencyCleanup {
    /// The jobs it force-failed.
    pub cleaned_jobs: u64,
    /// The jobs still active: those that were started meanwhile.
    pub active_jobs_remaining: u64,
    /// The ended jobs that are kept. None is removed.
    pub past_jobs_remaining: u64,
}

/// The jobs of a store.
#[derive(Clone)]
pub struct Jobs {
    store: Arc<dyn JobStore>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    actor: Actor,
}

impl Jobs {
    /// The jobs of `store`, with the requirement's limits.
    pub fn new(store: Arc<dyn JobStore>) -> Self {
        Self { store, clock: Arc::new(SystemClock), limits: Limits::MEMORY, actor: Actor::system("library") }
    }

    /// The same, with limits of one's own.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The same, with a clock of one's own.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// The store, for a [`JobLogger`](crate::JobLogger).
    pub fn store(&self) -> Arc<dyn JobStore> {
        Arc::clone(&self.store)
    }

    fn context(&self) -> Context {
        Context { actor: self.actor.clone(), at: self.clock.now() }
    }

    /// Starts a job. Refused when the limit of active jobs is reached.
    pub async fn create_job(&self, feature: &str, author: &str) -> Result<JobId, StoreError> {
        self.create_job_with(feature, author, self.limits.timeouts).await
    }

    /// Starts a job with timeouts of its own.
    pub async fn create_job_with(
        &self,
        feature: &str,
        author: &str,
        timeouts: Timeouts,
    ) -> Result<JobId, StoreError> {
        let feature = Feature::new(feature).map_err(Refusal::from)?;
        let author = Author::new(author).map_err(Refusal::from)?;
        let max_lines = self.limits.max_lines;
        let spec = Spec { timeouts, max_lines, ..Spec::new(feature, author, "library") };
        let new = NewJob { id: JobId(Uuid::now_v7()), spec, enqueue: false, run_at: None };
        let rules = CreateRules { max_active: Some(self.limits.max_active), ..CreateRules::default() };
        Ok(self.store.create(new, rules, self.context()).await?.job.id)
    }

    /// A job as it stands.
    pub async fn get_job(&self, id: JobId) -> Result<Option<Arc<Job>>, StoreError> {
        self.store.get(id).await
    }

    /// Every job that has not ended, newest first.
    pub async fn get_all_jobs(&self) -> Result<Vec<Arc<Job>>, StoreError> {
        self.collect(JobFilter { only_open: true, ..JobFilter::default() }).await
    }

    /// Every job that has ended and is still kept, the last to end first.
    pub async fn get_all_past_jobs(&self) -> Result<Vec<Arc<Job>>, StoreError> {
        self.collect(JobFilter { only_past: true, ..JobFilter::default() }).await
    }

    async fn collect(&self, filter: JobFilter) -> Result<Vec<Arc<Job>>, StoreError> {
        let (mut jobs, mut after) = (Vec::new(), None);
        loop {
            let page = self.store.list(filter.clone(), after, PageSize::default()).await?;
            jobs.extend(page.jobs);
            after = page.next;
            if after.is_none() {
                return Ok(jobs);
            }
        }
    }

    /// The system's condition.
    pub async fn get_system_health(&self) -> Result<SystemHealth, StoreError> {
        let active = self.store.active().await?;
        Ok(SystemHealth::assess(
            active.iter().map(|job| &**job),
            &self.store.counts(),
            &self.limits,
            &self.store.last_failure().map(|error| Trouble::of_store(&error)).into_iter().collect::<Vec<_>>(),
            self.clock.now(),
        ))
    }

    /// Ends a job now, fencing whatever still works on it.
    pub async fn force_fail_job(&self, id: JobId, reason: &str) -> Result<(), StoreError> {
        let reason = Reason::new(reason).map_err(Refusal::from)?;
        self.store.transact(id, Command::ForceFail { reason }, self.context()).await.map(drop)
    }

    /// Ends the jobs that are stale. Returns them. It believes the clock; that one was set is noticed by a
    /// server, which watches it all the time.
    pub async fn cleanup_stale_jobs(&self) -> Result<Vec<Arc<Job>>, StoreError> {
        end_stale(&*self.store, self.limits.lost_after, &self.context()).await
    }

    /// Ends every job.
    pub async fn emergency_cleanup(&self) -> Result<EmergencyCleanup, StoreError> {
        let reason = Reason::new("Emergency cleanup").map_err(Refusal::from)?;
        let mut cleaned_jobs = 0;
        for job in self.get_all_jobs().await? {
            let command = Command::EmergencyClean { reason: reason.clone() };
            match self.store.transact(job.id, command, self.context()).await {
                Ok(_) => cleaned_jobs += 1,
                // It ended by itself meanwhile.
                Err(StoreError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let counts = self.store.counts();
        Ok(EmergencyCleanup {
            cleaned_jobs,
            active_jobs_remaining: counts.active(),
            past_jobs_remaining: counts.past(),
        })
    }
}
