//! A command's output, from bytes to what a terminal would show of it. Pure: no clock, no I/O.
//!
//! Programs that draw a line over and over (a bar, a percentage, a spinner) do it with carriage returns,
//! backspaces, and sequences that move the cursor and erase. All of these lead to the same: states of a row,
//! of which the caller shows some and keeps the last. Colours, links and titles leave no trace.
//!
//! Where a sequence ends is for [`Escape`] to say, as it is for all texts; what it asks for is read by `vte`, the
//! parser of the terminal Alacritty. A sequence that something else interrupts was none: its characters are shown,
//! so that a stray escape never swallows what follows.

mod order;
mod screen;

use std::borrow::Cow;

use vte::Parser;

use self::order::Order;
use self::screen::{Each, Screen};
pub use self::screen::{Redraw, Shown};
use crate::model::{Escape, Part};

const ESCAPE: char = '\u{1b}';

/// A terminal of which nothing is seen but its text.
#[derive(Default)]
pub struct Terminal {
    screen: Screen,
    /// The beginning of a character whose end has not come.
    partial: Vec<u8>,
    /// The sequence that is being read.
    sequence: Option<Sequence>,
    /// A carriage return came: whether it ends a redraw or a line shows in the next byte.
    returned: bool,
    /// The last byte was a backspace.
    stepped_back: bool,
}

struct Sequence {
    escape: Escape,
    /// The character it began with.
    begun: char,
    /// What came behind that. Only so much of it as is worth showing.
    text: String,
}

impl Sequence {
    /// So much of a sequence is shown that turns out to be none.
    const MOST_SHOWN: usize = 4096;

    fn begun_by(c: char) -> Option<Self> {
        Some(Self { escape: Escape::begun_by(c)?, begun: c, text: String::new() })
    }

    /// What it asks for.
    fn order(&self) -> Order {
        let mut order = Order::default();
        let mut parser: Parser = Parser::new();
        match self.begun {
            ESCAPE => parser.advance(&mut order, b"\x1b"),
            '\u{9b}' => parser.advance(&mut order, b"\x1b["),
            // Links and titles ask for nothing.
            _ => return order,
        }
        parser.advance(&mut order, self.text.as_bytes());
        order
    }
}

impl Terminal {
    /// Takes the next bytes, and tells what they change.
    pub fn feed(&mut self, mut bytes: &[u8], each: Each<'_>) {
        while let Some(&first) = bytes.first() {
            if let Some((line, rest)) = self.plain_line(bytes) {
                self.screen.line(line, each);
                bytes = rest;
                continue;
            }
            let text = bytes.iter().take_while(|byte| **byte >= b' ' || **byte == b'\t').count();
            if text == 0 {
                self.control(first, each);
                bytes = &bytes[1..];
            } else {
                self.text(&bytes[..text], each);
                bytes = &bytes[text..];
            }
        }
    }

    /// The output has ended: tells what was not told.
    pub fn finish(&mut self, each: Each<'_>) {
        self.broken_character(each);
        self.broken_sequence(each);
        self.screen.finish(each);
    }

    /// Something came on another output: tells what a carriage return ended, without waiting for what follows
    /// it.
    pub fn settle(&mut self, each: Each<'_>) {
        if self.returned {
            self.screen.carriage_return(each);
        }
    }

    /// The output has rested. See [`Screen::rest`].
    pub fn rest(&mut self, part: &mut dyn FnMut(&str) -> bool, each: Each<'_>) {
        if self.sequence.is_none() && self.partial.is_empty() {
            self.screen.rest(part, each);
        }
    }

    /// The row that is being written, as far as it was drawn.
    pub fn unfinished(&self) -> String {
        self.screen.unfinished()
    }

