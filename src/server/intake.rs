//! What is read of requests: how large each body may be, how long it may take, and how much there may be of all
//! of them at once.
//!
//! Bytes are counted as they arrive and until the request is answered. The first few of each body are free, or a
//! crowd that sends large ones would keep everybody from signing in. The rest counts against a limit for all bodies
//! together; those who are not signed in have a limit of their own.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hyper::body::{Body as _, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tower::{Layer, Service};

use crate::http::ApiError;
use crate::service::Caller;

/// What is read of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntakeLimits {
    /// So many bytes of each body are not counted.
    pub free: usize,
    /// The most bytes of all bodies together, of those who are signed in.
    pub most: usize,
    /// The same of those who are not.
    pub strangers: usize,
    /// How long a body may rest.
    pub pause: Duration,
    /// How long the body of somebody who is not signed in may take in all.
    pub stranger_takes: Duration,
    /// The same for whoever is signed in.
    pub takes: Duration,
}

impl Default for IntakeLimits {
    fn default() -> Self {
        Self {
            free: 16 << 10,
            most: 64 << 20,
            strangers: 16 << 20,
            pause: Duration::from_secs(15),
            stranger_takes: Duration::from_secs(30),
            takes: Duration::from_secs(5 * 60),
        }
    }
}

/// Limits what is read by a service.
#[derive(Clone)]
pub struct IntakeLayer {
    limits: IntakeLimits,
    known: Arc<AtomicUsize>,
    strangers: Arc<AtomicUsize>,
}

impl IntakeLayer {
    pub fn new(limits: IntakeLimits) -> Self {
        Self { limits, known: Arc::default(), strangers: Arc::default() }
    }
}

impl<S> Layer<S> for IntakeLayer {
    type Service = Intake<S>;

    fn layer(&self, inner: S) -> Intake<S> {
        Intake { inner, layer: self.clone() }
    }
}

/// A service that reads no more than it may.
#[derive(Clone)]
pub struct Intake<S> {
    inner: S,
    layer: IntakeLayer,
}

impl<S> Service<Request> for Intake<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Reading<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if request.body().is_end_stream() {
            return Reading { inner: self.inner.call(request), body: None };
        }
        let limits = &self.layer.limits;
        let known = request.extensions().get::<Caller>().is_some();
        let (all, most) = match known {
            true => (&self.layer.known, limits.most),
            false => (&self.layer.strangers, limits.strangers),
        };
        let body = Arc::new(Held {
            all: Arc::clone(all),
            most,
            free: limits.free,
            own: AtomicUsize::new(0),
            trouble: AtomicU8::new(NONE),
        });
        let takes = if known { limits.takes } else { limits.stranger_takes };
        let (held, pause) = (Arc::clone(&body), limits.pause);
        let metered = request.map(|inner| {
            let now = Instant::now();
            let next = Box::pin(sleep_until(now + pause.min(takes)));
            Body::new(Metered { inner, held, next, pause, end: now + takes })
        });
        Reading { inner: self.inner.call(metered), body: Some(body) }
    }
}

pin_project! {
    /// An answer in the making, with what is held of its request.
    pub struct Reading<F> {
        #[pin]
        inner: F,
        body: Option<Arc<Held>>,
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for Reading<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.inner.poll(context));
        let trouble = this.body.take().map_or(NONE, |body| body.trouble.load(Ordering::Relaxed));
        // What the handler made of a body that broke off says less.
        Poll::Ready(match refusal(trouble) {
            Some(refusal) => Ok(refusal.into_response()),
            None => answer,
        })
    }
}

const NONE: u8 = 0;
const FULL: u8 = 1;
const SLOW: u8 = 2;

fn refusal(trouble: u8) -> Option<ApiError> {
    match trouble {
        FULL => Some(
            ApiError::request(
                StatusCode::SERVICE_UNAVAILABLE,
                "too_much_at_once",
                "The server is reading as much as it can at once. Try again in a moment.",
            )
            .retry_after(2),
        ),
        SLOW => Some(ApiError::request(
            StatusCode::REQUEST_TIMEOUT,
            "request_too_slow",
            "The request did not arrive in time. Send it again.",
        )),
        _ => None,
    }
}

/// What is held of one body.
pub struct Held {
    all: Arc<AtomicUsize>,
    most: usize,
    free: usize,
    own: AtomicUsize,
    trouble: AtomicU8,
}

impl Held {
    /// Takes so many bytes more. Answers whether they may be held.
    fn take(&self, bytes: usize) -> bool {
        let before = self.own.fetch_add(bytes, Ordering::Relaxed);
        let counted = (before + bytes).saturating_sub(self.free) - before.saturating_sub(self.free);
        let all = self.all.fetch_add(counted, Ordering::Relaxed) + counted;
        counted == 0 || all <= self.most
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.fetch_sub(self.own.get_mut().saturating_sub(self.free), Ordering::Relaxed);
    }
}

