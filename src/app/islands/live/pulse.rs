//! The beat at which the resources of an open page ask again.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use leptos::prelude::*;
use leptos::task::spawn_local;

use super::clock::Clock;
use super::dom::{is_hidden, mark_hydrated, monotonic_ms, on_leaving, on_visibility};
use super::nudge::Mark;
use super::share::SharedStream;
use super::state::{LiveState, live_state};
use super::wake::{Wake, sleep};
use crate::app::zone;
use crate::model::JobId;
use crate::rpc::RpcError;

/// How soon to ask again where no stream nudges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Something is running.
    Busy,
    /// Nothing is.
    Idle,
}

/// A page that just began waits so long for the stream's first word, which makes it ask.
const FIRST_MS: u32 = 400;
const BUSY_MS: f64 = 2_000.0;
const IDLE_MS: f64 = 4_000.0;
/// A server beats every three seconds. A stream that is late by half of that is not waited for.
const LATE_MS: f64 = 4_500.0;
/// A stream that was silent for so long is none.
const LOST_MS: f64 = 10_000.0;
/// A stream that did not announce what a poll found is not relied on for so long.
const DISTRUST_MS: f64 = 60_000.0;
/// No page is live whose server was not heard of for so long.
const LIVE_MS: f64 = 25_000.0;
/// Two beats are at least this far apart, however often the stream nudges. The first comes at once.
const APART_MS: f64 = 40.0;
/// Answers that all together take longer are not waited for; each has five seconds.
const ANSWERS_MS: u32 = 30_000;
/// The first and the longest wait after a failure.
const RETRY_MS: u32 = 1_000;
const LONGEST_RETRY_MS: u32 = 20_000;

/// What came of a beat: how to go on, which state of the server is shown now, and whether that is another
/// than before.
#[derive(Clone, Debug)]
pub struct Answered {
    pace: Pace,
    mark: Mark,
    changed: bool,
}

/// What the resources of a page follow.
#[derive(Clone, Copy)]
pub struct Pulse {
    beats: RwSignal<u32>,
    clock: Clock,
}

thread_local! {
    // A page has one pulse. Not a part of it: a server's pulses, which never beat, move between threads.
    static ANSWERS: Rc<Answers> = Rc::default();
}

/// The answers that a beat is waiting for.
#[derive(Default)]
struct Answers {
    awaited: Cell<u32>,
    result: RefCell<Option<Result<Answered, RpcError>>>,
    all: Wake,
    /// Somebody on the page wants another beat, and what wakes whoever waits for the next.
    wanted: Cell<bool>,
    wake: RefCell<Option<Wake>>,
}

impl Pulse {
    /// A pulse that does not beat yet.
    pub fn new(clock: Clock) -> Self {
        Self { beats: RwSignal::new(0), clock }
    }

    /// Makes a resource ask at each beat. False before the first: the page shows what it was rendered with.
    pub fn has_begun(self) -> bool {
        self.beats.get() > 0
    }

    /// An answer was taken in: the page now shows this state of the server. `changed`: it was another.
    pub fn answered(self, pace: Pace, boot: &str, revision: u64, changed: bool) {
        let mark = Mark { boot: boot.to_owned(), revision };
        Self::came(Ok(Answered { pace, mark, changed }));
    }

    /// No answer came, or a refusal.
    pub fn failed(self, error: &RpcError) {
        Self::came(Err(error.clone()));
    }

    /// There was nothing to ask at this beat; another resource has.
    pub fn not_asked(self) {
        Self::came(None);
    }

    /// Something on the page wants to ask now.
    pub fn ask_again(self) {
        let answers = ANSWERS.with(Rc::clone);
        answers.wanted.set(true);
        if let Some(wake) = &*answers.wake.borrow() {
            wake.ring();
        }
    }

    fn came(result: impl Into<Option<Result<Answered, RpcError>>>) {
        let answers = ANSWERS.with(Rc::clone);
        answers.awaited.set(answers.awaited.get().saturating_sub(1));
        if let Some(result) = result.into() {
            let mut so_far = answers.result.borrow_mut();
            *so_far = match (so_far.take(), result) {
                (Some(Err(error)), _) | (_, Err(error)) => Some(Err(error)),
                (None, Ok(answered)) => Some(Ok(answered)),
                (Some(Ok(before)), Ok(now)) => {
                    let pace = if before.pace == Pace::Busy { before.pace } else { now.pace };
                    // Of two answers the page shows no more than the older one.
                    let mark = if now.mark.covers(&before.mark) { before.mark } else { now.mark };
                    Some(Ok(Answered { pace, mark, changed: before.changed || now.changed }))
                }
            };
        }
        if answers.awaited.get() == 0 {
            answers.all.ring();
        }
    }

