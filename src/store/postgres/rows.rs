//! Rows to model values, and back. What a job's columns are, [`job_columns`] knows.

use std::sync::Arc;

use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{Client, Row, Statement};
use uuid::Uuid;

use super::connect::{DbError, unavailable};
use super::job_columns;
use super::text::{ESCAPE, original, stored};
use crate::model::{
    Counts, Event, Job, LeftOut, LineKind, LogLine, Siblings, Status, Step, StepTree, Tag, Timestamp, Weight,
};
use crate::store::StoreError;
use crate::store::ledger::by_tag;
use crate::store::record::{self, EntryColumns};

pub(super) fn unreadable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(error.to_string())
}

/// A column's value.
pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Result<T, StoreError> {
    row.try_get(column).map_err(unreadable)
}

fn text(row: &Row, column: usize) -> Result<String, StoreError> {
    get::<String>(row, column).map(original)
}

fn maybe_text(row: &Row, column: usize) -> Result<Option<String>, StoreError> {
    Ok(get::<Option<String>>(row, column)?.map(original))
}

fn count(row: &Row, column: usize) -> Result<u64, StoreError> {
    get::<i64>(row, column).map(|count| count as u64)
}

fn at(row: &Row, column: usize) -> Result<Option<Timestamp>, StoreError> {
    Ok(get::<Option<i64>>(row, column)?.map(Timestamp))
}

/// A status from its number.
pub(super) fn status(number: i16) -> Result<crate::model::Status, StoreError> {
    record::status(i64::from(number)).ok_or_else(|| unreadable(format!("there is no status {number}")))
}

/// The columns of a step, in the order [`step`] reads them.
pub(super) const STEP: &str = "job, id, title, weight, progress, parent, started_at, ended_at";

/// Reads a step, and its job's row number.
pub(super) fn step(row: &Row) -> Result<(i64, Step), StoreError> {
    let step = Step {
        id: text(row, 1)?,
        title: maybe_text(row, 2)?,
        weight: Weight::new(get(row, 3)?).unwrap_or(Weight::ONE),
        progress: get(row, 4)?,
        parent: get::<Option<i32>>(row, 5)?.and_then(|parent| usize::try_from(parent).ok()),
        children: Siblings::default(),
        started_at: at(row, 6)?,
        ended_at: at(row, 7)?,
    };
    Ok((get(row, 0)?, step))
}

/// Jobs with their steps: `steps` are of all of them, ordered by job and place.
pub(super) fn with_steps(jobs: &[Row], steps: &[Row]) -> Result<Vec<(i64, Job)>, StoreError> {
    let mut trees: std::collections::HashMap<i64, Vec<Step>> = std::collections::HashMap::new();
    for row in steps {
        let (n, step) = step(row)?;
        trees.entry(n).or_default().push(step);
    }
    jobs.iter()
        .map(|row| {
            let (n, mut job) = job_columns::job(row)?;
            if let Some(steps) = trees.remove(&n) {
                job.steps = Arc::new(StepTree::restore(steps));
            }
            Ok((n, job))
        })
        .collect()
}

/// What a job's labels are looked for in.
pub(super) const TAG_END: char = '\u{1f}';

pub(super) fn tags(tags: &[Tag]) -> String {
    if tags.is_empty() {
        return String::new();
    }
    let mut joined = String::from(TAG_END);
    for tag in tags {
        joined.push_str(&tag_key(tag.as_str()));
        joined.push(TAG_END);
    }
    joined
}

/// The labels in a job's column of them.
pub(super) fn tags_in(column: &str) -> impl Iterator<Item = &str> {
    column.split(TAG_END).filter(|tag| !tag.is_empty())
}

/// A label as it stands between two [`TAG_END`], none of which is in it.
pub(super) fn tag_key(tag: &str) -> String {
    stored(tag).replace(TAG_END, &format!("{ESCAPE}1"))
}

