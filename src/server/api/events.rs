//! Live changes as server-sent events: a nudge, not the data (ARCHITECTURE decision 9).
//!
//! An event says "revision N exists, these jobs changed"; whoever hears it fetches as a poll would. So a
//! lost event costs nothing, and a slow reader gets one event for many changes. A stream ends after a
//! while, and within seconds where its listener is shut out; browsers come back by themselves.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Sse};
use futures::Stream;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use utoipa::IntoParams;

use crate::http::{ApiError, AppState, ErrorBody, Params, SignedIn, credential};
use crate::model::{JobId, Permission};
use crate::service::{Credential, ServiceError};

/// Changes within this time are one event.
const GATHER: Duration = Duration::from_millis(15);
/// A quiet stream shows this often that it lives. A page whose stream is late by half of that asks for itself,
/// so that no number is older than five seconds, whatever holds the stream up on its way.
const BEAT: Duration = Duration::from_secs(3);
/// A stream looks this often whether its listener may still hear…
const LOOK: Duration = Duration::from_secs(3);
/// …by what was true no longer ago than this: whoever is shut out hears nothing after five seconds.
const FRESH: Duration = Duration::from_secs(1);
/// A stream is ended after this long.
const LASTS: Duration = Duration::from_secs(10 * 60);
/// More changed jobs than this are not named one by one.
const MAX_NAMED: usize = 200;

/// Which changes.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventParams {
    /// Only those of this job.
    #[param(value_type = Option<uuid::Uuid>)]
    job: Option<JobId>,
}

/// Hear of changes
///
/// `text/event-stream`. Each event is called `revision`, has an id to resume from with `Last-Event-ID`, and
/// carries `{"revision", "boot", "jobs"}`: `jobs` are the ids that changed, or null when they are too many
/// or too long ago to name. Every three seconds without one comes an event called `beat`, with
/// `{"revision", "boot"}`.
#[utoipa::path(
    get,
    path = "/api/admin/jobs/events",
    operation_id = "followEvents",
    tag = "system",
    params(EventParams, ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was heard")),
    responses(
        (status = 200, content_type = "text/event-stream", body = String, description = "Events, as they come"),
        (status = 429, body = ErrorBody, description = "`too_many_streams`: as many streams are open as may be, in all or with this credential", headers(("Retry-After" = u64, description = "Seconds after which to try again"))),
    )
)]
pub async fn events(
    State(app): State<AppState>,
    SignedIn(caller): SignedIn,
    headers: HeaderMap,
    Params(params): Params<EventParams>,
) -> Result<impl IntoResponse, ApiError> {
    caller.must(Permission::Read).map_err(ApiError::from)?;
    let listening = app.streams.open(caller.credential).ok_or_else(|| {
        ApiError::request(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_streams",
            "Too many streams of changes are open. Close some, or poll instead.",
        )
        .retry_after(30)
    })?;
    let shown = credential(&app.settings, &headers);
    let board = app.service.board().clone();
    let mut heard = board.revisions();
    // Where the client left off, if it was with this run of the server.
    let mut seen = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok())
        .and_then(|id| id.split_once('-'))
        .filter(|(boot, _)| *boot == board.boot())
        .and_then(|(_, revision)| revision.parse::<u64>().ok());
    let closing = app.closing.clone();
    let stream = stream_of(move |emit: Sender<Result<Event, Infallible>>| async move {
        let _listening = listening;
        let mut look = tokio::time::interval_at(Instant::now() + LOOK, LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = tokio::time::sleep(LASTS);
        tokio::pin!(end);
        // From the last thing that was sent: changes of other jobs are nothing the listener hears.
        let beat = tokio::time::sleep(BEAT);
        tokio::pin!(beat);
        loop {
            let revision = *heard.borrow_and_update();
            if seen != Some(revision) {
                let changed = seen.and_then(|seen| board.changed_since(seen));
                let wanted = match (&changed, params.job) {
                    (Some(ids), Some(job)) => ids.contains(&job),
                    _ => true,
                };
                seen = Some(revision);
                if wanted {
                    let jobs = changed.filter(|ids| ids.len() <= MAX_NAMED);
                    let data = json!({"revision": revision, "boot": board.boot(), "jobs": jobs});
                    let event = Event::default()
                        .event("revision")
                        .id(format!("{}-{revision}", board.boot()))
                        .data(data.to_string());
                    // One who does not read is not waited for beyond the stream's time.
                    tokio::select! {
                        sent = emit.send(Ok(event)) => if sent.is_err() { return },
                        () = &mut end => return,
                        () = closing.cancelled() => return,
                    }
                    beat.as_mut().reset(Instant::now() + BEAT);
                    tokio::time::sleep(GATHER).await;
                }
            }
            tokio::select! {
                changed = heard.changed() => if changed.is_err() { return },
                // Seen by the browser's code, as a comment would not be, nor an event whose data is empty.
                () = &mut beat => {
                    tokio::select! {
                        sent = emit.send(Ok(beat_of(board.boot(), revision))) => {
                            if sent.is_err() { return }
                        }
                        () = &mut end => return,
                        () = closing.cancelled() => return,
                    }
                    beat.as_mut().reset(Instant::now() + BEAT);
                }
                _ = look.tick() => if !may_listen(&app, shown.as_ref()).await { return },
                () = &mut end => return,
                () = closing.cancelled() => return,
                () = emit.closed() => return,
            }
        }
    });
    // A proxy that gathers or packs what it passes on would deliver it when it is of no use any more.
    let unbuffered = [
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform")),
    ];
    Ok((unbuffered, Sse::new(stream)).into_response())
}

/// What a quiet stream sends. With data, for a browser tells nobody of an event that has none.
fn beat_of(boot: &str, revision: u64) -> Event {
    Event::default().event("beat").data(json!({"revision": revision, "boot": boot}).to_string())
}

/// Whether whoever listens may still do so. While the store does not answer, nobody knows better.
async fn may_listen(app: &AppState, shown: Option<&Credential>) -> bool {
    let Some(shown) = shown else { return false };
    match app.service.recognise_within(shown, FRESH).await {
        Ok(caller) => caller.must(Permission::Read).is_ok(),
        Err(error) => error != ServiceError::Unauthenticated,
    }
}

/// A stream of what a task emits. The task ends when nobody listens any more.
fn stream_of<T: Send + 'static, Work>(work: impl FnOnce(Sender<T>) -> Work) -> impl Stream<Item = T>
where
    Work: Future<Output = ()> + Send + 'static,
{
    let (emit, emitted) = tokio::sync::mpsc::channel(1);
    tokio::spawn(work(emit));
    ReceiverStream::new(emitted)
}
