//! What the engines with tables write alike: a job's and an entry's parts that are not columns of their
//! own, and the numbers of enums. A database's numbers are never given another meaning.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::StoreError;
use crate::model::job_fields::job_fields;
use crate::model::job_fields::types::*;
use crate::model::{Event, EventKind, EventSource, Job, Level, LineKind, MessageText};

/// Makes the JSON beside a job's row of the list of fields.
macro_rules! document {
    (
        required $required:tt
        named $named:tt
        asked $asked:tt
        asked_rarely { $($(#[$rarely_meta:meta])* $rarely:ident: $rarely_type:ty = $rarely_value:expr;)* }
        asked_each { $($(#[$each_meta:meta])* $each:ident: $each_type:ty = $each_value:expr;)* }
        columns $columns:tt
        numbers $numbers:tt
        document { $($(#[$meta:meta])* $field:ident: $type:ty = $value:expr;)* }
    ) => {
        /// What no query looks at and is seldom there, as it is read.
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct Document {
            $(pub $rarely: $rarely_type,)*
            $(pub $each: $each_type,)*
            $(pub $field: $type,)*
        }

        /// The same, as it is written.
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        pub struct DocumentOf<'a> {
            $(#[serde(skip_serializing_if = "is_absent")] pub $rarely: Option<&'a $rarely_type>,)*
            $(#[serde(skip_serializing_if = "is_default")] pub $each: &'a $each_type,)*
            $(#[serde(skip_serializing_if = "is_default")] pub $field: &'a $type,)*
        }

        impl<'a> DocumentOf<'a> {
            /// What of a job has no column where specifications are shared, and those have their own.
            pub fn beside_spec(job: &'a Job) -> Self {
                Self {
                    $($rarely: None,)*
                    $($each: &job.spec.$each,)*
                    $($field: &job.$field,)*
                }
            }

            /// What of a job has no column.
            pub fn whole(job: &'a Job) -> Self {
                Self { $($rarely: Some(&job.spec.$rarely),)* ..Self::beside_spec(job) }
            }

            fn is_empty(&self) -> bool {
                true $(&& is_absent(&self.$rarely))* $(&& is_default(&self.$each))* $(&& is_default(&self.$field))*
            }
        }
    };
}

job_fields!(document);

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_default<T: Default + PartialEq>(value: &&T) -> bool {
    **value == T::default()
}

fn is_absent<T: Default + PartialEq>(value: &Option<&T>) -> bool {
    value.is_none_or(|value| *value == T::default())
}

impl DocumentOf<'_> {
    /// As it is written: nothing where nothing is there.
    pub fn write(&self) -> Result<Option<String>, StoreError> {
        if self.is_empty() {
            return Ok(None);
        }
        serde_json::to_string(self).map(Some).map_err(|error| StoreError::Corrupt(error.to_string()))
    }
}

impl Document {
    /// Reads what [`DocumentOf::write`] wrote.
    pub fn read(json: Option<&str>) -> serde_json::Result<Self> {
        json.map_or_else(|| Ok(Self::default()), serde_json::from_str)
    }
}

/// The number of a status.
pub fn status_number(status: Status) -> i64 {
    Status::ALL.iter().position(|other| *other == status).map_or(-1, |place| place as i64)
}

/// The status with that number.
pub fn status(number: i64) -> Option<Status> {
    usize::try_from(number).ok().and_then(|place| Status::ALL.get(place).copied())
}

const EXECUTIONS: [Execution; 3] = [Execution::External, Execution::InProcess, Execution::Worker];

/// The number of a way to run.
pub fn execution_number(execution: Execution) -> i64 {
    EXECUTIONS.iter().position(|other| *other == execution).map_or(0, |place| place as i64)
}

/// The way to run with that number.
pub fn execution(number: i64) -> Option<Execution> {
    usize::try_from(number).ok().and_then(|place| EXECUTIONS.get(place).copied())
}

/// A span from milliseconds; below 0 is none.
pub fn span(ms: i64) -> Option<Duration> {
    u64::try_from(ms).ok().map(Duration::from_millis)
}

/// A span in milliseconds; -1 for none.
pub fn span_ms(span: Option<Duration>) -> i64 {
    span.map_or(-1, |span| i64::try_from(span.as_millis()).unwrap_or(i64::MAX))
}

/// An entry of a log, as columns.
pub struct EntryColumns<'a> {
    pub seq: i64,
    pub at: i64,
    pub kind: u8,
    pub text: Cow<'a, str>,
    pub step: Option<Cow<'a, str>>,
    /// Who it comes from and what it is, as JSON. For a message of the run its key, or nothing.
    pub data: Option<String>,
}

/// What an entry is beyond its line.
#[derive(Serialize, Deserialize)]
struct Data {
    source: EventSource,
    kind: EventKind,
}

/// An entry that makes no sense.
#[derive(Debug, Error)]
#[error("an entry of a log cannot be read: {0}")]
pub struct Unreadable(String);

impl<'a> EntryColumns<'a> {
    /// A message is its line, and its key where it has one; most lines are messages.
    pub fn of(event: &'a Event) -> Result<Self, StoreError> {
        let (seq, at, kind) =
            (event.seq.unwrap_or_default() as i64, event.at.0, event.kind.line_kind() as u8);
        if let (EventKind::Message { text, step, key, .. }, EventSource::Run) = (&event.kind, &event.source) {
            return Ok(Self {
                seq,
                at,
                kind,
                text: text.as_str().into(),
                step: step.as_deref().map(Into::into),
                data: key.map(|key| key.to_string()),
            });
        }
        let data = Data { source: event.source.clone(), kind: event.kind.clone() };
        Ok(Self {
            seq,
            at,
            kind,
            text: event.sentence().into(),
            step: event.step_path().map(|path| path.to_string().into()),
            data: Some(serde_json::to_string(&data).map_err(|error| StoreError::Corrupt(error.to_string()))?),
        })
    }

    /// The entry as it was recorded.
    pub fn read(self) -> Result<Event, Unreadable> {
        let unreadable = |error: &dyn std::fmt::Display| Unreadable(error.to_string());
        let (source, kind) = match &self.data {
            Some(data) if data.starts_with('{') => {
                let data: Data = serde_json::from_str(data).map_err(|error| unreadable(&error))?;
                (data.source, data.kind)
            }
            key => {
                let key =
                    key.as_ref().map(|key| key.parse()).transpose().map_err(|error| unreadable(&error))?;
                let level = match LineKind::from_number(self.kind) {
                    Some(LineKind::Warning) => Level::Warning,
                    Some(LineKind::Error) => Level::Error,
                    Some(_) => Level::Info,
                    None => return Err(unreadable(&format!("its kind is {}", self.kind))),
                };
                let text = MessageText::new(self.text.into_owned()).map_err(|error| unreadable(&error))?;
                (
                    EventSource::Run,
                    EventKind::Message { level, text, step: self.step.map(Cow::into_owned), key },
                )
            }
        };
        Ok(Event { seq: Some(self.seq as u64), at: Timestamp(self.at), source, kind, heard: None })
    }
}
