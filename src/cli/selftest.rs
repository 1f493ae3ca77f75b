//! `longhaul selftest`: the requirement's test script (`testJobStore`, `testEmergencyCleanup`), run on this
//! machine against stores of its own, each check printed.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, ManualClock, SystemClock};
use crate::library::Jobs;
use crate::logger::{JobLogger, Pipeline};
use crate::model::{Actor, StaleReason};
use crate::model::{Command, Context, Refusal, Status, Timestamp};
use crate::store::{JobStore, MemoryStore, SqliteStore, StoreError};

/// Runs the checks. False where one failed.
pub async fn run() -> anyhow::Result<bool> {
    let folder = std::env::temp_dir().join(format!("longhaul-selftest-{}", uuid::Uuid::new_v4().simple()));
    std::fs::create_dir_all(&folder)?;
    let mut checks = Checks::default();
    println!("memory store");
    checks.all(Arc::new(MemoryStore::default())).await?;
    println!("sqlite store in {}", folder.display());
    let store = Arc::new(SqliteStore::open(&folder.join("selftest.db"))?);
    checks.all(Arc::clone(&store) as Arc<dyn JobStore>).await?;
    store.close().await;
    std::fs::remove_dir_all(&folder)?;
    println!("{} checks, {} failed", checks.done, checks.failed);
    Ok(checks.failed == 0)
}

#[derive(Default)]
struct Checks {
    done: u32,
    failed: u32,
}

impl Checks {
    fn check(&mut self, what: &str, holds: bool) {
        self.done += 1;
        self.failed += u32::from(!holds);
        println!("  {} {what}", if holds { "ok    " } else { "FAILED" });
    }

    async fn all(&mut self, store: Arc<dyn JobStore>) -> anyhow::Result<()> {
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        let jobs = Jobs::new(store).with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
        self.job_store(&jobs, &clock).await?;
        self.emergency_cleanup(&jobs).await
    }

    async fn job_store(&mut self, jobs: &Jobs, clock: &Arc<ManualClock>) -> anyhow::Result<()> {
        let id = jobs.create_job("argument-condensation", "admin@example.com").await?;
        let job = jobs.get_job(id).await?.ok_or_else(|| anyhow::anyhow!("the job is gone"))?;
        self.check("a new job is running at 0", job.status == Status::Running && job.progress == 0.0);
        self.check("it is among the active jobs", jobs.get_all_jobs().await?.iter().any(|job| job.id == id));

        let logger = JobLogger::with(jobs.store(), id, None, Arc::clone(clock) as Arc<dyn Clock>);
        logger
            .initialize_pipeline(Pipeline::new().operation("data-loading").operation("question-processing"));
        logger.update_sub_operation("data-loading", 1.0);
        logger.update_sub_operation("question-processing", 0.5);
        logger.info("Processing question 1");
        logger.warning("Low confidence in answer");
        logger.error("API rate limit exceeded");
        logger.flush().await?;
        let job = jobs.get_job(id).await?.ok_or_else(|| anyhow::anyhow!("the job is gone"))?;
        self.check("two of four quarters done make 75 %", job.progress == 0.75);
        let counts = (job.counts.info, job.counts.warning, job.counts.error);
        self.check("an info, a warning and an error are kept apart", counts == (1, 1, 1));
        logger.complete().await?;
        let job = jobs.get_job(id).await?.ok_or_else(|| anyhow::anyhow!("the job is gone"))?;
        self.check("a completed job is at 1", job.status == Status::Completed && job.progress == 1.0);
        let past = jobs.get_all_past_jobs().await?;
        self.check("it has moved to the past jobs", past.iter().any(|job| job.id == id));

        let silent = jobs.create_job("factor-analysis", "admin@example.com").await?;
        let moving = jobs.create_job("question-info", "admin@example.com").await?;
        clock.advance(Duration::from_secs(11 * 60));
        let context = Context { actor: Actor::runner(), at: clock.now() };
        let report = crate::model::Report {
            items: vec![crate::model::ReportItem::Progress { step: None, value: 0.5 }],
            ..Default::default()
        };
        jobs.store().transact(moving, Command::Report(report), context).await?;
        let health = jobs.get_system_health().await?;
        self.check("11 minutes of silence make a job stale", health.stale_jobs == 1);
        let ended = jobs.cleanup_stale_jobs().await?;
        self.check("the cleanup ends the stale job and no other", ended.len() == 1 && ended[0].id == silent);
        let error = ended.first().and_then(|job| job.error.clone()).unwrap_or_default();
        self.check("and says why", &*error == "Job force-failed: Job inactive too long (11 minutes)");
        let alive = jobs
            .get_job(moving)
            .await?
            .is_some_and(|job| job.health(Timestamp(clock.now().0)).stale != Some(StaleReason::Inactive));
        self.check("a job that moves is left alone", alive);

        jobs.force_fail_job(moving, "selftest").await?;
        let context = Context { actor: Actor::runner(), at: clock.now() };
        let late =
            jobs.store().transact(moving, Command::Complete { epoch: Some(1), output: None }, context).await;
        self.check(
            "a force-failed run is fenced",
            matches!(late, Err(StoreError::Refused(Refusal::Fenced { .. }))),
        );
        let counted = jobs.get_job(moving).await?.map(|job| job.late_writes);
        self.check("and its late write is counted", counted == Some(1));
        Ok(())
    }

    async fn emergency_cleanup(&mut self, jobs: &Jobs) -> anyhow::Result<()> {
        for _ in 0..50 {
            jobs.create_job("nightly-import", "admin@example.com").await?;
        }
        let refused = jobs.create_job("nightly-import", "admin@example.com").await;
        let limit = matches!(refused, Err(StoreError::Refused(Refusal::ActiveLimit { limit: 50 })));
        self.check("the 51st job is refused", limit);
        let health = jobs.get_system_health().await?;
        self.check("50 of 50 jobs make the system critical", health.status.name() == "critical");
        let before = jobs.get_all_past_jobs().await?.len() as u64;
        let done = jobs.emergency_cleanup().await?;
        self.check(
            "an emergency cleanup ends all of them",
            done.cleaned_jobs == 50 && done.active_jobs_remaining == 0,
        );
        self.check("and keeps the history", done.past_jobs_remaining >= before.min(100));
        let health = jobs.get_system_health().await?;
        self.check("the system is healthy again", health.status.name() == "healthy");
        Ok(())
    }
}
