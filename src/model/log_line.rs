//! A job's log as people read it: one stream, several lenses.

use serde::{Deserialize, Serialize};

use super::event::{Event, Level};
use super::page::check_search;
use super::step_tree::StepTree;
use super::text::Invalid;
use super::time::Timestamp;

/// What sort of line it is. The numbers are the database's: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum LineKind {
    /// A message of the run.
    Info = 0,
    /// A message of the run.
    Warning = 1,
    /// A message of the run, or the error it ended with.
    Error = 2,
    /// Steps, status changes, verdicts.
    System = 3,
    /// What a person did to the job, and why.
    Operator = 4,
    /// Numbers. Kept for later reading; no lens shows them as lines.
    Progress = 5,
}

impl LineKind {
    /// The kinds that are lines, gravest last among the messages.
    pub const SHOWN: [Self; 5] = [Self::Info, Self::Warning, Self::Error, Self::System, Self::Operator];

    /// The kind with that number in the database.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::SHOWN.into_iter().chain([Self::Progress]).find(|kind| *kind as u8 == number)
    }

    /// The name used in JSON and URLs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::System => "system",
            Self::Operator => "operator",
            Self::Progress => "progress",
        }
    }

    /// The kind of that name, among those that are lines.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::SHOWN.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it is a message: info, warning or error.
    pub fn is_message(self) -> bool {
        self <= Self::Error
    }
}

impl From<Level> for LineKind {
    fn from(level: Level) -> Self {
        match level {
            Level::Info => Self::Info,
            Level::Warning => Self::Warning,
            Level::Error => Self::Error,
        }
    }
}

/// One line of a job's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Its place in the job's log.
    pub seq: u64,
    /// When the server recorded it.
    pub at: Timestamp,
    /// What sort of line.
    pub kind: LineKind,
    /// What it says.
    pub text: String,
    /// The path of the step it belongs to.
    pub step: Option<String>,
}

/// An entry of a log as a line of it.
impl From<&Event> for LogLine {
    fn from(event: &Event) -> Self {
        Self {
            seq: event.seq.unwrap_or_default(),
            at: event.at,
            kind: event.kind.line_kind(),
            text: event.sentence(),
            step: event.step_path().map(str::to_owned),
        }
    }
}

/// Which lines of a log are wanted. All that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFilter {
    /// Only these kinds; empty is every kind that is a line.
    pub kinds: Vec<LineKind>,
    /// Only lines of this step or of one within it.
    pub step: Option<String>,
    /// Only lines that contain this text; ASCII letters match either case.
    pub text: Option<String>,
}

impl LogFilter {
    /// Checks that text and step are not longer than any store can look for.
    pub fn check(&self) -> Result<(), Invalid> {
        let longest = StepTree::MAX_DEPTH * (StepTree::MAX_ID_CHARS + 1);
        if self.step.as_ref().is_some_and(|step| step.chars().count() > longest) {
            return Err(Invalid::new("step", format!("must have at most {longest} characters")));
        }
        check_search("q", self.text.as_deref())
    }

    /// The kinds wanted, spelt out.
    pub fn wanted(&self) -> &[LineKind] {
        if self.kinds.is_empty() { &LineKind::SHOWN } else { &self.kinds }
    }

    /// Whether counting the matches needs the lines themselves, not just the job's counters.
    pub fn needs_scan(&self) -> bool {
        self.step.is_some() || self.text.is_some()
    }

    /// Whether a line is wanted: the reference every store's query is tested against.
    pub fn matches(&self, line: &LogLine) -> bool {
        self.wanted().contains(&line.kind)
            && self.step.as_ref().is_none_or(|step| {
                line.step.as_ref().is_some_and(|path| {
                    path == step || path.strip_prefix(step.as_str()).is_some_and(|rest| rest.starts_with('/'))
                })
            })
            && self
                .text
                .as_ref()
                .is_none_or(|text| line.text.to_ascii_lowercase().contains(&text.to_ascii_lowercase()))
    }
}
