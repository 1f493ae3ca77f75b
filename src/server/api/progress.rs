//! A runner's side of a job: steps, numbers, heartbeats, and the end.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use axum::Json;
use axum::extract::State;
use axum::http::header::{ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::document::NOT_RECORDED;
use super::given::{Document, Moment, document};
use super::job_dto::{JobDto, MESSAGES_OF_ONE};
use crate::http::{Allowed, ApiError, AppState, Body, ErrorBody, JobPath, OptionalBody, ReportOwn, SignedIn};
use crate::model::{
    Invalid, Job, JobId, ProgressSource, Report, ReportItem, Status, StepSpec, Stopped, Timestamp,
};
use crate::view::{JobRow, attention};

/// Look at a job
#[utoipa::path(
    get,
    path = "/api/admin/jobs/{id}/progress",
    operation_id = "getJob",
    tag = "jobs",
    params(
        ("id" = uuid::Uuid, Path, description = "The job"),
        ("If-None-Match" = Option<String>, Header, description = "An `ETag` that was answered before")
    ),
    responses(
        (status = 200, body = JobDto, description = "The job", headers(("ETag" = String, description = "Changes with the job"))),
        (status = 304, description = "Not changed since the `ETag` in `If-None-Match`"),
    )
)]
pub async fn get(
    State(app): State<AppState>,
    SignedIn(caller): SignedIn,
    JobPath(id): JobPath,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let job = app.service.get_job(&caller, id).await?;
    // A verdict comes with time alone, without a change to the job.
    let verdict = attention(&JobRow::from(&*job), app.service.now());
    let tag = match verdict {
        None => format!("\"r{}\"", job.revision),
        Some(need) => {
            let mut hasher = DefaultHasher::new();
            (need.verdict, need.evidence).hash(&mut hasher);
            format!("\"r{}-{:x}\"", job.revision, hasher.finish())
        }
    };
    let seen = headers.get_all(IF_NONE_MATCH).iter().any(|seen| {
        seen.to_str()
            .is_ok_and(|seen| seen.split(',').any(|seen| seen.trim().trim_start_matches("W/") == tag))
    });
    if seen {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    let dto = JobDto::one(&app.service, &caller, &job, MESSAGES_OF_ONE).await?;
    Ok(([(ETAG, tag)], Json(dto)).into_response())
}

/// A step to declare.
#[derive(Debug, Deserialize, ToSchema)]
pub struct StepBody {
    /// Names it among its siblings: up to 200 characters, without `/`.
    #[schema(min_length = 1, max_length = 200, pattern = "^[^/]+$")]
    id: String,
    /// What people read: up to 200 characters; the id where absent.
    #[schema(min_length = 1, max_length = 200, pattern = "[^\\s\\u0085]")]
    title: Option<String>,
    /// How much it counts among its siblings: 0 to 1 000 000 000; 1 where absent. 0 is honoured.
    #[schema(minimum = 0, maximum = 1000000000)]
    weight: Option<f64>,
    /// The steps it is made of.
    #[schema(no_recursion)]
    #[serde(default)]
    steps: Vec<StepBody>,
}

impl From<StepBody> for StepSpec {
    fn from(body: StepBody) -> Self {
        Self {
            id: body.id,
            title: body.title,
            weight: body.weight,
            steps: body.steps.into_iter().map(Self::from).collect(),
        }
    }
}

/// How far a job has come, as it is read. What it may be is said by [`NumberBody`] and [`StepsBody`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgressBody {
    progress: Option<f64>,
    step: Option<String>,
    steps: Option<Vec<StepBody>>,
    epoch: Option<u32>,
    progress_source: Option<ProgressSource>,
    at: Option<Moment>,
}

/// A number: of the job, where it has no steps, or of one of its steps.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "a shape of `ProgressBody`, for the description only")]
pub struct NumberBody {
    /// 0 to 1. A number lower than the last is ignored.
    #[schema(minimum = 0, maximum = 1, example = 0.5)]
    progress: f64,
    /// The step, by path (`load/parse`), or by id where that is unique.
    #[schema(min_length = 1)]
    step: Option<String>,
    /// Steps to declare beforehand; naming one that exists adds to it.
    steps: Option<Vec<StepBody>>,
    /// The epoch that `start` answered.
    epoch: Option<u32>,
    /// `guessed` where the number was read out of what the work printed; `reported` where nothing is said.
    progress_source: Option<ProgressSource>,
    /// When it was so, by the runner's clock.
    #[schema(value_type = Option<String>, format = DateTime, min_length = 20)]
    at: Option<Moment>,
}

