//! Notices when the server's clock is set, and keeps that from ending jobs and removing history.
//!
//! How long a job has been running, and silent, is told by the clock on the wall, because it must be told
//! across restarts. A clock that jumps a year ahead would make every job stale, and nearly all history too
//! old to keep; one that jumps back would make a hung job look young for a year. So the wall's time is held
//! against a stopwatch: where the two part by more than [`JUMP`], the times of every running job are moved
//! by as much, in a transaction and with an entry in its log, before anything is judged by the new time.
//!
//! The stopwatch stands still while the machine sleeps, when nobody could report either: a laptop that is
//! opened again finds its jobs as old as they were.
//!
//! Which of two times is right nobody here can know. A person is told, by a critical condition that ends
//! when the clock is set back, or when the new time has stood for [`BELIEVED_AFTER`]: a machine that started
//! with a wrong clock and was put right must not stay critical. Given up: noticing a clock that was set
//! while the server was not running, which looks the same as a server that was off for a year. Where several
//! nodes share a store, this belongs to the one that sweeps: it is its clock that jobs are judged by.
//!
//! A shared store has a clock of its own, which all its nodes can be held against. One whose clock is more
//! than [`JUMP`] off would end everybody's jobs and remove everybody's history, so it does not lead, judges
//! nothing, and says so, until the two agree again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::model::{Actor, Command, Context, Job, JobId, Timestamp, Trouble, clock_words};
use crate::store::{JobStore, StoreError};

/// Corrections of the clock below this pass unnoticed: they make a job a minute older.
const JUMP: Duration = Duration::from_secs(60);
/// A new time that stood so long is the time.
const BELIEVED_AFTER: Duration = Duration::from_secs(10 * 60);
/// History is not removed by age for so long after the clock jumped ahead: what is removed is gone, and
/// somebody must have had the time to see that the clock is wrong.
const HISTORY_HELD_FOR: Duration = Duration::from_secs(24 * 3600);

/// Watches the clock.
pub struct Timekeeper {
    store: Arc<dyn JobStore>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// One look at a time: jobs must not be moved twice.
    looking: tokio::sync::Mutex<()>,
}

struct State {
    /// What clock and stopwatch showed together when somebody last looked.
    wall: Timestamp,
    steady: Duration,
    /// How far the clock has been set in all, since it was last believed.
    offset_ms: i64,
    /// When it was set last, by the stopwatch.
    set_at: Duration,
    /// Until when history is not removed for its age, by the stopwatch.
    history_held_until: Duration,
    /// Jobs whose times are still to be moved, and by how much.
    to_move: Vec<(JobId, i64)>,
    /// How far the clock is ahead of the store's own, where that is too far.
    off_ms: Option<i64>,
}

impl State {
    /// How far clock and stopwatch have parted.
    fn drift_ms(&self, wall: Timestamp, steady: Duration) -> i64 {
        let passed = i64::try_from(steady.saturating_sub(self.steady).as_millis()).unwrap_or(i64::MAX);
        wall.0.saturating_sub(self.wall.0).saturating_sub(passed)
    }

    /// Takes note that the clock was set, while these jobs ran.
    fn note(&mut self, drift: i64, active: &[Arc<Job>]) {
        for job in active {
            match self.to_move.iter_mut().find(|(id, _)| *id == job.id) {
                // Not moved yet for an earlier jump: once, for both.
                Some((_, by_ms)) => *by_ms = by_ms.saturating_add(drift),
                None => self.to_move.push((job.id, drift)),
            }
        }
        self.to_move.retain(|(_, by_ms)| is_jump(*by_ms));
        if self.steady.saturating_sub(self.set_at) >= BELIEVED_AFTER {
            self.offset_ms = 0;
        }
        self.offset_ms = self.offset_ms.saturating_add(drift);
        self.set_at = self.steady;
        if !is_jump(self.offset_ms) {
            self.history_held_until = Duration::ZERO;
        } else if drift > 0 {
            self.history_held_until = self.steady + HISTORY_HELD_FOR;
        }
    }
}

fn is_jump(ms: i64) -> bool {
    u128::from(ms.unsigned_abs()) > JUMP.as_millis()
}

