//! Small dealings with the document.

use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{Document, Element, Event, HtmlDialogElement};

fn document() -> Option<Document> {
    web_sys::window()?.document()
}

/// The browser's clock, in milliseconds. Only ever compared with itself.
pub fn now_ms() -> f64 {
    js_sys::Date::now()
}

/// Whether nobody can see the page.
pub fn is_hidden() -> bool {
    document().is_some_and(|document| document.hidden())
}

/// Calls `heard` whenever the page is hidden or seen again. Stays for the page's life.
pub fn on_visibility(heard: impl FnMut() + 'static) {
    let mut heard = heard;
    let listener = Closure::<dyn FnMut(Event)>::new(move |_| heard());
    if let Some(document) = document() {
        let _ =
            document.add_event_listener_with_callback("visibilitychange", listener.as_ref().unchecked_ref());
    }
    listener.forget();
}

/// Marks the document as alive: what end-to-end tests wait for.
pub fn mark_hydrated() {
    if let Some(root) = document().and_then(|document| document.document_element()) {
        let _ = root.set_attribute("data-hydrated", "true");
    }
}

/// Sets the page's title.
pub fn set_title(title: &str) {
    if let Some(document) = document() {
        document.set_title(title);
    }
}

/// Loads the page anew.
pub fn reload() {
    if let Some(window) = web_sys::window() {
        let _ = window.location().reload();
    }
}

/// The dialog that the element which was clicked asks for.
pub fn asked_for(event: &Event) -> Option<String> {
    let clicked: Element = event.target()?.dyn_into().ok()?;
    clicked.closest("[data-ask]").ok()??.get_attribute("data-ask")
}

/// Opens a dialog over the page. False where it is not there or the browser cannot.
pub fn open_dialog(id: &str) -> bool {
    let Some(dialog) = document().and_then(|document| document.get_element_by_id(id)) else { return false };
    let Ok(dialog) = dialog.dyn_into::<HtmlDialogElement>() else { return false };
    // One that came open with the page is not modal; it must be closed to become so.
    dialog.close();
    if dialog.show_modal().is_err() {
        return false;
    }
    let closing = dialog.clone();
    let close = Closure::once_into_js(move |event: Event| {
        event.prevent_default();
        closing.close();
    });
    if let Ok(Some(cancel)) = dialog.query_selector("[data-close]") {
        let options = web_sys::AddEventListenerOptions::new();
        options.set_once(true);
        let _ = cancel.add_event_listener_with_callback_and_add_event_listener_options(
            "click",
            close.unchecked_ref(),
            &options,
        );
    }
    true
}

/// Whether an element is scrolled to its end, give or take a line.
pub fn is_at_end(element: &Element) -> bool {
    element.scroll_height() - element.scroll_top() - element.client_height() < 32
}

/// Scrolls an element to its end.
pub fn scroll_to_end(element: &Element) {
    element.set_scroll_top(element.scroll_height());
}
