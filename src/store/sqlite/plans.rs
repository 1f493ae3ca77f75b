//! How the hot queries find what they look for: none walks a table, none sorts.
//!
//! A plan is what a query does with ten million jobs as with ten, so this is asserted and not a time. The
//! planner has no statistics here as in production, hence chooses the same.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::lists::Section;
use super::reader::Conditions;
use super::{entries, lists, logs, open, rows};
use crate::model::{EndedBefore, JobFilter, JobId, LineKind, LogFilter, Status, Timestamp};
use crate::store::{LogFrom, LogQuery};

/// A database with one feature and one author, so that names are found.
fn database() -> (tempfile::TempDir, Connection) {
    let folder = tempfile::tempdir().unwrap();
    let db = open::prepare(&folder.path().join("jobs.db")).unwrap();
    db.execute_batch("insert into name (n, text) values (1, 'import'), (2, 'anna')").unwrap();
    (folder, db)
}

fn plan(db: &Connection, query: &Conditions) -> Vec<String> {
    let mut explain = db.prepare(&format!("explain query plan {}", query.text)).unwrap();
    let steps = explain.query_map(params_from_iter(query.values.clone()), |row| row.get(3)).unwrap();
    steps.collect::<Result<_, _>>().unwrap()
}

/// Asserts that a query goes by that index, walks no table and sorts nothing.
fn goes_by(db: &Connection, query: &Conditions, index: &str) {
    let plan = plan(db, query);
    let said = format!("{}\n  {}", query.text, plan.join("\n  "));
    assert!(plan.iter().any(|step| step.contains(index)), "not by {index}: {said}");
    for step in &plan {
        assert!(!step.contains("TEMP B-TREE"), "it sorts: {said}");
        let walks = step.starts_with("SCAN") && !step.contains(index) && !step.contains("name");
        let harmless = step.contains("VIRTUAL TABLE") || step.contains("CONSTANT ROW");
        assert!(!walks || harmless, "it walks a table: {said}");
    }
}

fn sql(text: &str) -> Conditions {
    let values = (1..=9).filter(|number| text.contains(&format!("?{number}"))).map(|_| Value::Null).collect();
    Conditions { text: text.to_owned(), values }
}

#[test]
fn every_list_of_ended_jobs_goes_by_an_index_on_the_first_page_and_on_every_later_one() {
    let (_folder, db) = database();
    let all = JobFilter { only_past: true, ..JobFilter::default() };
    let some = |text: &str| Some(text.to_owned());
    let (feature, author) = (some("import"), some("anna"));
    let behind = Section { after: Some((Timestamp(9), JobId(uuid::Uuid::nil()))), ended: None };
    let begun =
        Section { ended: Some(EndedBefore { at: Timestamp(9), id: JobId(uuid::Uuid::nil()) }), after: None };
    for (filter, index, queries) in [
        (all.clone(), "job_past ", 1),
        (JobFilter { feature: feature.clone(), ..all.clone() }, "job_past_feature", 3),
        (JobFilter { author: author.clone(), ..all.clone() }, "job_past_author", 3),
        (
            JobFilter { feature: feature.clone(), author: author.clone(), ..all.clone() },
            "job_past_feature",
            3,
        ),
        (JobFilter { tag: some("llm"), ..all.clone() }, "SEARCH listed USING PRIMARY KEY", 3),
        (
            JobFilter {
                tag: some("llm"),
                status: Some(Status::Failed),
                feature: feature.clone(),
                ..all.clone()
            },
            "SEARCH listed USING PRIMARY KEY",
            1,
        ),
        (
            JobFilter { tag: some("llm"), text: some("disk"), author: author.clone(), ..all.clone() },
            "SEARCH listed USING PRIMARY KEY",
            3,
        ),
        (JobFilter { text: some("disk"), ..all.clone() }, "job_past ", 1),
        (JobFilter { text: some("disk"), feature: feature.clone(), ..all.clone() }, "job_past_feature", 3),
        (JobFilter { status: Some(Status::Completed), ..all.clone() }, "job_past ", 1),
        (JobFilter { status: Some(Status::Failed), ..all.clone() }, "job_past_status", 1),
        (JobFilter { status: Some(Status::Aborted), ..all.clone() }, "job_past_status", 1),
        (JobFilter { status: Some(Status::Failed), text: some("disk"), ..all.clone() }, "job_past_status", 1),
        (
            JobFilter { status: Some(Status::Failed), feature: feature.clone(), ..all.clone() },
            "job_past_feature",
            1,
        ),
        (
            JobFilter { status: Some(Status::Failed), author: author.clone(), ..all.clone() },
            "job_past_author",
            1,
        ),
        (JobFilter { status: Some(Status::Failed), feature, author, ..all.clone() }, "job_past_feature", 1),
    ] {
        for section in [Section::default(), behind, begun] {
            let found = lists::queries(&db, &filter, section, false, 51).unwrap();
            assert_eq!(found.len(), queries, "{filter:?}");
            for query in &found {
                goes_by(&db, query, index);
                let seeks = ["ended_at<", "(ended_at,job)<"];
                let seeks =
                    plan(&db, query).iter().any(|step| seeks.iter().any(|seeks| step.contains(seeks)));
                assert!(
                    seeks || (section.after.is_none() && section.ended.is_none()),
                    "a later page begins where the last one ended: {}",
                    query.text
                );
            }
        }
    }
    let unknown = JobFilter { feature: some("nobody's"), ..all };
    assert!(
        lists::queries(&db, &unknown, Section::default(), false, 51).unwrap().is_empty(),
        "nothing is looked for"
    );
}

