//! What a server does by itself where others share the store: who judges, by which clock, and what counts as
//! silence. Time is tokio's, and stands still unless something waits for it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::model::{
    Actor, Author, Command, Context, Counts, Cursor, Event, Execution, Feature, Job, JobFilter, JobId,
    Limits, NewJob, OutcomeCounts, PageSize, Report, ReportItem, Spec, Status, Timeouts, Timestamp,
};
use crate::store::{
    ChangeSink, CreateRules, Created, FeatureCounts, ImportedJob, IntegrityReport, JobPage, JobStore,
    LogPage, LogQuery, MemoryStore, Pruned, StoreError, StoreProgress,
};

const NOW: Timestamp = Timestamp(1_795_364_405_123);
const YEAR_MS: i64 = 365 * 86_400_000;
const COMPLETE: Command = Command::Complete { epoch: None, output: None };

/// A store that several servers share, as one of them sees it: tests say who leads, whether the store answers
/// and what its clock shows. What other servers do happens between a read and its answer.
struct Site {
    inner: MemoryStore,
    leads: AtomicBool,
    must_not_lead: AtomicBool,
    away: AtomicBool,
    stands_still: AtomicBool,
    clock: Mutex<Option<Timestamp>>,
    /// Jobs that end after the next page was read, and before it is handed out.
    end_after_list: Mutex<Vec<JobId>>,
    /// Those that end after the day's outcomes were read.
    end_after_count: Mutex<Vec<JobId>>,
}

impl Site {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryStore::new(1_000),
            leads: AtomicBool::new(true),
            must_not_lead: AtomicBool::new(false),
            away: AtomicBool::new(false),
            stands_still: AtomicBool::new(false),
            clock: Mutex::default(),
            end_after_list: Mutex::default(),
            end_after_count: Mutex::default(),
        })
    }

    async fn start(&self, number: u128, execution: Execution, at: Timestamp) -> JobId {
        let spec = Spec {
            timeouts: Timeouts { run: None, ..Timeouts::REQUIRED },
            execution,
            ..Spec::new(Feature::new("import").unwrap(), Author::new("anna").unwrap(), "user:anna")
        };
        let id = JobId(Uuid::from_u128(number));
        let new = NewJob { id, spec, enqueue: false, run_at: None };
        self.inner.create(new, CreateRules::default(), context(at)).await.unwrap();
        id
    }

    async fn end(&self, jobs: &Mutex<Vec<JobId>>) {
        let ended = std::mem::take(&mut *jobs.lock().unwrap());
        for id in ended {
            self.inner.transact(id, COMPLETE, context(NOW)).await.unwrap();
        }
    }

    async fn status(&self, id: JobId) -> Status {
        self.inner.get(id).await.unwrap().unwrap().status
    }
}

fn context(at: Timestamp) -> Context {
    Context { actor: Actor::user("anna"), at }
}

#[async_trait]
impl JobStore for Site {
    async fn create(&self, new: NewJob, rules: CreateRules, context: Context) -> Result<Created, StoreError> {
        self.inner.create(new, rules, context).await
    }
    async fn transact(&self, id: JobId, command: Command, context: Context) -> Result<Arc<Job>, StoreError> {
        self.inner.transact(id, command, context).await
    }
    async fn get(&self, id: JobId) -> Result<Option<Arc<Job>>, StoreError> {
        self.inner.get(id).await
    }
    async fn list(
        &self,
        filter: JobFilter,
        after: Option<Cursor>,
        size: PageSize,
    ) -> Result<JobPage, StoreError> {
        let page = self.inner.list(filter, after, size).await;
        self.end(&self.end_after_list).await;
        page
    }
    async fn jobs_by_id(&self, after: Option<JobId>, limit: usize) -> Result<Vec<Arc<Job>>, StoreError> {
        self.inner.jobs_by_id(after, limit).await
    }
    async fn import(&self, jobs: Vec<ImportedJob>) -> Result<u64, StoreError> {
        self.inner.import(jobs).await
    }
    async fn active(&self) -> Result<Vec<Arc<Job>>, StoreError> {
        self.inner.active().await
    }
    async fn log(&self, id: JobId, query: LogQuery) -> Result<LogPage, StoreError> {
        self.inner.log(id, query).await
    }
    async fn events(&self, id: JobId, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.inner.events(id, after, limit).await
    }
    fn counts(&self) -> Counts {
        self.inner.counts()
    }
    async fn ended_on(&self, day: i64) -> Result<OutcomeCounts, StoreError> {
        let counts = self.inner.ended_on(day).await;
        self.end(&self.end_after_count).await;
        counts
    }
    async fn features(&self, limit: usize) -> Result<Vec<FeatureCounts>, StoreError> {
        self.inner.features(limit).await
    }
    async fn prune(&self, keep: u64, before: Option<Timestamp>, batch: usize) -> Result<Pruned, StoreError> {
        self.inner.prune(keep, before, batch).await
    }
    fn changes(&self, sink: Arc<dyn ChangeSink>) {
        self.inner.changes(sink);
    }
    fn is_shared(&self) -> bool {
        true
    }
    fn leads(&self) -> bool {
        self.leads.load(Ordering::SeqCst) && !self.must_not_lead.load(Ordering::SeqCst)
    }
    fn may_lead(&self, may: bool) {
        self.must_not_lead.store(!may, Ordering::SeqCst);
    }
    async fn clock(&self) -> Result<Option<Timestamp>, StoreError> {
        while self.stands_still.load(Ordering::SeqCst) {
            sleep(Duration::from_millis(100)).await;
        }
        Ok(*self.clock.lock().unwrap())
    }
    fn last_failure(&self) -> Option<String> {
        self.away.load(Ordering::SeqCst).then(|| "the database is away".to_owned())
    }
    async fn probe(&self) -> Result<(), StoreError> {
        Ok(())
    }
    async fn check(&self, progress: StoreProgress) -> Result<IntegrityReport, StoreError> {
        self.inner.check(progress).await
    }
    async fn backup(&self, to: &Path, progress: StoreProgress) -> Result<u64, StoreError> {
        self.inner.backup(to, progress).await
    }
    async fn close(&self) {}
}

