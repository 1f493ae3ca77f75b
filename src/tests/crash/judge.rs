//! Whether anything in a database file is half there, asked of SQLite and not of our own code.
//!
//! The packed numbers of a job are read here once more, by a few lines of their own: what wrote them wrongly
//! would read them wrongly too.

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

/// What must never be found, and a query that counts it.
const NEVER: [(&str, &str); 4] = [
    (
        "jobs that are not what their log says",
        "select count(*) from job left join (select job, count(*) as entries, max(seq) as last, \
         sum(kind = 0) as infos from event group by job) as log on log.job = job.n \
         where number(numbers, 0) is not log.entries or number(numbers, 0) is not log.last \
         or number(numbers, 2) is not log.infos",
    ),
    ("entries without a job", "select count(*) from event where job not in (select n from job)"),
    (
        "counters that are not the rows",
        "select count(*) from (select feature, status, sum(rows) as a, sum(counted) as b from ( \
         select name.text as feature, status, count(*) as rows, 0 as counted from job \
         join name on name.n = job.feature group by 1, 2 union all \
         select feature, status, 0, n from counter) group by 1, 2 having a <> b)",
    ),
    (
        "ended jobs that no day has counted",
        "select max(0, (select count(*) from job where ended_at is not null) - \
         (select coalesce(sum(n), 0) from ended))",
    ),
];

/// A packed number: seven bits a byte, the last ones first. The first of all is a mask of the places that are
/// not zero, and those follow.
fn fact(packed: &[u8], place: usize) -> u64 {
    let value = |bytes: &[u8]| bytes.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f));
    let mut numbers = packed.split_inclusive(|byte| byte & 0x80 == 0).map(value);
    let mask: u64 = numbers.next().unwrap_or(0);
    let before = (mask & ((1 << place) - 1)).count_ones() as usize;
    if mask >> place & 1 == 0 { 0 } else { numbers.nth(before).unwrap_or(0) }
}

/// Gives a connection `number(numbers, place)`, and `signed(numbers, place)` for those that may be negative.
pub fn read_numbers(db: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    db.create_scalar_function("number", 2, flags, |row| {
        Ok(fact(&row.get::<Vec<u8>>(0)?, row.get::<u32>(1)? as usize) as i64)
    })?;
    db.create_scalar_function("signed", 2, flags, |row| {
        let packed = fact(&row.get::<Vec<u8>>(0)?, row.get::<u32>(1)? as usize);
        Ok((packed >> 1) as i64 ^ -((packed & 1) as i64))
    })
}

/// Each job against its log, the counters against the rows.
pub fn nothing_is_half_there(db: &Connection) -> Result<(), String> {
    read_numbers(db).map_err(|error| error.to_string())?;
    for (what, query) in NEVER {
        let wrong: i64 = db.query_row(query, [], |row| row.get(0)).map_err(|error| error.to_string())?;
        if wrong != 0 {
            return Err(format!("{wrong} {what}"));
        }
    }
    Ok(())
}
