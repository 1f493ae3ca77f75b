//! Starting jobs and listing them.

use axum::Json;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::given::{Document, Moment, document};
use super::job_dto::{JobDto, MESSAGES_IN_LIST};
use crate::http::{Allowed, ApiError, AppState, Body, ErrorBody, Params, SignedIn, Start};
use crate::model::{Invalid, JobFilter, JobId, PageSize, Status};
use crate::service::{StartRequest, StartTimeouts};

/// Which jobs.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub struct ListParams {
    /// Also those that have ended. Without it, only those that have not.
    include_past: Option<bool>,
    /// Of this feature, exactly.
    #[param(max_length = 200)]
    feature: Option<String>,
    /// With this status. A final one implies `includePast`.
    #[param(value_type = Option<Status>)]
    status: Option<String>,
    /// Of this author, exactly.
    #[param(max_length = 200)]
    author: Option<String>,
    /// With this label.
    #[param(max_length = 200)]
    tag: Option<String>,
    /// Whose title, feature, author or error contains this, or whose id begins with it; 200 characters at most.
    #[param(max_length = 200)]
    q: Option<String>,
    /// Where the page begins: a `nextCursor`, as it was given.
    #[param(
        pattern = "^(p-?[0-9]{1,18}[.][0-9a-f]{32}|o-?[0-9]{1,18}[.][0-9a-f]{32}([.]-?[0-9]{1,18}[.][0-9a-f]{32})?)$"
    )]
    cursor: Option<String>,
    /// The most jobs, 1 to 200; 50 where absent. Fewer, where what they carry is over 8 MiB.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
}

/// A page of jobs.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobList {
    /// Those that have not ended first, newest first; then those that have, last ended first. Each carries
    /// its newest ten messages of each level.
    ///
    /// Page after page, a job comes once, also where it ends between two of them: it keeps the place it had, with
    /// its new status. It may come twice, which its id tells, where its runner dates its end back to before the
    /// first page (`at`); one that was lost and comes back meanwhile may be missing.
    jobs: Vec<JobDto>,
    /// Where the next page begins; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// List jobs
#[utoipa::path(
    get,
    path = "/api/admin/jobs",
    operation_id = "listJobs",
    tag = "jobs",
    params(ListParams),
    responses((status = 200, body = JobList, description = "A page of jobs"))
)]
pub async fn list(
    State(app): State<AppState>,
    SignedIn(caller): SignedIn,
    Params(params): Params<ListParams>,
) -> Result<Json<JobList>, ApiError> {
    let status = params
        .status
        .map(|status| {
            status.parse::<Status>().map_err(|problem| Invalid::new("status", format!("is wrong: {problem}")))
        })
        .transpose()?;
    let past = params.include_past.unwrap_or(false) || status.is_some_and(Status::is_final);
    let filter = JobFilter {
        only_open: !past,
        only_past: false,
        feature: params.feature,
        status,
        author: params.author,
        tag: params.tag,
        text: params.q.filter(|text| !text.is_empty()),
    };
    let cursor = params.cursor.map(|cursor| cursor.parse()).transpose()?;
    let page = app.service.list_jobs(&caller, filter, cursor, PageSize::new(params.limit)?).await?;
    let jobs = JobDto::of(&app.service, &caller, &page.jobs, MESSAGES_IN_LIST).await?;
    Ok(Json(JobList { jobs, next_cursor: page.next.map(|cursor| cursor.to_string()) }))
}

/// A label on a job.
#[derive(ToSchema)]
#[schema(min_length = 1, max_length = 50, pattern = "[^\\s\\u0085]")]
pub struct Label(#[expect(dead_code, reason = "it stands for a text, in the description only")] String);

/// What a start asks for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StartBody {
    /// The job's type: 1 to 100 characters.
    #[schema(value_type = String, min_length = 1, max_length = 100, pattern = "[^\\s\\u0085]", example = "argument-condensation")]
    feature: Option<String>,
    /// Whom it is for: up to 200 characters. The credential's own name where absent; another needs a token made
    /// with `--act-as`.
    #[schema(min_length = 1, max_length = 200, pattern = "[^\\s\\u0085]")]
    author: Option<String>,
    /// What people call it: up to 200 characters.
    #[schema(min_length = 1, max_length = 200, pattern = "[^\\s\\u0085]")]
    title: Option<String>,
    /// What it works on: any JSON, nested 64 deep at most, its numbers of 64 bits or 17 digits. Names come back
    /// sorted; of one given twice the last counts.
    #[schema(value_type = Option<Value>)]
    input: Option<Document>,
    /// Labels: up to 20 of up to 50 characters.
    #[schema(value_type = Vec<Label>, max_items = 20)]
    #[serde(default)]
    tags: Vec<String>,
    /// Seconds it may take, up to a year; 0 for no limit. The installation's default where absent.
    #[schema(maximum = 31622400)]
    timeout: Option<u64>,
    /// Seconds it may be silent, up to a year; 0 for no limit. The installation's default where absent.
    #[schema(maximum = 31622400)]
    activity_timeout: Option<u64>,
    /// Refuse while a job of the same feature has not ended.
    #[serde(default)]
    one_per_feature: bool,
    /// Every so many seconds, 1 to 3600, its process will be heard of: it vouches for itself. None of the
    /// installation's timeouts ends such a job; it is said when nothing is heard of it, and after the server's
    /// `--lost-after` it ends as lost.
    #[schema(minimum = 1, maximum = 3600)]
    heartbeat_every: Option<u32>,
    /// Seconds its process may take to stop once it is asked to, up to a day. No limit cuts that short.
    #[schema(maximum = 86400)]
    grace: Option<u32>,
    /// When it began by its runner's clock, where that is told later.
    #[schema(value_type = Option<String>, format = DateTime, min_length = 20)]
    at: Option<Moment>,
}

