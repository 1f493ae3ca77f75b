//! What a command's lines say to `exec`, beside what they say to people. Pure: no clock, no I/O.

use std::borrow::Cow;

use crate::model::{Level, StepTree};

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

/// Whether lines are read for orders, and how.
///
/// A command that prints what others wrote (`git log`, `cat`) would let them drive the job. So reading can be
/// turned off, for a whole run, or by the command for a while: `::stop-commands::TOKEN` until `::TOKEN::`, as
/// GitHub's runners have it. Whoever wrote the text does not know the token.
#[derive(Debug, Default)]
pub struct Directives {
    off: bool,
    fence: Option<String>,
}

impl Directives {
    /// Lines are read, or with `off` are texts, all of them.
    pub fn new(off: bool) -> Self {
        Self { off, fence: None }
    }

    /// Reads a line. One that begins like an order and makes no sense as such is a text, so that its author
    /// sees it in the log.
    pub fn read<'a>(&mut self, text: &'a str) -> Said<'a> {
        if text.trim().is_empty() {
            return Said::Nothing;
        }
        let as_text = Said::Text(Cow::Borrowed(text));
        if self.off {
            return as_text;
        }
        let Some(order) = text.strip_prefix("::") else { return as_text };
        if let Some(token) = &self.fence {
            if order.trim_end().strip_suffix("::") != Some(token.as_str()) {
                return as_text;
            }
            self.fence = None;
            return Said::Nothing;
        }
        if let Some(token) =
            order.strip_prefix("stop-commands::").map(str::trim).filter(|token| !token.is_empty())
        {
            self.fence = Some(token.to_owned());
            return Said::Nothing;
        }
        explicit(order).unwrap_or(as_text)
    }

    /// Whether a line that has only begun may become more than a text.
    pub fn may_be_order(&self, begun: &str) -> bool {
        !self.off && (begun.starts_with("::") || begun == ":")
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

    fn read(line: &str) -> Said<'_> {
        Directives::default().read(line)
    }

    #[test]
    fn what_others_wrote_is_text_between_the_fences_or_where_orders_are_off() {
        let said = |directives: &mut Directives, lines: &[&str]| {
            let lines = lines.iter().map(|line| match directives.read(line) {
                Said::Nothing => '-',
                Said::Text(text) => {
                    assert_eq!(text, *line);
                    't'
                }
                _ => '!',
            });
            lines.collect::<String>()
        };
        let lines = [
            "::progress 1",
            "::stop-commands::a1",
            "::progress 1",
            "::error x",
            "::stop-commands::b",
            "::b::",
            " ::a1::",
            "::a1::",
            "::progress 1",
            "::a1::",
        ];
        assert_eq!(said(&mut Directives::default(), &lines), "!-tttttt!t".replacen("tttttt", "ttttt-", 1));
        assert_eq!(said(&mut Directives::new(true), &lines), "tttttttttt");
        assert_eq!(
            said(&mut Directives::default(), &["::stop-commands::", "::stop-commands:: ", "::progress 1"]),
            "tt!"
        );
        assert!(Directives::default().may_be_order("::pro") && !Directives::new(true).may_be_order("::pro"));
    }

    #[test]
    fn explicit_lines_are_understood() {
        assert_eq!(read("::progress 0.4"), Said::Progress(0.4));
        assert_eq!(read("::progress 40 %"), Said::Progress(0.4));
        assert_eq!(read("::step load"), Said::Step("load".to_owned()));
        assert_eq!(read("::step / load // parse rows/"), Said::Step("load/parse rows".to_owned()));
        assert_eq!(read("::warning  low on disk "), Said::Marked(Level::Warning, "low on disk".to_owned()));
        assert_eq!(read("::error gone"), Said::Marked(Level::Error, "gone".to_owned()));
        assert_eq!(read("::info\there"), Said::Marked(Level::Info, "here".to_owned()));
        assert_eq!(
            read("::steps load, work/a,,work/b"),
            Said::Steps(["load", "work/a", "work/b"].map(str::to_owned).to_vec())
        );
        assert_eq!(read("::error"), Said::Nothing);
        assert_eq!(read(" \t "), Said::Nothing);
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
            assert_eq!(read(odd), Said::Text(odd.into()), "{odd}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_panic(line in any::<String>()) {
            let _ = read(&line);
        }

        #[test]
        fn any_explicit_line_is_within_what_the_server_accepts(rest in "::(progress|step) .{0,600}") {
            match read(&rest) {
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
