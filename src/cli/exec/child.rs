//! Watches over the command until it ends, by itself or on somebody's order.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::process::Child;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::group::{Group, signal_name};
use super::notices::{Notices, span_text};
use super::processes::Process;
use super::record::{End, StartRequest};
use super::signals;
use super::spool::Spool;
use crate::cli::exit::{EXEC_CANNOT_RUN, EXEC_SIGNALLED};
use crate::model::Level;

/// What the server wants of a running command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Somebody asked the job to stop.
    Abort,
    /// The job has been ended; the sentence says how. What the command still does is for nobody.
    Over(String),
}

/// Why a command was to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// An abort of its job.
    Abort,
    /// Its job is over.
    Over,
    /// A signal to `exec`.
    Signal(i32),
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    status: ExitStatus,
    /// Why, and when, it was told to. A signal that it outlived does not count.
    told: Option<(StopReason, Instant)>,
    /// It had to be killed when this was over.
    killed_after: Option<Duration>,
}

/// What a command is told by, and who hears of it.
pub struct Post<'a> {
    /// What the server wants.
    pub orders: &'a mut mpsc::UnboundedReceiver<Order>,
    /// What reaches `exec`.
    pub signals: &'a mut mpsc::UnboundedReceiver<i32>,
    /// How long the command may take to end.
    pub grace: Duration,
    /// The terminal.
    pub notices: &'a Notices,
    /// The job's log.
    pub log: &'a Spool,
}

