//! Lists of jobs: keyset pages over indexes.
//!
//! A page is found in two steps: the places of its jobs, which an index has in order, then the jobs. A list
//! by label, feature or author is one query per outcome, merged here, so that the same index serves a feature
//! alone and a feature with an outcome. Which index answers is not left to the planner, who has no
//! statistics: a `+` keeps a condition from choosing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::reader::{Conditions, contains};
use super::{interned, numbers, rows, unavailable};
use crate::model::{Cursor, EndedBefore, Job, JobFilter, JobId, PageSize, Status, Timestamp};
use crate::store::record::status_number;
use crate::store::{ByteBudget, JobPage, StoreError, documents_of};
use crate::watch::guarded;

/// A job's place in a list: in which section, when it was made or ended, and the number of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    open: bool,
    at: i64,
    n: i64,
}

/// The part of a section that a page is looked for in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Section {
    /// Behind this job.
    pub after: Option<(Timestamp, JobId)>,
    /// This one at most, and what ended before it.
    pub ended: Option<EndedBefore>,
}

pub(super) fn list(
    db: &Connection,
    filter: &JobFilter,
    after: Option<Cursor>,
    size: PageSize,
) -> Result<JobPage, StoreError> {
    // One snapshot for the places and the jobs.
    let db = db.unchecked_transaction().map_err(unavailable)?;
    let wanted = size.get() + 1;
    let mut found: Vec<Place> = Vec::new();
    let status_open = filter.status.is_none_or(|status| !status.is_final());
    let status_past = filter.status.is_none_or(Status::is_final);
    let mut ended = after.and_then(|after| after.ended());
    if !filter.only_past && status_open && !matches!(after, Some(Cursor::Past { .. })) {
        let after = after.map(|after| (after.place().1, after.place().2));
        found.extend(phase(&db, filter, Section { after, ended: None }, true, wanted)?);
        if let (Some(after), Some(ended), true) = (after, ended, filter.is_mixed()) {
            found.extend(ended_since(&db, filter, after, ended, wanted)?);
            found.sort_unstable_by(|a, b| b.cmp(a));
            found.truncate(wanted);
        }
    }
    if !filter.only_open && status_past && found.len() < wanted {
        let section = match after {
            Some(Cursor::Past { at, id }) => Section { after: Some((at, id)), ended: None },
            Some(Cursor::Open { ended, .. }) => Section { after: None, ended },
            None => Section::default(),
        };
        found.extend(phase(&db, filter, section, false, wanted - found.len())?);
    }
    let more = found.len() == wanted;
    found.truncate(size.get());
    let (jobs, read) = jobs(&db, &found)?;
    // Where none of so many can be read, the page goes on behind them.
    let last = found.get(..read).and_then(|read| read.last()).filter(|_| more || read < found.len());
    if after.is_none() && filter.is_mixed() && last.is_some_and(|last| last.open) {
        ended = Some(last_ended(&db).map_err(unavailable)?.unwrap_or(EndedBefore::NONE));
    }
    let next = last.map(|last| cursor(&db, *last, ended)).transpose().map_err(unavailable)?;
    Ok(JobPage { jobs, next })
}

/// The jobs, as many as one page may carry, and how many of the places were gone through for them.
fn jobs(db: &Connection, places: &[Place]) -> Result<(Vec<Arc<Job>>, usize), StoreError> {
    let mut reader = rows::JobReader::new(db);
    let mut jobs = Vec::with_capacity(places.len());
    let mut room = ByteBudget::new(JobPage::MAX_BYTES);
    for (read, Place { n, .. }) in places.iter().enumerate() {
        match guarded(format_args!("in row {n}"), || reader.get(*n)) {
            Ok(Some(job)) => {
                if !room.take_whole(documents_of(&job), jobs.is_empty()) {
                    return Ok((jobs, read));
                }
                jobs.push(Arc::new(job));
            }
            Ok(None) => {}
            // It is left out of the page. `check` names it, and a request for it alone is told what is wrong.
            Err(StoreError::Corrupt(reason)) => tracing::error!(row = n, reason, "A job cannot be read"),
            Err(other) => return Err(other),
        }
    }
    Ok((jobs, places.len()))
}

/// The cursor behind a place, whatever can be read of its job.
fn cursor(db: &Connection, place: Place, ended: Option<EndedBefore>) -> rusqlite::Result<Cursor> {
    let id = db.query_row("select id from job where n = ?1", [place.n], |row| row.get(0))?;
    let (at, id) = (Timestamp(place.at), JobId(uuid::Uuid::from_bytes(id)));
    Ok(if place.open { Cursor::Open { at, id, ended } } else { Cursor::Past { at, id } })
}

