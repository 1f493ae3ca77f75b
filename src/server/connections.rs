//! Connections: how many there may be, how long each may take, and who goes first when there are too many.
//!
//! Hyper reads and writes; this module decides. Whoever has shown a good credential on a connection is
//! *signed in* there. Of the others there may be half as many as there may be at all; where one more comes,
//! the one among them that has been here longest, and whose answer is not being made at this moment, is closed
//! for it. So a crowd that opens connections and says nothing shuts nobody out: neither those who are signed in
//! nor those who are about to.
//!
//! A connection that waits for something from its client waits for a limited time: for the next request, for the
//! rest of a head, for its answer to be read. (For the rest of a body see `intake`.)

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::router::Site;
use crate::http::PeerAddress;

/// What connections may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// How many there may be; those who are not signed in have half of them.
    pub most: usize,
    /// How long one may be silent between two requests.
    pub idle: Duration,
    /// How long the head of a request may take.
    pub head: Duration,
    /// How long an answer may lie unread.
    pub unread: Duration,
}

impl ConnectionLimits {
    /// The limits of a server that may have so many connections.
    pub const fn of(most: usize) -> Self {
        Self {
            most,
            // Longer than proxies keep theirs, as a rule a minute.
            idle: Duration::from_secs(75),
            head: Duration::from_secs(15),
            unread: Duration::from_secs(30),
        }
    }
}

/// Files that are none of the connections': the database, the log, what jobs have open.
const OTHER_FILES: u64 = 128;
/// The most a connection reads ahead, and so the longest head.
const READ_AHEAD: usize = 32 * 1024;
/// A server that may open no file waits so long before it tries again.
const NO_FILES_WAIT: Duration = Duration::from_millis(50);

/// Raises the number of files the process may have open to what the system allows, and answers how many
/// connections that is enough for.
pub fn make_room(wanted: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let needed = wanted as u64 + OTHER_FILES;
    // No more than is needed: programs that jobs start inherit it.
    let raised = maximum.map_or(needed, |maximum| needed.min(maximum));
    let now = match current {
        None => return wanted,
        Some(current) if current >= raised => current,
        Some(current) => match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }) {
            Ok(()) => raised,
            Err(_) => current,
        },
    };
    let room = usize::try_from(now.saturating_sub(OTHER_FILES).max(now / 2)).unwrap_or(usize::MAX);
    if room < wanted {
        tracing::warn!(
            files = now,
            connections = room,
            "The system lets this process open few files, so it takes fewer connections than --max-connections"
        );
    }
    room.min(wanted)
}

/// What a connection is doing.
const WAITING: u8 = 0;
const IN_HEAD: u8 = 1;
const IN_REQUEST: u8 = 2;

/// What is to be known of a connection to close it for another.
#[derive(Default)]
struct Door {
    /// The request is here whole, and its answer is being made.
    busy: AtomicBool,
    close: CancellationToken,
}

/// One connection, as its parts see it.
pub struct Connection {
    doing: AtomicU8,
    door: Arc<Door>,
    signed_in: AtomicBool,
    number: u64,
    all: Arc<Connections>,
}

impl Connection {
    /// Whoever is at the other end has shown a good credential.
    pub fn signed_in(&self) {
        if !self.signed_in.swap(true, Ordering::Relaxed) {
            self.all.strangers().remove(&self.number);
        }
    }

    /// A request is here with its body.
    fn body_is_here(&self) {
        self.door.busy.store(true, Ordering::Relaxed);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.strangers().remove(&self.number);
        self.all.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All connections.
pub struct Connections {
    limits: ConnectionLimits,
    open: AtomicUsize,
    /// Those that are not signed in, the oldest first.
    strangers: Mutex<BTreeMap<u64, Arc<Door>>>,
}

impl Connections {
    fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Self { limits, open: AtomicUsize::new(0), strangers: Mutex::default() })
    }