/// Waits for the command, and stops it when ordered to: SIGTERM to all of its session, and SIGKILL after the
/// grace. An order that comes when the command has ended by itself changes nothing. What is done is done
/// before it is spoken of. Signals are passed on.
pub async fn supervise(child: &mut Child, group: Group, post: Post<'_>) -> Ended {
    let Post { orders, signals, grace, notices, log } = post;
    let mut told: Option<(StopReason, Instant)> = None;
    let mut kill_at: Option<Instant> = None;
    let mut killed_after = None;
    let mut signalled: Option<(i32, Instant)> = None;
    loop {
        let too_late = async {
            match kill_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let order = tokio::select! {
            biased;
            status = child.wait() => {
                // The status can only be lost if somebody else waited for our child; nothing here does.
                let status = status.unwrap_or_else(|_| ExitStatus::from_raw(i32::from(EXEC_CANNOT_RUN) << 8));
                let obeyed = signalled.filter(|(signal, at)| {
                    status.signal() == Some(*signal) || at.elapsed() <= grace
                });
                let told = told.or(obeyed.map(|(signal, at)| (StopReason::Signal(signal), at)));
                return Ended { status, told, killed_after };
            }
            Some(order) = orders.recv() => order,
            Some(signal) = signals.recv() => {
                signals::pass_on(signal, group);
                if signals::asks_to_end(signal) {
                    signalled = Some((signal, Instant::now()));
                }
                continue;
            }
            () = too_late => {
                kill_at = None;
                killed_after = Some(grace);
                group.signal(libc::SIGKILL);
                notices.say(&format!(
                    "the command had not ended {} after it was asked to; killing it with SIGKILL",
                    span_text(grace)
                ));
                continue;
            }
        };
        if told.is_some() {
            continue;
        }
        group.terminate();
        let now = Instant::now();
        kill_at = Some(now + grace);
        match order {
            Order::Abort => {
                told = Some((StopReason::Abort, now));
                let how = format!("SIGTERM now, SIGKILL to what is left after {}", span_text(grace));
                log.remark(Level::Info, &format!("Stopping the command as requested: {how}"));
                notices.say(&format!("an abort of the job was requested; stopping the command: {how}"));
            }
            Order::Over(how) => {
                told = Some((StopReason::Over, now));
                notices.say(&format!("the job was ended from outside: {how}. Stopping the command"));
            }
        }
    }
}

impl Ended {
    /// Why it was to end, where it was, and since when.
    pub fn told(self) -> Option<(StopReason, Instant)> {
        self.told
    }

    /// The same command, of which something else had to be killed when this was over.
    #[must_use]
    pub fn with_killed(self, grace: Duration) -> Self {
        Self { killed_after: self.killed_after.or(Some(grace)), ..self }
    }

    /// Whether this signal was its end.
    pub fn died_of(self, signal: i32) -> bool {
        self.status.signal() == Some(signal)
    }

    /// What the job's log is told of a command that was to stop.
    pub fn remark(self) -> Option<(Level, String)> {
        let (StopReason::Abort, at) = self.told? else { return None };
        let how = self.how().unwrap_or_else(|| "Exited with code 0".to_owned());
        Some(match self.killed_after {
            Some(grace) => (
                Level::Error,
                format!(
                    "The command had not ended {} after SIGTERM and was killed in the middle of what it was doing: {how}, exit code {}",
                    span_text(grace),
                    self.exit_code()
                ),
            ),
            None => (
                Level::Info,
                format!(
                    "The command ended {} after SIGTERM: {how}{}",
                    span_text(at.elapsed()),
                    if self.status.code().is_some() {
                        String::new()
                    } else {
                        format!(", exit code {}", self.exit_code())
                    }
                ),
            ),
        })
    }

    /// What the job's end is.
    pub fn end(self) -> End {
        let how = self.how();
        match (self.told, how) {
            (Some((StopReason::Abort, _)), how) => End::Aborted {
                how: how.unwrap_or_else(|| "Stopped as requested".to_owned()),
                exit_code: Some(self.exit_code()),
                killed_after: self.killed_after.map(StartRequest::seconds),
            },
            (_, Some(error)) => End::Failed { error, retryable: true },
            (_, None) => End::Completed,
        }
    }

    /// The exit code for `exec`, as a shell would give it.
    pub fn exit_code(self) -> u8 {
        let code = self
            .status
            .code()
            .unwrap_or_else(|| i32::from(EXEC_SIGNALLED) + self.status.signal().unwrap_or(0));
        u8::try_from(code).unwrap_or(u8::MAX)
    }

    /// `None` is well.
    fn how(self) -> Option<String> {
        match (self.status.code(), self.status.signal()) {
            (Some(0), _) => None,
            (Some(code), _) => Some(format!("Exited with code {code}")),
            (None, Some(signal)) => Some(format!("Killed by {}", described(signal))),
            (None, None) => Some(format!("Ended with {}", self.status)),
        }
    }
}

/// `signal SIGKILL`, `signal 34 (SIGRTMIN)`.
fn described(signal: i32) -> String {
    let name = signal_name(signal);
    if name.starts_with("SIG") { format!("signal {name}") } else { name.into_owned() }
}

/// Names processes for people: `sleep (123), cron (124)`.
pub fn names(processes: &[Process]) -> String {
    const MOST: usize = 10;
    let mut names: Vec<String> = processes
        .iter()
        .take(MOST)
        .map(|process| format!("{} ({})", crate::model::visible(&process.name, false), process.pid))
        .collect();
    if processes.len() > MOST {
        names.push(format!("and {} more", processes.len() - MOST));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(raw: i32, aborted: bool) -> Ended {
        let told = aborted.then(|| (StopReason::Abort, Instant::now()));
        Ended { status: ExitStatus::from_raw(raw), told, killed_after: None }
    }

    #[test]
    fn the_exit_code_is_a_shells_and_decides_the_end() {
        let failed = |error: &str| End::Failed { error: error.to_owned(), retryable: true };
        assert_eq!((ended(0, false).exit_code(), ended(0, false).end()), (0, End::Completed));
        assert_eq!(
            (ended(3 << 8, false).exit_code(), ended(3 << 8, false).end()),
            (3, failed("Exited with code 3"))
        );
        assert_eq!(
            (ended(9, false).exit_code(), ended(9, false).end()),
            (137, failed("Killed by signal SIGKILL"))
        );
        assert!(matches!(ended(15, true).end(), End::Aborted { .. }));
        assert_eq!(ended(15, true).exit_code(), 143);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_signal_few_know_by_name_is_numbered_once() {
        let raw = libc::SIGRTMIN();
        let End::Failed { error, .. } = ended(raw, false).end() else { panic!("not failed") };
        assert_eq!(error, format!("Killed by signal {raw} (SIGRTMIN)"));
    }

    #[test]
    fn a_clean_stop_and_a_kill_read_differently() {
        let (level, text) = ended(0, true).remark().unwrap();
        assert!(level == Level::Info && text.ends_with("Exited with code 0"), "{text}");
        let killed = Ended { killed_after: Some(Duration::from_secs(10)), ..ended(9, true) };
        let (level, text) = killed.remark().unwrap();
        assert_eq!(level, Level::Error);
        for part in ["10 seconds after SIGTERM", "SIGKILL", "exit code 137"] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(ended(9, false).remark(), None);
        let told = |ended: Ended| super::super::record::Ended::from(ended.end()).call(1).1;
        assert_eq!(told(ended(0, true)), serde_json::json!({"epoch": 1, "exitCode": 0}));
        assert_eq!(told(killed), serde_json::json!({"epoch": 1, "exitCode": 137, "killedAfter": 10}));
    }

    #[test]
    fn many_processes_are_counted() {
        let process = |pid| Process {
            pid,
            name: "sleep".to_owned(),
            parent: 1,
            group: pid,
            session: pid,
            has_ended: false,
        };
        let all: Vec<_> = (1..=12).map(process).collect();
        assert_eq!(names(&all[..2]), "sleep (1), sleep (2)");
        assert!(names(&all).ends_with("sleep (10), and 2 more"));
    }
}
