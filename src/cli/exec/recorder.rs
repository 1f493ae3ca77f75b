//! What a command's lines mean for its job: the one place that knows the current step, what was last
//! reported, and what is worth a place in the log.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::lines::{LineEnd, Said, read};
use super::progress::{guess, words};
use super::record::End;
use super::spool::Spool;
use crate::model::{Level, MessageText, StepSpec, StepTree};

/// Numbers are reported at most this often.
const NUMBER_EVERY: Duration = Duration::from_millis(100);

/// Which of a command's outputs a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Its lines are infos.
    Stdout,
    /// Its lines are warnings.
    Stderr,
}

/// Turns lines into reports, and keeps them in the spool.
pub struct Recorder {
    spool: Spool,
    /// Progress is read from ordinary lines.
    guessing: bool,
    /// The path of the current step.
    step: Option<String>,
    /// The paths of all steps there are.
    declared: HashSet<String>,
    /// Those that are made of others: they have no progress of their own.
    parents: HashSet<String>,
    number: Number,
    redraws: [Redraws; 2],
}

impl Recorder {
    /// Keeps reports in `spool`. With `guessing`, progress is read from ordinary lines until the command
    /// reports it itself.
    pub fn new(spool: Spool, guessing: bool) -> Self {
        Self {
            spool,
            guessing,
            step: None,
            declared: HashSet::new(),
            parents: HashSet::new(),
            number: Number::default(),
            redraws: Default::default(),
        }
    }

    /// Takes a line of the command's output.
    pub fn line(&mut self, source: Source, line: &[u8], end: LineEnd, now: Instant) {
        let level = match source {
            Source::Stdout => Level::Info,
            Source::Stderr => Level::Warning,
        };
        match read(line) {
            Said::Nothing => {}
            Said::Text(text) => {
                self.guess(&text, now);
                let shown = end == LineEnd::Feed || self.redraws[source as usize].is_news(&text, now);
                if shown {
                    self.message(level, &text);
                }
            }
            Said::Marked(level, text) => self.message(level, &text),
            Said::Progress(value) => {
                self.guessing = false;
                self.raise(value, now);
            }
            Said::Step(path) => self.enter(path, now),
            Said::Steps(paths) => {
                for path in paths {
                    self.declare(&path);
                }
            }
        }
    }

    /// Looks at a line that is being written and has not moved for a while: a progress bar that waits.
    pub fn peek(&mut self, line: &[u8], now: Instant) {
        if let Said::Text(text) = read(line) {
            self.guess(&text, now);
        }
    }

