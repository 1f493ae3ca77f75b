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
    /// Whether the list goes from jobs that have not ended to those that have.
    pub fn is_mixed(&self) -> bool {
        !self.only_past && !self.only_open && self.status.is_none()
    }

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
    /// After a job that has not ended, or had not when the list was begun.
    Open {
        /// When it was made.
        at: Timestamp,
        /// The job.
        id: JobId,
        /// What had ended when the list was begun; `None` where the list has no such jobs.
        ended: Option<EndedBefore>,
    },
    /// After a job that has ended.
    Past {
        /// When it ended.
        at: Timestamp,
        /// The job.
        id: JobId,
    },
}

/// What had ended when the first page of a list was read: the job that had ended last, and all before it.
///
/// Jobs go on ending while somebody reads page after page. One that has ended since keeps its place among those
/// that had not: after the cursor it is still to come, before it it has been shown, and among the jobs that have
/// ended it would come once more. This goes by the time of the end. So a job comes twice whose runner dates its end
/// back to before the first page, or another server's clock does, and one that was lost and comes back to life may
/// be missing: it is among the first of the next list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndedBefore {
    /// When it ended.
    pub at: Timestamp,
    /// The job.
    pub id: JobId,
}

impl EndedBefore {
    /// No job had ended.
    pub const NONE: Self = Self { at: Timestamp(-999_999_999_999_999_999), id: JobId(uuid::Uuid::nil()) };
}

impl Cursor {
    /// The cursor of a page that ends with this job, in a list that was begun when these had ended.
    pub fn of(job: &Job, ended: Option<EndedBefore>) -> Self {
        match job.ended_at {
            Some(at) if ended.is_none_or(|ended| EndedBefore { at, id: job.id } <= ended) => {
                Self::Past { at, id: job.id }
            }
            _ => Self::Open { at: job.created_at, id: job.id, ended },
        }
    }

    /// What had ended when the list was begun whose next page begins here.
    pub fn ended(&self) -> Option<EndedBefore> {
        match self {
            Self::Open { ended, .. } => *ended,
            // What has ended since is before this place.
            Self::Past { .. } => None,
        }
    }

    /// Its place in the list; the greatest comes first.
    pub fn place(&self) -> (bool, Timestamp, JobId) {
        match *self {
            Self::Open { at, id, .. } => (true, at, id),
            Self::Past { at, id } => (false, at, id),
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, at, id) = self.place();
        write!(f, "{}{}.{}", if open { 'o' } else { 'p' }, at.0, id.0.simple())?;
        match self.ended() {
            Some(EndedBefore { at, id }) => write!(f, ".{}.{}", at.0, id.0.simple()),
            None => Ok(()),
        }
    }
}

impl FromStr for Cursor {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let place = |at: &str, id: &str| Some((Timestamp(at.parse().ok()?), JobId(id.parse().ok()?)));
        let parse = || {
            let parts: Vec<&str> = text.get(1..)?.split('.').collect();
            let [at, id, ended @ ..] = parts.as_slice() else { return None };
            let (at, id) = place(at, id)?;
            match (text.as_bytes().first()?, ended) {
                (b'p', []) => Some(Self::Past { at, id }),
                (b'o', []) => Some(Self::Open { at, id, ended: None }),
                (b'o', [ended_at, last]) => {
                    let (ended_at, last) = place(ended_at, last)?;
                    Some(Self::Open { at, id, ended: Some(EndedBefore { at: ended_at, id: last }) })
                }
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
    use std::sync::Arc;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::model::{Author, Feature, Spec};

    #[test]
    fn a_cursor_survives_being_written_and_read() {
        let id = JobId(Uuid::from_u128(7));
        let ended = EndedBefore { at: Timestamp(-3), id: JobId(Uuid::from_u128(8)) };
        for cursor in [
            Cursor::Open { at: Timestamp(-5), id, ended: None },
            Cursor::Open { at: Timestamp(-5), id, ended: Some(ended) },
            Cursor::Open { at: Timestamp(5), id, ended: Some(EndedBefore::NONE) },
            Cursor::Past { at: Timestamp(99), id },
        ] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        let id = "00000000000000000000000000000007";
        for bad in [
            "",
            "p",
            "p1",
            &format!("x1.{id}"),
            "é1.0",
            "p1.zz",
            &format!("p1.{id}.1.{id}"),
            &format!("o1.{id}.1"),
            &format!("o1.{id}.1.x"),
            &format!("o1.{id}.1.{id}.1"),
        ] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
    }

    /// A job of a list that somebody walks through.
    #[derive(Clone, Copy, Debug)]
    struct Listed {
        id: u128,
        created_at: i64,
        ended_at: Option<i64>,
    }

    impl Listed {
        fn job(self) -> Job {
            let spec = Spec::new(Feature::new("import").unwrap(), Author::new("anna").unwrap(), "user:anna");
            Job {
                created_at: Timestamp(self.created_at),
                ended_at: self.ended_at.map(Timestamp),
                ..Job::blank(JobId(Uuid::from_u128(self.id)), Arc::new(spec))
            }
        }
    }

    proptest! {
        /// Whoever reads a list page by page gets each job once that was there when they began, whatever starts
        /// and ends between the pages.
        #[test]
        fn a_list_that_is_read_page_by_page_has_each_job_once(
            begun in prop::collection::vec((0..40_i64, prop::option::of(0..40_i64)), 0..30),
            between in prop::collection::vec(prop::collection::vec((any::<bool>(), 0..60_usize), 0..4), 40),
            size in 1..5_usize,
        ) {
            let mut jobs: Vec<Listed> = (1..)
                .zip(begun)
                .map(|(id, (created_at, lasted))| {
                    Listed { id, created_at, ended_at: lasted.map(|lasted| created_at + lasted) }
                })
                .collect();
            let there: Vec<u128> = jobs.iter().map(|job| job.id).collect();
            let newest = jobs
                .iter()
                .filter_map(|job| job.ended_at.map(|at| (Timestamp(at), JobId(Uuid::from_u128(job.id)))))
                .max();
            let ended = newest.map_or(EndedBefore::NONE, |(at, id)| EndedBefore { at, id });
            let (mut shown, mut after, mut now) = (Vec::new(), None::<Cursor>, 1_000);
            for changes in between {
                let ended = after.map_or(Some(ended), |after| after.ended());
                let mut page: Vec<Cursor> = jobs
                    .iter()
                    .map(|job| Cursor::of(&job.job(), ended))
                    .filter(|place| after.is_none_or(|after| place.place() < after.place()))
                    .collect();
                page.sort_unstable_by_key(|place| std::cmp::Reverse(place.place()));
                page.truncate(size);
                shown.extend(page.iter().map(|place| place.place().2.0.as_u128()));
                if page.len() < size {
                    break;
                }
                after = page.last().map(|last| last.to_string().parse().unwrap());
                for (starts, which) in changes {
                    now += 1;
                    match jobs.get_mut(which) {
                        Some(job) if !starts => job.ended_at = job.ended_at.or(Some(now)),
                        _ => jobs.push(Listed { id: jobs.len() as u128 + 1, created_at: now, ended_at: None }),
                    }
                }
            }
            shown.sort_unstable();
            prop_assert_eq!(shown, there);
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
