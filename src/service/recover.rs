//! Getting a job, or all of them, out of trouble.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use super::{Caller, Service, ServiceError, to_the_end};
use crate::model::{
    Command, Context, Invalid, Job, JobId, MoreTime, Permission, Reason, Refusal, Status, Timestamp, visible,
};
use crate::store::{JobStore, StoreError};

/// How many reports of emergency cleanups are kept at hand.
const KEPT_REPORTS: usize = 20;

/// What became of one job in a cleanup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CleanupOutcome {
    /// It would be force-failed: this was a dry run.
    Would,
    /// It was force-failed.
    Failed,
    /// It had ended by itself meanwhile.
    EndedMeanwhile(Status),
    /// The store would not.
    NotDone(String),
}

/// One job of a cleanup.
#[derive(Clone, Debug, PartialEq)]
pub struct Cleaned {
    /// The job as the cleanup found it.
    pub job: Arc<Job>,
    /// What became of it.
    pub outcome: CleanupOutcome,
}

/// What an emergency cleanup did, job by job.
#[derive(Clone, Debug, PartialEq)]
pub struct CleanupReport {
    /// Names the report.
    pub id: Uuid,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Nothing was done.
    pub dry_run: bool,
    /// The jobs.
    pub jobs: Vec<Cleaned>,
    /// Jobs active afterwards: those that were started meanwhile.
    pub active_remaining: u64,
    /// Ended jobs that are kept. None is removed.
    pub past_remaining: u64,
}

impl CleanupReport {
    /// How many jobs it force-failed.
    pub fn cleaned(&self) -> u64 {
        self.jobs.iter().filter(|cleaned| cleaned.outcome == CleanupOutcome::Failed).count() as u64
    }
}

/// The latest reports, for the page that shows what a cleanup did.
#[derive(Default)]
pub(super) struct Reports(Mutex<VecDeque<Arc<CleanupReport>>>);

impl Service {
    /// Asks a job to stop.
    pub async fn abort(&self, caller: &Caller, id: JobId, reason: String) -> Result<Arc<Job>, ServiceError> {
        caller.must(Permission::Recover)?;
        self.must_be_open()?;
        let reason = Reason::new(reason)?;
        Ok(self.store.transact(id, Command::Abort { reason }, self.context(caller)).await?)
    }

    /// Gives a run more time than its limits: no limit ends it within so many seconds from now, or, with 0, at
    /// all; as long again as its limit where nothing is said. Never less than it has: doing it twice is doing it
    /// once.
    pub async fn more_time(
        &self,
        caller: &Caller,
        id: JobId,
        seconds: Option<u64>,
        reason: Option<String>,
    ) -> Result<Arc<Job>, ServiceError> {
        caller.must(Permission::Recover)?;
        self.must_be_open()?;
        let span = match seconds {
            None => Some(self.job(id).await?.usual_more_time()),
            Some(0) => None,
            Some(seconds) => Some(Duration::from_secs(seconds)),
        };
        if span.is_some_and(|span| span > MoreTime::MOST) {
            return Err(Invalid::new("seconds", "must be up to a year, or 0 for no limit").into());
        }
        let reason = reason.filter(|reason| !reason.trim().is_empty()).map(Reason::new).transpose()?;
        self.unless_unchanged(caller, id, Command::MoreTime { span, reason }).await
    }

    /// How much more time is usually given to the job; `None` where more time changes nothing.
    pub async fn more_time_offered(
        &self,
        caller: &Caller,
        id: JobId,
    ) -> Result<Option<Duration>, ServiceError> {
        caller.must(Permission::Read)?;
        let job = self.job(id).await?;
        Ok(job.watched().may_have_more_time().then(|| job.usual_more_time()))
    }

    /// Ends a job now: cancels it where this server runs it, fences it wherever it runs.
    pub async fn force_fail(
        &self,
        caller: &Caller,
        id: JobId,
        reason: String,
    ) -> Result<Arc<Job>, ServiceError> {
        caller.must(Permission::Recover)?;
        self.must_be_open()?;
        let reason = Reason::new(reason)?;
        Ok(self.store.transact(id, Command::ForceFail { reason }, self.context(caller)).await?)
    }

    /// Keeps an ended job, whatever the limits of history are. Doing it again changes nothing.
    pub async fn pin(&self, caller: &Caller, id: JobId) -> Result<Arc<Job>, ServiceError> {
        caller.must(Permission::Recover)?;
        self.must_be_open()?;
        self.unless_unchanged(caller, id, Command::Pin).await
    }

    /// Lets the limits of history have a job again. Doing it again changes nothing.
    pub async fn unpin(&self, caller: &Caller, id: JobId) -> Result<Arc<Job>, ServiceError> {
        caller.must(Permission::Recover)?;
        self.must_be_open()?;
        self.unless_unchanged(caller, id, Command::Unpin).await
    }

