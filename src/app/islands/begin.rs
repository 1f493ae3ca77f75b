//! What the island that follows the server begins with: what its page was rendered with.

use leptos::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::live::dom;
use crate::view::{pack, unpack};

/// Gives a page's island what it begins with: to the one that is rendered now, and to the one in the browser.
/// Stands before the island.
#[component]
pub fn Begin<T: Serialize + Clone + Send + Sync + 'static>(
    /// With what.
    with: T,
) -> impl IntoView {
    let packed = pack(&with);
    provide_context(with);
    view! { <div hidden data-begin=packed></div> }
}

/// What the page's island begins with.
pub fn begun_with<T: DeserializeOwned + Clone + Send + Sync + 'static>() -> T {
    if !cfg!(feature = "hydrate") {
        return expect_context();
    }
    match dom::begin().as_deref().and_then(unpack) {
        Some(with) => with,
        // The page stays as it was rendered.
        None => wasm_bindgen::throw_str("this page was rendered by another build"),
    }
}

/// What is packed for a page is read by the order of its fields, and a field that is left out takes the whole page
/// with it. Every type is written out here, without `..`: a new field does not compile before somebody has said what
/// it is at its barest and at its fullest, and both must come back.
#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::app::islands::{BoardProps, JobProps};
    use crate::model::{
        Counts, JobId, LastMessage, Level, LineKind, LogCounts, LogLine, MoreTime, OutcomeCounts, Status,
        Timestamp, Trouble,
    };
    use crate::rpc::{LogView, PastFilter, PastPage};
    use crate::view::{
        Action, BoardAnswer, BoardView, Fact, JobAnswer, JobPageView, JobRow, LogAnswer, PastRow, StepRow,
        StepState, SweepPlan,
    };

    /// How much a value holds: everything that may be there, or nothing of it.
    #[derive(Clone, Copy)]
    struct Full(bool);

    impl Full {
        fn may<T>(self, value: T) -> Option<T> {
            self.0.then_some(value)
        }

        fn some<T>(self, value: T) -> Vec<T> {
            self.may(value).into_iter().collect()
        }

        fn text(self) -> String {
            self.may("é · \u{0}".to_owned()).unwrap_or_default()
        }

        fn at(self) -> Timestamp {
            Timestamp(if self.0 { 1_795_364_405_123 } else { i64::MIN })
        }

        fn number(self) -> u64 {
            if self.0 { u64::MAX } else { 0 }
        }

        fn row(self, message: bool) -> JobRow {
            JobRow {
                id: JobId(Uuid::nil()),
                title: self.text(),
                feature: self.text(),
                author: self.text(),
                status: Status::Running,
                percent: 40,
                finishing: self.0,
                scope_grew: self.0,
                step: self.may(self.text()),
                // Also one that the log did not keep.
                message: message.then(|| LastMessage {
                    level: Level::Info,
                    text: self.text(),
                    seq: self.may(self.number()),
                }),
                started_at: self.at(),
                activity_at: self.at(),
                heartbeat_at: self.may(self.at()),
                abort: self.may((self.at(), self.text())),
                run_timeout_ms: self.may(self.number()),
                activity_timeout_ms: self.may(self.number()),
                heartbeat_every: self.may(u32::MAX),
                grace: self.may(u32::MAX),
                warn_run_ms: self.may(self.number()),
                warn_activity_ms: self.may(self.number()),
                more_time: message.then(|| MoreTime { at: self.at(), until: self.may(self.at()) }),
                guessed: self.0,
                late_writes: self.number(),
                late_write_at: self.may(self.at()),
                in_process: self.0,
                revision: self.number(),
            }
        }

        fn plan(self) -> SweepPlan {
            SweepPlan { next: self.at(), every_ms: self.number(), lost_after_ms: self.may(self.number()) }
        }

        fn board(self) -> BoardView {
            BoardView {
                boot: self.text(),
                build: self.text(),
                revision: self.number(),
                past_revision: self.number(),
                now: self.at(),
                rows: vec![self.row(true), self.row(false)],
                counts: Counts { by_status: [self.number(); 7] },
                today: self.outcomes(),
                max_active: 50,
                troubles: self.some(Trouble { critical: self.0, what: self.text(), detail: self.text() }),
                sweep: self.may(self.plan()),
            }
        }

        fn outcomes(self) -> OutcomeCounts {
            OutcomeCounts { completed: self.number(), failed: self.number(), aborted: self.number() }
        }

        fn past(self) -> PastPage {
            let row = PastRow {
                id: JobId(Uuid::nil()),
                title: self.text(),
                feature: self.text(),
                author: self.text(),
                status: Status::Failed,
                result: self.text(),
                ended_at: self.at(),
                took: self.text(),
                late_writes: self.number(),
            };
            PastPage { rows: vec![row], next: self.may(self.text()) }
        }

        fn filter(self) -> PastFilter {
            PastFilter {
                feature: self.may(self.text()),
                status: self.may(Status::Failed),
                author: self.may(self.text()),
                text: self.may(self.text()),
                cursor: self.may(self.text()),
            }
        }

        fn job(self) -> JobPageView {
            JobPageView {
                row: self.row(true),
                now: self.at(),
                build: self.text(),
                ended_at: self.may(self.at()),
                attempt: 1,
                max_attempts: 3,
                error: self.may(self.text()),
                steps: vec![StepRow {
                    key: self.text(),
                    label: self.text(),
                    depth: 1,
                    percent: 7,
                    state: StepState::Failed,
                    note: self.text(),
                    has_parts: self.0,
                    folded: u32::from(self.0),
                }],
                step_count: 1,
                facts: vec![Fact {
                    name: self.text(),
                    value: self.text(),
                    mono: self.0,
                    at: self.may(self.at()),
                    copy: self.0,
                }],
                counts: LogCounts {
                    info: self.number(),
                    warning: self.number(),
                    error: self.number(),
                    system: self.number(),
                    operator: self.number(),
                },
                actions: self.some(Action { at: self.at(), text: self.text() }),
                seq: self.number(),
                pinned: self.0,
                sweep: self.may(self.plan()),
            }
        }

        fn lines(self) -> Vec<LogLine> {
            vec![LogLine {
                seq: self.number(),
                at: self.at(),
                kind: LineKind::Operator,
                text: self.text(),
                step: self.may(self.text()),
            }]
        }

        fn log(self) -> LogView {
            LogView {
                kind: self.may(LineKind::Error),
                step: self.may(self.text()),
                text: self.may(self.text()),
            }
        }
    }

    #[track_caller]
    fn comes_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: T) {
        assert_eq!(unpack::<T>(&pack(&value)).as_ref(), Some(&value));
    }

    #[test]
    fn what_a_page_is_given_comes_back_whether_all_of_it_is_there_or_nothing() {
        for full in [Full(true), Full(false)] {
            comes_back(BoardProps {
                view: full.board(),
                past: full.past(),
                filter: full.filter(),
                of_feature: full.may(Counts { by_status: [1; 7] }),
                may_recover: full.0,
                label: full.may(full.text()),
            });
            comes_back(BoardAnswer {
                now: full.at(),
                view: full.may(full.board()),
                full: full.0,
                gone: full.some(JobId(Uuid::max())),
            });
            comes_back(full.past());
            comes_back(JobProps {
                view: full.job(),
                lines: full.lines(),
                total: full.number(),
                older: full.0,
                newer: full.0,
                log: full.log(),
                marked: full.may(full.number()),
                unfolded: full.0,
                ask: full.may(full.text()),
                label: full.may(full.text()),
            });
            comes_back(JobAnswer {
                now: full.at(),
                boot: full.text(),
                revision: full.number(),
                view: full.may(full.job()),
            });
            comes_back(LogAnswer {
                boot: full.text(),
                revision: full.number(),
                lines: full.lines(),
                seq: full.number(),
                more: full.0,
                skipped_of: full.may(full.number()),
            });
        }
    }
}
