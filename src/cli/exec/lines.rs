//! A command's output, from bytes to lines and from lines to what they say. Pure: no clock, no I/O.
//!
//! Programs that redraw a line end it with a carriage return; such a line is given out as a *redraw*,
//! so that the caller can tell a progress bar from a log. Whether a carriage return ends a redraw or
//! belongs to a line feed shows only in the next byte; until that comes the line is [`unfinished`].
//!
//! [`unfinished`]: Splitter::unfinished

use std::borrow::Cow;

use crate::model::{Level, MessageText, StepTree};

/// How a line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEnd {
    /// With a line feed, or with the output.
    Feed,
    /// With a carriage return: what follows is drawn over it.
    Return,
}

/// Cuts a stream of bytes into lines. Holds one line at most, and of that no more than a message keeps.
#[derive(Debug, Default)]
pub struct Splitter {
    line: Vec<u8>,
    returned: bool,
}

impl Splitter {
    /// One byte more than a message may have, so that whoever cuts the text sees that there was more.
    /// Replacing what is not UTF-8 never makes a text shorter than that.
    const MOST: usize = MessageText::MAX_BYTES + 1;

    /// Takes the next bytes, and hands out every line that is complete.
    pub fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8], LineEnd)) {
        while let Some(&first) = bytes.first() {
            if self.returned {
                if first == b'\r' {
                    bytes = &bytes[1..];
                    continue;
                }
                self.returned = false;
                if first == b'\n' {
                    bytes = &bytes[1..];
                    self.end(LineEnd::Feed, &mut each);
                    continue;
                }
                self.end(LineEnd::Return, &mut each);
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let text = &bytes[..end.unwrap_or(bytes.len())];
            let room = Self::MOST - self.line.len();
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            let Some(end) = end else { return };
            if bytes[end] == b'\n' {
                self.end(LineEnd::Feed, &mut each);
            } else {
                self.returned = true;
            }
            bytes = &bytes[end + 1..];
        }
    }

    /// The output has ended: hands out the line that was never finished, where there is one.
    pub fn finish(&mut self, mut each: impl FnMut(&[u8], LineEnd)) {
        if !self.line.is_empty() {
            let end = if self.returned { LineEnd::Return } else { LineEnd::Feed };
            self.end(end, &mut each);
        }
        self.returned = false;
    }

    /// The line that is still being written.
    pub fn unfinished(&self) -> &[u8] {
        &self.line
    }

    fn end(&mut self, end: LineEnd, each: &mut impl FnMut(&[u8], LineEnd)) {
        each(&self.line, end);
        self.line.clear();
    }
}

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub enum Said<'a> {
    /// Nothing to report: it is blank.
    Nothing,
    /// Something for people.
    Text(Cow<'a, str>),
    /// `::info`, `::warning` or `::error`: something for people, with its level.
    Marked(Level, String),
    /// `::progress`: 0..=1.
    Progress(f64),
    /// `::step`: the path of a step, fit to be declared.
    Step(String),
    /// `::steps`: the paths of steps that are to come.
    Steps(Vec<String>),
}

/// Reads a line. One that begins like an explicit line and makes no sense as such is a text, so that its
/// author sees it in the log.
pub fn read(line: &[u8]) -> Said<'_> {
    let text = String::from_utf8_lossy(line);
    if text.trim().is_empty() {
        return Said::Nothing;
    }
    match text.strip_prefix("::").and_then(explicit) {
        Some(said) => said,
        None => Said::Text(text),
    }
}

fn explicit(line: &str) -> Option<Said<'static>> {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let marked = |level| match rest {
        "" => Said::Nothing,
        text => Said::Marked(level, text.to_owned()),
    };
    match word {
        "info" => Some(marked(Level::Info)),
        "warning" => Some(marked(Level::Warning)),
        "error" => Some(marked(Level::Error)),
        "progress" => explicit_progress(rest).map(Said::Progress),
        "step" => step_path(rest).map(Said::Step),
        "steps" => {
            let paths: Vec<String> = rest.split(',').filter_map(step_path).collect();
            (!paths.is_empty()).then_some(Said::Steps(paths))
        }
        _ => None,
    }
}

fn explicit_progress(text: &str) -> Option<f64> {
    let value = match text.strip_suffix('%') {
        Some(percent) => percent.trim_end().parse::<f64>().ok()? / 100.0,
        None => text.parse().ok()?,
    };
    (0.0..=1.0).contains(&value).then_some(value)
}