/// How many jobs there are, from `status, sum`.
pub(super) fn counts(rows: &[Row]) -> Result<Counts, StoreError> {
    let mut counts = Counts::default();
    for row in rows {
        counts.set(status(get(row, 0)?)?, count(row, 1)?);
    }
    Ok(counts)
}

/// What `counts` reads.
pub(super) const COUNTS: &str = "select status, sum(n)::bigint from counter group by status";

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr;)*) => {
        /// The statements of a writer, prepared once a connection.
        pub(super) struct Statements {
            $($(#[$doc])* pub(super) $name: Statement,)*
        }

        impl Statements {
            pub(super) async fn prepare(client: &Client) -> Result<Self, StoreError> {
                Ok(Self { $($name: client.prepare(&$sql).await.map_err(unavailable)?,)* })
            }
        }
    };
}

statements! {
    admit = "select pg_advisory_xact_lock($1)";
    lock = format!("select {} from job where id = any($1) order by id for update", job_columns::names());
    /// The steps of jobs that are not at the revision they are known at.
    steps = format!(
        "select {STEP} from step where job = any(array(select n from job \
         join unnest($1::uuid[], $2::bigint[]) as known (id, revision) on job.id = known.id \
         where job.revision <> known.revision)) order by job, i"
    );
    numbers = "select nextval('job_n') from generate_series(1::bigint, $1)";
    counts = COUNTS;
    open_of = "select feature, id, execution from job where ended_at is null and feature = any($1)";
    active_of = format!(
        "select owner, id from job where ended_at is null and status in ({}, {}) and owner = any($1)",
        record::status_number(Status::Running),
        record::status_number(Status::Aborting)
    );
    keys = "select key, fingerprint, (select id from job where job.id = idempotency.job) \
        from idempotency where key = any($1)";
    insert = job_columns::insert();
    update = job_columns::update();
    put_steps = "insert into step (job, i, parent, id, title, weight, progress, started_at, ended_at) \
        select * from unnest($1::bigint[], $2::int[], $3::int[], $4::text[], $5::text[], \
        $6::double precision[], $7::double precision[], $8::bigint[], $9::bigint[]) \
        on conflict (job, i) do update set parent = excluded.parent, id = excluded.id, \
        title = excluded.title, weight = excluded.weight, progress = excluded.progress, \
        started_at = excluded.started_at, ended_at = excluded.ended_at";
    put_events = "insert into event (job, seq, at, kind, text, step, data) select * from unnest($1::bigint[], \
        $2::bigint[], $3::bigint[], $4::smallint[], $5::text[], $6::text[], $7::text[])";
    drop_infos = "delete from event using unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::bigint[]) \
        as gone (job, kind, after, until) where event.job = gone.job and event.kind = gone.kind and event.kind = 0 \
        and event.seq > gone.after and event.seq <= gone.until and (event.data is null or event.data not like '{%')";
    /// The same, where they are few among many others.
    drop_others = "delete from event using unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::bigint[]) \
        as gone (job, kind, after, until) where event.job = gone.job and event.kind = gone.kind and event.kind <> 0 \
        and event.seq > gone.after and event.seq <= gone.until and (event.data is null or event.data not like '{%')";
    drop_markers = "delete from event using unnest($1::bigint[], $2::bigint[]) as gone (job, seq) \
        where event.job = gone.job and event.seq = gone.seq";
    put_tags = "insert into job_tag (tag, status, ended_at, id, job, feature) select * from \
        unnest($1::text[], $2::smallint[], $3::bigint[], $4::uuid[], $5::bigint[], $6::text[]) on conflict do nothing";
    drop_tags = "delete from job_tag using unnest($1::text[], $2::smallint[], $3::bigint[], $4::uuid[]) \
        as gone (tag, status, ended_at, id) where job_tag.tag = gone.tag and job_tag.status = gone.status \
        and job_tag.ended_at = gone.ended_at and job_tag.id = gone.id";
    put_key = "insert into idempotency (key, fingerprint, job, at) values ($1, $2, $3, $4) \
        on conflict (key) do update set fingerprint = excluded.fingerprint, job = excluded.job, at = excluded.at";
    add_counters = "insert into counter (slot, feature, status, n) \
        select $1, * from unnest($2::text[], $3::smallint[], $4::bigint[]) \
        on conflict (slot, feature, status) do update set n = counter.n + excluded.n";
    add_ended = "insert into ended (slot, day, status, n) \
        select $1, * from unnest($2::bigint[], $3::smallint[], $4::bigint[]) \
        on conflict (day, status, slot) do update set n = ended.n + excluded.n";
    /// Says what changed, and answers with the transaction's number and when it began.
    change = "insert into change (node, jobs, removed) values ($1, $2, $3) \
        returning xid::text, (extract(epoch from at) * 1000)::bigint";
    drop_events = "delete from event where job = any($1)";
    drop_steps = "delete from step where job = any($1)";
    drop_jobs = "delete from job where n = any($1)";
}

fn ms(at: Option<Timestamp>) -> Option<i64> {
    at.map(|at| at.0)
}

/// Steps to be written, a column each.
#[derive(Default)]
pub(super) struct StepColumns {
    job: Vec<i64>,
    i: Vec<i32>,
    parent: Vec<Option<i32>>,
    id: Vec<String>,
    title: Vec<Option<String>>,
    weight: Vec<f64>,
    progress: Vec<f64>,
    started_at: Vec<Option<i64>>,
    ended_at: Vec<Option<i64>>,
}

impl StepColumns {
    pub(super) fn push(&mut self, n: i64, index: usize, step: &Step) {
        self.job.push(n);
        self.i.push(index as i32);
        self.parent.push(step.parent.map(|parent| parent as i32));
        self.id.push(stored(&step.id).into_owned());
        self.title.push(step.title.as_deref().map(|title| stored(title).into_owned()));
        self.weight.push(f64::from(step.weight));
        self.progress.push(step.progress);
        self.started_at.push(ms(step.started_at));
        self.ended_at.push(ms(step.ended_at));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.job.is_empty()
    }

    pub(super) async fn write(&self, client: &Client, statements: &Statements) -> Result<(), DbError> {
        client
            .execute(
                &statements.put_steps,
                &[
                    &self.job,
                    &self.i,
                    &self.parent,
                    &self.id,
                    &self.title,
                    &self.weight,
                    &self.progress,
                    &self.started_at,
                    &self.ended_at,
                ],
            )
            .await?;
        Ok(())
    }
}

/// Entries that go from logs because these are full, a column each.
#[derive(Default)]
pub(super) struct LeftOutColumns {
    job: Vec<i64>,
    kind: Vec<i16>,
    after: Vec<i64>,
    until: Vec<i64>,
    marked: Vec<i64>,
    marker: Vec<i64>,
}

impl LeftOutColumns {
    pub(super) fn push(&mut self, n: i64, left_out: &LeftOut) {
        self.job.push(n);
        self.kind.push(LineKind::from(left_out.level) as i16);
        self.after.push(left_out.after as i64);
        self.until.push(left_out.until as i64);
        if let Some(marker) = left_out.marker {
            self.marked.push(n);
            self.marker.push(marker as i64);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.job.is_empty()
    }

    /// What `drop_infos` and `drop_others` take. Messages of a run have a key beside their line or nothing, other
    /// entries JSON: the error that a run ended with is no message.
    pub(super) fn messages(&self) -> [&(dyn ToSql + Sync); 4] {
        [&self.job, &self.kind, &self.after, &self.until]
    }

    /// What `drop_markers` takes.
    pub(super) fn markers(&self) -> [&(dyn ToSql + Sync); 2] {
        [&self.marked, &self.marker]
    }
}

/// Places in the lists by label, a column each.
#[derive(Default)]
pub(super) struct TagColumns {
    tag: Vec<String>,
    status: Vec<i16>,
    ended_at: Vec<i64>,
    id: Vec<Uuid>,
    job: Vec<i64>,
    feature: Vec<String>,
}

impl TagColumns {
    /// Adds the places of a job, where it has any.
    pub(super) fn push(&mut self, n: i64, job: &Job) {
        let Some((status, at)) = by_tag(job) else { return };
        let feature = stored(job.spec.feature.as_str());
        for tag in &job.spec.tags {
            self.push_place(n, (record::status_number(status) as i16, at.0, job.id.0), tag_key(tag.as_str()));
            self.feature.push(feature.clone().into_owned());
        }
    }

    /// Adds a place that is to be removed.
    pub(super) fn push_place(&mut self, n: i64, (status, at, id): (i16, i64, Uuid), tag: String) {
        self.tag.push(tag);
        self.status.push(status);
        self.ended_at.push(at);
        self.id.push(id);
        self.job.push(n);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tag.is_empty()
    }

    pub(super) async fn write(&self, client: &Client, statements: &Statements) -> Result<(), DbError> {
        let places: [&(dyn ToSql + Sync); 6] =
            [&self.tag, &self.status, &self.ended_at, &self.id, &self.job, &self.feature];
        client.execute(&statements.put_tags, &places).await?;
        Ok(())
    }

    pub(super) async fn remove(&self, client: &Client, statements: &Statements) -> Result<(), DbError> {
        let places: [&(dyn ToSql + Sync); 4] = [&self.tag, &self.status, &self.ended_at, &self.id];
        client.execute(&statements.drop_tags, &places).await?;
        Ok(())
    }
}

/// Entries to be written, a column each.
#[derive(Default)]
pub(super) struct EventColumns {
    job: Vec<i64>,
    seq: Vec<i64>,
    at: Vec<i64>,
    kind: Vec<i16>,
    text: Vec<String>,
    step: Vec<Option<String>>,
    data: Vec<Option<String>>,
}

impl EventColumns {
    pub(super) fn push(&mut self, n: i64, event: &Event) -> Result<(), StoreError> {
        let entry = EntryColumns::of(event)?;
        self.job.push(n);
        self.seq.push(entry.seq);
        self.at.push(entry.at);
        self.kind.push(i16::from(entry.kind));
        self.text.push(stored(&entry.text).into_owned());
        self.step.push(entry.step.map(|step| stored(&step).into_owned()));
        self.data.push(entry.data);
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.job.is_empty()
    }

    pub(super) async fn write(&self, client: &Client, statements: &Statements) -> Result<(), DbError> {
        client
            .execute(
                &statements.put_events,
                &[&self.job, &self.seq, &self.at, &self.kind, &self.text, &self.step, &self.data],
            )
            .await?;
        Ok(())
    }
}

fn kind(row: &Row, column: usize) -> Result<u8, StoreError> {
    u8::try_from(get::<i16>(row, column)?).map_err(unreadable)
}

/// Reads an entry: `seq, at, kind, text, step, data`.
pub(super) fn event(row: &Row) -> Result<Event, StoreError> {
    let entry = EntryColumns {
        seq: get(row, 0)?,
        at: get(row, 1)?,
        kind: kind(row, 2)?,
        text: text(row, 3)?.into(),
        step: maybe_text(row, 4)?.map(Into::into),
        data: get(row, 5)?,
    };
    entry.read().map_err(unreadable)
}

/// Reads a line: `seq, at, kind, text, step`.
pub(super) fn line(row: &Row) -> Result<LogLine, StoreError> {
    let kind = kind(row, 2)?;
    Ok(LogLine {
        seq: count(row, 0)?,
        at: Timestamp(get(row, 1)?),
        kind: LineKind::from_number(kind)
            .ok_or_else(|| unreadable(format!("there is no kind of line {kind}")))?,
        text: text(row, 3)?,
        step: maybe_text(row, 4)?,
    })
}
