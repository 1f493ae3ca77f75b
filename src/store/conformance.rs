//! What every store promises, as one suite run against each of them.

mod accounts;
mod admission;
mod archive;
mod full_log;
mod history;
mod jobs;
mod lists;
mod logs;

use std::path::Path;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use tempfile::TempDir;
use uuid::Uuid;

use self::accounts::*;
use self::admission::*;
use self::archive::*;
use self::full_log::*;
use self::history::*;
use self::jobs::*;
use self::lists::*;
use self::logs::*;
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
