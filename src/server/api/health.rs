//! The system's condition. Looking at it changes nothing.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::ApiError;
use crate::model::SystemHealth;
use crate::server::auth::SignedIn;
use crate::server::router::AppState;

/// The system's condition.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthDto {
    /// `healthy`, `degraded` (a stale job, or a limit above 80 %) or `critical` (the store refuses writes,
    /// or the limit of active jobs is reached).
    status: &'static str,
    /// Jobs running or aborting.
    active_jobs: u64,
    /// The most that may be.
    max_active_jobs: u32,
    /// Jobs waiting.
    queued_jobs: u64,
    /// Jobs that ended and are kept.
    past_jobs: u64,
    /// Active jobs that are stale.
    stale_jobs: u64,
    /// Sentences, gravest first.
    warnings: Vec<String>,
    /// Which build answers.
    build: String,
}

/// Look at the system's health
#[utoipa::path(
    get,
    path = "/api/admin/jobs/health",
    tag = "system",
    responses((status = 200, body = HealthDto))
)]
pub async fn health(
    State(app): State<AppState>,
    SignedIn(caller): SignedIn,
) -> Result<Json<HealthDto>, ApiError> {
    let SystemHealth { status, active_jobs, max_active_jobs, queued_jobs, past_jobs, stale_jobs, warnings } =
        app.service.system_health(&caller)?;
    Ok(Json(HealthDto {
        status: status.name(),
        active_jobs,
        max_active_jobs,
        queued_jobs,
        past_jobs,
        stale_jobs,
        warnings,
        build: app.service.board().build().to_owned(),
    }))
}
