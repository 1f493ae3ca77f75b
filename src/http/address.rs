//! Addresses that answers lead to.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What a query may hold as it is. Slashes too: an address within an address stays readable.
const IN_QUERY: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// Text as it may stand in a query.
pub fn percent_encode(text: &str) -> String {
    utf8_percent_encode(text, IN_QUERY).to_string()
}
