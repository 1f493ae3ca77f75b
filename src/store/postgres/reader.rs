//! What is only read, over a pool of connections. Asks the database each time: what another node wrote a
//! moment ago must be seen by whoever asks here.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use deadpool_postgres::GenericClient;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::connect::{READS_WITHIN, answered_within, unavailable};
use super::job_columns;
use super::rows::{self, get};
use super::text::{ESCAPE, at_a_boundary, stored};
use crate::model::{
    Counts, Cursor, EndedBefore, Event, Job, JobFilter, JobId, LineKind, LogFilter, OutcomeCounts, PageSize,
    Refusal, Status, Timestamp,
};
use crate::store::record::status_number;
use crate::store::{
    ByteBudget, FeatureCounts, JobPage, LOG_PAGE_BYTES, LogFrom, LogPage, LogQuery, MESSAGES, NEWEST_BYTES,
    Newest, StoreError, sent_bytes,
};
use crate::watch::guarded;

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
        ask(db, sql, &values).await
    }
}

/// Asks with a statement that is prepared once a connection.
pub(super) async fn ask(
    db: &impl GenericClient,
    sql: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, StoreError> {
    let answer = async {
        let statement = db.prepare_cached(sql).await?;
        db.query(&statement, values).await
    };
    answered_within(READS_WITHIN, async { answer.await.map_err(unavailable) }).await
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

/// A condition on a text: that it contains `wanted`; ASCII letters match either case.
fn contains(column: &str, wanted: &str) -> (String, Vec<Value>) {
    // The C collation, so that letters beyond ASCII are what they are, as in every other store.
    let like = format!("{column} collate \"C\" ilike ?");
    let pattern = value(containing(wanted));
    match at_a_boundary(wanted) {
        None => (like, vec![pattern]),
        Some(exactly) => (
            format!("({like} and (strpos({column}, ?) = 0 or {column} collate \"C\" ~* ?))"),
            vec![pattern, value(ESCAPE.to_string()), value(exactly)],
        ),
    }
}

/// Jobs under a condition on `$1`.
pub(super) async fn jobs_where(
    db: &impl GenericClient,
    condition: &str,
    value: &(dyn ToSql + Sync),
) -> Result<Vec<Arc<Job>>, StoreError> {
    let jobs =
        ask(db, &format!("select {} from job where {condition}", job_columns::names()), &[value]).await?;
    with_steps(db, jobs).await
}

/// Jobs in the order of their ids, after one of them.
pub(super) async fn in_order_of_id(
    db: &impl GenericClient,
    after: Option<JobId>,
    limit: usize,
) -> Result<Vec<Arc<Job>>, StoreError> {
    let after = after.map_or(uuid::Uuid::nil(), |id| id.0);
    let sql = format!("select {} from job where id > $1 order by id limit $2", job_columns::names());
    let jobs = ask(db, &sql, &[&after, &(limit as i64)]).await?;
    with_steps(db, jobs).await
}

async fn with_steps(db: &impl GenericClient, jobs: Vec<Row>) -> Result<Vec<Arc<Job>>, StoreError> {
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let numbers: Vec<i64> = jobs.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
    let sql = format!("select {} from step where job = any($1) order by job, i", rows::STEP);
    let steps = ask(db, &sql, &[&numbers]).await?;
    Ok(rows::with_steps(&jobs, &steps)?.into_iter().map(|(_, job)| Arc::new(job)).collect())
}

/// Jobs with their row numbers.
type Numbered = Vec<(i64, Job)>;

/// Jobs that can be read, and what is wrong with the others.
pub(super) fn each_with_steps(
    jobs: &[Row],
    steps: &[Row],
) -> Result<(Numbered, HashMap<JobId, StoreError>), StoreError> {
    let mut of_job: HashMap<i64, &[Row]> = HashMap::new();
    let job_of = |row: &Row| get::<i64>(row, 0).unwrap_or_default();
    for steps in steps.chunk_by(|one, next| job_of(one) == job_of(next)) {
        if let Some(first) = steps.first() {
            of_job.insert(get(first, 0)?, steps);
        }
    }
    let (mut read, mut unreadable) = (Vec::with_capacity(jobs.len()), HashMap::new());
    for row in jobs {
        let (n, id) = job_columns::identity(row)?;
        let steps = of_job.get(&n).copied().unwrap_or_default();
        match guarded(id, || rows::with_steps(std::slice::from_ref(row), steps)) {
            Ok(job) => read.extend(job),
            Err(error) => {
                tracing::error!(job = %id, error = %error, "A job cannot be read");
                unreadable.insert(id, error);
            }
        }
    }
    Ok((read, unreadable))
}

/// A job of a page: its place, and itself where it can be read.
type Found = (Cursor, Option<Arc<Job>>);

pub(super) async fn list(
    db: &impl GenericClient,
    filter: &JobFilter,
    after: Option<Cursor>,
    size: PageSize,
) -> Result<JobPage, StoreError> {
    let (mut found, mut cut): (Vec<Found>, bool) = (Vec::new(), false);
    let wanted = size.get() + 1;
    let status_open = filter.status.is_none_or(|status| !status.is_final());
    let status_past = filter.status.is_none_or(Status::is_final);
    let since = after.and_then(|after| after.ended()).filter(|_| filter.is_mixed());
    if !filter.only_past && status_open && !matches!(after, Some(Cursor::Past { .. })) {
        (found, cut) = phase(db, filter, after, since, true, wanted).await?;
    }
    if !filter.only_open && status_past && !cut && found.len() < wanted {
        let after = after.filter(|cursor| matches!(cursor, Cursor::Past { .. }));
        let (past, past_cut) = phase(db, filter, after, since, false, wanted - found.len()).await?;
        found.extend(past);
        cut = past_cut;
    }
    let more = cut || found.len() == wanted;
    found.truncate(size.get());
    let next = found.last().filter(|_| more).map(|(place, _)| *place);
    let mut page = JobPage { jobs: found.into_iter().filter_map(|(_, job)| job).collect(), next };
    page.fit(since);
    if let Some(Cursor::Open { ended, .. }) = &mut page.next
        && after.is_none()
        && filter.is_mixed()
    {
        *ended = Some(last_ended(db).await?.unwrap_or(EndedBefore::NONE));
    }
    Ok(page)
}

/// The job that ended last.
async fn last_ended(db: &impl GenericClient) -> Result<Option<EndedBefore>, StoreError> {
    let sql =
        "select ended_at, id from job where ended_at is not null order by ended_at desc, id desc limit 1";
    let rows = ask(db, sql, &[]).await?;
    rows.first()
        .map(|row| Ok(EndedBefore { at: Timestamp(get(row, 0)?), id: JobId(get(row, 1)?) }))
        .transpose()
}

/// What the jobs must be. `by_tag` has seen to label and feature.
fn job_conditions(filter: &JobFilter, by_tag: bool) -> Conditions {
    let mut where_ = Conditions { text: "true".to_owned(), values: Vec::new() };
    if let (Some(feature), false) = (&filter.feature, by_tag) {
        where_.and("feature = ?", [text(feature)]);
    }
    if let Some(author) = &filter.author {
        where_.and("author = ?", [text(author)]);
    }
    if let (Some(tag), false) = (&filter.tag, by_tag) {
        let tag = format!("{}{}{}", rows::TAG_END, rows::tag_key(tag), rows::TAG_END);
        where_.and("position(? in tags) > 0", [value(tag)]);
    }
    if let Some(wanted) = &filter.text {
        let prefix: String = wanted.chars().filter(|c| *c != '-').flat_map(char::to_lowercase).collect();
        let columns = ["coalesce(title, feature)", "feature", "author", "error"];
        let (has, mut values): (Vec<String>, Vec<Vec<Value>>) =
            columns.into_iter().map(|column| contains(column, wanted)).unzip();
        values.push(vec![value(id_prefix(&prefix))]);
        let has = has.join(" or ");
        where_.and(
            &format!("({has} or starts_with(replace(id::text, '-', ''), ?))"),
            values.into_iter().flatten(),
        );
    }
    where_
}

/// The queries whose answers, merged, are a page of the jobs that have not ended, or of those that have, and the column
/// they are in order of.
fn queries(
    filter: &JobFilter,
    after: Option<Cursor>,
    since: Option<EndedBefore>,
    open: bool,
    limit: usize,
) -> (Conditions, Vec<String>, &'static str) {
    let column = if open { "created_at" } else { "ended_at" };
    let by_tag = filter.tag.as_ref().filter(|_| !open);
    let mut where_ = job_conditions(filter, by_tag.is_some());
    // What is said of the job, and what of its place in the list.
    let job = std::mem::replace(&mut where_.text, "true".to_owned());
    if let Some(tag) = by_tag {
        where_.and("tag = ?", [value(rows::tag_key(tag))]);
        if let Some(feature) = &filter.feature {
            where_.and("feature = ?", [text(feature)]);
        }
    }
    if let Some(Cursor::Open { at, id, .. } | Cursor::Past { at, id }) = after {
        where_.and(&format!("({column}, id) < (?, ?)"), [value(at.0), value(id.0)]);
    }
    // What has ended since the list was begun is among the open jobs still.
    let ended = since.map_or_else(String::new, |EndedBefore { at, id }| {
        where_.values.extend([value(at.0), value(id.0)]);
        let last = where_.values.len();
        format!("(${}, ${last})", last - 1)
    });
    // The index by label, feature or author has the outcome before the time, so that it serves both alone and
    // together: a page is merged from one of each outcome.
    let by_name = !open && (by_tag.is_some() || filter.feature.is_some() || filter.author.is_some());
    let statuses: Vec<Option<Status>> = match filter.status {
        None if by_name => Status::ALL.into_iter().filter(|status| status.is_final()).map(Some).collect(),
        status => vec![status],
    };
    let mut parts: Vec<String> = statuses
        .into_iter()
        .map(|status| match status.map(status_number) {
            None => String::new(),
            // Said outright, so that the index over those that did not complete can be used.
            Some(number) if !by_name && number > 4 => format!(" and status = {number} and status > 4"),
            Some(number) => format!(" and status = {number}"),
        })
        .map(|status| match (open, since) {
            (true, _) => format!("ended_at is null{status}"),
            (false, None) => format!("ended_at is not null{status}"),
            (false, Some(_)) => format!("ended_at is not null and (ended_at, id) <= {ended}{status}"),
        })
        .collect();
    if open && since.is_some() {
        parts.push(format!("ended_at is not null and (ended_at, id) > {ended}"));
    }
    where_.values.push(value(limit as i64));
    let order = format!("order by {column} desc, id desc limit ${}", where_.values.len());
    let parts = parts.iter().map(|part| match by_tag {
        // The places in order, and to each its job: as many as are wanted, and not all that have the label.
        Some(_) => format!(
            "(select job.* from (select * from job_tag where {part} and {}) listed cross join lateral \
             (select * from job where n = listed.job and {job} offset 0) job \
             order by listed.ended_at desc, listed.id desc limit ${})",
            where_.text,
            where_.values.len()
        ),
        None => format!("(select * from job where {part} and {job} and {} {order})", where_.text),
    });
    let parts = parts.collect();
    (Conditions { text: order, values: where_.values }, parts, column)
}

/// A page of the jobs that have not ended, or of those that have.
async fn phase(
    db: &impl GenericClient,
    filter: &JobFilter,
    after: Option<Cursor>,
    since: Option<EndedBefore>,
    open: bool,
    limit: usize,
) -> Result<(Vec<Found>, bool), StoreError> {
    let (order, parts, column) = queries(filter, after, since, open, limit);
    let query = match parts.len() {
        1 => parts.concat(),
        _ => format!("{} {}", parts.join(" union all "), order.text),
    };
    // No more of what jobs carry is fetched than one answer carries, but one job always.
    let by = format!("{column} desc, id desc");
    let query = format!(
        "select {}, found from (select *, count(*) over () as found, sum(coalesce(octet_length(more), 0)) \
         over (order by {by} rows unbounded preceding) - coalesce(octet_length(more), 0) as before \
         from ({query}) page) bounded where before < {} order by {by}",
        job_columns::names(),
        JobPage::MAX_BYTES
    );
    let rows = order.query(db, &query).await?;
    let Some(first) = rows.first() else { return Ok((Vec::new(), false)) };
    let all: i64 = first.try_get("found").map_err(unavailable)?;
    let cut = rows.len() < all as usize;
    let numbers: Vec<i64> = rows.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
    let sql = format!("select {} from step where job = any($1) order by job, i", rows::STEP);
    let (read, _) = each_with_steps(&rows, &ask(db, &sql, &[&numbers]).await?)?;
    let mut jobs: HashMap<i64, Arc<Job>> = read.into_iter().map(|(n, job)| (n, Arc::new(job))).collect();
    let found = rows.iter().zip(numbers).map(|(row, n)| {
        let (_, id) = job_columns::identity(row)?;
        let at = row.try_get(column).map(Timestamp).map_err(unavailable)?;
        let place = if open { Cursor::Open { at, id, ended: since } } else { Cursor::Past { at, id } };
        Ok((place, jobs.remove(&n)))
    });
    Ok((found.collect::<Result<_, StoreError>>()?, cut))
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
    let found = ask(db, "select n from job where id = $1", &[&id.0]).await?;
    match found.first() {
        Some(row) => get(row, 0),
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
        let (contains, values) = contains("text", wanted);
        where_.and(&contains, values);
    }
    where_
}

/// A part of a log. `db` is a transaction: the counters and the lines are of one moment.
pub(super) async fn log(db: &impl GenericClient, id: JobId, query: &LogQuery) -> Result<LogPage, StoreError> {
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
    page.values.push(value(query.limit as i64 + 1));
    // No more is fetched than one answer carries. How long a text is stands beside it; to know that, it is not read.
    let sql = format!(
        "select seq, at, kind, text, step, found from (select *, count(*) over () as found, \
         sum(octet_length(text)) over (order by seq {order} rows unbounded preceding) - octet_length(text) as before \
         from (select seq, at, kind, text, step from event where {} order by seq {order} limit ${}) lines) bounded \
         where before < {LOG_PAGE_BYTES} order by seq {order}",
        page.text,
        page.values.len()
    );
    let rows = page.query(db, &sql).await?;
    let found: i64 = rows.first().map(|row| get(row, 5)).transpose()?.unwrap_or(0);
    let mut lines = rows.iter().map(rows::line).collect::<Result<Vec<_>, StoreError>>()?;
    let mut room = ByteBudget::new(LOG_PAGE_BYTES);
    let fit = lines.iter().take_while(|line| room.take(sent_bytes(&line.text))).count();
    let more = found as usize > query.limit.min(fit);
    lines.truncate(query.limit.min(fit));
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
            let sql = "select infos, warnings, errors, systems, operators from job where n = $1";
            let mut sum = 0;
            if let Some(row) = ask(db, sql, &[&n]).await?.first() {
                for kind in LineKind::SHOWN.iter().filter(|kind| query.filter.wanted().contains(kind)) {
                    sum += get::<i64>(row, *kind as usize)? as u64;
                }
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
    let sql =
        "select seq, at, kind, text, step, data from event where job = $1 and seq > $2 order by seq limit $3";
    ask(db, sql, &[&n, &after, &(limit as i64)]).await?.iter().map(rows::event).collect()
}

/// The newest infos, warnings and errors of jobs, up to `most` of each, oldest first.
pub(super) async fn newest_messages(
    db: &impl GenericClient,
    jobs: &[Arc<Job>],
    most: usize,
) -> Result<Vec<Newest>, StoreError> {
    let ids: Vec<uuid::Uuid> = jobs.iter().map(|job| job.id.0).collect();
    let parts: Vec<String> = MESSAGES
        .iter()
        .map(|kind| {
            let kind = *kind as u8;
            let few = if kind == 0 { "" } else { " and kind <> 0" };
            format!(
                "(select e.*, j.id from job j cross join lateral (select seq, at, kind, text, step from event \
                 where job = j.n and kind = {kind}{few} order by seq desc limit $2) e where j.id = any($1))"
            )
        })
        .collect();
    // Errors first: where not all fit, they are what is looked for.
    let sql = format!(
        "select seq, at, kind, text, step, id from (select *, \
         sum(octet_length(text)) over (order by kind desc, seq desc rows unbounded preceding) - octet_length(text) as before \
         from ({}) newest) bounded where before < {NEWEST_BYTES} order by seq",
        parts.join(" union all ")
    );
    let places: std::collections::HashMap<uuid::Uuid, usize> = ids.iter().copied().zip(0..).collect();
    let mut newest: Vec<Newest> = jobs.iter().map(|_| Newest::default()).collect();
    for row in &ask(db, &sql, &[&ids, &(most as i64)]).await? {
        let line = rows::line(row)?;
        let job = places.get(&get(row, 5)?).and_then(|place| newest.get_mut(*place));
        let lines = MESSAGES.iter().position(|kind| *kind == line.kind);
        if let (Some(job), Some(place)) = (job, lines) {
            job[place].push(line);
        }
    }
    Ok(newest)
}

/// How many jobs there are, by status.
pub(super) async fn counts(db: &impl GenericClient) -> Result<Counts, StoreError> {
    rows::counts(&ask(db, rows::COUNTS, &[]).await?)
}

pub(super) async fn ended_on(db: &impl GenericClient, day: i64) -> Result<OutcomeCounts, StoreError> {
    let found =
        ask(db, "select status, sum(n)::bigint from ended where day = $1 group by status", &[&day]).await?;
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
    let sql = "select feature, status, sum(n)::bigint from counter where feature in \
        (select feature from counter group by feature having sum(n) > 0 \
         order by sum(n) desc, feature collate \"C\" limit $1) \
        group by feature, status";
    let found = ask(db, sql, &[&(limit as i64)]).await?;
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
