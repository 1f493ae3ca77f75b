//! Text as PostgreSQL can hold it. What programs say may contain U+0000, which its `text` type refuses. A log must
//! keep every character, so that one is written as two others.

use std::borrow::Cow;

/// Announces an escaped character. It is from the private use area, so that ordinary texts need no escaping.
pub(super) const ESCAPE: char = '\u{f8ff}';
/// Stands for U+0000 behind it.
const NUL: char = '0';

/// Text to be stored, or to be compared with stored text.
pub(super) fn stored(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    let mut stored = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\0' => stored.extend([ESCAPE, NUL]),
            ESCAPE => stored.extend([ESCAPE, ESCAPE]),
            c => stored.push(c),
        }
    }
    Cow::Owned(stored)
}

/// A regular expression that finds a text where a stored one really has it, in one that holds escaped characters; `None`
/// where finding the stored form is as good.
///
/// What begins with an escaped character, or with what stands behind [`ESCAPE`], is also found in the midst of one.
/// Escapes come in pairs before a place between two characters.
pub(super) fn at_a_boundary(text: &str) -> Option<String> {
    if !text.starts_with(['\0', ESCAPE, NUL]) {
        return None;
    }
    let mut pattern = format!("(?<!{ESCAPE})({ESCAPE}{ESCAPE})*");
    for c in stored(text).chars() {
        if c.is_ascii() && !c.is_ascii_alphanumeric() {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    Some(pattern)
}

/// The text that was stored.
pub(super) fn original(text: String) -> String {
    if !text.contains(ESCAPE) {
        return text;
    }
    let mut original = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ESCAPE => match chars.next() {
                Some(NUL) => original.push('\0'),
                Some(other) => original.push(other),
                None => original.push(ESCAPE),
            },
            c => original.push(c),
        }
    }
    original
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_read_back_and_holds_no_nul(text in "[\0\u{f8ff}0a-c\n]{0,12}") {
            let written = stored(&text);
            prop_assert!(!written.contains('\0'));
            prop_assert_eq!(original(written.into_owned()), text);
        }
    }
}
