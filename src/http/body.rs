//! Reading a request so that whatever is wrong with it is said in a sentence: never a 500, never a bare
//! status.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::as_described::AsDescribed;
use super::error::ApiError;
use crate::model::JobId;

/// A request body may have this many bytes…
const BODY_LIMIT: usize = 1024 * 1024;
/// …and a list of messages this many.
const MESSAGES_LIMIT: usize = 8 * 1024 * 1024;

/// The limit of a request's body, for every route that does not set its own.
pub fn body_limit() -> DefaultBodyLimit {
    DefaultBodyLimit::max(BODY_LIMIT)
}

/// The limit of a list of messages, for the route that takes one.
pub fn messages_limit() -> DefaultBodyLimit {
    DefaultBodyLimit::max(MESSAGES_LIMIT)
}

/// A JSON body. An empty one is refused.
pub struct Body<T>(pub T);

/// A JSON body, or nothing at all.
pub struct OptionalBody<T>(pub T);

/// A query string.
pub struct Params<T>(pub T);

/// The job a path names.
pub struct JobPath(pub JobId);

/// The user or token a path names.
pub struct NamePath(pub String);

async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    let json = request.headers().get(CONTENT_TYPE).is_none_or(|value| {
        // Nothing said is taken as JSON: what else would it be?
        let kind = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/json") || kind.ends_with("+json")
    });
    let bytes = Bytes::from_request(request, state).await.map_err(|rejection| match rejection {
        BytesRejection::FailedToBufferBody(failure) if failure.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            ApiError::request(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                "The request is too large: 1 MiB at most, and 8 MiB for a list of messages. Send it in parts.",
            )
        }
        other => ApiError::request(StatusCode::BAD_REQUEST, "body_unreadable", other.body_text()),
    })?;
    if !json && !bytes.is_empty() {
        return Err(ApiError::request(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not_json",
            "Send JSON, with `Content-Type: application/json`.",
        ));
    }
    Ok(bytes)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let read = T::deserialize(AsDescribed(&mut json)).and_then(|value| json.end().map(|()| value));
    read.map_err(|error| {
        let (code, what) = if error.is_data() {
            ("wrong_shape", "The JSON is not what this endpoint takes")
        } else {
            ("malformed_json", "The body is not valid JSON")
        };
        ApiError::request(StatusCode::BAD_REQUEST, code, format!("{what}: {error}."))
    })
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = read(request, state).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(ApiError::request(
                StatusCode::BAD_REQUEST,
                "empty_body",
                "The request has no body. Send JSON; `/api/docs` says what.",
            ));
        }
        parse(&bytes).map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for OptionalBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = read(request, state).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self(T::default()));
        }
        parse::<Option<T>>(&bytes).map(|body| Self(body.unwrap_or_default()))
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Query::from_request_parts(parts, state).await.map(|Query(params)| Self(params)).map_err(
            |rejection: QueryRejection| {
                ApiError::request(
                    StatusCode::BAD_REQUEST,
                    "wrong_query",
                    format!("The query is not what this endpoint takes: {}.", rejection.body_text()),
                )
            },
        )
    }
}

impl<S: Send + Sync> FromRequestParts<S> for JobPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let unknown = |id: &str| {
            ApiError::request(
                StatusCode::NOT_FOUND,
                "job_not_found",
                format!("There is no job `{}`: a job's id is a UUID.", crate::model::shorten(id, 60)),
            )
        };
        let Path(id) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| unknown(""))?;
        id.parse().map(Self).map_err(|_| unknown(&id))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for NamePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        // Nobody has a name that is not UTF-8.
        Path::<String>::from_request_parts(parts, state).await.map(|Path(name)| Self(name)).map_err(|_| {
            ApiError::request(
                StatusCode::NOT_FOUND,
                "not_found",
                "There is nothing of that name: in the address it is to be UTF-8, percent-encoded.",
            )
        })
    }
}