/// The job that ended last.
fn last_ended(db: &Connection) -> rusqlite::Result<Option<EndedBefore>> {
    let row = |row: &rusqlite::Row<'_>| {
        Ok(EndedBefore { at: Timestamp(row.get(0)?), id: JobId(uuid::Uuid::from_bytes(row.get(1)?)) })
    };
    db.prepare_cached(LAST_ENDED)?.query_row([], row).optional()
}

pub(super) const LAST_ENDED: &str =
    "select ended_at, id from job where ended_at is not null order by ended_at desc, n desc limit 1";

/// The places of the jobs that have not ended, or of those that have.
fn phase(
    db: &Connection,
    filter: &JobFilter,
    section: Section,
    open: bool,
    limit: usize,
) -> Result<Vec<Place>, StoreError> {
    let mut places: Vec<Place> = Vec::new();
    let queries = queries(db, filter, section, open, limit).map_err(unavailable)?;
    let several = queries.len() > 1;
    for query in queries {
        let mut find = db.prepare_cached(&query.text).map_err(unavailable)?;
        let found = find
            .query_map(params_from_iter(query.values), |row| {
                Ok(Place { open, at: row.get(0)?, n: row.get(1)? })
            })
            .map_err(unavailable)?;
        for place in found {
            places.push(place.map_err(unavailable)?);
        }
    }
    if several {
        places.sort_unstable_by(|a, b| b.cmp(a));
        places.truncate(limit);
    }
    Ok(places)
}

/// The places among the open jobs of those that have ended since the list was begun, after one of them.
///
/// When they were made is among their packed numbers, so each of them is looked at: as many as end while somebody
/// reads a list of open jobs.
fn ended_since(
    db: &Connection,
    filter: &JobFilter,
    (after, after_id): (Timestamp, JobId),
    ended: EndedBefore,
    limit: usize,
) -> Result<Vec<Place>, StoreError> {
    let last = rows::number_of(db, ended.id).map_err(unavailable)?.unwrap_or(i64::MAX);
    let Some(mut query) = conditions(db, filter, By::End).map_err(unavailable)? else {
        return Ok(Vec::new());
    };
    query.and("ended_at is not null and (ended_at, n) > (?, ?)", [Sql::from(ended.at.0), Sql::from(last)]);
    let text = format!("select n, id, ended_at, numbers from job where {}", query.text);
    let after_n = rows::number_of(db, after_id).map_err(unavailable)?;
    let mut find = db.prepare_cached(&text).map_err(unavailable)?;
    let mut rows = find.query(params_from_iter(query.values)).map_err(unavailable)?;
    let mut newest: BinaryHeap<Reverse<Place>> = BinaryHeap::with_capacity(limit + 1);
    while let Some(row) = rows.next().map_err(unavailable)? {
        let read = || {
            let id = JobId(uuid::Uuid::from_bytes(row.get(1)?));
            let at = numbers::created_at(row.get_ref(3)?.as_blob()?, id, Timestamp(row.get(2)?));
            Ok((id, Place { open: true, at: at.0, n: row.get(0)? }))
        };
        let (id, place) = read().map_err(unavailable)?;
        let before = match after_n {
            Some(n) => (place.at, place.n) < (after.0, n),
            None => (place.at, id) < (after.0, after_id),
        };
        if before {
            newest.push(Reverse(place));
            if newest.len() > limit {
                newest.pop();
            }
        }
    }
    Ok(newest.into_iter().map(|Reverse(place)| place).collect())
}

/// The index that finds ended jobs, together with their outcome.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By<'a> {
    /// A label's, which has the feature too.
    Tag(&'a str),
    /// A feature's.
    Feature(i64),
    /// An author's.
    Author(i64),
    /// That of all, or of those that did not complete.
    End,
}

/// What the jobs must be, each as a condition that chooses no index, but for what an index has seen to. `None` where
/// nothing can match.
fn conditions(db: &Connection, filter: &JobFilter, by: By<'_>) -> rusqlite::Result<Option<Conditions>> {
    let mut where_ = Conditions { text: "true".to_owned(), values: Vec::new() };
    if let (Some(wanted), false) = (&filter.feature, matches!(by, By::Feature(_))) {
        // A name that no job ever had.
        let Some(number) = interned::name_number(db, wanted)? else { return Ok(None) };
        let of = if matches!(by, By::Tag(_)) { "listed" } else { "job" };
        where_.and(&format!("+{of}.feature = ?"), [Sql::from(number)]);
    }
    if let (Some(wanted), false) = (&filter.author, matches!(by, By::Author(_))) {
        let Some(number) = interned::name_number(db, wanted)? else { return Ok(None) };
        where_.and("+job.author = ?", [Sql::from(number)]);
    }
    if let (Some(tag), false) = (&filter.tag, matches!(by, By::Tag(_))) {
        // As they are written: a value that SQLite makes of them ends with a U+0000.
        where_.and(
            "exists (select 1 from json_each(case when json_valid(job.more) then job.more end, '$.tags') as label \
             where job.more -> label.fullkey = ?)",
            [Sql::from(rows::tag_key(tag))],
        );
    }
    if let Some(text) = &filter.text {
        let (has, values) = contains("job.title", text);
        let (names, of_name) = contains("text", text);
        let error = contains("job.error", text).0;
        let names = format!("(select n from name where {names})");
        let (low, high) = id_range(text);
        where_.and(
            &format!(
                "({has} or job.feature in {names} or job.author in {names} or {error} or job.id between ? and ?)"
            ),
            [values.clone(), of_name.clone(), of_name, values]
                .concat()
                .into_iter()
                .chain([low, high].map(Sql::from)),
        );
    }
    Ok(Some(where_))
}

