//! What a run reports, as it lies in the spool: one JSON object a line, in the order it happened.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::model::{Level, MessageText, StepSpec};

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
    End(End),
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
    /// The most seconds it may take; 0 is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// The most seconds it may be silent; 0 is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity_timeout: Option<u64>,
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
}

/// A number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The path of the step; the job as a whole where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// 0..=1.
    pub progress: f64,
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
    pub fn call(&self, epoch: u32) -> (&'static str, Value) {
        match self {
            Self::Completed => ("complete", json!({"output": {"exitCode": 0}, "epoch": epoch})),
            Self::Failed { error, retryable } => {
                ("fail", json!({"errorMessage": error, "retryable": retryable, "epoch": epoch}))
            }
            Self::Aborted { .. } => ("aborted", json!({"epoch": epoch})),
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

    #[test]
    fn a_message_lies_in_the_spool_as_it_is_sent() {
        let message =
            Message { key: 7, level: Level::Warning, message: MessageText::cut("low\non disk"), step: None };
        assert_eq!(
            serde_json::to_string(&Record::Message(message.clone())).unwrap(),
            r#"{"message":{"key":7,"type":"warning","message":"low\non disk"}}"#
        );
        assert_eq!(
            serde_json::to_string(&message).unwrap(),
            r#"{"key":7,"type":"warning","message":"low\non disk"}"#
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
            Record::Progress(Progress { step: Some("a/b".to_owned()), progress: 0.1 }),
            Record::End(End::Completed),
            Record::End(End::unknown()),
            Record::End(End::Aborted { how: "Killed".to_owned() }),
        ] {
            let line = serde_json::to_string(&record).unwrap();
            assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
        }
    }

    #[test]
    fn a_fraction_of_a_second_is_not_none() {
        assert_eq!(StartRequest::seconds(Duration::from_millis(1)), 1);
        assert_eq!(StartRequest::seconds(Duration::ZERO), 0);
        assert_eq!(StartRequest::seconds(Duration::from_millis(2001)), 3);
    }
}
