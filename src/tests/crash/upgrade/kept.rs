//! What the upgrades since schema 1 must keep: every column of every job, whatever it held, and every other row.
//!
//! The judge is the previous release's own way to write a job: a job read by this release, written down as
//! that one would have, must be the row that was there.

use longhaul::model::{Execution, Job, Spec, Status, Timestamp};
use longhaul::store::{AccountStore, CreateRules, IdempotencyKey, OpenError, SqliteAccounts};
use longhaul::{JobStore, SqliteStore};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use serde_json::{Map, json};
use uuid::Uuid;

use super::{context, previous, version};
use crate::crash::power::new_job;
use crate::crash::{Dice, seed};

/// The columns of a job of schema 1 but for its number, in the order of [`as_before`].
const COLUMNS: &str = "id, feature, author, owner, title, status, execution, attempt, max_attempts, epoch, queue, \
    priority, progress, created_at, run_at, started_at, ended_at, activity_at, progress_at, heartbeat_at, \
    run_timeout, activity_timeout, seq, revision, infos, warnings, errors, systems, operators, fenced, \
    late_writes, late_write_at, message_key, error, more";

/// The tables that the upgrade has no business with.
const OTHERS: [&str; 9] =
    ["event", "step", "counter", "ended", "idempotency", "account", "session", "token", "sign_in_link"];

/// Rows there are none of in the fixture.
const MORE_ROWS: &str = "insert into idempotency select 'k', 'f', id, 1795499999000 from job where n = 3;
    insert into session values (zeroblob(32), 'admin', 1795493170000, 1795993170000);
    insert into account values ('anna', 'viewer', '$argon2id$', 1795493170001);
    insert into token values ('late', zeroblob(32), 'viewer', 0, 1795493170002, 1795493170003);";

const ENDED: i64 = 1_795_400_000_000;

/// A job's row as the previous release wrote it.
fn as_before(job: &Job) -> Vec<Value> {
    let number = |value: u64| Value::Integer(value as i64);
    let at = |at: Option<Timestamp>| at.map_or(Value::Null, |at| Value::Integer(at.0));
    let span = |span: Option<std::time::Duration>| span.map_or(Value::Null, |s| number(s.as_millis() as u64));
    let text = |text: Option<&str>| text.map_or(Value::Null, |text| Value::Text(text.to_owned()));
    let place = |place: Option<usize>| number(place.unwrap() as u64);
    let executions = [Execution::External, Execution::InProcess, Execution::Worker];
    let mut more = Map::new();
    let mut put = |name: &str, value: Option<serde_json::Value>| {
        more.extend(value.map(|value| (name.to_owned(), value)));
    };
    put("tags", Some(json!(job.spec.tags)).filter(|_| !job.spec.tags.is_empty()));
    put("input", job.spec.input.clone());
    put("output", job.output.as_deref().cloned());
    put(
        "abort",
        job.abort.as_ref().map(|abort| json!({"reason": abort.reason, "by": abort.by, "at": abort.at})),
    );
    put("lastMessage", job.last_message.as_ref().map(|said| json!({"level": said.level, "text": said.text})));
    put("lastError", job.last_error.as_ref().map(|error| json!(error)));
    put("recordedAt", job.recorded_at.map(|at| json!(at)));
    put("unrecorded", Some(json!(job.unrecorded)).filter(|_| !job.unrecorded.is_empty()));
    put("unrecordedWhole", Some(json!(true)).filter(|_| job.unrecorded_whole));
    let Spec { timeouts, execution, .. } = &job.spec.as_ref();
    vec![
        Value::Blob(job.id.0.as_bytes().to_vec()),
        text(Some(job.spec.feature.as_str())),
        text(Some(job.spec.author.as_str())),
        text(Some(&job.spec.owner)),
        text(job.spec.title.as_ref().map(longhaul::model::Title::as_str)),
        place(Status::ALL.iter().position(|other| *other == job.status)),
        place(executions.iter().position(|other| other == execution)),
        number(job.attempt.into()),
        number(job.spec.max_attempts.into()),
        number(job.epoch.into()),
        text(Some(&job.spec.queue)),
        Value::Integer(job.spec.priority.into()),
        Value::Real(job.progress),
        at(Some(job.created_at)),
        at(job.run_at),
        at(job.started_at),
        at(job.ended_at),
        at(Some(job.activity_at)),
        at(job.progress_at),
        at(job.heartbeat_at),
        span(timeouts.run),
        span(timeouts.activity),
        number(job.seq),
        number(job.revision),
        number(job.counts.info),
        number(job.counts.warning),
        number(job.counts.error),
        number(job.counts.system),
        number(job.counts.operator),
        Value::Integer(job.fenced.into()),
        number(job.late_writes),
        at(job.late_write_at),
        number(job.message_key),
        text(job.error.as_deref()),
        Value::Text(serde_json::Value::Object(more).to_string()),
    ]
}

