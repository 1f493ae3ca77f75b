//! What needs a person, in words, and the sentence the overview opens with. Whether it does, and how urgently,
//! decides [`Watched::need`](crate::model::Watched::need).

use std::time::Duration;

use super::board::{JobRow, SweepPlan};
use super::format::{age, ahead};
use crate::model::{Need, Severity, Status, Timestamp, Trouble, span_words};

/// Why a job needs a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attention {
    /// How urgent.
    pub severity: Severity,
    /// Continues the job's name: "has been silent for 11 minutes".
    pub verdict: String,
    /// The evidence. What happens if nobody does anything says [`fate`].
    pub evidence: String,
    /// More time would help.
    pub may_wait: bool,
    /// Asking it to stop makes no sense any more: only force helps.
    pub only_force: bool,
    /// There is nothing to be done here, only where the process runs.
    pub elsewhere: bool,
}

impl Attention {
    /// The evidence, and what happens if nobody does anything.
    pub fn told(&self, row: &JobRow, now: Timestamp, plan: Option<&SweepPlan>) -> String {
        let fate = fate(row, now, plan);
        let space = if fate.is_empty() { "" } else { " " };
        [&self.evidence, space, &fate].concat()
    }
}

/// Why a job needs a person at `now`, where it does.
pub fn attention(row: &JobRow, now: Timestamp) -> Option<Attention> {
    let need = row.watched().need(now)?;
    let running = span_words(now.since(row.started_at));
    let inactive = span_words(now.since(row.activity_at));
    let heard = match row.heartbeat_at {
        Some(at) if now.since(at) < Duration::from_secs(30) => {
            format!("Its process is alive: last heard of {}.", age(now.since(at)))
        }
        Some(at) => format!("Its process was last heard of {}.", age(now.since(at))),
        None => "Its process was never heard of.".to_owned(),
    };
    let (verdict, evidence) = match need {
        Need::Zombie => {
            let writes = if row.late_writes == 1 { "write was" } else { "writes were" };
            let last = row.late_write_at.map(|at| age(now.since(at))).unwrap_or_default();
            (
                "has ended, but its process is still running.".to_owned(),
                format!(
                    "{} late {writes} refused, the last {last}. Stop the process where it runs; nothing it reports \
                     counts.",
                    row.late_writes
                ),
            )
        }
        Need::RanTooLong => (format!("has run for {running}, longer than it may."), heard),
        Need::Silent => (
            format!("has been silent for {inactive}."),
            format!("{heard} No message, no step and no progress since."),
        ),
        Need::Unheard => {
            let since = row.heartbeat_at.unwrap_or(row.started_at);
            let every = Duration::from_secs(row.heartbeat_every.unwrap_or(0).into());
            (
                format!("has not been heard of since {}.", span_words(now.since(since))),
                format!(
                    "Its process promised a sign of life every {}. It is dead, or cannot reach the server.",
                    span_words(every)
                ),
            )
        }
        Need::NotStopping => {
            let (at, by) = row.abort.clone().unwrap_or((now, "somebody".to_owned()));
            (
                "was asked to stop and has not.".to_owned(),
                format!("{by} asked {}. {heard}", age(now.since(at))),
            )
        }
        Need::SilentSoon => (format!("has been silent for {inactive}."), heard),
        Need::LongSoon => (format!("has run for {running}."), heard),
        Need::Quiet => (
            format!("has been silent for {inactive}."),
            format!("{heard} {}", long_for(row.warn_activity_ms.or(row.activity_timeout_ms))),
        ),
        Need::Long => (
            format!("has run for {running}."),
            format!("{heard} {}", long_for(row.warn_run_ms.or(row.run_timeout_ms))),
        ),
    };
    Some(Attention {
        severity: need.severity(),
        verdict,
        evidence,
        may_wait: row.watched().may_have_more_time()
            && !matches!(need, Need::Zombie | Need::Unheard | Need::NotStopping),
        only_force: need != Need::Zombie && row.status == Status::Aborting,
        elsewhere: need == Need::Zombie,
    })
}

fn long_for(ms: Option<u64>) -> String {
    let usual = span_words(Duration::from_millis(ms.unwrap_or(0)));
    format!("That is longer than {usual}; nothing ends it.")
}

