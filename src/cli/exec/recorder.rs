//! What a command's lines mean for its job: the one place that knows the current step, what was last
//! reported, and what is worth a place in the log.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use chrono::Utc;

use super::lines::{Directives, Said};
use super::phases::{Believed, Phases};
use super::progress::{guess, words};
use super::record::{End, Ended, Progress, RunnerTime};
use super::redraws::Redraws;
use super::spool::Spool;
use super::terminal::{Redraw, Shown};
use crate::model::{Level, MessageText, ProgressSource, StepSpec, StepTree};

/// Numbers are reported at most this often.
const NUMBER_EVERY: Duration = Duration::from_millis(100);

/// A moment, on the clock that spans are measured by and on the one that people read.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For spans.
    pub instant: Instant,
    /// For people; absent where the clock makes no sense.
    pub time: Option<RunnerTime>,
}

impl Moment {
    /// This moment.
    pub fn now() -> Self {
        Self { instant: Instant::now(), time: RunnerTime::of(Utc::now()) }
    }
}

/// Which of a command's outputs a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Its lines are infos.
    Stdout,
    /// Its lines are warnings.
    Stderr,
}

/// Turns what the command shows into reports, and keeps them in the spool.
pub struct Recorder {
    spool: Spool,
    directives: Directives,
    /// Progress is read from ordinary lines.
    guessing: bool,
    /// What lines on standard error are.
    stderr: Level,
    /// The path of the current step.
    step: Option<String>,
    /// The paths of all steps that the command told of.
    declared: HashSet<String>,
    /// Those that are made of others: they have no progress of their own.
    parents: HashSet<String>,
    /// What the command says of the current step.
    number: Number,
    /// The step that number is of, where it is not the current one, which is made of guessed ones.
    number_of: Option<String>,
    phases: Phases,
    /// The phases that are believed within the current step, in order.
    guessed: Vec<Guessed>,
    redraws: [Redraws; 2],
}

/// A phase of which the output's numbers tell.
#[derive(Debug)]
struct Guessed {
    /// Its step; absent where it is all there is within the current one, or in the job.
    step: Option<String>,
    number: Number,
    /// It has reached its end.
    is_full: bool,
}

impl Recorder {
    /// Keeps reports in `spool`. With `guessing`, progress is read from ordinary lines until the command
    /// reports it itself.
    pub fn new(spool: Spool, directives: Directives, guessing: bool) -> Self {
        Self {
            spool,
            directives,
            guessing,
            stderr: Level::Warning,
            step: None,
            declared: HashSet::new(),
            parents: HashSet::new(),
            number: Number::default(),
            number_of: None,
            phases: Phases::default(),
            guessed: Vec::new(),
            redraws: Default::default(),
        }
    }

    /// The same with another level for the lines of standard error: many programs say everything there.
    #[must_use]
    pub fn stderr_as(mut self, level: Level) -> Self {
        self.stderr = level;
        self
    }

    fn level(&self, source: Source) -> Level {
        match source {
            Source::Stdout => Level::Info,
            Source::Stderr => self.stderr,
        }
    }

    /// Takes what an output of the command shows.
    pub fn take(&mut self, source: Source, shown: &Shown<'_>, now: Moment) {
        match shown {
            Shown::Line(text) => self.line(source, text, now),
            Shown::Redraw(state) => self.redraw(source, state, now),
        }
    }

    fn line(&mut self, source: Source, text: &str, now: Moment) {
        match self.directives.read(text) {
            Said::Text(text) => {
                if source == Source::Stderr {
                    // It may be the last word before a crash, and a bar the last but one.
                    for text in self.redraws[Source::Stdout as usize].settle(now.instant) {
                        self.message(self.level(Source::Stdout), &text, now);
                    }
                }
                self.guess(&text, now);
                self.message(self.level(source), &text, now);
            }
            said => self.obey(said, now),
        }
    }

    fn redraw(&mut self, source: Source, state: &Redraw<'_>, now: Moment) {
        // A last state was told as a state before.
        if !state.last {
            match self.directives.read(&state.drawn) {
                Said::Text(text) => self.guess(&text, now),
                Said::Nothing => {}
                said => return self.obey(said, now),
            }
        } else if self.directives.may_be_order(&state.text) {
            return;
        }
        for text in self.redraws[source as usize].take(state, now.instant) {
            self.message(self.level(source), &text, now);
        }
    }

