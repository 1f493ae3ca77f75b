//! Signals that reach `exec` are meant for the command, and are passed on to it. Once the command has
//! ended they are meant for `exec`, which is then only waiting for the server, and end that.
//!
//! Those that say "end" go to all of the command's session, as the terminal's Ctrl-C goes to all of its
//! group. What the others mean is the program's own business, and they go to the command alone: a `sleep`
//! below it would die of a SIGUSR1 that its shell has a trap for.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::group::Group;

/// What is passed on, beside the real-time signals.
const PASSED_ON: [i32; 9] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGWINCH,
    libc::SIGTSTP,
];

/// The signals this process gets from now on. One that was ignored before (`nohup`, a shell's `&`) stays
/// ignored, here and in the command.
pub fn of_process() -> mpsc::UnboundedReceiver<i32> {
    let (sender, receiver) = mpsc::unbounded_channel();
    for number in PASSED_ON.into_iter().chain(real_time()) {
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

/// Sees to it that a write beyond a limit on the size of files fails, instead of killing this process. The
/// command finds the signal as it was before.
pub fn survive_large_files() {
    if !is_ignored(libc::SIGXFSZ) {
        // What counts is that there is a handler. It stays when this is dropped.
        drop(signal(SignalKind::from_raw(libc::SIGXFSZ)));
    }
}

#[cfg(target_os = "linux")]
fn real_time() -> std::ops::RangeInclusive<i32> {
    libc::SIGRTMIN()..=libc::SIGRTMAX()
}

#[cfg(not(target_os = "linux"))]
fn real_time() -> std::iter::Empty<i32> {
    std::iter::empty()
}

/// Whether a signal is ignored.
pub fn is_ignored(signal: i32) -> bool {
    // SAFETY: sigaction is plain data for which all zeros is a valid value, and with no new action given
    // the call only fills it in. rustix leaves handlers of signals to libc, here and below.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}

/// Ignores SIGPIPE in a process that is about to become another program.
pub fn ignore_pipe() {
    // SAFETY: safe between fork and exec, and no handler of ours is replaced there.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    }
}

/// Whether a signal asks the whole run to end.
pub fn asks_to_end(signal: i32) -> bool {
    matches!(signal, libc::SIGHUP | libc::SIGINT | libc::SIGQUIT | libc::SIGTERM)
}

/// Passes a signal on to a command that has not been waited for.
pub fn pass_on(signal: i32, group: Group) {
    match signal {
        libc::SIGTSTP => suspend(group),
        libc::SIGTERM | libc::SIGINT | libc::SIGQUIT => group.signal(signal),
        other => group.signal_leader(other),
    }
}

/// Ctrl-Z: the command stops, and so do we, until somebody says `fg`. The command's session has nobody who
/// could wake it from SIGTSTP, so the system would not deliver that.
fn suspend(group: Group) {
    group.signal(libc::SIGSTOP);
    // SAFETY: touches no memory; rustix has no such call. It comes back when we are continued; one that sends to the process,
    // and not to this thread, might come back before we are stopped.
    unsafe {
        libc::raise(libc::SIGSTOP);
    }
    group.signal(libc::SIGCONT);
}
