//! What a run reports, as it lies in the spool: one JSON object a line, in the order it happened.

use std::borrow::Cow;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::model::{Level, MessageText, ProgressSource, StepSpec};

/// One thing a run reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Record {
    /// The first record of every spool: the job, and where it belongs.
    Start(Start),
    /// A line of the command's output.
    Message(Message),
    /// Steps that were not known before.
    Steps(Vec<StepSpec>),
    /// A number.
    Progress(Progress),
    /// How the command ended. Nothing comes after it.
    End(Ended),
}

/// The job to be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Start {
    /// The request's idempotency key: asked twice, the server makes one job.
    pub key: Uuid,
    /// The server it is meant for. Another one is never told.
    pub server: String,
    /// What is asked for. Kept word for word: with another body the key would be refused.
    pub request: StartRequest,
}

/// The body of a start request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartRequest {
    /// The job's type.
    pub feature: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Whom it is for, where that is not whoever the token belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What runs, and where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// Every so many seconds the server will hear that the command lives. Whoever promises that is ended by no
    /// limit but its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_every: Option<u64>,
    /// The seconds the command has to end when it is asked to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<u64>,
    /// The most seconds it may take; 0 is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// The most seconds it may be silent; 0 is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity_timeout: Option<u64>,
    /// When it began, by this machine's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<RunnerTime>,
    /// Refuse while another job of the type runs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_per_feature: bool,
}

impl StartRequest {
    /// A span as the server takes it: whole seconds, rounded up so that a short one does not become none.
    pub fn seconds(span: Duration) -> u64 {
        span.as_secs() + u64::from(span.subsec_nanos() > 0)
    }
}

/// A line of output, in the form the server takes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Grows from message to message of a run. The server skips what it has seen.
    pub key: u64,
    /// How grave.
    #[serde(rename = "type")]
    pub level: Level,
    /// What.
    pub message: MessageText,
    /// The path of the step it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// When it was printed, by this machine's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<RunnerTime>,
}

/// A number, in the form the server takes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The path of the step; the job as a whole where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// 0..=1.
    pub progress: f64,
    /// `Guessed` where it was read from ordinary output, which may mean something else.
    #[serde(default, skip_serializing_if = "ProgressSource::is_reported")]
    pub progress_source: ProgressSource,
    /// When it was so, by this machine's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<RunnerTime>,
}

/// A moment by this machine's clock, as the server is told it: RFC 3339, UTC, with milliseconds. Written out
/// once for all that came in one go, because it goes with each of thousands of lines a second.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RunnerTime([u8; Self::LENGTH]);

impl RunnerTime {
    const LENGTH: usize = "2026-11-27T10:00:00.123Z".len();

    /// That moment. `None` for a clock that is thousands of years off.
    pub fn of(at: DateTime<Utc>) -> Option<Self> {
        at.to_rfc3339_opts(SecondsFormat::Millis, true).as_bytes().try_into().ok().map(Self)
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl std::fmt::Debug for RunnerTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for RunnerTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for RunnerTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.as_bytes().try_into().map(Self).map_err(|_| D::Error::custom("not a time"))
    }
}

/// How a command ended, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How.
    pub how: End,
    /// When, by this machine's clock, where anybody was there to see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<RunnerTime>,
}

impl From<End> for Ended {
    fn from(how: End) -> Self {
        Self { how, at: None }
    }
}

impl Ended {
    /// The last part of the path to report it at, and what to send there.
    pub fn call(&self, epoch: u32) -> (&'static str, Value) {
        let (verb, mut body) = self.how.call(epoch);
        if let Some(at) = self.at {
            body["at"] = json!(at);
        }
        (verb, body)
    }
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum End {
    /// It exited with 0.
    Completed,
    /// It did not.
    Failed {
        /// In words.
        error: String,
        /// Whether running it again could help.
        retryable: bool,
    },
    /// It was stopped because somebody asked for it.
    Aborted {
        /// How it ended then, in words.
        how: String,
        /// The exit code.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<u8>,
        /// Something of it had to be killed when so many seconds were over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        killed_after: Option<u64>,
    },
}

impl End {
    /// What is said of a run whose `longhaul exec` did not live to see its end.
    pub fn unknown() -> Self {
        Self::Failed {
            error: "The reporting process went away before the command ended; how it ended is not known"
                .to_owned(),
            retryable: true,
        }
    }

