//! Getting a job, or all of them, out of trouble.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::progress::Reported;
use crate::http::{Allowed, ApiError, AppState, Body, ErrorBody, JobPath, OptionalBody, Recover};
use crate::model::{Job, JobId, Status};
use crate::service::{CleanupOutcome, CleanupReport};

/// Why.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ReasonBody {
    /// 1 to 1000 characters. It is kept in the job's log.
    #[schema(
        value_type = String, min_length = 1, max_length = 1000, pattern = "[^\\s\\u0085]", example = "stuck in Reduce for an hour"
    )]
    reason: Option<String>,
}

/// Ask a job to stop
///
/// The runner learns of it by its next heartbeat, and acknowledges. A job that had not begun ends at once.
#[utoipa::path(
    post,
    path = "/api/admin/jobs/{id}/abort",
    operation_id = "abortJob",
    tag = "recovery",
    params(("id" = uuid::Uuid, Path, description = "The job")),
    request_body = ReasonBody,
    responses(
        (status = 202, body = Reported, description = "The job is asked to stop, or has ended where it had not begun"),
        (status = 409, body = ErrorBody, description = "`job_finished`: it has ended. `wrong_state`: it was asked already"),
    )
)]
pub async fn abort(
    State(app): State<AppState>,
    Allowed(caller, _): Allowed<Recover>,
    JobPath(id): JobPath,
    Body(body): Body<ReasonBody>,
) -> Result<(StatusCode, Json<Reported>), ApiError> {
    let job = app.service.abort(&caller, id, body.reason.unwrap_or_default()).await?;
    Ok((StatusCode::ACCEPTED, Reported::of(&job, "Abort requested")))
}

/// How much more time, and why.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct MoreTimeBody {
    /// No limit ends the job within so many seconds from now, up to a year; 0 for no limit at all. As long again
    /// as its own limit where absent.
    #[schema(maximum = 31622400, example = 3600)]
    seconds: Option<u64>,
    /// Why: up to 1000 characters, kept in the job's log.
    #[schema(max_length = 1000, example = "the disk is slow today")]
    reason: Option<String>,
}

/// Give a job more time
///
/// Its limits of run time and silence, and what warns of them, wait until that is over. Never less than it has:
/// asking for less changes nothing. Ends with a request to stop.
#[utoipa::path(
    post,
    path = "/api/admin/jobs/{id}/more-time",
    operation_id = "giveMoreTime",
    tag = "recovery",
    params(("id" = uuid::Uuid, Path, description = "The job")),
    request_body = Option<MoreTimeBody>,
    responses(
        (status = 200, body = Reported, description = "The job has that time"),
        (status = 409, body = ErrorBody, description = "`job_finished`: it has ended. `wrong_state`: it does not run, or was asked to stop"),
    )
)]
pub async fn more_time(
    State(app): State<AppState>,
    Allowed(caller, _): Allowed<Recover>,
    JobPath(id): JobPath,
    OptionalBody(body): OptionalBody<MoreTimeBody>,
) -> Result<Json<Reported>, ApiError> {
    let job = app.service.more_time(&caller, id, body.seconds, body.reason).await?;
    Ok(Reported::of(&job, "Job has more time"))
}

/// End a job now
///
/// Cancels it where this server runs it, and fences it wherever it runs: its later reports are refused
/// with 409, counted and shown.
#[utoipa::path(
    post,
    path = "/api/admin/jobs/{id}/force-fail",
    operation_id = "forceFailJob",
    tag = "recovery",
    params(("id" = uuid::Uuid, Path, description = "The job")),
    request_body = ReasonBody,
    responses(
        (status = 200, body = Reported, description = "The job is failed, and its run fenced off"),
        (status = 409, body = ErrorBody, description = "`job_finished`: it has ended"),
    )
)]
pub async fn force_fail(
    State(app): State<AppState>,
    Allowed(caller, _): Allowed<Recover>,
    JobPath(id): JobPath,
    Body(body): Body<ReasonBody>,
) -> Result<Json<Reported>, ApiError> {
    let job = app.service.force_fail(&caller, id, body.reason.unwrap_or_default()).await?;
    Ok(Reported::of(&job, "Job force-failed successfully"))
}