/// A body whose bytes and time are counted.
struct Metered {
    inner: Body,
    held: Arc<Held>,
    next: Pin<Box<Sleep>>,
    pause: Duration,
    end: Instant,
}

impl Metered {
    fn stop(&self, trouble: u8) -> axum::Error {
        self.held.trouble.store(trouble, Ordering::Relaxed);
        axum::Error::new(std::io::Error::other("the body was not read to its end"))
    }
}

impl hyper::body::Body for Metered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let trouble = self.held.trouble.load(Ordering::Relaxed);
        if trouble != NONE {
            return Poll::Ready(Some(Err(self.stop(trouble))));
        }
        match Pin::new(&mut self.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                if !self.held.take(bytes) {
                    return Poll::Ready(Some(Err(self.stop(FULL))));
                }
                let next = (Instant::now() + self.pause).min(self.end);
                self.next.as_mut().reset(next);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Pending => {
                ready!(self.next.as_mut().poll(context));
                Poll::Ready(Some(Err(self.stop(SLOW))))
            }
            ended => ended,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use futures::stream;
    use tower::ServiceExt as _;

    use super::*;
    use crate::model::{Actor, Role};

    const LIMITS: IntakeLimits = IntakeLimits {
        free: 20,
        most: 100,
        strangers: 50,
        pause: Duration::from_secs(1),
        stranger_takes: Duration::from_secs(3),
        takes: Duration::from_secs(100),
    };

    /// Reads a body, and answers when it is let to.
    async fn reads(request: Request) -> Result<Response, Infallible> {
        let release = request.extensions().get::<Arc<tokio::sync::Semaphore>>().cloned();
        let read = to_bytes(request.into_body(), usize::MAX).await;
        if let Some(release) = release {
            let _ = release.acquire().await;
        }
        let status = if read.is_ok() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
        Ok(status.into_response())
    }

    fn known(body: Body) -> Request {
        let mut request = Request::new(body);
        request.extensions_mut().insert(Caller {
            actor: Actor::user("anna"),
            role: Role::Viewer,
            act_as: false,
            account: None,
            credential: [0; 32],
            from: None,
        });
        request
    }

    /// So many pieces of ten bytes, so far apart.
    fn pieces(count: usize, apart: Duration) -> Body {
        let pieces = stream::unfold(count, move |left| async move {
            tokio::time::sleep(apart).await;
            (left > 0).then(|| (Ok::<_, Infallible>(Bytes::from_static(b"0123456789")), left - 1))
        });
        Body::from_stream(pieces)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_has_its_size_and_its_time() {
        let service = IntakeLayer::new(LIMITS).layer(tower::service_fn(reads));
        let status = async |request| service.clone().oneshot(request).await.unwrap().status().as_u16();
        let (fast, slow) = (Duration::from_millis(1), Duration::from_millis(900));
        assert_eq!(status(Request::new(pieces(7, fast))).await, 200);
        assert_eq!(status(Request::new(pieces(8, fast))).await, 503, "more than strangers may send at once");
        assert_eq!(status(known(pieces(12, fast))).await, 200);
        assert_eq!(status(known(pieces(13, fast))).await, 503, "more than anybody may");
        assert_eq!(status(known(pieces(1, Duration::from_secs(2)))).await, 408, "it rests too long");
        assert_eq!(status(known(pieces(10, slow))).await, 200);
        let short = IntakeLimits { stranger_takes: Duration::from_secs(1), ..LIMITS };
        let service = IntakeLayer::new(short).layer(tower::service_fn(reads));
        let late = service.clone().oneshot(Request::new(pieces(2, slow))).await.unwrap();
        assert_eq!(late.status(), 408, "however steadily it comes");
    }

    #[tokio::test]
    async fn what_is_held_is_held_until_the_answer() {
        let service = IntakeLayer::new(LIMITS).layer(tower::service_fn(reads));
        let release = Arc::new(tokio::sync::Semaphore::new(0));
        let mut held = known(Body::from("x".repeat(80)));
        held.extensions_mut().insert(Arc::clone(&release));
        let held = tokio::spawn(service.clone().oneshot(held));
        let send = async |bytes: usize| {
            let request = known(Body::from("x".repeat(bytes)));
            service.clone().oneshot(request).await.unwrap().status().as_u16()
        };
        while send(70).await == 200 {
            tokio::task::yield_now().await;
        }
        assert_eq!((send(61).await, send(60).await), (503, 200));
        assert_eq!(send(20).await, 200, "a few lines are always read");
        let stranger = service.clone().oneshot(Request::new(Body::from("x".repeat(70)))).await.unwrap();
        assert_eq!(stranger.status(), 200, "who has a store of its own");
        release.add_permits(1);
        assert_eq!(held.await.unwrap().unwrap().status(), 200);
        assert_eq!(send(120).await, 200);
    }
}
