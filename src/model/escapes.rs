//! Terminal escape sequences in texts: where one begins and ends, and the text without them.
//!
//! One rule for what `exec` reads of a program and for the texts that programs send: a sequence that is whole is
//! no part of the text; of one that is cut off only its beginning goes, the escape, and its other characters are
//! text, so that a stray escape swallows nothing. The grammar is that of ECMA-48, in its 7-bit and its 8-bit
//! form, with the bell that ends a title or a link. What a sequence *means* is for whoever draws a screen.

use std::borrow::Cow;

const ESCAPE: char = '\u{1b}';
const BELL: char = '\u{7}';
const CANCEL: char = '\u{18}';
const SUBSTITUTE: char = '\u{1a}';
/// The end of a string, in one character.
const STRING_END: char = '\u{9c}';

/// A sequence that is being read, by what may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// Behind the escape.
    Begun,
    /// Behind one of the characters that stand between the escape and the last.
    Between,
    /// Among the numbers of a control sequence.
    Numbers,
    /// Behind a character that stands between the numbers and the last.
    BehindNumbers,
    /// In a string, such as a link or a title.
    Text {
        /// A bell ends it, too.
        bell: bool,
    },
    /// In a string, behind an escape that may be the first half of its end.
    TextEscape,
}

/// What a character is to a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It belongs to it, and more is to come.
    More,
    /// It is its last.
    Last,
    /// It is none of it: the sequence was none, and what was read of it is text.
    Not,
    /// As [`Part::Not`], but the escape before it begins another sequence, of which this may be a part.
    OfAnother,
}

impl Escape {
    /// The sequence that this character begins.
    pub fn begun_by(c: char) -> Option<Self> {
        match c {
            ESCAPE => Some(Self::Begun),
            '\u{9b}' => Some(Self::Numbers),
            '\u{9d}' => Some(Self::Text { bell: true }),
            '\u{90}' | '\u{98}' | '\u{9e}' | '\u{9f}' => Some(Self::Text { bell: false }),
            _ => None,
        }
    }

    /// The next character.
    pub fn push(&mut self, c: char) -> Part {
        if matches!(c, CANCEL | SUBSTITUTE) {
            return Part::Last;
        }
        let next = match (*self, c) {
            (Self::Begun, '[') => Self::Numbers,
            (Self::Begun, ']') => Self::Text { bell: true },
            (Self::Begun, 'P' | 'X' | '^' | '_') => Self::Text { bell: false },
            (Self::Begun | Self::Between, ' '..='/') => Self::Between,
            (Self::Begun | Self::Between, '0'..='~') => return Part::Last,
            (Self::Numbers, '0'..='?') => Self::Numbers,
            (Self::Numbers | Self::BehindNumbers, ' '..='/') => Self::BehindNumbers,
            (Self::Numbers | Self::BehindNumbers, '@'..='~') => return Part::Last,
            (Self::Text { .. }, STRING_END)
            | (Self::Text { bell: true }, BELL)
            | (Self::TextEscape, '\\') => {
                return Part::Last;
            }
            (Self::TextEscape, _) => return Part::OfAnother,
            (Self::Text { .. }, ESCAPE) => Self::TextEscape,
            (Self::Text { .. }, c) if c != '\n' && Self::begun_by(c).is_none() => *self,
            _ => return Part::Not,
        };
        *self = next;
        Part::More
    }
}

