//! The promises of the logger, against a store that counts and a store that breaks. Time is tokio's, and
//! stands still unless something waits for it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::gathered::{MAX_COMPLAINTS, MAX_WAITING};
use super::*;
use crate::library::Jobs;
use crate::model::{
    Actor, Command, Context, Counts, Cursor, Event, Job, JobFilter, NewJob, OutcomeCounts, PageSize, Reason,
    Refusal, Timestamp,
};
use crate::store::{
    ChangeSink, CreateRules, Created, FeatureCounts, ImportedJob, IntegrityReport, JobPage, LogFrom, LogPage,
    LogQuery, MemoryStore, Pruned, StoreProgress,
};

/// A store that counts its writes, and refuses them while it is told to.
#[derive(Default)]
struct Watched {
    inner: MemoryStore,
    writes: AtomicUsize,
    away: AtomicBool,
    /// So many answers are lost, though what they answer was done.
    lose: AtomicUsize,
}

#[async_trait]
impl JobStore for Watched {
    async fn create(&self, new: NewJob, rules: CreateRules, context: Context) -> Result<Created, StoreError> {
        self.inner.create(new, rules, context).await
    }
    async fn transact(&self, id: JobId, command: Command, context: Context) -> Result<Arc<Job>, StoreError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("the disk is full".to_owned()));
        }
        self.writes.fetch_add(1, Ordering::SeqCst);
        let done = self.inner.transact(id, command, context).await;
        let fewer = |left: usize| left.checked_sub(1);
        if done.is_ok() && self.lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer).is_ok() {
            return Err(StoreError::Unavailable("the connection was cut".to_owned()));
        }
        done
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
        self.inner.list(filter, after, size).await
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
        self.inner.ended_on(day).await
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
    fn last_failure(&self) -> Option<String> {
        None
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

struct Fixture {
    store: Arc<Watched>,
    jobs: Jobs,
    id: JobId,
}

async fn fixture() -> Fixture {
    let store = Arc::new(Watched::default());
    let jobs = Jobs::new(Arc::clone(&store) as Arc<dyn JobStore>);
    let id = jobs.create_job("import", "anna@example.org").await.unwrap();
    Fixture { store, jobs, id }
}

impl Fixture {
    fn logger(&self) -> JobLogger {
        JobLogger::new(self.jobs.store(), self.id)
    }

    async fn job(&self) -> Arc<Job> {
        self.jobs.get_job(self.id).await.unwrap().unwrap()
    }

    async fn lines(&self) -> Vec<String> {
        let (mut lines, mut after) = (Vec::new(), 0);
        loop {
            let query = LogQuery { from: LogFrom::After(after), limit: 100_000, ..LogQuery::default() };
            let page = self.store.log(self.id, query).await.unwrap();
            lines.extend(page.lines);
            match lines.last().filter(|_| page.more) {
                Some(last) => after = last.seq,
                None => break,
            }
        }
        lines.into_iter().filter(|line| line.kind.is_message()).map(|line| line.text).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_million_updates_make_a_handful_of_writes_and_the_last_value_arrives() {
    let f = fixture().await;
    let logger = f.logger();
    logger.initialize_pipeline(Pipeline::new().operation("load").operation("save"));
    for n in 1..=1_000_000 {
        logger.update_sub_operation("load", f64::from(n) / 1_000_001.0);
        if n % 100_000 == 0 {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
    logger.flush().await.unwrap();
    let writes = f.store.writes.load(Ordering::SeqCst);
    assert!(writes <= 6, "{writes} writes in 0.3 s");
    let expected = 1_000_000.0 / 1_000_001.0;
    assert_eq!(f.job().await.steps.steps()[0].progress, expected);
    logger.complete().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_was_done_though_the_answer_was_lost_is_not_done_twice_and_is_no_failure() {
    for end in 0..3 {
        let f = fixture().await;
        let logger = f.logger();
        f.store.lose.store(2, Ordering::SeqCst);
        logger.info("one");
        tokio::time::sleep(Duration::from_secs(2)).await;
        logger.info("two");
        logger.flush().await.unwrap();
        logger.info("three");
        if end == 2 {
            let context = Context { actor: Actor::user("anna"), at: Timestamp(1) };
            let abort = Command::Abort { reason: Reason::new("stop").unwrap() };
            f.store.transact(f.id, abort, context).await.unwrap();
        }
        f.store.lose.store(2, Ordering::SeqCst);
        let ended = match end {
            0 => logger.complete().await,
            1 => logger.fail("broke").await,
            _ => logger.aborted().await,
        };
        assert_eq!(ended, Ok(()), "{end}");
        assert_eq!(f.lines().await[..3], ["one", "two", "three"], "{end}");
        assert_eq!(f.lines().await.len(), if end == 1 { 4 } else { 3 });
    }
}

#[tokio::test(start_paused = true)]
async fn several_loggers_of_one_job_lose_no_line_to_each_other() {
    let f = fixture().await;
    let loggers = [f.logger(), f.logger(), f.logger()];
    for round in 0..20 {
        for (number, logger) in loggers.iter().enumerate() {
            logger.info(format!("{number}-{round}"));
            if (round + number) % 3 == 0 {
                logger.flush().await.unwrap();
            }
        }
    }
    for logger in &loggers {
        logger.flush().await.unwrap();
    }
    let lines: std::collections::BTreeSet<String> = f.lines().await.into_iter().collect();
    assert_eq!(lines.len(), 60);
    let [first, ..] = loggers;
    first.complete().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn messages_arrive_all_in_order_and_before_the_end() {
    let f = fixture().await;
    let logger = f.logger();
    for n in 0..10_000 {
        logger.info(format!("line {n}"));
    }
    logger.fail("gave up").await.unwrap();
    let lines = f.lines().await;
    assert_eq!(lines.len(), 10_001);
    assert!(lines[..10_000].iter().enumerate().all(|(n, line)| *line == format!("line {n}")));
    assert_eq!(lines[10_000], "gave up");
    assert_eq!(f.job().await.status, Status::Failed);
}

#[tokio::test(start_paused = true)]
async fn terminal_escapes_are_no_part_of_what_a_logger_says() {
    let f = fixture().await;
    let logger = f.logger();
    logger.initialize_pipeline(Pipeline::new().operation("\u{1b}[1mload\u{1b}[0m"));
    logger.update_sub_operation("\u{1b}[1mload\u{1b}[0m", 0.5);
    logger.say_in("load", Level::Warning, "\u{1b}[31mre\u{9b}0md\u{1b}");
    logger.info("\u{1b}[0m");
    logger.fail("\u{1b}]8;;http://x/\u{7}gave up\u{1b}]8;;\u{7}").await.unwrap();
    assert_eq!(f.lines().await, ["red", " ", "gave up"]);
    let job = f.job().await;
    assert_eq!((job.error.as_deref(), job.steps.path(0).as_str()), (Some("gave up"), "load"));
    assert_eq!(job.steps.steps()[0].progress, 0.5);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_loses_no_message_and_keeps_only_the_last_number() {
    let f = fixture().await;
    let logger = f.logger();
    logger.initialize_pipeline(Pipeline::new().operation("load"));
    logger.flush().await.unwrap();
    f.store.away.store(true, Ordering::SeqCst);
    for n in 0..500 {
        logger.info(format!("line {n}"));
        logger.update_sub_operation("load", f64::from(n) / 1_000.0);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let back = Arc::clone(&f.store);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(12)).await;
        back.away.store(false, Ordering::SeqCst);
    });
    logger.complete().await.unwrap();
    assert_eq!(f.lines().await.len(), 500);
    let job = f.job().await;
    assert_eq!((job.status, job.steps.steps()[0].progress), (Status::Completed, 0.499));
}

#[tokio::test(start_paused = true)]
async fn an_end_that_cannot_be_stored_is_an_error_and_not_a_wait_without_end() {
    let f = fixture().await;
    f.store.away.store(true, Ordering::SeqCst);
    let ended = f.logger().complete().await;
    assert!(matches!(ended, Err(StoreError::Unavailable(_))));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_logger_fails_its_job() {
    let f = fixture().await;
    let logger = f.logger();
    let clone = logger.clone();
    logger.info("before");
    drop(logger);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(f.job().await.status, Status::Running, "a clone still reports");
    drop(clone);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let job = f.job().await;
    assert_eq!((job.status, job.error.as_deref()), (Status::Failed, Some(WENT_AWAY)));
    assert_eq!(f.lines().await, ["before", WENT_AWAY]);
}

#[tokio::test(start_paused = true)]
async fn an_abort_request_and_a_force_fail_cancel_the_work_at_once() {
    for (force, command) in [
        (false, Command::Abort { reason: Reason::new("stop").unwrap() }),
        (true, Command::ForceFail { reason: Reason::new("hung").unwrap() }),
    ] {
        let f = fixture().await;
        let logger = f.logger();
        logger.flush().await.unwrap();
        assert_eq!(logger.check_cancelled(), Ok(()));
        let context = Context { actor: Actor::user("anna"), at: Timestamp(1) };
        f.store.transact(f.id, command, context).await.unwrap();
        assert_eq!(logger.check_cancelled(), Err(Cancelled), "before anything was sent");
        let acknowledged = logger.aborted().await;
        assert_eq!(acknowledged.is_err(), force);
        let expected = if force { Status::Failed } else { Status::Aborted };
        assert_eq!(f.job().await.status, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn mistakes_are_said_once_in_the_log_and_stop_nothing() {
    let f = fixture().await;
    let logger = f.logger();
    logger.initialize_pipeline(Pipeline::new().operation("load").operation("load"));
    logger.initialize_pipeline(Pipeline::new().operation("load"));
    for _ in 0..1_000 {
        logger.update_sub_operation("save", 0.5);
        logger.update_sub_operation("load", f64::NAN);
        logger.progress(0.5);
    }
    logger.info("");
    logger.complete().await.unwrap();
    assert_eq!(f.lines().await.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_wrapped_loop_moves_its_step_and_its_parents() {
    let f = fixture().await;
    let logger = f.logger();
    logger.initialize_pipeline(Pipeline::new().operation("load"));
    logger.define_sub_operations("load", ["rows", "index"]);
    let mut seen = Vec::new();
    for item in logger.progress_over("load/rows", 0..4) {
        logger.flush().await.unwrap();
        seen.push((item, f.job().await.progress));
    }
    assert_eq!(seen, [(0, 0.0), (1, 0.125), (2, 0.25), (3, 0.375)]);
    logger.flush().await.unwrap();
    assert_eq!(f.job().await.progress, 0.5);
    logger.complete().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_silent_run_is_still_heard_of() {
    let f = fixture().await;
    let logger = f.logger();
    logger.flush().await.unwrap();
    let before = f.store.writes.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(21)).await;
    let beats = f.store.writes.load(Ordering::SeqCst) - before;
    assert!((3..=5).contains(&beats), "{beats} heartbeats in 21 s");
    logger.complete().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_second_logger_knows_the_steps_of_the_first() {
    let f = fixture().await;
    let first = f.logger();
    first.initialize_pipeline(Pipeline::new().operation("load").operation("save"));
    first.flush().await.unwrap();
    let second = f.logger();
    second.flush().await.unwrap();
    second.update_sub_operation("save", 1.0);
    second.flush().await.unwrap();
    assert_eq!(f.job().await.progress, 0.5);
    first.complete().await.unwrap();
}

/// With time paused, a wait without end is a wait of an hour.
#[tokio::test(start_paused = true)]
async fn a_clone_of_a_logger_that_was_ended_is_told_so_and_waits_for_nothing() {
    let f = fixture().await;
    let logger = f.logger();
    let (flushing, ending) = (logger.clone(), logger.clone());
    logger.complete().await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(3_600), async {
        flushing.info("too late");
        (flushing.flush().await, ending.complete().await)
    });
    let (flushed, ended) = told.await.expect("nobody waits");
    assert!(flushed.is_err() && ended.is_err());
    assert!(f.lines().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_who_waits_while_another_ends_the_logger_is_answered() {
    let f = fixture().await;
    let logger = f.logger();
    let (flushing, ending) = (logger.clone(), logger.clone());
    let told = tokio::time::timeout(Duration::from_secs(3_600), async {
        tokio::join!(logger.complete(), flushing.flush(), ending.fail("no"))
    });
    let (first, _, second) = told.await.expect("nobody waits");
    assert!(first.is_ok() && second.is_err());
    assert_eq!(f.job().await.status, Status::Completed);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_store_that_is_away_is_bounded_and_what_found_no_room_is_counted() {
    let f = fixture().await;
    let logger = f.logger();
    f.store.away.store(true, Ordering::SeqCst);
    let line = "a long line ".repeat(1_000);
    for _ in 0..8_000 {
        logger.info(line.as_str());
    }
    logger.error("no space left");
    tokio::time::sleep(Duration::from_secs(5)).await;
    f.store.away.store(false, Ordering::SeqCst);
    logger.complete().await.unwrap();
    let mut lines = f.lines().await;
    assert_eq!(lines.remove(lines.len() - 2), "no space left", "there is room for what is grave");
    let kept = lines.len() - 1;
    assert!((MAX_WAITING - 1_000_000..MAX_WAITING).contains(&(kept * line.len())), "{kept}");
    let said = format!(
        "{} messages were left out here: they were said faster than they could be stored",
        8_000 - kept
    );
    assert_eq!(lines[kept], said);
}

#[tokio::test(start_paused = true)]
async fn the_same_mistake_in_many_words_is_said_a_hundred_times_at_most() {
    let f = fixture().await;
    let logger = f.logger();
    logger.initialize_pipeline(Pipeline::new().operation("load"));
    for n in 0..20_000 {
        logger.update_sub_operation(&format!("row {n}"), 0.5);
    }
    logger.complete().await.unwrap();
    assert_eq!(f.lines().await.len(), MAX_COMPLAINTS);
}

#[tokio::test(start_paused = true)]
async fn what_is_said_fast_is_stored_as_fast() {
    let f = fixture().await;
    let logger = f.logger();
    for n in 0..20_000 {
        logger.info(format!("line {n}"));
    }
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(f.lines().await.len(), 20_000);
}

#[tokio::test(start_paused = true)]
async fn work_that_made_what_cannot_be_kept_fails_and_says_why() {
    let f = fixture().await;
    let deep = (0..100).fold(serde_json::json!(1), |value, _| serde_json::json!([value]));
    let ended = f.logger().complete_with(deep).await;
    assert!(matches!(ended, Err(StoreError::Refused(Refusal::Invalid(_)))));
    let job = f.job().await;
    assert_eq!(job.status, Status::Failed);
    assert_eq!(job.error.as_deref(), Some("output may be nested 64 deep at most."));
}
