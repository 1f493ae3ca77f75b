//! What needs a person, and the sentence the overview opens with.
//!
//! Worked out from a row and the time, on the server and in the browser alike, so that a job goes stale on
//! the screen at the second it does, without a request.

use crate::model::{Status, minutes};

use super::board::{JobRow, over};
use super::format::age;
use crate::model::{Timestamp, Trouble};

/// How urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Will need a person.
    Soon,
    /// Needs one now.
    Now,
}

/// Why a job needs a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attention {
    /// How urgent.
    pub severity: Severity,
    /// Continues the job's name: "has been silent for 11 minutes".
    pub verdict: String,
    /// The evidence, and what happens if nobody does anything.
    pub evidence: String,
    /// Asking it to stop makes no sense any more: only force helps.
    pub only_force: bool,
    /// There is nothing to be done here, only where the process runs.
    pub elsewhere: bool,
}

/// How long after the last late write a process counts as still running.
const ZOMBIE_FOR: std::time::Duration = std::time::Duration::from_secs(5 * 60);
/// How long an asked-for stop may take before it needs somebody.
const ABORT_PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// Why a job needs a person at `now`, where it does.
pub fn attention(row: &JobRow, now: Timestamp) -> Option<Attention> {
    if row.status.is_final() {
        let last = row.late_write_at.filter(|last| now.since(*last) < ZOMBIE_FOR)?;
        let writes = if row.late_writes == 1 { "write was" } else { "writes were" };
        return Some(Attention {
            severity: Severity::Now,
            verdict: "has ended, but its process is still running.".to_owned(),
            evidence: format!(
                "{} late {writes} refused, the last {}. Stop the process where it runs; nothing it reports counts.",
                row.late_writes,
                age(now.since(last))
            ),
            only_force: false,
            elsewhere: true,
        });
    }
    if !row.status.is_active() {
        return None;
    }
    let running = now.since(row.started_at);
    let inactive = now.since(row.activity_at);
    let heard = match row.heartbeat_at {
        Some(at) if now.since(at) < std::time::Duration::from_secs(30) => {
            format!("Its process is alive: last heard of {}.", age(now.since(at)))
        }
        Some(at) => format!("Its process was last heard of {}.", age(now.since(at))),
        None => "Its process was never heard of.".to_owned(),
    };
    let ran = |fifths| over(now, row.started_at, row.run_timeout_ms, fifths);
    let silent = |fifths| over(now, row.activity_at, row.activity_timeout_ms, fifths);
    let make = |severity, verdict: String, evidence: String, only_force| {
        Some(Attention { severity, verdict, evidence, only_force, elsewhere: false })
    };
    let aborting = row.status == Status::Aborting;
    if ran(5) {
        return make(
            Severity::Now,
            format!("has run for {}, longer than it may.", plain_minutes(running)),
            format!("{heard} The next sweep will fail it."),
            aborting,
        );
    }
    if silent(5) {
        return make(
            Severity::Now,
            format!("has been silent for {}.", plain_minutes(inactive)),
            format!("{heard} No message, no step and no progress since. The next sweep will fail it."),
            aborting,
        );
    }
    if let Some((at, by)) = row.abort.as_ref().filter(|(at, _)| aborting && now.since(*at) > ABORT_PATIENCE) {
        return make(
            Severity::Now,
            "was asked to stop and has not.".to_owned(),
            format!("{by} asked {}. {heard}", age(now.since(*at))),
            true,
        );
    }
    if silent(4) {
        return make(
            Severity::Soon,
            format!("has been silent for {}.", plain_minutes(inactive)),
            format!("{heard} It counts as stale after {}.", limit(row.activity_timeout_ms)),
            aborting,
        );
    }
    if ran(4) {
        return make(
            Severity::Soon,
            format!("has run for {}.", plain_minutes(running)),
            format!("{heard} It may run for {}.", limit(row.run_timeout_ms)),
            aborting,
        );
    }
    None
}

fn plain_minutes(span: std::time::Duration) -> String {
    if span.as_secs() < 90 {
        return format!("{} seconds", span.as_secs());
    }
    match minutes(span) {
        1 => "1 minute".to_owned(),
        minutes => format!("{minutes} minutes"),
    }
}

