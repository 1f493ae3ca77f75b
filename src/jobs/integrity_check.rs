//! Compares the log with the jobs and the counters, and reports where they differ.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::moving;
use crate::engine::{AdminJob, JobError, RunContext};
use crate::logger::Pipeline;

/// Checks the store from end to end.
pub struct IntegrityCheck;

#[async_trait]
impl AdminJob for IntegrityCheck {
    fn feature(&self) -> &'static str {
        "integrity-check"
    }

    fn title(&self) -> &'static str {
        "Check the store"
    }

    fn summary(&self) -> &'static str {
        "Replays every job's log and compares it with the job and the counters. Changes nothing."
    }

    async fn run(&self, context: RunContext) -> Result<Value, JobError> {
        let logger = &context.logger;
        logger.initialize_pipeline(Pipeline::new().operation("check"));
        logger.info("Comparing jobs, logs and counters");
        let checked = context.store.check(moving(logger, "check", "parts checked")).await;
        logger.check_cancelled()?;
        let report = checked?;
        for problem in &report.problems {
            logger.error(problem.as_str());
        }
        logger.info(format!("Looked at {} jobs with {} log entries", report.jobs, report.events));
        if !report.problems.is_empty() {
            return Err(JobError::Failed(format!("{} problems were found", report.problems.len())));
        }
        Ok(json!({"jobs": report.jobs, "events": report.events, "problems": 0}))
    }
}
