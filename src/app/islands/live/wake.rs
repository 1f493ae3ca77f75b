//! Waiting for the first of several things: a nudge, a timer, the page being looked at again.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use futures::future::{Either, select};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

/// Rings a bell that is remembered until it is heard.
#[derive(Clone, Default)]
pub struct Wake(Rc<RefCell<Bell>>);

#[derive(Default)]
struct Bell {
    rung: bool,
    waker: Option<Waker>,
}

impl Wake {
    /// Rings.
    pub fn ring(&self) {
        let waker = {
            let mut bell = self.0.borrow_mut();
            bell.rung = true;
            bell.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Waits until it has been rung.
    pub async fn heard(&self) {
        poll_fn(|context| {
            let mut bell = self.0.borrow_mut();
            if std::mem::take(&mut bell.rung) {
                return Poll::Ready(());
            }
            bell.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Waits until it has been rung, or so long. True if it was rung.
    pub async fn heard_within(&self, ms: u32) -> bool {
        let (heard, slept) = (Box::pin(self.heard()), Box::pin(sleep(ms)));
        matches!(select(heard, slept).await, Either::Left(_))
    }
}

/// Waits so long.
pub async fn sleep(ms: u32) {
    let promise = js_sys::Promise::new(&mut |resolve, _| {
        let wake = Closure::once_into_js(move || {
            let _ = resolve.call0(&JsValue::UNDEFINED);
        });
        if let Some(window) = web_sys::window() {
            let after = i32::try_from(ms).unwrap_or(i32::MAX);
            let _ = window.set_timeout_with_callback_and_timeout_and_arguments_0(wake.unchecked_ref(), after);
        }
    });
    let _ = JsFuture::from(promise).await;
}
