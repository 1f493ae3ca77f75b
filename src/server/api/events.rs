//! Live changes as server-sent events: a nudge, not the data (DESIGN decision 9).
//!
//! An event says "revision N exists, these jobs changed"; whoever hears it fetches as a poll would. So a
//! lost event costs nothing, and a slow reader gets one event for many changes. A stream ends after a
//! while, so that a session that was revoked does not listen for ever; browsers come back by themselves.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::Event;
use futures::Stream;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc::Sender;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::IntoParams;

use crate::http::{ApiError, AppState, Params, SignedIn};
use crate::model::{JobId, Permission};

/// Changes within this time are one event.
const GATHER: Duration = Duration::from_millis(15);
/// A quiet stream shows this often that it lives.
const BEAT: Duration = Duration::from_secs(15);
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
/// or too long ago to name.
#[utoipa::path(
    get,
    path = "/api/admin/jobs/events",
    operation_id = "followEvents",
    tag = "system",
    params(EventParams, ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was heard")),
    responses((status = 200, content_type = "text/event-stream", body = String, description = "Events, as they come"))
)]
pub async fn events(
    State(app): State<AppState>,
    SignedIn(caller): SignedIn,
    headers: HeaderMap,
    Params(params): Params<EventParams>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    caller.must(Permission::Read).map_err(ApiError::from)?;
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
    let stream = stream_of(move |emit| async move {
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
                // Seen by the browser's code, as a comment would not be: a stream that fell silent is dead.
                () = &mut beat => {
                    tokio::select! {
                        sent = emit.send(Ok(Event::default().event("beat").data(""))) => {
                            if sent.is_err() { return }
                        }
                        () = &mut end => return,
                        () = closing.cancelled() => return,
                    }
                    beat.as_mut().reset(Instant::now() + BEAT);
                }
                () = &mut end => return,
                () = closing.cancelled() => return,
                () = emit.closed() => return,
            }
        }
    });
    Ok(Sse::new(stream))
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
