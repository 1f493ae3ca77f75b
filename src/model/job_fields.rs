//! The one list of what is stored of a job (ARCHITECTURE decision 18).
//!
//! A line here is a field of [`Spec`](super::Spec) or [`Job`](super::Job), and its place in every store, in
//! the archive and in an import. [`job_fields`] hands the list to a macro, which makes of it what its module
//! needs: the structs (`model/job.rs`), the JSON beside a row (`store/record.rs`), the exported record
//! (`store/archive/record.rs`), SQLite's shared specifications, packed numbers and rows, PostgreSQL's columns.
//!
//! The section a line stands in says where the field is kept:
//!
//! | section | PostgreSQL | SQLite |
//! | --- | --- | --- |
//! | `required` | a column | feature and author a number in the row, the owner in the shared specification |
//! | `named` | a column | a column |
//! | `asked` | a column | in the shared specification |
//! | `asked_rarely` | in the row's JSON | in the shared specification |
//! | `asked_each` | in the row's JSON | in the row's JSON |
//! | `columns` | a column | a column, by hand in `rows.rs` |
//! | `numbers` | a column | packed, by hand in `numbers.rs` |
//! | `document` | in the row's JSON | in the row's JSON |
//!
//! What no query looks at and is usually as at the start belongs into `asked_rarely` or `document`: one line
//! here is the whole change, and a database of today holds it without a migration. The other sections need a
//! column in `store/migrations/`, and `columns` and `numbers` do not compile before SQLite's two files know
//! the field. A type used here is re-exported from [`types`].

/// Every type the list names, for the modules that make something of it.
#[cfg_attr(not(feature = "ssr"), expect(unused_imports, reason = "the browser has no store"))]
pub mod types {
    pub use std::sync::Arc;

    pub use serde_json::Value;

    pub use crate::model::{
        AbortRequest, Author, Cause, Dropped, Execution, Feature, LastMessage, LogCounts, MoreTime,
        ProgressSource, Spec, Status, Tag, Tails, Timeouts, Timestamp, Title,
    };
}

