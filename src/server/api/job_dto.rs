//! How a job looks on the wire: the requirement's fields, by its names, and ours beside them.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::model::{Cause, Job, JobId, LogCounts, LogLine, ProgressSource, Status, Timestamp};
use crate::service::{Caller, Service, ServiceError};
use crate::store::Newest;
use crate::view::{JobRow, Severity, SweepPlan, attention, iso};

/// A message of a job.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageDto {
    /// What it says.
    pub message: String,
    /// When the server recorded it.
    #[schema(format = DateTime)]
    pub timestamp: String,
    /// Its place in the job's log.
    pub seq: u64,
}

/// A step of a job's progress tree.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepDto {
    /// Names it among its siblings.
    pub id: String,
    /// What people read.
    pub title: String,
    /// How much it counts among its siblings.
    pub weight: f64,
    /// 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    pub progress: f64,
    /// When it was first reported on.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When it reached 1.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// The steps it is made of.
    #[schema(no_recursion)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepDto>,
}

/// How many messages of each level are not there.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct TruncatedDto {
    /// Infos.
    pub info: u64,
    /// Warnings.
    pub warning: u64,
    /// Errors.
    pub error: u64,
}

/// When a job needs a person.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Urgency {
    /// It needs one now.
    Now,
    /// It will need one.
    Soon,
}

/// The system's reading of a job's condition.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VerdictDto {
    /// `now` or `soon`: when it needs a person.
    pub severity: Urgency,
    /// Why, in a sentence.
    pub text: String,
}

/// A job.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobDto {
    /// Its id.
    #[schema(value_type = uuid::Uuid)]
    pub id: JobId,
    /// Its type.
    pub feature: String,
    /// Whom it is for.
    pub author: String,
    /// What people call it.
    pub title: String,
    /// Where it stands.
    pub status: Status,
    /// 0 to 1. Never falls, and is 1 once completed.
    #[schema(minimum = 0, maximum = 1)]
    pub progress: f64,
    /// When the run began.
    #[schema(format = DateTime)]
    pub start_time: String,
    /// When it ended; absent until then.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_time: Option<String>,
    /// The last message, step change or moving number.
    #[schema(format = DateTime)]
    pub last_activity_time: String,
    /// When its runner was last heard of.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_time: Option<String>,
    /// The newest infos, oldest first.
    pub info_messages: Vec<MessageDto>,
    /// The newest warnings, oldest first.
    pub warning_messages: Vec<MessageDto>,
    /// The newest errors, oldest first, with the one the job ended with.
    pub error_messages: Vec<MessageDto>,
    /// How many older messages there are; `…/messages` has them.
    pub truncated: TruncatedDto,
    /// Which try this is.
    pub attempt: u32,
    /// The most tries.
    pub max_attempts: u32,
    /// The fence of the run: send it with every report.
    pub epoch: u32,
    /// Its queue.
    pub queue: String,
    /// Higher goes first within a queue.
    pub priority: i32,
    /// Its progress tree.
    pub steps: Vec<StepDto>,
    /// An estimate of the time left; null while there is none.
    #[schema(required = true)]
    pub eta: Option<Value>,
    /// What is wrong with it; null where nothing is.
    #[schema(required = true)]
    pub verdict: Option<VerdictDto>,
    /// Its labels.
    pub tags: Vec<String>,
    /// What it works on.
    #[schema(required = true)]
    pub input: Option<Value>,
    /// What it produced.
    #[schema(required = true)]
    pub output: Option<Value>,
    /// What went wrong.
    #[schema(required = true)]
    pub error: Option<String>,
    /// Why it ended: `reported`, `aborted`, `force_failed`, `emergency_cleanup`, `timeout`, `inactive`, `lost` or
    /// `server_stopped`; absent until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Who ended it, which limit did and what changes that, where its run did not end it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_because: Option<String>,
    /// `guessed` where its numbers were read out of what the work printed; absent where they were reported.
    #[schema(required = false)]
    #[serde(skip_serializing_if = "ProgressSource::is_reported")]
    pub progress_source: ProgressSource,
    /// Every so many seconds its process promised to be heard of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_every: Option<u32>,
    /// Seconds its process may take to stop once it is asked to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace: Option<u32>,
    /// Its runner gave a time that cannot be; what it dates so bears the server's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub clock_doubted: bool,
    /// Whether somebody asked it to stop.
    pub abort_requested: bool,
    /// Who asked it to stop, why, and when; null where nobody did.
    #[schema(required = true)]
    pub abort: Option<AbortDto>,
    /// That somebody gave it more time than its limits; absent where nobody did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub more_time: Option<MoreTimeDto>,
    /// How many messages were left out of the log, which is full: between the first of that level and the last 1000.
    pub dropped: TruncatedDto,
    /// Somebody wants it kept: no limit of age or number removes it.
    pub pinned: bool,
    /// How many writes of a fenced run were refused.
    pub late_writes: u64,
    /// Grows with every change to the job.
    pub revision: u64,
}

