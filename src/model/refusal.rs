//! Why a command was not carried out: one type for the model, the stores and the services.
//!
//! Each refusal has a stable code for programs, a sentence a person can act on, and changes nothing. The
//! HTTP status that goes with a code is decided at the edge, in `server/api/error`.

use serde_json::{Value, json};
use thiserror::Error;

use super::event::Cause;
use super::job_id::JobId;
use super::status::Status;
use super::text::Invalid;

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Refusal {
    /// A value in the request is not acceptable.
    #[error("{0}.")]
    Invalid(#[from] Invalid),
    /// No job has that id.
    #[error("There is no job {id}. It may have been removed by the history limits.")]
    NotFound {
        /// The id asked for.
        id: JobId,
    },
    /// The job has ended; nothing can be added to it.
    #[error("The job has already ended ({status}), so this was not recorded.")]
    Finished {
        /// How it ended.
        status: Status,
    },
    /// The write comes from a run that is no longer the job's own (ARCHITECTURE decision 4).
    #[error("{}", fenced_words(*given, *current, ended.as_deref()))]
    Fenced {
        /// The epoch the writer believes in.
        given: u32,
        /// The job's epoch.
        current: u32,
        /// How the run ended, where that is what fenced it.
        ended: Option<Box<Ended>>,
    },
    /// The command does not apply in the job's state.
    #[error("A job that is {status} cannot be {wanted}.")]
    WrongState {
        /// The job's state.
        status: Status,
        /// The command, as a participle: "claimed".
        wanted: &'static str,
    },
    /// The job is already as it was asked to be.
    #[error("The job is {already} already.")]
    Unchanged {
        /// What it is: "pinned".
        already: &'static str,
    },
    /// The sweep found the job to be in order.
    #[error("The job is not stale.")]
    NotStale,
    /// The job has declared steps, so a bare number has no place.
    #[error("This job has declared steps. Name the step this progress belongs to.")]
    StepNeeded,
    /// No step has that name.
    #[error("The job has no step `{step}`. Declare it first with {{\"steps\": [{{\"id\": …}}]}}.")]
    UnknownStep {
        /// The name given.
        step: String,
        /// Up to ten steps the job has.
        known: Vec<String>,
    },
    /// Several steps have that id.
    #[error("Several steps of the job are called `{step}`. Name it by its path, such as `parent/{step}`.")]
    AmbiguousStep {
        /// The name given.
        step: String,
    },
    /// Two siblings were declared under one id.
    #[error("Two steps beside each other are called `{step}`. Give each its own id.")]
    DuplicateStep {
        /// The id given twice.
        step: String,
    },
    /// A number was reported for a step that is the mean of its parts.
    #[error(
        "Step `{step}` is made of other steps, so its progress is theirs. Report on one of them, or report 1 to finish it."
    )]
    StepHasParts {
        /// The step's path.
        step: String,
    },
    /// The feature runs already and the request allowed only one.
    #[error("A job for {feature} is already running ({id}).")]
    Duplicate {
        /// The feature.
        feature: String,
        /// The job that runs.
        id: JobId,
    },
    /// As many jobs are active as may be.
    #[error("{limit} jobs are active, which is the limit. Wait for one to end, or raise `max-active-jobs`.")]
    ActiveLimit {
        /// The limit.
        limit: u32,
    },
    /// As many jobs of one owner are active as may be.
    #[error(
        "{share} jobs that {owner} started are active, which is its share of the {limit} there may be. Wait for one to \
         end, or raise `max-active-each`."
    )]
    ActiveShare {
        /// Whose they are: `token:importer`.
        owner: String,
        /// The share.
        share: u32,
        /// The limit of all.
        limit: u32,
    },
    /// A job to be imported is there already.
    #[error("There is a job {id} already. Import into an empty store, or leave that job out.")]
    Exists {
        /// The id both have.
        id: JobId,
    },
    /// A search was given up.
    #[error(
        "The search was given up after {seconds} seconds. Look for a longer text, or within one feature, level or step."
    )]
    SearchTooLong {
        /// How long it went on.
        seconds: u64,
    },
    /// As many searches go on as may.
    #[error("Others are searching, and a search waits for its turn. Try again in a few seconds.")]
    TooManySearches,
    /// The server's clock is far ahead of what its store tells of, and nobody has said that it is right.
    #[error(
        "This server's clock is not believed, so no job is ended for its age. Look at its health; if the clock is right, say so with `longhaul clock accept`."
    )]
    ClockDoubted,
    /// An idempotency key came back with another request.
    #[error("This Idempotency-Key was already used for another request.")]
    KeyReused,
}

