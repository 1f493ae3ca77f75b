//! The task that writes: takes what is waiting, has it decided in one transaction, publishes, answers.
//!
//! Each node has one writer and one connection for it, so that what waits shares a commit and its sync. A
//! transaction that the server gave up for a deadlock, or whose connection broke before its commit, has
//! changed nothing and is tried again. One whose commit was not answered with success is asked after by what
//! it would have left: it has happened or it has not, and callers are told which.
//!
//! That the server answers a commit with an error says nothing of its fate: it may have been told to shut
//! down, or to cancel the statement, when the commit was on its disk; and what stands between may make an
//! error up when it loses the server.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Row};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::batch::{self, Answer};
use super::connect::{ANSWERS_WITHIN, DatabaseAddress, DbError, answered_within, unavailable};
use super::feed;
use super::node_view::NodeView;
use super::rows::{Statements, get};
use crate::model::{Command, Context, Counts, Invalid, Job, JobId, NewJob, Refusal};
use crate::store::{CreateRules, Created, StoreError};
use crate::watch::panic_words;

pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// The most operations in one transaction.
const MAX_BATCH: usize = 512;
/// How often a transaction is tried that changed nothing through no fault of its own.
const TRIES: u32 = 3;
/// How long the fate of a commit is asked after before its callers are told that it is not known.
const ASK_FOR: Duration = Duration::from_secs(10);
/// Who waits for the writer to finish what it has begun waits no longer than this.
const CLOSES_WITHIN: Duration = Duration::from_secs(10);

/// What can be asked of the writer.
pub(super) enum Op {
    Create { new: Box<NewJob>, rules: CreateRules, context: Context, reply: Reply<Created> },
    Transact { id: JobId, command: Command, context: Context, reply: Reply<Arc<Job>> },
    Probe { reply: Reply<()> },
    Close { reply: oneshot::Sender<()> },
}

/// How a transaction failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// It changed nothing, and would perhaps succeed if tried again.
    Again(StoreError),
    /// It changed nothing.
    For(StoreError),
    /// It changed nothing, because of a value that one operation in it has brought.
    Value(StoreError),
    /// Its commit was sent, and success was not the answer.
    Unknown(StoreError, Doubtful),
}

/// A transaction of which nobody said whether it was committed, by what it would have left behind.
///
/// Its number alone does not tell. One whose log never reached the disk loses its number when the database
/// dies, and the next transaction after the restart may get it: asked whether *that* number was committed,
/// the database says yes. So what is looked for is the row that each transaction adds to the table of
/// changes, with its number, its author and the jobs it changed.
#[derive(Debug)]
pub(super) struct Doubtful {
    pub(super) xid: String,
    pub(super) jobs: Vec<i64>,
    pub(super) removed: Vec<Uuid>,
    /// When it began, by the database's clock: by that clock its row is cleared away, and this machine's
    /// stands still while it sleeps. Milliseconds since the Unix epoch.
    pub(super) at: i64,
}

impl Doubtful {
    /// Of a transaction that said what it changes, from what `Statements::change` answered.
    pub(super) fn new(said: &[Row], jobs: Vec<i64>, removed: Vec<Uuid>) -> Result<Self, StoreError> {
        let Some(row) = said.first() else {
            return Err(StoreError::Corrupt("the database answered too little".to_owned()));
        };
        Ok(Self { xid: get(row, 0)?, jobs, removed, at: get(row, 1)? })
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        match error {
            DbError { told, again: true, .. } => Self::Again(told),
            DbError { told, for_a_value: true, .. } => Self::Value(told),
            DbError { told, .. } => Self::For(told),
        }
    }
}

/// Commits. What an error means is for [`fate`] to find out.
pub(super) async fn commit(client: &Client) -> Result<(), StoreError> {
    answered_within(ANSWERS_WITHIN, async { client.batch_execute("commit").await.map_err(unavailable) }).await
}

/// Whether a transaction was committed; nothing while that cannot be told.
pub(super) async fn happened(
    client: &Client,
    node: Uuid,
    commit: &Doubtful,
) -> Result<Option<bool>, tokio_postgres::Error> {
    let Doubtful { xid, jobs, removed, at } = commit;
    if client.query_one("select pg_is_in_recovery()", &[]).await?.try_get(0)? {
        // A standby may not have heard of it yet.
        return Ok(None);
    }
    let status = match client.query_one("select pg_xact_status($1::text::xid8)", &[xid]).await {
        Ok(row) => row.try_get::<_, Option<String>>(0)?,
        // A number that was not given yet: the transaction went with the database, and left nothing.
        Err(error) if error.code() == Some(&SqlState::INVALID_PARAMETER_VALUE) => None,
        Err(error) => return Err(error),
    };
    if status.as_deref() == Some("in progress") {
        // Its session has not noticed yet that we are gone.
        return Ok(None);
    }
    let sql = "select exists (select from change where xid = $1::text::xid8 and node = $2 and jobs = $3 \
        and removed = $4), (extract(epoch from clock_timestamp()) * 1000)::bigint - $5::bigint";
    let row = client.query_one(sql, &[xid, &node, jobs, removed, at]).await?;
    let (there, age): (bool, i64) = (row.try_get(0)?, row.try_get(1)?);
    // After long enough its row may have been there and been cleared away.
    let would_be_there = status.as_deref() == Some("aborted") || age < feed::KEPT.as_millis() as i64 / 2;
    Ok((there || would_be_there).then_some(there))
}

