//! Entries of logs, to rows and back.

use rusqlite::{CachedStatement, Connection, Row, params};

use super::rows::unreadable;
use super::unavailable;
use crate::model::{Event, LeftOut, LineKind, LogLine, Timestamp};
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

/// Removes the entries that go because a log is full.
pub(super) fn leave_out(db: &Connection, n: i64, left_out: &LeftOut) -> rusqlite::Result<()> {
    let kind = LineKind::from(left_out.level);
    let messages = if kind == LineKind::Info { DROP_INFOS } else { DROP_OTHERS };
    db.prepare_cached(messages)?.execute(params![
        n,
        kind as u8,
        left_out.after as i64,
        left_out.until as i64
    ])?;
    if let Some(marker) = left_out.marker {
        db.prepare_cached(DROP_ENTRY)?.execute(params![n, marker as i64])?;
    }
    Ok(())
}

/// Messages of a run have a key beside their line or nothing, other entries JSON: the error that a run ended with is no
/// message.
pub(super) const DROP_INFOS: &str = "delete from event where job = ?1 and kind = ?2 and seq > ?3 and seq <= ?4 \
    and (data is null or data not like '{%')";
/// The same, where they are few among many others.
pub(super) const DROP_OTHERS: &str = "delete from event indexed by event_kind where job = ?1 and kind = ?2 \
    and kind <> 0 and seq > ?3 and seq <= ?4 and (data is null or data not like '{%')";
const DROP_ENTRY: &str = "delete from event where job = ?1 and seq = ?2";

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