/// A row of schema 1 with anything in it that one may hold.
fn any_job(dice: &mut Dice) -> Vec<Value> {
    let ended = dice.below(3) > 0;
    // Of our own making, with its time in it, from elsewhere, or with a time that is not its job's.
    let id = match dice.below(3) {
        0 => Uuid::from_u128(u128::from(dice.throw()) << 64 | u128::from(dice.throw())),
        _ => {
            let time = if dice.below(4) > 0 { ENDED as u64 } else { 0 } + dice.below(1_000);
            let rest = u128::from(dice.throw()) & 0x3fff_ffff_ffff_ffff;
            Uuid::from_u128(u128::from(time) << 80 | 7 << 76 | 2 << 62 | rest)
        }
    };
    let number = |dice: &mut Dice| match dice.below(8) {
        0 => 0,
        1 => dice.throw() as i64,
        2 => i64::MAX,
        _ => dice.below(300) as i64,
    };
    let small = |dice: &mut Dice| {
        Value::Integer(if dice.below(9) == 0 { u32::MAX.into() } else { dice.below(9) as i64 })
    };
    let time = |dice: &mut Dice| match dice.below(20) {
        0 => dice.below(5) as i64 - 2,
        1 => i64::MAX - dice.below(9) as i64,
        _ => ENDED + dice.below(20_000_000) as i64 - 10_000_000,
    };
    let maybe =
        |dice: &mut Dice, value: i64| if dice.below(2) == 0 { Value::Null } else { Value::Integer(value) };
    let one_of = |dice: &mut Dice, texts: &[&str]| {
        Value::Text(texts[dice.below(texts.len() as u64) as usize].to_owned())
    };
    let mores = [
        json!({}),
        json!({"tags": ["night", "ü"], "input": {"rows": [1, 2.5, null]}, "recordedAt": ENDED}),
        json!({"output": {"deep": {"er": "it's"}}, "lastMessage": {"level": "error", "text": "no \"rows\""}}),
        json!({"abort": {"reason": "enough", "by": "user anna", "at": 7}, "lastError": "x", "unrecorded": [0, 2]}),
        json!({"unrecordedWhole": true}),
    ];
    let more = mores[dice.below(mores.len() as u64) as usize].to_string();
    let mut row = vec![
        Value::Blob(id.as_bytes().to_vec()),
        one_of(dice, &["import", "export", "Import", "anna"]),
        one_of(dice, &["anna", "bert", "ünal"]),
        one_of(dice, &["user:anna", "token:import", "import"]),
        if dice.below(2) == 0 { Value::Null } else { one_of(dice, &["Import of the night", "{}"]) },
        Value::Integer(if ended { 4 + dice.below(3) as i64 } else { dice.below(4) as i64 }),
        Value::Integer(dice.below(3) as i64),
        small(dice),
        small(dice),
        small(dice),
        one_of(dice, &["default", "import"]),
        Value::Integer([0, 5, -5, i32::MIN.into(), i32::MAX.into()][dice.below(5) as usize]),
        Value::Real([0.0, 0.1, 1.0 / 3.0, 1.0][dice.below(4) as usize]),
        Value::Integer(time(dice)),
    ];
    for place in 14..20 {
        let at = time(dice);
        row.push(match place {
            16 if ended => Value::Integer(at),
            16 => Value::Null,
            17 => Value::Integer(at),
            _ => maybe(dice, at),
        });
    }
    for _ in 0..2 {
        let span = [0, 1, 600_000, i64::MAX][dice.below(4) as usize];
        row.push(maybe(dice, span));
    }
    for _ in 22..29 {
        row.push(Value::Integer(number(dice)));
    }
    row.push(Value::Integer(dice.below(2) as i64));
    row.push(Value::Integer(number(dice)));
    let late_at = time(dice);
    row.push(maybe(dice, late_at));
    row.push(Value::Integer(number(dice)));
    row.push(if dice.below(2) == 0 { Value::Null } else { one_of(dice, &["broke", ""]) });
    row.push(Value::Text(more));
    row
}