    /// The next whole line, where it begins at a row's beginning and nothing in it moves the cursor: what
    /// most output is made of, and read without a detour.
    fn plain_line<'a>(&self, bytes: &'a [u8]) -> Option<(Cow<'a, str>, &'a [u8])> {
        if self.returned || self.sequence.is_some() || !self.partial.is_empty() || !self.screen.is_fresh() {
            return None;
        }
        let end = bytes.iter().position(|byte| *byte < b' ' && *byte != b'\t')?;
        let ending = bytes[end..].iter().take_while(|byte| **byte == b'\r').count();
        if bytes.get(end + ending) != Some(&b'\n') {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes[..end]);
        (!text.contains(is_dropped)).then_some((text, &bytes[end + ending + 1..]))
    }

    fn control(&mut self, byte: u8, each: Each<'_>) {
        self.broken_character(each);
        if self.goes_into_sequence(char::from(byte), each) {
            return;
        }
        let stepped_back = std::mem::replace(&mut self.stepped_back, byte == 0x08);
        match byte {
            // Vertical tabs and form feeds go to a new line, too.
            b'\n' | 0x0b | 0x0c => {
                self.returned = false;
                self.screen.line_feed(each);
            }
            b'\r' => self.returned = true,
            0x08 => {
                self.go_on(each);
                self.stepped_back = true;
                self.screen.backspace(stepped_back, each);
            }
            0x1b => self.sequence = Sequence::begun_by(ESCAPE),
            // A bell and its like show nothing.
            _ => {}
        }
    }

    /// A carriage return that no line feed followed: what comes is drawn over the row.
    fn go_on(&mut self, each: Each<'_>) {
        self.stepped_back = false;
        if std::mem::take(&mut self.returned) {
            self.screen.carriage_return(each);
        }
    }

    fn text(&mut self, bytes: &[u8], each: Each<'_>) {
        let mut joined = std::mem::take(&mut self.partial);
        let mut bytes = if joined.is_empty() {
            bytes
        } else {
            joined.extend_from_slice(bytes);
            joined.as_slice()
        };
        while !bytes.is_empty() {
            let (good, bad) = match std::str::from_utf8(bytes) {
                Ok(text) => (text, None),
                Err(error) => {
                    let good = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
                    (good, Some(error.error_len()))
                }
            };
            for c in good.chars() {
                self.character(c, each);
            }
            bytes = &bytes[good.len()..];
            match bad {
                None => {}
                Some(Some(length)) => {
                    self.character(char::REPLACEMENT_CHARACTER, each);
                    bytes = &bytes[length..];
                }
                Some(None) => {
                    self.partial = bytes.to_vec();
                    return;
                }
            }
        }
    }

    fn character(&mut self, c: char, each: Each<'_>) {
        if self.goes_into_sequence(c, each) {
            return;
        }
        self.go_on(each);
        match c {
            // The next line, as a character of its own.
            '\u{85}' => self.screen.line_feed(each),
            c if is_dropped(c) => self.sequence = Sequence::begun_by(c),
            c => self.screen.put(c),
        }
    }

    /// A character that something else interrupted.
    fn broken_character(&mut self, each: Each<'_>) {
        if !std::mem::take(&mut self.partial).is_empty() {
            self.character(char::REPLACEMENT_CHARACTER, each);
        }
    }

    /// Whether the character is a part of the sequence that is being read, and no text.
    fn goes_into_sequence(&mut self, c: char, each: Each<'_>) -> bool {
        while let Some(sequence) = &mut self.sequence {
            let part = sequence.escape.push(c);
            match part {
                Part::More | Part::Last => {
                    if sequence.text.len() < Sequence::MOST_SHOWN {
                        sequence.text.push(c);
                    }
                    if part == Part::Last {
                        let order = sequence.order();
                        self.sequence = None;
                        self.go_on(each);
                        order.apply(&mut self.screen, each);
                    }
                    return true;
                }
                Part::Not => self.broken_sequence(each),
                Part::OfAnother => {
                    self.broken_sequence(each);
                    self.sequence = Sequence::begun_by(ESCAPE);
                }
            }
        }
        false
    }

    /// A sequence that was cut off: its characters are shown.
    fn broken_sequence(&mut self, each: Each<'_>) {
        if let Some(sequence) = self.sequence.take() {
            for c in sequence.text.chars().filter(|c| !is_dropped(*c)) {
                self.go_on(each);
                self.screen.put(c);
            }
        }
    }
}

