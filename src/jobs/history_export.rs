//! Jobs and their logs as NDJSON: one line a job, one line a log entry.

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt, BufWriter};

use super::dated;
use crate::engine::{AdminJob, JobError, RunContext};
use crate::logger::Pipeline;
use crate::model::{Job, JobFilter, PageSize};
use crate::view::iso;

/// Writes history to a file for other programs to read.
pub struct HistoryExport;

/// Log entries are read this many at a time.
const CHUNK: usize = 1_000;

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
        let (jobs, events) = written?;
        tokio::fs::rename(&partial, &to).await.map_err(|error| JobError::Failed(error.to_string()))?;
        logger.update_sub_operation("export", 1.0);
        logger.info(format!("Wrote {jobs} jobs with {events} log entries to {}", to.display()));
        Ok(json!({"file": to.display().to_string(), "jobs": jobs, "events": events}))
    }
}

async fn write(context: &RunContext, to: &std::path::Path) -> Result<(u64, u64), JobError> {
    let cannot = |error: std::io::Error| JobError::Failed(format!("The export cannot be written: {error}"));
    let logger = &context.logger;
    let mut file = BufWriter::new(tokio::fs::File::create(to).await.map_err(cannot)?);
    let total = context.store.counts().past().max(1);
    let filter = JobFilter { only_past: true, ..JobFilter::default() };
    let (mut jobs, mut events, mut after) = (0_u64, 0_u64, None);
    loop {
        let page = context.store.list(filter.clone(), after, PageSize::default()).await?;
        for job in &page.jobs {
            logger.check_cancelled()?;
            file.write_all(format!("{}\n", summary(job)).as_bytes()).await.map_err(cannot)?;
            let mut seq = 0;
            loop {
                let part = context.store.events(job.id, seq, CHUNK).await?;
                for event in &part {
                    let line = json!({
                        "record": "event", "job": job.id, "seq": event.seq, "at": iso(event.at),
                        "source": event.source, "event": event.kind,
                    });
                    file.write_all(format!("{line}\n").as_bytes()).await.map_err(cannot)?;
                    events += 1;
                }
                match part.last().and_then(|event| event.seq) {
                    Some(last) if part.len() == CHUNK => seq = last,
                    _ => break,
                }
            }
            jobs += 1;
            logger.update_sub_operation("export", (jobs as f64 / total as f64).min(0.99));
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    file.flush().await.map_err(cannot)?;
    file.get_ref().sync_all().await.map_err(cannot)?;
    Ok((jobs, events))
}

fn summary(job: &Job) -> Value {
    json!({
        "record": "job", "id": job.id, "feature": job.spec.feature, "author": job.spec.author,
        "title": job.title(), "status": job.status, "progress": job.progress,
        "startTime": iso(job.start_time()), "endTime": job.ended_at.map(iso), "error": job.error,
        "tags": job.spec.tags, "input": job.spec.input, "output": job.output,
        "attempt": job.attempt, "epoch": job.epoch, "lateWrites": job.late_writes,
    })
}