    fn strangers(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Door>>> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one more, for which another may have to go. `None` where there is no room.
    fn add(self: &Arc<Self>, number: u64) -> Option<Arc<Connection>> {
        let mut strangers = self.strangers();
        let full = self.open.load(Ordering::Relaxed) >= self.limits.most;
        if (full || strangers.len() >= self.limits.most.div_ceil(2)) && !close_one(&mut strangers) {
            return None;
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        let door = Arc::new(Door::default());
        strangers.insert(number, Arc::clone(&door));
        Some(Arc::new(Connection {
            doing: AtomicU8::new(WAITING),
            door,
            signed_in: AtomicBool::new(false),
            number,
            all: Arc::clone(self),
        }))
    }

    /// Closes one that nobody waits for, where files have run out.
    fn make_room(&self) {
        close_one(&mut self.strangers());
    }
}

/// Closes the one of these that has been here longest and is not being answered.
fn close_one(strangers: &mut BTreeMap<u64, Arc<Door>>) -> bool {
    let idle = strangers.iter().find(|(_, door)| !door.busy.load(Ordering::Relaxed));
    let Some(number) = idle.map(|(number, _)| *number) else { return false };
    if let Some(door) = strangers.remove(&number) {
        door.close.cancel();
    }
    true
}

/// Serves until it is told to stop, and then until every connection has come to its end.
pub async fn serve(listener: TcpListener, site: Site, limits: ConnectionLimits, stop: CancellationToken) {
    let (all, tasks) = (Connections::new(limits), TaskTracker::new());
    let mut number = 0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_the_clients(&error) => continue,
            Err(error) => {
                tracing::error!(%error, "No connection can be accepted");
                all.make_room();
                sleep(NO_FILES_WAIT).await;
                continue;
            }
        };
        number += 1;
        // Whoever is not let in learns so by the end of the connection.
        let Some(connection) = all.add(number) else { continue };
        // Small answers, at once.
        let _ = stream.set_nodelay(true);
        tasks.spawn(answer(stream, PeerAddress(peer.ip()), connection, site.clone(), stop.clone()));
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

/// Whether a connection was given up before it was accepted.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}

async fn answer(
    stream: TcpStream,
    peer: PeerAddress,
    connection: Arc<Connection>,
    site: Site,
    stop: CancellationToken,
) {
    let limits = connection.all.limits;
    let io = TokioIo::new(Watched::new(stream, Arc::clone(&connection), limits));
    let of = Arc::clone(&connection);
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        of.doing.store(IN_REQUEST, Ordering::Relaxed);
        let waits_for_body = !request.body().is_end_stream();
        of.door.busy.store(!waits_for_body, Ordering::Relaxed);
        let mut request: Request = if waits_for_body {
            let of = Arc::clone(&of);
            request.map(|body| Body::new(Arriving { body, connection: of }))
        } else {
            request.map(|_| Body::empty())
        };
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(Arc::clone(&of));
        let (site, of) = (site.clone(), Arc::clone(&of));
        async move {
            let answer = site.oneshot(request).await?;
            of.door.busy.store(false, Ordering::Relaxed);
            Ok::<_, std::convert::Infallible>(answer.map(|body| Leaving { body, connection: of }))
        }
    });
    let mut served = pin!(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.idle)
            .max_buf_size(READ_AHEAD)
            .serve_connection(io, service)
    );
    let mut stopping = pin!(stop.cancelled());
    let mut told = false;
    loop {
        tokio::select! {
            // What went wrong with a connection is the client's affair.
            _ = &mut served => return,
            () = connection.door.close.cancelled() => return,
            () = &mut stopping, if !told => {
                told = true;
                served.as_mut().graceful_shutdown();
            }
        }
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
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
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
        self.connection.doing.store(WAITING, Ordering::Relaxed);
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

/// A time after which something is given up. Costs nothing until it is set.
#[derive(Default)]
struct Deadline(Option<Pin<Box<Sleep>>>);

impl Deadline {
    fn clear(&mut self) {
        self.0 = None;
    }

    /// Sets it, unless it is set, and looks whether it has passed.
    fn poll(&mut self, context: &mut Context<'_>, within: Duration) -> Poll<io::Error> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + within)));
        ready!(sleep.as_mut().poll(context));
        Poll::Ready(io::Error::from(ErrorKind::TimedOut))
    }
}

/// A stream that is given up where a head does not go on, or an answer is not read.
struct Watched {
    stream: TcpStream,
    connection: Arc<Connection>,
    limits: ConnectionLimits,
    head: Deadline,
    unread: Deadline,
}

impl Watched {
    fn new(stream: TcpStream, connection: Arc<Connection>, limits: ConnectionLimits) -> Self {
        Self { stream, connection, limits, head: Deadline::default(), unread: Deadline::default() }
    }

    /// What became of an attempt to write: where nothing could be, not for ever.
    fn written<T>(&mut self, context: &mut Context<'_>, tried: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if tried.is_ready() {
            self.unread.clear();
            return tried;
        }
        self.unread.poll(context, self.limits.unread).map(Err)
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        let doing = &this.connection.doing;
        if read.is_ready() && buffer.filled().len() > before {
            let _ = doing.compare_exchange(WAITING, IN_HEAD, Ordering::Relaxed, Ordering::Relaxed);
        }
        if doing.load(Ordering::Relaxed) != IN_HEAD {
            this.head.clear();
            return read;
        }
        // The time runs from the first byte, however many come one by one.
        match this.head.poll(context, this.limits.head) {
            Poll::Ready(late) => Poll::Ready(Err(late)),
            Poll::Pending => read,
        }
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let tried = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, tried)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let tried = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(context, tried)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