/// Keep a job
///
/// No limit of age or number removes an ended job that is pinned. Pinning a pinned job changes nothing.
#[utoipa::path(
    post,
    path = "/api/admin/jobs/{id}/pin",
    operation_id = "pinJob",
    tag = "recovery",
    params(("id" = uuid::Uuid, Path, description = "The job")),
    responses(
        (status = 200, body = Reported, description = "The job is pinned"),
        (status = 409, body = ErrorBody, description = "`wrong_state`: it has not ended"),
    )
)]
pub async fn pin(
    State(app): State<AppState>,
    Allowed(caller, _): Allowed<Recover>,
    JobPath(id): JobPath,
) -> Result<Json<Reported>, ApiError> {
    let job = app.service.pin(&caller, id).await?;
    Ok(Reported::of(&job, "Job pinned"))
}

/// Let history have a job again
///
/// Takes back a pin. Where there is none, changes nothing.
#[utoipa::path(
    post,
    path = "/api/admin/jobs/{id}/unpin",
    operation_id = "unpinJob",
    tag = "recovery",
    params(("id" = uuid::Uuid, Path, description = "The job")),
    responses(
        (status = 200, body = Reported, description = "The job is not pinned any more"),
        (status = 409, body = ErrorBody, description = "`wrong_state`: it has not ended"),
    )
)]
pub async fn unpin(
    State(app): State<AppState>,
    Allowed(caller, _): Allowed<Recover>,
    JobPath(id): JobPath,
) -> Result<Json<Reported>, ApiError> {
    let job = app.service.unpin(&caller, id).await?;
    Ok(Reported::of(&job, "Job unpinned"))
}

/// An emergency cleanup.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmergencyBody {
    /// Why: 1 to 1000 characters. It is kept in every job's log.
    #[schema(value_type = String, min_length = 1, max_length = 1000, pattern = "[^\\s\\u0085]", example = "the database moves tonight")]
    reason: Option<String>,
    /// Only say what would be done.
    #[serde(default)]
    dry_run: bool,
}

/// What an emergency cleanup did to a job.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cleaned {
    /// It would be force-failed: nothing was done.
    WouldFail,
    /// It was force-failed.
    Failed,
    /// It had ended by itself.
    EndedMeanwhile,
    /// It could not be ended.
    NotDone,
}

/// What became of one job.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CleanedJob {
    /// The job.
    #[schema(value_type = uuid::Uuid)]
    id: JobId,
    /// Its type.
    feature: String,
    /// What people call it.
    title: String,
    /// Where it stood.
    status_before: Status,
    /// `would_fail` (dry run), `failed`, `ended_meanwhile` or `not_done`.
    outcome: Cleaned,
    /// What it ended as, or why it was not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// What an emergency cleanup did.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmergencyReport {
    /// How many jobs were force-failed.
    cleaned_jobs: u64,
    /// Jobs active afterwards.
    active_jobs_remaining: u64,
    /// Ended jobs that are kept. None is removed.
    past_jobs_remaining: u64,
    /// Nothing was done.
    dry_run: bool,
    /// Why.
    reason: String,
    /// The jobs, one by one.
    jobs: Vec<CleanedJob>,
    /// What happened, in a sentence.
    message: String,
}

impl From<&CleanupReport> for EmergencyReport {
    fn from(report: &CleanupReport) -> Self {
        let jobs = report
            .jobs
            .iter()
            .map(|cleaned| {
                let (outcome, detail) = match &cleaned.outcome {
                    CleanupOutcome::Would => (Cleaned::WouldFail, None),
                    CleanupOutcome::Failed => (Cleaned::Failed, None),
                    CleanupOutcome::EndedMeanwhile(status) => {
                        (Cleaned::EndedMeanwhile, Some(status.to_string()))
                    }
                    CleanupOutcome::NotDone(reason) => (Cleaned::NotDone, Some(reason.clone())),
                };
                CleanedJob {
                    id: cleaned.job.id,
                    feature: cleaned.job.spec.feature.as_str().to_owned(),
                    title: cleaned.job.title().to_owned(),
                    status_before: cleaned.job.status,
                    outcome,
                    detail,
                }
            })
            .collect();
        let message = if report.dry_run {
            "Dry run: nothing was changed"
        } else {
            "Emergency cleanup completed successfully"
        };
        Self {
            cleaned_jobs: report.cleaned(),
            active_jobs_remaining: report.active_remaining,
            past_jobs_remaining: report.past_remaining,
            dry_run: report.dry_run,
            reason: report.reason.clone(),
            jobs,
            message: message.to_owned(),
        }
    }
}

