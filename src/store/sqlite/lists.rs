//! Lists of jobs: keyset pages over indexes.
//!
//! A page is found in two steps: the places of its jobs, which an index has in order, then the jobs. A list
//! by feature or by author is one query per outcome, merged here, so that the same index serves a feature
//! alone and a feature with an outcome. Which index answers is not left to the planner, who has no
//! statistics: a `+` keeps a condition from choosing.

use std::sync::Arc;

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, params, params_from_iter};

use super::reader::{Conditions, containing};
use super::{interned, rows, unavailable};
use crate::model::{Cursor, Job, JobFilter, JobId, PageSize, Status, Timestamp};
use crate::store::record::status_number;
use crate::store::{ByteBudget, JobPage, StoreError, documents_of};
use crate::watch::guarded;

pub(super) fn list(
    db: &Connection,
    filter: &JobFilter,
    after: Option<Cursor>,
    size: PageSize,
) -> Result<JobPage, StoreError> {
    // One snapshot for the places and the jobs.
    let db = db.unchecked_transaction().map_err(unavailable)?;
    let wanted = size.get() + 1;
    let mut found: Vec<i64> = Vec::new();
    let status_open = filter.status.is_none_or(|status| !status.is_final());
    let status_past = filter.status.is_none_or(Status::is_final);
    if !filter.only_past && status_open && !matches!(after, Some(Cursor::Past { .. })) {
        found.extend(phase(&db, filter, after, true, wanted)?);
    }
    if !filter.only_open && status_past && found.len() < wanted {
        let after = after.filter(|cursor| matches!(cursor, Cursor::Past { .. }));
        let limit = wanted - found.len();
        found.extend(phase(&db, filter, after, false, limit)?);
    }
    let more = found.len() == wanted;
    found.truncate(size.get());
    let (jobs, all) = jobs(&db, &found)?;
    if jobs.is_empty() && more {
        // None of so many can be read: the page goes on behind them.
        let Some(last) = found.last() else { return Ok(JobPage { jobs, next: None }) };
        let next = place_of(&db, *last).map_err(unavailable)?;
        return Ok(JobPage { jobs, next: Some(next) });
    }
    let next = jobs.last().filter(|_| more || !all).map(|job| Cursor::of(job));
    Ok(JobPage { jobs, next })
}

/// The jobs, as many as one page may carry, and whether that is all of them.
fn jobs(db: &Connection, numbers: &[i64]) -> Result<(Vec<Arc<Job>>, bool), StoreError> {
    let mut reader = rows::JobReader::new(db);
    let mut jobs = Vec::with_capacity(numbers.len());
    let mut room = ByteBudget::new(JobPage::MAX_BYTES);
    for n in numbers {
        match guarded(format_args!("in row {n}"), || reader.get(*n)) {
            Ok(Some(job)) => {
                if !room.take_whole(documents_of(&job), jobs.is_empty()) {
                    return Ok((jobs, false));
                }
                jobs.push(Arc::new(job));
            }
            Ok(None) => {}
            // The page is for the others. `check` names it, and whoever asks for it is told.
            Err(StoreError::Corrupt(reason)) => tracing::error!(row = n, reason, "A job cannot be read"),
            Err(other) => return Err(other),
        }
    }
    Ok((jobs, true))
}

/// The place of a job in the list, whatever can be read of it.
fn place_of(db: &Connection, n: i64) -> rusqlite::Result<Cursor> {
    db.query_row("select id, created_at, ended_at from job where n = ?1", [n], |row| {
        let id = JobId(uuid::Uuid::from_bytes(row.get(0)?));
        let ended: Option<i64> = row.get(2)?;
        Ok(match ended {
            Some(at) => Cursor::Past { at: Timestamp(at), id },
            None => Cursor::Open { at: Timestamp(row.get(1)?), id },
        })
    })
}

