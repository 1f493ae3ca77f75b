//! The command and everything it starts, as one group that can be signalled.
//!
//! The command leads a session of its own, not just a process group: one that reads from the terminal
//! would otherwise be stopped for doing so in the background. Given up: programs below it find no
//! terminal to ask for a password on. A daemon that leaves the session on purpose is left alone.
//!
//! Within the session programs make process groups of their own: `timeout` does, and a shell with job
//! control. The system signals groups, not sessions, so on Linux the groups are looked up in `/proc`.
//! Elsewhere only the leader's own group is reached.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, PipeWriter};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{self, Pid, WaitOptions};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::processes::{self, Process};
use super::{inherited, signals};

/// The processes of a command.
#[derive(Clone, Copy, Debug)]
pub struct Group(libc::pid_t);

/// Starts a command as the leader of a session of its own. It reads what `exec` would read, and finds our
/// environment with this `variable`, or without it.
///
/// # Errors
/// Where there is no such program, or the system does not run it.
pub fn spawn(
    command: &[OsString],
    (variable, value): (&str, Option<&str>),
    output: Output,
) -> io::Result<(Child, Group)> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no command was given"));
    };
    let mut command = Command::new(program);
    command.args(arguments);
    match output {
        Output::Pipes(out, err) => {
            command.stdout(Stdio::from(out)).stderr(Stdio::from(err));
        }
        Output::Ours { quiet: false } => {}
        Output::Ours { quiet: true } => {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
    }
    match value {
        Some(value) => command.env(variable, value),
        None => command.env_remove(variable),
    };
    let ignores_pipe = inherited::pipe_was_ignored();
    // SAFETY: between fork and exec only what is safe in a signal handler may be called; setsid and signal are,
    // and nothing else is done.
    unsafe {
        command.pre_exec(move || {
            if ignores_pipe {
                signals::ignore_pipe();
            }
            process::setsid().map(drop).map_err(io::Error::from)
        });
    }
    let child = command.spawn()?;
    let leader = child
        .id()
        .and_then(|id| libc::pid_t::try_from(id).ok())
        .ok_or_else(|| io::Error::other("the command has no process id"))?;
    Ok((child, Group(leader)))
}

/// Where a command's output goes.
pub enum Output {
    /// Into pipes of ours: standard output and standard error.
    Pipes(PipeWriter, PipeWriter),
    /// Where ours goes, or nowhere.
    Ours {
        /// Nowhere.
        quiet: bool,
    },
}

/// Makes this process the command, as if there had been no `exec`. Comes back only where that is not possible.
pub fn become_command(command: &[OsString], (variable, value): (&str, Option<&str>)) -> io::Error {
    let Some((program, arguments)) = command.split_first() else {
        return io::Error::new(io::ErrorKind::NotFound, "no command was given");
    };
    let mut command = std::process::Command::new(program);
    command.args(arguments);
    match value {
        Some(value) => command.env(variable, value),
        None => command.env_remove(variable),
    };
    if inherited::pipe_was_ignored() {
        // SAFETY: it runs in this very process, right before that becomes the command.
        unsafe {
            command.pre_exec(|| {
                signals::ignore_pipe();
                Ok(())
            });
        }
    }
    command.exec()
}

/// Whether an error says that the machine has no room for another process, thread or file.
pub fn has_no_room(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE))
}

impl Group {
    /// The leader's process.
    pub fn leader(self) -> i32 {
        self.0
    }

    /// Sends a signal to the leader alone, which must not have been waited for.
    pub fn signal_leader(self, signal: i32) {
        send(self.0, signal);
    }

    /// Sends a signal to every process of the session. That there is none left is fine.
    pub fn signal(self, signal: i32) {
        // Whoever is told may have made a new group meanwhile, but not for ever: one that only runs away
        // from us is not worth a loop without an end.
        const MOST_ROUNDS: usize = 16;
        let mut told = BTreeSet::new();
        let mut groups = BTreeSet::from([self.0]);
        for _ in 0..MOST_ROUNDS {
            for group in &groups {
                // The group is of our own child's session, and never 0 or 1.
                send(-group, signal);
            }
            told.append(&mut groups);
            let living = self.members().unwrap_or_default().into_iter().filter(|member| is_ours(member.pid));
            groups.extend(
                living.map(|member| member.group).filter(|group| *group > 1 && !told.contains(group)),
            );
            if groups.is_empty() {
                return;
            }
        }
    }

    /// Asks every process to end, also one that is stopped.
    pub fn terminate(self) {
        self.signal(libc::SIGTERM);
        self.signal(libc::SIGCONT);
    }

    /// The processes of the session, those included that have ended and were not waited for, and those that
    /// became another user. `None` where nobody says.
    pub fn members(self) -> Option<Vec<Process>> {
        let mut all = processes::all()?;
        all.retain(|process| process.session == self.0);
        Some(all)
    }

    /// Whether the leader's own group is there, with or without the leader.
    fn leads(self) -> bool {
        Pid::from_raw(self.0).is_some_and(|leader| process::test_kill_process_group(leader).is_ok())
    }

    /// Whether anything of the session lives that we may signal. Only for after the leader was waited for:
    /// its exit status would be lost.
    fn has_orphans(self) -> bool {
        // Only children of ours in this group are waited for.
        if let Some(leader) = Pid::from_raw(self.0) {
            while let Ok(Some(_)) = process::waitpgid(leader, WaitOptions::NOHANG) {}
        }
        match self.members() {
            Some(members) => members.iter().any(|member| !member.has_ended && is_ours(member.pid)),
            None => self.leads(),
        }
    }

