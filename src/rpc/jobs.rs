//! What people do to a job.

use leptos::prelude::*;

use super::RpcError;
use crate::model::JobId;

/// Starts a built-in job.
#[server(prefix = "/rpc", endpoint = "jobs/start")]
pub async fn start_built_in(feature: String, #[server(default)] input: String) -> Result<(), RpcError> {
    use super::form::{answer, caller, service, turn_back};
    let input = match input.trim() {
        "" => None,
        text => match serde_json::from_str(text) {
            Ok(input) => Some(input),
            Err(_) => return turn_back("/admin/jobs", "malformed_input"),
        },
    };
    let started = service()?.run_built_in(&caller()?, &feature, input).await;
    answer(started, "/admin/jobs", |created| (format!("/admin/jobs/{}", created.job.id), "started"))
}

/// Asks a job to stop.
#[server(prefix = "/rpc", endpoint = "jobs/abort")]
pub async fn abort_job(id: JobId, #[server(default)] reason: String) -> Result<(), RpcError> {
    use super::form::{answer, caller, service};
    let page = format!("/admin/jobs/{id}");
    let asked = service()?.abort(&caller()?, id, reason).await;
    answer(asked, &page, |_| (page.clone(), "abort-requested"))
}

/// Gives a run more time than its limits: no limit ends it within so many seconds, or, with 0, at all.
#[server(prefix = "/rpc", endpoint = "jobs/more-time")]
pub async fn give_more_time(
    id: JobId,
    #[server(default)] seconds: Option<u64>,
    #[server(default)] reason: String,
) -> Result<(), RpcError> {
    use super::form::{answer, caller, service};
    let page = format!("/admin/jobs/{id}");
    let given = service()?.more_time(&caller()?, id, seconds, Some(reason)).await;
    answer(given, &page, |_| (page.clone(), "more-time"))
}

/// Ends a job now.
#[server(prefix = "/rpc", endpoint = "jobs/force-fail")]
pub async fn force_fail_job(id: JobId, #[server(default)] reason: String) -> Result<(), RpcError> {
    use super::form::{answer, caller, service};
    let page = format!("/admin/jobs/{id}");
    let ended = service()?.force_fail(&caller()?, id, reason).await;
    answer(ended, &page, |_| (page.clone(), "force-failed"))
}

/// Keeps an ended job, whatever the limits of history are.
#[server(prefix = "/rpc", endpoint = "jobs/pin")]
pub async fn pin_job(id: JobId) -> Result<(), RpcError> {
    use super::form::{answer, caller, service};
    let page = format!("/admin/jobs/{id}");
    let pinned = service()?.pin(&caller()?, id).await;
    answer(pinned, &page, |_| (page.clone(), "pinned"))
}

/// Lets the limits of history have a job again.
#[server(prefix = "/rpc", endpoint = "jobs/unpin")]
pub async fn unpin_job(id: JobId) -> Result<(), RpcError> {
    use super::form::{answer, caller, service};
    let page = format!("/admin/jobs/{id}");
    let unpinned = service()?.unpin(&caller()?, id).await;
    answer(unpinned, &page, |_| (page.clone(), "unpinned"))
}
