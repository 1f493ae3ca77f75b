//! What every store promises, as one suite run against each of them.

mod accounts;
mod archive;
mod full_log;
mod lists;

use std::path::Path;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use tempfile::TempDir;
use uuid::Uuid;

use self::accounts::*;
use self::archive::*;
use self::full_log::*;
use self::lists::*;
use super::postgres::cluster::Cluster;
use super::*;
use crate::model::{
    Actor, Author, Cause, Execution, Feature, Level, LineKind, MessageText, MoreTime, Outcome,
    ProgressSource, Reason, Report, ReportItem, Spec, Status, StepSpec, Stopped, Tag, Timeouts, Title,
};

/// A store, and the folder it lives in.
struct Fixture<S> {
    store: Arc<S>,
    folder: TempDir,
}

trait Engine: JobStore + Sized {
    /// Whether a store outlives its process.
    const DURABLE: bool;
    /// The store of a folder, made where there is none.
    async fn make(folder: &Path) -> Self;
    /// The accounts in it.
    fn accounts(store: &Arc<Self>) -> Arc<dyn AccountStore>;
}

impl Engine for MemoryStore {
    const DURABLE: bool = false;
    async fn make(_: &Path) -> Self {
        Self::new(1_000)
    }
    fn accounts(store: &Arc<Self>) -> Arc<dyn AccountStore> {
        Arc::clone(store) as Arc<dyn AccountStore>
    }
}

impl Engine for SqliteStore {
    const DURABLE: bool = true;
    async fn make(folder: &Path) -> Self {
        Self::open(&folder.join("jobs.db")).unwrap()
    }
    fn accounts(store: &Arc<Self>) -> Arc<dyn AccountStore> {
        Arc::clone(store) as Arc<dyn AccountStore>
    }
}

impl Engine for PostgresStore {
    const DURABLE: bool = true;
    async fn make(folder: &Path) -> Self {
        // The folder holds the name of its database.
        let (cluster, note) = (Cluster::shared(), folder.join("database"));
        let name = std::fs::read_to_string(&note).unwrap_or_else(|_| cluster.database());
        std::fs::write(note, &name).unwrap();
        let (address, node) = (cluster.address(&name), Some("test".to_owned()));
        Self::open(PostgresSettings { address, connections: 4, node }).await.unwrap()
    }
    fn accounts(store: &Arc<Self>) -> Arc<dyn AccountStore> {
        Arc::new(PostgresStore::accounts(store))
    }
}

async fn fixture<S: Engine>() -> Fixture<S> {
    let folder = tempfile::tempdir().unwrap();
    Fixture { store: Arc::new(S::make(folder.path()).await), folder }
}

impl<S: Engine> Fixture<S> {
    /// The store as the next process finds it. A memory store is simply the same one.
    async fn reopen(self) -> Self {
        if !S::DURABLE {
            return self;
        }
        self.store.close().await;
        drop(self.store);
        Self { store: Arc::new(S::make(self.folder.path()).await), folder: self.folder }
    }
}

fn at(ms: i64) -> Context {
    Context { actor: Actor::user("anna"), at: Timestamp(ms) }
}

fn job(number: u128, feature: &str) -> NewJob {
    NewJob {
        id: JobId(Uuid::from_u128(number << 64)),
        spec: Spec::new(
            Feature::new(feature).unwrap(),
            Author::new("anna@example.org").unwrap(),
            "user:anna",
        ),
        enqueue: false,
        run_at: None,
    }
}

async fn start(store: &(impl JobStore + ?Sized), number: u128, feature: &str, ms: i64) -> Arc<Job> {
    store.create(job(number, feature), CreateRules::default(), at(ms)).await.unwrap().job
}

fn said(level: Level, text: &str) -> ReportItem {
    ReportItem::Message { level, text: MessageText::new(text).unwrap(), step: None, key: None }
}

fn report(items: Vec<ReportItem>) -> Command {
    Command::Report(Report { epoch: None, items })
}

const COMPLETE: Command = Command::Complete { epoch: None, output: None };

fn fail(text: &str) -> Command {
    Command::Fail { epoch: None, error: Some(text.to_owned()), retryable: false }
}

fn force_fail() -> Command {
    Command::ForceFail { reason: Reason::new("hung").unwrap() }
}

async fn ids(store: &impl JobStore, filter: JobFilter) -> Vec<u128> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(filter.clone(), after, PageSize::new(Some(2)).unwrap()).await.unwrap();
        found.extend(page.jobs.iter().map(|job| job.id.0.as_u128() >> 64));
        after = page.next;
        if after.is_none() {
            return found;
        }
        assert!(page.jobs.len() == 2, "only the last page may be short");
    }
}

async fn log(store: &impl JobStore, id: JobId, filter: LogFilter) -> Vec<String> {
    let query = LogQuery { filter, from: LogFrom::After(0), limit: 1_000, count: true };
    let page = store.log(id, query).await.unwrap();
    assert_eq!(page.total, Some(page.lines.len() as u64), "the count is exact");
    page.lines.into_iter().map(|line| line.text).collect()
}

/// Collects what a store publishes.
#[derive(Default)]
struct Heard(Mutex<Vec<Changes>>);

impl ChangeSink for Heard {
    fn publish(&self, changes: &Changes) {
        self.0.lock().unwrap().push(changes.clone());
    }
}

macro_rules! conformance {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::fixture::<super::MemoryStore>().await).await;
            })*
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::fixture::<super::SqliteStore>().await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::fixture::<super::PostgresStore>().await).await;
            })*
        }
    };
}