    /// The last part of the path to report it at, and what to send there.
    fn call(&self, epoch: u32) -> (&'static str, Value) {
        match self {
            Self::Completed => ("complete", json!({"output": {"exitCode": 0}, "epoch": epoch})),
            Self::Failed { error, retryable } => {
                ("fail", json!({"errorMessage": error, "retryable": retryable, "epoch": epoch}))
            }
            Self::Aborted { exit_code, killed_after, .. } => {
                let mut body = json!({"epoch": epoch});
                if let Some(code) = exit_code {
                    body["exitCode"] = json!(code);
                }
                if let Some(seconds) = killed_after {
                    body["killedAfter"] = json!(seconds);
                }
                ("aborted", body)
            }
        }
    }

    /// The status the job has after it.
    pub fn status(&self) -> crate::model::Status {
        match self {
            Self::Completed => crate::model::Status::Completed,
            Self::Failed { .. } => crate::model::Status::Failed,
            Self::Aborted { .. } => crate::model::Status::Aborted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> Option<RunnerTime> {
        "2026-11-27T10:00:00.123Z".parse().ok().and_then(RunnerTime::of)
    }

    #[test]
    fn a_message_lies_in_the_spool_as_it_is_sent() {
        let message = Message {
            key: 7,
            level: Level::Warning,
            message: MessageText::cut("low\non disk"),
            step: None,
            at: at(),
        };
        assert_eq!(
            serde_json::to_string(&Record::Message(message.clone())).unwrap(),
            r#"{"message":{"key":7,"type":"warning","message":"low\non disk","at":"2026-11-27T10:00:00.123Z"}}"#
        );
        assert_eq!(
            serde_json::to_string(&message).unwrap(),
            r#"{"key":7,"type":"warning","message":"low\non disk","at":"2026-11-27T10:00:00.123Z"}"#
        );
    }

    #[test]
    fn every_record_comes_back_as_it_was_written() {
        for record in [
            Record::Start(Start {
                key: Uuid::nil(),
                server: "http://x".to_owned(),
                request: StartRequest {
                    feature: "f".to_owned(),
                    timeout: Some(0),
                    ..StartRequest::default()
                },
            }),
            Record::Steps(vec![StepSpec::new("a").steps([StepSpec::new("b")])]),
            Record::Progress(Progress {
                step: Some("a/b".to_owned()),
                progress: 0.1,
                progress_source: ProgressSource::Guessed,
                at: at(),
            }),
            Record::End(Ended { how: End::Completed, at: at() }),
            Record::End(End::unknown().into()),
            Record::End(
                End::Aborted { how: "Killed".to_owned(), exit_code: Some(137), killed_after: Some(10) }
                    .into(),
            ),
        ] {
            let line = serde_json::to_string(&record).unwrap();
            assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
        }
    }

    #[test]
    fn an_end_that_an_older_version_left_in_the_spool_is_reported_as_it_was() {
        let left = r#"{"end":{"how":{"aborted":{"how":"Killed by signal SIGTERM"}}}}"#;
        let Record::End(end) = serde_json::from_str(left).unwrap() else { panic!("no end") };
        assert_eq!(end.call(3), ("aborted", json!({"epoch": 3})));
    }

    #[test]
    fn a_fraction_of_a_second_is_not_none() {
        assert_eq!(StartRequest::seconds(Duration::from_millis(1)), 1);
        assert_eq!(StartRequest::seconds(Duration::ZERO), 0);
        assert_eq!(StartRequest::seconds(Duration::from_millis(2001)), 3);
    }
}
