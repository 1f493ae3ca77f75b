//! Entries of logs, to rows and back.

use rusqlite::{CachedStatement, Row, params};

use super::rows::unreadable;
use super::unavailable;
use crate::model::{Event, LineKind, LogLine, Timestamp};
use crate::store::StoreError;
use crate::store::record::EntryColumns;

/// The statement for [`put_event`].
pub(super) const PUT_EVENT: &str =
    "insert into event (job, seq, at, kind, text, step, data) values (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

/// Adds an entry to a job's log.
pub(super) fn put_event(put: &mut CachedStatement<'_>, n: i64, event: &Event) -> Result<(), StoreError> {
    let entry = EntryColumns::of(event)?;
    put.execute(params![n, entry.seq, entry.at, entry.kind, entry.text, entry.step, entry.data])
        .map_err(unavailable)?;
    Ok(())
}

/// Reads an entry: `seq, at, kind, text, step, data`.
pub(super) fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    let entry = EntryColumns {
        seq: row.get(0)?,
        at: row.get(1)?,
        kind: row.get(2)?,
        text: row.get::<_, String>(3)?.into(),
        step: row.get::<_, Option<String>>(4)?.map(Into::into),
        data: row.get(5)?,
    };
    entry.read().map_err(unreadable)
}

pub(super) fn line_kind(number: u8) -> rusqlite::Result<LineKind> {
    LineKind::from_number(number).ok_or(rusqlite::Error::IntegralValueOutOfRange(2, i64::from(number)))
}

/// Reads a line: `seq, at, kind, text, step`.
pub(super) fn line(row: &Row<'_>) -> rusqlite::Result<LogLine> {
    Ok(LogLine {
        seq: row.get::<_, i64>(0)? as u64,
        at: Timestamp(row.get(1)?),
        kind: line_kind(row.get(2)?)?,
        text: row.get(3)?,
        step: row.get(4)?,
    })
}