impl Timekeeper {
    /// Believes the clock as it is now.
    pub fn new(store: Arc<dyn JobStore>, clock: Arc<dyn Clock>) -> Self {
        let state = State {
            wall: clock.now(),
            steady: clock.steady(),
            offset_ms: 0,
            set_at: Duration::ZERO,
            history_held_until: Duration::ZERO,
            to_move: Vec::new(),
            off_ms: None,
        };
        Self { store, clock, state: Mutex::new(state), looking: tokio::sync::Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the clock, and moves the jobs where it was set. Returns whether it was. Nothing may be
    /// judged by the time where this fails: some job may not have been moved yet.
    pub async fn look(&self) -> Result<bool, StoreError> {
        let _one = self.looking.lock().await;
        // Asked each time, and before the clock is believed: whether it was set, or is another's, decides
        // whether jobs may be moved with it. Nothing is taken note of where the store does not answer.
        let ours = self.clock.now();
        let theirs = self.store.clock().await?;
        let off_ms = theirs.map(|theirs| ours.0.saturating_sub(theirs.0)).filter(|off| is_jump(*off));
        self.store.may_lead(off_ms.is_none());
        if let (Some(off), None) = (off_ms, std::mem::replace(&mut self.state().off_ms, off_ms)) {
            tracing::error!(off_ms = off, "The clock is not the database's; this server does not lead");
        }
        let (wall, steady) = (self.clock.now(), self.clock.steady());
        let drift = self.state().drift_ms(wall, steady);
        let jumped = is_jump(drift);
        // Jobs that several servers share are moved by the one whose clock they are judged by.
        let active = if jumped && self.store.leads() { self.store.active().await? } else { Vec::new() };
        {
            let mut state = self.state();
            // Small differences are let go of at every look, so that they never add up to a jump.
            (state.wall, state.steady) = (wall, steady);
            if jumped {
                state.note(drift, &active);
                tracing::error!("The clock was set {}; running jobs move with it", clock_words(drift));
            }
        }
        loop {
            let Some((id, by_ms)) = self.state().to_move.first().copied() else { return Ok(jumped) };
            let context = Context { actor: Actor::system("clock"), at: self.clock.now() };
            match self.store.transact(id, Command::ClockMoved { by_ms }, context).await {
                // Refused: it ended meanwhile.
                Ok(_) | Err(StoreError::Refused(_)) => drop(self.state().to_move.remove(0)),
                Err(error) => return Err(error),
            }
        }
    }

    /// What a person must know of the clock, where there is something.
    pub fn trouble(&self) -> Option<Trouble> {
        let state = self.state();
        if let Some(off) = state.off_ms {
            return Some(Trouble {
                critical: true,
                what: format!(
                    "This server's clock differs from the database's, by which it is {}",
                    clock_words(off)
                ),
                detail: "it ends no jobs and removes no history for their age, and leaves the lead to \
                         another server, until the two agree. Set the clock that is wrong"
                    .to_owned(),
            });
        }
        let (wall, steady) = (self.clock.now(), self.clock.steady());
        // What nobody has looked at yet counts: the condition is the present one.
        let drift = Some(state.drift_ms(wall, steady)).filter(|drift| is_jump(*drift));
        let offset = state.offset_ms.saturating_add(drift.unwrap_or(0));
        let believed = drift.is_none() && steady.saturating_sub(state.set_at) >= BELIEVED_AFTER;
        (is_jump(offset) && !believed).then(|| {
            // A stopwatch stands still while the machine sleeps; that looks the same.
            let or = if offset > 0 { ", or the machine slept" } else { "" };
            Trouble {
                critical: true,
                what: format!("The server's clock was set {} while it ran{or}", clock_words(offset)),
                detail: format!(
                    "running jobs keep their age. Look whether the clock is right; a new time is believed \
                     after {} minutes",
                    BELIEVED_AFTER.as_secs() / 60
                ),
            }
        })
    }

    /// Whether history may be removed for its age: not soon after the clock jumped ahead, and not by a
    /// clock that is known to be wrong.
    pub fn may_remove_by_age(&self) -> bool {
        let state = self.state();
        state.off_ms.is_none() && self.clock.steady() >= state.history_held_until
    }
}
