//! Is the database sound? Each job against its log, the counters against the rows.

use std::collections::HashMap;

use deadpool_postgres::GenericClient;

use super::connect::{READS_WITHIN, answered_within, unavailable};
use super::job_columns;
use super::reader;
use super::rows::{self, get};
use crate::model::{Job, Timestamp};
use crate::store::ledger::Replay;
use crate::store::{ClockMark, IntegrityReport, StoreError, StoreProgress, is_sound, told_to_stop};

/// A status by its name, or by its number where there is none.
fn status_name(number: i16) -> String {
    rows::status(number).map_or_else(|_| format!("status {number}"), |status| status.name().to_owned())
}

/// How many problems are spelt out.
const MAX_PROBLEMS: usize = 100;
/// How many jobs are read at once.
const AT_ONCE: i64 = 200;
/// How many entries of a log are read at once.
const ENTRIES: usize = 10_000;

/// Forgets the idempotency keys of requests that came before `before`.
pub(super) async fn forget_keys(db: &impl GenericClient, before: Timestamp) -> Result<u64, StoreError> {
    let forget = "delete from idempotency where at < $1";
    answered_within(READS_WITHIN, async { db.execute(forget, &[&before.0]).await.map_err(unavailable) }).await
}

/// What was last believed of the clock.
pub(super) async fn clock_mark(db: &impl GenericClient) -> Result<Option<ClockMark>, StoreError> {
    let marks = db.query_opt("select believed, doubted from clock", &[]);
    let mark = answered_within(READS_WITHIN, async { marks.await.map_err(unavailable) }).await?;
    mark.map(|row| Ok(ClockMark { believed: Timestamp(get(&row, 0)?), doubted: get(&row, 1)? })).transpose()
}

/// Remembers what a server believes of its clock.
pub(super) async fn mark_clock(db: &impl GenericClient, mark: ClockMark) -> Result<(), StoreError> {
    let put = "insert into clock (one, believed, doubted) values (true, $1, $2) \
               on conflict (one) do update set believed = excluded.believed, doubted = excluded.doubted";
    let put = async { db.execute(put, &[&mark.believed.0, &mark.doubted]).await };
    answered_within(READS_WITHIN, async { put.await.map(drop).map_err(unavailable) }).await
}

/// When the last job ended, or the last of those that have not was active.
pub(super) async fn newest_moment(db: &impl GenericClient) -> Result<Option<Timestamp>, StoreError> {
    let newest = "select greatest((select max(ended_at) from job where ended_at is not null), \
                  (select max(activity_at) from job where ended_at is null))";
    let newest = db.query_one(newest, &[]);
    let row = answered_within(READS_WITHIN, async { newest.await.map_err(unavailable) }).await?;
    Ok(get::<Option<i64>>(&row, 0)?.map(Timestamp))
}

/// Looks whether log, jobs and counters agree. `db` sees one moment.
pub(super) async fn check(
    db: &impl GenericClient,
    mut progress: StoreProgress,
) -> Result<IntegrityReport, StoreError> {
    let mut report = IntegrityReport::default();
    let row = db.query_one("select count(*) from job", &[]).await.map_err(unavailable)?;
    let total = get::<i64>(&row, 0)? as u64 + 1;
    let differing = db
        .query(
            "select feature, status, sum(rows)::bigint, sum(counted)::bigint from ( \
               select feature, status, count(*) as rows, 0 as counted from job group by 1, 2 union all \
               select feature, status, 0, n from counter) both_sides group by 1, 2 having sum(rows) <> sum(counted)",
            &[],
        )
        .await
        .map_err(unavailable)?;
    for row in &differing {
        report.problems.push(format!(
            "The counter of {} {} says {}, there are {} jobs",
            get::<String>(row, 0)?,
            status_name(get(row, 1)?),
            get::<i64>(row, 3)?,
            get::<i64>(row, 2)?
        ));
    }
    let labels = "select label, status, ended_at, id, n, feature from job cross join lateral \
        unnest(string_to_array(trim(both chr(31) from tags), chr(31))) as label \
        where ended_at is not null and tags <> ''";
    let listed = "select tag, status, ended_at, id, job, feature from job_tag";
    let astray = format!(
        "select (select count(*) from ({labels} except {listed}) missing) + \
         (select count(*) from ({listed} except {labels}) more)"
    );
    let astray: i64 = get(&db.query_one(&astray, &[]).await.map_err(unavailable)?, 0)?;
    if astray > 0 {
        report.problems.push(format!("{astray} labels are not listed as the jobs that have ended have them"));
    }
    let mut go_on = progress(1, total);
    let mut last = 0_i64;
    loop {
        if !go_on {
            return Err(told_to_stop());
        }
        let jobs = db
            .query(
                &format!("select {} from job where n > $1 order by n limit {AT_ONCE}", job_columns::names()),
                &[&last],
            )
            .await
            .map_err(unavailable)?;
        if jobs.is_empty() {
            break;
        }
        let numbers: Vec<i64> = jobs.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
        let sql = format!("select {} from step where job = any($1) order by job, i", rows::STEP);
        let steps = db.query(&sql, &[&numbers]).await.map_err(unavailable)?;
        let (read, mut unreadable) = reader::each_with_steps(&jobs, &steps)?;
        let read: HashMap<i64, Job> = read.into_iter().collect();
        for row in &jobs {
            let (n, id) = job_columns::identity(row)?;
            last = n;
            let mut replay = Replay::new(id);
            let (mut unread, mut read_to) = (None, 0_i64);
            loop {
                let sql = "select seq, at, kind, text, step, data from event where job = $1 and seq > $2 \
                           order by seq limit $3";
                let log = db.query(sql, &[&n, &read_to, &(ENTRIES as i64)]).await.map_err(unavailable)?;
                for row in &log {
                    read_to = get(row, 0)?;
                    match rows::event(row) {
                        Ok(event) => replay.add(&event),
                        // It is what was looked for; the rest may be sound.
                        Err(StoreError::Corrupt(reason)) => {
                            replay.skip();
                            unread.get_or_insert(reason);
                        }
                        Err(other) => return Err(other),
                    }
                }
                if log.len() < ENTRIES {
                    break;
                }
            }
            report.jobs += 1;
            report.events += replay.entries();
            let problem = match (read.get(&n), unread) {
                (None, _) => {
                    let error = unreadable.remove(&id);
                    let reason = error.map_or_else(String::new, |error| format!(": {error}"));
                    Some(format!("Job {id} cannot be read{reason}"))
                }
                (Some(_), Some(reason)) => Some(format!("The log of job {id} cannot be read: {reason}")),
                (Some(job), None) if replay.agrees_with(job) && is_sound(job) => None,
                (Some(_), None) => Some(format!("Job {id} is not what its log says")),
            };
            if report.problems.len() < MAX_PROBLEMS {
                report.problems.extend(problem);
            }
        }
        go_on = progress(report.jobs + 1, total);
    }
    let entries = db.query_one("select count(*) from event", &[]).await.map_err(unavailable)?;
    let (all, known) = (get::<i64>(&entries, 0)? as u64, report.events);
    if all != known {
        report.problems.push(format!("There are {all} log entries, and the jobs have {known}"));
    }
    Ok(report)
}