conformance!(
    a_job_is_read_back_as_it_was_written,
    a_refused_command_changes_nothing,
    an_unknown_job_is_refused_by_name,
    the_51st_job_is_refused_and_none_of_the_running_is_hurt,
    one_per_feature_counts_running_and_aborting,
    an_idempotency_key_makes_one_job,
    an_owner_has_its_share_of_the_places_and_no_more,
    a_run_that_was_given_up_and_comes_back_had_not_ended,
    what_is_believed_of_the_clock_is_kept,
    a_page_of_a_log_is_bounded_as_it_is_sent,
    pages_meet_without_gap_or_repeat,
    a_job_that_ends_between_two_pages_comes_once,
    a_list_goes_on_behind_a_job_that_is_gone,
    whoever_reads_a_list_while_jobs_start_and_end_gets_each_once,
    filters_find_what_they_name,
    a_search_takes_every_character_for_itself,
    a_label_finds_its_jobs_whatever_becomes_of_them,
    a_log_is_filtered_searched_and_paged,
    logs_match_the_reference,
    counters_are_exact,
    late_writes_are_counted_on_an_ended_job,
    changes_are_published_in_order_before_the_answer,
    racing_finishers_leave_one_terminal_status,
    concurrent_writers_lose_nothing,
    old_history_goes_oldest_first,
    a_restart_keeps_everything,
    replaying_the_log_gives_the_stored_job,
    a_closed_store_refuses_and_says_why,
    accounts_are_kept,
    a_session_stands_with_the_password_it_was_made_under,
    no_session_outlives_a_password_that_is_changed_meanwhile,
    an_account_is_its_id_and_not_its_name,
    one_link_ends_all_others_and_works_once,
    what_a_clock_made_that_was_far_ahead_does_not_last_as_long_as_it_was_ahead,
    changes_of_one_account_do_not_undo_each_other,
    there_is_an_admin_whoever_removes_whom,
    who_was_shut_out_meanwhile_changes_nothing,
    devices_are_known_again_and_are_so_many,
    hostile_text_is_kept_to_the_byte,
    what_is_exported_and_imported_is_the_same_to_the_byte,
    an_import_is_all_or_nothing_and_overwrites_nothing,
    a_full_log_that_goes_on_is_exported_as_it_was_at_one_moment,
    jobs_are_visited_in_the_order_of_their_ids,
    what_is_pinned_outlives_every_limit,
    more_time_is_kept,
    a_full_log_keeps_its_beginning_and_its_end_and_says_what_it_left_out,
    whoever_follows_a_full_log_meets_the_gap_and_the_newest_lines,
    the_newest_messages_of_many_jobs_come_at_once,
);

async fn a_job_is_read_back_as_it_was_written<S: Engine>(f: Fixture<S>) {
    let mut new = job(1, "argument-condensation");
    new.spec.title = Some(Title::new("Condense").unwrap());
    new.spec.tags = vec![Tag::new("llm").unwrap()];
    new.spec.input = Some(serde_json::json!({"election": "muni-2027", "n": 18_446_744_073_709_551_615_u64}));
    new.spec.timeouts = Timeouts { run: None, activity: Some(Duration::from_secs(7)) };
    let made = f.store.create(new, CreateRules::default(), at(5)).await.unwrap().job;
    let steps =
        vec![StepSpec::new("load").weight(0.5).title("Load"), StepSpec::new("q").steps([StepSpec::new("a")])];
    let moved = report(vec![
        ReportItem::Steps(steps),
        ReportItem::Progress { step: Some("load".to_owned()), value: 1.0 },
        ReportItem::Progress { step: Some("q/a".to_owned()), value: 0.25 },
        said(Level::Warning, "careful"),
    ]);
    let written = f.store.transact(made.id, moved, at(9)).await.unwrap();
    assert_eq!(f.store.get(made.id).await.unwrap(), Some(Arc::clone(&written)));
    let f = f.reopen().await;
    assert_eq!(f.store.get(made.id).await.unwrap().as_deref(), Some(&*written));
    let abort = Command::Abort { reason: Reason::new("enough").unwrap() };
    f.store.transact(made.id, abort, at(10)).await.unwrap();
    let output = Some(serde_json::json!([1, null, "x"]));
    let ended =
        f.store.transact(made.id, Command::Complete { epoch: Some(1), output }, at(11)).await.unwrap();
    assert_eq!(f.store.get(made.id).await.unwrap().as_deref(), Some(&*ended));
    let f = f.reopen().await;
    assert_eq!(f.store.get(made.id).await.unwrap().as_deref(), Some(&*ended));
}

async fn a_refused_command_changes_nothing<S: Engine>(f: Fixture<S>) {
    let made = start(&*f.store, 1, "import", 0).await;
    let before = f.store.get(made.id).await.unwrap();
    for command in [
        report(vec![ReportItem::Progress { step: None, value: f64::NAN }]),
        report(vec![
            said(Level::Info, "one"),
            ReportItem::Progress { step: Some("nope".to_owned()), value: 0.5 },
        ]),
        Command::Complete { epoch: Some(2), output: None },
        Command::AcknowledgeAbort { epoch: None, how: Stopped::default() },
        Command::Claim,
    ] {
        let refused = f.store.transact(made.id, command.clone(), at(1)).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{command:?}");
    }
    let f = f.reopen().await;
    assert_eq!(f.store.get(made.id).await.unwrap(), before);
    assert_eq!(log(&*f.store, made.id, LogFilter::default()).await, ["Started by anna"]);
}

async fn an_unknown_job_is_refused_by_name<S: Engine>(f: Fixture<S>) {
    let id = JobId(Uuid::from_u128(404));
    let not_found = StoreError::Refused(Refusal::NotFound { id });
    assert_eq!(f.store.transact(id, COMPLETE, at(0)).await, Err(not_found.clone()));
    assert_eq!(f.store.get(id).await, Ok(None));
    assert_eq!(f.store.log(id, LogQuery::default()).await, Err(not_found));
}

