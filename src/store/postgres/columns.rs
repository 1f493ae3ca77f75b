//! How a field of a job is kept in columns: what they are called, what they hold, and back.
//!
//! Values go to the database in arrays, a column each, so that one statement writes any number of jobs.

use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::rows::{get, status, unreadable};
use super::text::{original, stored};
use crate::model::{Author, Execution, Feature, LogCounts, Status, Timeouts, Timestamp, Title};
use crate::store::StoreError;
use crate::store::record::{self, execution_number, span, span_ms, status_number};

/// The values of a column, for a statement.
pub(super) type Values<'a> = Vec<&'a (dyn ToSql + Sync)>;

/// A value that is kept in one column, or in several.
pub(super) trait Columns: Sized {
    /// The values of many jobs.
    type Many: Default;

    /// The columns' types in the database, in order.
    const TYPES: &'static [&'static str];

    /// The columns' names, where the field is called that.
    fn names(field: &'static str) -> Vec<&'static str> {
        vec![field]
    }

    /// Adds a job's value.
    fn push(&self, many: &mut Self::Many);

    /// The arrays.
    fn values<'a>(many: &'a Self::Many, values: &mut Values<'a>);

    /// Reads the value, from that column on, which is moved past it.
    fn read(row: &Row, column: &mut usize) -> Result<Self, StoreError>;
}

/// Reads the next column.
pub(super) fn next<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a Row,
    column: &mut usize,
) -> Result<T, StoreError> {
    *column += 1;
    get(row, *column - 1)
}

/// For each type: what its column holds, the column's type in the database, how it is written, and read.
macro_rules! one_column {
    ($($type:ty: $held:ty = $sql:literal, |$value:ident| $write:expr, |$read:ident| $back:expr;)*) => {
        $(impl Columns for $type {
            type Many = Vec<$held>;
            const TYPES: &'static [&'static str] = &[$sql];

            fn push(&self, many: &mut Self::Many) {
                let $value = self;
                many.push($write);
            }

            fn values<'a>(many: &'a Self::Many, values: &mut Values<'a>) {
                values.push(many);
            }

            fn read(row: &Row, column: &mut usize) -> Result<Self, StoreError> {
                let $read: $held = next(row, column)?;
                Ok($back)
            }
        })*
    };
}

fn text(text: &str) -> String {
    stored(text).into_owned()
}

one_column! {
    Feature: String = "text", |feature| text(feature.as_str()), |held| Feature::new(original(held)).map_err(unreadable)?;
    Author: String = "text", |author| text(author.as_str()), |held| Author::new(original(held)).map_err(unreadable)?;
    String: String = "text", |given| text(given), |held| original(held);
    Option<Title>: Option<String> = "text", |title| title.as_ref().map(Title::as_str).map(text),
        |held| held.map(original).map(Title::stored);
    Option<Arc<str>>: Option<String> = "text", |given| given.as_deref().map(text),
        |held| held.map(original).map(Arc::from);
    Execution: i16 = "smallint", |execution| execution_number(*execution) as i16,
        |held| record::execution(i64::from(held)).ok_or_else(|| unreadable(format!("there is no execution {held}")))?;
    Status: i16 = "smallint", |status| status_number(*status) as i16, |held| status(held)?;
    u32: i64 = "bigint", |number| i64::from(*number), |held| u32::try_from(held).map_err(unreadable)?;
    u64: i64 = "bigint", |number| *number as i64, |held| held as u64;
    i32: i32 = "int", |number| *number, |held| held;
    f64: f64 = "double precision", |number| *number, |held| held;
    bool: bool = "boolean", |yes| *yes, |held| held;
    Timestamp: i64 = "bigint", |at| at.0, |held| Timestamp(held);
    Option<Timestamp>: Option<i64> = "bigint", |at| at.map(|at| at.0), |held| held.map(Timestamp);
}

impl Columns for Timeouts {
    type Many = [Vec<i64>; 2];
    const TYPES: &'static [&'static str] = &["bigint"; 2];

    fn names(_: &'static str) -> Vec<&'static str> {
        vec!["run_timeout", "activity_timeout"]
    }

    fn push(&self, many: &mut Self::Many) {
        let Self { run, activity } = *self;
        many.iter_mut().zip([run, activity]).for_each(|(held, limit)| held.push(span_ms(limit)));
    }

    fn values<'a>(many: &'a Self::Many, values: &mut Values<'a>) {
        values.extend(many.iter().map(|held| held as &(dyn ToSql + Sync)));
    }

    fn read(row: &Row, column: &mut usize) -> Result<Self, StoreError> {
        Ok(Self { run: span(next(row, column)?), activity: span(next(row, column)?) })
    }
}

impl Columns for LogCounts {
    type Many = [Vec<i64>; 5];
    const TYPES: &'static [&'static str] = &["bigint"; 5];

    fn names(_: &'static str) -> Vec<&'static str> {
        vec!["infos", "warnings", "errors", "systems", "operators"]
    }

    fn push(&self, many: &mut Self::Many) {
        let Self { info, warning, error, system, operator } = *self;
        let counts = [info, warning, error, system, operator];
        many.iter_mut().zip(counts).for_each(|(held, count)| held.push(count as i64));
    }

    fn values<'a>(many: &'a Self::Many, values: &mut Values<'a>) {
        values.extend(many.iter().map(|held| held as &(dyn ToSql + Sync)));
    }

    fn read(row: &Row, column: &mut usize) -> Result<Self, StoreError> {
        let mut count = || u64::read(row, column);
        Ok(Self { info: count()?, warning: count()?, error: count()?, system: count()?, operator: count()? })
    }
}
