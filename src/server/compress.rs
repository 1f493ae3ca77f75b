//! Compression of answers to GET.
//!
//! Others are not compressed. Answers to reports are a hundred bytes, and a body that may
//! be compressed carries the encoders with it, copied and allocated with each answer (measured: the copying
//! alone was 2 % of a busy core). Given up: a long list of what an emergency cleanup did travels as it is.

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::http::Method;
use axum::response::Response;
use futures::future::{BoxFuture, Either};
use futures::{FutureExt as _, TryFutureExt as _};
use tower::{Layer, Service};
use tower_http::compression::predicate::{And, Predicate as _, SizeAbove};
use tower_http::compression::{Compression, CompressionLayer, DefaultPredicate};

/// Smaller answers are sent as they are, in bytes.
const MIN_SIZE: u64 = 1024;

type Compressed<S> = Compression<S, And<DefaultPredicate, SizeAbove>>;

/// Makes a [`Compress`].
#[derive(Clone)]
pub struct CompressLayer;

impl<S> Layer<S> for CompressLayer {
    type Service = Compress<S>;

    fn layer(&self, inner: S) -> Compress<S> {
        let predicate = DefaultPredicate::new().and(SizeAbove::new(MIN_SIZE));
        Compress(CompressionLayer::new().compress_when(predicate).layer(inner))
    }
}

/// A service whose answers to GET are compressed where the client can read that.
#[derive(Clone)]
pub struct Compress<S>(Compressed<S>);

impl<S> Service<Request> for Compress<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if request.method() == Method::GET {
            let answer = self.0.call(request);
            Either::Right(answer.map_ok(|response| response.map(Body::new)).boxed())
        } else {
            Either::Left(self.0.get_mut().call(request))
        }
    }
}
