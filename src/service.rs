//! What people and programs can do, one function each (ARCHITECTURE decision 7).
//!
//! REST handlers, server functions and the command line all come through here; nothing else checks a
//! permission or names an actor. A function takes the caller, checks it, acts, and returns model values:
//! what they look like on a wire is the caller's business.

pub mod accounts;
mod audit;
mod error;
mod jobs;
mod own;
mod recover;
mod report;
mod sign_in;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use accounts::{NewToken, TokenSecret};
pub use error::ServiceError;
pub use jobs::{StartRequest, StartTimeouts};
pub use own::OwnSession;
pub use recover::{Cleaned, CleanupOutcome, CleanupReport};
pub use sign_in::{ATTEMPTS_WITHIN, Credential, Knock, SessionSecret};

use uuid::Uuid;

use crate::clock::Clock;
use crate::engine::{AdminJob, Board, Runner, Sweeper, SweeperSettings, Timekeeper};
use crate::model::{Actor, Context, Limits, Permission, Role, Timestamp};
use crate::store::{AccountStore, JobStore, StoreError};
use crate::watch::Watch;

/// Who is calling: taken from a session or a bearer token, never from what a request says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// As the log records it.
    pub actor: Actor,
    /// What it may do.
    pub role: Role,
    /// Whether it may name another author than itself.
    pub act_as: bool,
    /// The user's account; a token belongs to none.
    pub account: Option<Uuid>,
    /// The SHA-256 of what was shown.
    pub credential: [u8; 32],
    /// From which address the request came, where that is known.
    pub from: Option<IpAddr>,
}

impl Caller {
    /// Whose jobs its jobs are: `user:anna`, `token:importer`.
    pub fn owner(&self) -> String {
        let kind = match self.actor.kind {
            crate::model::ActorKind::User => "user",
            crate::model::ActorKind::Token => "token",
            crate::model::ActorKind::Runner => "runner",
            crate::model::ActorKind::System => "system",
        };
        format!("{kind}:{}", self.actor.name)
    }

    /// Refused unless the caller may do it.
    pub fn must(&self, permission: Permission) -> Result<(), ServiceError> {
        if self.role.may(permission) {
            Ok(())
        } else {
            Err(ServiceError::Forbidden { role: self.role, permission })
        }
    }
}

/// Does something to its end, though whoever asked for it may leave: a request is dropped with its connection.
async fn to_the_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work).await {
        Ok(done) => done,
        // The runtime does not end while somebody waits here.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// How a service is set up.
#[derive(Clone, Debug)]
pub struct ServiceSettings {
    /// What the installation allows.
    pub limits: Limits,
    /// How often stale jobs are ended.
    pub sweep_every: Duration,
    /// Where built-in jobs put files.
    pub files: PathBuf,
    /// How long a session lasts.
    pub session_lasts: Duration,
    /// Names the build, so that an old page notices.
    pub build: String,
}

/// Everything that can be done, over a store.
pub struct Service {
    store: Arc<dyn JobStore>,
    accounts: Arc<dyn AccountStore>,
    clock: Arc<dyn Clock>,
    board: Arc<Board>,
    runner: Arc<Runner>,
    timekeeper: Arc<Timekeeper>,
    settings: ServiceSettings,
    credentials: sign_in::CredentialCache,
    attempts: sign_in::Attempts,
    reports: Arc<recover::Reports>,
    watch: Arc<Watch>,
    stopping: AtomicBool,
}

impl Service {
    /// Opens for business: fills the board and settles what a restart interrupted. Must be called within a
    /// tokio runtime.
    pub async fn new(
        store: Arc<dyn JobStore>,
        accounts: Arc<dyn AccountStore>,
        clock: Arc<dyn Clock>,
        jobs: Vec<Arc<dyn AdminJob>>,
        settings: ServiceSettings,
    ) -> Result<Arc<Self>, StoreError> {
        let board =
            Board::over(&store, settings.limits.max_active, settings.build.clone(), clock.now()).await?;
        let timekeeper = Arc::new(Timekeeper::new(Arc::clone(&store), Arc::clone(&clock)));
        // Before anything is judged by the clock, or asks how it is.
        timekeeper.look().await?;
        let runner = Runner::new(
            &store,
            Arc::clone(&clock),
            Arc::clone(&timekeeper),
            settings.files.clone(),
            settings.limits,
            jobs,
        );
        // Runs of other servers go on; those of one that is gone are given up by the sweeper.
        if !store.is_shared() {
            let interrupted = runner.settle_interrupted().await?;
            if interrupted > 0 {
                tracing::warn!(jobs = interrupted, "Jobs were interrupted by the restart and are failed");
            }
        }
        Ok(Arc::new(Self {
            timekeeper,
            store,
            accounts,
            clock,
            board,
            runner,
            settings,
            credentials: sign_in::CredentialCache::default(),
            attempts: sign_in::Attempts::default(),
            reports: Arc::default(),
            watch: Arc::default(),
            stopping: AtomicBool::new(false),
        }))
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The live board.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// The built-in jobs.
    pub fn built_in(&self) -> &[Arc<dyn AdminJob>] {
        self.runner.jobs()
    }

    /// What the installation allows.
    pub fn limits(&self) -> &Limits {
        &self.settings.limits
    }

    /// How it was set up.
    pub fn settings(&self) -> &ServiceSettings {
        &self.settings
    }

    /// The part that runs by itself.
    pub fn sweeper(&self) -> Sweeper {
        Sweeper::new(
            Arc::clone(&self.store),
            Arc::clone(&self.accounts),
            Arc::clone(&self.clock),
            Arc::clone(&self.board),
            Arc::clone(&self.timekeeper),
            Arc::clone(&self.runner),
            SweeperSettings { every: self.settings.sweep_every, limits: self.settings.limits },
        )
    }

    /// Sweeps by itself until `stop`, whatever happens to one sweep.
    pub fn keep_sweeping(
        self: &Arc<Self>,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (service, watch, stopped) = (Arc::clone(self), Arc::clone(&self.watch), stop.clone());
        watch.keep("sweeps", stop, move || service.sweeper().run(stopped.clone()))
    }

    /// Takes no more work: every write is answered 503 from now on, but for those of runs that end.
    pub fn stop_taking_work(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    /// Whether the server is stopping.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Lets runs come to an end, then closes the store.
    pub async fn stop(&self, patience: Duration) {
        self.stop_taking_work();
        self.runner.stop(patience).await;
        self.store.close().await;
    }

    /// Whether the store answers.
    pub async fn ready(&self) -> Result<(), ServiceError> {
        if self.is_stopping() {
            return Err(ServiceError::Stopping);
        }
        if let Some(task) = self.watch.down() {
            return Err(ServiceError::Unavailable(format!(
                "The task that {task} failed, and is begun again."
            )));
        }
        self.store.ended_on(0).await?;
        match self.store.last_failure() {
            None => Ok(()),
            Some(reason) => Err(StoreError::Unavailable(reason).into()),
        }
    }

    fn context(&self, caller: &Caller) -> Context {
        Context { actor: caller.actor.clone(), at: self.clock.now() }
    }

    fn must_be_open(&self) -> Result<(), ServiceError> {
        if self.is_stopping() { Err(ServiceError::Stopping) } else { Ok(()) }
    }
}
