//! `JobLogger`: how a program in this process reports on its job.
//!
//! It never makes the work wait. A call takes a lock for a moment and returns; one task per job carries
//! what has gathered to the store, at most ten times a second. Numbers are coalesced, so that the last
//! value of each step is always delivered and the ones in between need not be; messages are kept all, in
//! order. While the store is away, numbers cost one slot a step however long that lasts, and messages
//! wait for it, up to 64 MiB of them; how many found no room is said in the log.
//!
//! Everything of a logger goes through that task, `complete` and `fail` too, so that the end comes after
//! what was said before it. A logger that is dropped without an end fails its job: a run that went away
//! must not look as if it were still going.
//!
//! Borrowed: `WithProgress` over a loop from Hangfire.Console, flushing in the background from
//! Trigger.dev. Given up: an error from `update_sub_operation`. Reporting must not bring the work down;
//! a step that does not exist is said once, as a warning in the job's own log.
//!
//! # The requirement's pipeline of two questions
//!
//! ```
//! use std::sync::Arc;
//! use longhaul::{JobLogger, Jobs, MemoryStore, Pipeline};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let jobs = Jobs::new(Arc::new(MemoryStore::default()));
//! let job_id = jobs.create_job("argument-condensation", "admin@example.com").await?;
//!
//! // Create the logger immediately, initialize the pipeline later.
//! let logger = JobLogger::new(jobs.store(), job_id);
//! logger.info("Looking for questions");
//!
//! // ... later, when the questions are known ...
//! logger.initialize_pipeline(
//!     Pipeline::new()
//!         .operation("data-loading")
//!         .operation("question-q1-boolean-pros")
//!         .operation("question-q1-boolean-cons")
//!         .weighted("question-q2-categorical", 3.0),
//! );
//! logger.define_sub_operations("question-q2-categorical", ["choice1-pros", "choice2-pros", "choice3-pros"]);
//!
//! logger.update_sub_operation("data-loading", 1.0);
//! logger.update_sub_operation("question-q2-categorical/choice1-pros", 0.5);
//! logger.warning("Low confidence in answer");
//!
//! // Wrap the loop, and nothing else.
//! let answers = ["yes", "no", "maybe"];
//! for answer in logger.progress_over("question-q1-boolean-pros", answers) {
//!     logger.check_cancelled()?;
//!     logger.info(format!("Condensing {answer}"));
//! }
//!
//! logger.complete().await?;
//! # assert_eq!(jobs.get_job(job_id).await?.map(|job| job.progress), Some(1.0));
//! # Ok(()) }
//! ```

mod carrier;
mod gathered;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::Value;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::carrier::{Carrier, Keys, Watch};
use self::gathered::Gathered;
use crate::clock::{Clock, SystemClock};
use crate::model::{JobId, Level, MessageText, ReportItem, Status, StepSpec};
use crate::store::{JobStore, StoreError};

/// What a job is failed with whose logger was dropped.
pub const WENT_AWAY: &str = "the runner went away without finishing";

/// The job was asked to stop, or was ended by somebody else. The work should stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the job was asked to stop")]
pub struct Cancelled;

/// The steps of a job, in the words of the requirement.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pipeline(Vec<StepSpec>);

impl Pipeline {
    /// Without a step yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an operation of weight 1.
    #[must_use]
    pub fn operation(self, id: impl Into<String>) -> Self {
        self.step(StepSpec::new(id))
    }

    /// Adds an operation that counts `weight` times: finite, 0 to 1 000 000 000. Zero is honoured.
    #[must_use]
    pub fn weighted(self, id: impl Into<String>, weight: f64) -> Self {
        self.step(StepSpec::new(id).weight(weight))
    }

    /// Adds a step as it is, with whatever it is made of.
    #[must_use]
    pub fn step(mut self, step: StepSpec) -> Self {
        self.0.push(step);
        self
    }
}

impl<S: Into<StepSpec>> FromIterator<S> for Pipeline {
    fn from_iter<I: IntoIterator<Item = S>>(steps: I) -> Self {
        Self(steps.into_iter().map(Into::into).collect())
    }
}

impl From<Pipeline> for Vec<StepSpec> {
    fn from(pipeline: Pipeline) -> Self {
        pipeline.0
    }
}

impl From<&str> for StepSpec {
    fn from(id: &str) -> Self {
        Self::new(id)
    }
}