/// In the original: creation never refused; a later cleanup killed the oldest running job.
async fn the_51st_job_is_refused_and_none_of_the_running_is_hurt<S: Engine>(f: Fixture<S>) {
    let rules = CreateRules { max_active: Some(50), ..CreateRules::default() };
    for number in 1..=50 {
        f.store.create(job(number, "import"), rules.clone(), at(0)).await.unwrap();
    }
    let refused = f.store.create(job(51, "import"), rules.clone(), at(0)).await;
    assert_eq!(refused, Err(StoreError::Refused(Refusal::ActiveLimit { limit: 50 })));
    assert_eq!(f.store.counts().active(), 50);
    f.store.transact(JobId(Uuid::from_u128(7 << 64)), COMPLETE, at(1)).await.unwrap();
    let mut waiting = job(52, "import");
    waiting.enqueue = true;
    f.store.create(waiting, rules.clone(), at(1)).await.unwrap();
    f.store.create(job(53, "import"), rules, at(1)).await.unwrap();
    assert_eq!((f.store.counts().active(), f.store.counts().waiting()), (50, 1));
}

/// §7, 17 and 31: two runs of a feature at once, and a second one while the first was aborting.
async fn one_per_feature_counts_running_and_aborting<S: Engine>(f: Fixture<S>) {
    let rules = CreateRules { one_per_feature: true, ..CreateRules::default() };
    let first = f.store.create(job(1, "import"), rules.clone(), at(0)).await.unwrap().job;
    let duplicate = StoreError::Refused(Refusal::Duplicate { feature: "import".to_owned(), id: first.id });
    assert_eq!(f.store.create(job(2, "import"), rules.clone(), at(0)).await, Err(duplicate.clone()));
    f.store.transact(first.id, Command::Abort { reason: Reason::new("r").unwrap() }, at(1)).await.unwrap();
    assert_eq!(f.store.create(job(2, "import"), rules.clone(), at(1)).await, Err(duplicate));
    assert!(f.store.create(job(3, "export"), rules.clone(), at(1)).await.is_ok());
    f.store.transact(first.id, COMPLETE, at(2)).await.unwrap();
    assert!(f.store.create(job(4, "import"), rules, at(2)).await.is_ok());
}

async fn a_run_that_was_given_up_and_comes_back_had_not_ended<S: Engine>(f: Fixture<S>) {
    let vouched = |number: u128| {
        let mut new = job(number, "import");
        new.spec.heartbeat_every = Some(5);
        new.spec.grace = Some(60);
        new.spec.warn_after = Timeouts::REQUIRED;
        new.spec.began_at = Some(Timestamp(2_000));
        new
    };
    let made = f.store.create(vouched(1), CreateRules::default(), at(9_000)).await.unwrap().job;
    let (id, hour) = (made.id, 3_600_000);
    let said = |text: &str, key| ReportItem::Message {
        level: Level::Info,
        text: MessageText::new(text).unwrap(),
        step: None,
        key: Some(key),
    };
    let guess = || {
        vec![
            ReportItem::At(Timestamp(3_000)),
            said("one", 1),
            ReportItem::From(ProgressSource::Guessed),
            ReportItem::Progress { step: None, value: 0.4 },
        ]
    };
    let report = |items| Command::Report(Report { epoch: Some(1), items });
    f.store.transact(id, report(guess()), at(9_500)).await.unwrap();
    let give_up = Command::GiveUp { after: Duration::from_secs(900) };
    let lost = f.store.transact(id, give_up, at(hour)).await.unwrap();
    assert_eq!((lost.status, lost.cause(), lost.epoch), (Status::Failed, Some(Cause::Lost), 2));
    assert_eq!(f.store.ended_on(0).await.unwrap().failed, 1);
    let f = f.reopen().await;
    assert_eq!(f.store.get(id).await.unwrap().unwrap(), lost, "every field of it is kept");
    f.store.transact(id, report(guess()), at(hour + 1)).await.unwrap();
    let f = f.reopen().await;
    let back = f.store.get(id).await.unwrap().unwrap();
    assert_eq!((back.status, back.epoch, back.ended_at, back.cause()), (Status::Running, 1, None, None));
    assert_eq!((back.progress_source, back.spec.began_at), (ProgressSource::Guessed, Some(Timestamp(2_000))));
    assert_eq!(*back.spec, *made.spec);
    assert_eq!((f.store.counts().active(), f.store.counts().past()), (1, 0));
    assert_eq!(f.store.ended_on(0).await.unwrap(), OutcomeCounts::default());
    assert_eq!(f.store.active().await.unwrap().len(), 1);
    let log = log(&*f.store, id, LogFilter::default()).await;
    assert_eq!(log.iter().filter(|line| *line == "one").count(), 1, "{log:?}");
    // Lost and back again, with its last word alone.
    f.store.transact(id, Command::GiveUp { after: Duration::ZERO }, at(2 * hour)).await.unwrap();
    let end = Command::Complete { epoch: Some(1), output: None };
    f.store.transact(id, end, at(3 * hour)).await.unwrap();
    assert_eq!(f.store.ended_on(0).await.unwrap(), OutcomeCounts { completed: 1, failed: 0, aborted: 0 });
    let f = f.reopen().await;
    let report = f.store.check(Box::new(|_, _| true)).await.unwrap();
    assert_eq!((report.jobs, report.problems), (1, Vec::<String>::new()));
}

