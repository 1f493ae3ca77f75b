//! The texts people and programs give us, each with its limit.
//!
//! A text is checked once, where it enters, and is a type of its own from there on. Terminal escapes are no part
//! of what people write to be read, so titles, reasons and messages are kept without them: search, pages, copies
//! and exports then agree on what they say. Names that are looked for (features, authors, tags) are kept as they
//! are. Control characters are data and are kept; [`visible`](super::visible()) shows them escaped where a person
//! reads them.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use super::escapes::without_escapes;

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
    ($(#[$doc:meta])* $name:ident, $field:literal, $max:literal, $kept:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map(Self::stored)
            }
        }

        impl $name {
            /// The most characters it may have.
            pub const MAX_CHARS: usize = $max;

            /// Checks a text: not blank, and at most [`Self::MAX_CHARS`] characters. White space
            /// around it goes.
            pub fn new(text: impl Into<String>) -> Result<Self, Invalid> {
                let text: String = text.into();
                let kept: Cow<'_, str> = $kept(&text);
                let trimmed = kept.trim();
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

            /// A text that was checked when it came in. One that was kept by an earlier version may hold
            /// escapes, and loses them.
            pub(crate) fn stored(text: String) -> Self {
                match $kept(&text) {
                    Cow::Owned(kept) if !kept.trim().is_empty() => Self(kept.trim().to_owned()),
                    _ => Self(text),
                }
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

/// For names that are looked for.
fn as_it_is(text: &str) -> Cow<'_, str> {
    Cow::Borrowed(text)
}

limited_text!(
    /// The type of a job, such as `argument-condensation`.
    Feature, "feature", 100, as_it_is
);
limited_text!(
    /// Who a job is for: a person's name or address.
    Author, "author", 200, as_it_is
);
limited_text!(
    /// A job's or a step's title, without terminal escapes.
    Title, "title", 200, without_escapes
);
limited_text!(
    /// Why an operator did something, without terminal escapes.
    Reason, "reason", 1000, without_escapes
);
limited_text!(
    /// A label on a job.
    Tag, "tag", 50, as_it_is
);

/// The text of a message. Unlike the others it is kept as given but for terminal escapes, white space and all;
/// only a message without any character is refused. One of escapes alone is a space.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct MessageText(String);

impl<'de> Deserialize<'de> for MessageText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::plain)
    }
}

impl MessageText {
    /// The most bytes one message may have: 64 KiB.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// Checks a message's text: 1 to [`Self::MAX_BYTES`] bytes, not counting its escapes.
    pub fn new(text: impl Into<String>) -> Result<Self, Invalid> {
        let text: String = text.into();
        if text.is_empty() {
            return Err(Invalid::new("message", "is required and must not be empty"));
        }
        let Self(text) = Self::plain(text);
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
        let Self(mut text) = Self::plain(text.into());
        if text.is_empty() {
            text.push(' ');
        }
        if text.len() > Self::MAX_BYTES {
            let tail = text.ceil_char_boundary(text.len() - HALF);
            text.replace_range(text.floor_char_boundary(HALF)..tail, MARK);
        }
        Self(text)
    }

    /// The text without its escapes; a space where they were all it had.
    fn plain(text: String) -> Self {
        match without_escapes(&text) {
            Cow::Borrowed(_) => Self(text),
            Cow::Owned(plain) if plain.is_empty() => Self(" ".to_owned()),
            Cow::Owned(plain) => Self(plain),
        }
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
    fn texts_for_people_are_kept_without_escapes_and_names_as_they_are() {
        let coloured = "\u{1b}[31m re\u{9b}0md ";
        assert_eq!(Title::new(coloured).map(Title::into_string), Ok("red".to_owned()));
        assert_eq!(Reason::new(coloured).map(Reason::into_string), Ok("red".to_owned()));
        assert!(Title::new("\u{1b}[31m").is_err() && Reason::new(" \u{1b}[0m ").is_err());
        assert!(Title::new(format!("{}\u{1b}[0m", "ä".repeat(200))).is_ok());
        assert_eq!(Feature::new(coloured).map(Feature::into_string), Ok(coloured.trim().to_owned()));
        assert_eq!(Tag::new(coloured).map(Tag::into_string), Ok(coloured.trim().to_owned()));
    }

    #[test]
    fn texts_that_an_earlier_version_kept_lose_their_escapes_where_they_are_read() {
        let read =
            |json: serde_json::Value| serde_json::from_value::<Title>(json).map(Title::into_string).ok();
        assert_eq!(read("\u{1b}[31m red\u{1b}[0m".into()).as_deref(), Some("red"));
        assert_eq!(read("\u{1b}[31m".into()).as_deref(), Some("\u{1b}[31m"));
        assert_eq!(read("  as it is".into()).as_deref(), Some("  as it is"));
        let said = serde_json::from_value::<MessageText>("\u{1b}[31m red".into()).unwrap();
        assert_eq!(said.as_str(), " red");
    }

    #[test]
    fn a_message_is_kept_to_the_byte_but_for_escapes_and_limited_in_bytes() {
        assert_eq!(
            MessageText::new("  \u{7}\r\u{1b}[31m \u{1b}").map(MessageText::into_string),
            Ok("  \u{7}\r ".to_owned())
        );
        assert_eq!(MessageText::new("\u{1b}[0m").map(MessageText::into_string), Ok(" ".to_owned()));
        assert!(MessageText::new(format!("{}\u{1b}[0m", "x".repeat(64 * 1024))).is_ok());
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
