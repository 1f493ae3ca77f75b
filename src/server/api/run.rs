//! Starting a built-in job, which this server runs.

use axum::extract::State;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::jobs::{Started, started};
use crate::http::{Allowed, ApiError, AppState, Body, ErrorBody, Recover};

/// Which job to run.
#[derive(Debug, Deserialize, ToSchema)]
pub struct RunBody {
    /// `backup`, `integrity-check`, `history-export`, `retention` or `demo-condensation`.
    #[schema(min_length = 1, max_length = 100, example = "backup")]
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
    operation_id = "runJob",
    tag = "jobs",
    request_body = RunBody,
    responses(
        (
            status = 201, body = Started, description = "The job runs", headers(("Location" = String, description = "The job")),
            links(("job" = (operation_id = "getJob", parameters(("id" = "$response.body#/jobId")))))
        ),
        (status = 404, body = ErrorBody, description = "`not_found`: there is no such built-in job"),
        (status = 409, body = ErrorBody, description = "`duplicate_job`: it runs already"),
        (status = 429, body = ErrorBody, description = "`active_limit`: as many jobs are active as may be. `too_many_connections`: as many connections are open with this credential", headers(("Retry-After" = u64, description = "Seconds after which to try again"))),
    )
)]
pub async fn run(
    State(app): State<AppState>,
    Allowed(caller, _): Allowed<Recover>,
    Body(body): Body<RunBody>,
) -> Result<impl IntoResponse, ApiError> {
    let created = app.service.run_built_in(&caller, &body.feature, body.input).await?;
    Ok(started(&created))
}