/// How a run ended that did not end itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Why.
    pub cause: Cause,
    /// The job's own error.
    pub error: String,
    /// Who, which limit, and what changes it.
    pub because: String,
}

fn fenced_words(given: u32, current: u32, ended: Option<&Ended>) -> String {
    let fence = format!("it reports for epoch {given}, the job is at epoch {current}");
    match ended {
        Some(Ended { error, because, .. }) => {
            format!(
                "{error}. {because} This run was fenced off, {fence}: stop the work; its reports are refused."
            )
        }
        None => format!("This run was fenced off: {fence}. Stop the work; its reports are refused."),
    }
}

impl Refusal {
    /// The stable name of the refusal, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid_value",
            Self::NotFound { .. } => "job_not_found",
            Self::Finished { .. } => "job_finished",
            Self::Fenced { .. } => "stale_epoch",
            Self::WrongState { .. } => "wrong_state",
            Self::Unchanged { .. } => "unchanged",
            Self::NotStale => "not_stale",
            Self::StepNeeded => "step_needed",
            Self::UnknownStep { .. } => "unknown_step",
            Self::AmbiguousStep { .. } => "ambiguous_step",
            Self::DuplicateStep { .. } => "duplicate_step",
            Self::StepHasParts { .. } => "step_has_parts",
            Self::Duplicate { .. } => "duplicate_job",
            Self::ActiveLimit { .. } => "active_limit",
            Self::ActiveShare { .. } => "active_share",
            Self::Exists { .. } => "job_exists",
            Self::SearchTooLong { .. } => "search_too_long",
            Self::TooManySearches => "too_many_searches",
            Self::ClockDoubted => "clock_doubted",
            Self::KeyReused => "idempotency_key_reused",
        }
    }

    /// What a program may want to know beside the sentence.
    pub fn details(&self) -> Option<Value> {
        match self {
            Self::Invalid(invalid) => Some(json!({"field": invalid.field})),
            Self::Finished { status } | Self::WrongState { status, .. } => Some(json!({"status": status})),
            Self::Fenced { given, current, ended: None } => {
                Some(json!({"givenEpoch": given, "epoch": current}))
            }
            Self::Fenced { given, current, ended: Some(ended) } => Some(json!({
                "givenEpoch": given, "epoch": current, "cause": ended.cause.name(), "error": ended.error,
                "because": ended.because,
            })),
            Self::UnknownStep { known, .. } => Some(json!({"knownSteps": known})),
            Self::Duplicate { id, .. } | Self::Exists { id } => Some(json!({"jobId": id})),
            Self::ActiveLimit { limit } => Some(json!({"limit": limit})),
            Self::ActiveShare { share, limit, .. } => Some(json!({"share": share, "limit": limit})),
            Self::NotFound { .. }
            | Self::Unchanged { .. }
            | Self::NotStale
            | Self::StepNeeded
            | Self::AmbiguousStep { .. }
            | Self::DuplicateStep { .. }
            | Self::StepHasParts { .. }
            | Self::SearchTooLong { .. }
            | Self::TooManySearches
            | Self::ClockDoubted
            | Self::KeyReused => None,
        }
    }
}
