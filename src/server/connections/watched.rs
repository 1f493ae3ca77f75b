//! A stream of bytes that is given up where a head does not go on, or an answer is not read.

use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Connection, IN_HEAD, WAITING};

/// The first bytes of a request are read into so many, on the stack; whoever reads the request reads on.
const FIRST: usize = 2_048;

/// A time after which something is given up. Costs nothing until it is waited for.
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

/// A stream with its deadlines.
pub(super) struct Watched {
    stream: TcpStream,
    connection: Arc<Connection>,
    /// What was read, and is to be read again first.
    ahead: Bytes,
    head: Deadline,
    unread: Deadline,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, connection: Arc<Connection>) -> Self {
        let (head, unread) = (Deadline::default(), Deadline::default());
        Self { stream, connection, ahead: Bytes::new(), head, unread }
    }

    /// Gives back what was read beyond the end of a request. A copy: it is a part of a large buffer, though it be
    /// an empty one.
    pub(super) fn put_back(&mut self, ahead: &[u8]) {
        self.ahead = Bytes::copy_from_slice(ahead);
    }

    /// Whether anything has come, to be read; false at the stream's end.
    pub(super) fn poll_first(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.ahead.is_empty() {
            let mut first = [std::mem::MaybeUninit::uninit(); FIRST];
            let mut first = ReadBuf::uninit(&mut first);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut first))?;
            self.ahead = Bytes::copy_from_slice(first.filled());
        }
        Poll::Ready(Ok(!self.ahead.is_empty()))
    }

    fn poll_any(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let count = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead.split_to(count));
        Poll::Ready(Ok(()))
    }

    /// What became of an attempt to write: where nothing could be, not for ever.
    fn written<T>(&mut self, context: &mut Context<'_>, tried: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if tried.is_ready() {
            self.unread.clear();
            return tried;
        }
        self.unread.poll(context, self.connection.all.limits.unread).map(Err)
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
        let read = this.poll_any(context, buffer);
        let doing = &this.connection.doing;
        if read.is_ready() && buffer.filled().len() > before {
            let _ = doing.compare_exchange(WAITING, IN_HEAD, Ordering::Relaxed, Ordering::Relaxed);
        }
        if doing.load(Ordering::Relaxed) != IN_HEAD {
            this.head.clear();
            return read;
        }
        if read.is_ready() && this.head.0.is_none() {
            // Most heads are here whole. If this one is not, it is asked for again at once, and waited for.
            return read;
        }
        // The time runs from the first byte, however many come one by one.
        match this.head.poll(context, this.connection.all.limits.head) {
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

    /// Asked for when all that was to be written has been.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.sent.store(true, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
