//! The live board: what every open dashboard shows, kept in memory (ARCHITECTURE decision 8).
//!
//! The store tells it of every change before it answers the writer; a poll then costs a lock and a few
//! comparisons, and no query. It keeps the jobs that have not ended, ended ones whose process still writes,
//! the counters, and a ring of what changed lately, so that a poll that says what it has seen gets only the
//! difference. Revisions count within one run of the server: another run's are answered with everything.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::model::{Counts, Job, JobId, OutcomeCounts, Spec, Timestamp, Trouble, ZOMBIE_FOR_MS};
use crate::store::{ChangeSink, Changes, JobStore, StoreError, documents_of};
use crate::view::{BoardAnswer, BoardView, JobRow, SweepPlan};

/// How many changes are remembered. A dashboard that slept longer gets everything.
const RING: usize = 4_096;
/// How long an ended job stays on the board after a late write.
const ZOMBIE_FOR: Duration = Duration::from_millis(ZOMBIE_FOR_MS);
/// How many jobs that ended lately are kept at hand, for pages that are open on them.
const RECENT: usize = 256;
/// A job that carries more than this is not kept at hand once it has ended.
const KEPT_BYTES: usize = 16 << 10;
/// How often the day's outcomes are asked for again because jobs ended meanwhile.
const TODAY_TRIES: u32 = 5;

/// What every open dashboard shows.
pub struct Board {
    boot: String,
    build: String,
    max_active: u32,
    state: Mutex<BoardState>,
    /// The newest revision, for those who wait for one.
    revision: watch::Sender<u64>,
    /// When stale jobs are ended, where this server does that.
    sweep: Mutex<Option<SweepPlan>>,
}

#[derive(Default)]
struct BoardState {
    revision: u64,
    past_revision: u64,
    open: HashMap<JobId, Arc<Job>>,
    zombies: HashMap<JobId, Arc<Job>>,
    /// With their ids beside them: it is searched through with every job that ends.
    /// Those that carry much are read from the store.
    recent: VecDeque<(JobId, Option<Arc<Job>>)>,
    counts: Counts,
    day: i64,
    today: OutcomeCounts,
    ring: VecDeque<(u64, Vec<JobId>)>,
    /// While the board is filled: what ended or was removed since it listens. The list it is filled from may
    /// be older than that, and must not bring such a job back.
    gone: Option<HashSet<JobId>>,
}

impl Board {
    /// A board over a store, told of its changes from now on.
    pub async fn over(
        store: &Arc<dyn JobStore>,
        max_active: u32,
        build: String,
        now: Timestamp,
    ) -> Result<Arc<Self>, StoreError> {
        let board = Arc::new(Self {
            boot: uuid::Uuid::new_v4().simple().to_string(),
            build,
            max_active,
            state: Mutex::default(),
            revision: watch::channel(0).0,
            sweep: Mutex::default(),
        });
        {
            let mut state = board.state();
            (state.day, state.gone) = (now.day(), Some(HashSet::new()));
        }
        // Listen first: a change while the board is filled is then seen twice, which is harmless, and not missed.
        store.changes(Arc::clone(&board) as Arc<dyn ChangeSink>);
        // Not under the board's lock: the store may be waiting for it, with its own lock held.
        let counts = store.counts();
        let mut filter = crate::model::JobFilter { only_open: true, ..Default::default() };
        let mut after = None;
        loop {
            let size = crate::model::PageSize::new(Some(200)).unwrap_or_default();
            let page = store.list(std::mem::take(&mut filter), after, size).await?;
            filter.only_open = true;
            let mut state = board.state();
            for job in page.jobs {
                state.fill(job);
            }
            after = page.next;
            if after.is_none() {
                state.gone = None;
                if state.revision == 0 {
                    // Otherwise a change has brought newer ones.
                    state.counts = counts;
                }
                break;
            }
        }
        board.fill_today(store, now.day()).await?;
        Ok(board)
    }

