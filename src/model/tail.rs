//! The end of a log that is full.
//!
//! A log keeps so many messages of each level from its beginning (`max_lines`), and of those that come after them the
//! newest. Those in between are left out a hundred at a time: an entry that says how many takes the place of the last
//! of them, and of the entry that said so before. So whoever reads the log from anywhere meets the gap where it is, and a
//! log that is replayed gives the same counts.

use serde::{Deserialize, Serialize};

use super::event::{Event, EventKind, Level};
use super::job::Job;
use super::time::Timestamp;

/// What a full log keeps of one level beyond its beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tail {
    /// How many messages.
    lines: u64,
    /// They are behind this entry: the one before the first, or the one that says what was left out.
    since: u64,
    /// It says that.
    marked: bool,
    /// Every hundredth of them, and when it was recorded.
    hundreds: Vec<(u64, Timestamp)>,
}

impl Tail {
    /// So many messages are kept, at least.
    pub const LINES: u64 = 1_000;
    /// So many are left out at once.
    pub const STRIDE: u64 = 100;

    /// Adds a message. Where there are too many by then: which is the last to be left out, and when it was recorded.
    pub(super) fn add(&mut self, seq: u64, at: Timestamp) -> Option<(u64, Timestamp)> {
        if self.lines == 0 && !self.marked {
            self.since = seq - 1;
        }
        self.lines += 1;
        if self.lines.is_multiple_of(Self::STRIDE) {
            self.hundreds.push((seq, at));
        }
        self.hundreds.first().copied().filter(|_| self.lines >= Self::LINES + Self::STRIDE)
    }

    /// Leaves out the messages up to this one, in whose place an entry says so. Returns how many it had of them: none
    /// where a log is replayed, which has them no more.
    pub(super) fn leave_out(&mut self, until: u64) -> u64 {
        let had = self.hundreds.first().is_some_and(|(seq, _)| *seq == until);
        if had {
            self.hundreds.remove(0);
            self.lines -= Self::STRIDE;
        }
        (self.since, self.marked) = (until, true);
        if had { Self::STRIDE } else { 0 }
    }

    /// Whether an entry says what was left out.
    pub(super) fn is_marked(&self) -> bool {
        self.marked
    }
}

/// The same for each level.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tails {
    /// Infos.
    info: Tail,
    /// Warnings.
    warning: Tail,
    /// Errors.
    error: Tail,
}

impl Tails {
    /// Of that level.
    pub(super) fn of(&self, level: Level) -> &Tail {
        match level {
            Level::Info => &self.info,
            Level::Warning => &self.warning,
            Level::Error => &self.error,
        }
    }

    /// Of that level.
    pub(super) fn of_mut(&mut self, level: Level) -> &mut Tail {
        match level {
            Level::Info => &mut self.info,
            Level::Warning => &mut self.warning,
            Level::Error => &mut self.error,
        }
    }

    /// The entries that go with one that says what was left out, before it is applied.
    pub fn leaves_out(&self, event: &Event) -> Option<LeftOut> {
        let (EventKind::LeftOut { level, .. }, Some(until)) = (&event.kind, event.seq) else { return None };
        let tail = self.of(*level);
        Some(LeftOut { level: *level, after: tail.since, until, marker: tail.marked.then_some(tail.since) })
    }

    /// Whether something was left out between the one and the other.
    pub fn moved_since(&self, before: &Self) -> bool {
        [Level::Info, Level::Warning, Level::Error]
            .into_iter()
            .any(|level| self.of(level).marked && self.of(level).since != before.of(level).since)
    }
}

impl Job {
    /// How many places of its log are empty, because it is full and messages were left out.
    pub fn empty_places(&self) -> u64 {
        let marked = [Level::Info, Level::Warning, Level::Error]
            .into_iter()
            .filter(|level| self.tails.of(*level).marked);
        // The last of them is where an entry says so.
        marked.map(|level| self.dropped.of(level).saturating_sub(1)).sum()
    }
}

/// The entries of a log that go, because it is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Messages of this level.
    pub level: Level,
    /// Those after this place.
    pub after: u64,
    /// Up to this one, at which an entry says so.
    pub until: u64,
    /// The entry that said so before.
    pub marker: Option<u64>,
}

impl LeftOut {
    /// Whether an entry is among them.
    pub fn takes(&self, event: &Event) -> bool {
        let Some(seq) = event.seq else { return false };
        match event.kind {
            EventKind::Message { level, .. } => level == self.level && seq > self.after && seq <= self.until,
            EventKind::LeftOut { .. } => Some(seq) == self.marker,
            _ => false,
        }
    }
}
