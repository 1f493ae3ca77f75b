//! The numbers of a job that no query looks at, in as few bytes as they need.
//!
//! A finished job has some twenty of them, and of most jobs most are as usual: one attempt, no error, heard of
//! to the end. So each is kept as how it differs from what is usual, times as the distance to another one; a
//! mask says which of them differ, and only those follow, as [`varint`](super::varint)s. Each has its place for
//! good: a number is only ever added at the end. Given up: reading them with the `sqlite3` program;
//! `longhaul export` shows them.

use super::varint::{fold, fold_maybe, put, take, unfold, unfold_maybe};
use crate::model::job_fields::job_fields;
use crate::model::{Job, JobId, LogCounts, Timestamp};

/// Makes the struct of the list of fields.
macro_rules! numbers {
    (
        required $required:tt
        named $named:tt
        asked $asked:tt
        asked_rarely $rarely:tt
        asked_each $each:tt
        columns $columns:tt
        numbers { $($(#[$meta:meta])* $field:ident: $type:ty = $value:expr;)* }
        document $document:tt
    ) => {
        /// The numbers.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(super) struct Numbers {
            pub created_at: Timestamp,
            /// Where in the log the newest message is, where it is not kept beside it. From 1.
            pub said_at: Option<u64>,
            $(pub $field: $type,)*
        }

        impl Numbers {
            /// The numbers of a job whose newest message is there in its log.
            pub(super) fn of(job: &Job, said_at: Option<u64>) -> Self {
                Self { created_at: job.created_at, said_at, $($field: job.$field,)* }
            }
        }
    };
}

job_fields!(numbers);

/// The numbers in their places, those that are seldom as usual first: a mask of them is one byte.
type Places = [u128; 20];

impl Numbers {
    /// The numbers of the job with that id, which ended then, if it did.
    pub(super) fn pack(&self, id: JobId, ended_at: Option<Timestamp>) -> Vec<u8> {
        // Every field by name: one that is new does not compile before it has a place.
        let Self {
            created_at,
            said_at,
            attempt,
            epoch,
            seq,
            revision,
            counts,
            activity_at,
            run_at,
            started_at,
            progress_at,
            heartbeat_at,
            fenced,
            late_writes,
            late_write_at,
            message_key,
        } = *self;
        let base = ended_at.unwrap_or(created_at);
        let since = |from: Timestamp, at: Option<Timestamp>| fold_maybe(at.map(|at| distance(from, at)));
        let LogCounts { info, warning, error, system, operator } = counts;
        let place = i128::from(seq);
        let system_usually = place - [info, warning, error, operator].map(i128::from).iter().sum::<i128>();
        write(&[
            seq.into(),
            fold(i128::from(revision) - place),
            info.into(),
            fold_maybe(said_at.map(|said| place - i128::from(said))),
            since(base, progress_at),
            fold(distance(guess(id, base), created_at)),
            fold(i128::from(system) - system_usually),
            usually_none_apart(since(created_at, started_at)),
            usually_none_apart(since(base, heartbeat_at)),
            fold(distance(base, activity_at)),
            warning.into(),
            error.into(),
            operator.into(),
            fold(i128::from(attempt) - 1),
            fold(i128::from(epoch) - i128::from(attempt)),
            since(created_at, run_at),
            fenced.into(),
            late_writes.into(),
            since(base, late_write_at),
            message_key.into(),
        ])
    }

    /// The numbers that were packed. Of an open job `created_at` is a column too.
    pub(super) fn unpack(
        bytes: &[u8],
        id: JobId,
        created_at: Option<Timestamp>,
        ended_at: Option<Timestamp>,
    ) -> Self {
        let places = read(bytes);
        let created_at =
            created_at.unwrap_or_else(|| self::created_at(bytes, id, ended_at.unwrap_or(Timestamp(0))));
        let base = ended_at.unwrap_or(created_at);
        let since = |from: Timestamp, far: u128| unfold_maybe(far).map(|far| plus(from, far));
        let seq = places[0] as i128;
        let attempt = unfold(places[13]).wrapping_add(1);
        Self {
            created_at,
            attempt: attempt as u32,
            epoch: unfold(places[14]).wrapping_add(attempt) as u32,
            seq: seq as u64,
            revision: unfold(places[1]).wrapping_add(seq) as u64,
            counts: counts_in(&places),
            started_at: since(created_at, usually_none_apart(places[7])),
            activity_at: plus(base, unfold(places[9])),
            heartbeat_at: since(base, usually_none_apart(places[8])),
            said_at: unfold_maybe(places[3]).map(|back| seq.wrapping_sub(back) as u64),
            progress_at: since(base, places[4]),
            run_at: since(created_at, places[15]),
            fenced: places[16] != 0,
            late_writes: places[17] as u64,
            late_write_at: since(base, places[18]),
            message_key: places[19] as u64,
        }
    }
}

/// Whether these can be the numbers of a job: as many as their mask says, none cut short, and at least one entry in
/// the log.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let mask = take(&mut &*bytes);
    let ends = bytes.iter().filter(|byte| **byte & 0x80 == 0).count();
    let cut = bytes.last().is_none_or(|byte| byte & 0x80 != 0);
    !cut && mask & 1 == 1 && ends == 1 + mask.count_ones() as usize
}

/// When an ended job was made, from its packed numbers.
pub(super) fn created_at(bytes: &[u8], id: JobId, ended_at: Timestamp) -> Timestamp {
    plus(guess(id, ended_at), unfold(read(bytes)[5]))
}

/// How many lines a job's log has, from its packed numbers.
pub(super) fn counts(bytes: &[u8]) -> LogCounts {
    counts_in(&read(bytes))
}

fn counts_in(places: &Places) -> LogCounts {
    let [info, warning, error, operator] = [2, 10, 11, 12].map(|place| places[place] as u64);
    let others = [info, warning, error, operator].map(i128::from).iter().sum::<i128>();
    let usually = (places[0] as i128).wrapping_sub(others);
    let system = unfold(places[6]).wrapping_add(usually) as u64;
    LogCounts { info, warning, error, system, operator }
}

/// Exchanges "missing" and "no distance apart", where the latter is usual.
fn usually_none_apart(maybe: u128) -> u128 {
    if maybe < 2 { 1 - maybe } else { maybe }
}

fn write(places: &Places) -> Vec<u8> {
    let differ = |(place, number): (usize, &u128)| u128::from(*number > 0) << place;
    let mask = places.iter().enumerate().map(differ).sum();
    let mut bytes = Vec::new();
    put(&mut bytes, mask);
    places.iter().filter(|number| **number > 0).for_each(|number| put(&mut bytes, *number));
    bytes
}

fn read(mut bytes: &[u8]) -> Places {
    let mask = take(&mut bytes);
    std::array::from_fn(|place| if mask >> place & 1 == 1 { take(&mut bytes) } else { 0 })
}

/// `to` as a distance from `from`, and back.
pub(super) fn distance(from: Timestamp, to: Timestamp) -> i128 {
    i128::from(to.0) - i128::from(from.0)
}

pub(super) fn plus(from: Timestamp, distance: i128) -> Timestamp {
    Timestamp(i64::try_from(i128::from(from.0).saturating_add(distance)).unwrap_or(i64::MAX))
}

/// When an id says it was made, where it says so: the best guess at when its job was.
pub(super) fn guess(id: JobId, otherwise: Timestamp) -> Timestamp {
    match id.0.get_version_num() {
        7 => Timestamp((id.0.as_u128() >> 80) as i64),
        _ => otherwise,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    prop_compose! {
        fn any_numbers()(
            times in any::<(i64, Option<i64>, i64, Option<i64>, Option<i64>, Option<i64>, Option<i64>)>(),
            counts in any::<[u64; 5]>(),
            more in any::<(u32, u32, u64, u64, Option<u64>, bool, u64, u64)>(),
        ) -> Numbers {
            let (created_at, started_at, activity_at, heartbeat_at, progress_at, run_at, late_write_at) = times;
            let [info, warning, error, system, operator] = counts;
            let (attempt, epoch, seq, revision, said_at, fenced, late_writes, message_key) = more;
            Numbers {
                created_at: Timestamp(created_at),
                attempt,
                epoch,
                seq,
                revision,
                counts: LogCounts { info, warning, error, system, operator },
                started_at: started_at.map(Timestamp),
                activity_at: Timestamp(activity_at),
                heartbeat_at: heartbeat_at.map(Timestamp),
                said_at,
                progress_at: progress_at.map(Timestamp),
                run_at: run_at.map(Timestamp),
                fenced,
                late_writes,
                late_write_at: late_write_at.map(Timestamp),
                message_key,
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_out_again(numbers in any_numbers(), id in any::<u128>(), ended in any::<Option<i64>>()) {
            let (id, ended_at) = (JobId(Uuid::from_u128(id)), ended.map(Timestamp));
            let bytes = numbers.pack(id, ended_at);
            prop_assert_eq!(counts(&bytes), numbers.counts);
            prop_assert_eq!(is_whole(&bytes), numbers.seq > 0);
            prop_assert!((0..bytes.len()).all(|end| !is_whole(&bytes[..end])), "what is cut short is known by it");
            let created_at = ended.is_none().then_some(numbers.created_at);
            prop_assert_eq!(Numbers::unpack(&bytes, id, created_at, ended_at), numbers);
        }

        #[test]
        fn any_bytes_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..64), id in any::<u128>()) {
            counts(&bytes);
            Numbers::unpack(&bytes, JobId(Uuid::from_u128(id)), None, None);
        }
    }

    #[test]
    fn a_job_that_went_as_usual_takes_a_few_bytes() {
        let (began, ended) = (Timestamp(1_795_500_000_000), Timestamp(1_795_500_060_000));
        let id = JobId(Uuid::from_u128((began.0 as u128) << 80 | 7 << 76 | 2 << 62));
        let numbers = Numbers {
            created_at: began,
            attempt: 1,
            epoch: 1,
            seq: 40,
            revision: 90,
            counts: LogCounts { info: 36, system: 4, ..LogCounts::default() },
            started_at: Some(began),
            activity_at: ended,
            heartbeat_at: Some(ended),
            said_at: Some(39),
            progress_at: Some(ended),
            run_at: None,
            fenced: false,
            late_writes: 0,
            late_write_at: None,
            message_key: 0,
        };
        assert_eq!(numbers.pack(id, Some(ended)), [0b1_1111, 40, 100, 36, 3, 1]);
    }
}
