//! Whether the page is live, in the bar at the top; and a banner where it is not and somebody should know.

use leptos::prelude::*;

use super::live::{LiveState, dom, live_state};
use crate::app::reactive::words;

/// Whether the page is live.
#[island]
pub fn LiveBadge() -> impl IntoView {
    let state = live_state();
    Effect::new(move |_| dom::keep_typed());
    let class = {
        let state = state.clone();
        move || match state.get() {
            LiveState::Live => "live on",
            LiveState::Polling => "live on slow",
            LiveState::Still | LiveState::Paused => "live",
            LiveState::Away(_) | LiveState::SignedOut | LiveState::Outdated | LiveState::Gone => "live off",
        }
    };
    let word = {
        let state = state.clone();
        move || match state.get() {
            LiveState::Still => "As loaded",
            LiveState::Live => "Live",
            LiveState::Polling => "Every few seconds",
            LiveState::Paused => "Paused",
            LiveState::Away(_) => "No answer",
            LiveState::SignedOut => "Signed out",
            LiveState::Outdated => "Old version",
            LiveState::Gone => "Gone",
        }
    };
    let banner = move || {
        let (text, action) = match state.get() {
            LiveState::Away(seconds) => (
                format!(
                    "The server does not answer. You see what it said last; trying again in {seconds} s."
                ),
                None,
            ),
            LiveState::SignedOut => ("You are signed out.".to_owned(), Some(("Sign in", true))),
            LiveState::Outdated => {
                ("A new version of Longhaul is running.".to_owned(), Some(("Reload", false)))
            }
            LiveState::Gone => {
                ("This job was removed by the history limits.".to_owned(), Some(("Reload", false)))
            }
            LiveState::Still | LiveState::Live | LiveState::Polling | LiveState::Paused => return None,
        };
        let button = action.map(|(word, _)| {
            // A page that is loaded anew without a session leads to the sign-in page and back.
            view! { <button on:click=|_| dom::reload()>{word}</button> }
        });
        Some(view! {
            <div class="banner">
                <p>{text}</p>
                {button}
            </div>
        })
    };
    view! {
        <span class=words(move || class().to_owned())>{words(move || word().to_owned())}</span>
        <div class="banners" role="status">
            {banner}
        </div>
    }
}
