//! The rules of Longhaul, as plain data and functions.
//!
//! Nothing here reads a clock, a disk or the network: time comes in as an argument, and what a command
//! means is decided from the state it is given. The module compiles for the server and for the browser
//! without a single `cfg`, and the property tests of the product live beside the rules they test.
//!
//! The shape is that of event sourcing with projections kept beside the log (ARCHITECTURE decision 1–6): a
//! [`Command`] is *decided* against the current [`Job`] into [`Event`]s, and the events are *applied* to
//! it. A store does both in one transaction. What was given up for it: a change to a rule never rewrites
//! an old log; it only decides new commands differently.

mod actor;
mod apply;
mod attention;
mod command;
mod decide;
mod document;
mod escapes;
mod event;
mod health;
mod job;
pub(crate) mod job_fields;
mod job_id;
mod label;
mod limits;
mod log_line;
mod page;
mod password;
mod refusal;
mod role;
mod status;
mod step_spec;
mod step_tree;
mod tail;
mod text;
mod time;
mod visible;

#[cfg(test)]
mod history_tests;

pub use actor::{Actor, ActorKind};
pub use attention::{Need, Severity, Share, Watched, ZOMBIE_FOR_MS};
pub use command::{Command, Context, Report, ReportItem};
pub use document::{canonical, check_document, check_imported_document, check_numbers, document_bytes};
pub use escapes::{Escape, Part, without_escapes};
pub use event::{Cause, Event, EventKind, EventSource, Level, Stopped, clock_words};
pub use health::{HealthStatus, JobHealth, StaleReason, SystemHealth, Trouble, minutes, span_words};
pub use job::{
    AbortRequest, Dropped, Execution, Job, LastMessage, LogCounts, NewJob, ProgressSource, Shown, Spec,
};
pub use job_id::JobId;
pub use label::Label;
pub use limits::{Limits, MoreTime, Timeouts};
pub use log_line::{LineKind, LogFilter, LogLine};
pub use page::{Counts, Cursor, EndedBefore, JobFilter, OutcomeCounts, PageSize};
pub use password::{MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARS, WrongPasswordLength, check_password};
pub use refusal::{Ended, Refusal};
pub use role::{Permission, Role};
pub use status::{Outcome, Status};
pub use step_spec::{StepSpec, Weight};
pub use step_tree::{Siblings, Step, StepTree, Steps};
pub use tail::{LeftOut, Tail, Tails};
pub use text::{Author, Feature, Invalid, MessageText, Reason, Tag, Title, shorten};
pub use time::Timestamp;
pub use visible::{is_hidden, visible};