/// A step's path as the server accepts it: names between slashes, none blank, none too long, not too deep.
fn step_path(text: &str) -> Option<String> {
    let names: Vec<String> = text
        .split('/')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .take(StepTree::MAX_DEPTH)
        .map(|name| name.chars().take(StepTree::MAX_ID_CHARS).collect())
        .collect();
    (!names.is_empty()).then(|| names.join("/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<(String, LineEnd)> {
        let mut splitter = Splitter::default();
        let mut lines = Vec::new();
        let mut keep = |line: &[u8], end| {
            lines.push((String::from_utf8_lossy(line).into_owned(), end));
        };
        for chunk in chunks {
            splitter.feed(chunk, &mut keep);
        }
        splitter.finish(&mut keep);
        lines
    }

    fn line(text: &str, end: LineEnd) -> (String, LineEnd) {
        (text.to_owned(), end)
    }

    #[test]
    fn a_carriage_return_ends_a_redraw_unless_a_line_feed_follows() {
        use LineEnd::{Feed, Return};
        assert_eq!(
            split(&[b"10%\r20%\r\r\nend\n\nlast"]),
            [line("10%", Return), line("20%", Feed), line("end", Feed), line("", Feed), line("last", Feed)]
        );
        assert_eq!(split(&[b"a\r", b"\n", b"b\r"]), [line("a", Feed), line("b", Return)]);
        assert_eq!(split(&[b"\r\n"]), [line("", Feed)]);
        assert_eq!(split(&[]), []);
    }

    #[test]
    fn what_is_being_written_can_be_looked_at() {
        let mut splitter = Splitter::default();
        splitter.feed(b"done\r 42%", |_, _| {});
        assert_eq!(splitter.unfinished(), b" 42%");
        splitter.feed(b"\r", |_, _| {});
        assert_eq!(splitter.unfinished(), b" 42%");
    }

    #[test]
    fn a_line_without_end_takes_no_more_memory_than_a_message() {
        let mut splitter = Splitter::default();
        for _ in 0..100 {
            splitter.feed(&[b'x'; 10_000], |_, _| panic!("no line has ended"));
        }
        let mut lengths = Vec::new();
        splitter.feed(b"\nnext\n", |line, _| lengths.push(line.len()));
        assert_eq!(lengths, [MessageText::MAX_BYTES + 1, 4]);
    }

    #[test]
    fn explicit_lines_are_understood() {
        assert_eq!(read(b"::progress 0.4"), Said::Progress(0.4));
        assert_eq!(read(b"::progress 40 %"), Said::Progress(0.4));
        assert_eq!(read(b"::step load"), Said::Step("load".to_owned()));
        assert_eq!(read(b"::step / load // parse rows/"), Said::Step("load/parse rows".to_owned()));
        assert_eq!(read(b"::warning  low on disk "), Said::Marked(Level::Warning, "low on disk".to_owned()));
        assert_eq!(read(b"::error gone"), Said::Marked(Level::Error, "gone".to_owned()));
        assert_eq!(read(b"::info\there"), Said::Marked(Level::Info, "here".to_owned()));
        assert_eq!(
            read(b"::steps load, work/a,,work/b"),
            Said::Steps(["load", "work/a", "work/b"].map(str::to_owned).to_vec())
        );
        assert_eq!(read(b"::error"), Said::Nothing);
        assert_eq!(read(b" \t "), Said::Nothing);
    }

    #[test]
    fn an_explicit_line_that_makes_no_sense_is_shown_to_its_author() {
        for odd in [
            "::progress much",
            "::progress 1.5",
            "::progress NaN",
            "::progress",
            "::step /",
            "::stepload",
            "::",
            " ::progress 0.4",
        ] {
            assert_eq!(read(odd.as_bytes()), Said::Text(odd.into()), "{odd}");
        }
    }

    #[test]
    fn bytes_that_are_not_text_are_marked_as_such() {
        assert_eq!(read(b"caf\xe9"), Said::Text("caf\u{fffd}".into()));
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_the_bytes_arrive(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), any::<u8>()], 0..200),
            cut in 0_usize..200,
        ) {
            let (left, right) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(split(&[&bytes]), split(&[left, right]));
        }

        #[test]
        fn nothing_but_line_ends_is_lost(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), any::<u8>()], 0..200),
        ) {
            let mut splitter = Splitter::default();
            let mut kept = Vec::new();
            splitter.feed(&bytes, |line, _| kept.extend_from_slice(line));
            splitter.finish(|line, _| kept.extend_from_slice(line));
            let expected: Vec<u8> = bytes.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
            prop_assert_eq!(kept, expected);
        }

        #[test]
        fn any_line_is_read_without_panic(line in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&line);
        }

        #[test]
        fn any_explicit_line_is_within_what_the_server_accepts(rest in "::(progress|step) .{0,600}") {
            match read(rest.as_bytes()) {
                Said::Progress(value) => prop_assert!((0.0..=1.0).contains(&value)),
                Said::Step(path) => {
                    let names: Vec<_> = path.split('/').collect();
                    prop_assert!(names.len() <= StepTree::MAX_DEPTH);
                    prop_assert!(names.iter().all(|name| !name.trim().is_empty() && name.chars().count() <= StepTree::MAX_ID_CHARS));
                }
                _ => {}
            }
        }
    }
}