    /// When [`Self::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        self.number.due()
    }

    /// Keeps what is due, and writes everything to the spool.
    pub fn tick(&mut self, now: Instant) {
        if self.number.due().is_some_and(|due| due <= now) {
            self.report_number(now);
        }
        self.spool.flush();
    }

    /// The command has ended: what is pending is kept, and the spool is closed.
    pub fn finish(mut self, end: End, now: Instant) {
        self.settle(now);
        if end == End::Completed
            && let Some(step) = &self.step
        {
            self.spool.progress(Some(step), 1.0);
        }
        self.spool.finish(end);
    }

    fn message(&mut self, level: Level, text: &str) {
        self.spool.message(level, MessageText::cut(text), self.step.as_deref());
    }

    /// A guess never says that all is done: many a program counts to 100 % once for each of its phases.
    fn guess(&mut self, text: &str, now: Instant) {
        const MOST: f64 = 0.99;
        if self.guessing
            && let Some(value) = guess(text)
        {
            self.raise(value.min(MOST), now);
        }
    }

    fn raise(&mut self, value: f64, now: Instant) {
        let has_parts = self.step.as_ref().is_some_and(|step| self.parents.contains(step));
        if !has_parts && self.number.raise(value, now) {
            self.report_number(now);
        }
    }

    fn report_number(&mut self, now: Instant) {
        let value = self.number.written(now);
        self.spool.progress(self.step.as_deref(), value);
    }

    fn settle(&mut self, now: Instant) {
        if self.number.due().is_some() {
            self.report_number(now);
        }
    }

    /// Goes on to another step: the one before is done, unless it holds the new one.
    fn enter(&mut self, path: String, now: Instant) {
        if self.step.as_ref() == Some(&path) {
            return;
        }
        self.settle(now);
        // Declared before the last one is done: else for a moment all that is known is done, and a bar
        // that reached its end never comes back.
        if !self.declare(&path) {
            self.message(Level::Info, &format!("::step {path}"));
            return;
        }
        if let Some(before) = &self.step
            && !within(&path, before)
        {
            self.spool.progress(Some(before), 1.0);
        }
        self.number = Number::default();
        if !self.parents.contains(&path) {
            // The first number is what marks a step as begun.
            self.spool.progress(Some(&path), 0.0);
        }
        self.step = Some(path);
    }

    /// Makes sure that there is such a step. Returns whether there is: a job can have only so many.
    fn declare(&mut self, path: &str) -> bool {
        if self.declared.contains(path) {
            return true;
        }
        if self.declared.len() + path.split('/').count() > StepTree::MAX_STEPS {
            return false;
        }
        let mut names = path.rsplit('/');
        let mut spec = StepSpec::new(names.next().unwrap_or(path));
        for name in names {
            spec = StepSpec::new(name).steps([spec]);
        }
        self.spool.steps(vec![spec]);
        self.declared.insert(path.to_owned());
        for (slash, _) in path.match_indices('/') {
            self.declared.insert(path[..slash].to_owned());
            self.parents.insert(path[..slash].to_owned());
        }
        true
    }
}

/// Whether the step at `path` is a part of the one at `of`.
fn within(path: &str, of: &str) -> bool {
    path.strip_prefix(of).is_some_and(|rest| rest.starts_with('/'))
}

/// The progress of the job or of its current step, on its way to the server: never falling, not too often.
#[derive(Debug, Default)]
struct Number {
    value: f64,
    reported: f64,
    reported_at: Option<Instant>,
}

impl Number {
    /// Takes a value. Returns whether it is to be reported now.
    fn raise(&mut self, value: f64, now: Instant) -> bool {
        self.value = self.value.max(value);
        self.due().is_some_and(|due| due <= now) || (self.value > self.reported && self.reported_at.is_none())
    }

    /// When a value that has not been reported is to be.
    fn due(&self) -> Option<Instant> {
        (self.value > self.reported).then(|| self.reported_at.map(|at| at + NUMBER_EVERY)).flatten()
    }

    fn written(&mut self, now: Instant) -> f64 {
        self.reported = self.value;
        self.reported_at = Some(now);
        self.value
    }
}

/// Which redrawn lines are worth a place in the log: those with other words than the one before, and of
/// these only so many, because a program that redraws a file name a thousand times a second has nothing
/// to say a thousand times a second.
#[derive(Debug)]
struct Redraws {
    words: String,
    allowance: f64,
    at: Option<Instant>,
}

impl Redraws {
    /// So many at once,
    const BURST: f64 = 20.0;
    /// and so many a second after that.
    const RATE: f64 = 2.0;

    fn is_news(&mut self, text: &str, now: Instant) -> bool {
        let words = words(text);
        if words.is_empty() || words == self.words {
            return false;
        }
        self.words = words;
        if let Some(before) = self.at.replace(now) {
            let earned = now.saturating_duration_since(before).as_secs_f64() * Self::RATE;
            self.allowance = (self.allowance + earned).min(Self::BURST);
        }
        let is_allowed = self.allowance >= 1.0;
        if is_allowed {
            self.allowance -= 1.0;
        }
        is_allowed
    }
}

impl Default for Redraws {
    fn default() -> Self {
        Self { words: String::new(), allowance: Self::BURST, at: None }
    }
}