impl From<String> for StepSpec {
    fn from(id: String) -> Self {
        Self::new(id)
    }
}

/// Reports on one run of one job. Clones report on the same run; the job is failed when the last of them
/// is dropped without an end.
#[derive(Clone)]
pub struct JobLogger {
    shared: Arc<Owned>,
}

/// Fails the job when it goes.
struct Owned(Arc<LoggerCore>);

struct LoggerCore {
    id: JobId,
    state: Mutex<Gathered>,
    wake: Notify,
    cancel: CancellationToken,
    /// When the job ended, and how.
    over: OnceLock<(Instant, Status)>,
    mirror: bool,
}

#[derive(Clone, Debug)]
enum End {
    Complete(Option<Value>),
    Fail { error: String, retryable: bool },
    Aborted,
}

impl End {
    /// What the job is afterwards.
    fn status(&self) -> Status {
        match self {
            Self::Complete(_) => Status::Completed,
            Self::Fail { .. } => Status::Failed,
            Self::Aborted => Status::Aborted,
        }
    }
}

impl JobLogger {
    /// A logger for a job's current run. Must be called within a tokio runtime.
    pub fn new(store: Arc<dyn JobStore>, job_id: JobId) -> Self {
        Self::with(store, job_id, None, Arc::new(SystemClock))
    }

    /// As [`Self::new`], for the run of a known epoch and with a clock of the caller's.
    pub fn with(store: Arc<dyn JobStore>, job_id: JobId, epoch: Option<u32>, clock: Arc<dyn Clock>) -> Self {
        let shared = Arc::new(LoggerCore {
            id: job_id,
            state: Mutex::default(),
            wake: Notify::new(),
            cancel: CancellationToken::new(),
            over: OnceLock::new(),
            mirror: std::env::var_os("LONGHAUL_LOG_JOBS").is_some(),
        });
        store.changes(Arc::new(Watch(Arc::downgrade(&shared))));
        let carrier = Carrier { store, shared: Arc::clone(&shared), epoch, clock, keys: Keys::new() };
        Handle::current().spawn(carrier.run());
        Self { shared: Arc::new(Owned(shared)) }
    }