    /// Waits, every now and then and without end, for those processes that were left to us by their
    /// parents and have ended. Each holds a place in the system's table until somebody does, and a command
    /// may leave thousands. Only where this process has no children but the leader and what it left.
    pub async fn bury(self) {
        const EVERY: Duration = Duration::from_secs(1);
        loop {
            tokio::time::sleep(EVERY).await;
            while let Some(child) = ended_child().filter(|child| *child != self.0).and_then(Pid::from_raw) {
                // The child has ended, and is not the one whose status is of interest.
                if !matches!(process::waitpid(Some(child), WaitOptions::NOHANG), Ok(Some(_))) {
                    break;
                }
            }
        }
    }

    /// Ends what the command left behind, after its leader was waited for: everything is asked to end, and
    /// what has not by `deadline`, or when `hurry` says so, is killed. Returns what had to be.
    pub async fn clear(self, deadline: Instant, hurry: impl Future<Output = ()>) -> Vec<Process> {
        if !self.has_orphans() {
            return Vec::new();
        }
        self.terminate();
        let gone = tokio::select! {
            gone = self.gone_by(deadline) => gone,
            () = hurry => false,
        };
        if gone {
            return Vec::new();
        }
        let killed = self.members().unwrap_or_default().into_iter().filter(|member| !member.has_ended);
        let killed = killed.filter(|member| is_ours(member.pid)).collect();
        self.signal(libc::SIGKILL);
        killed
    }

    async fn gone_by(self, deadline: Instant) -> bool {
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

/// Sends a signal to a process, or to a group where the number is negative. That nobody is there, or that
/// it is somebody else's, is fine.
fn send(to: i32, signal: i32) {
    // SAFETY: touches no memory. rustix's calls take no real-time signals, which it leaves to libc.
    unsafe {
        libc::kill(to, signal);
    }
}

/// Whether we may signal it. One that became another user is left alone, and not waited for.
fn is_ours(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| process::test_kill_process(pid) != Err(rustix::io::Errno::PERM))
}

/// A child that has ended, which stays as it is. rustix's `waitid` does not tell which one it found.
fn ended_child() -> Option<libc::pid_t> {
    // SAFETY: siginfo_t is plain data for which all zeros is a valid value, and the call fills it in or
    // leaves it alone; the process id of what it tells of a child is where si_pid looks.
    let child = unsafe {
        let mut told: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        if libc::waitid(libc::P_ALL, 0, &raw mut told, flags) != 0 {
            return None;
        }
        told.si_pid()
    };
    Some(child).filter(|child| *child > 0)
}

/// Makes this process the parent of its orphaned descendants, so that those which have ended do not look
/// alive for want of anybody who waits for them: in a container often nobody does.
#[cfg(target_os = "linux")]
pub fn adopt_orphans() {
    // Any number says yes. Failing is of no consequence.
    let _ = process::set_child_subreaper(Some(process::getpid()));
}

/// Elsewhere init does it.
#[cfg(not(target_os = "linux"))]
pub fn adopt_orphans() {}

/// A signal's name: `SIGKILL`; its number too where few know the name: `signal 34 (SIGRTMIN)`.
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
        libc::SIGVTALRM => "SIGVTALRM",
        libc::SIGPROF => "SIGPROF",
        libc::SIGIO => "SIGIO",
        libc::SIGSYS => "SIGSYS",
        #[cfg(target_os = "linux")]
        libc::SIGSTKFLT => "SIGSTKFLT",
        #[cfg(target_os = "linux")]
        libc::SIGPWR => "SIGPWR",
        other => return Cow::Owned(numbered(other)),
    })
}

/// A signal without a name of its own. The real-time ones are counted from the nearer end, as `kill -l` does.
fn numbered(signal: i32) -> String {
    #[cfg(target_os = "linux")]
    {
        let (least, most) = (libc::SIGRTMIN(), libc::SIGRTMAX());
        if (least..=most).contains(&signal) {
            let (up, down) = (signal - least, most - signal);
            return match (up, down) {
                (0, _) => format!("signal {signal} (SIGRTMIN)"),
                (_, 0) => format!("signal {signal} (SIGRTMAX)"),
                _ if up <= down => format!("signal {signal} (SIGRTMIN+{up})"),
                _ => format!("signal {signal} (SIGRTMAX-{down})"),
            };
        }
    }
    format!("signal {signal}")
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_hidden_from_the_command_is_not_in_its_environment() {
        let name = "CARGO_PKG_NAME";
        assert!(std::env::var_os(name).is_some(), "the test would be for nothing");
        for (value, seen) in [(Some("kept"), "kept\n"), (None, "none\n")] {
            let (mut out, out_end) = io::pipe().unwrap();
            let (_err, err_end) = io::pipe().unwrap();
            let command = ["sh", "-c", "echo ${CARGO_PKG_NAME-none}"].map(OsString::from);
            let (mut child, _) = spawn(&command, (name, value), Output::Pipes(out_end, err_end)).unwrap();
            assert!(child.wait().await.unwrap().success());
            assert_eq!(io::read_to_string(&mut out).unwrap(), seen);
        }
    }

    #[test]
    fn signals_have_names_and_those_few_know_their_numbers_too() {
        let (least, most) = (libc::SIGRTMIN(), libc::SIGRTMAX());
        assert_eq!(signal_name(15), "SIGTERM");
        assert_eq!(signal_name(least), format!("signal {least} (SIGRTMIN)"));
        assert_eq!(signal_name(least + 3), format!("signal {} (SIGRTMIN+3)", least + 3));
        assert_eq!(signal_name(most - 1), format!("signal {} (SIGRTMAX-1)", most - 1));
        assert_eq!(signal_name(most), format!("signal {most} (SIGRTMAX)"));
        // Those below are the C library's own.
        assert_eq!(signal_name(32), "signal 32");
    }
}
