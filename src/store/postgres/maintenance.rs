//! Is the database sound? Each job against its log, the counters against the rows.

use tokio_postgres::GenericClient;

use super::connect::unavailable;
use super::rows::{self, get};
use crate::model::{Event, Job};
use crate::store::{IntegrityReport, StoreError, StoreProgress, told_to_stop};

/// How many problems are spelt out.
const MAX_PROBLEMS: usize = 100;
/// How many jobs are read at once.
const AT_ONCE: i64 = 200;

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
            rows::status(get(row, 1)?)?.name(),
            get::<i64>(row, 3)?,
            get::<i64>(row, 2)?
        ));
    }
    let mut go_on = progress(1, total);
    let mut last = 0_i64;
    loop {
        if !go_on {
            return Err(told_to_stop());
        }
        let jobs = db
            .query(
                &format!("select {} from job where n > $1 order by n limit {AT_ONCE}", rows::JOB),
                &[&last],
            )
            .await
            .map_err(unavailable)?;
        if jobs.is_empty() {
            return Ok(report);
        }
        for row in &jobs {
            let (n, job) = rows::job(row)?;
            last = n;
            let log = db
                .query("select seq, at, kind, text, step, data from event where job = $1 order by seq", &[&n])
                .await
                .map_err(unavailable)?;
            let log = log.iter().map(rows::event).collect::<Result<Vec<Event>, _>>()?;
            report.jobs += 1;
            report.events += log.len() as u64;
            let gapless = log.iter().zip(1..).all(|(event, seq)| event.seq == Some(seq));
            let same = Job::replay(job.id, &log).is_some_and(|replayed| {
                (replayed.status, replayed.seq, replayed.epoch, replayed.counts)
                    == (job.status, job.seq, job.epoch, job.counts)
            });
            if !(gapless && same) && report.problems.len() < MAX_PROBLEMS {
                report.problems.push(format!("Job {} is not what its log says", job.id));
            }
        }
        go_on = progress(report.jobs + 1, total);
    }
}
