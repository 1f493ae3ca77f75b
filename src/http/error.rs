//! How the API says no: one envelope, one table of statuses.

use axum::Json;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::model::Refusal;
use crate::service::ServiceError;

/// A refusal. Nothing changed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    /// A sentence a person can act on.
    #[schema(example = "The job has already ended (completed), so this was not recorded.")]
    pub error: String,
    /// A stable name for programs.
    #[schema(example = "job_finished")]
    pub code: String,
    /// What a program may want to know besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

/// Why a request was refused, with the status that says so.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    body: ErrorBody,
    retry_after: Option<u64>,
}

impl ApiError {
    /// A refusal that never reached a service: the request itself is at fault.
    pub fn request(status: StatusCode, code: &str, error: impl Into<String>) -> Self {
        let body = ErrorBody { error: error.into(), code: code.to_owned(), details: None };
        Self { status, body, retry_after: None }
    }

    /// The same, with seconds after which trying again makes sense.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

/// The status that goes with a service's error.
pub fn status_of(error: &ServiceError) -> StatusCode {
    match error {
        ServiceError::Refused(refusal) => match refusal {
            Refusal::Invalid(_)
            | Refusal::StepNeeded
            | Refusal::UnknownStep { .. }
            | Refusal::AmbiguousStep { .. }
            | Refusal::DuplicateStep { .. }
            | Refusal::StepHasParts { .. }
            | Refusal::SearchTooLong { .. } => StatusCode::BAD_REQUEST,
            Refusal::NotFound { .. } => StatusCode::NOT_FOUND,
            Refusal::Finished { .. }
            | Refusal::Fenced { .. }
            | Refusal::WrongState { .. }
            | Refusal::Unchanged { .. }
            | Refusal::NotStale
            | Refusal::Duplicate { .. }
            | Refusal::Exists { .. }
            | Refusal::ClockDoubted
            | Refusal::KeyReused => StatusCode::CONFLICT,
            Refusal::ActiveLimit { .. } | Refusal::ActiveShare { .. } | Refusal::TooManySearches => {
                StatusCode::TOO_MANY_REQUESTS
            }
        },
        ServiceError::Unauthenticated | ServiceError::WrongPassword => StatusCode::UNAUTHORIZED,
        ServiceError::LinkExpired => StatusCode::GONE,
        ServiceError::Forbidden { .. } | ServiceError::NotYours { .. } | ServiceError::MayNotActAs { .. } => {
            StatusCode::FORBIDDEN
        }
        ServiceError::TooManyAttempts { .. } => StatusCode::TOO_MANY_REQUESTS,
        ServiceError::NotConfirmed(_) => StatusCode::BAD_REQUEST,
        ServiceError::NotFound(_) => StatusCode::NOT_FOUND,
        ServiceError::Conflict(_) => StatusCode::CONFLICT,
        ServiceError::Unreadable(_) => StatusCode::INTERNAL_SERVER_ERROR,
        ServiceError::Stopping | ServiceError::Unavailable(_) | ServiceError::Busy { .. } => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

impl From<ServiceError> for ApiError {
    fn from(error: ServiceError) -> Self {
        let body =
            ErrorBody { error: error.to_string(), code: error.code().to_owned(), details: error.details() };
        Self { status: status_of(&error), body, retry_after: error.retry_after() }
    }
}

impl From<crate::model::Invalid> for ApiError {
    fn from(invalid: crate::model::Invalid) -> Self {
        ServiceError::from(invalid).into()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
