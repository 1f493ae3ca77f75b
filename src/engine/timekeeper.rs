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
//! with a wrong clock and was put right must not stay critical. Where several nodes share a store, this belongs
//! to the one that sweeps: it is its clock that jobs are judged by.
//!
//! A clock that was set while no server was running looks the same as a server that was off for a year. So the
//! store remembers when the clock was last believed, and a server that starts more than [`FAR_AHEAD`] later
//! removes and forgets nothing for its age and ends no job for its silence, until an operator has said that the
//! clock is right, or it has gone on for [`HELD_FOR`]. A store without such a note is asked for the newest moment
//! its jobs tell of. Where the clock is set back in that time, jobs keep the times they had from before.
//!
//! A shared store has a clock of its own, which all its nodes can be held against. One whose clock is more
//! than [`JUMP`] off would end everybody's jobs and remove everybody's history, so it does not lead, judges
//! nothing, and says so, until the two agree again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::model::{Actor, Command, Context, Job, JobId, Timestamp, Trouble, clock_words};
use crate::store::{ClockMark, JobStore, StoreError};

/// Corrections of the clock below this pass unnoticed: they make a job a minute older.
const JUMP: Duration = Duration::from_secs(60);
/// A new time that stood so long is the time.
const BELIEVED_AFTER: Duration = Duration::from_secs(10 * 60);
/// History is not removed by age for so long after the clock jumped ahead: what is removed is gone, and
/// somebody must have had the time to see that the clock is wrong.
const HELD_FOR: Duration = Duration::from_secs(24 * 3600);
/// A server that starts so long after the clock was last believed does not believe it.
const FAR_AHEAD: Duration = Duration::from_secs(24 * 3600);
/// How often it is written down that the clock is believed.
const MARK_EVERY: Duration = Duration::from_secs(10 * 60);

/// Watches the clock.
pub struct Timekeeper {
    store: Arc<dyn JobStore>,
    clock: Arc<dyn Clock>,
    state: Mutex<ClockState>,
    /// One look at a time: jobs must not be moved twice.
    looking: tokio::sync::Mutex<()>,
}

struct ClockState {
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
    /// Whether the clock was held against what the store remembers, as it is once after the start.
    compared: bool,
    /// When the clock was last believed, where it is not now, and since when it is not, by the stopwatch.
    doubt: Option<(Timestamp, Duration)>,
    /// When it was last written down that the clock is believed, by the stopwatch.
    marked: Option<Duration>,
}

impl ClockState {
    /// How far clock and stopwatch have parted.
    fn drift_ms(&self, wall: Timestamp, steady: Duration) -> i64 {
        let passed = i64::try_from(steady.saturating_sub(self.steady).as_millis()).unwrap_or(i64::MAX);
        wall.0.saturating_sub(self.wall.0).saturating_sub(passed)
    }

    /// Takes note that the clock was set, while these jobs ran.
    fn note(&mut self, drift: i64, active: &[Arc<Job>]) {
        for job in active {
            // Of a job that began before the clock was doubted only what was recorded since is wrong: that is
            // ahead of the time now, and is no longer once it was "moved" by nothing.
            let before = self.doubt.is_some() && drift < 0 && job.start_time() <= self.wall;
            let drift = if before { 0 } else { drift };
            match self.to_move.iter_mut().find(|(id, _)| *id == job.id) {
                // Not moved yet for an earlier jump: once, for both.
                Some((_, by_ms)) => *by_ms = by_ms.saturating_add(drift),
                None => self.to_move.push((job.id, drift)),
            }
        }
        let doubted = self.doubt.is_some();
        self.to_move.retain(|(_, by_ms)| is_jump(*by_ms) || (*by_ms == 0 && doubted));
        if self.steady.saturating_sub(self.set_at) >= BELIEVED_AFTER {
            self.offset_ms = 0;
        }
        self.offset_ms = self.offset_ms.saturating_add(drift);
        self.set_at = self.steady;
        if !is_jump(self.offset_ms) {
            self.history_held_until = Duration::ZERO;
        } else if drift > 0 {
            self.history_held_until = self.steady + HELD_FOR;
        }
    }
}

fn is_far_ahead(now: Timestamp, believed: Timestamp) -> bool {
    now.since(believed) > FAR_AHEAD
}

fn is_jump(ms: i64) -> bool {
    u128::from(ms.unsigned_abs()) > JUMP.as_millis()
}

