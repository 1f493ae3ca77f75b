//! Answers that go on for as long as somebody listens, such as a stream of events.
//!
//! Such an answer is silent most of the time, and there may be thousands. Hyper would keep 16 KiB of buffers for
//! each; so it writes the head, and the rest is written here, in the pieces of HTTP/1.1's chunked coding, from
//! memory that is there only while a piece is on its way. The connection ends with the answer.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use futures::Stream;
use hyper::body::{Bytes, Frame};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::watched::Watched;

/// What is sent, piece by piece.
pub type Pieces = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// The body of an answer that never ends. Whoever has the connection may [take](Self::take) the pieces and send
/// them; otherwise they are sent as any other body's.
#[derive(Clone)]
pub struct Endless(Arc<Mutex<Option<Pieces>>>);

impl Endless {
    /// An answer of these pieces.
    pub fn answer(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Response {
        let body = Self(Arc::new(Mutex::new(Some(Box::pin(pieces)))));
        let mut response = Response::new(Body::new(body.clone()));
        response.extensions_mut().insert(body);
        response
    }

    /// Takes the pieces. The body is silent from then on.
    pub(super) fn take(&self) -> Option<Pieces> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(pieces) => pieces.as_mut().poll_next(context).map(|piece| Some(Ok(Frame::data(piece?)))),
            None => Poll::Pending,
        }
    }
}

/// The rest of a connection on which the head of such an answer was sent.
pub(super) struct Sending {
    io: Watched,
    pieces: Pieces,
    /// What is on its way, and how much of it has gone.
    piece: Vec<u8>,
    gone: usize,
    ended: bool,
    /// The client has said something, which nobody reads.
    interrupted: bool,
}

impl Sending {
    /// `interrupted`: something was read that nobody answers.
    pub(super) fn new(io: Watched, pieces: Pieces, interrupted: bool) -> Self {
        Self { io, pieces, piece: Vec::new(), gone: 0, ended: false, interrupted }
    }

    /// Ready when the answer has ended, or nobody listens any more.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while self.gone < self.piece.len() {
                let io = Pin::new(&mut self.io);
                match ready!(io.poll_write(context, &self.piece[self.gone..]))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    count => self.gone += count,
                }
            }
            (self.piece, self.gone) = (Vec::new(), 0);
            if self.ended {
                return Pin::new(&mut self.io).poll_shutdown(context);
            }
            self.piece = match self.pieces.as_mut().poll_next(context) {
                Poll::Ready(Some(piece)) => chunk(&piece),
                Poll::Ready(None) => {
                    self.ended = true;
                    b"0\r\n\r\n".to_vec()
                }
                Poll::Pending => return self.poll_listener(context),
            };
        }
    }

    /// Ready when the client has gone.
    fn poll_listener(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.interrupted {
            return Poll::Pending;
        }
        let mut said = [0; 16];
        let mut said = ReadBuf::new(&mut said);
        ready!(Pin::new(&mut self.io).poll_read(context, &mut said))?;
        self.interrupted = !said.filled().is_empty();
        if self.interrupted { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}

/// A piece as HTTP/1.1 sends it. One that is empty would be the last.
fn chunk(piece: &[u8]) -> Vec<u8> {
    if piece.is_empty() {
        return Vec::new();
    }
    let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
    chunk.reserve_exact(piece.len() + 2);
    chunk.extend_from_slice(piece);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_has_its_length_before_it() {
        assert_eq!(chunk(b"event: beat\n\n"), b"d\r\nevent: beat\n\n\r\n");
        assert_eq!(chunk(&[b'x'; 300])[..5], *b"12c\r\n");
        assert!(chunk(b"").is_empty());
    }
}