#[test]
fn every_list_of_open_jobs_goes_by_the_index_over_them() {
    let (_folder, db) = database();
    let some = |text: &str| Some(text.to_owned());
    let behind = Section { after: Some((Timestamp(9), JobId(uuid::Uuid::nil()))), ended: None };
    for filter in [
        JobFilter::default(),
        JobFilter { feature: some("import"), ..JobFilter::default() },
        JobFilter { author: some("anna"), status: Some(Status::Running), ..JobFilter::default() },
        JobFilter { text: some("x"), tag: some("y"), ..JobFilter::default() },
    ] {
        for section in [Section::default(), behind] {
            for query in lists::queries(&db, &filter, section, true, 51).unwrap() {
                goes_by(&db, &query, "job_open");
            }
        }
    }
    goes_by(&db, &sql("select n from job where ended_at is null order by created_at"), "job_open");
}

#[test]
fn every_part_of_a_log_is_read_where_it_lies() {
    let (_folder, db) = database();
    let kinds = |kinds: &[LineKind]| LogFilter { kinds: kinds.to_vec(), ..LogFilter::default() };
    let step = LogFilter { step: Some("load".to_owned()), ..LogFilter::default() };
    let text = LogFilter { text: Some("disk".to_owned()), ..LogFilter::default() };
    for (filter, index, queries) in [
        (LogFilter::default(), "PRIMARY KEY", 1),
        (kinds(&[LineKind::Info]), "PRIMARY KEY", 1),
        (kinds(&[LineKind::Error]), "event_kind", 1),
        (kinds(&[LineKind::Warning, LineKind::Error]), "event_kind", 2),
        (kinds(&[LineKind::Operator]), "event_kind", 1),
        (LogFilter { kinds: vec![LineKind::Error], ..text.clone() }, "event_kind", 1),
        (step, "PRIMARY KEY", 1),
        (text, "PRIMARY KEY", 1),
    ] {
        for from in [LogFrom::End, LogFrom::Before(9), LogFrom::After(9)] {
            let query = LogQuery { filter: filter.clone(), from, limit: 200, count: true };
            let (pages, counts) = logs::queries(1, &query);
            assert_eq!((pages.len(), counts.len()), (queries, queries), "{filter:?}");
            for page in pages.iter().chain(&counts) {
                goes_by(&db, page, index);
            }
            let sought = plan(&db, &pages[0])[0].contains("seq");
            assert!(sought || from == LogFrom::End, "it begins where it was told to: {}", pages[0].text);
        }
    }
}

/// The index has half of an id: those few that have it in common are sorted, and no others.
#[test]
fn jobs_in_the_order_of_their_ids_are_read_in_the_order_of_the_index() {
    let (_folder, db) = database();
    let plan = plan(&db, &sql(lists::BY_ID));
    assert!(plan[0].starts_with("SEARCH job USING INDEX job_id"), "{plan:?}");
    assert_eq!(plan[1..], ["USE TEMP B-TREE FOR LAST TERM OF ORDER BY"]);
}

#[test]
fn whatever_is_asked_for_by_name_is_found_by_name() {
    let (_folder, db) = database();
    for (text, index) in [
        (rows::NUMBER_OF, "job_id"),
        ("select feature from job where n = ?1", "INTEGER PRIMARY KEY"),
        ("select text from event where job = ?1 and seq = ?2", "PRIMARY KEY"),
        (logs::LAST, "PRIMARY KEY"),
        ("select seq from event where job = ?1 and seq > ?2 order by seq limit ?3", "PRIMARY KEY"),
        ("select id from step where job = ?1 order by i", "PRIMARY KEY"),
        ("select n from name where text = ?1", "sqlite_autoindex_name_1"),
        ("select status, n from ended where day = ?1", "PRIMARY KEY"),
        ("select fingerprint from idempotency where key = ?1", "PRIMARY KEY"),
        (
            "delete from idempotency where key in (select key from idempotency where at < ?1 limit 1000)",
            "idempotency_at",
        ),
        ("select name from token where hash = ?1", "sqlite_autoindex_token"),
        ("select account from session where hash = ?1", "PRIMARY KEY"),
        // What retention asks with every batch.
        ("select count(*) from job where pinned = 1", "job_pinned"),
        (lists::LAST_ENDED, "job_past"),
        (entries::DROP_INFOS, "PRIMARY KEY (job=? AND seq>? AND seq<?)"),
        (entries::DROP_OTHERS, "event_kind (job=? AND kind=? AND seq>? AND seq<?)"),
        (
            "select n from job where ended_at is not null and pinned = 0 order by ended_at, n limit ?1",
            "job_past",
        ),
    ] {
        goes_by(&db, &sql(text), index);
    }
}
