//! Jobs to columns and back: one statement writes them all, however many there are.
//!
//! A statement a job was measured to cost the database more than all else in a batch. Which fields are columns
//! says the list of a job's fields (`model/job_fields.rs`); how each is kept, [`columns`](super::columns).

use std::sync::Arc;

use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::columns::{Columns, Values, next};
use super::connect::DbError;
use super::rows::{Statements, tags, unreadable};
use crate::model::job_fields::job_fields;
use crate::model::job_fields::types::*;
use crate::model::{Job, JobId};
use crate::store::StoreError;
use crate::store::record::{Document, DocumentOf};

/// Makes the columns and their reader of the list of fields.
macro_rules! job_columns {
    (
        required { $($(#[$required_meta:meta])* $required:ident: $required_type:ty;)* }
        named { $($(#[$named_meta:meta])* $named:ident: $named_type:ty = $named_value:expr;)* }
        asked { $($(#[$asked_meta:meta])* $asked:ident: $asked_type:ty = $asked_value:expr;)* }
        asked_rarely { $($(#[$rarely_meta:meta])* $rarely:ident: $rarely_type:ty = $rarely_value:expr;)* }
        asked_each { $($(#[$each_meta:meta])* $each:ident: $each_type:ty = $each_value:expr;)* }
        columns { $($(#[$column_meta:meta])* $column:ident: $column_type:ty = $column_value:expr;)* }
        numbers { $($(#[$number_meta:meta])* $number:ident: $number_type:ty = $number_value:expr;)* }
        document { $($(#[$meta:meta])* $field:ident: $type:ty = $value:expr;)* }
    ) => {
        /// What was asked for: the columns that are written once.
        #[derive(Default)]
        pub(super) struct NewJobs {
            id: Vec<Uuid>,
            tags: Vec<String>,
            $($required: <$required_type as Columns>::Many,)*
            $($named: <$named_type as Columns>::Many,)*
            $($asked: <$asked_type as Columns>::Many,)*
            standing: ChangedJobs,
        }

        impl NewJobs {
            /// Adds the job with that row number.
            pub(super) fn push(&mut self, n: i64, job: &Job) -> Result<(), StoreError> {
                self.id.push(job.id.0);
                self.tags.push(tags(&job.spec.tags));
                $(job.spec.$required.push(&mut self.$required);)*
                $(job.spec.$named.push(&mut self.$named);)*
                $(job.spec.$asked.push(&mut self.$asked);)*
                self.standing.push(n, job)
            }

            fn values(&self) -> Values<'_> {
                let mut values = self.standing.values();
                values.push(&self.id);
                values.push(&self.tags);
                $(<$required_type>::values(&self.$required, &mut values);)*
                $(<$named_type>::values(&self.$named, &mut values);)*
                $(<$asked_type>::values(&self.$asked, &mut values);)*
                values
            }

            fn columns() -> Vec<(&'static str, &'static str)> {
                let mut columns = ChangedJobs::columns();
                columns.extend([("id", "uuid"), ("tags", "text")]);
                $(columns.extend(named::<$required_type>(stringify!($required)));)*
                $(columns.extend(named::<$named_type>(stringify!($named)));)*
                $(columns.extend(named::<$asked_type>(stringify!($asked)));)*
                columns
            }
        }

        /// How jobs stand: the columns that are written with every change.
        #[derive(Default)]
        pub(super) struct ChangedJobs {
            n: Vec<i64>,
            more: Vec<Option<String>>,
            $($column: <$column_type as Columns>::Many,)*
            $($number: <$number_type as Columns>::Many,)*
        }

        impl ChangedJobs {
            /// Adds the job with that row number.
            pub(super) fn push(&mut self, n: i64, job: &Job) -> Result<(), StoreError> {
                self.more.push(DocumentOf::whole(job).write()?);
                self.n.push(n);
                $(job.$column.push(&mut self.$column);)*
                $(job.$number.push(&mut self.$number);)*
                Ok(())
            }

            fn values(&self) -> Values<'_> {
                let mut values: Values<'_> = vec![&self.n, &self.more];
                $(<$column_type>::values(&self.$column, &mut values);)*
                $(<$number_type>::values(&self.$number, &mut values);)*
                values
            }

            fn columns() -> Vec<(&'static str, &'static str)> {
                let mut columns = vec![("n", "bigint"), ("more", "text")];
                $(columns.extend(named::<$column_type>(stringify!($column)));)*
                $(columns.extend(named::<$number_type>(stringify!($number)));)*
                columns
            }
        }

        /// Reads a job, without its steps, and its row number.
        pub(super) fn job(row: &Row) -> Result<(i64, Job), StoreError> {
            let mut at = 0;
            let column = &mut at;
            let n = next(row, column)?;
            let document = Document::read(next(row, column)?).map_err(unreadable)?;
            $(let $column = <$column_type>::read(row, column)?;)*
            $(let $number = <$number_type>::read(row, column)?;)*
            let id = JobId(next(row, column)?);
            // The column of labels is for looking them up.
            *column += 1;
            let spec = Spec {
                $($required: Columns::read(row, column)?,)*
                $($named: Columns::read(row, column)?,)*
                $($asked: Columns::read(row, column)?,)*
                $($rarely: document.$rarely,)*
                $($each: document.$each,)*
            };
            let job = Job {
                id,
                spec: Arc::new(spec),
                steps: Arc::default(),
                $($column,)*
                $($number,)*
                $($field: document.$field,)*
            };
            Ok((n, job))
        }
    };
}

job_fields!(job_columns);

/// The row number and the id of a job, whatever else of the row can be read.
pub(super) fn identity(row: &Row) -> Result<(i64, JobId), StoreError> {
    let n = row.try_get("n").map_err(unreadable)?;
    let id = row.try_get("id").map_err(unreadable)?;
    Ok((n, JobId(id)))
}

/// The names and types of a field's columns.
fn named<T: Columns>(field: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    T::names(field).into_iter().zip(T::TYPES.iter().copied())
}

/// The columns of a job, in the order [`job`] reads them.
pub(super) fn names() -> String {
    NewJobs::columns().iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// `unnest($1::bigint[], …)`.
fn unnested(columns: &[(&str, &str)]) -> String {
    let arrays: Vec<String> =
        columns.iter().zip(1..).map(|((_, kind), place)| format!("${place}::{kind}[]")).collect();
    format!("unnest({})", arrays.join(", "))
}

/// The statement of [`NewJobs::write`].
pub(super) fn insert() -> String {
    format!("insert into job ({}) select * from {}", names(), unnested(&NewJobs::columns()))
}

/// The statement of [`ChangedJobs::write`].
pub(super) fn update() -> String {
    let columns = ChangedJobs::columns();
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let changes: Vec<String> = names[1..].iter().map(|name| format!("{name} = changed.{name}")).collect();
    let (names, unnested) = (names.join(", "), unnested(&columns));
    format!(
        "update job set {} from {unnested} as changed ({names}) where job.n = changed.n",
        changes.join(", ")
    )
}

impl NewJobs {
    pub(super) fn is_empty(&self) -> bool {
        self.id.is_empty()
    }

    /// Adds them all.
    pub(super) async fn write(&self, client: &Client, statements: &Statements) -> Result<(), DbError> {
        client.execute(&statements.insert, &self.values()).await?;
        Ok(())
    }
}

impl ChangedJobs {
    pub(super) fn is_empty(&self) -> bool {
        self.n.is_empty()
    }

    /// Brings their rows up to date. What was asked for at their start never changes and is not written again.
    pub(super) async fn write(&self, client: &Client, statements: &Statements) -> Result<(), DbError> {
        client.execute(&statements.update, &self.values()).await?;
        Ok(())
    }
}
