//! What is only read, over a pool of connections. Asks the database each time: what another node wrote a
//! moment ago must be seen by whoever asks here.

use std::fmt::Write as _;
use std::sync::Arc;

use tokio_postgres::types::ToSql;
use tokio_postgres::{GenericClient, Row};

use super::connect::unavailable;
use super::rows::{self, get};
use super::text::stored;
use crate::model::{
    Counts, Cursor, Event, Job, JobFilter, JobId, LineKind, LogFilter, OutcomeCounts, PageSize, Refusal, Status,
};
use crate::store::memory::cursor_of;
use crate::store::record::status_number;
use crate::store::{FeatureCounts, JobPage, LogFrom, LogPage, LogQuery, StoreError};

type Value = Box<dyn ToSql + Sync + Send>;

/// A query that is put together from conditions. `?` in a condition stands for its next value.
#[derive(Default)]
struct Conditions {
    text: String,
    values: Vec<Value>,
}

impl Conditions {
    fn and(&mut self, condition: &str, values: impl IntoIterator<Item = Value>) {
        if !self.text.is_empty() {
            self.text.push_str(" and ");
        }
        let mut values = values.into_iter();
        for part in condition.split_inclusive('?') {
            match (part.strip_suffix('?'), part.ends_with('?').then(|| values.next()).flatten()) {
                (Some(before), Some(value)) => {
                    self.values.push(value);
                    let _ = write!(self.text, "{before}${}", self.values.len());
                }
                _ => self.text.push_str(part),
            }
        }
    }

    async fn query(&self, db: &impl GenericClient, sql: &str) -> Result<Vec<Row>, StoreError> {
        let values: Vec<&(dyn ToSql + Sync)> =
            self.values.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect();
        db.query(sql, &values).await.map_err(unavailable)
    }
}

fn value(value: impl ToSql + Sync + Send + 'static) -> Value {
    Box::new(value)
}

fn text(text: &str) -> Value {
    value(stored(text).into_owned())
}