/// Hands the list to the macro `$make`.
macro_rules! job_fields {
    ($make:ident) => {
        $make! {
            // What was asked for when the job was made. With each its value where nothing is said.
            required {
                /// The job's type.
                feature: Feature;
                /// Whom it is for, as people read it.
                author: Author;
                /// The credential that started it, `user:anna` or `token:importer`: who may report on it.
                owner: String;
            }
            named {
                /// What people call it; the feature where absent.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                title: Option<Title> = None;
            }
            asked {
                /// How long it may take and be silent.
                timeouts: Timeouts = Timeouts::REQUIRED;
                /// Who does the work.
                execution: Execution = Execution::External;
                /// The most attempts, at least 1.
                max_attempts: u32 = 1;
                /// The queue it waits in.
                queue: String = "default".to_owned();
                /// Higher goes first within a queue.
                priority: i32 = 0;
                /// The most messages of each level that its log keeps from its beginning; of those beyond it keeps the
                /// newest ([`Tail::LINES`](super::Tail::LINES)).
                #[serde(default = "Spec::default_max_lines", skip_serializing_if = "Spec::is_default_max_lines")]
                max_lines: u32 = Spec::MAX_LINES;
            }
            asked_rarely {
                /// How often its process promises to be heard of, in seconds; `None` where it promises nothing.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                heartbeat_every: Option<u32> = None;
                /// How long its process may take to stop once it is asked to, in seconds.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                grace: Option<u32> = None;
                /// How long it may take and be silent before somebody is told. Nothing ends by it.
                #[serde(default, skip_serializing_if = "Timeouts::is_none")]
                warn_after: Timeouts = Timeouts::NONE;
            }
            asked_each {
                /// Labels.
                #[serde(default, skip_serializing_if = "Vec::is_empty")]
                tags: Vec<Tag> = Vec::new();
                /// What it works on.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                input: Option<Value> = None;
                /// When it began by its runner's clock, where it was made known later and that is believed.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                began_at: Option<Timestamp> = None;
            }

            // How the job stands. With each its value before anything happened.
            columns {
                /// Where it stands.
                status: Status = Status::Scheduled;
                /// 0..=1, never falls within an attempt but where it is a guess, 1 once completed.
                progress: f64 = 0.0;
                /// When it was made.
                created_at: Timestamp = Timestamp(0);
                /// When it ended for good.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                ended_at: Option<Timestamp> = None;
                /// What went wrong, in words; for a failed attempt.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                error: Option<Arc<str>> = None;
                /// Somebody wants it kept: no limit of age or number removes it.
                #[serde(default, skip_serializing_if = "is_default")]
                pinned: bool = false;
            }
            numbers {
                /// Which try this is, from 1; 0 before the first.
                attempt: u32 = 0;
                /// The fence of the current attempt (ARCHITECTURE decision 4).
                epoch: u32 = 0;
                /// The last entry of its log.
                seq: u64 = 0;
                /// Grows with every change to the job, recorded or not.
                revision: u64 = 0;
                /// How many lines its log has.
                counts: LogCounts = LogCounts::default();
                /// The last message, step change, moving number or status change; of an ended job, the last
                /// entry of its log.
                activity_at: Timestamp = Timestamp(0);
                /// When a scheduled job is due.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                run_at: Option<Timestamp> = None;
                /// When the current attempt began.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                started_at: Option<Timestamp> = None;
                /// When a number last moved.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                progress_at: Option<Timestamp> = None;
                /// When the runner was last heard of.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                heartbeat_at: Option<Timestamp> = None;
                /// The attempt was ended by somebody other than its runner.
                #[serde(default, skip_serializing_if = "is_default")]
                fenced: bool = false;
                /// How many writes of a fenced run were refused.
                #[serde(default, skip_serializing_if = "is_default")]
                late_writes: u64 = 0;
                /// When the last of them came.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                late_write_at: Option<Timestamp> = None;
                /// The highest key of a message recorded so far.
                #[serde(default, skip_serializing_if = "is_default")]
                message_key: u64 = 0;
            }
            document {
                /// What it produced.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                output: Option<Arc<Value>> = None;
                /// The request to stop, while there is one.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                abort: Option<Arc<AbortRequest>> = None;
                /// Time that a person gave the current attempt beyond its limits.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                more_time: Option<MoreTime> = None;
                /// The newest message.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                last_message: Option<Arc<LastMessage>> = None;
                /// The newest error message of the run, to recognise it when the run fails with the same words.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                last_error: Option<Arc<str>> = None;
                /// When a number was last recorded in the log.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                recorded_at: Option<Timestamp> = None;
                /// Steps whose numbers moved since they were recorded.
                #[serde(default, skip_serializing_if = "is_default")]
                unrecorded: Vec<usize> = Vec::new();
                /// The job's own number moved since it was recorded.
                #[serde(default, skip_serializing_if = "is_default")]
                unrecorded_whole: bool = false;
                /// How many messages were left out of the log.
                #[serde(default, skip_serializing_if = "is_default")]
                dropped: Dropped = Dropped::default();
                /// What a full log keeps of its end.
                #[serde(default, skip_serializing_if = "is_default")]
                tails: Tails = Tails::default();
                /// Some messages were dropped since the log last said so: by an older version, which kept no end.
                #[serde(default, skip_serializing_if = "is_default")]
                unrecorded_drops: bool = false;
                /// Why the last run ended, where it did not end by its own word.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                ended_cause: Option<Cause> = None;
                /// Who ended it, likewise.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                ended_by: Option<Arc<str>> = None;
                /// Where its numbers come from.
                #[serde(default, skip_serializing_if = "is_default")]
                progress_source: ProgressSource = ProgressSource::Reported;
                /// One of them at least was reported: what is shown never falls.
                #[serde(default, skip_serializing_if = "is_default")]
                number_was_reported: bool = false;
                /// Its runner gave a time that cannot be, and the log says so.
                #[serde(default, skip_serializing_if = "is_default")]
                clock_doubted: bool = false;
            }
        }
    };
}

pub(crate) use job_fields;
