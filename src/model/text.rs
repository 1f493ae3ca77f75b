//! The texts people and programs give us, each with its limit.
//!
//! A text is checked once, where it enters, and is a type of its own from there on. Control characters
//! are data and are kept; [`visible`](super::visible()) shows them escaped where a person reads them.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a value was not accepted: which one, and what would be.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("{field} {problem}")]
pub struct Invalid {
    /// The value's name in the request.
    pub field: String,
    /// A phrase that follows the name: "must be a number between 0 and 1".
    pub problem: String,
}

impl Invalid {
    /// Says that `field` has `problem`.
    pub fn new(field: &str, problem: impl Into<String>) -> Self {
        Self { field: field.to_owned(), problem: problem.into() }
    }
}

macro_rules! limited_text {
    ($(#[$doc:meta])* $name:ident, $field:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The most characters it may have.
            pub const MAX_CHARS: usize = $max;

            /// Checks a text: not blank, and at most [`Self::MAX_CHARS`] characters. White space
            /// around it goes.
            pub fn new(text: impl Into<String>) -> Result<Self, Invalid> {
                let text: String = text.into();
                let trimmed = text.trim();
                if trimmed.is_empty() {
                    return Err(Invalid::new($field, "is required and must not be blank"));
                }
                if trimmed.chars().count() > $max {
                    return Err(Invalid::new(
                        $field,
                        format!("must have at most {} characters", $max),
                    ));
                }
                Ok(if trimmed.len() == text.len() { Self(text) } else { Self(trimmed.to_owned()) })
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The text, owned.
            pub fn into_string(self) -> String {
                self.0
            }
        }
    };
}

limited_text!(
    /// The type of a job, such as `argument-condensation`.
    Feature, "feature", 100
);
limited_text!(
    /// Who a job is for: a person's name or address.
    Author, "author", 200
);
limited_text!(
    /// A job's or a step's title.
    Title, "title", 200
);
limited_text!(
    /// Why an operator did something.
    Reason, "reason", 1000
);
limited_text!(
    /// A label on a job.
    Tag, "tag", 50
);

/// The text of a message. Unlike the others it is kept as given, white space and all; only a message
/// without any character is refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageText(String);

impl MessageText {
    /// The most bytes one message may have: 64 KiB.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// Checks a message's text: 1 to [`Self::MAX_BYTES`] bytes.
    pub fn new(text: impl Into<String>) -> Result<Self, Invalid> {
        let text: String = text.into();
        if text.is_empty() {
            return Err(Invalid::new("message", "is required and must not be empty"));
        }
        if text.len() > Self::MAX_BYTES {
            return Err(Invalid::new(
                "message",
                format!("must have at most {} bytes of UTF-8", Self::MAX_BYTES),
            ));
        }
        Ok(Self(text))
    }

    /// As [`Self::new`], for reporters that must not fail over a text: an empty one becomes a space, and of
    /// a longer one both ends are kept, with the cut marked between them.
    pub fn cut(text: impl Into<String>) -> Self {
        const MARK: &str = " … (cut to 64 KiB) … ";
        const HALF: usize = (MessageText::MAX_BYTES - MARK.len()) / 2;
        let mut text: String = text.into();
        if text.is_empty() {
            text.push(' ');
        }
        if text.len() > Self::MAX_BYTES {
            let tail = text.ceil_char_boundary(text.len() - HALF);
            text.replace_range(text.floor_char_boundary(HALF)..tail, MARK);
        }
        Self(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, owned.
    pub fn into_string(self) -> String {
        self.0
    }
}

/// The first `most` characters, with an ellipsis where something was cut.
pub fn shorten(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        None => Cow::Borrowed(text),
        Some((at, _)) => Cow::Owned(format!("{}…", text[..at].trim_end())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_feature_and_one_of_101_characters_are_refused() {
        assert!(Feature::new("  ").is_err());
        assert!(Feature::new("ä".repeat(101)).is_err());
        assert_eq!(Feature::new(" import ").map(Feature::into_string), Ok("import".to_owned()));
        assert!(Feature::new("ä".repeat(100)).is_ok());
    }

    #[test]
    fn a_message_is_kept_to_the_byte_and_limited_in_bytes() {
        assert_eq!(
            MessageText::new("  \u{1b}[31m ").map(MessageText::into_string),
            Ok("  \u{1b}[31m ".to_owned())
        );
        assert!(MessageText::new("").is_err());
        assert!(MessageText::new("x".repeat(64 * 1024)).is_ok());
        assert!(MessageText::new("x".repeat(64 * 1024 + 1)).is_err());
    }

    #[test]
    fn a_cut_message_says_so_and_stays_within_the_limit() {
        let text = format!("{}ab{}", "é".repeat(20_000), "ü".repeat(20_001));
        let cut = MessageText::cut(text).into_string();
        assert!((MessageText::MAX_BYTES - 4..=MessageText::MAX_BYTES).contains(&cut.len()));
        assert!(cut.starts_with('é') && cut.contains("é … (cut to 64 KiB) … ü") && cut.ends_with('ü'));
    }
}