/// A clock that goes as tokio's time does.
struct Running(Instant);

impl Clock for Running {
    fn now(&self) -> Timestamp {
        NOW.plus(self.0.elapsed())
    }

    fn steady(&self) -> Duration {
        self.0.elapsed()
    }
}

/// How often the servers here sweep.
const EVERY: Duration = Duration::from_secs(300);

/// A server over the store. It is open, and sweeps when it is told to.
async fn sweeper(site: &Arc<Site>, clock: Arc<dyn Clock>, every: Duration) -> (Sweeper, Arc<Timekeeper>) {
    let store = Arc::clone(site) as Arc<dyn JobStore>;
    let board = Board::over(&store, 50, "build".to_owned(), clock.now()).await.unwrap();
    let limits = Limits { max_age: Some(Duration::from_secs(90 * 86_400)), ..Limits::MEMORY };
    let timekeeper = Arc::new(Timekeeper::new(Arc::clone(&store), Arc::clone(&clock)));
    let keeper = Arc::clone(&timekeeper);
    let runner =
        Runner::new(&store, Arc::clone(&clock), keeper, PathBuf::from("nowhere"), limits, Vec::new());
    let settings = SweeperSettings { every, limits };
    (
        Sweeper::new(
            store,
            Arc::new(MemoryStore::new(1)),
            clock,
            board,
            Arc::clone(&timekeeper),
            runner,
            settings,
        ),
        timekeeper,
    )
}

/// The same, going on by itself until the guard is dropped.
async fn server(site: &Arc<Site>) -> (Arc<dyn Clock>, DropGuard) {
    server_that_sweeps(site, EVERY).await
}

async fn server_that_sweeps(site: &Arc<Site>, every: Duration) -> (Arc<dyn Clock>, DropGuard) {
    let clock: Arc<dyn Clock> = Arc::new(Running(Instant::now()));
    let (sweeper, _) = sweeper(site, Arc::clone(&clock), every).await;
    let stop = CancellationToken::new();
    tokio::spawn(sweeper.run(stop.clone()));
    (clock, stop.drop_guard())
}

/// How a server comes not to hear of jobs: another one leads, the store is away, or nothing moves.
const LOSSES: [fn(&Site, bool); 3] = [
    |site, lost| site.leads.store(!lost, Ordering::SeqCst),
    |site, lost| site.away.store(lost, Ordering::SeqCst),
    |site, lost| site.stands_still.store(lost, Ordering::SeqCst),
];

