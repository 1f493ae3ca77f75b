//! Texts of others as a person may be shown them: control characters are shown instead of obeyed, invisible ones are
//! made visible.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The most accents a letter is shown with. Writing has up to four; more paint over what stands above.
const MOST_MARKS: usize = 4;

/// The text with what cannot be seen made visible: control characters, bidirectional overrides, characters
/// without a width. So a log line cannot forge another, colour a terminal or reorder a page, and two names that
/// look alike are alike. Joiners stay in the scripts that are written with them. Of many accents on a letter
/// the first few are shown, and that there are more. Line feeds and tabs stay when `multiline`.
pub fn visible(text: &str, multiline: bool) -> Cow<'_, str> {
    let mut shown: Option<String> = None;
    let (mut before, mut marks) = (None, 0_usize);
    let mut letters = text.char_indices().peekable();
    while let Some((at, c)) = letters.next() {
        let joined =
            before.is_some_and(is_joined) && letters.peek().is_some_and(|(_, next)| is_joined(*next));
        let joiner = matches!(c, '\u{200c}' | '\u{200d}');
        let hidden = (joiner && !joined) || (is_hidden(c) && !(multiline && matches!(c, '\n' | '\t')));
        marks = if is_mark(c) { marks + 1 } else { 0 };
        before = Some(c);
        if !hidden && marks <= MOST_MARKS {
            if let Some(shown) = &mut shown {
                shown.push(c);
            }
            continue;
        }
        let shown = shown.get_or_insert_with(|| {
            let mut start = String::with_capacity(text.len() + 16);
            start.push_str(&text[..at]);
            start
        });
        match c {
            _ if marks == MOST_MARKS + 1 => shown.push('…'),
            _ if marks > MOST_MARKS => {}
            '\n' => shown.push_str("\\n"),
            '\t' => shown.push_str("\\t"),
            '\r' => shown.push_str("\\r"),
            '\u{1b}' => shown.push_str("\\e"),
            c => {
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
            }
        }
    }
    shown.map_or(Cow::Borrowed(text), Cow::Owned)
}

/// Whether a character is not seen, wherever it stands: it has no width, or changes the order of others. Joiners
/// (U+200C, U+200D) depend on what is around them.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Whether a character may stand beside a joiner: the scripts whose letters join, and emoji.
fn is_joined(c: char) -> bool {
    matches!(c,
        '\u{600}'..='\u{8ff}' | '\u{900}'..='\u{dff}' | '\u{f00}'..='\u{109f}' | '\u{1780}'..='\u{18af}'
        | '\u{1900}'..='\u{1cff}' | '\u{a840}'..='\u{abff}' | '\u{fb50}'..='\u{fdff}' | '\u{fe0f}'
        | '\u{fe70}'..='\u{fefc}' | '\u{10a00}'..='\u{11fff}' | '\u{2190}'..='\u{2bff}'
        | '\u{1e900}'..='\u{1e95f}' | '\u{1f000}'..='\u{1faff}')
}

/// Whether a character is put onto the one before it.
fn is_mark(c: char) -> bool {
    match c {
        // The scripts of India: each block has its signs at the same places.
        '\u{900}'..='\u{dff}' => matches!(
            u32::from(c) & 0x7f,
            0..=3 | 0x3a..=0x3c | 0x3e..=0x4d | 0x51..=0x57 | 0x62..=0x63
        ),
        _ => matches!(c,
            '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5bd}' | '\u{5bf}'..='\u{5c7}'
            | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}' | '\u{670}' | '\u{6d6}'..='\u{6ed}'
            | '\u{711}' | '\u{730}'..='\u{74a}' | '\u{7a6}'..='\u{7b0}' | '\u{7eb}'..='\u{7f3}'
            | '\u{816}'..='\u{82d}' | '\u{859}'..='\u{85b}' | '\u{8ca}'..='\u{8ff}' | '\u{e31}'
            | '\u{e34}'..='\u{e3a}' | '\u{e47}'..='\u{e4e}' | '\u{eb1}' | '\u{eb4}'..='\u{ebc}'
            | '\u{ec8}'..='\u{ece}' | '\u{f18}'..='\u{f39}' | '\u{f71}'..='\u{fbc}' | '\u{102b}'..='\u{103e}'
            | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}'
            | '\u{302a}'..='\u{302f}' | '\u{3099}' | '\u{309a}' | '\u{a66f}'..='\u{a67d}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{fe20}'..='\u{fe2f}'
            | '\u{1d165}'..='\u{1d169}' | '\u{1e8d0}'..='\u{1e8d6}'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_shown_not_obeyed() {
        assert_eq!(visible("a\u{1b}[2Jb", false), "a\\e[2Jb");
        assert_eq!(visible("a\u{202e}b", false), "a\\u{202e}b");
        assert_eq!(visible("a\nb", true), "a\nb");
        assert_eq!(visible("a\nb", false), "a\\nb");
    }

    #[test]
    fn what_has_no_width_is_shown_and_what_scripts_need_stays() {
        for (text, shown) in [
            ("ad\u{200b}min", "ad\\u{200b}min"),
            ("admin\u{e0061}\u{e0062}", "admin\\u{e0061}\\u{e0062}"),
            ("a\u{200d}b", "a\\u{200d}b"),
            ("\u{feff}import", "\\u{feff}import"),
            ("im\u{ad}port\u{3164}", "im\\u{ad}port\\u{3164}"),
            ("\u{200d}क", "\\u{200d}क"),
        ] {
            assert_eq!(visible(text, false), shown);
        }
        for kept in [
            "می\u{200c}خواهم",
            "क्\u{200d}ष",
            "👩\u{200d}💻",
            "❤\u{fe0f}\u{200d}🔥",
            "naïve",
            "e\u{301}",
            "ক্ষ",
            "ที่นี่",
        ] {
            assert_eq!(visible(kept, false), kept);
        }
    }

    #[test]
    fn accents_are_capped() {
        let many = format!("Z{}algo", "\u{301}".repeat(150));
        assert_eq!(visible(&many, false), format!("Z{}…algo", "\u{301}".repeat(4)));
        let mixed = format!("e{}x", "\u{301}\u{20dd}\u{489}".repeat(50));
        assert_eq!(visible(&mixed, false).chars().count(), 7);
    }

    proptest::proptest! {
        #[test]
        fn nothing_hidden_is_left_and_what_is_shown_is_shown_the_same_again(text in "\\PC{0,40}|(?s).{0,40}") {
            let shown = visible(&text, false).into_owned();
            proptest::prop_assert_eq!(visible(&shown, false), shown.as_str());
            let hidden = shown.chars().any(is_hidden);
            proptest::prop_assert!(!hidden);
        }
    }
}
