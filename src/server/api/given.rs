//! Values of a request that need more than a shape: a moment, and a document whose numbers must not change.

use std::borrow::Cow;

use chrono::DateTime;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::model::{Timestamp, check_numbers};

/// A moment, as RFC 3339: `2026-11-27T10:00:00.000Z`.
#[derive(Clone, Copy, Debug)]
pub struct Moment(pub Timestamp);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        DateTime::parse_from_rfc3339(&text)
            .map(|at| Self(Timestamp(at.timestamp_millis())))
            .map_err(|_| D::Error::custom("a time must be like 2026-11-27T10:00:00.000Z"))
    }
}

/// Any JSON, none of whose numbers is changed by being kept. Names are kept sorted; of one that is given twice the
/// last counts.
#[derive(Clone, Debug)]
pub struct Document(pub Value);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        check_numbers("it", raw.get()).map_err(D::Error::custom)?;
        serde_json::from_str(raw.get()).map(Self).map_err(D::Error::custom)
    }
}

/// The document, if it is one.
pub fn document(given: Option<Document>) -> Option<Value> {
    given.map(|Document(value)| value)
}
