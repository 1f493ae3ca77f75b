//! What the upgrade to a release to come must keep: every job as it reads, and every row of every other table.

use longhaul::model::{Spec, Timestamp};
use longhaul::store::{AccountStore, CreateRules, IdempotencyKey, OpenError, SqliteAccounts};
use longhaul::{JobStore, SqliteStore};
use rusqlite::Connection;
use rusqlite::types::Value;

use super::{LATER, context, previous, to_come};
use crate::crash::power::new_job;

/// The tables that the upgrade has no business with.
const OTHERS: [&str; 9] =
    ["name", "spec", "ownerless", "event", "step", "counter", "ended", "idempotency", "token"];

/// Accounts as they were, and as they are since they belong to an id.
const ACCOUNTS: [(&str, &str); 3] = [
    (
        "select name, role, password, created_at from account order by 1",
        "select name, role, password, created_at from account where password_number = 0 order by 1",
    ),
    (
        "select hash, account, created_at, expires_at from session order by 1",
        "select hash, name, session.created_at, expires_at from session join account on id = account \
         where session.password_number = 0 order by 1",
    ),
    (
        // Of several links of one user the last.
        "select hash, account, max(expires_at) from sign_in_link group by account order by 2",
        "select hash, name, expires_at from sign_in_link join account on id = account \
         where sign_in_link.password_number = 0 order by 2",
    ),
];

/// The columns of a job.
const JOBS: &str = "select n, id, spec, feature, author, title, status, created_at, ended_at, progress, numbers, \
    pinned, error, more from job order by n";

/// Rows there are none of in the fixture.
const MORE_ROWS: &str = "insert into idempotency select 'k', 'f', id, 1795499999000 from job where n = 3;
    insert into session values (zeroblob(32), 'admin', 1795493170000, 1795993170000);
    insert into sign_in_link values (x'01', 'admin', 1795000000000), (x'02', 'anna', 1795000000001),
        (x'03', 'anna', 1795000000000), (x'04', 'nobody', 1795000000000);
    insert into session values (x'05', 'nobody', 1795493170000, 1795993170000);
    insert into account values ('anna', 'viewer', '$argon2id$', 1795493170001);
    insert into token values ('late', zeroblob(32), 'viewer', 0, 1795493170002, 1795493170003);";

/// All rows of a query.
fn rows(db: &Connection, query: &str) -> Vec<Vec<Value>> {
    let mut find = db.prepare(query).unwrap();
    let columns = find.column_count();
    let read = find.query_map([], |row| (0..columns).map(|column| row.get(column)).collect()).unwrap();
    read.collect::<Result<_, _>>().unwrap()
}

