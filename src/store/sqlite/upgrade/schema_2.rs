//! How schema 2 packed the numbers of a job: all twenty, one after another, zeros at the end left out.
//!
//! Databases of that schema are upgraded for years, so this stays as it is.

use super::super::facts::{Facts, distance, guess, plus};
use super::super::varint::{fold, fold_maybe, put, take, unfold, unfold_maybe};
use crate::model::{JobId, LogCounts, Timestamp};

/// The numbers of the job with that id, which ended then, if it did.
pub(super) fn pack(facts: &Facts, id: JobId, ended_at: Option<Timestamp>) -> Vec<u8> {
    let base = ended_at.unwrap_or(facts.created_at);
    let since = |from: Timestamp, at: Option<Timestamp>| fold_maybe(at.map(|at| distance(from, at)));
    let LogCounts { info, warning, error, system, operator } = facts.counts;
    let numbers = [
        fold(distance(guess(id, base), facts.created_at)),
        facts.attempt.into(),
        facts.epoch.into(),
        facts.seq.into(),
        fold(i128::from(facts.revision) - i128::from(facts.seq)),
        info.into(),
        warning.into(),
        error.into(),
        system.into(),
        operator.into(),
        since(facts.created_at, facts.started_at),
        fold(distance(base, facts.activity_at)),
        since(base, facts.heartbeat_at),
        facts.said_at.unwrap_or(0).into(),
        since(base, facts.progress_at),
        since(facts.created_at, facts.run_at),
        u128::from(facts.fenced),
        facts.late_writes.into(),
        since(base, facts.late_write_at),
        facts.message_key.into(),
    ];
    let kept = numbers.iter().rposition(|number| *number > 0).map_or(0, |last| last + 1);
    let mut bytes = Vec::new();
    numbers[..kept].iter().for_each(|number| put(&mut bytes, *number));
    bytes
}

/// The numbers that were packed. Of an open job `created_at` is a column too.
pub(super) fn unpack(
    mut bytes: &[u8],
    id: JobId,
    created_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
) -> Facts {
    let [
        created,
        attempt,
        epoch,
        seq,
        revision,
        info,
        warning,
        error,
        system,
        operator,
        started,
        activity,
        heartbeat,
        said,
        progress,
        run,
        fenced,
        late_writes,
        late_write,
        message_key,
    ]: [u128; 20] = std::array::from_fn(|_| take(&mut bytes));
    let created_at =
        created_at.unwrap_or_else(|| plus(guess(id, ended_at.unwrap_or(Timestamp(0))), unfold(created)));
    let base = ended_at.unwrap_or(created_at);
    let since = |from: Timestamp, far: u128| unfold_maybe(far).map(|far| plus(from, far));
    Facts {
        created_at,
        attempt: attempt as u32,
        epoch: epoch as u32,
        seq: seq as u64,
        revision: (seq as i128 + unfold(revision)) as u64,
        counts: LogCounts {
            info: info as u64,
            warning: warning as u64,
            error: error as u64,
            system: system as u64,
            operator: operator as u64,
        },
        started_at: since(created_at, started),
        activity_at: plus(base, unfold(activity)),
        heartbeat_at: since(base, heartbeat),
        said_at: Some(said as u64).filter(|seq| *seq > 0),
        progress_at: since(base, progress),
        run_at: since(created_at, run),
        fenced: fenced != 0,
        late_writes: late_writes as u64,
        late_write_at: since(base, late_write),
        message_key: message_key as u64,
    }
}