    fn obey(&mut self, said: Said<'_>, now: Moment) {
        match said {
            Said::Nothing | Said::Text(_) => {}
            Said::Marked(level, text) => self.message(level, &text, now),
            Said::Progress(value) => self.explicit(value, now),
            Said::Step(path) => self.enter(path, now),
            Said::Steps(paths) => {
                for path in paths {
                    self.declare(&path);
                }
            }
        }
    }

    /// Takes what was added to a line that is not finished, and rests. Returns whether it is in the log: what
    /// may become an order is not, nor a bar that was drawn once.
    pub fn part(&mut self, source: Source, text: &str, now: Moment) -> bool {
        let is_bar = words(text).is_empty() && guess(text).is_some();
        if self.directives.may_be_order(text) || is_bar {
            return false;
        }
        self.message(self.level(source), text, now);
        true
    }

    /// Looks at a line that is being written and has not moved for a while: a progress bar that waits.
    pub fn peek(&mut self, text: &str, now: Moment) {
        if !self.directives.may_be_order(text) {
            self.guess(text, now);
        }
    }

    /// When [`Self::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        let guessed = self.guessed.iter().filter_map(|guessed| guessed.number.due());
        guessed.chain(self.number.due()).min()
    }

    /// Keeps what is due, and writes everything to the spool.
    pub fn tick(&mut self, now: Moment) {
        self.report(|due| due <= now.instant, now);
        self.spool.flush();
    }

    /// The command has ended: what is pending is kept, and the spool is closed.
    pub fn finish(mut self, end: End, now: Moment) {
        self.report(|_| true, now);
        if end == End::Completed {
            self.complete_step(now);
        }
        self.spool.finish(Ended { how: end, at: now.time });
    }

    fn message(&mut self, level: Level, text: &str, now: Moment) {
        self.spool.message(level, MessageText::cut(text), self.step.as_deref(), now.time);
    }

    /// Follows a number in a text, where it is believed.
    fn guess(&mut self, text: &str, now: Moment) {
        // Beside steps that the command told of, a number of nobody knows what would only be in the way.
        let has_place = match &self.step {
            Some(step) => !self.parents.contains(step),
            None => self.declared.is_empty(),
        };
        if !self.guessing || !has_place {
            return;
        }
        let Some(believed) = guess(text).and_then(|guess| self.phases.hear(&guess)) else { return };
        let Believed { phase, begins, share } = believed;
        if let Some(name) = begins {
            self.begin_phase(&name, now);
        }
        let Some(guessed) = self.guessed.get_mut(phase) else { return };
        guessed.is_full = share >= 1.0;
        if guessed.number.raise(share.min(Guessed::MOST), now) {
            self.report(|due| due <= now.instant, now);
        }
    }

    /// A phase that is believed becomes a step within the current one. Only where it is the first and has no
    /// name it is all that is known of the current step, until there is another.
    fn begin_phase(&mut self, name: &str, now: Moment) {
        let is_first = self.guessed.is_empty();
        if is_first && name.is_empty() {
            self.guessed.push(Guessed::new(None));
            return;
        }
        self.report(|_| true, now);
        if let Some(alone) = self.guessed.iter().position(|guessed| guessed.step.is_none()) {
            let path = self.declare_guessed("part 1");
            let guessed = &mut self.guessed[alone];
            guessed.step = Some(path);
            guessed.number.reported = 0.0;
            guessed.number.reported_at = None;
        }
        let path = self.declare_guessed(if name.is_empty() { "progress" } else { name });
        // Now that something is known to follow, what is at its end has ended.
        for guessed in self.guessed.iter_mut().filter(|guessed| guessed.is_full) {
            guessed.number.raise(1.0, now);
        }
        self.report(|_| true, now);
        self.guessed.push(Guessed::new(Some(path)));
    }

    fn declare_guessed(&mut self, name: &str) -> String {
        let name: String = name.replace('/', " ").chars().take(StepTree::MAX_ID_CHARS).collect();
        let path = match &self.step {
            Some(step) => format!("{step}/{}", name.trim()),
            None => name.trim().to_owned(),
        };
        self.spool.steps(vec![spec_of(&path, None)]);
        path
    }

    /// The command tells its progress itself: what was guessed within the current step counts no more.
    fn retire_guesses(&mut self) -> bool {
        let steps: Vec<_> = self.guessed.iter().filter_map(|guessed| guessed.step.as_deref()).collect();
        let any = !steps.is_empty();
        for step in steps {
            self.spool.steps(vec![spec_of(step, Some(0.0))]);
        }
        self.guessed.clear();
        self.phases = Phases::default();
        any
    }

    /// Takes a number that the command reports of its current step, or of all of it.
    fn explicit(&mut self, value: f64, now: Moment) {
        self.guessing = false;
        if self.step.as_ref().is_some_and(|step| self.parents.contains(step)) {
            return;
        }
        if self.retire_guesses() {
            // What has steps has no number of its own.
            self.number_of = Some(self.declare_guessed("progress"));
        }
        if self.number.raise(value, now) {
            self.report(|due| due <= now.instant, now);
        }
    }

    /// Reports the numbers that are due.
    fn report(&mut self, is_due: impl Fn(Instant) -> bool, now: Moment) {
        if self.number.is_due(&is_due) {
            let value = self.number.written(now);
            let of = self.number_of.as_deref().or(self.step.as_deref());
            self.spool.progress(number(of, value, ProgressSource::Reported, now));
        }
        for guessed in &mut self.guessed {
            if guessed.number.is_due(&is_due) {
                let value = guessed.number.written(now);
                let of = guessed.step.as_deref().or(self.step.as_deref());
                self.spool.progress(number(of, value, ProgressSource::Guessed, now));
            }
        }
    }

    /// The current step is done, with all that was guessed to be in it.
    fn complete_step(&mut self, now: Moment) {
        let mut has_parts = false;
        for guessed in &self.guessed {
            if let Some(step) = &guessed.step {
                self.spool.progress(number(Some(step), 1.0, ProgressSource::Guessed, now));
                has_parts = true;
            }
        }
        match (&self.number_of, &self.step) {
            (Some(own), _) => {
                self.spool.progress(number(Some(own), 1.0, ProgressSource::Reported, now));
            }
            (None, Some(step)) if !has_parts && !self.parents.contains(step) => {
                self.spool.progress(number(Some(step), 1.0, ProgressSource::Reported, now));
            }
            _ => {}
        }
    }

    /// Goes on to another step: the one before is done, unless it holds the new one.
    fn enter(&mut self, path: String, now: Moment) {
        if self.step.as_ref() == Some(&path) {
            return;
        }
        self.report(|_| true, now);
        // Declared before the last one is done: else for a moment all that is known is done, and a bar
        // that reached its end never comes back.
        if !self.declare(&path) {
            self.message(Level::Info, &format!("::step {path}"), now);
            return;
        }
        if let Some(before) = &self.step
            && !within(&path, before)
        {
            self.complete_step(now);
        }
        self.number = Number::default();
        self.number_of = None;
        self.guessed.clear();
        self.phases = Phases::default();
        if !self.parents.contains(&path) {
            // The first number is what marks a step as begun.
            self.spool.progress(number(Some(&path), 0.0, ProgressSource::Reported, now));
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
        if self.step.is_none() {
            self.retire_guesses();
        }
        self.spool.steps(vec![spec_of(path, None)]);
        self.declared.insert(path.to_owned());
        for (slash, _) in path.match_indices('/') {
            self.declared.insert(path[..slash].to_owned());
            self.parents.insert(path[..slash].to_owned());
        }
        true
    }
}

