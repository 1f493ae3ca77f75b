//! Whether anything in a database file is half there, asked of SQLite and not of our own code.

use rusqlite::Connection;

/// What must never be found, and a query that counts it.
const NEVER: [(&str, &str); 4] = [
    (
        "jobs that are not what their log says",
        "select count(*) from job left join (select job, count(*) as entries, max(seq) as last, \
         sum(kind = 0) as infos from event group by job) as log on log.job = job.n \
         where job.seq is not log.entries or job.seq is not log.last or job.infos is not log.infos",
    ),
    ("entries without a job", "select count(*) from event where job not in (select n from job)"),
    (
        "counters that are not the rows",
        "select count(*) from (select feature, status, sum(rows) as a, sum(counted) as b from ( \
         select feature, status, count(*) as rows, 0 as counted from job group by 1, 2 union all \
         select feature, status, 0, n from counter) group by 1, 2 having a <> b)",
    ),
    (
        "ended jobs that no day has counted",
        "select max(0, (select count(*) from job where ended_at is not null) - \
         (select coalesce(sum(n), 0) from ended))",
    ),
];

/// Each job against its log, the counters against the rows.
pub fn nothing_is_half_there(db: &Connection) -> Result<(), String> {
    for (what, query) in NEVER {
        let wrong: i64 = db.query_row(query, [], |row| row.get(0)).map_err(|error| error.to_string())?;
        if wrong != 0 {
            return Err(format!("{wrong} {what}"));
        }
    }
    Ok(())
}
