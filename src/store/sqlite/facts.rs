//! The numbers of a job that no query looks at, in as few bytes as they need.
//!
//! A finished job has some twenty of them, most small or zero. As columns each costs a byte before it says
//! anything, and a time six; here a number is a varint (seven bits a byte, the last first), a time is the
//! distance to another one, and zeros at the end are left out. Their order is fixed: a number is only ever
//! added at the end. Given up: reading them with the `sqlite3` program; `longhaul export` shows them.

use crate::model::{JobId, LogCounts, Timestamp};

/// The numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub created_at: Timestamp,
    pub attempt: u32,
    pub epoch: u32,
    pub seq: u64,
    pub revision: u64,
    pub counts: LogCounts,
    pub started_at: Option<Timestamp>,
    pub activity_at: Timestamp,
    pub heartbeat_at: Option<Timestamp>,
    /// Where in the log the newest message is, where it is not kept beside it. From 1.
    pub said_at: Option<u64>,
    pub progress_at: Option<Timestamp>,
    pub run_at: Option<Timestamp>,
    pub fenced: bool,
    pub late_writes: u64,
    pub late_write_at: Option<Timestamp>,
    pub message_key: u64,
}

impl Facts {
    /// The numbers of the job with that id, which ended then, if it did.
    pub(super) fn pack(&self, id: JobId, ended_at: Option<Timestamp>) -> Vec<u8> {
        let base = ended_at.unwrap_or(self.created_at);
        let since = |from: Timestamp, at: Option<Timestamp>| at.map(|at| distance(from, at));
        let mut facts = Packer::default();
        facts.put_signed(distance(guess(id, base), self.created_at));
        facts.put(self.attempt);
        facts.put(self.epoch);
        facts.put(self.seq);
        facts.put_signed(i128::from(self.revision) - i128::from(self.seq));
        let LogCounts { info, warning, error, system, operator } = self.counts;
        for count in [info, warning, error, system, operator] {
            facts.put(count);
        }
        facts.put_maybe(since(self.created_at, self.started_at));
        facts.put_signed(distance(base, self.activity_at));
        facts.put_maybe(since(base, self.heartbeat_at));
        facts.put(self.said_at.unwrap_or(0));
        facts.put_maybe(since(base, self.progress_at));
        facts.put_maybe(since(self.created_at, self.run_at));
        facts.put(u32::from(self.fenced));
        facts.put(self.late_writes);
        facts.put_maybe(since(base, self.late_write_at));
        facts.put(self.message_key);
        facts.finish()
    }

    /// The numbers that were packed. Of an open job `created_at` is a column too.
    pub(super) fn unpack(
        bytes: &[u8],
        id: JobId,
        created_at: Option<Timestamp>,
        ended_at: Option<Timestamp>,
    ) -> Self {
        let mut facts = Unpacker::new(bytes);
        let far = facts.take_signed();
        let created_at = created_at.unwrap_or_else(|| plus(guess(id, ended_at.unwrap_or(Timestamp(0))), far));
        let base = ended_at.unwrap_or(created_at);
        // In the order in which they were packed.
        let (attempt, epoch, seq) = (facts.small(), facts.small(), facts.count());
        Self {
            created_at,
            attempt,
            epoch,
            seq,
            revision: (i128::from(seq) + facts.take_signed()) as u64,
            counts: facts.take_counts(),
            started_at: facts.take_maybe().map(|far| plus(created_at, far)),
            activity_at: plus(base, facts.take_signed()),
            heartbeat_at: facts.take_maybe().map(|far| plus(base, far)),
            said_at: Some(facts.count()).filter(|seq| *seq > 0),
            progress_at: facts.take_maybe().map(|far| plus(base, far)),
            run_at: facts.take_maybe().map(|far| plus(created_at, far)),
            fenced: facts.take() != 0,
            late_writes: facts.count(),
            late_write_at: facts.take_maybe().map(|far| plus(base, far)),
            message_key: facts.count(),
        }
    }
}

/// How many lines a job's log has, from its packed numbers.
pub(super) fn counts(bytes: &[u8]) -> LogCounts {
    let mut facts = Unpacker::new(bytes);
    for _ in 0..5 {
        facts.take();
    }
    facts.take_counts()
}