    async fn beat(self, resources: u32) -> Result<Answered, RpcError> {
        let answers = ANSWERS.with(Rc::clone);
        answers.awaited.set(resources);
        answers.result.take();
        self.beats.update(|beats| *beats += 1);
        if !answers.all.heard_within(ANSWERS_MS).await {
            return Err(RpcError::no_answer());
        }
        answers.result.take().unwrap_or_else(|| Err(RpcError::no_answer()))
    }

    /// Begins to beat, for as many resources, for the page's life. `job` names the only job that concerns it.
    pub fn begin(self, resources: u32, job: Option<JobId>) {
        mark_hydrated();
        // Once every island is alive: what they show while they come to life must be what was rendered.
        set_timeout(|| zone::known().set(true), Duration::ZERO);
        self.clock.start();
        let wake = Wake::default();
        let shared = SharedStream::new(job.map(|job| job.to_string()), wake.clone(), self.clock);
        ANSWERS.with(|answers| *answers.wake.borrow_mut() = Some(wake.clone()));
        let ring = wake.clone();
        on_visibility(move || ring.ring());
        let leaving = shared.clone();
        on_leaving(move || leaving.leave());
        spawn_local(self.run(resources, shared, wake));
    }

    async fn run(self, resources: u32, shared: SharedStream, wake: Wake) {
        let state = live_state();
        let say = |now: LiveState| {
            if state.get_untracked() != now {
                state.set(now);
            }
        };
        let mut failures = 0_u32;
        let mut distrusted_until = f64::NEG_INFINITY;
        // The server was away, and the stream with it: what it missed says nothing of what lies in between.
        let mut broken = false;
        let mut begun = false;
        loop {
            if is_hidden() {
                shared.leave();
                say(LiveState::Paused);
                wake.heard().await;
                continue;
            }
            shared.join();
            if !begun {
                begun = true;
                wake.heard_within(FIRST_MS).await;
            }
            let checking = !shared.is_due();
            shared.asking();
            let asked_at = monotonic_ms();
            if self.clock.silence_ms() > LIVE_MS {
                say(LiveState::Polling);
            }
            match self.beat(resources).await {
                Ok(Answered { pace, mark, changed }) => {
                    failures = 0;
                    shared.show(mark);
                    let now = monotonic_ms();
                    let late = shared.silence_ms() > LATE_MS;
                    broken &= late;
                    // The stream was late, and there was something it had not announced.
                    if checking && changed && late && !broken && !shared.is_due() {
                        distrusted_until = now + DISTRUST_MS;
                    }
                    let pause = if pace == Pace::Busy { BUSY_MS } else { IDLE_MS };
                    self.rest(&shared, &wake, asked_at, pause, distrusted_until, &say).await;
                }
                Err(error) => {
                    if let Some(end) = end_of(&error) {
                        shared.leave();
                        return say(end);
                    }
                    let longest = RETRY_MS.saturating_mul(1 << failures.min(5)).min(LONGEST_RETRY_MS);
                    failures += 1;
                    broken = true;
                    // Not all pages at once when the server is back.
                    let wait = (f64::from(longest) * (0.5 + js_sys::Math::random() / 2.0)) as u32;
                    say(LiveState::Away(wait.div_ceil(1_000)));
                    wake.heard_within(wait).await;
                }
            }
        }
    }

    /// Waits until there is a reason to ask again.
    async fn rest(
        self,
        shared: &SharedStream,
        wake: &Wake,
        asked_at: f64,
        pause: f64,
        distrusted_until: f64,
        say: &impl Fn(LiveState),
    ) {
        loop {
            if is_hidden() {
                return;
            }
            shared.join();
            let now = monotonic_ms();
            if shared.is_due() || ANSWERS.with(|answers| answers.wanted.take()) {
                sleep((APART_MS - (now - asked_at)).max(0.0) as u32).await;
                return;
            }
            let silence = shared.silence_ms();
            let believed = silence < LATE_MS && now >= distrusted_until;
            say(if silence < LOST_MS && now >= distrusted_until {
                LiveState::Live
            } else {
                LiveState::Polling
            });
            let left = if believed { LATE_MS - silence } else { asked_at + pause - now };
            if left <= 0.0 {
                return;
            }
            wake.heard_within(left as u32 + 1).await;
        }
    }
}

/// What an error ends for good; `None` where trying again may help.
fn end_of(error: &RpcError) -> Option<LiveState> {
    if error.is_signed_out() {
        Some(LiveState::SignedOut)
    } else if error.is_gone() {
        Some(LiveState::Gone)
    } else if error.is_outdated() {
        Some(LiveState::Outdated)
    } else {
        None
    }
}
