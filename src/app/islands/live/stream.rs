//! The stream of events, as the browser gives it.

use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{Event, EventSource, MessageEvent};

/// The stream's address: all changes, for all pages of the browser.
const ADDRESS: &str = "/api/admin/jobs/events";

/// An open stream. Closes when dropped.
pub struct Stream {
    source: EventSource,
    _listeners: [Closure<dyn FnMut(Event)>; 3],
}

impl Stream {
    /// Opens a stream; `heard` is given an event's name and its data. `error` is one of the events.
    pub fn open(heard: impl Fn(&'static str, String) + Clone + 'static) -> Option<Self> {
        let source = EventSource::new(ADDRESS).ok()?;
        // Not `open`: the head of an answer gets through where the events themselves are held up.
        let listeners = ["revision", "beat", "error"].map(|name| {
            let heard = heard.clone();
            let listener = Closure::<dyn FnMut(Event)>::new(move |event: Event| {
                let message: Option<MessageEvent> = event.dyn_into().ok();
                heard(name, message.and_then(|message| message.data().as_string()).unwrap_or_default());
            });
            let _ = source.add_event_listener_with_callback(name, listener.as_ref().unchecked_ref());
            listener
        });
        Some(Self { source, _listeners: listeners })
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
