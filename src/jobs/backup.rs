//! An online copy of the store.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{dated, moving};
use crate::engine::{AdminJob, JobError, RunContext};
use crate::logger::Pipeline;

/// Copies the store to a file of its own, while work goes on.
pub struct Backup;

#[async_trait]
impl AdminJob for Backup {
    fn feature(&self) -> &'static str {
        "backup"
    }

    fn title(&self) -> &'static str {
        "Back up the store"
    }

    fn summary(&self) -> &'static str {
        "Writes a consistent copy of the database to the server's files folder while work goes on."
    }

    async fn run(&self, context: RunContext) -> Result<Value, JobError> {
        let logger = &context.logger;
        logger.initialize_pipeline(
            Pipeline::new().weighted("prepare", 1.0).weighted("copy", 18.0).weighted("verify", 1.0),
        );
        let to = dated(&context.files, "backup", context.clock.now(), "db")?;
        logger.info(format!("Copying to {}", to.display()));
        logger.update_sub_operation("prepare", 1.0);
        let copied = context.store.backup(&to, moving(logger, "copy", "pages")).await;
        logger.check_cancelled()?;
        let bytes = copied?;
        logger.update_sub_operation("copy", 1.0);
        let on_disk = tokio::fs::metadata(&to)
            .await
            .map_err(|error| JobError::Failed(format!("The copy cannot be read back: {error}")))?
            .len();
        if on_disk != bytes {
            return Err(JobError::Failed(format!("The copy has {on_disk} bytes instead of {bytes}")));
        }
        logger.update_sub_operation("verify", 1.0);
        logger.info(format!("Copied {bytes} bytes"));
        Ok(json!({"file": to.display().to_string(), "bytes": bytes}))
    }
}