/// A started job.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Started {
    /// The job.
    #[schema(value_type = uuid::Uuid)]
    pub job_id: JobId,
    /// The fence of the run: send it with every report.
    pub epoch: u32,
    /// What happened, in a sentence.
    pub message: String,
}

/// Start a job
///
/// The job begins as `running`: whoever starts it runs it and reports. Ask for `Idempotency-Key` to make
/// sending again safe.
#[utoipa::path(
    post,
    path = "/api/admin/jobs/start",
    operation_id = "startJob",
    tag = "jobs",
    params((
        "Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 200, pattern = "^[!-~]([ -~]*[!-~])?$",
        description = "The same key with the same body gives the same job, for 24 hours"
    )),
    request_body = StartBody,
    responses(
        (
            status = 201, body = Started, description = "The job runs", headers(("Location" = String, description = "The job")),
            links(
                ("job" = (operation_id = "getJob", parameters(("id" = "$response.body#/jobId")))),
                ("progress" = (operation_id = "reportProgress", parameters(("id" = "$response.body#/jobId")))),
                ("messages" = (operation_id = "addMessages", parameters(("id" = "$response.body#/jobId")))),
                ("log" = (operation_id = "listMessages", parameters(("id" = "$response.body#/jobId")))),
                ("heartbeat" = (operation_id = "heartbeat", parameters(("id" = "$response.body#/jobId")))),
                ("complete" = (operation_id = "completeJob", parameters(("id" = "$response.body#/jobId")))),
                ("fail" = (operation_id = "failJob", parameters(("id" = "$response.body#/jobId")))),
                ("abort" = (operation_id = "abortJob", parameters(("id" = "$response.body#/jobId")))),
                ("aborted" = (operation_id = "acknowledgeAbort", parameters(("id" = "$response.body#/jobId")))),
            )
        ),
        (status = 409, body = ErrorBody, description = "`duplicate_job`: `onePerFeature` was asked for, and one runs. `idempotency_key_reused`: the key came with another request."),
        (status = 429, body = ErrorBody, description = "`active_limit`, `active_share`: as many jobs are active as may be. `too_many_connections`: as many connections are open with this credential", headers(("Retry-After" = u64, description = "Seconds after which to try again"))),
    )
)]
pub async fn start(
    State(app): State<AppState>,
    Allowed(caller, _): Allowed<Start>,
    headers: HeaderMap,
    Body(body): Body<StartBody>,
) -> Result<impl IntoResponse, ApiError> {
    let idempotency_key = match headers.get("idempotency-key").map(|key| key.to_str().map(str::to_owned)) {
        None => None,
        Some(Ok(key)) => Some(key),
        Some(Err(_)) => return Err(Invalid::new("Idempotency-Key", "must be plain text").into()),
    };
    let request = StartRequest {
        feature: body.feature.unwrap_or_default(),
        author: body.author,
        title: body.title,
        input: document(body.input),
        tags: body.tags,
        timeouts: StartTimeouts { run: body.timeout, activity: body.activity_timeout },
        one_per_feature: body.one_per_feature,
        heartbeat_every: body.heartbeat_every,
        grace: body.grace,
        began_at: body.at.map(|Moment(at)| at),
        idempotency_key,
    };
    let created = app.service.start_job(&caller, request).await?;
    Ok(started(&created))
}

/// The answer to a start.
pub fn started(created: &crate::store::Created) -> impl IntoResponse + use<> {
    let job = &created.job;
    let message = format!("Job started for {}", job.spec.feature.as_str());
    let location = format!("/api/admin/jobs/{}/progress", job.id);
    (StatusCode::CREATED, [(LOCATION, location)], Json(Started { job_id: job.id, epoch: job.epoch, message }))
}