async fn an_owner_has_its_share_of_the_places_and_no_more<S: Engine>(f: Fixture<S>) {
    let rules = || CreateRules { max_active: Some(5), max_active_each: Some(2), ..CreateRules::default() };
    let of = |number: u128, owner: &str| {
        let mut new = job(number, "import");
        new.spec.owner = owner.to_owned();
        new
    };
    let full = |owner: &str| {
        Err(StoreError::Refused(Refusal::ActiveShare { owner: owner.to_owned(), share: 2, limit: 5 }))
    };
    let starts = (1..=6).map(|number| f.store.create(of(number, "token:a"), rules(), at(0)));
    let answers = futures::future::join_all(starts).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 2);
    assert!(answers.iter().filter(|answer| answer.is_err()).all(|answer| *answer == full("token:a")));
    f.store.create(of(7, "token:b"), rules(), at(1)).await.unwrap();
    let mine = answers.into_iter().find_map(Result::ok).unwrap().job.id;
    f.store.transact(mine, COMPLETE, at(2)).await.unwrap();
    let f = f.reopen().await;
    f.store.create(of(8, "token:a"), rules(), at(3)).await.unwrap();
    assert_eq!(f.store.create(of(9, "token:a"), rules(), at(3)).await, full("token:a"));
    let without = CreateRules { max_active: Some(5), ..CreateRules::default() };
    f.store.create(of(10, "token:a"), without.clone(), at(3)).await.unwrap();
    f.store.create(of(11, "token:c"), rules(), at(3)).await.unwrap();
    let refused = f.store.create(of(12, "token:d"), rules(), at(3)).await;
    assert_eq!(refused, Err(StoreError::Refused(Refusal::ActiveLimit { limit: 5 })));
}

async fn an_idempotency_key_makes_one_job<S: Engine>(f: Fixture<S>) {
    let rules = |fingerprint: &str| CreateRules {
        idempotency: Some(IdempotencyKey { key: "anna:k1".to_owned(), fingerprint: fingerprint.to_owned() }),
        ..CreateRules::default()
    };
    let first = f.store.create(job(1, "import"), rules("a"), at(0)).await.unwrap();
    assert!(!first.replayed);
    let again = f.store.create(job(2, "import"), rules("a"), at(1)).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.job.id, first.job.id);
    let other = f.store.create(job(3, "import"), rules("b"), at(1)).await;
    assert_eq!(other, Err(StoreError::Refused(Refusal::KeyReused)));
    let f = f.reopen().await;
    assert!(f.store.create(job(4, "import"), rules("a"), at(2)).await.unwrap().replayed);
    // However much later, by a clock that may be wrong: until it is told that a key is old.
    let year_after = at(365 * 86_400_000);
    assert!(f.store.create(job(5, "import"), rules("a"), year_after).await.unwrap().replayed);
    assert_eq!(f.store.forget_keys(Timestamp(0)).await, Ok(0));
    assert!(f.store.create(job(6, "import"), rules("a"), at(3)).await.unwrap().replayed);
    assert_eq!(f.store.forget_keys(Timestamp(1)).await, Ok(1));
    let kept = f.store.create(job(7, "import"), rules("b"), at(4)).await.unwrap();
    assert!(!kept.replayed);
    // What history removed leaves its key to the next of the same request.
    f.store.transact(kept.job.id, COMPLETE, at(5)).await.unwrap();
    f.store.prune(0, None, 500).await.unwrap();
    assert_eq!(f.store.get(kept.job.id).await, Ok(None));
    let other = f.store.create(job(8, "import"), rules("a"), at(6)).await;
    assert_eq!(other, Err(StoreError::Refused(Refusal::KeyReused)));
    let next = f.store.create(job(8, "import"), rules("b"), at(6)).await.unwrap();
    assert!(!next.replayed && next.job.id != kept.job.id);
    assert!(f.store.create(job(9, "import"), rules("b"), at(7)).await.unwrap().replayed);
}

async fn what_is_believed_of_the_clock_is_kept<S: Engine>(f: Fixture<S>) {
    assert_eq!((f.store.clock_mark().await, f.store.newest_moment().await), (Ok(None), Ok(None)));
    start(&*f.store, 1, "import", 5).await;
    f.store.transact(start(&*f.store, 2, "import", 6).await.id, COMPLETE, at(20)).await.unwrap();
    start(&*f.store, 3, "import", 7).await;
    assert_eq!(f.store.newest_moment().await, Ok(Some(Timestamp(20))));
    for (believed, doubted) in [(20, false), (20, true)] {
        f.store.mark_clock(ClockMark { believed: Timestamp(believed), doubted }).await.unwrap();
    }
    start(&*f.store, 4, "import", 30).await;
    let f = f.reopen().await;
    let mark = ClockMark { believed: Timestamp(20), doubted: true };
    assert_eq!(f.store.clock_mark().await, Ok(Some(mark)));
    assert_eq!(f.store.newest_moment().await, Ok(Some(Timestamp(30))));
}