    /// Does it, or finds it done.
    async fn unless_unchanged(
        &self,
        caller: &Caller,
        id: JobId,
        command: Command,
    ) -> Result<Arc<Job>, ServiceError> {
        match self.store.transact(id, command, self.context(caller)).await {
            Err(StoreError::Refused(Refusal::Unchanged { .. })) => self.job(id).await,
            done => Ok(done?),
        }
    }

    /// Ends what is stale now, as the sweep does by itself. Returns the jobs it ended.
    pub async fn sweep_now(&self, caller: &Caller) -> Result<Vec<Arc<Job>>, ServiceError> {
        caller.must(Permission::Recover)?;
        self.must_be_open()?;
        let sweeper = self.sweeper();
        let ended = sweeper.sweep_as(caller.actor.clone()).await?;
        sweeper.prune().await?;
        Ok(ended)
    }

    /// Says that the server's clock is right, where it was doubted. Returns whether it was.
    pub async fn accept_clock(&self, caller: &Caller) -> Result<bool, ServiceError> {
        caller.must(Permission::Recover)?;
        self.must_be_open()?;
        let doubted = self.timekeeper.accept().await?;
        if doubted {
            tracing::warn!(by = %caller.actor, "The clock was said to be right");
            self.board.nudge();
        }
        Ok(doubted)
    }

    /// Ends every job that has not ended; with `dry_run`, only says which. Every job is told apart in the
    /// report: one that ends by itself meanwhile keeps its own outcome.
    pub async fn emergency_cleanup(
        &self,
        caller: &Caller,
        reason: String,
        dry_run: bool,
    ) -> Result<Arc<CleanupReport>, ServiceError> {
        caller.must(Permission::Recover)?;
        self.must_be_open()?;
        let reason = Reason::new(reason)?;
        let (store, reports, context) =
            (Arc::clone(&self.store), Arc::clone(&self.reports), self.context(caller));
        let (open, by) = (self.board.open(), caller.actor.to_string());
        // It ends them all, and its report is there to be asked for, whoever leaves meanwhile.
        let report =
            to_the_end(async move { clean(&*store, &reports, open, context, by, reason, dry_run).await });
        Ok(report.await)
    }

    /// An emergency cleanup by somebody who was shown `shown` jobs and typed a confirmation: that number.
    /// Refused where more jobs are open now: nobody agreed to end those.
    pub async fn confirmed_cleanup(
        &self,
        caller: &Caller,
        reason: String,
        shown: u32,
        typed: &str,
    ) -> Result<Arc<CleanupReport>, ServiceError> {
        caller.must(Permission::Recover)?;
        if typed.trim() != shown.to_string() {
            return Err(ServiceError::NotConfirmed(format!("Type {shown}, the number of jobs, to confirm.")));
        }
        let open = self.board.open().len();
        if open > shown as usize {
            return Err(ServiceError::NotConfirmed(format!(
                "{open} jobs are open now, not {shown}. Look at them again before you confirm."
            )));
        }
        self.emergency_cleanup(caller, reason, false).await
    }

    /// A report of an emergency cleanup, while it is kept at hand. The jobs' own logs keep it for good.
    pub fn cleanup_report(
        &self,
        caller: &Caller,
        id: Uuid,
    ) -> Result<Option<Arc<CleanupReport>>, ServiceError> {
        caller.must(Permission::Recover)?;
        let reports = self.reports.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(reports.iter().find(|report| report.id == id).cloned())
    }
}

/// Ends these jobs, or says which it would, and keeps the report at hand.
async fn clean(
    store: &dyn JobStore,
    reports: &Reports,
    open: Vec<Arc<Job>>,
    context: Context,
    by: String,
    reason: Reason,
    dry_run: bool,
) -> Arc<CleanupReport> {
    let mut jobs = Vec::new();
    for job in open {
        let outcome = if dry_run {
            CleanupOutcome::Would
        } else {
            let command = Command::EmergencyClean { reason: reason.clone() };
            match store.transact(job.id, command, context.clone()).await {
                Ok(_) => CleanupOutcome::Failed,
                Err(StoreError::Refused(_)) => {
                    let now = store.get(job.id).await.ok().flatten();
                    CleanupOutcome::EndedMeanwhile(now.map_or(job.status, |job| job.status))
                }
                Err(error) => CleanupOutcome::NotDone(error.to_string()),
            }
        };
        jobs.push(Cleaned { job, outcome });
    }
    let counts = store.counts();
    let report = Arc::new(CleanupReport {
        id: Uuid::now_v7(),
        at: context.at,
        by,
        reason: reason.into_string(),
        dry_run,
        jobs,
        active_remaining: counts.active(),
        past_remaining: counts.past(),
    });
    if !dry_run {
        // A line feed in a reason must not begin a line of its own in the log.
        let reason = visible(&report.reason, false);
        tracing::warn!(by = %report.by, jobs = report.cleaned(), %reason, "Emergency cleanup");
        let mut reports = reports.0.lock().unwrap_or_else(PoisonError::into_inner);
        reports.push_front(Arc::clone(&report));
        reports.truncate(KEPT_REPORTS);
    }
    report
}