/// Whether a transaction happened; nothing where the database cannot be asked in time.
pub(super) async fn fate(place: &DatabaseAddress, node: Uuid, commit: &Doubtful) -> Option<bool> {
    let asked = async {
        loop {
            if let Ok((client, _driver)) = place.client().await
                && let Ok(Some(happened)) = happened(&client, node, commit).await
            {
                return happened;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(ASK_FOR, asked).await.ok()
}

/// What is told of a transaction whose fate could not be found out.
pub(super) fn in_doubt(error: &StoreError) -> StoreError {
    let reason = match error {
        StoreError::Unavailable(reason) => reason.clone(),
        error => error.to_string(),
    };
    StoreError::Unavailable(format!("{reason}; whether the change was kept is not known"))
}

/// What a transaction ends with that changed nothing.
enum Broken {
    /// None of its operations can be done now.
    All(StoreError),
    /// One of them has brought a value that the database refuses.
    Value(StoreError),
}

/// What is told of a value that the database refuses: it would refuse it again.
fn refused_value(error: &StoreError) -> StoreError {
    let reason = match error {
        StoreError::Unavailable(reason) => reason.clone(),
        error => error.to_string(),
    };
    tracing::warn!(reason, "The database refuses a value");
    Refusal::from(Invalid::new("request", format!("holds something the database refuses: {reason}"))).into()
}

/// The way to the writer's task.
pub(super) struct Writer {
    ops: mpsc::UnboundedSender<Op>,
    task: Mutex<Option<JoinHandle<()>>>,
    closed: AtomicBool,
}

impl Writer {
    pub(super) fn start(
        place: DatabaseAddress,
        node: Uuid,
        shared: Arc<NodeView>,
        written: Arc<Notify>,
    ) -> Self {
        let (ops, waiting) = mpsc::unbounded_channel();
        let task = Task { place, node, slot: slot(node), shared, written, session: None };
        Self { ops, task: Mutex::new(Some(tokio::spawn(task.run(waiting)))), closed: AtomicBool::new(false) }
    }

    pub(super) async fn ask<T>(&self, op: impl FnOnce(Reply<T>) -> Op) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.ops.send(op(reply)).map_err(|_| self.given_up())?;
        answer.await.unwrap_or_else(|_| Err(self.given_up()))
    }

    /// What they are told whose operation was not answered.
    fn given_up(&self) -> StoreError {
        if self.closed.load(Ordering::SeqCst) {
            return stopping();
        }
        let fault = "the operation met a fault of the program; the server's log says more";
        StoreError::Unavailable(fault.to_owned())
    }

    /// The task has ended although nobody closed the store: it never comes back.
    pub(super) fn has_ended(&self) -> bool {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        !self.closed.load(Ordering::SeqCst) && task.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// Lets it finish what it has begun, if the database lets it.
    pub(super) async fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (reply, closed) = oneshot::channel();
        let closing = async {
            if self.ops.send(Op::Close { reply }).is_ok() {
                let _ = closed.await;
            }
        };
        if tokio::time::timeout(CLOSES_WITHIN, closing).await.is_err() {
            tracing::error!("The database does not answer; what was being written is given up");
        }
        if let Some(task) = task {
            // Those who still wait are told that the server is stopping.
            task.abort();
            let _ = task.await;
        }
    }
}

fn stopping() -> StoreError {
    StoreError::Unavailable("the server is stopping".to_owned())
}

/// Which rows of the counters the node adds to. Nodes that draw the same wait for each other, no more.
fn slot(node: Uuid) -> i16 {
    i16::from(node.as_bytes()[15] % 64)
}

/// A connection, and what is prepared on it.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) statements: Statements,
    pub(super) _driver: AbortOnDropHandle<()>,
}

struct Task {
    place: DatabaseAddress,
    node: Uuid,
    slot: i16,
    shared: Arc<NodeView>,
    /// Tells the feed that other nodes should hear of it.
    written: Arc<Notify>,
    session: Option<Session>,
}

impl Task {
    async fn run(mut self, mut waiting: mpsc::UnboundedReceiver<Op>) {
        let mut ops = Vec::new();
        while waiting.recv_many(&mut ops, MAX_BATCH).await > 0 {
            let mut closing = None;
            let (mut batch, mut probes) = (Vec::with_capacity(ops.len()), Vec::new());
            for op in ops.drain(..) {
                match op {
                    Op::Close { reply } => closing = Some(reply),
                    Op::Probe { reply } => probes.push(reply),
                    op => batch.push(op),
                }
            }
            if !batch.is_empty()
                && let Err(panic) = AssertUnwindSafe(self.run_batch(batch)).catch_unwind().await
            {
                // Whoever waits is told; the task is there for the next.
                self.session = None;
                let reason = panic_words(&*panic);
                let fault = format!("the writer met a fault of the program ({reason})");
                self.fail(StoreError::Unavailable(fault));
            }
            for reply in probes {
                let probed = self.probe().await;
                let _ = reply.send(probed);
            }
            if let Some(reply) = closing {
                let _ = reply.send(());
                return;
            }
        }
    }

    async fn run_batch(&mut self, mut ops: Vec<Op>) {
        match self.attempt(&ops).await {
            Err(Broken::Value(_)) if ops.len() > 1 => {
                // One of them: whichever it is, the others are not to blame.
                let others = ops.split_off(ops.len() / 2);
                Box::pin(self.run_batch(ops)).await;
                Box::pin(self.run_batch(others)).await;
            }
            Ok(answers) => {
                for (op, answer) in ops.into_iter().zip(answers) {
                    match (op, answer) {
                        (Op::Create { reply, .. }, Answer::Created(result)) => drop(reply.send(result)),
                        (Op::Transact { reply, .. }, Answer::Transacted(result)) => drop(reply.send(result)),
                        _ => {}
                    }
                }
            }
            Err(Broken::All(error) | Broken::Value(error)) => {
                for op in ops {
                    match op {
                        Op::Create { reply, .. } => drop(reply.send(Err(error.clone()))),
                        Op::Transact { reply, .. } => drop(reply.send(Err(error.clone()))),
                        _ => {}
                    }
                }
            }
        }
    }

    /// Has the batch decided and committed, once.
    async fn attempt(&mut self, ops: &[Op]) -> Result<Vec<Answer>, Broken> {
        let mut tries = 0;
        loop {
            tries += 1;
            let (node, slot, known) = (self.node, self.slot, Arc::clone(&self.shared));
            let failure = match self.session().await {
                Ok(session) => {
                    let decided = batch::run(session, &known, node, slot, ops).await;
                    match decided {
                        Ok(done) => {
                            self.succeed(done.changed, done.counts);
                            return Ok(done.answers);
                        }
                        Err((Failure::Unknown(error, commit), done)) => {
                            self.session = None;
                            match fate(&self.place, self.node, &commit).await {
                                Some(true) => {
                                    tracing::warn!("A commit whose answer was lost has happened");
                                    self.succeed(done.changed, done.counts);
                                    return Ok(done.answers);
                                }
                                Some(false) => Failure::Again(error),
                                None => Failure::For(in_doubt(&error)),
                            }
                        }
                        Err((failure, _)) => failure,
                    }
                }
                Err(error) => Failure::For(error),
            };
            let (error, again) = match failure {
                Failure::Again(error) => (error, true),
                Failure::For(error) | Failure::Unknown(error, _) => (error, false),
                Failure::Value(error) => {
                    self.session = None;
                    return Err(Broken::Value(refused_value(&error)));
                }
            };
            // Whatever state the connection is in, the next try begins on a fresh one.
            self.session = None;
            if !again || tries == TRIES {
                return Err(Broken::All(self.fail(error)));
            }
            tracing::warn!(error = %error, "A transaction changed nothing and is tried again");
        }
    }

    fn succeed(&self, changed: Vec<Arc<Job>>, counts: Option<Counts>) {
        self.shared.set_write_error(None);
        if let Some(counts) = counts {
            self.shared.publish(changed, Vec::new(), counts);
            self.written.notify_one();
        }
    }

    fn fail(&self, error: StoreError) -> StoreError {
        tracing::error!(error = %error, "A transaction failed");
        self.shared.set_write_error(Some(error.to_string()));
        error
    }

    async fn session(&mut self) -> Result<&Session, StoreError> {
        if self.session.as_ref().is_some_and(|session| session.client.is_closed()) {
            self.session = None;
        }
        match &mut self.session {
            Some(session) => Ok(session),
            empty => Ok(empty.insert(Session::open(&self.place).await?)),
        }
    }

    async fn probe(&mut self) -> Result<(), StoreError> {
        let probed = match self.session().await {
            Ok(session) => batch::probe(&session.client).await,
            Err(error) => Err(error),
        };
        match probed {
            Ok(()) => {
                self.shared.set_write_error(None);
                Ok(())
            }
            Err(error) => {
                self.session = None;
                Err(self.fail(error))
            }
        }
    }
}