/// A control character is six bytes of JSON.
async fn a_page_of_a_log_is_bounded_as_it_is_sent<S: Engine>(f: Fixture<S>) {
    let id = start(&*f.store, 1, "import", 1).await.id;
    let levels = [Level::Warning, Level::Error, Level::Info];
    for (number, level) in (0..60).zip(levels.into_iter().cycle()) {
        let text = format!("{number}{}", "\u{1}".repeat(60_000));
        f.store.transact(id, report(vec![said(level, &text)]), at(2)).await.unwrap();
    }
    let bounded = |lines: &[LogLine]| {
        let sent: usize = lines.iter().map(|line| sent_bytes(&line.text)).sum();
        assert!(sent < LOG_PAGE_BYTES + 400_000, "{sent} bytes");
    };
    let graves = vec![LineKind::Warning, LineKind::Error];
    for (kinds, expected) in [(vec![], 60), (graves, 40), (vec![LineKind::Error], 20)] {
        let filter = LogFilter { kinds, ..LogFilter::default() };
        let page = async |from| {
            let query = LogQuery { filter: filter.clone(), from, limit: 1_000, count: true };
            let page = f.store.log(id, query).await.unwrap();
            bounded(&page.lines);
            page
        };
        let (mut forwards, mut from) = (Vec::new(), 0);
        loop {
            let page = page(LogFrom::After(from)).await;
            forwards.extend(page.lines.iter().map(|line| line.seq));
            from = *forwards.last().unwrap();
            if !page.more {
                break;
            }
        }
        let (mut backwards, mut from) = (Vec::new(), LogFrom::End);
        loop {
            let page = page(from).await;
            backwards.extend(page.lines.iter().rev().map(|line| line.seq));
            from = LogFrom::Before(*backwards.last().unwrap());
            if !page.more {
                break;
            }
        }
        backwards.reverse();
        assert_eq!(forwards, backwards);
        let texts = forwards.len() - usize::from(expected == 60);
        assert_eq!(texts, expected, "and the entry that says it was started");
    }
    let job = f.store.get(id).await.unwrap().unwrap();
    let mut newest = f.store.newest_messages(&[Arc::clone(&job)], 1_000).await.unwrap();
    fit_messages(&[job], &mut newest);
    bounded(&newest[0].concat());
    assert!(newest[0][2].len() > 15 && newest[0][0].is_empty(), "errors come first");
}

async fn pages_meet_without_gap_or_repeat<S: Engine>(f: Fixture<S>) {
    for number in 1..=9 {
        start(&*f.store, number, "import", number as i64).await;
    }
    // Three end at the same millisecond, and not in the order they began.
    for (number, ms) in [(8, 20), (2, 20), (5, 20), (1, 30)] {
        f.store.transact(JobId(Uuid::from_u128(number << 64)), COMPLETE, at(ms)).await.unwrap();
    }
    assert_eq!(ids(&*f.store, JobFilter::default()).await, [9, 7, 6, 4, 3, 1, 8, 5, 2]);
    assert_eq!(ids(&*f.store, JobFilter { only_open: true, ..JobFilter::default() }).await, [9, 7, 6, 4, 3]);
    assert_eq!(ids(&*f.store, JobFilter { only_past: true, ..JobFilter::default() }).await, [1, 8, 5, 2]);
}

async fn filters_find_what_they_name<S: Engine>(f: Fixture<S>) {
    let mut tagged = job(1, "argument-condensation");
    tagged.spec.tags = vec![Tag::new("llm").unwrap(), Tag::new("50%_off").unwrap()];
    tagged.spec.title = Some(Title::new("Condense: Municipal 100%").unwrap());
    f.store.create(tagged, CreateRules::default(), at(1)).await.unwrap();
    let mut marias = job(2, "import");
    marias.spec.author = Author::new("maria@example.org").unwrap();
    f.store.create(marias, CreateRules::default(), at(2)).await.unwrap();
    start(&*f.store, 3, "import", 3).await;
    f.store.transact(JobId(Uuid::from_u128(3 << 64)), fail("no disk_space left"), at(4)).await.unwrap();
    let some = |text: &str| Some(text.to_owned());
    let all = JobFilter::default();
    for (filter, expected) in [
        (JobFilter { feature: some("import"), ..all.clone() }, vec![2, 3]),
        (JobFilter { feature: some("impor"), ..all.clone() }, vec![]),
        (JobFilter { status: Some(Status::Failed), ..all.clone() }, vec![3]),
        (JobFilter { status: Some(Status::Running), ..all.clone() }, vec![2, 1]),
        (JobFilter { author: some("maria@example.org"), ..all.clone() }, vec![2]),
        (JobFilter { tag: some("llm"), ..all.clone() }, vec![1]),
        (JobFilter { tag: some("l%m"), ..all.clone() }, vec![]),
        (JobFilter { text: some("MUNICIPAL"), ..all.clone() }, vec![1]),
        (JobFilter { text: some("100%"), ..all.clone() }, vec![1]),
        (JobFilter { text: some("%"), ..all.clone() }, vec![1]),
        (JobFilter { text: some("disk_space"), ..all.clone() }, vec![3]),
        (JobFilter { text: some("disk-space"), ..all.clone() }, vec![]),
        (JobFilter { text: some("00000000-0000-0002"), ..all.clone() }, vec![2]),
        (JobFilter { text: some("maria"), feature: some("import"), ..all.clone() }, vec![2]),
    ] {
        assert_eq!(ids(&*f.store, filter.clone()).await, expected, "{filter:?}");
    }
}