fn limit(ms: Option<u64>) -> String {
    ms.map(|ms| plain_minutes(std::time::Duration::from_millis(ms))).unwrap_or_default()
}

/// The sentence the overview opens with, and the one under it.
pub fn headline(rows: &[JobRow], now: Timestamp, troubles: &[Trouble]) -> (String, String) {
    let needing = rows.iter().filter_map(|row| attention(row, now));
    let (mut urgent, mut soon) = (0, 0);
    for need in needing {
        match need.severity {
            Severity::Now => urgent += 1,
            Severity::Soon => soon += 1,
        }
    }
    let running = rows.iter().filter(|row| row.status.is_active()).count();
    let waiting = rows.iter().filter(|row| !row.status.is_active() && !row.status.is_final()).count();
    let moving = match (running, waiting) {
        (0, 0) => "Nothing is running.".to_owned(),
        (running, 0) => format!("{running} running."),
        (running, waiting) => format!("{running} running, {waiting} waiting."),
    };
    let calm = (urgent, soon) == (0, 0);
    if let Some(trouble) = troubles.iter().find(|trouble| trouble.critical || calm) {
        return (trouble.what.clone(), format!("{}. {moving}", trouble.detail));
    }
    match (urgent, soon) {
        (0, 0) => ("All calm".to_owned(), moving),
        (0, 1) => ("1 job to keep an eye on".to_owned(), moving),
        (0, soon) => (format!("{soon} jobs to keep an eye on"), moving),
        (1, _) => ("1 job needs you".to_owned(), moving),
        (urgent, _) => (format!("{urgent} jobs need you"), moving),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::JobId;

    const MINUTE: i64 = 60_000;

    fn row(status: Status) -> JobRow {
        JobRow {
            id: JobId(Uuid::nil()),
            title: "Import".to_owned(),
            feature: "import".to_owned(),
            author: "anna".to_owned(),
            status,
            percent: 40,
            finishing: false,
            scope_grew: false,
            step: None,
            message: None,
            started_at: Timestamp(0),
            activity_at: Timestamp(0),
            heartbeat_at: Some(Timestamp(0)),
            abort: None,
            run_timeout_ms: Some(1_800_000),
            activity_timeout_ms: Some(600_000),
            late_writes: 0,
            late_write_at: None,
            in_process: false,
            revision: 1,
        }
    }

    #[test]
    fn a_job_goes_from_calm_to_soon_to_now_as_time_passes() {
        let row = row(Status::Running);
        let at = |minute: i64| attention(&row, Timestamp(minute * MINUTE)).map(|need| need.severity);
        assert_eq!((at(7), at(9), at(11)), (None, Some(Severity::Soon), Some(Severity::Now)));
    }

    #[test]
    fn the_headline_counts_those_that_need_somebody_now() {
        let rows = [row(Status::Running), row(Status::Running)];
        assert_eq!(headline(&rows, Timestamp(11 * MINUTE), &[]).0, "2 jobs need you");
        assert_eq!(headline(&rows[..1], Timestamp(9 * MINUTE), &[]).0, "1 job to keep an eye on");
        assert_eq!(headline(&rows, Timestamp(0), &[]), ("All calm".to_owned(), "2 running.".to_owned()));
        assert_eq!(
            headline(&rows, Timestamp(0), &[Trouble::of_store("disk full")]).0,
            "The store refuses writes"
        );
    }

    #[test]
    fn an_unanswered_stop_and_a_zombie_need_somebody() {
        let mut asked = row(Status::Aborting);
        asked.abort = Some((Timestamp(0), "anna".to_owned()));
        assert_eq!(attention(&asked, Timestamp(30_000)), None);
        assert!(attention(&asked, Timestamp(61_000)).unwrap().only_force);
        let mut zombie = row(Status::Failed);
        assert_eq!(attention(&zombie, Timestamp(0)), None);
        zombie.late_writes = 3;
        zombie.late_write_at = Some(Timestamp(0));
        assert!(
            attention(&zombie, Timestamp(12_000)).unwrap().evidence.starts_with("3 late writes were refused")
        );
        assert_eq!(attention(&zombie, Timestamp(6 * MINUTE)), None);
    }
}