/// A `like` pattern that finds `text` anywhere, with `\` as the escape.
fn containing(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for c in stored(text).chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

pub(super) async fn jobs_by_id(
    db: &impl GenericClient,
    condition: &str,
    value: &(dyn ToSql + Sync),
) -> Result<Vec<Arc<Job>>, StoreError> {
    let jobs = db
        .query(&format!("select {} from job where {condition}", rows::JOB), &[value])
        .await
        .map_err(unavailable)?;
    with_steps(db, jobs).await
}

async fn with_steps(db: &impl GenericClient, jobs: Vec<Row>) -> Result<Vec<Arc<Job>>, StoreError> {
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let numbers: Vec<i64> = jobs.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
    let steps = db
        .query(&format!("select {} from step where job = any($1) order by job, i", rows::STEP), &[&numbers])
        .await
        .map_err(unavailable)?;
    Ok(rows::with_steps(&jobs, &steps)?.into_iter().map(|(_, job)| Arc::new(job)).collect())
}

pub(super) async fn list(
    db: &impl GenericClient,
    filter: &JobFilter,
    after: Option<Cursor>,
    size: PageSize,
) -> Result<JobPage, StoreError> {
    let mut jobs: Vec<Arc<Job>> = Vec::new();
    let wanted = size.get() + 1;
    let status_open = filter.status.is_none_or(|status| !status.is_final());
    let status_past = filter.status.is_none_or(Status::is_final);
    if !filter.only_past && status_open && !matches!(after, Some(Cursor::Past { .. })) {
        jobs.extend(phase(db, filter, after, true, wanted).await?);
    }
    if !filter.only_open && status_past && jobs.len() < wanted {
        let after = after.filter(|cursor| matches!(cursor, Cursor::Past { .. }));
        jobs.extend(phase(db, filter, after, false, wanted - jobs.len()).await?);
    }
    let more = jobs.len() == wanted;
    jobs.truncate(size.get());
    let next = jobs.last().filter(|_| more).map(|job| cursor_of(job));
    Ok(JobPage { jobs, next })
}

/// A page of the jobs that have not ended, or of those that have.
async fn phase(
    db: &impl GenericClient,
    filter: &JobFilter,
    after: Option<Cursor>,
    open: bool,
    limit: usize,
) -> Result<Vec<Arc<Job>>, StoreError> {
    let (is, column) = if open { ("is", "created_at") } else { ("is not", "ended_at") };
    let mut where_ = Conditions { text: format!("ended_at {is} null"), values: Vec::new() };
    if let Some(feature) = &filter.feature {
        where_.and("feature = ?", [text(feature)]);
    }
    if let Some(status) = filter.status {
        where_.and("status = ?", [value(status_number(status) as i16)]);
    }
    if let Some(author) = &filter.author {
        where_.and("author = ?", [text(author)]);
    }
    if let Some(tag) = &filter.tag {
        let tag = format!("{}{}{}", rows::TAG_END, stored(tag), rows::TAG_END);
        where_.and("position(? in tags) > 0", [value(tag)]);
    }
    if let Some(wanted) = &filter.text {
        let pattern = containing(wanted);
        let prefix: String = wanted.chars().filter(|c| *c != '-').flat_map(char::to_lowercase).collect();
        // The C collation, so that letters beyond ASCII are what they are, as in every other store.
        let like = "collate \"C\" ilike ?";
        where_.and(
            &format!(
                "(coalesce(title, feature) {like} or feature {like} or author {like} or error {like} \
                 or starts_with(replace(id::text, '-', ''), ?))"
            ),
            [pattern.clone(), pattern.clone(), pattern.clone(), pattern, id_prefix(&prefix)].map(value),
        );
    }
    if let Some(Cursor::Open { at, id } | Cursor::Past { at, id }) = after {
        where_.and(&format!("({column}, id) < (?, ?)"), [value(at.0), value(id.0)]);
    }
    let query = format!(
        "select {} from job where {} order by {column} desc, id desc limit {limit}",
        rows::JOB,
        where_.text
    );
    let found = where_.query(db, &query).await?;
    with_steps(db, found).await
}

/// What finds an id by its beginning: hexadecimal digits, or nothing that matches.
fn id_prefix(text: &str) -> String {
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_hexdigit()) {
        text.to_owned()
    } else {
        "no id".to_owned()
    }
}

async fn number_of(db: &impl GenericClient, id: JobId) -> Result<i64, StoreError> {
    let found = db.query_opt("select n from job where id = $1", &[&id.0]).await.map_err(unavailable)?;
    match found {
        Some(row) => get(&row, 0),
        None => Err(Refusal::NotFound { id }.into()),
    }
}

fn log_conditions(n: i64, filter: &LogFilter) -> Conditions {
    let mut where_ = Conditions::default();
    where_.and("job = ?", [value(n)]);
    let kinds: Vec<String> = filter.wanted().iter().map(|kind| (*kind as u8).to_string()).collect();
    where_.and(&format!("kind in ({})", kinds.join(", ")), []);
    if !filter.wanted().contains(&LineKind::Info) {
        // Said outright, so that the index over the few lines that are not infos can be used.
        where_.and("kind <> 0", []);
    }
    if let Some(step) = &filter.step {
        where_.and("(step = ? or starts_with(step, ?))", [text(step), text(&format!("{step}/"))]);
    }
    if let Some(wanted) = &filter.text {
        where_.and("text collate \"C\" ilike ?", [value(containing(wanted))]);
    }
    where_
}