async fn a_log_is_filtered_searched_and_paged<S: Engine>(f: Fixture<S>) {
    let id = start(&*f.store, 1, "import", 0).await.id;
    let in_step = |text: &str, step: &str| ReportItem::Message {
        level: Level::Info,
        text: MessageText::new(text).unwrap(),
        step: Some(step.to_owned()),
        key: None,
    };
    let items = vec![
        ReportItem::Steps(vec![
            StepSpec::new("load").steps([StepSpec::new("parse")]),
            StepSpec::new("loader"),
        ]),
        in_step("in load", "load"),
        in_step("in parse", "load/parse"),
        in_step("in loader", "loader"),
        said(Level::Error, "100% wrong"),
        said(Level::Warning, "Careful"),
    ];
    f.store.transact(id, report(items), at(1)).await.unwrap();
    let kinds = |kinds: &[LineKind]| LogFilter { kinds: kinds.to_vec(), ..LogFilter::default() };
    assert_eq!(
        log(&*f.store, id, kinds(&[LineKind::Error, LineKind::Warning])).await,
        ["100% wrong", "Careful"]
    );
    assert_eq!(log(&*f.store, id, kinds(&[LineKind::Info])).await, ["in load", "in parse", "in loader"]);
    let step = LogFilter { step: Some("load".to_owned()), ..LogFilter::default() };
    assert_eq!(log(&*f.store, id, step).await, ["in load", "in parse"]);
    for (text, expected) in [
        ("0%", vec!["100% wrong"]),
        ("CAREFUL", vec!["Careful"]),
        ("_", vec![]),
        ("in l", vec!["in load", "in loader"]),
    ] {
        let filter = LogFilter { text: Some(text.to_owned()), ..LogFilter::default() };
        assert_eq!(log(&*f.store, id, filter).await, expected, "{text}");
    }
    let page = |from| LogQuery { filter: LogFilter::default(), from, limit: 2, count: false };
    let seqs = |page: LogPage| (page.lines.iter().map(|line| line.seq).collect::<Vec<_>>(), page.more);
    assert_eq!(seqs(f.store.log(id, page(LogFrom::End)).await.unwrap()), (vec![6, 7], true));
    assert_eq!(seqs(f.store.log(id, page(LogFrom::Before(6))).await.unwrap()), (vec![4, 5], true));
    assert_eq!(seqs(f.store.log(id, page(LogFrom::Before(3))).await.unwrap()), (vec![1, 2], false));
    assert_eq!(seqs(f.store.log(id, page(LogFrom::After(5))).await.unwrap()), (vec![6, 7], false));
    assert_eq!(seqs(f.store.log(id, page(LogFrom::After(7))).await.unwrap()), (vec![], false));
}

async fn logs_match_the_reference<S: Engine>(f: Fixture<S>) {
    let id = start(&*f.store, 1, "import", 0).await.id;
    let words = ["Alpha", "beta 50%", "ALPHA_beta", "déjà VU", "x"];
    let items =
        (0..40).map(|i| said([Level::Info, Level::Warning, Level::Error][i % 3], words[i % 5])).collect();
    f.store.transact(id, report(items), at(1)).await.unwrap();
    f.store.transact(id, force_fail(), at(2)).await.unwrap();
    let all = f.store.log(id, LogQuery { limit: 1_000, ..LogQuery::default() }).await.unwrap().lines;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let any_filter = (
        prop::collection::vec(prop::sample::select(LineKind::SHOWN.to_vec()), 0..3),
        prop::option::of(prop::sample::select(vec!["alpha", "BETA", "%", "_", "à", "", "hung"])),
    );
    for _ in 0..60 {
        let (kinds, text) = any_filter.new_tree(&mut runner).unwrap().current();
        let filter = LogFilter { kinds, text: text.map(str::to_owned), step: None };
        let expected: Vec<String> =
            all.iter().filter(|line| filter.matches(line)).map(|line| line.text.clone()).collect();
        assert_eq!(log(&*f.store, id, filter.clone()).await, expected, "{filter:?}");
    }
}

async fn counters_are_exact<S: Engine>(f: Fixture<S>) {
    for number in 1..=6 {
        start(&*f.store, number, if number % 2 == 0 { "even" } else { "odd" }, 0).await;
    }
    let id = |number: u128| JobId(Uuid::from_u128(number << 64));
    f.store.transact(id(1), COMPLETE, at(86_400_000)).await.unwrap();
    f.store.transact(id(2), fail("x"), at(86_400_001)).await.unwrap();
    f.store.transact(id(3), force_fail(), at(1)).await.unwrap();
    let _ = f.store.transact(id(3), COMPLETE, at(2)).await;
    let f = f.reopen().await;
    let counts = f.store.counts();
    assert_eq!((counts.active(), counts.past()), (3, 3));
    assert_eq!(counts.outcomes(), OutcomeCounts { completed: 1, failed: 2, aborted: 0 });
    assert_eq!(f.store.ended_on(1).await.unwrap(), OutcomeCounts { completed: 1, failed: 1, aborted: 0 });
    assert_eq!(f.store.ended_on(0).await.unwrap(), OutcomeCounts { completed: 0, failed: 1, aborted: 0 });
    let features = f.store.features(10).await.unwrap();
    assert_eq!(features.len(), 2);
    assert_eq!(features[0].feature, "even");
    assert_eq!(features[0].counts.of(Status::Failed), 1);
    assert_eq!(features[1].counts.active(), 1);
    let report = f.store.check(Box::new(|_, _| true)).await.unwrap();
    assert_eq!((report.jobs, report.problems), (6, Vec::<String>::new()));
}

async fn late_writes_are_counted_on_an_ended_job<S: Engine>(f: Fixture<S>) {
    let id = start(&*f.store, 1, "import", 0).await.id;
    f.store.transact(id, force_fail(), at(1)).await.unwrap();
    let late = async |f: &Fixture<S>, command: Command, ms: i64| {
        let late = f.store.transact(id, command, at(ms)).await;
        assert!(matches!(late, Err(StoreError::Refused(Refusal::Fenced { given: 1, current: 2, .. }))));
    };
    for ms in [5, 6] {
        late(&f, Command::Report(Report { epoch: Some(1), items: Vec::new() }), ms).await;
    }
    let f = f.reopen().await;
    let job = f.store.get(id).await.unwrap().unwrap();
    assert_eq!((job.late_writes, job.late_write_at, job.status), (2, Some(Timestamp(6)), Status::Failed));
    late(&f, Command::Complete { epoch: Some(1), output: None }, 7).await;
    let f = f.reopen().await;
    let job = f.store.get(id).await.unwrap().unwrap();
    assert_eq!((job.late_writes, job.late_write_at), (3, None), "its process says that it is done");
}