/// The places of the jobs that have not ended, or of those that have.
fn phase(
    db: &Connection,
    filter: &JobFilter,
    after: Option<Cursor>,
    open: bool,
    limit: usize,
) -> Result<Vec<i64>, StoreError> {
    let mut places: Vec<(i64, i64)> = Vec::new();
    let queries = queries(db, filter, after, open, limit).map_err(unavailable)?;
    let several = queries.len() > 1;
    for query in queries {
        let mut find = db.prepare_cached(&query.text).map_err(unavailable)?;
        let found = find
            .query_map(params_from_iter(query.values), |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(unavailable)?;
        for place in found {
            places.push(place.map_err(unavailable)?);
        }
    }
    if several {
        places.sort_unstable_by(|a, b| b.cmp(a));
        places.truncate(limit);
    }
    Ok(places.into_iter().map(|(_, n)| n).collect())
}

/// The queries whose answers, merged, are the wanted places. None where nothing can match.
pub(super) fn queries(
    db: &Connection,
    filter: &JobFilter,
    after: Option<Cursor>,
    open: bool,
    limit: usize,
) -> rusqlite::Result<Vec<Conditions>> {
    let column = if open { "created_at" } else { "ended_at" };
    let is = if open { "is" } else { "is not" };
    let mut where_ = Conditions { text: format!("ended_at {is} null"), values: Vec::new() };
    // The column whose index finds the jobs, together with their outcome. A feature finds more closely than an
    // author, and either than an outcome.
    let mut by_name: Option<(&str, i64)> = None;
    for (column, wanted) in [("feature", &filter.feature), ("author", &filter.author)] {
        let Some(wanted) = wanted else { continue };
        // A name that no job ever had.
        let Some(number) = interned::name_number(db, wanted)? else { return Ok(Vec::new()) };
        if open || by_name.is_some() {
            where_.and(&format!("+{column} = ?"), [Sql::from(number)]);
        } else {
            by_name = Some((column, number));
        }
    }
    if let Some(tag) = &filter.tag {
        where_.and(
            "exists (select 1 from json_each(more, '$.tags') where value = ?)",
            [Sql::from(tag.clone())],
        );
    }
    if let Some(text) = &filter.text {
        let like = "like ? escape '\\'";
        let names = format!("(select n from name where text {like})");
        let (low, high) = id_range(text);
        where_.and(
            &format!(
                "(title {like} or feature in {names} or author in {names} or error {like} \
                 or id between ? and ?)"
            ),
            std::iter::repeat_n(Sql::from(containing(text)), 4).chain([Sql::from(low), Sql::from(high)]),
        );
    }
    if let Some(Cursor::Open { at, id } | Cursor::Past { at, id }) = after {
        // A job that is gone since leaves its time.
        let n = rows::number_of(db, id)?.unwrap_or(0);
        where_.and(&format!("({column}, n) < (?, ?)"), [Sql::from(at.0), Sql::from(n)]);
    }
    let statuses: Vec<Option<Status>> = match filter.status {
        None if by_name.is_some() => {
            Status::ALL.into_iter().filter(|status| status.is_final()).map(Some).collect()
        }
        status => vec![status],
    };
    let query = |status: Option<Status>| {
        let mut text = where_.text.clone();
        if let Some(status) = status {
            let number = status_number(status);
            text.push_str(&match (by_name, status) {
                // As the index has it.
                (Some((column, name)), _) => format!(" and {column} * 8 + status = {}", name * 8 + number),
                // Said outright, so that the index over those that did not complete can be used.
                (None, Status::Failed | Status::Aborted) => {
                    format!(" and status = {number} and status > 4")
                }
                _ => format!(" and +status = {number}"),
            });
        }
        let text =
            format!("select {column}, n from job where {text} order by {column} desc, n desc limit {limit}");
        Conditions { text, values: where_.values.clone() }
    };
    Ok(statuses.into_iter().map(query).collect())
}

/// Between which ids lie those that begin with a text. Nothing lies between two that are the wrong way round.
fn id_range(text: &str) -> (Vec<u8>, Vec<u8>) {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let fits = (1..=32).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_hexdigit());
    let bound = |fill: &str| u128::from_str_radix(&format!("{digits}{}", fill.repeat(32 - digits.len())), 16);
    match (fits, fits.then(|| (bound("0"), bound("f")))) {
        (true, Some((Ok(low), Ok(high)))) => (low.to_be_bytes().to_vec(), high.to_be_bytes().to_vec()),
        _ => (vec![1], vec![0]),
    }
}

/// Jobs in the order of their ids, after one of them.
pub(super) fn jobs_by_id(
    db: &Connection,
    after: Option<JobId>,
    limit: usize,
) -> Result<Vec<Arc<Job>>, StoreError> {
    let db = db.unchecked_transaction().map_err(unavailable)?;
    let after = after.map(|id| *id.0.as_bytes());
    let begins = after.map_or([0; 8].to_vec(), |id| id[..8].to_vec());
    let after = after.map_or(Vec::new(), |id| id.to_vec());
    let found: Vec<i64> = db
        .prepare_cached(BY_ID)
        .and_then(|mut find| {
            find.query_map(params![begins, after, limit as i64], |row| row.get(0))?.collect()
        })
        .map_err(unavailable)?;
    Ok(jobs(&db, &found)?.0)
}

/// By the half of the id that is in the index; those few that have it in common are put in order.
pub(super) const BY_ID: &str = "select n from job where substr(id, 1, 8) >= ?1 and id > ?2 \
    order by substr(id, 1, 8), id limit ?3";
