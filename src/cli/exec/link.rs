//! What the tasks of one run tell each other of the server and of the command, and what the server says of a job that
//! has ended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use tokio::time::Instant;

use super::backlog::JobRef;
use super::undelivered::Undelivered;
use crate::cli::client::Client;
use crate::model::{Cause, Status};

/// How it stands with the server, as the delivery and the heartbeats of one run see it.
#[derive(Default)]
pub struct Link {
    /// Something waits that the server could not be told.
    pub waits: AtomicBool,
    /// It could not be reached since it last took a heartbeat.
    pub unreached: AtomicBool,
    /// The command printed something that no heartbeat has told of.
    pub printed: AtomicBool,
    /// When it last did.
    printed_at: Mutex<Option<Instant>>,
}

impl Link {
    /// The command printed something, be it a line or not.
    pub fn printed(&self) {
        self.printed.store(true, Ordering::Relaxed);
        *self.printed_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// When it last did.
    pub fn last_printed(&self) -> Option<Instant> {
        *self.printed_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the server may have heard nothing for a while though the command lives.
    pub fn was_cut(&self) -> bool {
        self.waits.load(Ordering::Relaxed) || self.unreached.load(Ordering::Relaxed)
    }
}

/// Whether the job that has ended was failed because nothing was heard of it.
pub async fn failed_for_silence(client: &Client, job: JobRef) -> Result<bool, Undelivered> {
    #[derive(Deserialize)]
    struct Ended {
        #[serde(default)]
        cause: Option<String>,
    }
    let path = format!("/api/admin/jobs/{}/progress", job.job_id);
    let ended: Ended = client.get(&path, &[]).await.map_err(Undelivered::of)?;
    Ok(ended.cause.is_some_and(|cause| cause == Cause::Inactive.name() || cause == Cause::Lost.name()))
}

/// Why a job is over, in the words of the job: its error, and who or which limit ended it. Where these cannot be
/// had, the sentence of the refusal.
pub async fn why_over(client: &Client, job: JobRef, sentence: String) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Ended {
        status: Status,
        #[serde(default)]
        error: Option<String>,
        #[serde(default)]
        ended_because: Option<String>,
    }
    let path = format!("/api/admin/jobs/{}/progress", job.job_id);
    match client.get::<Ended>(&path, &[]).await {
        Ok(Ended { status, error, ended_because }) => {
            let error = error.unwrap_or_else(|| format!("The job is {status}"));
            let because = ended_because.map(|because| format!(". {because}")).unwrap_or_default();
            format!("{}{because}", error.trim_end_matches('.')).trim_end_matches('.').to_owned()
        }
        Err(_) => sentence.trim_end_matches('.').to_owned(),
    }
}
