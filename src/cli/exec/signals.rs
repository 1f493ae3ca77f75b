//! Signals that reach `exec` are meant for the command, and are passed on to it. Once the command has
//! ended they are meant for `exec`, which is then only waiting for the server, and end that.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::group::Group;

/// What is passed on.
const PASSED_ON: [i32; 7] =
    [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2, libc::SIGTSTP];

/// The signals this process gets from now on. One that was ignored before (`nohup`, a shell's `&`) stays
/// ignored, here and in the command.
pub fn of_process() -> mpsc::UnboundedReceiver<i32> {
    let (sender, receiver) = mpsc::unbounded_channel();
    for number in PASSED_ON {
        if is_ignored(number) {
            continue;
        }
        if let Ok(mut arrivals) = signal(SignalKind::from_raw(number)) {
            let sender = sender.clone();
            tokio::spawn(
                async move { while arrivals.recv().await.is_some() && sender.send(number).is_ok() {} },
            );
        }
    }
    receiver
}

fn is_ignored(signal: i32) -> bool {
    // SAFETY: sigaction is plain data for which all zeros is a valid value, and with no new action given
    // the call only fills it in.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}

/// Passes signals on for as long as the command or anything it started is there; later ones, or all where
/// there never was a command, are handed to `interrupted`.
pub async fn pass_on(
    mut signals: mpsc::UnboundedReceiver<i32>,
    group: Option<Group>,
    interrupted: watch::Sender<Option<i32>>,
) {
    while let Some(signal) = signals.recv().await {
        match group.filter(|group| group.exists()) {
            None => {
                interrupted.send_replace(Some(signal));
            }
            Some(group) if signal == libc::SIGTSTP => suspend(group),
            Some(group) => group.signal(signal),
        }
    }
}

/// Ctrl-Z: the command stops, and so do we, until somebody says `fg`. The command's session has nobody who
/// could wake it from SIGTSTP, so the system would not deliver that.
fn suspend(group: Group) {
    group.signal(libc::SIGSTOP);
    // SAFETY: touches no memory. The call comes back when we are continued.
    unsafe {
        libc::raise(libc::SIGSTOP);
    }
    group.signal(libc::SIGCONT);
}