fn others(db: &Connection) -> Vec<Vec<Vec<Value>>> {
    OTHERS.iter().map(|table| rows(db, &format!("select * from {table} order by 1"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_and_every_other_row_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    previous(&path);
    let db = Connection::open(&path).unwrap();
    db.execute_batch(MORE_ROWS).unwrap();
    // Numbers with gaps, as a history has that was pruned.
    db.execute_batch(
        "update sqlite_sequence set seq = 99 where name = 'job'; insert into ownerless values (98)",
    )
    .unwrap();
    let (columns, rest) = (rows(&db, JOBS), others(&db));
    let accounts = ACCOUNTS.map(|(before, _)| rows(&db, before));
    drop(db);
    let before = SqliteStore::open(&path).unwrap();
    let jobs = before.jobs_by_id(None, 100).await.unwrap();
    before.close().await;
    drop(before);

    let store = SqliteStore::open_with_migrations(&path, &to_come(LATER)).unwrap();
    assert_eq!(store.jobs_by_id(None, 100).await.unwrap(), jobs);
    let db = Connection::open(&path).unwrap();
    assert!(columns == rows(&db, JOBS), "logs and steps hang on the numbers");
    assert!(rest == others(&db), "the other tables are as they were");
    for (before, (_, now)) in accounts.into_iter().zip(ACCOUNTS) {
        let of_somebody: Vec<_> =
            before.into_iter().filter(|row| row[1] != Value::Text("nobody".to_owned())).collect();
        assert_eq!(of_somebody, rows(&db, now), "{now}");
    }
    assert_eq!(rows(&db, "pragma integrity_check"), [[Value::Text("ok".to_owned())]]);
    let last = rows(&db, "select seq from sqlite_sequence where name = 'job'");
    assert_eq!(last, [[Value::Integer(99)]], "no number is given twice");
    store.close().await;
}

/// The rest through the doors that people use.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_accounts_and_requests_that_come_again_are_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    previous(&path);
    let db = Connection::open(&path).unwrap();
    db.execute_batch(MORE_ROWS).unwrap();
    let lines =
        rows(&db, "select event.seq, at, text from event join job on job.n = job order by id, event.seq");
    drop(db);
    let store = SqliteStore::open_with_migrations(&path, &to_come(LATER)).unwrap();
    let jobs = store.jobs_by_id(None, 10).await.unwrap();
    let mut said = Vec::new();
    for job in &jobs {
        for event in store.events(job.id, 0, 100).await.unwrap() {
            let seq = Value::Integer(event.seq.unwrap() as i64);
            said.push(vec![seq, Value::Integer(event.at.0), Value::Text(event.sentence())]);
        }
    }
    assert_eq!(said, lines);
    let users = store.users().await.unwrap();
    let seen: Vec<_> = users.iter().map(|user| (user.name.as_str(), user.password.as_deref())).collect();
    assert_eq!(seen, [("admin", None), ("anna", Some("$argon2id$"))]);
    let (session, user) = store.session(&[0; 32]).await.unwrap().unwrap();
    assert_eq!((user.name.as_str(), session.expires_at), ("admin", Timestamp(1_795_993_170_000)));
    let token = store.token(&[0; 32]).await.unwrap().unwrap();
    assert_eq!((token.name.as_str(), token.expires_at), ("late", Some(Timestamp(1_795_493_170_003))));
    let export = &jobs[2];
    let rules = CreateRules {
        idempotency: Some(IdempotencyKey { key: "k".to_owned(), fingerprint: "f".to_owned() }),
        ..CreateRules::default()
    };
    let again = new_job(1);
    let created = store.create(again, rules, context()).await.unwrap();
    assert!(created.replayed && created.job.id == export.id, "it was asked for before the upgrade");
    let fresh = store.create(new_job(2), CreateRules::default(), context()).await.unwrap();
    assert_eq!(fresh.job.spec.max_lines, Spec::MAX_LINES);
    assert_eq!(store.check(Box::new(|_, _| true)).await.unwrap().problems, Vec::<String>::new());
    store.close().await;
}

/// The command line of a new release beside a server of the previous one: that server could not go on with
/// the tables changed under it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_an_older_server_has_open_is_not_upgraded_under_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let db = Connection::open(&path).unwrap();
    db.execute_batch(&format!(
        "pragma application_id = {}; create table refinery_schema_history \
         (version int4 primary key, name varchar(255), applied_on varchar(255), checksum varchar(255))",
        0x4c48_4a42
    ))
    .unwrap();
    drop(db);
    let schema = || {
        let db = Connection::open(&path).unwrap();
        rows(&db, "select coalesce(max(version), 0) from refinery_schema_history").remove(0).remove(0)
    };
    let server = std::fs::File::create(folder.path().join("jobs.db-lock")).unwrap();
    server.try_lock().unwrap();
    assert!(matches!(SqliteAccounts::open(&path), Err(OpenError::InUse { .. })));
    assert_eq!(schema(), Value::Integer(0), "it keeps its hands off");
    drop(server);
    let accounts = SqliteAccounts::open(&path).unwrap();
    assert_eq!(schema(), Value::Integer(3));
    assert_eq!(accounts.tokens().await.unwrap().len(), 0);
    // And beside a server of this release nothing stands in the way.
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(SqliteAccounts::open(&path).unwrap().tokens().await.unwrap().len(), 0);
    store.close().await;
}
