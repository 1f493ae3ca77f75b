//! A job as the REST API describes it: the part of it that the command line shows.
//!
//! Fields it does not know are ignored and those it can do without are optional, so that a command line
//! and a server of different versions still understand each other.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::cli::output::{between, span};
use crate::model::Status;

/// A job.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    pub id: String,
    pub feature: String,
    #[serde(default)]
    pub author: String,
    pub status: Status,
    /// 0..=1.
    pub progress: f64,
    /// `guessed` where it was read out of what the work printed.
    #[serde(default)]
    pub progress_source: Option<String>,
    pub start_time: DateTime<Utc>,
    #[serde(default)]
    pub end_time: Option<DateTime<Utc>>,
    #[serde(default)]
    pub last_activity_time: Option<DateTime<Utc>>,
    #[serde(default)]
    pub heartbeat_time: Option<DateTime<Utc>>,
    #[serde(default)]
    pub title: Option<String>,
    #[serde(default)]
    pub attempt: Option<u32>,
    #[serde(default)]
    pub max_attempts: Option<u32>,
    #[serde(default)]
    pub epoch: Option<u32>,
    #[serde(default)]
    pub tags: Vec<String>,
    #[serde(default)]
    pub steps: Vec<Step>,
    #[serde(default)]
    pub input: Option<serde_json::Value>,
    #[serde(default)]
    pub output: Option<serde_json::Value>,
    #[serde(default)]
    pub error: Option<String>,
    #[serde(default)]
    pub verdict: Option<Verdict>,
    #[serde(default)]
    pub abort: Option<Abort>,
    #[serde(default)]
    pub more_time: Option<MoreTime>,
    #[serde(default)]
    pub pinned: bool,
    #[serde(default)]
    pub late_writes: u64,
    #[serde(default)]
    pub info_messages: Vec<Message>,
    #[serde(default)]
    pub warning_messages: Vec<Message>,
    #[serde(default)]
    pub error_messages: Vec<Message>,
    #[serde(default)]
    pub truncated: Truncated,
    /// How many messages its log has not, because it was full.
    #[serde(default)]
    pub dropped: Truncated,
}

/// Who asked it to stop, and why.
#[derive(Clone, Debug, Deserialize)]
pub struct Abort {
    pub reason: String,
    pub by: String,
}

/// That somebody gave it more time: up to when, or without limit.
#[derive(Clone, Debug, Deserialize)]
pub struct MoreTime {
    pub until: Option<DateTime<Utc>>,
}

/// What is wrong with it.
#[derive(Clone, Debug, Deserialize)]
pub struct Verdict {
    pub text: String,
}

/// How many older messages there are than the document holds.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Truncated {
    pub info: u64,
    pub warning: u64,
    pub error: u64,
}

/// A step of its tree.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    pub id: String,
    #[serde(default)]
    pub title: Option<String>,
    /// 0..=1.
    pub progress: f64,
    #[serde(default)]
    pub started_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub ended_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// A message of the document, which keeps each level in a list of its own.
#[derive(Clone, Debug, Deserialize)]
pub struct Message {
    pub message: String,
    pub timestamp: DateTime<Utc>,
    pub seq: u64,
}

/// A line of the log.
#[derive(Clone, Debug, Deserialize)]
pub struct Line {
    pub seq: u64,
    pub timestamp: DateTime<Utc>,
    #[serde(rename = "type")]
    pub kind: String,
    pub message: String,
    #[serde(default)]
    pub step: Option<String>,
}

impl Document {
    /// What people call the job.
    pub fn title(&self) -> &str {
        self.title.as_deref().unwrap_or(&self.feature)
    }

    /// Progress as people should see it: what still runs is never shown as done.
    pub fn percent(&self) -> u8 {
        let percent = crate::cli::output::percent(self.progress);
        if self.status == Status::Completed { 100 } else { percent.min(99) }
    }

    /// Progress in words: `40 %`, `about 40 %` where it is a guess, `99 %, finishing`.
    pub fn percent_text(&self) -> String {
        let is_guessed =
            self.progress_source.as_deref() == Some("guessed") && self.status != Status::Completed;
        let about = if is_guessed { "about " } else { "" };
        let finishing = if self.status.is_active() && self.progress >= 1.0 { ", finishing" } else { "" };
        format!("{about}{} %{finishing}", self.percent())
    }

    /// How long it runs, or ran.
    pub fn age(&self, now: DateTime<Utc>) -> String {
        span(between(self.start_time, self.end_time.unwrap_or(now)))
    }

    /// The step that is being worked on: the last leaf that was begun and is not done.
    pub fn current_step(&self) -> Option<String> {
        fn search<'a>(
            steps: &'a [Step],
            path: &mut Vec<&'a str>,
            best: &mut Option<(DateTime<Utc>, String)>,
        ) {
            for step in steps {
                path.push(step.label());
                if let Some(begun) = step.started_at
                    && step.steps.is_empty()
                    && step.progress < 1.0
                    && best.as_ref().is_none_or(|(other, _)| begun >= *other)
                {
                    *best = Some((begun, path.join(" › ")));
                }
                search(&step.steps, path, best);
                path.pop();
            }
        }
        let mut best = None;
        search(&self.steps, &mut Vec::new(), &mut best);
        best.map(|(_, path)| path)
    }

    /// How many messages the job has.
    pub fn messages(&self) -> u64 {
        let held = self.info_messages.len() + self.warning_messages.len() + self.error_messages.len();
        let Truncated { info, warning, error } = self.truncated;
        held as u64 + info + warning + error
    }

    /// The newest messages, oldest first: so many, or all there are. `None` where the document does not hold
    /// them all: it has a part of each level's, and where one's ends, older ones may be missing.
    pub fn last_lines(&self, most: usize) -> Option<Vec<Line>> {
        let mut lines = Vec::new();
        let mut whole_from = 0;
        for (kind, messages, missing) in [
            ("info", &self.info_messages, self.truncated.info),
            ("warning", &self.warning_messages, self.truncated.warning),
            ("error", &self.error_messages, self.truncated.error),
        ] {
            if missing > 0 {
                whole_from =
                    whole_from.max(messages.iter().map(|message| message.seq).min().unwrap_or(u64::MAX));
            }
            lines.extend(messages.iter().map(|message| Line {
                seq: message.seq,
                timestamp: message.timestamp,
                kind: kind.to_owned(),
                message: message.message.clone(),
                step: None,
            }));
        }
        lines.sort_by_key(|line| line.seq);
        let last = lines.split_off(lines.len().saturating_sub(most));
        let is_whole =
            whole_from == 0 || last.len() == most && last.first().is_none_or(|line| line.seq >= whole_from);
        is_whole.then_some(last)
    }

    /// The place in the log of the newest message it holds.
    pub fn last_seq(&self) -> u64 {
        let all = [&self.info_messages, &self.warning_messages, &self.error_messages];
        all.into_iter().flatten().map(|message| message.seq).max().unwrap_or(0)
    }
}

impl Step {
    /// What people read.
    pub fn label(&self) -> &str {
        self.title.as_deref().unwrap_or(&self.id)
    }
}
