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
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::Instant;

/// The processes of a command.
#[derive(Clone, Copy, Debug)]
pub struct Group(libc::pid_t);

/// Starts a command as the leader of a session of its own. It reads what `exec` would read, and finds our
/// environment without the variable that is `hidden` from it.
///
/// # Errors
/// Where there is no such program, or the system does not run it.
pub fn spawn(
    command: &[OsString],
    hidden: Option<&str>,
    out: PipeWriter,
    err: PipeWriter,
) -> io::Result<(Child, Group)> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no command was given"));
    };
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::from(out)).stderr(Stdio::from(err));
    if let Some(name) = hidden {
        command.env_remove(name);
    }
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
    /// Sends a signal to every process of the session. That there is none left is fine.
    pub fn signal(self, signal: i32) {
        // Whoever is told may have made a new group meanwhile, but not for ever: one that only runs away
        // from us is not worth a loop without an end.
        const MOST_ROUNDS: usize = 16;
        let mut told = BTreeSet::new();
        let mut groups = BTreeSet::from([self.0]);
        for _ in 0..MOST_ROUNDS {
            for group in &groups {
                // SAFETY: touches no memory of ours. The group is of our own child's session, and never 0
                // or 1.
                unsafe {
                    libc::kill(-group, signal);
                }
            }
            told.append(&mut groups);
            let living = session::of(self.0).unwrap_or_default().into_iter();
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

    /// Whether any process of the session is there, be it one that has ended and was not waited for.
    pub fn exists(self) -> bool {
        self.leads() || session::of(self.0).is_some_and(|members| !members.is_empty())
    }

    /// Whether the leader's own group is there, with or without the leader.
    fn leads(self) -> bool {
        // SAFETY: signal 0 only asks.
        unsafe { libc::kill(-self.0, 0) == 0 }
    }

    /// As [`Self::exists`], without those that have ended. Only for after the leader was waited for:
    /// its exit status would be lost.
    fn has_orphans(self) -> bool {
        // SAFETY: a null status is allowed; only children of ours in this group are waited for.
        while unsafe { libc::waitpid(-self.0, std::ptr::null_mut(), libc::WNOHANG) } > 0 {}
        match session::of(self.0) {
            Some(members) => members.iter().any(|member| !member.has_ended),
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
            while let Some(child) = ended_child().filter(|child| *child != self.0) {
                // SAFETY: a null status is allowed. The child has ended, and is not the one whose status
                // is of interest.
                if unsafe { libc::waitpid(child, std::ptr::null_mut(), libc::WNOHANG) } <= 0 {
                    break;
                }
            }
        }
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

/// A child that has ended, which stays as it is.
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

/// A process of a session.
struct Member {
    group: libc::pid_t,
    /// Nobody has waited for it yet.
    has_ended: bool,
}

/// Who is in a session. There is no call that asks.
#[cfg(target_os = "linux")]
mod session {
    use super::Member;

    /// The members of the session that `leader` leads or led. `None` where `/proc` is not there, or is not
    /// that of the processes we see.
    pub fn of(leader: libc::pid_t) -> Option<Vec<Member>> {
        let own = std::fs::read_link("/proc/self").ok()?;
        if own.to_str()?.parse() != Ok(std::process::id()) {
            return None;
        }
        let processes = std::fs::read_dir("/proc").ok()?.flatten();
        let members = processes.filter_map(|process| {
            let name = process.file_name();
            name.to_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))?;
            // One that cannot be read has ended meanwhile, or is none that we could signal.
            let stat = std::fs::read(process.path().join("stat")).ok()?;
            member(&stat, leader)
                .filter(|_| name.to_str().and_then(|pid| pid.parse().ok()).is_some_and(is_ours))
        });
        Some(members.collect())
    }

    /// Whether we may signal it. One that became another user is left alone, and not waited for.
    fn is_ours(process: libc::pid_t) -> bool {
        // SAFETY: signal 0 only asks.
        let asked = unsafe { libc::kill(process, 0) };
        asked == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::EPERM)
    }

    /// Reads a line of `/proc/PID/stat`: the name, in parentheses and of any bytes, then the state, the
    /// parent, the group, the session, and further on how many threads there are. The state is that of the
    /// first thread, which may have ended before the others.
    pub(super) fn member(stat: &[u8], leader: libc::pid_t) -> Option<Member> {
        let name_ends = stat.iter().rposition(|byte| *byte == b')')?;
        let mut fields = std::str::from_utf8(&stat[name_ends + 1..]).ok()?.split_ascii_whitespace();
        let has_ended = matches!(fields.next()?, "Z" | "X" | "x");
        let mut number = |skipped: usize| fields.nth(skipped)?.parse::<libc::pid_t>().ok();
        let (group, session) = (number(1)?, number(0)?);
        (session == leader).then(|| Member { group, has_ended: has_ended && number(13) <= Some(1) })
    }
}

/// Elsewhere nobody says.
#[cfg(not(target_os = "linux"))]
mod session {
    pub fn of(_: libc::pid_t) -> Option<Vec<super::Member>> {
        None
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_hidden_from_the_command_is_not_in_its_environment() {
        let name = "CARGO_PKG_NAME";
        assert!(std::env::var_os(name).is_some(), "the test would be for nothing");
        for (hidden, seen) in [(None, "longhaul\n"), (Some(name), "none\n")] {
            let (mut out, out_end) = io::pipe().unwrap();
            let (_err, err_end) = io::pipe().unwrap();
            let command = ["sh", "-c", "echo ${CARGO_PKG_NAME-none}"].map(OsString::from);
            let (mut child, _) = spawn(&command, hidden, out_end, err_end).unwrap();
            assert!(child.wait().await.unwrap().success());
            assert_eq!(io::read_to_string(&mut out).unwrap(), seen);
        }
    }

    #[test]
    fn a_process_is_recognised_whatever_its_name() {
        let of =
            |stat: &str| session::member(stat.as_bytes(), 7).map(|member| (member.group, member.has_ended));
        assert_eq!(of("12 (sleep) S 1 9 7 0 -1"), Some((9, false)));
        assert_eq!(of("12 (a) S 1 2 3 (x) Z 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 9"), Some((7, true)));
        assert_eq!(of("12 (main) Z 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 5 0 9"), Some((7, false)));
        assert_eq!(of("12 (sleep) S 7 7 8 0 -1"), None);
        assert_eq!(of("12 (sleep"), None);
    }
}
