//! One stream for all pages of a browser.
//!
//! A browser gives a server six connections, over plain HTTP; with a stream a page, the seventh page would
//! stay blank and no button would answer. So one page has the stream and tells the others what it hears, on a
//! `BroadcastChannel`. Web Locks would choose that page, but they are missing where this matters most, on
//! plain HTTP from another machine; so the pages agree by themselves: a page asks who has the stream, takes it
//! when nobody answers, and leaves it to the one with the lower id where two took it at once. A page nobody
//! looks at lets it go. A browser without `BroadcastChannel` polls.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use leptos::task::spawn_local;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{BroadcastChannel, MessageEvent};

use super::clock::Clock;
use super::dom::monotonic_ms;
use super::nudge::{Mark, announced, concerns};
use super::stream::Stream;
use super::wake::{Wake, sleep};

/// The channel. Another number when what is said on it changes.
const CHANNEL: &str = "longhaul-stream-1";
/// A page that has the stream speaks at least as often as the server beats, every three seconds.
const ABSENT_MS: f64 = 7_000.0;
/// A stream that was silent for so long is opened anew…
const SILENT_MS: f64 = 10_000.0;
/// …one that the browser gave up as soon as the server answers, but not more often than this…
const CLOSED_MS: f64 = 1_500.0;
/// …and one that breaks at once, if it lasted so long.
const REOPEN_MS: f64 = 5_000.0;

/// What the pages of a browser say to each other, as the first letter of a message; the speaker's id and what
/// was heard follow.
mod word {
    /// Who has the stream?
    pub const WHO: char = '?';
    /// I have. With how many milliseconds it was silent, in answer to the question.
    pub const MINE: char = '!';
    /// I let it go.
    pub const FREE: char = '.';
    /// I heard this on it.
    pub const HEARD: char = '=';
}

/// This page's part in the stream.
#[derive(Clone)]
pub struct SharedStream(Rc<Page>);

struct Page {
    id: String,
    channel: Option<BroadcastChannel>,
    /// What only changes of one job concern.
    job: Option<String>,
    wake: Wake,
    clock: Clock,
    /// Somebody looks at the page.
    present: Cell<bool>,
    stream: RefCell<Option<Stream>>,
    opened_at: Cell<f64>,
    /// When another page's stream was last heard of.
    other_at: Cell<f64>,
    /// When the stream was last heard of, whoever has it.
    heard_at: Cell<f64>,
    /// What the page shows.
    shown: RefCell<Mark>,
    /// What was announced and is not shown yet.
    due: RefCell<Option<Mark>>,
}

impl SharedStream {
    /// A page that takes part once somebody looks at it. `wake` rings when there is something to ask for.
    pub fn new(job: Option<String>, wake: Wake, clock: Clock) -> Self {
        let id = format!("{:08x}", (js_sys::Math::random() * f64::from(u32::MAX)) as u32);
        let long_ago = Cell::new(f64::NEG_INFINITY);
        let page = Rc::new(Page {
            id,
            channel: BroadcastChannel::new(CHANNEL).ok(),
            job,
            wake,
            clock,
            present: Cell::new(false),
            stream: RefCell::new(None),
            opened_at: long_ago.clone(),
            other_at: long_ago.clone(),
            heard_at: long_ago,
            shown: RefCell::default(),
            due: RefCell::default(),
        });
        let shared = Self(page);
        if let Some(channel) = &shared.0.channel {
            let hearing = shared.clone();
            let listener = Closure::<dyn FnMut(MessageEvent)>::new(move |message: MessageEvent| {
                if let Some(text) = message.data().as_string() {
                    hearing.told(&text);
                }
            });
            channel.set_onmessage(Some(listener.as_ref().unchecked_ref()));
            // It listens as long as there is a page.
            listener.forget();
        }
        shared
    }

    /// Somebody looks at the page: it takes part, and sees to it that there is a stream.
    pub fn join(&self) {
        let page = &self.0;
        if page.channel.is_none() {
            return;
        }
        let now = monotonic_ms();
        if !page.present.replace(true) {
            self.say(word::WHO, "");
            self.stand();
            return;
        }
        let closed = page.stream.borrow().as_ref().map(Stream::is_closed);
        if let Some(closed) = closed {
            let silent = now - page.heard_at.get().max(page.opened_at.get()) > SILENT_MS;
            if silent || (closed && now - page.opened_at.get() > CLOSED_MS) {
                self.open();
            }
        } else if now - page.other_at.get() > ABSENT_MS {
            self.stand();
        }
    }

