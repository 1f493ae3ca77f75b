//! One output of the command: its bytes, and how long nothing has come.
//!
//! A line that is not finished is looked at for progress after a short rest, and given to the log after a
//! longer one: it may be a question, and somebody waits for the answer. Time comes in with each call.

use std::time::{Duration, Instant};

use super::recorder::{Moment, Recorder, Source};
use super::terminal::{Shown, Terminal};

/// Reads one output.
pub struct Reader {
    source: Source,
    terminal: Terminal,
    /// When bytes last came that have not been looked at since.
    moved: Option<Instant>,
    /// The unfinished line was looked at for progress.
    peeked: bool,
    /// It rested, and what was added to it is not worth a line of its own yet.
    put_off: bool,
    /// How many times the unfinished line was given to the log so far.
    parts: u32,
}

impl Reader {
    /// An unfinished line is looked at for progress when nothing came for so long,
    const IDLE: Duration = Duration::from_millis(200);
    /// and is given to the log when it rested for so long.
    const REST: Duration = Duration::from_secs(1);

    /// Will read the output `source`.
    pub fn new(source: Source) -> Self {
        Self { source, terminal: Terminal::default(), moved: None, peeked: true, put_off: false, parts: 0 }
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8], now: Moment, recorder: &mut Recorder) {
        let Self { source, terminal, parts, .. } = self;
        terminal.feed(bytes, &mut |shown| {
            if matches!(shown, Shown::Line(_)) {
                *parts = 0;
            }
            recorder.take(*source, &shown, now);
        });
        self.moved = Some(now.instant);
        (self.peeked, self.put_off) = (false, false);
    }

    /// Something came on another output, and is to stand behind what this one shows.
    pub fn settle(&mut self, now: Moment, recorder: &mut Recorder) {
        let source = self.source;
        self.terminal.settle(&mut |shown| recorder.take(source, &shown, now));
    }

    /// When [`Self::tick`] has something to do, should nothing come until then.
    pub fn due(&self) -> Option<Instant> {
        let wait = match (self.peeked, self.put_off) {
            (false, _) => Self::IDLE,
            (true, false) => Self::REST,
            (true, true) => self.patience(),
        };
        self.moved.map(|moved| moved + wait)
    }

    /// Looks at a line that rests.
    pub fn tick(&mut self, now: Moment, recorder: &mut Recorder) {
        let Some(moved) = self.moved else { return };
        let rested = now.instant.saturating_duration_since(moved);
        if rested >= Self::IDLE && !self.peeked {
            self.peeked = true;
            recorder.peek(&self.terminal.unfinished(), now);
        }
        if rested >= Self::REST {
            let waited = rested >= self.patience();
            let Self { source, terminal, parts, .. } = self;
            let mut put_off = false;
            let recorder = std::cell::RefCell::new(recorder);
            terminal.rest(
                &mut |part| {
                    put_off = *parts > 0 && !waited && !is_word(part);
                    let taken = !put_off && recorder.borrow_mut().part(*source, part, now);
                    *parts += u32::from(taken);
                    taken
                },
                &mut |shown| recorder.borrow_mut().take(*source, &shown, now),
            );
            self.put_off = put_off;
            if !put_off {
                self.moved = None;
            }
        }
    }

    /// The output has ended.
    pub fn finish(&mut self, now: Moment, recorder: &mut Recorder) {
        let source = self.source;
        self.terminal.finish(&mut |shown| recorder.take(source, &shown, now));
        self.moved = None;
    }

    /// A line that grows by a dot a second is one line, and not one for each dot: each of its parts has to
    /// rest for longer, unless it has words.
    fn patience(&self) -> Duration {
        const MOST_DOUBLINGS: u32 = 6;
        Self::REST * 2_u32.pow(self.parts.min(MOST_DOUBLINGS))
    }
}

fn is_word(text: &str) -> bool {
    text.split(|c: char| !c.is_alphabetic()).any(|word| word.chars().nth(1).is_some())
}
