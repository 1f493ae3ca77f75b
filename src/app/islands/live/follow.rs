//! The loop that keeps a page up to date.

use futures::future::LocalBoxFuture;
use leptos::prelude::*;
use leptos::task::spawn_local;

use super::dom::{is_hidden, mark_hydrated, now_ms, on_visibility};
use super::state::{LiveState, live_state};
use super::stream::Stream;
use super::wake::{Wake, sleep};
use crate::model::Timestamp;
use crate::rpc::RpcError;

/// How soon to ask again where no stream nudges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Something is running.
    Busy,
    /// Nothing is.
    Idle,
    /// Never: another build answers.
    Outdated,
}

const BUSY_MS: u32 = 2_000;
const IDLE_MS: u32 = 10_000;
/// A healthy stream is looked at this often.
const CHECK_MS: u32 = 20_000;
/// Two fetches are at least this far apart, however often the stream nudges.
const APART_MS: u32 = 30;
/// The first and the longest wait after a failure.
const RETRY_MS: u32 = 1_000;
const LONGEST_RETRY_MS: u32 = 20_000;

/// Asks for what changed, and takes it in. Boxed, so that the loop is made once and not once a page.
pub type Fetch = Box<dyn Fn() -> LocalBoxFuture<'static, Result<Pace, RpcError>>>;

/// Keeps a page up to date for its life: `fetch` asks for what changed and takes it in. `stream` is where
/// the nudges come from.
pub fn follow(stream: String, fetch: Fetch) {
    mark_hydrated();
    let wake = Wake::default();
    let ring = wake.clone();
    on_visibility(move || ring.ring());
    spawn_local(run(stream, wake, fetch));
}

async fn run(address: String, wake: Wake, fetch: Fetch) {
    let state = live_state();
    let mut stream: Option<Stream> = None;
    let mut failures = 0_u32;
    loop {
        if is_hidden() {
            // Browsers allow six connections to a server; a page nobody looks at gives its own back.
            stream = None;
            state.set(LiveState::Paused);
            wake.heard().await;
            continue;
        }
        match fetch().await {
            Ok(Pace::Outdated) => {
                state.set(LiveState::Outdated);
                return;
            }
            Ok(pace) => {
                failures = 0;
                if stream.as_ref().is_none_or(Stream::is_closed) {
                    stream = Stream::open(&address, &wake);
                }
                loop {
                    let healthy = stream.as_ref().is_some_and(Stream::is_healthy);
                    let now = if healthy { LiveState::Live } else { LiveState::Polling };
                    if state.get_untracked() != now {
                        state.set(now);
                    }
                    if !healthy {
                        wake.heard_within(if pace == Pace::Busy { BUSY_MS } else { IDLE_MS }).await;
                        break;
                    }
                    if wake.heard_within(CHECK_MS).await {
                        sleep(APART_MS).await;
                        break;
                    }
                }
            }
            Err(error) if error.is_signed_out() => {
                state.set(LiveState::SignedOut);
                return;
            }
            Err(error) if error.is_gone() => {
                state.set(LiveState::Gone);
                return;
            }
            Err(_) => {
                stream = None;
                let longest = RETRY_MS.saturating_mul(1 << failures.min(5)).min(LONGEST_RETRY_MS);
                failures += 1;
                // Not all pages at once when the server is back.
                let wait = (f64::from(longest) * (0.5 + js_sys::Math::random() / 2.0)) as u32;
                state.set(LiveState::Away(wait.div_ceil(1_000)));
                wake.heard_within(wait).await;
            }
        }
    }
}

/// Lets `now` go on by the browser's clock from what the server said, once a second.
pub fn tick(now: RwSignal<Timestamp>) {
    spawn_local(async move {
        let mut last = now_ms();
        loop {
            sleep(1_000).await;
            let this = now_ms();
            // A laptop that slept, or a clock that was set: the next answer puts it right.
            let passed = (this - last).clamp(0.0, 86_400_000.0) as i64;
            last = this;
            if now.try_update(|now| now.0 += passed).is_none() {
                return;
            }
        }
    });
}