/// What happens to a job that needs a person if nobody does anything and nothing more is heard of it; empty where
/// nothing does.
fn fate(row: &JobRow, now: Timestamp, plan: Option<&SweepPlan>) -> String {
    let watched = row.watched();
    // One that is heard of is not lost.
    let lost_after = plan.and_then(|plan| plan.lost_after_ms).filter(|_| watched.unheard(now).is_some());
    match (watched.due(lost_after), plan) {
        (None, _) => String::new(),
        (Some(due), Some(plan)) => {
            format!("The sweep will fail it {}.", ahead(plan.after(due, now).since(now)))
        }
        (Some(due), None) if now > due => "The next sweep will fail it.".to_owned(),
        (Some(due), None) => {
            format!("It has {} left, then the next sweep will fail it.", span_words(due.since(now)))
        }
    }
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
        let mut detail = trouble.detail.clone();
        if let Some(first) = detail.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        return (trouble.what.clone(), format!("{detail}. {moving}"));
    }
    match (urgent, soon) {
        (0, 0) => ("All calm".to_owned(), moving),
        (0, 1) => ("1 job to keep an eye on".to_owned(), moving),
        (0, soon) => (format!("{soon} jobs to keep an eye on"), moving),
        (1, _) => ("1 job needs you".to_owned(), moving),
        (urgent, _) => (format!("{urgent} jobs need you"), moving),
    }
}

/// How many jobs need somebody now.
pub fn urgent(rows: &[JobRow], now: Timestamp) -> usize {
    rows.iter().filter_map(|row| attention(row, now)).filter(|need| need.severity == Severity::Now).count()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::{JobId, MoreTime};

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
            heartbeat_every: None,
            grace: None,
            warn_run_ms: None,
            warn_activity_ms: None,
            more_time: None,
            guessed: false,
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
    fn what_the_sweep_will_do_is_said_with_when() {
        let row = row(Status::Running);
        let minute = |minute: i64| Timestamp(minute * MINUTE);
        let plan = SweepPlan { next: minute(3), every_ms: 300_000, lost_after_ms: None };
        // Silent for ten minutes at 10:00; the sweeps are at 3, 8, 13 and so on.
        for (now, when) in [(9, "in 4 min"), (11, "in 2 min"), (13, "now")] {
            assert_eq!(fate(&row, minute(now), Some(&plan)), format!("The sweep will fail it {when}."));
        }
        assert_eq!(fate(&row, minute(11), None), "The next sweep will fail it.");
        assert_eq!(fate(&row, minute(9), None), "It has 60 seconds left, then the next sweep will fail it.");
        let vouched = JobRow {
            run_timeout_ms: None,
            activity_timeout_ms: None,
            heartbeat_every: Some(5),
            ..row.clone()
        };
        let plan_of_lost = SweepPlan { lost_after_ms: Some(900_000), ..plan };
        assert_eq!(fate(&vouched, minute(11), Some(&plan_of_lost)), "The sweep will fail it in 7 min.");
        let heard = JobRow { heartbeat_at: Some(minute(11)), ..vouched };
        assert_eq!(fate(&heard, minute(11), Some(&plan_of_lost)), "", "it is heard of, and nothing ends it");
        let given = JobRow { more_time: Some(MoreTime { at: minute(11), until: Some(minute(71)) }), ..row };
        assert_eq!(attention(&given, minute(11)), None);
        assert_eq!(fate(&given, minute(11), Some(&plan)), "The sweep will fail it in 1 h.");
        let freed = JobRow { more_time: Some(MoreTime { at: minute(11), until: None }), ..given };
        assert_eq!(fate(&freed, minute(11), Some(&plan)), "");
        let need = attention(&freed, minute(22)).unwrap();
        assert!(need.evidence.ends_with("longer than 10 minutes; nothing ends it."), "{}", need.evidence);
        assert!(!need.may_wait, "more than no limit is none");
    }

    #[test]
    fn more_time_is_offered_for_what_takes_long_and_for_nothing_else() {
        let minute = |minute: i64| Timestamp(minute * MINUTE);
        let running = row(Status::Running);
        assert!(attention(&running, minute(9)).unwrap().may_wait);
        assert!(attention(&running, minute(11)).unwrap().may_wait);
        let unheard = JobRow { heartbeat_every: Some(5), ..row(Status::Running) };
        assert!(!attention(&unheard, minute(2)).unwrap().may_wait);
        let stopping = JobRow { abort: Some((minute(1), "anna".to_owned())), ..row(Status::Aborting) };
        assert!(!attention(&stopping, minute(3)).unwrap().may_wait);
    }

    #[test]
    fn the_headline_counts_those_that_need_somebody_now() {
        let rows = [row(Status::Running), row(Status::Running)];
        assert_eq!(headline(&rows, Timestamp(11 * MINUTE), &[]).0, "2 jobs need you");
        assert_eq!(headline(&rows[..1], Timestamp(9 * MINUTE), &[]).0, "1 job to keep an eye on");
        assert_eq!(headline(&rows, Timestamp(0), &[]), ("All calm".to_owned(), "2 running.".to_owned()));
        assert_eq!(
            headline(&rows, Timestamp(0), &[Trouble::of_store("disk full")]),
            ("The store refuses writes".to_owned(), "Disk full. 2 running.".to_owned())
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
