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

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::Value;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, SystemClock};
use crate::model::{
    Actor, Command, Context, Job, JobId, Level, MessageText, Refusal, Report, ReportItem, Status, StepSpec,
    StepTree,
};
use crate::store::{ChangeSink, Changes, JobStore, StoreError};

/// At most ten writes a second, while one holds what there is to write.
const WRITE_EVERY: Duration = Duration::from_millis(100);
/// A run that says nothing is still heard of this often.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);
/// The most items in one write.
const MAX_BATCH: usize = 2_000;
/// The most bytes of messages that wait, 64 MiB. What is said beyond is left out and counted: the program the
/// logger is in must not run out of memory because the store is away.
const MAX_WAITING: usize = 64 << 20;
/// Room beyond that for warnings and errors, which are what is looked for afterwards.
const KEPT_FREE: usize = 8 << 20;
/// The most mistakes that are said in a job's log.
const MAX_COMPLAINTS: usize = 100;
/// The most names of steps that are remembered.
const MAX_NAMES: usize = 10_000;
/// How long `complete` and `fail` go on trying while the store is away.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a run may take to notice that somebody ended its job, before what it says counts as late.
const NOTICE_WITHIN: Duration = Duration::from_secs(1);
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
struct Owned(Arc<Shared>);

struct Shared {
    id: JobId,
    state: Mutex<State>,
    wake: Notify,
    cancel: CancellationToken,
    /// When the job ended, and how.
    over: OnceLock<(Instant, Status)>,
    mirror: bool,
}

/// Where somebody waits for what he said to be in the store.
type Reply = oneshot::Sender<Result<(), StoreError>>;

#[derive(Default)]
struct State {
    /// Messages and declarations, in order.
    said: VecDeque<ReportItem>,
    /// How many bytes of messages wait, and how many messages found no room.
    waiting: usize,
    left_out: u64,
    /// The steps as this logger knows them, to find one without asking the store.
    tree: StepTree,
    names: HashMap<String, Option<usize>>,
    /// The numbers that wait, by step.
    numbers: BTreeMap<usize, f64>,
    whole: Option<f64>,
    /// Mistakes that were already said.
    complained: HashSet<String>,
    end: Option<(End, Option<Reply>)>,
    flushes: Vec<Reply>,
    ended: bool,
}

#[derive(Clone, Debug)]
enum End {
    Complete(Option<Value>),
    Fail { error: String, retryable: bool },
    Aborted,
}

impl JobLogger {
    /// A logger for a job's current run. Must be called within a tokio runtime.
    pub fn new(store: Arc<dyn JobStore>, job_id: JobId) -> Self {
        Self::with(store, job_id, None, Arc::new(SystemClock))
    }

