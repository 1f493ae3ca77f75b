//! Removes history beyond what is kept.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::engine::{AdminJob, JobError, RunContext};
use crate::logger::Pipeline;
use crate::view::date_time;

/// Removes history by age and count.
pub struct Retention;

/// Small transactions, so that writers never wait long.
const BATCH: usize = 200;

#[async_trait]
impl AdminJob for Retention {
    fn feature(&self) -> &'static str {
        "retention"
    }

    fn title(&self) -> &'static str {
        "Remove old history"
    }

    fn summary(&self) -> &'static str {
        "Removes ended jobs that are older, or more, than the settings keep. Also runs by itself with each sweep."
    }

    async fn run(&self, context: RunContext) -> Result<Value, JobError> {
        let logger = &context.logger;
        logger.initialize_pipeline(Pipeline::new().operation("remove"));
        let keep = u64::from(context.limits.max_past);
        // Removal cannot be undone, so no job is removed for its age while the server's clock is known to be
        // wrong or was just set.
        context.timekeeper.look().await?;
        let before = match context.limits.max_age {
            Some(_) if !context.timekeeper.may_remove_by_age() => {
                logger.warning("Nothing is removed for its age: this server's clock was set, or is wrong");
                None
            }
            age => age.map(|age| context.clock.now().minus(age)),
        };
        match before {
            Some(before) => {
                logger.info(format!("Keeping the newest {keep} jobs that ended after {}", date_time(before)));
            }
            None => logger.info(format!("Keeping the newest {keep} jobs")),
        }
        let over = context.store.counts().past().saturating_sub(keep);
        let mut removed = 0;
        loop {
            logger.check_cancelled()?;
            let some = context.store.prune(keep, before, BATCH).await?;
            removed += some.jobs;
            if over > 0 {
                logger.update_sub_operation("remove", (removed as f64 / over as f64).min(0.99));
            }
            if !some.more {
                break;
            }
            // Let other writes of the server take their turn.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        logger.update_sub_operation("remove", 1.0);
        logger.info(match removed {
            0 => "Nothing was too old or too many".to_owned(),
            1 => "Removed 1 job".to_owned(),
            removed => format!("Removed {removed} jobs"),
        });
        Ok(json!({"removedJobs": removed}))
    }
}