/// Steps to declare, now or late.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "a shape of `ProgressBody`, for the description only")]
pub struct StepsBody {
    /// The steps; naming one that exists adds to it.
    steps: Vec<StepBody>,
    /// Absent: without a number there is no step it is of.
    #[schema(schema_with = nothing)]
    step: Option<()>,
    /// Absent: with a number it is the other shape.
    #[schema(schema_with = nothing)]
    progress: Option<()>,
    /// The epoch that `start` answered.
    epoch: Option<u32>,
    /// As beside a number.
    progress_source: Option<ProgressSource>,
    /// When it was so, by the runner's clock.
    #[schema(value_type = Option<String>, format = DateTime, min_length = 20)]
    at: Option<Moment>,
}

/// The schema of what may be `null` or absent.
fn nothing() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Null).description(Some("Absent, or null."))
}

impl PartialSchema for ProgressBody {
    fn schema() -> RefOr<Schema> {
        AnyOfBuilder::new()
            .item(Ref::from_schema_name(NumberBody::name()))
            .item(Ref::from_schema_name(StepsBody::name()))
            .description(Some("A number, steps to declare, or both."))
            .into()
    }
}

impl ToSchema for ProgressBody {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((NumberBody::name().into_owned(), NumberBody::schema()));
        schemas.push((StepsBody::name().into_owned(), StepsBody::schema()));
        NumberBody::schemas(schemas);
        StepsBody::schemas(schemas);
    }
}

/// A report was recorded.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reported {
    /// The job.
    #[schema(value_type = uuid::Uuid)]
    job_id: JobId,
    /// The job's progress, 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    progress: f64,
    /// Where the job stands.
    status: Status,
    /// Grows with every change to the job.
    revision: u64,
    /// What happened, in a sentence.
    message: String,
}

impl Reported {
    /// The answer to a report on a job.
    pub fn of(job: &Job, message: &str) -> Json<Self> {
        Json(Self {
            job_id: job.id,
            progress: job.progress,
            status: job.status,
            revision: job.revision,
            message: message.to_owned(),
        })
    }
}

/// Report progress, or declare steps
#[utoipa::path(
    post,
    path = "/api/admin/jobs/{id}/progress",
    operation_id = "reportProgress",
    tag = "reporting",
    params(("id" = uuid::Uuid, Path, description = "The job")),
    request_body = ProgressBody,
    responses(
        (status = 200, body = Reported, description = "Recorded"),
        (status = 400, body = ErrorBody, description = "A number outside 0 to 1, a step that is not there or not clear (`step_needed`, `unknown_step`, `ambiguous_step`, `duplicate_step`, `step_has_parts`), or a request that cannot be read"),
        (status = 409, body = ErrorBody, description = NOT_RECORDED),
    )
)]
pub async fn post(
    State(app): State<AppState>,
    Allowed(caller, _): Allowed<ReportOwn>,
    JobPath(id): JobPath,
    Body(body): Body<ProgressBody>,
) -> Result<Json<Reported>, ApiError> {
    let mut items = Vec::new();
    items.extend(body.progress_source.map(ReportItem::From));
    let said = items.len();
    if let Some(steps) = body.steps {
        items.push(ReportItem::Steps(steps.into_iter().map(StepSpec::from).collect()));
    }
    match (body.progress, body.step) {
        (Some(value), step) => items.push(ReportItem::Progress { step, value }),
        (None, Some(_)) => return Err(Invalid::new("progress", "is required beside `step`").into()),
        (None, None) if items.len() == said => {
            return Err(Invalid::new("progress", "must be a number between 0 and 1").into());
        }
        (None, None) => {}
    }
    if let Some(Moment(at)) = body.at {
        items.insert(0, ReportItem::At(at));
    }
    let job = app.service.report(&caller, id, Report { epoch: body.epoch, items }).await?;
    Ok(Reported::of(&job, "Progress updated successfully"))
}

/// The epoch a runner believes in.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct EpochBody {
    /// The epoch that `start` answered.
    epoch: Option<u32>,
    /// The work did something since the last heartbeat, though there is nothing to say: its program printed half a
    /// line. That counts as activity, as a message does.
    #[serde(default)]
    active: bool,
}

/// The run the work was for, how it stopped, and when.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AbortedBody {
    /// The fence of the run, as it was given at the start.
    epoch: Option<u32>,
    /// The exit code of its process, 0 to 255; 128 and the signal's number where a signal ended it.
    #[schema(maximum = 255)]
    exit_code: Option<u8>,
    /// It had not ended so many seconds after it was told to, and was killed with SIGKILL. The log says so, that
    /// nobody takes a clean-up that was cut short for one that was done. Absent where it ended by itself.
    killed_after: Option<u32>,
    /// When it stopped, by the runner's clock.
    #[schema(value_type = Option<String>, format = DateTime, min_length = 20)]
    at: Option<Moment>,
}

fn happened(at: Option<Moment>) -> Option<Timestamp> {
    at.map(|Moment(at)| at)
}