    /// Takes over how many jobs ended today. What ended while the store was asked may be in its answer or
    /// not, so it is asked again until nothing did.
    async fn fill_today(&self, store: &Arc<dyn JobStore>, day: i64) -> Result<(), StoreError> {
        for attempt in 1.. {
            let before = self.state().today;
            let today = store.ended_on(day).await?;
            let mut state = self.state();
            if state.day != day {
                // Midnight has passed, and every job of the new day was heard of.
                break;
            }
            if state.today == before || attempt == TODAY_TRIES {
                state.today = today;
                break;
            }
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, BoardState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which run of the server this is.
    pub fn boot(&self) -> &str {
        &self.boot
    }

    /// Which build of the program this is.
    pub fn build(&self) -> &str {
        &self.build
    }

    /// Hears of new revisions.
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// A job that has not ended, or that ended lately.
    pub fn job(&self, id: JobId) -> Option<Arc<Job>> {
        let state = self.state();
        let recent = || state.recent.iter().find(|(other, _)| *other == id).and_then(|(_, job)| job.as_ref());
        state.open.get(&id).or_else(recent).cloned()
    }

    /// Every job that somebody works on.
    pub fn active(&self) -> Vec<Arc<Job>> {
        self.state().open.values().filter(|job| job.status.is_active()).cloned().collect()
    }

    /// Every job that has not ended, newest first.
    pub fn open(&self) -> Vec<Arc<Job>> {
        let mut open: Vec<_> = self.state().open.values().cloned().collect();
        open.sort_by_key(|job| std::cmp::Reverse((job.created_at, job.id)));
        open
    }

    /// The jobs that changed after `revision`; `None` where the board does not remember that far back.
    pub fn changed_since(&self, revision: u64) -> Option<Vec<JobId>> {
        self.state().changed_since(revision).map(|ids| ids.into_iter().collect())
    }

    /// The newest revision.
    pub fn revision(&self) -> u64 {
        self.state().revision
    }

    /// Everything.
    pub fn view(&self, now: Timestamp, troubles: Vec<Trouble>) -> BoardView {
        let mut state = self.state();
        state.tidy(now);
        let mut jobs: Vec<&Arc<Job>> = state.open.values().chain(state.zombies.values()).collect();
        jobs.sort_by_key(|job| std::cmp::Reverse((job.start_time(), job.id)));
        self.frame(&state, jobs.into_iter().map(|job| JobRow::from(&**job)).collect(), now, troubles)
    }

    /// What changed since a dashboard looked last.
    pub fn poll(
        &self,
        boot: &str,
        build: &str,
        since: u64,
        now: Timestamp,
        troubles: Vec<Trouble>,
    ) -> BoardAnswer {
        if boot != self.boot || build != self.build {
            return BoardAnswer::full(self.view(now, troubles));
        }
        let mut state = self.state();
        state.tidy(now);
        if since == state.revision {
            return BoardAnswer::unchanged(now);
        }
        let Some(ids) = state.changed_since(since) else {
            drop(state);
            return BoardAnswer::full(self.view(now, troubles));
        };
        let (mut rows, mut gone) = (Vec::new(), Vec::new());
        for id in ids {
            match state.open.get(&id).or_else(|| state.zombies.get(&id)) {
                Some(job) => rows.push(JobRow::from(&**job)),
                None => gone.push(id),
            }
        }
        BoardAnswer::delta(self.frame(&state, rows, now, troubles), gone)
    }

    fn frame(
        &self,
        state: &BoardState,
        rows: Vec<JobRow>,
        now: Timestamp,
        troubles: Vec<Trouble>,
    ) -> BoardView {
        BoardView {
            boot: self.boot.clone(),
            build: self.build.clone(),
            revision: state.revision,
            past_revision: state.past_revision,
            now,
            rows,
            counts: state.counts,
            today: if now.day() == state.day { state.today } else { OutcomeCounts::default() },
            max_active: self.max_active,
            troubles,
            sweep: self.sweep_plan(),
        }
    }

    /// When stale jobs are ended, where this server does that.
    pub fn sweep_plan(&self) -> Option<SweepPlan> {
        *self.sweep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says when stale jobs are ended. Dashboards reckon on from an older plan; that there is none is news.
    pub fn plan_sweep(&self, plan: Option<SweepPlan>) {
        let before = std::mem::replace(&mut *self.sweep.lock().unwrap_or_else(PoisonError::into_inner), plan);
        if before.is_some() != plan.is_some() {
            self.nudge();
        }
    }

    /// Tells every dashboard to look again, though no job changed: the store broke, or mended.
    pub fn nudge(&self) {
        let revision = {
            let mut state = self.state();
            state.push(Vec::new());
            state.revision
        };
        self.revision.send_replace(revision);
    }
}

impl BoardState {
    fn push(&mut self, ids: Vec<JobId>) {
        self.revision += 1;
        self.ring.push_back((self.revision, ids));
        if self.ring.len() > RING {
            self.ring.pop_front();
        }
    }

    fn changed_since(&self, revision: u64) -> Option<BTreeSet<JobId>> {
        if revision > self.revision {
            return None;
        }
        let oldest = self.ring.front().map_or(self.revision + 1, |(first, _)| *first);
        if revision + 1 < oldest {
            return None;
        }
        Some(
            self.ring
                .iter()
                .rev()
                .take_while(|(at, _)| *at > revision)
                .flat_map(|(_, ids)| ids.iter().copied())
                .collect(),
        )
    }

    /// Lets go of ended jobs whose process has been quiet for a while.
    fn tidy(&mut self, now: Timestamp) {
        let quiet: Vec<JobId> = self
            .zombies
            .values()
            .filter(|job| job.late_write_at.is_none_or(|at| now.since(at) >= ZOMBIE_FOR))
            .map(|job| job.id)
            .collect();
        if !quiet.is_empty() {
            for id in &quiet {
                self.zombies.remove(id);
            }
            self.push(quiet);
        }
    }

    /// Takes a job from the list the board is filled from, unless something newer was heard of it.
    fn fill(&mut self, job: Arc<Job>) {
        let ended = self.gone.as_ref().is_some_and(|gone| gone.contains(&job.id));
        if !ended && self.open.get(&job.id).is_none_or(|known| known.revision < job.revision) {
            self.open.insert(job.id, job);
        }
    }

    fn take(&mut self, job: &Arc<Job>) {
        if !job.status.is_final() {
            if let Some(gone) = &mut self.gone {
                gone.remove(&job.id);
            }
            // It may have ended before: one that was given up as lost, and is heard of again.
            self.zombies.remove(&job.id);
            self.recent.retain(|(other, _)| *other != job.id);
            self.open.insert(job.id, Arc::clone(job));
            return;
        }
        if let Some(gone) = &mut self.gone {
            gone.insert(job.id);
        }
        let ended_now =
            self.open.remove(&job.id).is_some() || !self.recent.iter().any(|(other, _)| *other == job.id);
        // What comes after the end is a late write, or a pin: the job ended before.
        let after_its_end = job.late_writes > 0 || job.ended_at.is_some_and(|at| job.activity_at > at);
        if let (true, Some(outcome), Some(at)) =
            (ended_now && !after_its_end, job.status.outcome(), job.ended_at)
        {
            if at.day() > self.day {
                self.day = at.day();
                self.today = OutcomeCounts::default();
            }
            if at.day() == self.day {
                *self.today.of_mut(outcome) += 1;
            }
        }
        self.recent.retain(|(other, _)| *other != job.id);
        let small = documents_of(job) <= KEPT_BYTES;
        self.recent.push_back((job.id, small.then(|| Arc::clone(job))));
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        if job.late_write_at.is_some() {
            // For its row, which shows nothing of what it worked on.
            let slim = if small { Arc::clone(job) } else { Arc::new(without_documents(job)) };
            self.zombies.insert(job.id, slim);
        } else {
            self.zombies.remove(&job.id);
        }
    }
}

fn without_documents(job: &Job) -> Job {
    let spec = Spec { input: None, ..(*job.spec).clone() };
    Job { spec: Arc::new(spec), output: None, ..job.clone() }
}

impl ChangeSink for Board {
    fn publish(&self, changes: &Changes) {
        let revision = {
            let mut state = self.state();
            let past = changes.counts.past() != state.counts.past() || !changes.removed.is_empty();
            for job in &changes.jobs {
                state.take(job);
            }
            for id in &changes.removed {
                // A job that ended and was removed while nobody was heard here is told as removed only.
                state.open.remove(id);
                if let Some(gone) = &mut state.gone {
                    gone.insert(*id);
                }
                state.zombies.remove(id);
                state.recent.retain(|(other, _)| other != id);
            }
            state.counts = changes.counts;
            let ids = changes.jobs.iter().map(|job| job.id).chain(changes.removed.iter().copied()).collect();
            state.push(ids);
            // A history that lost a row and gained one has changed too.
            let ended = changes.jobs.iter().any(|job| job.status.is_final());
            if past || ended {
                state.past_revision = state.revision;
            }
            state.revision
        };
        self.revision.send_replace(revision);
    }

    fn believed_open(&self) -> Vec<JobId> {
        self.state().open.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::library::Jobs;
    use crate::model::{Actor, Command, Context};
    use crate::store::MemoryStore;

    const NOW: Timestamp = Timestamp(1_000);

    struct Fixture {
        jobs: Jobs,
        board: Arc<Board>,
        seen: u64,
    }

    async fn fixture() -> Fixture {
        let store: Arc<dyn JobStore> = Arc::new(MemoryStore::default());
        let jobs = Jobs::new(Arc::clone(&store)).with_clock(Arc::new(ManualClock::new(NOW)));
        let board = Board::over(&store, 50, "build".to_owned(), NOW).await.unwrap();
        Fixture { jobs, board, seen: 0 }
    }

    impl Fixture {
        fn poll(&mut self) -> BoardAnswer {
            let answer = self.board.poll(self.board.boot(), "build", self.seen, NOW, Vec::new());
            if let Some(view) = &answer.view {
                self.seen = view.revision;
            }
            answer
        }

        async fn run(&self, id: JobId, command: Command) -> bool {
            let context = Context { actor: Actor::user("anna"), at: NOW };
            self.jobs.store().transact(id, command, context).await.is_ok()
        }
    }

    #[tokio::test]
    async fn a_poll_brings_what_changed_and_nothing_twice() {
        let mut f = fixture().await;
        assert_eq!(f.poll(), BoardAnswer::unchanged(NOW));
        let (a, b) = (f.jobs.create_job("a", "x").await.unwrap(), f.jobs.create_job("b", "x").await.unwrap());
        let BoardAnswer { view: Some(view), gone, full: false, .. } = f.poll() else {
            panic!("a delta was due")
        };
        assert_eq!((view.rows.len(), gone.len(), view.counts.active()), (2, 0, 2));
        assert!(f.run(a, Command::Complete { epoch: None, output: None }).await);
        let BoardAnswer { view: Some(view), gone, full: false, .. } = f.poll() else {
            panic!("a delta was due")
        };
        assert_eq!((view.rows.len(), gone, view.today.completed), (0, vec![a], 1));
        assert_eq!(f.poll(), BoardAnswer::unchanged(NOW));
        assert_eq!(f.board.job(a).unwrap().id, a, "an ended job stays at hand");
        assert_eq!(f.board.active()[0].id, b);
    }

    #[tokio::test]
    async fn another_run_another_build_or_a_long_sleep_get_everything() {
        let mut f = fixture().await;
        let id = f.jobs.create_job("a", "x").await.unwrap();
        assert!(f.board.poll("other", "build", 0, NOW, Vec::new()).full);
        assert!(f.board.poll(f.board.boot(), "old", 1, NOW, Vec::new()).full);
        assert!(f.board.poll(f.board.boot(), "build", 99, NOW, Vec::new()).full);
        for _ in 0..=RING {
            f.run(id, Command::Report(Default::default())).await;
        }
        let answer = f.poll();
        assert!(answer.full && answer.view.is_some_and(|view| view.rows.len() == 1));
    }

    #[tokio::test]
    async fn an_ended_job_whose_process_still_writes_stays_until_it_is_quiet() {
        let mut f = fixture().await;
        let id = f.jobs.create_job("a", "x").await.unwrap();
        f.jobs.force_fail_job(id, "hung").await.unwrap();
        let late = |epoch| Command::Report(crate::model::Report { epoch: Some(epoch), ..Default::default() });
        assert!(!f.run(id, late(1)).await);
        f.poll();
        let rows = f.board.view(NOW, Vec::new()).rows;
        assert_eq!((rows.len(), rows[0].late_writes), (1, 1));
        let later = NOW.plus(ZOMBIE_FOR);
        assert_eq!(f.board.view(later, Vec::new()).rows.len(), 0);
        let answer = f.board.poll(f.board.boot(), "build", f.seen, later, Vec::new());
        assert!(!answer.full && answer.gone == [id]);

        // Its last word says that its process is gone.
        assert!(!f.run(id, late(1)).await);
        assert_eq!(f.board.view(NOW, Vec::new()).rows.len(), 1);
        assert!(!f.run(id, Command::Complete { epoch: Some(1), output: None }).await);
        assert_eq!(f.board.view(NOW, Vec::new()).rows.len(), 0);
    }

    /// A job that ended and was removed while its server was not heard is told as removed, and nothing else.
    #[tokio::test]
    async fn a_job_that_was_removed_is_no_longer_open() {
        let mut f = fixture().await;
        let id = f.jobs.create_job("a", "x").await.unwrap();
        f.poll();
        f.board.publish(&Changes { jobs: Vec::new(), removed: vec![id], counts: Counts::default() });
        assert!(f.board.open().is_empty() && f.board.job(id).is_none());
        assert_eq!(f.poll().gone, [id]);
    }

    #[tokio::test]
    async fn an_ended_job_that_carries_much_is_not_kept_in_memory() {
        let f = fixture().await;
        for (bytes, kept) in [(100, true), (100_000, false)] {
            let id = f.jobs.create_job("a", "x").await.unwrap();
            let output = Some(serde_json::json!("x".repeat(bytes)));
            assert!(f.run(id, Command::Complete { epoch: Some(1), output }).await);
            assert_eq!(f.board.job(id).is_some(), kept);
        }
    }
}