/// A part of a log. `db` is a transaction: the counters and the lines are of one moment.
pub(super) async fn log(
    db: &impl GenericClient,
    id: JobId,
    query: &LogQuery,
) -> Result<LogPage, StoreError> {
    let n = number_of(db, id).await?;
    let (place, order) = match query.from {
        LogFrom::End => (None, "desc"),
        LogFrom::Before(seq) => (Some(("seq < ?", seq)), "desc"),
        LogFrom::After(seq) => (Some(("seq > ?", seq)), "asc"),
    };
    let mut page = log_conditions(n, &query.filter);
    if let Some((condition, seq)) = place {
        page.and(condition, [value(i64::try_from(seq).unwrap_or(i64::MAX))]);
    }
    let sql = format!(
        "select seq, at, kind, text, step from event where {} order by seq {order} limit {}",
        page.text,
        query.limit + 1
    );
    let mut lines =
        page.query(db, &sql).await?.iter().map(rows::line).collect::<Result<Vec<_>, StoreError>>()?;
    let more = lines.len() > query.limit;
    lines.truncate(query.limit);
    if order == "desc" {
        lines.reverse();
    }
    let total = match (query.count, query.filter.needs_scan()) {
        (false, _) => None,
        (true, true) => {
            let all = log_conditions(n, &query.filter);
            let found = all.query(db, &format!("select count(*) from event where {}", all.text)).await?;
            found.first().map(|row| get::<i64>(row, 0)).transpose()?.map(|total| total as u64)
        }
        (true, false) => {
            let row = db
                .query_one("select infos, warnings, errors, systems, operators from job where n = $1", &[&n])
                .await
                .map_err(unavailable)?;
            let mut sum = 0;
            for kind in LineKind::SHOWN.iter().filter(|kind| query.filter.wanted().contains(kind)) {
                sum += get::<i64>(&row, *kind as usize)? as u64;
            }
            Some(sum)
        }
    };
    Ok(LogPage { lines, total, more })
}

pub(super) async fn events(
    db: &impl GenericClient,
    id: JobId,
    after: u64,
    limit: usize,
) -> Result<Vec<Event>, StoreError> {
    let n = number_of(db, id).await?;
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let found = db
        .query(
            "select seq, at, kind, text, step, data from event where job = $1 and seq > $2 order by seq limit $3",
            &[&n, &after, &(limit as i64)],
        )
        .await
        .map_err(unavailable)?;
    found.iter().map(rows::event).collect()
}

pub(super) async fn ended_on(db: &impl GenericClient, day: i64) -> Result<OutcomeCounts, StoreError> {
    let found = db
        .query("select status, sum(n)::bigint from ended where day = $1 group by status", &[&day])
        .await
        .map_err(unavailable)?;
    let mut counts = OutcomeCounts::default();
    for row in &found {
        if let Some(outcome) = rows::status(get(row, 0)?)?.outcome() {
            *counts.of_mut(outcome) = get::<i64>(row, 1)? as u64;
        }
    }
    Ok(counts)
}

pub(super) async fn features(
    db: &impl GenericClient,
    limit: usize,
) -> Result<Vec<FeatureCounts>, StoreError> {
    // Over the counters, of which there is a handful a feature; never over the jobs.
    let found = db
        .query(
            "select feature, status, sum(n)::bigint from counter where feature in \
             (select feature from counter group by feature having sum(n) > 0 \
              order by sum(n) desc, feature collate \"C\" limit $1) \
             group by feature, status",
            &[&(limit as i64)],
        )
        .await
        .map_err(unavailable)?;
    let mut features: Vec<FeatureCounts> = Vec::new();
    for row in &found {
        let feature = super::text::original(get(row, 0)?);
        let (status, n) = (rows::status(get(row, 1)?)?, get::<i64>(row, 2)? as u64);
        let place = match features.iter().position(|row| row.feature == feature) {
            Some(place) => place,
            None => {
                features.push(FeatureCounts { feature, counts: Counts::default() });
                features.len() - 1
            }
        };
        features[place].counts.set(status, n);
    }
    features.sort_by_key(|row| {
        (std::cmp::Reverse(row.counts.by_status.iter().sum::<u64>()), row.feature.clone())
    });
    Ok(features)
}
