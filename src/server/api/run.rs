//! Starting a built-in job, which this server runs.

use axum::extract::State;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::jobs::{Started, started};
use crate::http::{ApiError, AppState, Body, ErrorBody, SignedIn};

/// Which job to run.
#[derive(Debug, Deserialize, ToSchema)]
pub struct RunBody {
    /// `backup`, `integrity-check`, `history-export`, `retention` or `demo-condensation`.
    #[schema(example = "backup")]
    feature: String,
    /// What it is given.
    input: Option<Value>,
}

/// Run a built-in job
///
/// This server does the work and reports on it.
#[utoipa::path(
    post,
    path = "/api/admin/jobs/run",
    tag = "jobs",
    request_body = RunBody,
    responses(
        (status = 201, body = Started),
        (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "`duplicate_job`"),
        (status = 429, body = ErrorBody, description = "`active_limit`"),
    )
)]
pub async fn run(
    State(app): State<AppState>,
    SignedIn(caller): SignedIn,
    Body(body): Body<RunBody>,
) -> Result<impl IntoResponse, ApiError> {
    let created = app.service.run_built_in(&caller, &body.feature, body.input).await?;
    Ok(started(&created))
}
