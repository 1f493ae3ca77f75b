//! The command and everything it starts, as one group that can be signalled.
//!
//! The command leads a session of its own, not just a process group: one that reads from the terminal
//! would otherwise be stopped for doing so in the background. Given up: programs below it find no
//! terminal to ask for a password on. A daemon that leaves the group on purpose is left alone.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::{self, PipeWriter};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::Instant;

/// The processes of a command.
#[derive(Clone, Copy, Debug)]
pub struct Group(libc::pid_t);

/// Starts a command as the leader of a group of its own. It reads what `exec` would read.
///
/// # Errors
/// Where there is no such program, or the system does not run it.
pub fn spawn(command: &[OsString], out: PipeWriter, err: PipeWriter) -> io::Result<(Child, Group)> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no command was given"));
    };
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::from(out)).stderr(Stdio::from(err));
    // SAFETY: between fork and exec only what is safe in a signal handler may be called; setsid is, and so
    // is reading errno.
    unsafe {
        command.pre_exec(|| match libc::setsid() {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
    let child = command.spawn()?;
    let leader = child
        .id()
        .and_then(|id| libc::pid_t::try_from(id).ok())
        .ok_or_else(|| io::Error::other("the command has no process id"))?;
    Ok((child, Group(leader)))
}

impl Group {
    /// Sends a signal to every process of the group. That there is none left is fine.
    pub fn signal(self, signal: i32) {
        // SAFETY: touches no memory of ours. The group is our own child's, and never 0 or 1.
        unsafe {
            libc::kill(-self.0, signal);
        }
    }

    /// Asks every process to end, also one that is stopped.
    pub fn terminate(self) {
        self.signal(libc::SIGTERM);
        self.signal(libc::SIGCONT);
    }

    /// Whether any process of the group is there, be it one that has ended and was not waited for.
    pub fn exists(self) -> bool {
        // SAFETY: signal 0 only asks.
        unsafe { libc::kill(-self.0, 0) == 0 }
    }

    /// As [`Self::exists`], without those that have ended. Only for after the leader was waited for:
    /// its exit status would be lost.
    fn has_orphans(self) -> bool {
        // SAFETY: a null status is allowed; only children of ours in this group are waited for.
        while unsafe { libc::waitpid(-self.0, std::ptr::null_mut(), libc::WNOHANG) } > 0 {}
        self.exists()
    }

    /// Ends what the command left behind, after its leader was waited for: `linger` to end by itself,
    /// `grace` to end on request, and not a moment more. Returns whether anything had to be told.
    pub async fn clear(self, linger: Duration, grace: Duration) -> bool {
        if self.gone_within(linger).await {
            return false;
        }
        self.terminate();
        if !self.gone_within(grace).await {
            self.signal(libc::SIGKILL);
        }
        true
    }

    async fn gone_within(self, span: Duration) -> bool {
        let deadline = Instant::now() + span;
        // Nothing tells when a process that is not our own child ends, so it has to be asked for.
        let mut pause = Duration::from_millis(1);
        while self.has_orphans() {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
        true
    }
}

/// Makes this process the parent of its orphaned descendants, so that those which have ended do not look
/// alive for want of anybody who waits for them: in a container often nobody does.
#[cfg(target_os = "linux")]
pub fn adopt_orphans() {
    // SAFETY: takes plain numbers. Failing is of no consequence.
    unsafe {
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    }
}

/// Elsewhere init does it.
#[cfg(not(target_os = "linux"))]
pub fn adopt_orphans() {}

/// A signal's name: `SIGKILL`.
pub fn signal_name(signal: i32) -> Cow<'static, str> {
    Cow::Borrowed(match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGSYS => "SIGSYS",
        other => return Cow::Owned(format!("signal {other}")),
    })
}
