//! Small dealings with the document.

use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{Document, Element, Event, HtmlDialogElement, HtmlTextAreaElement, Storage};

fn document() -> Option<Document> {
    web_sys::window()?.document()
}

/// The browser's monotonic clock, in milliseconds: nobody sets it. Only ever compared with itself.
pub fn monotonic_ms() -> f64 {
    web_sys::window().and_then(|window| window.performance()).map_or(0.0, |clock| clock.now())
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

/// Calls `gone` whenever the page is left, also where the browser keeps it for a way back.
pub fn on_leaving(gone: impl FnMut() + 'static) {
    let mut gone = gone;
    let listener = Closure::<dyn FnMut(Event)>::new(move |_| gone());
    if let Some(window) = web_sys::window() {
        let _ = window.add_event_listener_with_callback("pagehide", listener.as_ref().unchecked_ref());
    }
    listener.forget();
}

/// Says for the style whether the server is silent: what is shown then is old.
pub fn mark_silent(silent: bool) {
    if let Some(root) = document().and_then(|document| document.document_element()) {
        let _ = root.toggle_attribute_with_force("data-silent", silent);
    }
}

/// Marks the document as alive: what end-to-end tests wait for.
pub fn mark_hydrated() {
    if let Some(root) = document().and_then(|document| document.document_element()) {
        let _ = root.set_attribute("data-hydrated", "true");
    }
}

/// Brings the page's own texts back where a translator has replaced them already: `app/originals.js` does it. An
/// island that found other texts than were rendered would not come to life.
#[cfg(feature = "hydrate")]
pub fn bring_originals_back() {
    if let (Some(document), Ok(event)) = (document(), Event::new("hydrate")) {
        let _ = document.dispatch_event(&event);
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
    bring_banners(&dialog);
    let closed = Closure::once_into_js(move |_: Event| {
        if let Some(body) = document().and_then(|document| document.body()) {
            bring_banners(&body);
        }
    });
    let once = web_sys::AddEventListenerOptions::new();
    once.set_once(true);
    let _ = dialog.add_event_listener_with_callback_and_add_event_listener_options(
        "close",
        closed.unchecked_ref(),
        &once,
    );
    let closing = dialog.clone();
    let close = Closure::once_into_js(move |event: Event| {
        event.prevent_default();
        forget_typed(&closing);
        closing.close();
    });
    if let Ok(Some(cancel)) = dialog.query_selector("[data-close]") {
        let _ = cancel.add_event_listener_with_callback_and_add_event_listener_options(
            "click",
            close.unchecked_ref(),
            &once,
        );
    }
    true
}

/// Copies a text. The clipboard is there on safe origins only; elsewhere a field is copied from.
pub fn copy(text: &str) {
    let Some(window) = web_sys::window() else { return };
    if window.is_secure_context() {
        let _ = window.navigator().clipboard().write_text(text);
        return;
    }
    let Some(document) = document() else { return };
    let field = document.create_element("textarea").ok().and_then(|field| field.dyn_into().ok());
    let field: Option<HtmlTextAreaElement> = field;
    if let (Some(field), Some(body)) = (field, document.body()) {
        field.set_value(text);
        let _ = body.append_child(&field);
        field.select();
        let command = js_sys::Reflect::get(&document, &"execCommand".into());
        if let Some(command) = command.ok().and_then(|command| command.dyn_into::<js_sys::Function>().ok()) {
            let _ = command.call1(&document, &"copy".into());
        }
        field.remove();
    }
}

fn storage() -> Option<Storage> {
    web_sys::window()?.session_storage().ok()?
}

/// Under what a field's text is kept: the page, and what the field is part of.
fn key_of(field: &HtmlTextAreaElement) -> Option<String> {
    let form = field.closest("form[method=post]").ok()??;
    let path = web_sys::window()?.location().pathname().ok()?;
    Some(format!("typed {path} {}", form.get_attribute("action")?))
}

/// Forgets what was typed into the forms of this page.
fn forget_page(storage: &Storage) {
    let Some(Ok(path)) = web_sys::window().map(|window| window.location().pathname()) else { return };
    let page = format!("typed {path} ");
    let keys: Vec<String> = (0..storage.length().unwrap_or(0))
        .filter_map(|index| storage.key(index).ok().flatten())
        .filter(|key| key.starts_with(&page))
        .collect();
    for key in keys {
        let _ = storage.remove_item(&key);
    }
}

/// Whether nobody has begun to type into a field: the page was there before the code that gives a text back.
fn is_untouched(document: &Document, field: &HtmlTextAreaElement) -> bool {
    let focused = document.active_element().is_some_and(|active| active.is_same_node(Some(field)));
    field.value().is_empty() && !focused
}

/// Whether the page tells that this was done and why: it was sent and taken, though the page that said so was left
/// before it came to life.
fn is_told(document: &Document, typed: &str) -> bool {
    let deeds = document.query_selector(".deeds").ok().flatten().and_then(|deeds| deeds.text_content());
    deeds.is_some_and(|deeds| deeds.contains(typed.trim()))
}

/// Keeps what is typed into a form, in this tab, until it was sent and taken: a page that turns out to be
/// signed out, or that is left by mistake, gives it back. A question that was being answered is asked again.
pub fn keep_typed() {
    let (Some(document), Some(storage)) = (document(), storage()) else { return };
    // What was taken is forgotten whether or not its form is still there: the answer may have been the last.
    if document.query_selector(".notice:not(.refused)").ok().flatten().is_some() {
        forget_page(&storage);
    }
    let Ok(fields) = document.query_selector_all("form[method=post] textarea") else { return };
    for index in 0..fields.length() {
        let field = fields.item(index).and_then(|field| field.dyn_into::<HtmlTextAreaElement>().ok());
        let Some((field, key)) = field.and_then(|field| key_of(&field).map(|key| (field, key))) else {
            continue;
        };
        let Ok(Some(typed)) = storage.get_item(&key) else { continue };
        if is_told(&document, &typed) {
            let _ = storage.remove_item(&key);
        } else if is_untouched(&document, &field) {
            field.set_value(&typed);
            if let Ok(Some(dialog)) = field.closest("dialog") {
                open_dialog(&dialog.id());
            }
        }
    }
    let typed = Closure::<dyn FnMut(Event)>::new(move |event: Event| {
        let field = event.target().and_then(|target| target.dyn_into::<HtmlTextAreaElement>().ok());
        if let Some((field, key)) = field.and_then(|field| key_of(&field).map(|key| (field, key))) {
            let text = field.value();
            let _ = if text.is_empty() { storage.remove_item(&key) } else { storage.set_item(&key, &text) };
        }
    });
    let _ = document.add_event_listener_with_callback("input", typed.as_ref().unchecked_ref());
    typed.forget();
}

/// What is typed into a dialog that is given up is not kept.
fn forget_typed(dialog: &Element) {
    let field = dialog.query_selector("textarea").ok().flatten();
    let field = field.and_then(|field| field.dyn_into::<HtmlTextAreaElement>().ok());
    if let (Some(storage), Some(key)) = (storage(), field.as_ref().and_then(key_of)) {
        let _ = storage.remove_item(&key);
    }
}

/// Puts the banners above a dialog that is open: what is outside of it can neither be seen nor clicked.
fn bring_banners(into: &Element) {
    let banners = document().and_then(|document| document.query_selector(".banners").ok().flatten());
    if let Some(banners) = banners {
        let _ = into.append_child(&banners);
    }
}

/// What the page's island begins with, as the page carries it.
pub fn begin() -> Option<String> {
    document()?.query_selector("[data-begin]").ok()??.get_attribute("data-begin")
}

/// Whether a mouse points at something that can be pressed.
pub fn is_pointing() -> bool {
    const PRESSED: &str = "main a:hover, main button:hover, main summary:hover, main label:hover";
    if !cfg!(feature = "hydrate") {
        return false;
    }
    // Where there is no mouse, what was touched last counts as pointed at for ever.
    let mouse = web_sys::window().and_then(|window| window.match_media("(hover: hover)").ok().flatten());
    mouse.is_some_and(|mouse| mouse.matches())
        && document().is_some_and(|document| document.query_selector(PRESSED).ok().flatten().is_some())
}

/// Whether an element is scrolled to its end, give or take a line.
pub fn is_at_end(element: &Element) -> bool {
    element.scroll_height() - element.scroll_top() - element.client_height() < 32
}

/// Scrolls an element to its end.
pub fn scroll_to_end(element: &Element) {
    element.set_scroll_top(element.scroll_height());
}