/// A character that a terminal shows nothing of.
fn is_dropped(c: char) -> bool {
    c.is_control() && c != '\t'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::without_escapes;

    /// What was told: lines as `=text`, states as `~text`, last states as `!text`.
    fn told(chunks: &[&[u8]]) -> Vec<String> {
        let mut terminal = Terminal::default();
        let mut told = Vec::new();
        let mut keep = |shown: Shown<'_>| {
            told.push(match shown {
                Shown::Line(text) => format!("={text}"),
                Shown::Redraw(state) if state.last => format!("!{}", state.text),
                Shown::Redraw(state) => format!("~{}", state.text),
            });
        };
        for chunk in chunks {
            terminal.feed(chunk, &mut keep);
        }
        terminal.finish(&mut keep);
        told
    }

    fn shown(text: &str) -> Vec<String> {
        told(&[text.as_bytes()])
    }

    /// The lines, and the last state of what was drawn over.
    fn kept(text: &str) -> Vec<String> {
        let told = shown(text).into_iter().filter(|text| !text.starts_with('~'));
        told.map(|text| text[1..].to_owned()).collect()
    }

    #[test]
    fn lines_end_with_a_line_feed_and_carriage_returns_before_it_are_nothing() {
        assert_eq!(shown("a\r\nb\n\nlast"), ["=a", "=b", "=", "=last"]);
        assert_eq!(told(&[b"a\r", b"\n", b"b\r\r\n"]), ["=a", "=b"]);
        assert_eq!(shown("  a\tb  \n"), ["=  a\tb  "]);
        assert_eq!(shown(""), [""; 0]);
        assert_eq!(shown("a\x0cb\x0bc\n"), ["=a", "=b", "=c"]);
    }

    #[test]
    fn whatever_goes_back_over_a_row_ends_a_redraw() {
        assert_eq!(shown("10%\r20%\r30%\n"), ["~10%", "~20%", "~30%", "!30%"]);
        assert_eq!(shown(" 1%\x08\x08\x08 2%\x08\x08\x08 3%"), ["~ 1%", "~ 2%", "~ 3%", "! 3%"]);
        for again in
            ["\x1b[G", "\x1b[1G", "\x1b[2K\r", "\r\x1b[K", "\x1b[1K\r", "\x1b[3D", "\x1b[80D", "\x1b[1`"]
        {
            let text = format!("10%{again}20%{again}30%{again}");
            assert_eq!(
                kept(&text).last().map(String::as_str),
                Some(if again.contains('K') { "" } else { "30%" }),
                "{again:?}"
            );
            let states =
                shown(&text).iter().filter(|told| told.starts_with('~')).cloned().collect::<Vec<_>>();
            assert_eq!(states, ["~10%", "~20%", "~30%"], "{again:?}");
        }
        assert_eq!(kept("a\x1b[s 1%\x1b[u 2%\x1b[u 3%\n"), ["a 3%"]);
    }

    #[test]
    fn rows_above_are_drawn_over_and_their_last_state_is_told_once() {
        let text = "a 0%\nb 0%\n\x1b[2Aa 50%\x1b[K\nb 20%\x1b[K\n\x1b[2Fa 99%\x1b[K\nb 80%\x1b[K\ndone\n";
        assert_eq!(
            shown(text),
            ["=a 0%", "=b 0%", "~a 50%", "~b 20%", "~a 99%", "~b 80%", "!a 99%", "!b 80%", "=done"]
        );
        let one = (1..=3).map(|i| format!("\x1b[1A\x1b[2K{i}%\n")).collect::<String>();
        assert_eq!(shown(&format!("0%\n{one}")), ["=0%", "~1%", "~2%", "~3%", "!3%"]);
        let erased = (1..=3).map(|i| format!("\x1b[2A\x1b[Jx {i}%\ny {i}%\n")).collect::<String>();
        assert_eq!(kept(&format!("x 0%\ny 0%\n{erased}")), ["x 0%", "y 0%", "x 3%", "y 3%"]);
    }

    #[test]
    fn screens_that_are_drawn_whole_have_a_last_state_too() {
        let frame = |i: u32| format!("\x1b[H\x1b[2Jjobs\nat {i}%\n");
        let text = format!("before\n{}{}{}", frame(1), frame(2), frame(3));
        assert_eq!(kept(&text), ["before", "jobs", "at 1%", "jobs", "at 3%"]);
        let placed = |i: u32| format!("\x1b[1;1Hcpu {i}%\x1b[2;1Hmem {i}%");
        assert_eq!(kept(&format!("{}{}", placed(1), placed(2))), ["cpu 2%", "mem 2%"]);
    }

    #[test]
    fn colours_links_and_titles_leave_no_trace() {
        for (text, expected) in [
            ("\x1b[31mre\x1b[0md", "red"),
            ("\x1b[38;2;1;2;3mre\x1b[39;49md\x1b[m", "red"),
            ("\x1b[38:5:1mred\x1b[0m", "red"),
            ("see \x1b]8;;http://x/\x1b\\the page\x1b]8;;\x1b\\.", "see the page."),
            ("see \x1b]8;id=1;http://x/\x07the page\x1b]8;;\x07.", "see the page."),
            ("\x1b]0;title\x07text", "text"),
            ("\x1bP1$r0m\x1b\\text\x1b_apc\x1b\\", "text"),
            ("\u{9b}31mre\u{9b}0md \u{9d}8;;http://x/\u{9c}link\u{9d}8;;\u{9c}", "red link"),
            ("\x1b[1;?2mtext", "text"),
            ("\x1b(B\x1b[?25ltext\x1b[?25h\x1b=", "text"),
            ("be\x07ll\x00\x7f", "bell"),
            ("N\x08NA\x08AM\x08ME\x08E _\x08x", "NAME x"),
            ("grün 日本\u{301}", "grün 日本\u{301}"),
        ] {
            assert_eq!(shown(&format!("{text}\n")), [format!("={expected}")], "{text:?}");
        }
    }

    #[test]
    fn a_sequence_that_is_none_swallows_nothing() {
        assert_eq!(shown("a\x1b]0;title\nb\n"), ["=a]0;title", "=b"]);
        assert_eq!(shown("a\x1b[31\nb\x1b"), ["=a[31", "=b"]);
        assert_eq!(shown("a\x1b[3\x18b\n"), ["=ab"]);
        assert_eq!(shown("a\x1b日本語 text\n"), ["=a日本語 text"]);
        assert_eq!(shown("a\x1b]8;;http://x \x1b[31mred\x1b[0m\n"), ["=a]8;;http://x red"]);
        assert_eq!(shown("10%\r\x1b[3\n"), ["~10%", "~[3", "![3"]);
    }

    #[test]
    fn a_shorter_text_drawn_over_a_longer_one_does_not_run_into_its_end() {
        assert_eq!(kept("copying 100/100\rcopying 1/100\n"), ["copying 1/100"]);
        assert_eq!(kept("[ ] Installing\r[|\r[/\n"), ["[/] Installing"]);
        assert_eq!(kept("日本 10%\r日本  9%\n"), ["日本  9%"]);
        assert_eq!(kept("日本\x08\x08語\n"), ["日語"]);
    }

    #[test]
    fn of_a_line_without_end_both_ends_are_kept_in_bounded_memory() {
        let mut terminal = Terminal::default();
        let mut lines = Vec::new();
        let mut keep = |shown: Shown<'_>| match shown {
            Shown::Line(text) => lines.push(text.into_owned()),
            other => panic!("{other:?}"),
        };
        terminal.feed(b"begin ", &mut keep);
        for _ in 0..100 {
            terminal.feed(&[b'x'; 10_000], &mut keep);
        }
        terminal.feed(b" end\nnext\n", &mut keep);
        assert!(lines[0].starts_with("begin x") && lines[0].ends_with("x end"), "{}", lines[0].len());
        assert!((65_537..200_000).contains(&lines[0].len()), "{}", lines[0].len());
        assert_eq!(lines[1], "next");
    }

    #[test]
    fn what_rests_is_given_out_once_and_its_rest_completes_it() {
        let mut terminal = Terminal::default();
        let told = std::cell::RefCell::new(Vec::new());
        let mut keep = |shown: Shown<'_>| match shown {
            Shown::Line(text) => told.borrow_mut().push(format!("={text}")),
            Shown::Redraw(state) => told.borrow_mut().push(format!("~{} {:?}", state.text, state.before)),
        };
        let mut part = |text: &str| {
            told.borrow_mut().push(format!("?{text}"));
            true
        };
        terminal.feed(b"Name? ", &mut keep);
        terminal.rest(&mut part, &mut keep);
        terminal.rest(&mut part, &mut keep);
        terminal.feed(b"Age? ", &mut keep);
        terminal.rest(&mut part, &mut keep);
        terminal.feed(b"done\nload... ", &mut keep);
        terminal.rest(&mut part, &mut keep);
        terminal.feed(b"\rload 5%\r", &mut keep);
        terminal.finish(&mut keep);
        assert_eq!(
            told.borrow()[..],
            [
                "?Name? ",
                "?Age? ",
                "=done",
                "?load... ",
                "~load... Some(\"load... \")",
                "~load 5% None",
                "~load 5% None"
            ]
        );
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => any::<u8>().prop_map(|byte| vec![byte]),
            2 => "[a-c日é%0-9 \r\n\x08\t]{1,4}".prop_map(String::into_bytes),
            2 => "(\x1b\\[|\u{9b})[0-9;]{0,3}[A-HJKPXsumf]".prop_map(String::into_bytes),
            1 => "[\u{80}-\u{9f}\x1b]".prop_map(String::into_bytes),
            1 => "\x1b[\\]P_]a{0,3}(\x07|\x1b\\\\)?".prop_map(String::into_bytes),
            1 => "\x1b[78DEMc]".prop_map(String::into_bytes),
        ];
        proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn what_is_shown_does_not_depend_on_how_the_bytes_arrive(bytes in bytes(), cut in 0_usize..200) {
            let (left, right) = bytes.split_at(cut.min(bytes.len()));
            let by_byte: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(told(&[&bytes]), told(&[left, right]));
            prop_assert_eq!(told(&[&bytes]), told(&by_byte));
        }

        #[test]
        fn nothing_that_is_told_controls_a_terminal(bytes in bytes()) {
            for text in told(&[&bytes]) {
                prop_assert!(!text.contains(|c: char| c.is_control() && c != '\t'), "{text:?}");
            }
        }

        #[test]
        fn a_line_is_told_as_a_text_is_kept(
            pieces in proptest::collection::vec(
                "[a-z0-9é ;]{1,4}|(\x1b\\[|\u{9b})[0-9;]{0,3}m|(\x1b\\]|\u{9d})8;;[a-z]{0,3}(\x07|\x1b\\\\|\u{9c})?",
                0..20,
            ),
        ) {
            let text = pieces.concat();
            prop_assert_eq!(shown(&format!("{text}\n")), [format!("={}", without_escapes(&text))]);
        }

        #[test]
        fn lines_that_nothing_draws_over_are_told_as_they_are(lines in proptest::collection::vec("[a-zé日 \t]{0,20}", 0..250)) {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let expected: Vec<String> = lines.iter().map(|line| format!("={line}")).collect();
            prop_assert_eq!(shown(&text), expected);
        }
    }
}
