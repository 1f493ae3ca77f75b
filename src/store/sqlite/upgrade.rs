//! What a migration needs and SQL does not have, as functions on the connection it runs on.
//!
//! A migration that was released runs for years: a function that one calls is never changed and never
//! taken away.

mod schema_2;

use rusqlite::Connection;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{FromSqlError, Type};
use uuid::Uuid;

use super::facts::Facts;
use crate::model::{JobId, LogCounts, Timestamp};

/// Makes the functions of all migrations known to a connection.
pub(super) fn register(db: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    db.create_scalar_function("facts_of_schema_1", 21, flags, facts_of_schema_1)?;
    db.create_scalar_function("facts_of_schema_2", 4, flags, facts_of_schema_2)
}

fn unreadable(column: usize) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, Box::new(FromSqlError::InvalidType))
}

fn id(row: &Context<'_>, column: usize) -> rusqlite::Result<JobId> {
    let id: Vec<u8> = row.get(column)?;
    Uuid::from_slice(&id).map(JobId).map_err(|_| unreadable(column))
}

/// The numbers of a job of schema 2, packed as schema 3 does: `id, facts, created_at, ended_at`.
fn facts_of_schema_2(row: &Context<'_>) -> rusqlite::Result<Vec<u8>> {
    let id = id(row, 0)?;
    let facts: Vec<u8> = row.get(1)?;
    let at = |column| row.get::<Option<i64>>(column).map(|at| at.map(Timestamp));
    let (created_at, ended_at) = (at(2)?, at(3)?);
    Ok(schema_2::unpack(&facts, id, created_at, ended_at).pack(id, ended_at))
}

/// The numbers of a job of schema 1, packed as schema 2 did. Its newest message stays where it was, beside the job.
fn facts_of_schema_1(row: &Context<'_>) -> rusqlite::Result<Vec<u8>> {
    let id = id(row, 0)?;
    let at = |column| row.get::<Option<i64>>(column).map(|at| at.map(Timestamp));
    let count = |column| row.get::<i64>(column).map(|count| count as u64);
    let small = |column| u32::try_from(row.get::<i64>(column)?).map_err(|_| unreadable(column));
    let facts = Facts {
        created_at: Timestamp(row.get(1)?),
        attempt: small(3)?,
        epoch: small(4)?,
        seq: count(5)?,
        revision: count(6)?,
        counts: LogCounts {
            info: count(7)?,
            warning: count(8)?,
            error: count(9)?,
            system: count(10)?,
            operator: count(11)?,
        },
        started_at: at(12)?,
        activity_at: Timestamp(row.get(13)?),
        heartbeat_at: at(14)?,
        said_at: None,
        progress_at: at(15)?,
        run_at: at(16)?,
        fenced: row.get(17)?,
        late_writes: count(18)?,
        late_write_at: at(19)?,
        message_key: count(20)?,
    };
    Ok(schema_2::pack(&facts, id, at(2)?))
}