/// A heartbeat was heard.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Heard {
    /// Somebody asked the job to stop. Stop the work, then call `…/aborted`.
    abort_requested: bool,
    /// Where the job stands.
    status: Status,
}

/// Say that the runner lives
#[utoipa::path(
    post,
    path = "/api/admin/jobs/{id}/heartbeat",
    operation_id = "heartbeat",
    tag = "reporting",
    params(("id" = uuid::Uuid, Path, description = "The job")),
    request_body = Option<EpochBody>,
    responses(
        (status = 200, body = Heard, description = "Heard"),
        (status = 409, body = ErrorBody, description = NOT_RECORDED),
    )
)]
pub async fn heartbeat(
    State(app): State<AppState>,
    Allowed(caller, _): Allowed<ReportOwn>,
    JobPath(id): JobPath,
    OptionalBody(body): OptionalBody<EpochBody>,
) -> Result<Json<Heard>, ApiError> {
    let items = if body.active { vec![ReportItem::Active] } else { Vec::new() };
    let job = app.service.report(&caller, id, Report { epoch: body.epoch, items }).await?;
    Ok(Json(Heard { abort_requested: job.abort.is_some(), status: job.status }))
}

/// How a job ended well.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct CompleteBody {
    /// What it produced: any JSON.
    #[schema(value_type = Option<Value>)]
    output: Option<Document>,
    /// The epoch that `start` answered.
    epoch: Option<u32>,
    /// When it ended, by the runner's clock.
    #[schema(value_type = Option<String>, format = DateTime, min_length = 20)]
    at: Option<Moment>,
}

/// Complete a job
#[utoipa::path(
    post,
    path = "/api/admin/jobs/{id}/complete",
    operation_id = "completeJob",
    tag = "reporting",
    params(("id" = uuid::Uuid, Path, description = "The job")),
    request_body = Option<CompleteBody>,
    responses(
        (status = 200, body = Reported, description = "The job is completed"),
        (status = 409, body = ErrorBody, description = NOT_RECORDED),
    )
)]
pub async fn complete(
    State(app): State<AppState>,
    Allowed(caller, _): Allowed<ReportOwn>,
    JobPath(id): JobPath,
    OptionalBody(body): OptionalBody<CompleteBody>,
) -> Result<Json<Reported>, ApiError> {
    let job = app.service.complete(&caller, id, body.epoch, document(body.output), happened(body.at)).await?;
    Ok(Reported::of(&job, "Job marked as completed"))
}

/// How a job ended badly.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailBody {
    /// What went wrong.
    error_message: Option<String>,
    /// Whether another attempt could help; true where absent.
    retryable: Option<bool>,
    /// The epoch that `start` answered.
    epoch: Option<u32>,
    /// When it ended, by the runner's clock.
    #[schema(value_type = Option<String>, format = DateTime, min_length = 20)]
    at: Option<Moment>,
}

/// Fail a job
#[utoipa::path(
    post,
    path = "/api/admin/jobs/{id}/fail",
    operation_id = "failJob",
    tag = "reporting",
    params(("id" = uuid::Uuid, Path, description = "The job")),
    request_body = Option<FailBody>,
    responses(
        (status = 200, body = Reported, description = "The job is failed"),
        (status = 409, body = ErrorBody, description = NOT_RECORDED),
    )
)]
pub async fn fail(
    State(app): State<AppState>,
    Allowed(caller, _): Allowed<ReportOwn>,
    JobPath(id): JobPath,
    OptionalBody(body): OptionalBody<FailBody>,
) -> Result<Json<Reported>, ApiError> {
    let retryable = body.retryable.unwrap_or(true);
    let (error, at) = (body.error_message, happened(body.at));
    let job = app.service.fail(&caller, id, body.epoch, error, retryable, at).await?;
    Ok(Reported::of(&job, "Job marked as failed"))
}

/// Say that the work stopped as asked
#[utoipa::path(
    post,
    path = "/api/admin/jobs/{id}/aborted",
    operation_id = "acknowledgeAbort",
    tag = "reporting",
    params(("id" = uuid::Uuid, Path, description = "The job")),
    request_body = Option<AbortedBody>,
    responses(
        (status = 200, body = Reported, description = "The job is aborted"),
        (status = 409, body = ErrorBody, description = "`wrong_state`: nobody asked the job to stop. `job_finished`, `stale_epoch`: as for a report"),
    )
)]
pub async fn aborted(
    State(app): State<AppState>,
    Allowed(caller, _): Allowed<ReportOwn>,
    JobPath(id): JobPath,
    OptionalBody(body): OptionalBody<AbortedBody>,
) -> Result<Json<Reported>, ApiError> {
    let how = Stopped { exit_code: body.exit_code, killed_after: body.killed_after };
    let job = app.service.acknowledge_abort(&caller, id, body.epoch, how, happened(body.at)).await?;
    Ok(Reported::of(&job, "Job marked as aborted"))
}
