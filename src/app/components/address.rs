//! The addresses of views: what is narrowed is in them, so that every view is a link.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::model::{JobId, Status};
use crate::rpc::{LogView, PastFilter};

/// What an address may hold as it is, beside letters and digits.
const IN_ADDRESS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Text as it may stand in an address.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, IN_ADDRESS).to_string()
}

/// The address of the overview with these filters and this outcome.
pub fn past_address(filter: &PastFilter, status: Option<Status>, cursor: Option<&str>) -> String {
    let mut address = String::from("/admin/jobs");
    let mut first = true;
    let mut add = |name: &str, value: &str| {
        address.push(if first { '?' } else { '&' });
        first = false;
        address.push_str(name);
        address.push('=');
        address.push_str(&encode(value));
    };
    for (name, value) in [("feature", &filter.feature), ("author", &filter.author), ("q", &filter.text)] {
        if let Some(value) = value {
            add(name, value);
        }
    }
    if let Some(status) = status {
        add("status", status.name());
    }
    if let Some(cursor) = cursor {
        add("cursor", cursor);
    }
    address
}

/// The address of a job's log with this filter, before a line or at its end.
pub fn log_address(id: JobId, log: &LogView, before: Option<u64>) -> String {
    let mut address = format!("/admin/jobs/{id}");
    let mut separator = '?';
    let mut add = |name: &str, value: &str| {
        address.push(separator);
        separator = '&';
        address.push_str(name);
        address.push('=');
        address.push_str(&encode(value));
    };
    if let Some(before) = before {
        add("before", &before.to_string());
    }
    if let Some(kind) = log.kind {
        add("level", kind.name());
    }
    for (name, value) in [("step", &log.step), ("q", &log.text)] {
        if let Some(value) = value {
            add(name, value);
        }
    }
    address.push_str("#log");
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_what_is_narrowed_and_nothing_else() {
        let filter = PastFilter {
            feature: Some("a&b=c".to_owned()),
            text: Some("50 % ä".to_owned()),
            ..PastFilter::default()
        };
        assert_eq!(
            past_address(&filter, Some(Status::Failed), Some("p1.x")),
            "/admin/jobs?feature=a%26b%3Dc&q=50%20%25%20%C3%A4&status=failed&cursor=p1.x"
        );
        assert_eq!(past_address(&PastFilter::default(), None, None), "/admin/jobs");
    }
}
