//! Whether the page is live, for whoever shows it. Islands share no context, but they share this.

use std::cell::RefCell;

use leptos::prelude::*;

/// Whether the page is live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LiveState {
    /// Rendered, and not alive yet; without JavaScript it stays so.
    #[default]
    Still,
    /// The server nudges it.
    Live,
    /// It asks every few seconds.
    Polling,
    /// Nobody looks.
    Paused,
    /// The server does not answer. It tries again by itself, after so many seconds.
    Away(u32),
    /// The browser is not signed in any more.
    SignedOut,
    /// Another build of the program answers: the page should be loaded anew.
    Outdated,
    /// What the page shows is not there any more.
    Gone,
}

thread_local! {
    static STATE: RefCell<Option<ArcRwSignal<LiveState>>> = const { RefCell::new(None) };
}

/// Whether the page is live.
pub fn live_state() -> ArcRwSignal<LiveState> {
    if cfg!(feature = "hydrate") {
        STATE.with_borrow_mut(|state| state.get_or_insert_with(ArcRwSignal::default).clone())
    } else {
        // A server's threads render many pages: each begins still.
        ArcRwSignal::default()
    }
}
