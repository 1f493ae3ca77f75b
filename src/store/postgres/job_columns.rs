//! Jobs to be written, a column each: one statement writes them all, however many there are.
//!
//! A statement a job was measured to cost the database more than all else in a batch.

use tokio_postgres::Client;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::connect::DbError;
use super::rows::{Statements, tags};
use super::text::stored;
use crate::model::{Job, Timestamp, Title};
use crate::store::StoreError;
use crate::store::record::{More, execution_number, span_ms, status_number};

fn ms(at: Option<Timestamp>) -> Option<i64> {
    at.map(|at| at.0)
}

fn text(text: &str) -> String {
    stored(text).into_owned()
}

/// Makes a struct of columns: for each its name in the table, what it holds, its type there, and its value.
macro_rules! columns {
    ($(#[$doc:meta])* $name:ident, |$n:ident, $job:ident, $more:ident| $($column:ident: $held:ty = $sql:literal, $value:expr;)*) => {
        $(#[$doc])*
        #[derive(Default)]
        pub(super) struct $name {
            $($column: Vec<$held>,)*
        }

        impl $name {
            const NAMES: &[&str] = &[$(stringify!($column)),*];
            const TYPES: &[&str] = &[$($sql),*];

            /// Adds the job with that row number.
            pub(super) fn push(&mut self, $n: i64, $job: &Job) -> Result<(), StoreError> {
                let $more = More::of($job).write()?;
                $(self.$column.push($value);)*
                Ok(())
            }

            pub(super) fn is_empty(&self) -> bool {
                self.n.is_empty()
            }

            fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
                vec![$(&self.$column),*]
            }

            /// `unnest($1::bigint[], …)`.
            fn unnested() -> String {
                let arrays: Vec<String> =
                    Self::TYPES.iter().zip(1..).map(|(kind, place)| format!("${place}::{kind}[]")).collect();
                format!("unnest({})", arrays.join(", "))
            }
        }
    };
}

columns! {
    /// New jobs.
    NewJobs, |n, job, more|
    n: i64 = "bigint", n;
    id: Uuid = "uuid", job.id.0;
    feature: String = "text", text(job.spec.feature.as_str());
    author: String = "text", text(job.spec.author.as_str());
    owner: String = "text", text(&job.spec.owner);
    title: Option<String> = "text", job.spec.title.as_ref().map(Title::as_str).map(text);
    execution: i16 = "smallint", execution_number(job.spec.execution) as i16;
    max_attempts: i64 = "bigint", i64::from(job.spec.max_attempts);
    queue: String = "text", text(&job.spec.queue);
    priority: i32 = "int", job.spec.priority;
    created_at: i64 = "bigint", job.created_at.0;
    run_at: Option<i64> = "bigint", ms(job.run_at);
    run_timeout: i64 = "bigint", span_ms(job.spec.timeouts.run);
    activity_timeout: i64 = "bigint", span_ms(job.spec.timeouts.activity);
    tags: String = "text", tags(&job.spec.tags);
    status: i16 = "smallint", status_number(job.status) as i16;
    attempt: i64 = "bigint", i64::from(job.attempt);
    epoch: i64 = "bigint", i64::from(job.epoch);
    progress: f64 = "double precision", job.progress;
    started_at: Option<i64> = "bigint", ms(job.started_at);
    ended_at: Option<i64> = "bigint", ms(job.ended_at);
    activity_at: i64 = "bigint", job.activity_at.0;
    progress_at: Option<i64> = "bigint", ms(job.progress_at);
    heartbeat_at: Option<i64> = "bigint", ms(job.heartbeat_at);
    seq: i64 = "bigint", job.seq as i64;
    revision: i64 = "bigint", job.revision as i64;
    infos: i64 = "bigint", job.counts.info as i64;
    warnings: i64 = "bigint", job.counts.warning as i64;
    errors: i64 = "bigint", job.counts.error as i64;
    systems: i64 = "bigint", job.counts.system as i64;
    operators: i64 = "bigint", job.counts.operator as i64;
    fenced: bool = "boolean", job.fenced;
    late_writes: i64 = "bigint", job.late_writes as i64;
    late_write_at: Option<i64> = "bigint", ms(job.late_write_at);
    message_key: i64 = "bigint", job.message_key as i64;
    error: Option<String> = "text", job.error.as_deref().map(text);
    more: Option<String> = "text", more;
    max_lines: i64 = "bigint", i64::from(job.spec.max_lines);
    pinned: bool = "boolean", job.pinned;
}

columns! {
    /// Jobs that changed. What was asked for at their start never does, and is not written again.
    ChangedJobs, |n, job, more|
    n: i64 = "bigint", n;
    status: i16 = "smallint", status_number(job.status) as i16;
    attempt: i64 = "bigint", i64::from(job.attempt);
    epoch: i64 = "bigint", i64::from(job.epoch);
    progress: f64 = "double precision", job.progress;
    run_at: Option<i64> = "bigint", ms(job.run_at);
    started_at: Option<i64> = "bigint", ms(job.started_at);
    ended_at: Option<i64> = "bigint", ms(job.ended_at);
    activity_at: i64 = "bigint", job.activity_at.0;
    progress_at: Option<i64> = "bigint", ms(job.progress_at);
    heartbeat_at: Option<i64> = "bigint", ms(job.heartbeat_at);
    seq: i64 = "bigint", job.seq as i64;
    revision: i64 = "bigint", job.revision as i64;
    infos: i64 = "bigint", job.counts.info as i64;
    warnings: i64 = "bigint", job.counts.warning as i64;
    errors: i64 = "bigint", job.counts.error as i64;
    systems: i64 = "bigint", job.counts.system as i64;
    operators: i64 = "bigint", job.counts.operator as i64;
    fenced: bool = "boolean", job.fenced;
    late_writes: i64 = "bigint", job.late_writes as i64;
    late_write_at: Option<i64> = "bigint", ms(job.late_write_at);
    message_key: i64 = "bigint", job.message_key as i64;
    error: Option<String> = "text", job.error.as_deref().map(text);
    more: Option<String> = "text", more;
    pinned: bool = "boolean", job.pinned;
}

/// The statement of [`NewJobs::write`].
pub(super) fn insert() -> String {
    format!("insert into job ({}) select * from {}", NewJobs::NAMES.join(", "), NewJobs::unnested())
}

/// The statement of [`ChangedJobs::write`].
pub(super) fn update() -> String {
    let changes: Vec<String> =
        ChangedJobs::NAMES.iter().skip(1).map(|name| format!("{name} = changed.{name}")).collect();
    let (names, unnested) = (ChangedJobs::NAMES.join(", "), ChangedJobs::unnested());
    format!(
        "update job set {} from {unnested} as changed ({names}) where job.n = changed.n",
        changes.join(", ")
    )
}

impl NewJobs {
    /// Adds them all.
    pub(super) async fn write(&self, client: &Client, statements: &Statements) -> Result<(), DbError> {
        client.execute(&statements.insert, &self.values()).await?;
        Ok(())
    }
}

impl ChangedJobs {
    /// Brings their rows up to date.
    pub(super) async fn write(&self, client: &Client, statements: &Statements) -> Result<(), DbError> {
        client.execute(&statements.update, &self.values()).await?;
        Ok(())
    }
}
