//! Asking the server, and the resources that do so.
//!
//! The server functions' own clients would be a fifth of a first visit: each brings its encoder, its request
//! and its decoder. This is one request for all, and one resource: what it holds is typed where it is read.

use std::any::Any;
use std::marker::PhantomData;
use std::rc::Rc;

use futures::future::LocalBoxFuture;
use leptos::prelude::*;
use serde::de::DeserializeOwned;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, RequestInit, Response};

use crate::app::components::encode;
use crate::rpc::RpcError;

/// An answer that takes longer is not waited for.
const ANSWER_MS: u32 = 5_000;

/// A question: where it goes, and its arguments.
pub struct Question(String);

impl Question {
    /// A question for a server function that is asked with GET.
    pub fn to(path: &str) -> Self {
        Self(path.to_owned())
    }

    /// With this argument.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(name);
        self.0.push('=');
        self.0.push_str(&encode(value));
        self
    }

    /// With this argument, where there is one.
    #[must_use]
    pub fn with_some(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// The answer.
    pub async fn ask<T: DeserializeOwned>(self) -> Result<T, RpcError> {
        let bytes = fetch(self.0).await?;
        postcard::from_bytes(&bytes).map_err(|_| RpcError::no_answer())
    }
}

/// Whatever goes wrong on the way is no answer; what the server says is taken at its word.
async fn fetch(address: String) -> Result<Vec<u8>, RpcError> {
    let asked: Result<(bool, Vec<u8>), JsValue> = async {
        let init = RequestInit::new();
        init.set_signal(Some(&AbortSignal::timeout_with_u32(ANSWER_MS)));
        let window = web_sys::window().ok_or(JsValue::NULL)?;
        let response = JsFuture::from(window.fetch_with_str_and_init(&address, &init)).await?;
        let response: Response = response.dyn_into()?;
        let body = JsFuture::from(response.array_buffer()?).await?;
        Ok((response.ok(), js_sys::Uint8Array::new(&body).to_vec()))
    }
    .await;
    match asked {
        Ok((true, bytes)) => Ok(bytes),
        Ok((false, bytes)) => Err(RpcError::told(&bytes)),
        Err(_) => Err(RpcError::no_answer()),
    }
}

type Held = Option<Result<Rc<dyn Any>, RpcError>>;

/// A resource that asks whenever what its question was made of has changed.
pub struct Asking<T> {
    held: LocalResource<Held>,
    holds: PhantomData<T>,
}

impl<T: 'static> Asking<T> {
    /// Follows the signals that `question` reads; it makes none where nothing is to be asked.
    pub fn new<Answer>(question: impl Fn() -> Option<Answer> + 'static) -> Self
    where
        Answer: Future<Output = Result<T, RpcError>> + 'static,
    {
        Self { held: resource(Box::new(move || answer(question()))), holds: PhantomData }
    }

    /// The newest answer; `None` before the first.
    pub fn get(&self) -> Option<Result<Rc<T>, RpcError>> {
        match self.held.get().flatten()? {
            Ok(answer) => answer.downcast().ok().map(Ok),
            Err(error) => Some(Err(error)),
        }
    }
}

fn answer<T: 'static>(
    asked: Option<impl Future<Output = Result<T, RpcError>> + 'static>,
) -> LocalBoxFuture<'static, Held> {
    Box::pin(async move {
        match asked {
            Some(asked) => Some(asked.await.map(|answer| Rc::new(answer) as Rc<dyn Any>)),
            None => None,
        }
    })
}

// Not generic: it is compiled once.
fn resource(question: Box<dyn Fn() -> LocalBoxFuture<'static, Held>>) -> LocalResource<Held> {
    LocalResource::new(question)
}
