//! Live changes as server-sent events: a nudge, not the data (ARCHITECTURE decision 9).
//!
//! An event says "revision N exists, these jobs changed"; whoever hears it fetches as a poll would. So a
//! lost event costs nothing, and a slow reader gets one event for many changes. A stream ends after a
//! while, and within seconds where its listener is shut out; browsers come back by themselves.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::IntoResponse;
use futures::stream::unfold;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};
use utoipa::IntoParams;

use crate::engine::Board;
use crate::http::{ApiError, AppState, ErrorBody, Listening, Params, SignedIn, credential};
use crate::model::{JobId, Permission};
use crate::server::connections::Endless;
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
        (status = 429, body = ErrorBody, description = "`too_many_streams`: as many streams are open as may be, in all or with this credential. `too_many_connections`: as many connections are open with this credential", headers(("Retry-After" = u64, description = "Seconds after which to try again"))),
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
    let board = Arc::clone(app.service.board());
    // Where the client left off, if it was with this run of the server.
    let seen = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok())
        .and_then(|id| id.split_once('-'))
        .filter(|(boot, _)| *boot == board.boot())
        .and_then(|(_, revision)| revision.parse::<u64>().ok());
    let now = Instant::now();
    let listener = Listener {
        shown: credential(&app.settings, &headers),
        heard: board.revisions(),
        job: params.job,
        seen,
        quiet_until: now,
        beat_at: now + BEAT,
        look_at: now + LOOK,
        ends_at: now + LASTS,
        timer: Box::pin(sleep_until(now + BEAT)),
        board,
        app,
        _listening: listening,
    };
    let events = unfold(listener, |mut listener| async { Some((listener.next().await?, listener)) });
    let heads = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        // A proxy that gathers or packs what it passes on would deliver it when it is of no use any more.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform")),
    ];
    Ok((heads, Endless::answer(events)))
}

/// One who listens. There may be thousands, so it has one timer for all it waits for.
struct Listener {
    app: AppState,
    board: Arc<Board>,
    shown: Option<Credential>,
    job: Option<JobId>,
    heard: watch::Receiver<u64>,
    /// The newest revision that was told of, or that is none of the listener's business.
    seen: Option<u64>,
    /// What changes before is told of then, together.
    quiet_until: Instant,
    /// Counted from the last thing that was sent: changes of other jobs are not sent, and do not put it off.
    beat_at: Instant,
    look_at: Instant,
    ends_at: Instant,
    timer: Pin<Box<Sleep>>,
    _listening: Listening,
}

impl Listener {
    /// What is sent next; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let now = Instant::now();
            if now >= self.ends_at {
                return None;
            }
            if now >= self.look_at {
                // A future of its own, and not a part of each listener's that is waiting.
                if !Box::pin(may_listen(&self.app, self.shown.as_ref())).await {
                    return None;
                }
                self.look_at = Instant::now() + LOOK;
                continue;
            }
            if now >= self.quiet_until
                && let Some(news) = self.news()
            {
                self.quiet_until = now + GATHER;
                self.beat_at = now + BEAT;
                return Some(news);
            }
            if now >= self.beat_at {
                self.beat_at = now + BEAT;
                return Some(beat_of(self.board.boot(), *self.heard.borrow()));
            }
            let due = self.seen != Some(*self.heard.borrow());
            let until = self.beat_at.min(self.look_at).min(self.ends_at);
            let until = if due { until.min(self.quiet_until) } else { until };
            if self.timer.deadline() != until {
                self.timer.as_mut().reset(until);
            }
            tokio::select! {
                changed = self.heard.changed(), if !due => changed.ok()?,
                () = &mut self.timer => {}
                () = self.app.closing.cancelled() => return None,
            }
        }
    }

    /// What has changed, where it has.
    fn news(&mut self) -> Option<Bytes> {
        let revision = *self.heard.borrow_and_update();
        if self.seen == Some(revision) {
            return None;
        }
        let changed = self.seen.and_then(|seen| self.board.changed_since(seen));
        self.seen = Some(revision);
        if let (Some(ids), Some(job)) = (&changed, self.job)
            && !ids.contains(&job)
        {
            return None;
        }
        let jobs = changed.filter(|ids| ids.len() <= MAX_NAMED);
        let boot = self.board.boot();
        let data = json!({"revision": revision, "boot": boot, "jobs": jobs});
        Some(Bytes::from(format!("event: revision\nid: {boot}-{revision}\ndata: {data}\n\n")))
    }
}

/// What a quiet stream sends. With data, for a browser tells nobody of an event that has none.
fn beat_of(boot: &str, revision: u64) -> Bytes {
    let data = json!({"revision": revision, "boot": boot});
    Bytes::from(format!("event: beat\ndata: {data}\n\n"))
}

/// Whether whoever listens may still do so. While the store does not answer, nobody knows better.
async fn may_listen(app: &AppState, shown: Option<&Credential>) -> bool {
    let Some(shown) = shown else { return false };
    match app.service.recognise_within(shown, FRESH).await {
        Ok(caller) => caller.must(Permission::Read).is_ok(),
        Err(error) => error != ServiceError::Unauthenticated,
    }
}
