//! The server's time on an open page.
//!
//! It goes on by the browser's monotonic clock from what the server said last, so that a computer whose
//! clock is set does not change an age. While nothing is heard it stands still.

use leptos::prelude::*;
use leptos::task::spawn_local;

use super::dom::{mark_silent, monotonic_ms};
use super::wake::sleep;
use crate::model::Timestamp;

/// After so long without a word from the server ages stand still. A healthy stream is heard every three
/// seconds, a page that polls asks every two or four.
const STILL_MS: f64 = 6_000.0;

/// The server's time.
#[derive(Clone, Copy)]
pub struct Clock {
    /// Goes on by itself, for ages.
    pub now: RwSignal<Timestamp>,
    /// Up to when the page is known to show what is true. A verdict is given as of then: what is silent
    /// may have spoken since.
    pub sure: RwSignal<Timestamp>,
    /// When the server was last heard of, by the browser's clock.
    heard_at: StoredValue<f64>,
}

impl Clock {
    /// A clock that stands at what the page was rendered with.
    pub fn new(at: Timestamp) -> Self {
        Self { now: RwSignal::new(at), sure: RwSignal::new(at), heard_at: StoredValue::new(0.0) }
    }

    /// Lets the clock go.
    pub fn start(self) {
        self.heard_at.set_value(monotonic_ms());
        spawn_local(async move {
            let mut silent = false;
            loop {
                sleep(1_000).await;
                let still = self.silence_ms() >= STILL_MS;
                if still != silent {
                    silent = still;
                    mark_silent(silent);
                }
                if !still && self.now.try_set(self.reckoned()).is_some() {
                    return;
                }
            }
        });
    }

    /// An answer came, with the server's time on it.
    pub fn set(self, at: Timestamp) {
        self.heard_at.set_value(monotonic_ms());
        self.sure.set(at);
        self.now.set(at);
    }

    /// The server was heard of, and nothing the page shows has changed.
    pub fn confirm(self) {
        self.set(self.reckoned());
    }

    /// How long nothing was heard of the server.
    pub fn silence_ms(self) -> f64 {
        monotonic_ms() - self.heard_at.get_value()
    }

    fn reckoned(self) -> Timestamp {
        // A monotonic clock does not go back; a day is more than any page is silent and shown as live.
        let passed = self.silence_ms().clamp(0.0, 86_400_000.0);
        Timestamp(self.sure.get_untracked().0 + passed as i64)
    }
}
