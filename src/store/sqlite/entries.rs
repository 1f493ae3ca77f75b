//! Entries of logs, to rows and back.

use rusqlite::{CachedStatement, Row, params};
use serde::{Deserialize, Serialize};

use super::rows::unreadable;
use super::unavailable;
use crate::model::{Event, EventKind, EventSource, Level, LineKind, LogLine, MessageText, Timestamp};
use crate::store::StoreError;

/// What an entry is beyond its line.
#[derive(Serialize, Deserialize)]
struct Data {
    source: EventSource,
    kind: EventKind,
}

/// The statement for [`put_event`].
pub(super) const PUT_EVENT: &str =
    "insert into event (job, seq, at, kind, text, step, data) values (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

/// Adds an entry to a job's log. A message is its line, and its key where it has one.
pub(super) fn put_event(put: &mut CachedStatement<'_>, n: i64, event: &Event) -> Result<(), StoreError> {
    let kind = event.kind.line_kind() as u8;
    let seq = event.seq.unwrap_or_default() as i64;
    if let (EventKind::Message { text, step, key, .. }, EventSource::Run) = (&event.kind, &event.source) {
        put.execute(params![
            n,
            seq,
            event.at.0,
            kind,
            text.as_str(),
            step.as_deref(),
            key.map(|key| key.to_string())
        ])
        .map_err(unavailable)?;
        return Ok(());
    }
    let data = serde_json::to_string(&Data { source: event.source.clone(), kind: event.kind.clone() })
        .map_err(|error| StoreError::Corrupt(error.to_string()))?;
    put.execute(params![n, seq, event.at.0, kind, event.sentence(), event.step_path(), data])
        .map_err(unavailable)?;
    Ok(())
}

/// Reads an entry: `seq, at, kind, text, step, data`.
pub(super) fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    let data: Option<String> = row.get(5)?;
    let (source, kind) = match data {
        Some(data) if data.starts_with('{') => {
            let data: Data = serde_json::from_str(&data).map_err(unreadable)?;
            (data.source, data.kind)
        }
        key => {
            let key = key.map(|key| key.parse()).transpose().map_err(unreadable)?;
            let level = match line_kind(row.get(2)?)? {
                LineKind::Warning => Level::Warning,
                LineKind::Error => Level::Error,
                _ => Level::Info,
            };
            let text = MessageText::new(row.get::<_, String>(3)?).map_err(unreadable)?;
            (EventSource::Run, EventKind::Message { level, text, step: row.get(4)?, key })
        }
    };
    Ok(Event { seq: Some(row.get::<_, i64>(0)? as u64), at: Timestamp(row.get(1)?), source, kind })
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