/// That somebody asked a job to stop.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AbortDto {
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
}

/// That somebody gave a job more time. Who, and why, says its log.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MoreTimeDto {
    /// When it was given.
    #[schema(format = DateTime)]
    pub at: String,
    /// No limit ends the job before; null where none does at all any more.
    #[schema(required = true, format = DateTime)]
    pub until: Option<String>,
}

/// How many messages of each level a job carries when it is asked for alone.
pub const MESSAGES_OF_ONE: usize = 1_000;
/// How many it carries in a list. `…/messages` has the rest.
pub const MESSAGES_IN_LIST: usize = 10;

impl JobDto {
    /// Jobs with their newest messages, `most` of each level.
    pub async fn of(
        service: &Service,
        caller: &Caller,
        jobs: &[Arc<Job>],
        most: usize,
    ) -> Result<Vec<Self>, ServiceError> {
        let newest = service.newest_messages(caller, jobs, most).await?;
        let (now, plan) = (service.now(), service.board().sweep_plan());
        Ok(jobs.iter().zip(newest).map(|(job, messages)| Self::with(job, now, plan, messages)).collect())
    }

    /// A job with its newest messages, `most` of each level.
    pub async fn one(
        service: &Service,
        caller: &Caller,
        job: &Arc<Job>,
        most: usize,
    ) -> Result<Self, ServiceError> {
        let newest = service.newest_messages(caller, std::slice::from_ref(job), most).await?;
        let plan = service.board().sweep_plan();
        Ok(Self::with(job, service.now(), plan, newest.into_iter().next().unwrap_or_default()))
    }

    fn with(job: &Job, now: Timestamp, plan: Option<SweepPlan>, messages: Newest) -> Self {
        let LogCounts { info, warning, error, .. } = job.counts;
        let left = |count: u64, shown: &[LogLine]| count.saturating_sub(shown.len() as u64);
        let truncated = TruncatedDto {
            info: left(info, &messages[0]),
            warning: left(warning, &messages[1]),
            error: left(error, &messages[2]),
        };
        let [info_messages, warning_messages, error_messages] =
            messages.map(|lines| lines.into_iter().map(message).collect());
        let row = JobRow::from(job);
        let verdict = attention(&row, now).map(|need| VerdictDto {
            severity: match need.severity {
                Severity::Now => Urgency::Now,
                Severity::Soon => Urgency::Soon,
            },
            text: format!("{} {} {}", job.title(), need.verdict, need.told(&row, now, plan.as_ref())),
        });
        let spec = &job.spec;
        Self {
            id: job.id,
            feature: spec.feature.as_str().to_owned(),
            author: spec.author.as_str().to_owned(),
            title: job.title().to_owned(),
            status: job.status,
            progress: job.progress,
            start_time: iso(job.start_time()),
            end_time: job.ended_at.map(iso),
            last_activity_time: iso(job.activity_at),
            heartbeat_time: job.heartbeat_at.map(iso),
            info_messages,
            warning_messages,
            error_messages,
            truncated,
            attempt: job.attempt,
            max_attempts: spec.max_attempts,
            epoch: job.epoch,
            queue: spec.queue.clone(),
            priority: spec.priority,
            steps: steps(job, job.steps.top()),
            eta: None,
            verdict,
            tags: spec.tags.iter().map(|tag| tag.as_str().to_owned()).collect(),
            input: spec.input.clone(),
            output: job.output.as_deref().cloned(),
            error: job.error.as_deref().map(str::to_owned),
            cause: job.cause(),
            ended_because: job.ended_because(),
            progress_source: job.progress_source,
            heartbeat_every: spec.heartbeat_every,
            grace: spec.grace,
            clock_doubted: job.clock_doubted,
            abort_requested: job.abort.is_some(),
            abort: job.abort.as_ref().map(|abort| AbortDto {
                reason: abort.reason.as_str().to_owned(),
                by: abort.by.clone(),
                at: iso(abort.at),
            }),
            more_time: job
                .more_time
                .map(|given| MoreTimeDto { at: iso(given.at), until: given.until.map(iso) }),
            dropped: TruncatedDto {
                info: job.dropped.info,
                warning: job.dropped.warning,
                error: job.dropped.error,
            },
            pinned: job.pinned,
            late_writes: job.late_writes,
            revision: job.revision,
        }
    }
}

fn message(line: LogLine) -> MessageDto {
    MessageDto { message: line.text, timestamp: iso(line.at), seq: line.seq }
}

fn steps(job: &Job, level: &[usize]) -> Vec<StepDto> {
    level
        .iter()
        .map(|&index| {
            let step = &job.steps.steps()[index];
            StepDto {
                id: step.id.clone(),
                title: step.label().to_owned(),
                weight: step.weight.into(),
                progress: step.progress,
                started_at: step.started_at.map(iso),
                ended_at: step.ended_at.map(iso),
                steps: steps(job, &step.children),
            }
        })
        .collect()
}