    /// Nobody looks at the page: another may have the stream.
    pub fn leave(&self) {
        self.0.present.set(false);
        if self.0.stream.take().is_some() {
            self.say(word::FREE, "");
        }
    }

    /// How long the stream was silent.
    pub fn silence_ms(&self) -> f64 {
        monotonic_ms() - self.0.heard_at.get()
    }

    /// Whether something was announced that the page does not show.
    pub fn is_due(&self) -> bool {
        self.0.due.borrow().is_some()
    }

    /// The page shows this now.
    pub fn show(&self, mark: Mark) {
        let page = &self.0;
        let covered = page.due.borrow().as_ref().is_some_and(|due| mark.covers(due));
        if covered {
            page.due.take();
        }
        page.shown.replace(mark);
    }

    /// What was announced until now is being asked for.
    pub fn asking(&self) {
        self.0.due.take();
    }

    /// Takes the stream in a moment, if nobody has it by then. Not all at the same moment.
    fn stand(&self) {
        let shared = self.clone();
        let moment = 40.0 + js_sys::Math::random() * 160.0;
        spawn_local(async move {
            sleep(moment as u32).await;
            let page = &shared.0;
            let taken = monotonic_ms() - page.other_at.get() < ABSENT_MS;
            if page.present.get() && !taken && page.stream.borrow().is_none() {
                shared.open();
            }
        });
    }

    fn open(&self) {
        let page = &self.0;
        self.say(word::MINE, "");
        page.opened_at.set(monotonic_ms());
        // A weak one: the stream is the page's, and would keep it alive otherwise.
        let hearing = Rc::downgrade(page);
        let stream = Stream::open(move |event, data| {
            if let Some(page) = hearing.upgrade() {
                let shared = Self(page);
                let heard = format!("{event} {data}");
                shared.say(word::HEARD, &heard);
                shared.heard(&heard);
            }
        });
        page.stream.replace(stream);
    }

    fn say(&self, word: char, text: &str) {
        if let Some(channel) = &self.0.channel {
            let _ = channel.post_message(&format!("{word}{} {text}", self.0.id).into());
        }
    }

    /// Another page said something.
    fn told(&self, text: &str) {
        let page = &self.0;
        let mut letters = text.chars();
        let Some((word, (other, text))) = letters.next().zip(letters.as_str().split_once(' ')) else {
            return;
        };
        let have = page.stream.borrow().is_some();
        match word {
            word::WHO if have => self.say(word::MINE, &(self.silence_ms() as u32).to_string()),
            word::FREE => {
                page.other_at.set(f64::NEG_INFINITY);
                if page.present.get() {
                    self.stand();
                }
            }
            word::MINE | word::HEARD => {
                if have && page.id.as_str() < other {
                    self.say(word::MINE, "");
                    return;
                }
                page.stream.take();
                page.other_at.set(monotonic_ms());
                if !page.present.get() {
                    return;
                }
                if word == word::HEARD {
                    self.heard(text);
                } else if let Ok(silence) = text.parse::<u32>() {
                    page.heard_at.set(monotonic_ms() - f64::from(silence));
                    page.wake.ring();
                }
            }
            _ => {}
        }
    }

    /// Something came on the stream, of this page or of another.
    fn heard(&self, text: &str) {
        let page = &self.0;
        if text.starts_with("error") {
            let was_well = self.silence_ms() < SILENT_MS;
            page.heard_at.set(f64::NEG_INFINITY);
            // Streams are ended by the server from time to time. Browsers come back by themselves, but late.
            if page.stream.borrow().is_some() && monotonic_ms() - page.opened_at.get() > REOPEN_MS {
                self.open();
            }
            if was_well {
                page.wake.ring();
            }
            return;
        }
        page.heard_at.set(monotonic_ms());
        let concerned =
            page.job.as_ref().is_none_or(|job| text.starts_with("revision") && concerns(text, job));
        let news = announced(text).filter(|mark| concerned && !page.shown.borrow().covers(mark));
        match news {
            Some(mark) => {
                page.due.replace(Some(mark));
                page.wake.ring();
            }
            None if self.is_due() => {}
            None => page.clock.confirm(),
        }
    }
}
