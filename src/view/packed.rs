//! Data on its way into an island, read by the same code as the answers of its polls.
//!
//! An island's properties come out of an attribute as text, an answer as bytes, and serde makes code for
//! each type and each source: a quarter of the browser's download was the same types read twice. Packed,
//! a value is passed over as it stands and read from bytes.

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// A value that is read from bytes, wherever it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Packed<T>(pub T);

impl<T: Serialize> Serialize for Packed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = serde_json::to_string(&self.0).map_err(S::Error::custom)?;
        RawValue::from_string(text).map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Packed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&RawValue>::deserialize(deserializer)?;
        serde_json::from_slice(text.get().as_bytes()).map(Self).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_looks_as_if_it_were_not() {
        let packed = Packed(vec![Some(1.5), None]);
        let text = serde_json::to_string(&packed).unwrap();
        assert_eq!(text, "[1.5,null]");
        assert_eq!(serde_json::from_str::<Packed<Vec<Option<f64>>>>(&text).unwrap(), packed);
    }
}
