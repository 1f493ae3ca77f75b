//! Why a call brought nothing.

use std::time::Duration;

use serde_json::Value;
use thiserror::Error;

use crate::cli::exit::Exit;
use crate::model::visible;

/// A refusal, as the server words it.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerRefusal {
    /// The HTTP status.
    pub status: u16,
    /// The stable name: `job_finished`.
    pub code: String,
    /// What a person can act on.
    pub sentence: String,
    /// What a program may want to know beside it; null where there is nothing.
    pub details: Value,
    /// When to try again, where the server says so.
    pub retry_after: Option<Duration>,
}

/// Why a call brought nothing.
#[derive(Clone, Debug, Error)]
pub enum CallError {
    /// The address or the token makes no sense.
    #[error("{0}")]
    Setup(String),
    /// Nobody answered.
    #[error(
        "Cannot reach the server at {server}: {why}. Start it with `longhaul serve`, or name another with --server or LONGHAUL_SERVER."
    )]
    Unreachable {
        /// The address.
        server: String,
        /// The innermost cause.
        why: String,
    },
    /// The server refused.
    #[error("{}{}", visible(&.0.sentence, false), hint(.0))]
    Refused(Box<ServerRefusal>),
    /// Somebody answered who is not Longhaul, or something stands in between.
    #[error("The server at {server} did not answer as Longhaul does ({why}). Is the address right?")]
    Strange {
        /// The address.
        server: String,
        /// What came back.
        why: String,
    },
}

fn hint(refusal: &ServerRefusal) -> &'static str {
    match refusal.status {
        401 => " Give a valid token with --token or LONGHAUL_TOKEN.",
        _ => "",
    }
}

impl CallError {
    /// What a script should hear.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Setup(_) => Exit::Usage,
            Self::Unreachable { .. } | Self::Strange { .. } => Exit::Unreachable,
            Self::Refused(refusal) if matches!(refusal.status, 401 | 403) => Exit::NotAllowed,
            Self::Refused(_) => Exit::Failed,
        }
    }
}
