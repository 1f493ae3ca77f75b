//! Lists that stay fast at any size: keyset pages and counters that are kept, not counted.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::job::Job;
use super::job_id::JobId;
use super::status::{Outcome, Status};
use super::text::Invalid;
use super::time::Timestamp;

/// How many entries a page may have: 1 to 200, 50 where nothing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize(usize);

impl PageSize {
    /// The most entries.
    pub const MAX: usize = 200;

    /// Checks a page size.
    pub fn new(size: Option<u32>) -> Result<Self, Invalid> {
        match size {
            None => Ok(Self::default()),
            Some(size) if (1..=Self::MAX).contains(&(size as usize)) => Ok(Self(size as usize)),
            Some(_) => Err(Invalid::new("limit", "must be a whole number between 1 and 200")),
        }
    }

    /// The number.
    pub fn get(self) -> usize {
        self.0
    }
}

impl Default for PageSize {
    fn default() -> Self {
        Self(50)
    }
}

/// Which jobs are wanted. All that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFilter {
    /// Leave out jobs that have not ended.
    pub only_past: bool,
    /// Leave out jobs that have ended.
    pub only_open: bool,
    /// This feature, exactly.
    pub feature: Option<String>,
    /// This status.
    pub status: Option<Status>,
    /// This author, exactly.
    pub author: Option<String>,
    /// A label the job must have.
    pub tag: Option<String>,
    /// A text its title, feature, author or error must contain, or the beginning of its id; ASCII
    /// letters match either case.
    pub text: Option<String>,
}

impl JobFilter {
    /// Checks that nothing is longer than any store can look for.
    pub fn check(&self) -> Result<(), Invalid> {
        let wanted =
            [("q", &self.text), ("feature", &self.feature), ("author", &self.author), ("tag", &self.tag)];
        wanted.into_iter().try_for_each(|(field, text)| check_search(field, text.as_deref()))
    }
}

/// The most characters of a text that is looked for.
pub const MAX_SEARCH_CHARS: usize = 200;

/// Checks a text that is looked for.
pub(super) fn check_search(field: &str, text: Option<&str>) -> Result<(), Invalid> {
    if text.is_some_and(|text| text.chars().count() > MAX_SEARCH_CHARS) {
        return Err(Invalid::new(field, format!("must have at most {MAX_SEARCH_CHARS} characters")));
    }
    Ok(())
}

/// Where a page begins: after this job. Opaque to clients.
///
/// Jobs that have not ended come first, newest first; then those that have, the last to end first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// After a job that has not ended.
    Open {
        /// When it was made.
        at: Timestamp,
        /// The job.
        id: JobId,
    },
    /// After a job that has ended.
    Past {
        /// When it ended.
        at: Timestamp,
        /// The job.
        id: JobId,
    },
}

impl Cursor {
    /// The cursor of a page that ends with this job.
    pub fn of(job: &Job) -> Self {
        match job.ended_at {
            Some(at) => Self::Past { at, id: job.id },
            None => Self::Open { at: job.created_at, id: job.id },
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (phase, at, id) = match self {
            Self::Open { at, id } => ('o', at, id),
            Self::Past { at, id } => ('p', at, id),
        };
        write!(f, "{phase}{}.{}", at.0, id.0.simple())
    }
}

impl FromStr for Cursor {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let parse = || {
            let rest = text.get(1..)?;
            let (at, id) = rest.split_once('.')?;
            let (at, id) = (Timestamp(at.parse().ok()?), id.parse().ok()?);
            match text.as_bytes().first()? {
                b'o' => Some(Self::Open { at, id }),
                b'p' => Some(Self::Past { at, id }),
                _ => None,
            }
        };
        parse().ok_or_else(|| Invalid::new("cursor", "is not one that this server gave out"))
    }
}

/// How many jobs ended each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeCounts {
    /// Ended well.
    pub completed: u64,
    /// Ended badly.
    pub failed: u64,
    /// Ended on request.
    pub aborted: u64,
}

impl OutcomeCounts {
    /// The counter of an outcome.
    pub fn of_mut(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome {
            Outcome::Completed => &mut self.completed,
            Outcome::Failed => &mut self.failed,
            Outcome::Aborted => &mut self.aborted,
        }
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.completed + self.failed + self.aborted
    }
}

/// How many jobs there are in each state. Kept in the same transaction as the jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// By [`Status`], in the order of [`Status::ALL`].
    pub by_status: [u64; 7],
}

impl Counts {
    fn place(status: Status) -> usize {
        Status::ALL.iter().position(|other| *other == status).unwrap_or(0)
    }

    /// How many jobs have that status.
    pub fn of(&self, status: Status) -> u64 {
        self.by_status[Self::place(status)]
    }

    /// Sets how many jobs have that status.
    pub fn set(&mut self, status: Status, count: u64) {
        self.by_status[Self::place(status)] = count;
    }

    /// Moves one job from a status to another; `None` is not there yet, or not any more.
    pub fn shift(&mut self, from: Option<Status>, to: Option<Status>) {
        if let Some(from) = from {
            let count = &mut self.by_status[Self::place(from)];
            *count = count.saturating_sub(1);
        }
        if let Some(to) = to {
            self.by_status[Self::place(to)] += 1;
        }
    }

    /// Running or aborting.
    pub fn active(&self) -> u64 {
        Status::ALL.iter().filter(|status| status.is_active()).map(|status| self.of(*status)).sum()
    }

    /// Scheduled or queued.
    pub fn waiting(&self) -> u64 {
        self.of(Status::Scheduled) + self.of(Status::Queued)
    }

    /// Ended.
    pub fn past(&self) -> u64 {
        self.outcomes().total()
    }

    /// Ended, by outcome.
    pub fn outcomes(&self) -> OutcomeCounts {
        OutcomeCounts {
            completed: self.of(Status::Completed),
            failed: self.of(Status::Failed),
            aborted: self.of(Status::Aborted),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_cursor_survives_being_written_and_read() {
        let id = JobId(Uuid::from_u128(7));
        for cursor in [Cursor::Open { at: Timestamp(-5), id }, Cursor::Past { at: Timestamp(99), id }] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for bad in ["", "p", "p1", "x1.00000000000000000000000000000007", "é1.0", "p1.zz"] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_page_has_one_to_two_hundred_entries() {
        assert_eq!(PageSize::new(None).map(PageSize::get), Ok(50));
        assert!(PageSize::new(Some(0)).is_err());
        assert!(PageSize::new(Some(201)).is_err());
        assert_eq!(PageSize::new(Some(200)).map(PageSize::get), Ok(200));
    }
}
