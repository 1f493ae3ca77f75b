//! Ended jobs and their logs as NDJSON, in the form that `longhaul import` reads.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt, BufWriter};

use super::dated;
use crate::engine::{AdminJob, JobError, RunContext};
use crate::logger::Pipeline;
use crate::store::{Exporter, Moved};

/// Writes history to a file for other programs to read.
pub struct HistoryExport;

#[async_trait]
impl AdminJob for HistoryExport {
    fn feature(&self) -> &'static str {
        "history-export"
    }

    fn title(&self) -> &'static str {
        "Export history"
    }

    fn summary(&self) -> &'static str {
        "Writes all ended jobs and their logs as NDJSON to the server's files folder."
    }

    async fn run(&self, context: RunContext) -> Result<Value, JobError> {
        let logger = &context.logger;
        logger.initialize_pipeline(Pipeline::new().operation("export"));
        let to = dated(&context.files, "history", context.clock.now(), "ndjson")?;
        let partial = to.with_extension("ndjson.partial");
        let written = write(&context, &partial).await;
        if written.is_err() {
            let _ = tokio::fs::remove_file(&partial).await;
        }
        let Moved { jobs, events } = written?;
        tokio::fs::rename(&partial, &to).await.map_err(|error| JobError::Failed(error.to_string()))?;
        logger.update_sub_operation("export", 1.0);
        logger.info(format!("Wrote {jobs} jobs with {events} log entries to {}", to.display()));
        Ok(json!({"file": to.display().to_string(), "jobs": jobs, "events": events}))
    }
}

async fn write(context: &RunContext, to: &std::path::Path) -> Result<Moved, JobError> {
    let cannot = |error: std::io::Error| JobError::Failed(format!("The export cannot be written: {error}"));
    let logger = &context.logger;
    let mut file = BufWriter::new(tokio::fs::File::create(to).await.map_err(cannot)?);
    let total = context.store.counts().past().max(1);
    let mut exporter = Exporter::new(Arc::clone(&context.store), true);
    while let Some(text) = exporter.next().await? {
        logger.check_cancelled()?;
        file.write_all(text.as_bytes()).await.map_err(cannot)?;
        logger.update_sub_operation("export", (exporter.moved().jobs as f64 / total as f64).min(0.99));
    }
    file.flush().await.map_err(cannot)?;
    file.get_ref().sync_all().await.map_err(cannot)?;
    Ok(exporter.moved())
}