impl Timekeeper {
    /// Believes the clock as it is now.
    pub fn new(store: Arc<dyn JobStore>, clock: Arc<dyn Clock>) -> Self {
        let state = ClockState {
            wall: clock.now(),
            steady: clock.steady(),
            offset_ms: 0,
            set_at: Duration::ZERO,
            history_held_until: Duration::ZERO,
            to_move: Vec::new(),
            off_ms: None,
            compared: false,
            doubt: None,
            marked: None,
        };
        Self { store, clock, state: Mutex::new(state), looking: tokio::sync::Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, ClockState> {
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
        self.compare().await?;
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
            if state.doubt.is_some_and(|(believed, _)| !is_far_ahead(wall, believed)) {
                // Set back to about where it was: whoever was told of the doubt need not be told of this.
                (state.doubt, state.offset_ms, state.marked) = (None, 0, None);
            }
            if state.doubt.is_some_and(|(_, since)| steady.saturating_sub(since) >= HELD_FOR) {
                tracing::warn!("The clock has gone on for a day as it does, and is believed");
                (state.doubt, state.marked) = (None, None);
            }
        }
        if let Err(error) = self.mark().await {
            // Tried again at the next look; that the store refuses writes is told elsewhere.
            tracing::debug!(error = %error, "What is believed of the clock could not be written down");
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

    /// Holds the clock against what the store remembers: once after the start, and as long as it is doubted, for
    /// another server may have been told that it is right.
    async fn compare(&self) -> Result<(), StoreError> {
        let (compared, doubted) = {
            let state = self.state();
            (state.compared, state.doubt.is_some())
        };
        if (compared && !doubted) || !self.store.leads() {
            return Ok(());
        }
        let mark = self.store.clock_mark().await?;
        let now = self.clock.now();
        let believed = match mark {
            Some(mark) if mark.doubted || doubted => Some(mark.believed),
            mark => {
                // What lies ahead of the clock was recorded by another one.
                let newest = self.store.newest_moment().await?.filter(|newest| *newest <= now);
                newest.max(mark.map(|mark| mark.believed))
            }
        };
        let mut state = self.state();
        state.compared = true;
        let Some(believed) = believed.filter(|believed| is_far_ahead(now, *believed)) else {
            if doubted && mark.is_some_and(|mark| !mark.doubted) {
                state.doubt = None;
            }
            return Ok(());
        };
        if state.doubt.is_none() {
            state.doubt = Some((believed, self.clock.steady()));
            state.marked = None;
            let ahead = clock_words(now.0.saturating_sub(believed.0));
            tracing::error!("The clock is {ahead} of the newest moment in the store, and is not believed");
        }
        Ok(())
    }

    /// Writes down what is believed of the clock, now and then.
    async fn mark(&self) -> Result<(), StoreError> {
        let steady = self.clock.steady();
        let mark = {
            let state = self.state();
            let fresh = state.marked.is_some_and(|at| steady.saturating_sub(at) < MARK_EVERY);
            // While history is held the clock may yet be set back, also by a restart.
            let held = state.off_ms.is_some() || steady < state.history_held_until;
            match state.doubt {
                _ if fresh || held || !state.compared => return Ok(()),
                Some((believed, _)) => ClockMark { believed, doubted: true },
                None => ClockMark { believed: state.wall, doubted: false },
            }
        };
        if self.store.leads() {
            self.store.mark_clock(mark).await?;
            self.state().marked = Some(steady);
        }
        Ok(())
    }

    /// Somebody says that the clock is right as it is. Returns whether it was doubted.
    pub async fn accept(&self) -> Result<bool, StoreError> {
        // Jobs move first, where it was set and nobody has looked since.
        self.look().await?;
        let _one = self.looking.lock().await;
        let doubted = {
            let mut state = self.state();
            let doubted = state.doubt.is_some()
                || is_jump(state.offset_ms)
                || self.clock.steady() < state.history_held_until;
            (state.doubt, state.offset_ms, state.history_held_until) = (None, 0, Duration::ZERO);
            state.marked = None;
            doubted
        };
        let mark = ClockMark { believed: self.clock.now(), doubted: false };
        self.store.mark_clock(mark).await?;
        Ok(doubted)
    }

    /// Whether jobs may be ended for their silence or their length: not while the clock is in doubt.
    pub fn may_judge(&self) -> bool {
        self.state().doubt.is_none()
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
        if let Some((believed, since)) = state.doubt {
            let left = HELD_FOR.saturating_sub(steady.saturating_sub(since)).as_secs().div_ceil(3_600);
            return Some(Trouble {
                critical: true,
                what: format!(
                    "The server's clock is {} of the newest moment in the store",
                    clock_words(wall.0.saturating_sub(believed.0))
                ),
                detail: format!(
                    "it ends no stale jobs and removes no history for its age. If the clock shows the right time, \
                     say so with `longhaul clock accept`; otherwise set it. It is believed after {left} hours"
                ),
            });
        }
        // A jump since the last look counts too, so that the condition is that of this moment.
        let drift = Some(state.drift_ms(wall, steady)).filter(|drift| is_jump(*drift));
        let offset = state.offset_ms.saturating_add(drift.unwrap_or(0));
        let believed = drift.is_none() && steady.saturating_sub(state.set_at) >= BELIEVED_AFTER;
        (is_jump(offset) && !believed).then(|| {
            // The stopwatch stands still while the machine sleeps, which looks like a wall clock that jumped ahead.
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
        state.off_ms.is_none() && state.doubt.is_none() && self.clock.steady() >= state.history_held_until
    }
}