async fn changes_are_published_in_order_before_the_answer<S: Engine>(f: Fixture<S>) {
    let heard = Arc::new(Heard::default());
    f.store.changes(Arc::clone(&heard) as Arc<dyn ChangeSink>);
    let id = start(&*f.store, 1, "import", 0).await.id;
    assert_eq!(heard.0.lock().unwrap().len(), 1);
    f.store.transact(id, report(vec![said(Level::Info, "a")]), at(1)).await.unwrap();
    let _ = f.store.transact(id, Command::Claim, at(1)).await;
    f.store.transact(id, COMPLETE, at(2)).await.unwrap();
    let heard = heard.0.lock().unwrap();
    let revisions: Vec<u64> = heard.iter().map(|changes| changes.jobs[0].revision).collect();
    assert_eq!(revisions, [1, 2, 3], "a refusal is no change");
    assert_eq!(heard[2].counts.past(), 1);
}

async fn racing_finishers_leave_one_terminal_status<S: Engine>(f: Fixture<S>) {
    let store = f.store;
    for number in 0..40 {
        let id = start(&*store, number, "import", 0).await.id;
        let finishers = [COMPLETE, fail("x"), force_fail(), Command::Sweep];
        let racing: Vec<_> = finishers
            .into_iter()
            .map(|command| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.transact(id, command, at(3_600_000)).await.is_ok() })
            })
            .collect();
        let mut winners = 0;
        for racer in racing {
            winners += u32::from(racer.await.unwrap());
        }
        assert_eq!(winners, 1);
        let ends = store.events(id, 0, 100).await.unwrap();
        let ends = ends.iter().filter(|event| {
            matches!(
                event.kind,
                crate::model::EventKind::Completed { .. } | crate::model::EventKind::Failed { .. }
            )
        });
        assert_eq!(ends.count(), 1);
    }
    assert_eq!(store.counts().past(), 40);
}