impl Guessed {
    /// A guess never says that all is done: nobody knows what comes after.
    const MOST: f64 = 0.99;

    fn new(step: Option<String>) -> Self {
        Self { step, number: Number::default(), is_full: false }
    }
}

/// A step by its path, as it is declared.
fn spec_of(path: &str, weight: Option<f64>) -> StepSpec {
    let mut names = path.rsplit('/');
    let mut spec = StepSpec::new(names.next().unwrap_or(path));
    spec.weight = weight;
    for name in names {
        spec = StepSpec::new(name).steps([spec]);
    }
    spec
}

fn number(step: Option<&str>, progress: f64, progress_source: ProgressSource, now: Moment) -> Progress {
    Progress { step: step.map(str::to_owned), progress, progress_source, at: now.time }
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
    fn raise(&mut self, value: f64, now: Moment) -> bool {
        self.value = self.value.max(value);
        self.due().is_some_and(|due| due <= now.instant)
            || (self.value > self.reported && self.reported_at.is_none())
    }

    /// When a value that has not been reported is to be.
    fn due(&self) -> Option<Instant> {
        (self.value > self.reported).then(|| self.reported_at.map(|at| at + NUMBER_EVERY)).flatten()
    }

    fn is_due(&self, is_due: impl Fn(Instant) -> bool) -> bool {
        self.value > self.reported && self.reported_at.is_none_or(|at| is_due(at + NUMBER_EVERY))
    }

    fn written(&mut self, now: Moment) -> f64 {
        self.reported = self.value;
        self.reported_at = Some(now.instant);
        self.value
    }
}
