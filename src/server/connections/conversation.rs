//! A connection from its beginning to its end: rests, and requests with their answers.
//!
//! Hyper gives a connection back when the request was read to its end, its answer was said to its end, and what was
//! said is on its way. The first two are seen here, on the two bodies; the third is that hyper flushes its stream,
//! which it does when it has written all it holds and not before. Where one of the three is missing, as when a
//! body is refused unread, hyper keeps the connection and does what is right: it reads on, or closes. What it had
//! read beyond the request is put back. (`requests_are_answered_in_their_order_however_they_arrive` holds it to that.)

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Method, Version};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::endless::{Pieces, Sending};
use super::watched::Watched;
use super::{Connection, Endless, IN_ENDLESS, IN_REQUEST, WAITING};
use crate::http::PeerAddress;
use crate::server::router::Site;

/// The most a connection reads ahead, and so the longest head.
const READ_AHEAD: usize = 32 * 1024;

/// Who has the stream of bytes.
enum Now<Served> {
    /// Nobody: it waits for a request, and has no buffers.
    Resting(Watched),
    /// Hyper: a request is read, or answered.
    Serving(Box<Served>),
    /// Nobody else: an answer that never ends.
    Sending(Box<Sending>),
    Over,
}

/// Answers requests until one of the two has had enough.
pub(super) async fn hold(
    stream: TcpStream,
    peer: PeerAddress,
    connection: Arc<Connection>,
    site: Arc<Site>,
    stop: CancellationToken,
) {
    let pieces = Arc::new(Mutex::new(None::<Pieces>));
    let (of, endless) = (Arc::clone(&connection), Arc::clone(&pieces));
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let has_body = !request.body().is_end_stream();
        of.begins(has_body);
        let may_be_endless = request.version() == Version::HTTP_11 && request.method() == Method::GET;
        let mut request: Request = if has_body {
            let of = Arc::clone(&of);
            request.map(|body| Body::new(Arriving { body, connection: of }))
        } else {
            request.map(|_| Body::empty())
        };
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(Arc::clone(&of));
        let (site, of, endless) = (Site::clone(&site), Arc::clone(&of), Arc::clone(&endless));
        async move {
            let mut answer = site.oneshot(request).await?;
            of.door.busy.store(false, Ordering::Relaxed);
            let body = answer.extensions_mut().remove::<Endless>().filter(|_| may_be_endless);
            if let Some(pieces) = body.and_then(|body| body.take()) {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                *endless.lock().unwrap_or_else(PoisonError::into_inner) = Some(pieces);
                of.said(IN_ENDLESS);
            }
            Ok::<_, std::convert::Infallible>(answer.map(|body| Leaving { body, connection: of }))
        }
    });
    let service = Arc::new(service);
    let mut http = hyper::server::conn::http1::Builder::new();
    // Who waits for what is watched here.
    http.header_read_timeout(None).max_buf_size(READ_AHEAD);
    let (mut closed, mut stopped) = (pin!(connection.door.close.notified()), pin!(stop.cancelled()));
    let (mut stopping, mut told) = (false, false);
    let mut patience = Patience::default();
    let mut now = Now::Resting(Watched::new(stream, Arc::clone(&connection)));
    poll_fn(|context| {
        if closed.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        stopping = stopping || stopped.as_mut().poll(context).is_ready();
        loop {
            match &mut now {
                Now::Resting(io) => {
                    if stopping {
                        return Poll::Ready(());
                    }
                    match io.poll_first(context) {
                        Poll::Ready(Ok(true)) => {}
                        Poll::Ready(_) => return Poll::Ready(()),
                        Poll::Pending => return patience.poll(context, &connection),
                    }
                    patience.end();
                    if let Now::Resting(io) = std::mem::replace(&mut now, Now::Over) {
                        let served = http.serve_connection(TokioIo::new(io), Arc::clone(&service));
                        now = Now::Serving(Box::new(served));
                    }
                }
                Now::Serving(served) => {
                    let mut served = Pin::new(&mut **served);
                    if stopping && !told {
                        told = true;
                        served.as_mut().graceful_shutdown();
                    }
                    // What went wrong with a connection is the client's affair.
                    if served.poll(context).is_ready() {
                        return Poll::Ready(());
                    }
                    let endless = connection.is(IN_ENDLESS) && connection.sent.load(Ordering::Relaxed);
                    if !endless && !connection.is_at_rest() {
                        if !connection.is(WAITING) {
                            patience.end();
                            return Poll::Pending;
                        }
                        return patience.poll(context, &connection);
                    }
                    if let Now::Serving(served) = std::mem::replace(&mut now, Now::Over) {
                        let parts = served.into_parts();
                        let mut io = parts.io.into_inner();
                        let pieces = pieces.lock().unwrap_or_else(PoisonError::into_inner).take();
                        now = match pieces {
                            Some(pieces) => {
                                connection.doing.store(IN_REQUEST, Ordering::Relaxed);
                                let interrupted = !parts.read_buf.is_empty();
                                Now::Sending(Box::new(Sending::new(io, pieces, interrupted)))
                            }
                            None => {
                                connection.sent.store(false, Ordering::Relaxed);
                                io.put_back(&parts.read_buf);
                                Now::Resting(io)
                            }
                        };
                    }
                }
                Now::Sending(sending) => return sending.poll(context).map(|_| ()),
                Now::Over => return Poll::Ready(()),
            }
        }
    })
    .await;
}

/// How long a connection has waited for a request. The timer is set once for many waits: where a request came
/// meanwhile, it is set anew when it goes off.
#[derive(Default)]
struct Patience {
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    fn end(&mut self) {
        self.since = None;
    }

    /// Ready when it is over.
    fn poll(&mut self, context: &mut Context<'_>, connection: &Connection) -> Poll<()> {
        let end = *self.since.get_or_insert_with(Instant::now) + connection.all.limits.idle;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        while timer.as_mut().poll(context).is_ready() {
            if timer.deadline() >= end {
                return Poll::Ready(());
            }
            timer.as_mut().reset(end);
        }
        Poll::Pending
    }
}

/// The body of a request as it arrives.
struct Arriving {
    body: Incoming,
    connection: Arc<Connection>,
}

impl hyper::body::Body for Arriving {
    type Data = hyper::body::Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        let failed = matches!(frame, Some(Err(_)));
        if !failed && (frame.is_none() || self.body.is_end_stream()) {
            self.connection.body_is_here();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer, with whose end the connection waits for the next request.
struct Leaving {
    body: Body,
    connection: Arc<Connection>,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.connection.said(WAITING);
    }
}

impl hyper::body::Body for Leaving {
    type Data = hyper::body::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
