//! Data on its way into a page, in the form in which its polls are answered.
//!
//! The properties of an island would stand in the page as JSON, and the reader of JSON, with the names of all
//! fields and what it says of mistakes, was a quarter of the browser's download. Packed, a value is base64 of
//! [`postcard`], which knows fields by their order. The page and the program that reads it are of one build:
//! the program's address has the build in it, and a server of another refuses to answer.
//!
//! So what is packed must always be written whole: no field may be left out (`skip_serializing_if`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A value as a page carries it; nothing where it cannot be written.
pub fn pack<T: Serialize>(value: &T) -> String {
    postcard::to_allocvec(value).map(|bytes| STANDARD_NO_PAD.encode(bytes)).unwrap_or_default()
}

/// The value that was packed.
pub fn unpack<T: DeserializeOwned>(text: &str) -> Option<T> {
    postcard::from_bytes(&STANDARD_NO_PAD.decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_back_and_nothing_else_does() {
        let value = vec![Some((u64::MAX, -1_i64, "ä".to_owned())), None];
        assert_eq!(unpack(&pack(&value)), Some(value));
        assert_eq!(unpack::<String>("%"), None);
        assert_eq!(unpack::<String>("/w"), None);
    }
}