/// End every job
///
/// Each is force-failed as by `force-fail`. With `dryRun`, only says which. History is not touched.
#[utoipa::path(
    post,
    path = "/api/admin/jobs/emergency-cleanup",
    operation_id = "emergencyCleanup",
    tag = "recovery",
    request_body = EmergencyBody,
    responses((status = 200, body = EmergencyReport, description = "What became of each job"))
)]
pub async fn emergency_cleanup(
    State(app): State<AppState>,
    Allowed(caller, _): Allowed<Recover>,
    Body(body): Body<EmergencyBody>,
) -> Result<Json<EmergencyReport>, ApiError> {
    let report =
        app.service.emergency_cleanup(&caller, body.reason.unwrap_or_default(), body.dry_run).await?;
    Ok(Json(EmergencyReport::from(&*report)))
}

/// A job the sweep ended.
#[derive(Debug, Serialize, ToSchema)]
pub struct SweptJob {
    /// The job.
    #[schema(value_type = uuid::Uuid)]
    id: JobId,
    /// Its type.
    feature: String,
    /// Why it was ended.
    error: String,
}

/// What a sweep did.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SweepReport {
    /// How many stale jobs were ended.
    cleaned_jobs: u64,
    /// The jobs, one by one.
    jobs: Vec<SweptJob>,
}

/// Sweep now
///
/// Ends the jobs that are stale, as the periodic sweep does by itself, and keeps history in bounds.
#[utoipa::path(
    post,
    path = "/api/admin/jobs/cleanup",
    operation_id = "cleanup",
    tag = "recovery",
    responses(
        (status = 200, body = SweepReport, description = "The jobs that were ended"),
        (status = 409, body = ErrorBody, description = "`clock_doubted`: nothing is ended by a clock that is in doubt"),
    )
)]
pub async fn cleanup(
    State(app): State<AppState>,
    Allowed(caller, _): Allowed<Recover>,
) -> Result<Json<SweepReport>, ApiError> {
    let ended = app.service.sweep_now(&caller).await?;
    let swept = |job: &Job| SweptJob {
        id: job.id,
        feature: job.spec.feature.as_str().to_owned(),
        error: job.error.as_deref().unwrap_or_default().to_owned(),
    };
    let jobs: Vec<SweptJob> = ended.iter().map(|job| swept(job)).collect();
    Ok(Json(SweepReport { cleaned_jobs: jobs.len() as u64, jobs }))
}

/// What became of a word about the clock.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClockAccepted {
    /// The clock was doubted, or had been set a short while ago.
    doubted: bool,
    /// In a sentence.
    message: &'static str,
}

/// Say that the server's clock is right
///
/// A server whose clock, at its start, is more than a day ahead of the newest moment in the store ends no stale jobs
/// and removes nothing for its age until this was said, or a day has passed.
#[utoipa::path(
    post,
    path = "/api/admin/clock/accept",
    operation_id = "acceptClock",
    tag = "recovery",
    responses((status = 200, body = ClockAccepted, description = "The clock is believed"))
)]
pub async fn accept_clock(
    State(app): State<AppState>,
    Allowed(caller, _): Allowed<Recover>,
) -> Result<Json<ClockAccepted>, ApiError> {
    let doubted = app.service.accept_clock(&caller).await?;
    let message = if doubted { "The clock is believed" } else { "The clock was not in doubt" };
    Ok(Json(ClockAccepted { doubted, message }))
}
