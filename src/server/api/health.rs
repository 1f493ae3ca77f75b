//! The system's condition. Looking at it changes nothing.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::http::{ApiError, AppState, SignedIn};
use crate::model::{HealthStatus, SystemHealth};
use crate::store::NodeRecord;
use crate::view::iso;

/// A server that shares the database.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeDto {
    /// Made at each start.
    id: Uuid,
    /// What it is called.
    name: String,
    /// When it was heard of last, by the database's clock.
    #[schema(format = DateTime)]
    seen_at: String,
    /// Nothing was heard of it for longer than a living one is silent, and no other of its name came since.
    late: bool,
    /// It is the one that answers.
    here: bool,
}

impl From<NodeRecord> for NodeDto {
    fn from(NodeRecord { id, name, seen_at, late, here }: NodeRecord) -> Self {
        Self { id, name, seen_at: iso(seen_at), late, here }
    }
}

/// The system's condition.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthDto {
    /// `healthy`, `degraded` (a stale job, a limit above 80 %, a late server) or `critical` (the store refuses writes,
    /// or the limit of active jobs is reached).
    status: HealthStatus,
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
    /// The servers that share the database, by name; none where it is for one alone.
    nodes: Vec<NodeDto>,
    /// Which build answers.
    build: String,
}

/// Look at the system's health
#[utoipa::path(
    get,
    path = "/api/admin/jobs/health",
    operation_id = "getHealth",
    tag = "system",
    responses((status = 200, body = HealthDto, description = "The system's condition, whatever it is"))
)]
pub async fn health(
    State(app): State<AppState>,
    SignedIn(caller): SignedIn,
) -> Result<Json<HealthDto>, ApiError> {
    let SystemHealth { status, active_jobs, max_active_jobs, queued_jobs, past_jobs, stale_jobs, warnings } =
        app.service.system_health(&caller)?;
    Ok(Json(HealthDto {
        status,
        active_jobs,
        max_active_jobs,
        queued_jobs,
        past_jobs,
        stale_jobs,
        warnings,
        nodes: app.service.nodes(&caller)?.into_iter().map(NodeDto::from).collect(),
        build: app.service.board().build().to_owned(),
    }))
}
