//! What an error means for a run: to wait, to stop, or to go on without this one report.

use crate::cli::client::CallError;

/// The code of a refusal that says there is no such job.
pub const NOT_FOUND: &str = "job_not_found";

/// What helps where the token is not good.
const BAD_TOKEN: &str = " Give a valid token with LONGHAUL_TOKEN or --token.";

/// Why a report was not taken.
pub enum Undelivered {
    /// Not now: what the server does instead, as a phrase that follows its name.
    Away(String),
    /// Not now either, but for a reason that only this job has; others may be taken.
    Held {
        /// The server's words.
        sentence: String,
    },
    /// The job takes no more.
    Over {
        /// The stable name of the refusal.
        code: String,
        /// The server's words.
        sentence: String,
    },
    /// Never: the report itself is not acceptable.
    Refused {
        /// The stable name of the refusal.
        code: String,
        /// The server's words.
        sentence: String,
    },
}

impl Undelivered {
    /// Reads an error. What is no clear refusal by Longhaul itself is taken for an outage: a proxy in
    /// between must not lose anybody's reports.
    pub fn of(error: CallError) -> Self {
        let refusal = match error {
            CallError::Unreachable { why, .. } => return Self::Away(format!("is away ({why})")),
            CallError::Strange { why, .. } => {
                return Self::Away(format!("is not reached: what answers there is not Longhaul ({why})"));
            }
            CallError::Setup(why) => {
                return Self::Away(format!("is not told anything ({})", why.trim_end_matches('.')));
            }
            CallError::Refused(refusal) => *refusal,
        };
        let hint = if refusal.status == 401 { BAD_TOKEN } else { "" };
        let (code, sentence) = (refusal.code, format!("{}{hint}", refusal.sentence));
        match (refusal.status, code.as_str()) {
            (404, NOT_FOUND) | (409, "stale_epoch" | "job_finished" | "wrong_state") => {
                Self::Over { code, sentence }
            }
            // The job may be somebody else's, or the other job of its feature may end.
            (403, _) | (409, "duplicate_job") => Self::Held { sentence },
            // The token may be mended, the limit may be raised.
            (401 | 404 | 408 | 429 | 500.., _) => Self::Away(takes_nothing(&sentence)),
            _ => Self::Refused { code, sentence },
        }
    }
}

/// What a server does that refuses for now, as a phrase that follows its name.
pub fn takes_nothing(sentence: &str) -> String {
    format!("takes no reports at the moment ({})", sentence.trim_end_matches('.'))
}

/// Whether a refusal of the first start is a reason not to run the command: only a guard that was asked for
/// is. That the server is away or full, that the token is bad, or that somebody else answers, is none.
pub fn forbids(error: &CallError, has_guard: bool) -> bool {
    match error {
        CallError::Refused(refusal) => {
            has_guard && (400..500).contains(&refusal.status) && !matches!(refusal.status, 408 | 429)
        }
        CallError::Setup(_) | CallError::Unreachable { .. } | CallError::Strange { .. } => false,
    }
}

/// What the server did instead of making the job, as a phrase that follows its name.
pub fn reason(error: CallError) -> String {
    match Undelivered::of(error) {
        Undelivered::Away(what) => what,
        Undelivered::Held { sentence } => takes_nothing(&sentence),
        Undelivered::Over { sentence, .. } | Undelivered::Refused { sentence, .. } => {
            format!("refuses the job ({})", sentence.trim_end_matches('.'))
        }
    }
}