    fn state(&self) -> MutexGuard<'_, Gathered> {
        self.shared.0.state()
    }

    fn wake(&self) {
        self.shared.0.wake.notify_one();
    }

    /// The job reported on.
    pub fn job_id(&self) -> JobId {
        self.shared.0.id
    }

    /// Declares the job's steps, now or late; naming one again adds to it.
    pub fn initialize_pipeline(&self, pipeline: impl Into<Vec<StepSpec>>) {
        let steps = pipeline.into();
        self.state().declare(steps);
        self.wake();
    }

    /// Declares what an operation is made of.
    pub fn define_sub_operations<S: Into<StepSpec>>(
        &self,
        operation: &str,
        parts: impl IntoIterator<Item = S>,
    ) {
        let mut state = self.state();
        let Some(index) = state.find(operation) else {
            return;
        };
        let mut spec =
            StepSpec::new(state.tree.steps()[index].id.clone()).steps(parts.into_iter().map(Into::into));
        let mut at = index;
        while let Some(parent) = state.tree.steps()[at].parent {
            spec = StepSpec::new(state.tree.steps()[parent].id.clone()).steps([spec]);
            at = parent;
        }
        state.declare(vec![spec]);
        drop(state);
        self.wake();
    }

    /// Says how far a step has come: 0..=1. `step` is a path such as `load/parse`, or an id that is unique
    /// in the job. A number lower than the last is ignored.
    pub fn update_sub_operation(&self, step: &str, progress: f64) {
        if self.state().number(step, progress) {
            self.wake();
        }
    }

    /// Says how far a job without steps has come: 0..=1.
    pub fn progress(&self, progress: f64) {
        let mut state = self.state();
        if !(0.0..=1.0).contains(&progress) {
            state.complain(format!("Progress {progress} was ignored: it must be a number between 0 and 1"));
        } else if !state.tree.is_empty() {
            state.complain("Progress without a step was ignored: this job has steps".to_owned());
        } else if state.whole.is_none_or(|whole| progress > whole) {
            state.whole = Some(progress);
        } else {
            return;
        }
        drop(state);
        self.wake();
    }

    /// Where the work is.
    pub fn info(&self, text: impl Into<String>) {
        self.say(Level::Info, None, text.into());
    }

    /// An admin should know; the work goes on.
    pub fn warning(&self, text: impl Into<String>) {
        self.say(Level::Warning, None, text.into());
    }

    /// Something was not done.
    pub fn error(&self, text: impl Into<String>) {
        self.say(Level::Error, None, text.into());
    }

    /// A message that belongs to a step.
    pub fn say_in(&self, step: &str, level: Level, text: impl Into<String>) {
        self.say(level, Some(step), text.into());
    }

    fn say(&self, level: Level, step: Option<&str>, text: String) {
        if self.shared.0.mirror {
            tracing::info!(job = %self.shared.0.id, level = ?level, "{text}");
        }
        let mut state = self.state();
        if state.ended {
            return;
        }
        let step = step.and_then(|step| state.find(step)).map(|index| state.tree.path(index));
        state.say(ReportItem::Message { level, text: MessageText::cut(text), step, key: None });
        drop(state);
        self.wake();
    }

    /// The items of a loop, reporting on `step` as they go by. An iterator that cannot say its length
    /// moves the number only at its end.
    pub fn progress_over<'a, I>(&'a self, step: &'a str, items: I) -> impl Iterator<Item = I::Item> + 'a
    where
        I: IntoIterator,
        I::IntoIter: 'a,
    {
        let items = items.into_iter();
        let total = items.size_hint().1.filter(|total| *total > 0);
        let over = Over { logger: self, step, total, done: 0, items };
        self.update_sub_operation(step, 0.0);
        over
    }

    /// Is cancelled when somebody asks the job to stop, or ends it.
    pub fn cancellation(&self) -> CancellationToken {
        self.shared.0.cancel.clone()
    }

    /// `Err` once the work should stop: made for `?` in a loop.
    pub fn check_cancelled(&self) -> Result<(), Cancelled> {
        if self.shared.0.cancel.is_cancelled() { Err(Cancelled) } else { Ok(()) }
    }

    /// Waits until all that was said so far is in the store.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let (reply, done) = oneshot::channel();
        {
            let mut state = self.state();
            if state.ended {
                return Err(gone());
            }
            state.flushes.push(reply);
        }
        self.wake();
        done.await.unwrap_or_else(|_| Err(gone()))
    }

    /// The work is done.
    pub async fn complete(self) -> Result<(), StoreError> {
        self.end(End::Complete(None)).await
    }

    /// The work is done, and produced something.
    pub async fn complete_with(self, output: Value) -> Result<(), StoreError> {
        self.end(End::Complete(Some(output))).await
    }

    /// The work cannot be done.
    pub async fn fail(self, error: impl Into<String>) -> Result<(), StoreError> {
        self.end(End::Fail { error: error.into(), retryable: true }).await
    }

    /// The work stopped because the job was asked to.
    pub async fn aborted(self) -> Result<(), StoreError> {
        self.end(End::Aborted).await
    }

    async fn end(self, end: End) -> Result<(), StoreError> {
        let (reply, done) = oneshot::channel();
        {
            let mut state = self.state();
            if state.ended {
                return Err(gone());
            }
            state.end.get_or_insert((end, Some(reply)));
        }
        self.wake();
        done.await.unwrap_or_else(|_| Err(gone()))
    }
}

fn gone() -> StoreError {
    StoreError::Unavailable("the logger was already ended".to_owned())
}

impl Drop for Owned {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if state.end.is_none() && !state.ended {
            state.end = Some((End::Fail { error: WENT_AWAY.to_owned(), retryable: true }, None));
        }
        drop(state);
        self.0.wake.notify_one();
    }
}

struct Over<'a, I> {
    logger: &'a JobLogger,
    step: &'a str,
    total: Option<usize>,
    done: usize,
    items: I,
}

impl<I: Iterator> Iterator for Over<'_, I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        let item = self.items.next();
        if self.done > 0 || item.is_none() {
            match (&item, self.total) {
                (None, _) => self.logger.update_sub_operation(self.step, 1.0),
                (Some(_), Some(total)) => {
                    // An upper bound may be too high, never too low.
                    self.logger.update_sub_operation(self.step, self.done as f64 / total as f64);
                }
                (Some(_), None) => {}
            }
        }
        self.done += 1;
        item
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }
}

impl LoggerCore {
    fn state(&self) -> MutexGuard<'_, Gathered> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
