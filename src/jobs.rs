//! The jobs every installation has, one a file. They report through `JobLogger` like any other program's.

mod backup;
mod demo_condensation;
mod history_export;
mod integrity_check;
mod retention;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::engine::{AdminJob, JobError};
use crate::logger::JobLogger;
use crate::model::Timestamp;
use crate::store::StoreProgress;
use crate::view::{iso, thousands};

/// All of them, in the order people are shown them.
pub fn all() -> Vec<Arc<dyn AdminJob>> {
    vec![
        Arc::new(backup::Backup),
        Arc::new(integrity_check::IntegrityCheck),
        Arc::new(history_export::HistoryExport),
        Arc::new(retention::Retention),
        Arc::new(demo_condensation::DemoCondensation),
    ]
}

/// A file's name with the time in it, safe on every file system: `backup-20261122T162005Z.db`.
fn dated(files: &Path, stem: &str, at: Timestamp, ending: &str) -> Result<PathBuf, JobError> {
    let cannot = |error: std::io::Error| {
        JobError::Failed(format!("The folder {} cannot be used: {error}", files.display()))
    };
    // Backups and exports contain users, tokens and logs: only the owner may read the folder.
    DirBuilder::new().recursive(true).mode(0o700).create(files).map_err(cannot)?;
    let stamp: String = iso(at).chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    Ok(files.join(format!("{stem}-{stamp}.{ending}")))
}

/// The first and the longest time between two words on work of which nobody knows how much there is.
const SAYS_AFTER: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// Lets a long operation of the store move a step, say every so often where it is, and stop when the job
/// is asked to.
fn moving(logger: &JobLogger, step: &'static str, unit: &'static str) -> StoreProgress {
    let (tell, mut told) = mpsc::unbounded_channel::<(u64, u64)>();
    let (cancel, listening) = (logger.cancellation(), logger.cancellation());
    let reporting = logger.clone();
    tokio::spawn(async move {
        let mut said = 0;
        let (mut said_at, mut pause) = (Instant::now(), SAYS_AFTER.0);
        while let Some((mut done, mut total)) = told.recv().await {
            while let Ok(newer) = told.try_recv() {
                (done, total) = newer;
            }
            if listening.is_cancelled() {
                return;
            }
            if total == 0 {
                // That it goes on is all there is to say, and keeps it from being taken for one that hangs.
                if said_at.elapsed() >= pause {
                    (said_at, pause) = (Instant::now(), (pause * 2).min(SAYS_AFTER.1));
                    reporting.info(format!("Looking at the file: {} steps so far", thousands(done)));
                }
                continue;
            }
            reporting.update_sub_operation(step, (done as f64 / total as f64).clamp(0.0, 1.0));
            let tenth = done * 10 / total.max(1);
            if tenth > said {
                said = tenth;
                reporting.info(format!("{done} of {total} {unit}"));
            }
        }
    });
    Box::new(move |done, total| {
        let _ = tell.send((done, total));
        !cancel.is_cancelled()
    })
}