    /// As [`Self::new`], for the run of a known epoch and with a clock of the caller's.
    pub fn with(store: Arc<dyn JobStore>, job_id: JobId, epoch: Option<u32>, clock: Arc<dyn Clock>) -> Self {
        let shared = Arc::new(Shared {
            id: job_id,
            state: Mutex::default(),
            wake: Notify::new(),
            cancel: CancellationToken::new(),
            over: OnceLock::new(),
            mirror: std::env::var_os("LONGHAUL_LOG_JOBS").is_some(),
        });
        store.changes(Arc::new(Watch(Arc::downgrade(&shared))));
        let carrier = Carrier { store, shared: Arc::clone(&shared), epoch, clock };
        Handle::current().spawn(carrier.run());
        Self { shared: Arc::new(Owned(shared)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
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

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes a message in while there is room for it.
    fn say(&mut self, message: ReportItem) {
        let bytes = weight(&message);
        let grave = matches!(message, ReportItem::Message { level: Level::Warning | Level::Error, .. });
        if self.waiting + bytes > MAX_WAITING + if grave { KEPT_FREE } else { 0 } {
            self.left_out += 1;
            return;
        }
        self.waiting += bytes;
        self.said.push_back(message);
    }

    fn declare(&mut self, steps: Vec<StepSpec>) {
        match self.tree.check(&steps) {
            Ok(()) => {
                self.tree.declare(&steps, crate::model::Timestamp::default());
                self.names.clear();
                self.said.push_back(ReportItem::Steps(steps));
            }
            Err(refusal) => self.complain(format!("Steps were ignored: {refusal}")),
        }
    }

    fn find(&mut self, name: &str) -> Option<usize> {
        if let Some(known) = self.names.get(name) {
            return *known;
        }
        let found = match self.tree.find(name) {
            Ok(index) => Some(index),
            Err(refusal) => {
                self.complain(format!("A report on a step was ignored: {refusal}"));
                None
            }
        };
        if self.names.len() >= MAX_NAMES {
            self.names.clear();
        }
        self.names.insert(name.to_owned(), found);
        found
    }

    /// Takes a number in. False where there is nothing to carry.
    fn number(&mut self, step: &str, value: f64) -> bool {
        if !(0.0..=1.0).contains(&value) {
            self.complain(format!(
                "Progress {value} of step `{step}` was ignored: it must be a number between 0 and 1"
            ));
            return true;
        }
        let Some(index) = self.find(step) else {
            return true;
        };
        if let Err(refusal) = self.tree.check_report(index, value) {
            self.complain(format!("A report on a step was ignored: {refusal}"));
            return true;
        }
        match self.numbers.get_mut(&index) {
            Some(waiting) => *waiting = waiting.max(value),
            None => {
                self.numbers.insert(index, value);
            }
        }
        true
    }

    /// Says what is wrong, once, and no more than a few such things: what differs with every call is the same
    /// mistake.
    fn complain(&mut self, text: String) {
        if self.complained.len() < MAX_COMPLAINTS && self.complained.insert(text.clone()) {
            self.say(ReportItem::Message {
                level: Level::Warning,
                text: MessageText::cut(text),
                step: None,
                key: None,
            });
        }
    }

    /// What to carry next: messages and declarations in order, then the last numbers.
    fn take(&mut self) -> Vec<ReportItem> {
        let mut items: Vec<_> = self.said.drain(..self.said.len().min(MAX_BATCH)).collect();
        self.waiting -= items.iter().map(weight).sum::<usize>();
        if self.said.is_empty() {
            if self.left_out > 0 {
                let left_out = std::mem::take(&mut self.left_out);
                let text = format!(
                    "{left_out} messages were left out here: they were said faster than they could be stored"
                );
                items.push(ReportItem::Message {
                    level: Level::Warning,
                    text: MessageText::cut(text),
                    step: None,
                    key: None,
                });
            }
            if let Some(value) = self.whole.take()
                && self.tree.is_empty()
            {
                items.push(ReportItem::Progress { step: None, value });
            }
            for (index, value) in std::mem::take(&mut self.numbers) {
                items.push(ReportItem::Progress { step: Some(self.tree.path(index)), value });
            }
        }
        items
    }

    /// Puts back what could not be carried: in front of what came since, newer numbers winning.
    fn put_back(&mut self, items: Vec<ReportItem>) {
        for item in items.into_iter().rev() {
            match item {
                ReportItem::Progress { step: Some(path), value } => {
                    if let Ok(index) = self.tree.find(&path) {
                        let waiting = self.numbers.entry(index).or_insert(value);
                        *waiting = waiting.max(value);
                    }
                }
                ReportItem::Progress { step: None, value } => {
                    self.whole = Some(self.whole.map_or(value, |whole| whole.max(value)));
                }
                other => {
                    self.waiting += weight(&other);
                    self.said.push_front(other);
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.said.is_empty() && self.numbers.is_empty() && self.whole.is_none()
    }
}

/// Cancels the work when the job is asked to stop or is ended by somebody else.
struct Watch(std::sync::Weak<Shared>);

impl ChangeSink for Watch {
    fn publish(&self, changes: &Changes) {
        let Some(shared) = self.0.upgrade() else {
            return;
        };
        let ours = changes.jobs.iter().find(|job| job.id == shared.id);
        let Some(job) = ours.filter(|job| should_stop(job)) else {
            return;
        };
        if job.status.is_final() {
            shared.over.get_or_init(|| (Instant::now(), job.status));
        }
        shared.cancel.cancel();
    }

    fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

fn should_stop(job: &Job) -> bool {
    job.status == Status::Aborting || job.status.is_final()
}

/// About what a message takes while it waits.
fn weight(item: &ReportItem) -> usize {
    match item {
        ReportItem::Message { text, .. } => text.as_str().len() + size_of::<ReportItem>(),
        _ => 0,
    }
}

/// Carries what a logger gathers to the store.
struct Carrier {
    store: Arc<dyn JobStore>,
    shared: Arc<Shared>,
    epoch: Option<u32>,
    clock: Arc<dyn Clock>,
}

/// Ends a logger when nobody carries for it any more: its clones are told so, and nobody waits for an answer
/// that will not come.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.ended = true;
        let waiting = (std::mem::take(&mut state.flushes), state.end.take());
        state.said = VecDeque::new();
        (state.waiting, state.left_out) = (0, 0);
        drop(state);
        drop(waiting);
    }
}

impl Carrier {
    async fn run(mut self) {
        let _ended = Ended(Arc::clone(&self.shared));
        if let Ok(Some(job)) = self.store.get(self.shared.id).await {
            self.epoch.get_or_insert(job.epoch);
            self.shared.state().adopt(&job);
            if should_stop(&job) {
                self.shared.cancel.cancel();
            }
        }
        loop {
            let quiet = tokio::time::timeout(HEARTBEAT_EVERY, self.shared.wake.notified()).await.is_err();
            if self.carry(quiet).await {
                return;
            }
            tokio::time::sleep(WRITE_EVERY).await;
        }
    }

    /// Carries once, and all of it where an end waits. True when nothing more will come.
    async fn carry(&mut self, heartbeat: bool) -> bool {
        if let Some(ended) = self.let_go() {
            return ended;
        }
        let mut outcome = Ok(());
        loop {
            let (items, ending) = {
                let mut state = self.shared.state();
                (state.take(), state.end.is_some())
            };
            if items.is_empty() && !heartbeat {
                break;
            }
            outcome = self.send(items).await;
            let (more, hurry) = {
                let state = self.shared.state();
                (!state.is_empty(), !state.flushes.is_empty() || state.said.len() >= MAX_BATCH)
            };
            if outcome.is_err() || !more || !(ending || hurry) {
                break;
            }
        }
        let (flushes, end) = {
            let mut state = self.shared.state();
            let unfinished = outcome.is_ok() && !state.is_empty();
            let flushes = if unfinished { Vec::new() } else { std::mem::take(&mut state.flushes) };
            (flushes, state.end.take())
        };
        for flush in flushes {
            let _ = flush.send(outcome.clone());
        }
        let Some((end, reply)) = end else {
            if outcome.is_err() {
                // Try again without being woken.
                self.shared.wake.notify_one();
            }
            return self.shared.cancel.is_cancelled() && self.shared.state().ended;
        };
        let ended = self.finish(end).await;
        self.shared.state().ended = true;
        if let Some(reply) = reply {
            let _ = reply.send(ended);
        }
        true
    }

    /// Drops what waits where somebody has ended the job, and the run has just now noticed or may still:
    /// reporting it would count as the writes of a process that goes on, which this one does not. A run
    /// that goes on past that is carried, refused and counted like any other. `None` where there is
    /// something to carry; otherwise whether nothing more will come.
    fn let_go(&self) -> Option<bool> {
        let (since, status) = *self.shared.over.get()?;
        let refused = || Err(Refusal::Finished { status }.into());
        let mut state = self.shared.state();
        let end = state.end.take();
        if end.is_none() && since.elapsed() >= NOTICE_WITHIN {
            return None;
        }
        state.said.clear();
        (state.waiting, state.left_out) = (0, 0);
        state.numbers.clear();
        state.whole = None;
        state.ended |= end.is_some();
        let flushes = std::mem::take(&mut state.flushes);
        drop(state);
        for reply in flushes {
            let _ = reply.send(refused());
        }
        let ends = end.is_some();
        if let Some((_, Some(reply))) = end {
            let _ = reply.send(refused());
        }
        Some(ends)
    }

    async fn send(&self, items: Vec<ReportItem>) -> Result<(), StoreError> {
        let report = Command::Report(Report { epoch: self.epoch, items: items.clone() });
        match self.transact(report).await {
            Ok(()) => Ok(()),
            Err(StoreError::Refused(
                refusal @ (Refusal::Finished { .. } | Refusal::Fenced { .. } | Refusal::NotFound { .. }),
            )) => {
                // The run is not the job's any more. What it says has no place to go.
                self.shared.cancel.cancel();
                Err(refusal.into())
            }
            Err(StoreError::Refused(_)) if items.len() > 1 => {
                // One of them is not acceptable after all; the others are.
                let mut items = items.into_iter();
                while let Some(item) = items.next() {
                    let report = Command::Report(Report { epoch: self.epoch, items: vec![item.clone()] });
                    match self.transact(report).await {
                        Err(StoreError::Refused(refusal)) => {
                            tracing::warn!(job = %self.shared.id, refusal = %refusal, "A report was refused");
                        }
                        Err(error @ StoreError::Unavailable(_)) => {
                            self.shared.state().put_back(std::iter::once(item).chain(items).collect());
                            return Err(error);
                        }
                        _ => {}
                    }
                }
                Ok(())
            }
            Err(StoreError::Refused(refusal)) => {
                tracing::warn!(job = %self.shared.id, refusal = %refusal, "A report was refused");
                Ok(())
            }
            Err(error) => {
                self.shared.state().put_back(items);
                Err(error)
            }
        }
    }

    async fn finish(&self, end: End) -> Result<(), StoreError> {
        let deadline = Instant::now() + PATIENCE;
        let mut wait = Duration::from_millis(250);
        loop {
            let carried = loop {
                let items = self.shared.state().take();
                if items.is_empty() {
                    break Ok(());
                }
                if let Err(error) = self.send(items).await {
                    break Err(error);
                }
            };
            let epoch = self.epoch;
            let command = match end.clone() {
                End::Complete(output) => Command::Complete { epoch, output },
                End::Fail { error, retryable } => Command::Fail { epoch, error: Some(error), retryable },
                End::Aborted => Command::AcknowledgeAbort { epoch },
            };
            let ended = match carried {
                Ok(()) => self.transact(command).await,
                Err(error) => Err(error),
            };
            match ended {
                // The work was done, but what it made cannot be kept: that is how the job ends, not in silence.
                Err(StoreError::Refused(refusal @ Refusal::Invalid(_)))
                    if matches!(end, End::Complete(_)) =>
                {
                    let error = Some(refusal.to_string());
                    self.transact(Command::Fail { epoch, error, retryable: false }).await?;
                    return Err(refusal.into());
                }
                Err(StoreError::Unavailable(_)) if Instant::now() < deadline => {
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(5));
                }
                outcome => return outcome,
            }
        }
    }

    async fn transact(&self, command: Command) -> Result<(), StoreError> {
        let context = Context { actor: Actor::runner(), at: self.clock.now() };
        self.store.transact(self.shared.id, command, context).await.map(drop)
    }
}

impl State {
    /// Takes over the steps a job already has, under what was declared since.
    fn adopt(&mut self, job: &Job) {
        if job.steps.is_empty() {
            return;
        }
        let declared: Vec<Vec<StepSpec>> = self
            .said
            .iter()
            .filter_map(|item| match item {
                ReportItem::Steps(steps) => Some(steps.clone()),
                _ => None,
            })
            .collect();
        let waiting: Vec<(String, f64)> =
            self.numbers.iter().map(|(index, value)| (self.tree.path(*index), *value)).collect();
        self.tree = (*job.steps).clone();
        for steps in declared {
            self.tree.declare(&steps, crate::model::Timestamp::default());
        }
        self.names.clear();
        self.numbers = waiting
            .into_iter()
            .filter_map(|(path, value)| Some((self.tree.find(&path).ok()?, value)))
            .collect();
    }
}

#[cfg(test)]
mod tests;