async fn concurrent_writers_lose_nothing<S: Engine>(f: Fixture<S>) {
    let store = f.store;
    let id = start(&*store, 1, "import", 0).await.id;
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for line in 0..50 {
                    let item = said(Level::Info, &format!("{writer}:{line}"));
                    store.transact(id, report(vec![item]), at(line)).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let lines = log(&*store, id, LogFilter { kinds: vec![LineKind::Info], ..LogFilter::default() }).await;
    assert_eq!(lines.len(), 400);
    for writer in 0..8 {
        let own: Vec<_> = lines.iter().filter(|line| line.starts_with(&format!("{writer}:"))).collect();
        let sent: Vec<_> = (0..50).map(|line| format!("{writer}:{line}")).collect();
        assert!(own.into_iter().eq(sent.iter()), "each writer's lines are in its order");
    }
}

async fn old_history_goes_oldest_first<S: Engine>(f: Fixture<S>) {
    for number in 1..=10 {
        let id = start(&*f.store, number, "import", 0).await.id;
        if number < 10 {
            f.store.transact(id, COMPLETE, at(number as i64 * 10)).await.unwrap();
        }
    }
    let pruned = |jobs, more| Ok(Pruned { jobs, more });
    assert_eq!(f.store.prune(100, Some(Timestamp(25)), 500).await, pruned(2, false));
    assert_eq!(f.store.prune(4, None, 2).await, pruned(2, true), "in batches");
    assert_eq!(f.store.prune(4, None, 500).await, pruned(1, false));
    assert_eq!(f.store.prune(4, None, 500).await, pruned(0, false));
    let f = f.reopen().await;
    assert_eq!(ids(&*f.store, JobFilter::default()).await, [10, 9, 8, 7, 6]);
    assert_eq!(f.store.counts().of(Status::Completed), 4);
    let report = f.store.check(Box::new(|_, _| true)).await.unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
}

async fn what_is_pinned_outlives_every_limit<S: Engine>(f: Fixture<S>) {
    for number in 1..=10 {
        let id = start(&*f.store, number, "import", 0).await.id;
        f.store.transact(id, COMPLETE, at(number as i64 * 10)).await.unwrap();
    }
    let id = |number: u128| JobId(Uuid::from_u128(number << 64));
    for number in [2, 5] {
        assert!(f.store.transact(id(number), Command::Pin, at(200)).await.unwrap().pinned);
    }
    let again = f.store.transact(id(2), Command::Pin, at(201)).await;
    assert_eq!(again, Err(StoreError::Refused(Refusal::Unchanged { already: "pinned" })));
    let open = start(&*f.store, 11, "import", 0).await.id;
    assert!(f.store.transact(open, Command::Pin, at(201)).await.is_err(), "what has not ended is no history");
    let f = f.reopen().await;
    // Beside those that are pinned, so many are kept.
    assert_eq!(f.store.prune(3, None, 500).await.unwrap().jobs, 5);
    assert_eq!(ids(&*f.store, JobFilter::default()).await, [11, 10, 9, 8, 5, 2]);
    assert_eq!(f.store.prune(0, Some(Timestamp(1_000)), 500).await.unwrap().jobs, 3);
    f.store.transact(id(2), Command::Unpin, at(300)).await.unwrap();
    assert_eq!(f.store.prune(9, Some(Timestamp(1_000)), 500).await.unwrap().jobs, 1);
    assert_eq!(ids(&*f.store, JobFilter::default()).await, [11, 5]);
    assert_eq!(
        log(&*f.store, id(5), LogFilter::default()).await.len(),
        3,
        "the log is kept, and who pinned it"
    );
    let report = f.store.check(Box::new(|_, _| true)).await.unwrap();
    assert_eq!((report.jobs, report.problems), (2, Vec::new()));
}

async fn more_time_is_kept<S: Engine>(f: Fixture<S>) {
    let id = start(&*f.store, 1, "import", 0).await.id;
    let more = |seconds: u64| {
        let reason = Some(Reason::new("the disk is slow").unwrap());
        Command::MoreTime { span: Some(Duration::from_secs(seconds)), reason }
    };
    f.store.transact(id, more(3_600), at(700_000)).await.unwrap();
    let f = f.reopen().await;
    let given = Some(MoreTime { at: Timestamp(700_000), until: Some(Timestamp(4_300_000)) });
    assert_eq!(f.store.get(id).await.unwrap().unwrap().more_time, given);
    let less = f.store.transact(id, more(10), at(700_001)).await;
    assert!(matches!(less, Err(StoreError::Refused(Refusal::Unchanged { .. }))), "{less:?}");
    assert_eq!(
        f.store.transact(id, Command::Sweep, at(4_300_000)).await,
        Err(StoreError::Refused(Refusal::NotStale))
    );
    f.store.transact(id, Command::Sweep, at(4_300_001)).await.unwrap();
    let f = f.reopen().await;
    let job = f.store.get(id).await.unwrap().unwrap();
    assert_eq!((job.status, job.cause(), job.more_time), (Status::Failed, Some(Cause::Timeout), given));
    let lines = log(&*f.store, id, LogFilter::default()).await;
    assert!(lines[1].contains("no limit ends it for 60 minutes. the disk is slow"), "{lines:?}");
    let report = f.store.check(Box::new(|_, _| true)).await.unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
}

async fn the_newest_messages_of_many_jobs_come_at_once<S: Engine>(f: Fixture<S>) {
    let mut jobs = Vec::new();
    for number in 1..=3 {
        let id = start(&*f.store, number, "import", 0).await.id;
        let levels = [Level::Info, Level::Warning, Level::Error];
        let items = (0..number * 4).map(|line| said(levels[line as usize % 3], &format!("{line}"))).collect();
        jobs.push(f.store.transact(id, report(items), at(1)).await.unwrap());
    }
    let gone = Arc::new(Job { id: JobId(Uuid::from_u128(404)), ..(*jobs[0]).clone() });
    jobs.insert(1, gone);
    let newest = f.store.newest_messages(&jobs, 2).await.unwrap();
    let texts =
        |newest: &Newest| newest.each_ref().map(|lines| lines.iter().map(|line| line.text.clone()).collect());
    let texts: Vec<[Vec<String>; 3]> = newest.iter().map(texts).collect();
    let expected = [
        [vec!["0", "3"], vec!["1"], vec!["2"]],
        [vec![], vec![], vec![]],
        [vec!["3", "6"], vec!["4", "7"], vec!["2", "5"]],
        [vec!["6", "9"], vec!["7", "10"], vec!["8", "11"]],
    ];
    assert_eq!(texts, expected);
    assert!(
        f.store.newest_messages(&jobs, 0).await.unwrap().iter().all(|newest| *newest == Newest::default())
    );
}

async fn a_restart_keeps_everything<S: Engine>(f: Fixture<S>) {
    let running = start(&*f.store, 1, "import", 0).await.id;
    f.store.transact(running, report(vec![said(Level::Error, "kept")]), at(1)).await.unwrap();
    let f = f.reopen().await;
    assert_eq!(f.store.active().await.unwrap().len(), 1);
    assert_eq!(f.store.counts().active(), 1);
    // And goes on where it was.
    f.store.transact(running, report(vec![said(Level::Info, "more")]), at(2)).await.unwrap();
    assert_eq!(log(&*f.store, running, LogFilter::default()).await, ["Started by anna", "kept", "more"]);
}

async fn replaying_the_log_gives_the_stored_job<S: Engine>(f: Fixture<S>) {
    let id = start(&*f.store, 1, "import", 0).await.id;
    f.store
        .transact(id, report(vec![ReportItem::Steps(vec![StepSpec::new("a"), StepSpec::new("b")])]), at(1))
        .await
        .unwrap();
    for ms in 2..40 {
        let value = ms as f64 / 40.0;
        let items =
            vec![ReportItem::Progress { step: Some("a".to_owned()), value }, said(Level::Info, "tick")];
        f.store.transact(id, report(items), at(ms)).await.unwrap();
    }
    let ended = f.store.transact(id, fail("bad"), at(50)).await.unwrap();
    let f = f.reopen().await;
    let events = f.store.events(id, 0, 1_000).await.unwrap();
    let replayed = Job::replay(id, &events).unwrap();
    assert_eq!(replayed.steps, ended.steps);
    assert_eq!(
        (replayed.status, replayed.progress, replayed.counts),
        (ended.status, ended.progress, ended.counts)
    );
    assert_eq!(ended.status.outcome(), Some(Outcome::Failed));
}

async fn a_closed_store_refuses_and_says_why<S: Engine>(f: Fixture<S>) {
    f.store.close().await;
    let refused = f.store.create(job(1, "import"), CreateRules::default(), at(0)).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(reason)) if reason.contains("stopping")));
}

async fn hostile_text_is_kept_to_the_byte<S: Engine>(f: Fixture<S>) {
    let id = start(&*f.store, 1, "</script><b>", 0).await.id;
    let hostile = "\u{0}\u{8}[2J</script>'; drop table job; --\u{202e}\u{ffff}\r\n\t💥";
    f.store.transact(id, report(vec![said(Level::Info, hostile)]), at(1)).await.unwrap();
    f.store.transact(id, fail(hostile), at(2)).await.unwrap();
    let f = f.reopen().await;
    let lines = log(
        &*f.store,
        id,
        LogFilter { kinds: vec![LineKind::Info, LineKind::Error], ..LogFilter::default() },
    )
    .await;
    assert_eq!(lines, [hostile, hostile]);
    assert_eq!(f.store.get(id).await.unwrap().unwrap().error.as_deref(), Some(hostile));
}