/// The text without its terminal escapes, and otherwise as it is. Nothing in what is left begins one.
pub fn without_escapes(text: &str) -> Cow<'_, str> {
    // The first byte of the 8-bit forms is that of a few letters, too.
    if !(text.as_bytes().contains(&0x1b) || text.as_bytes().contains(&0xc2)) {
        return Cow::Borrowed(text);
    }
    let Some(start) = text.find(|c| Escape::begun_by(c).is_some()) else {
        return Cow::Borrowed(text);
    };
    let mut plain = String::with_capacity(text.len());
    plain.push_str(&text[..start]);
    // The sequence that is being read, and where it goes on behind its beginning.
    let mut reading: Option<(Escape, usize)> = None;
    for (index, c) in text[start..].char_indices() {
        let at = start + index;
        if let Some((escape, from)) = &mut reading {
            let mut part = escape.push(c);
            if part == Part::OfAnother {
                plain.push_str(&text[*from..at - ESCAPE.len_utf8()]);
                (*escape, *from) = (Escape::Begun, at);
                part = escape.push(c);
            }
            match part {
                Part::More => continue,
                Part::Last => {
                    reading = None;
                    continue;
                }
                Part::Not | Part::OfAnother => plain.push_str(&text[*from..at]),
            }
        }
        reading = Escape::begun_by(c).map(|escape| (escape, at + c.len_utf8()));
        if reading.is_none() {
            plain.push(c);
        }
    }
    if let Some((_, from)) = reading {
        plain.push_str(text[from..].trim_end_matches(ESCAPE));
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whole_sequences_are_no_part_of_a_text() {
        for (text, plain) in [
            ("re\x1b[0md", "red"),
            ("\x1b[31mre\x1b[0md", "red"),
            ("\x1b[38;2;1;2;3mre\x1b[39;49md\x1b[m", "red"),
            ("\x1b[38:5:1mr\x1b[1 qed", "red"),
            ("\x1b[1<mred", "red"),
            ("\u{9b}31mre\u{9b}0md", "red"),
            ("see \x1b]8;;http://x/\x1b\\the page\x1b]8;;\x1b\\.", "see the page."),
            ("see \x1b]8;id=1;http://x/\x07the page\x1b]8;;\x07.", "see the page."),
            ("see \u{9d}8;;http://x/\u{9c}the page\u{9d}8;;\u{9c}.", "see the page."),
            ("\x1b]0;Gr\u{fc}\u{df}e\x07text", "text"),
            ("\x1bP1$r0m\x1b\\text\x1b_apc\u{9c}\x1bXsos\x1b\\\u{90}q\u{9c}", "text"),
            ("\x1b(B\x1b[?25ltext\x1b[?25h\x1b=\x1b7", "text"),
            ("two\nli\x1b[1mnes\x1b[0m\n", "two\nlines\n"),
            ("can\x1b[3\u{18}celled", "cancelled"),
        ] {
            assert_eq!(without_escapes(text), plain, "{text:?}");
        }
    }

    #[test]
    fn of_one_that_is_cut_off_only_the_escape_goes() {
        for (text, plain) in [
            ("red\x1b", "red"),
            ("red\x1b[", "red["),
            ("red\x1b[31", "red[31"),
            ("red\u{9b}31", "red31"),
            ("a\x1b[31\nb", "a[31\nb"),
            ("a\x1b]0;title\nb\x07", "a]0;title\nb\x07"),
            ("a\x1b]8;;http://x \x1b[31mred\x1b[0m", "a]8;;http://x red"),
            ("a\x1b]8;;http://x\x1b", "a]8;;http://x"),
            ("a\x1b]0;b\u{9b}1mc", "a]0;bc"),
            ("\x1b\u{65e5}\u{672c}\u{8a9e} text", "\u{65e5}\u{672c}\u{8a9e} text"),
            ("\x1b[3\u{e9}m", "[3\u{e9}m"),
            ("\x1b\x1b[1mred", "red"),
            ("\x1b[3\x1b[1mred", "[3red"),
        ] {
            assert_eq!(without_escapes(text), plain, "{text:?}");
        }
    }

    #[test]
    fn every_other_character_stays() {
        let controls: String =
            (0..=0x9f_u8).map(char::from).filter(|c| Escape::begun_by(*c).is_none()).collect();
        for text in [&controls, "", "\u{a0}\u{b0}\u{c2}", "\u{202e}\u{feff}\r\n\t\0", "[31m ]8;; \\e[0m"] {
            assert!(matches!(without_escapes(text), Cow::Borrowed(same) if same == text), "{text:?}");
        }
    }

    #[test]
    fn a_text_made_of_beginnings_takes_no_longer_than_another() {
        for beginning in ["\x1b", "\x1b]", "\u{9d}", "\x1bP\x1b", "\x1b["] {
            let text = beginning.repeat(1 << 20);
            assert!(without_escapes(&text).len() < text.len());
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_left_begins_a_sequence_and_nothing_is_added(
            pieces in prop::collection::vec("[a-z0-9;\\[\\]\\\\P\n\x07\x18\x1b\u{9b}-\u{9d}\u{e9}]{1,4}|\x1b\\[[0-9;]{0,3}m|(?s).", 0..20),
        ) {
            let text = pieces.concat();
            let plain = without_escapes(&text);
            prop_assert!(!plain.contains(|c| Escape::begun_by(c).is_some()));
            prop_assert_eq!(without_escapes(&plain), &*plain);
            // What is left is a part of the text, in its order.
            let mut rest = text.chars();
            prop_assert!(plain.chars().all(|c| rest.any(|other| other == c)));
        }

        #[test]
        fn words_between_whole_sequences_are_kept(words in prop::collection::vec("[a-z \u{e9}\n\t]{0,8}", 0..12)) {
            let text = words.join("\x1b[1;31m");
            prop_assert_eq!(without_escapes(&text), words.concat());
        }
    }
}
