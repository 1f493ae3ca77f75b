//! The stream of nudges. It is healthy while something comes at least every 40 seconds: the server beats
//! every 15.

use std::cell::Cell;
use std::rc::Rc;

use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{Event, EventSource};

use super::dom::now_ms;
use super::wake::Wake;

/// After so long without a sign a stream counts as dead, whatever the browser thinks.
pub const SILENCE_MS: f64 = 40_000.0;

/// An open stream. Closes when dropped.
pub struct Stream {
    source: EventSource,
    heard_at: Rc<Cell<f64>>,
    _listeners: Vec<Closure<dyn FnMut(Event)>>,
}

impl Stream {
    /// Opens a stream that rings at each nudge, and when it breaks.
    pub fn open(address: &str, wake: &Wake) -> Option<Self> {
        let source = EventSource::new(address).ok()?;
        let heard_at = Rc::new(Cell::new(f64::NEG_INFINITY));
        let mut listeners = Vec::new();
        let mut listen = |event: &str, ring: bool, sign_of_life: bool| {
            let (wake, heard_at) = (wake.clone(), Rc::clone(&heard_at));
            let listener = Closure::<dyn FnMut(Event)>::new(move |_| {
                heard_at.set(if sign_of_life { now_ms() } else { f64::NEG_INFINITY });
                if ring {
                    wake.ring();
                }
            });
            let _ = source.add_event_listener_with_callback(event, listener.as_ref().unchecked_ref());
            listeners.push(listener);
        };
        listen("open", true, true);
        listen("revision", true, true);
        listen("beat", false, true);
        listen("error", true, false);
        Some(Self { source, heard_at, _listeners: listeners })
    }

    /// Whether nudges can be relied on.
    pub fn is_healthy(&self) -> bool {
        now_ms() - self.heard_at.get() < SILENCE_MS
    }

    /// Whether the browser has given it up.
    pub fn is_closed(&self) -> bool {
        self.source.ready_state() == EventSource::CLOSED
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.source.close();
    }
}