/// The queries whose answers, merged, are the wanted places. None where nothing can match.
pub(super) fn queries(
    db: &Connection,
    filter: &JobFilter,
    section: Section,
    open: bool,
    limit: usize,
) -> rusqlite::Result<Vec<Conditions>> {
    // A label finds more closely than a feature, that than an author, and either than an outcome.
    let by = match (&filter.tag, &filter.feature, &filter.author) {
        _ if open => By::End,
        (Some(tag), _, _) => By::Tag(tag),
        (None, Some(feature), _) => match interned::name_number(db, feature)? {
            Some(number) => By::Feature(number),
            None => return Ok(Vec::new()),
        },
        (None, None, Some(author)) => match interned::name_number(db, author)? {
            Some(number) => By::Author(number),
            None => return Ok(Vec::new()),
        },
        (None, None, None) => By::End,
    };
    let Some(mut where_) = conditions(db, filter, by)? else { return Ok(Vec::new()) };
    let (at, n) = match by {
        By::Tag(tag) => {
            where_.and("listed.tag = ?", [Sql::from(rows::tag_key(tag))]);
            ("listed.ended_at", "listed.job")
        }
        _ => {
            where_.and(&format!("job.ended_at {} null", if open { "is" } else { "is not" }), []);
            (if open { "job.created_at" } else { "job.ended_at" }, "job.n")
        }
    };
    if let Some((time, id)) = section.after {
        match rows::number_of(db, id)? {
            Some(number) => where_.and(&format!("({at}, {n}) < (?, ?)"), [time.0, number].map(Sql::from)),
            // It is gone since. Jobs of one moment are numbered as their ids are, or nearly.
            None => where_.and(
                &format!("{at} <= ? and ({at} < ? or job.id < ?)"),
                [Sql::from(time.0), Sql::from(time.0), Sql::from(id.0.as_bytes().to_vec())],
            ),
        }
    }
    if let Some(EndedBefore { at: time, id }) = section.ended {
        let number = rows::number_of(db, id)?.unwrap_or(i64::MAX);
        where_.and(&format!("({at}, {n}) <= (?, ?)"), [time.0, number].map(Sql::from));
    }
    let statuses: Vec<Option<Status>> = match filter.status {
        None if by != By::End => {
            Status::ALL.into_iter().filter(|status| status.is_final()).map(Some).collect()
        }
        status => vec![status],
    };
    let from = match by {
        By::Tag(_) if where_.text.contains("job.") => {
            "job_tag as listed cross join job on job.n = listed.job"
        }
        By::Tag(_) => "job_tag as listed",
        _ => "job",
    };
    let query = |status: Option<Status>| {
        let mut text = where_.text.clone();
        if let Some(status) = status {
            let number = status_number(status);
            text.push_str(&match (by, status) {
                // As the index has it.
                (By::Tag(_), _) => format!(" and listed.status = {number}"),
                (By::Feature(name), _) => {
                    format!(" and job.feature * 8 + job.status = {}", name * 8 + number)
                }
                (By::Author(name), _) => format!(" and job.author * 8 + job.status = {}", name * 8 + number),
                // Said outright, so that the index over those that did not complete can be used.
                (By::End, Status::Failed | Status::Aborted) => {
                    format!(" and job.status = {number} and job.status > 4")
                }
                _ => format!(" and +job.status = {number}"),
            });
        }
        let text =
            format!("select {at}, {n} from {from} where {text} order by {at} desc, {n} desc limit {limit}");
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
    let places: Vec<Place> = found.into_iter().map(|n| Place { open: false, at: 0, n }).collect();
    Ok(jobs(&db, &places)?.0)
}

/// By the half of the id that is in the index; those few that have it in common are put in order.
pub(super) const BY_ID: &str = "select n from job where substr(id, 1, 8) >= ?1 and id > ?2 \
    order by substr(id, 1, 8), id limit ?3";