#[tokio::test]
async fn what_ends_while_the_board_is_filled_stays_ended_and_is_counted() {
    let site = Site::new();
    let mut jobs = Vec::new();
    for number in 1..=3 {
        jobs.push(site.start(number, Execution::External, NOW).await);
    }
    site.end_after_list.lock().unwrap().push(jobs[0]);
    site.end_after_count.lock().unwrap().push(jobs[1]);
    let store = Arc::clone(&site) as Arc<dyn JobStore>;
    let board = Board::over(&store, 50, "build".to_owned(), NOW).await.unwrap();
    assert_eq!(board.open().iter().map(|job| job.id).collect::<Vec<_>>(), [jobs[2]]);
    let view = board.view(NOW, Vec::new());
    assert_eq!((view.today.completed, view.counts.active(), view.counts.past()), (2, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_not_the_silence_of_a_run() {
    for lose in LOSSES {
        let site = Site::new();
        let run = site.start(1, Execution::InProcess, NOW).await;
        let (_, _stop) = server(&site).await;
        sleep(Duration::from_secs(20)).await;
        lose(&site, true);
        sleep(Duration::from_secs(60)).await;
        lose(&site, false);
        sleep(Duration::from_secs(25)).await;
        assert_eq!(site.status(run).await, Status::Running, "it could not be heard for a minute");
        // The control: one that says nothing although it could.
        sleep(Duration::from_secs(15)).await;
        assert_eq!(site.status(run).await, Status::Failed);
    }
}

#[tokio::test(start_paused = true)]
async fn jobs_have_time_to_report_after_an_outage_and_when_another_server_takes_the_lead() {
    for lose in LOSSES {
        let site = Site::new();
        let (healthy, hung) =
            (site.start(1, Execution::External, NOW).await, site.start(2, Execution::External, NOW).await);
        let (clock, _stop) = server(&site).await;
        sleep(Duration::from_secs(10)).await;
        lose(&site, true);
        sleep(Duration::from_secs(11 * 60)).await;
        lose(&site, false);
        sleep(Duration::from_secs(60)).await;
        for job in [healthy, hung] {
            assert_eq!(site.status(job).await, Status::Running, "nobody could report");
        }
        let items = vec![ReportItem::Progress { step: None, value: 0.5 }];
        let alive = Command::Report(Report { epoch: None, items });
        site.inner.transact(healthy, alive, context(clock.now())).await.unwrap();
        sleep(Duration::from_secs(300)).await;
        let told = (site.status(healthy).await, site.status(hung).await);
        assert_eq!(told, (Status::Running, Status::Failed), "the one that did not report is ended");
    }
}

/// A moment without the store just before a sweep does not put it off by as long as there is between two.
#[tokio::test(start_paused = true)]
async fn a_sweep_that_is_due_waits_for_the_jobs_to_report_and_no_longer() {
    for lose in LOSSES {
        let site = Site::new();
        let hung = site.start(1, Execution::External, NOW).await;
        let (_, _stop) = server_that_sweeps(&site, Duration::from_secs(3_600)).await;
        sleep(Duration::from_secs(3_580)).await;
        lose(&site, true);
        sleep(Duration::from_secs(10)).await;
        lose(&site, false);
        sleep(Duration::from_secs(280)).await;
        assert_eq!(site.status(hung).await, Status::Running);
        sleep(Duration::from_secs(30)).await;
        assert_eq!(site.status(hung).await, Status::Failed);
    }
}

#[tokio::test]
async fn a_server_whose_clock_is_not_the_stores_judges_nothing_and_says_so() {
    for by_ms in [YEAR_MS, -YEAR_MS] {
        let (site, clock) = (Site::new(), Arc::new(ManualClock::new(NOW)));
        let job = site.start(1, Execution::External, NOW).await;
        let past = site.start(2, Execution::External, NOW).await;
        site.inner.transact(past, COMPLETE, context(NOW)).await.unwrap();
        *site.clock.lock().unwrap() = Some(NOW.plus(Duration::from_secs(2)));
        let (sweeper, timekeeper) = sweeper(&site, Arc::clone(&clock) as Arc<dyn Clock>, EVERY).await;
        timekeeper.look().await.unwrap();
        assert!(site.leads() && timekeeper.trouble().is_none(), "seconds are no matter");

        clock.set(Timestamp(NOW.0 + by_ms));
        assert!(timekeeper.trouble().is_some(), "it is told before anybody has looked");
        assert!(matches!(sweeper.sweep().await, Err(StoreError::Unavailable(_))));
        assert!(!site.leads());
        assert_eq!(sweeper.prune().await, Ok(0), "history is as old as it was");
        let told = timekeeper.trouble().unwrap();
        // The two seconds make one of them a day short of the year.
        let words = if by_ms > 0 { "364 days ahead" } else { "365 days back" };
        let what = format!("This server's clock differs from the database's, by which it is {words}");
        assert_eq!((told.critical, told.what), (true, what));
        let unmoved = site.inner.get(job).await.unwrap().unwrap();
        assert_eq!((unmoved.status, unmoved.created_at, unmoved.late_writes), (Status::Running, NOW, 0));
        let log = site.inner.events(job, 0, 10).await.unwrap();
        assert_eq!(log.len(), 1, "nor are jobs moved with a clock by which nobody else judges them");

        clock.set(NOW);
        timekeeper.look().await.unwrap();
        assert!(site.leads() && timekeeper.trouble().is_none(), "it was put right");
        assert_eq!(sweeper.sweep().await.unwrap(), []);
    }
}

/// A server on the database's own machine: both clocks are one, and jobs move with it as on a single server.
#[tokio::test]
async fn a_clock_that_is_set_together_with_the_stores_takes_the_jobs_with_it() {
    let (site, clock) = (Site::new(), Arc::new(ManualClock::new(NOW)));
    let job = site.start(1, Execution::External, NOW).await;
    *site.clock.lock().unwrap() = Some(NOW);
    let (sweeper, timekeeper) = sweeper(&site, Arc::clone(&clock) as Arc<dyn Clock>, EVERY).await;
    let later = Timestamp(NOW.0 + YEAR_MS);
    clock.set(later);
    *site.clock.lock().unwrap() = Some(later);
    assert_eq!(sweeper.sweep().await.unwrap(), []);
    assert!(site.leads() && timekeeper.trouble().is_some_and(|trouble| trouble.what.contains("was set")));
    assert_eq!(site.inner.get(job).await.unwrap().unwrap().start_time(), later);
}