/// All rows of a query.
fn rows(db: &Connection, query: &str) -> Vec<Vec<Value>> {
    let mut find = db.prepare(query).unwrap();
    let columns = find.column_count();
    let read = find.query_map([], |row| (0..columns).map(|column| row.get(column)).collect()).unwrap();
    read.collect::<Result<_, _>>().unwrap()
}

fn others(db: &Connection) -> Vec<Vec<Vec<Value>>> {
    OTHERS.iter().map(|table| rows(db, &format!("select * from {table} order by 1, 2"))).collect()
}

/// The parts of a row that are JSON, as what they say.
fn read_json(mut row: Vec<Value>) -> (Vec<Value>, serde_json::Value) {
    let Some(Value::Text(more)) = row.pop() else { panic!("more is no text") };
    (row, serde_json::from_str(&more).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_column_of_every_job_and_every_other_row_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    previous(&path);
    let db = Connection::open(&path).unwrap();
    db.execute_batch(MORE_ROWS).unwrap();
    let mut dice = Dice(seed());
    let marks = vec!["?"; COLUMNS.split(',').count()].join(", ");
    db.execute_batch("begin").unwrap();
    for _ in 0..2_000 {
        let row = params_from_iter(any_job(&mut dice));
        db.execute(&format!("insert into job ({COLUMNS}) values ({marks})"), row).unwrap();
    }
    // Numbers with gaps, as a history has that was pruned.
    db.execute_batch("delete from job where n > 100 and n % 7 = 0; commit").unwrap();
    let numbers = rows(&db, "select n, id from job order by n");
    let jobs = rows(&db, &format!("select {COLUMNS} from job order by id"));
    let rest = others(&db);
    drop(db);

    let store = SqliteStore::open(&path).unwrap();
    let found = store.jobs_by_id(None, 10_000).await.unwrap();
    assert_eq!(found.len(), jobs.len());
    for (before, now) in jobs.into_iter().zip(&found) {
        assert_eq!(read_json(as_before(now)), read_json(before), "seed {}", seed());
        assert_eq!((now.spec.max_lines, now.pinned), (Spec::MAX_LINES, false));
        assert!(now.dropped.is_none() && !now.unrecorded_drops);
    }
    let db = Connection::open(&path).unwrap();
    assert!(numbers == rows(&db, "select n, id from job order by n"), "logs and steps hang on the numbers");
    assert!(rest == others(&db), "the other tables are as they were");
    assert_eq!(rows(&db, "pragma integrity_check"), [[Value::Text("ok".to_owned())]]);
    let last = rows(&db, "select seq from sqlite_sequence where name = 'job'");
    assert_eq!(last[0], numbers.last().unwrap()[..1], "no number is given twice");
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
    let store = SqliteStore::open(&path).unwrap();
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
    previous(&path);
    let server = std::fs::File::create(folder.path().join("jobs.db-lock")).unwrap();
    server.try_lock().unwrap();
    assert!(matches!(SqliteAccounts::open(&path), Err(OpenError::InUse { .. })));
    assert_eq!(version(&Connection::open(&path).unwrap()), Ok(1), "it keeps its hands off");
    drop(server);
    let accounts = SqliteAccounts::open(&path).unwrap();
    assert_eq!(version(&Connection::open(&path).unwrap()), Ok(4));
    assert_eq!(accounts.tokens().await.unwrap().len(), 1);
    // And beside a server of this release nothing stands in the way.
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(SqliteAccounts::open(&path).unwrap().tokens().await.unwrap().len(), 1);
    store.close().await;
}