/// `to` as a distance from `from`, and back.
fn distance(from: Timestamp, to: Timestamp) -> i128 {
    i128::from(to.0) - i128::from(from.0)
}

fn plus(from: Timestamp, distance: i128) -> Timestamp {
    Timestamp(i64::try_from(i128::from(from.0) + distance).unwrap_or(i64::MAX))
}

/// When an id says it was made, where it says so: the best guess at when its job was.
fn guess(id: JobId, otherwise: Timestamp) -> Timestamp {
    match id.0.get_version_num() {
        7 => Timestamp((id.0.as_u128() >> 80) as i64),
        _ => otherwise,
    }
}

/// Puts numbers one after another.
#[derive(Default)]
struct Packer(Vec<u8>, usize);

impl Packer {
    /// A number.
    fn put(&mut self, value: impl Into<u128>) {
        let mut value = value.into();
        let zero = value == 0;
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        if !zero {
            self.1 = self.0.len();
        }
    }

    /// A number that may be negative.
    fn put_signed(&mut self, value: i128) {
        self.put(zigzag(value));
    }

    /// A number that may be negative, or missing.
    fn put_maybe(&mut self, value: Option<i128>) {
        self.put(value.map_or(0, |value| zigzag(value) + 1));
    }

    /// The bytes.
    fn finish(mut self) -> Vec<u8> {
        self.0.truncate(self.1);
        self.0
    }
}

fn zigzag(value: i128) -> u128 {
    ((value << 1) ^ (value >> 127)) as u128
}

fn unzigzag(value: u128) -> i128 {
    (value >> 1) as i128 ^ -((value & 1) as i128)
}

/// Takes numbers one after another. What is missing at the end is zero.
struct Unpacker<'a>(&'a [u8]);

impl<'a> Unpacker<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// A number. Bits beyond what a number has are dropped: the check of the store tells.
    fn take(&mut self) -> u128 {
        let (mut value, mut shift) = (0_u128, 0);
        while let Some((&byte, rest)) = self.0.split_first() {
            self.0 = rest;
            if shift < 128 {
                value |= u128::from(byte & 0x7f) << shift;
            }
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }

    fn count(&mut self) -> u64 {
        self.take() as u64
    }

    fn small(&mut self) -> u32 {
        self.take() as u32
    }

    fn take_signed(&mut self) -> i128 {
        unzigzag(self.take())
    }

    fn take_maybe(&mut self) -> Option<i128> {
        match self.take() {
            0 => None,
            value => Some(unzigzag(value - 1)),
        }
    }

    fn take_counts(&mut self) -> LogCounts {
        let [info, warning, error, system, operator] = std::array::from_fn(|_| self.count());
        LogCounts { info, warning, error, system, operator }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_packed_comes_out_again(
            numbers in prop::collection::vec((any::<u64>(), any::<i64>(), any::<Option<i64>>()), 0..8),
        ) {
            let mut packer = Packer::default();
            for (count, signed, maybe) in &numbers {
                packer.put(*count);
                packer.put_signed(i128::from(*signed) - i128::from(i64::MAX));
                packer.put_maybe(maybe.map(i128::from));
            }
            let bytes = packer.finish();
            let mut unpacker = Unpacker::new(&bytes);
            for (count, signed, maybe) in numbers {
                prop_assert_eq!(unpacker.count(), count);
                prop_assert_eq!(unpacker.take_signed(), i128::from(signed) - i128::from(i64::MAX));
                prop_assert_eq!(unpacker.take_maybe(), maybe.map(i128::from));
            }
            prop_assert_eq!(unpacker.take(), 0);
        }

        #[test]
        fn any_bytes_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut unpacker = Unpacker::new(&bytes);
            for _ in 0..30 {
                unpacker.take_maybe();
            }
        }
    }

    #[test]
    fn small_numbers_take_a_byte_and_zeros_at_the_end_none() {
        let mut packer = Packer::default();
        for number in [1_u32, 0, 127, 0, 0] {
            packer.put(number);
        }
        assert_eq!(packer.finish(), [1, 0, 127]);
    }
}
