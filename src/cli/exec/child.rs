//! Watches over the command until it ends, by itself or on somebody's order.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::process::Child;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::group::{Group, signal_name};
use super::notices::Notices;
use super::record::End;
use crate::cli::exit::{EXEC_CANNOT_RUN, EXEC_SIGNALLED};

/// What the server wants of a running command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Somebody asked the job to stop.
    Abort,
    /// The job has been ended; the sentence says how. What the command still does is for nobody.
    Over(String),
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    status: ExitStatus,
    aborted: bool,
    /// It was told to stop, by an abort or because its job is over.
    ordered: bool,
}

/// Waits for the command, and stops it when ordered to: SIGTERM to all of its group, and SIGKILL after
/// `grace`. An order that comes when the command has ended by itself changes nothing. What is done is done
/// before it is spoken of.
pub async fn supervise(
    child: &mut Child,
    group: Group,
    orders: &mut mpsc::UnboundedReceiver<Order>,
    grace: Duration,
    notices: &Notices,
) -> Ended {
    let (mut aborted, mut stopping) = (false, false);
    let mut kill_at: Option<Instant> = None;
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
                return Ended { status, aborted, ordered: stopping };
            }
            Some(order) = orders.recv() => order,
            () = too_late => {
                kill_at = None;
                group.signal(libc::SIGKILL);
                notices.say("the command did not stop when asked to; killing it");
                continue;
            }
        };
        if std::mem::replace(&mut stopping, true) {
            continue;
        }
        group.terminate();
        kill_at = Some(Instant::now() + grace);
        match order {
            Order::Abort => {
                notices.say("an abort of the job was requested; stopping the command");
                aborted = true;
            }
            Order::Over(how) => {
                notices.say(&format!("the job was ended from outside ({how}); stopping the command"));
            }
        }
    }
}

impl Ended {
    /// Whether it was told to stop. Nobody waits then for whoever reads what it printed.
    pub fn was_ordered(self) -> bool {
        self.ordered
    }

    /// What the job's end is.
    pub fn end(self) -> End {
        let how = self.how();
        match (self.aborted, how) {
            (true, how) => End::Aborted { how: how.unwrap_or_else(|| "Stopped as requested".to_owned()) },
            (false, Some(error)) => End::Failed { error, retryable: true },
            (false, None) => End::Completed,
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
            (None, Some(signal)) => Some(format!("Killed by signal {}", signal_name(signal))),
            (None, None) => Some(format!("Ended with {}", self.status)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(raw: i32, aborted: bool) -> Ended {
        Ended { status: ExitStatus::from_raw(raw), aborted, ordered: aborted }
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
}
