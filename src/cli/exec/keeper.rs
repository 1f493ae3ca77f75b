//! A small process that outlives `exec`, for what a command leaves in the background.
//!
//! Whoever still writes to the command's output when `exec` ends would die of SIGPIPE, or wait for ever on a
//! full pipe. The keeper holds the reading ends, throws away what comes, and ends with the last writer. It
//! holds nothing else: not the terminal, not the folder, none of `exec`'s own outputs, on whose end somebody
//! may wait.

use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// The argument that makes this program a keeper.
pub const ARGUMENT: &str = "hold-output";

/// Starts a keeper for pipes, of which there are two at most.
///
/// # Errors
/// Where the system has no room for another process. The pipes are still open then.
pub fn start(pipes: &[PipeReader]) -> io::Result<()> {
    let mut kept = pipes.iter().map(PipeReader::try_clone);
    let mut next = || kept.next().transpose().map(|pipe| pipe.map_or_else(Stdio::null, Stdio::from));
    let program = std::env::current_exe()?;
    let program = if cfg!(target_os = "linux") { "/proc/self/exe".into() } else { program };
    let child = Command::new(program)
        .arg0("longhaul")
        .arg(ARGUMENT)
        .env_clear()
        .current_dir("/")
        .stdin(next()?)
        .stdout(next()?)
        .stderr(Stdio::null())
        .spawn()?;
    // Nobody waits for it: it is there to stay.
    drop(child);
    Ok(())
}

/// The keeper itself: reads until nobody writes any more.
pub fn run() {
    // Signals for the group we were started in are for others.
    let _ = rustix::process::setsid();
    let ends = [io::stdin().as_fd().try_clone_to_owned(), io::stdout().as_fd().try_clone_to_owned()];
    hold(ends.into_iter().flatten().map(File::from).collect());
}

/// Reads until nobody writes any more.
pub fn hold(mut ends: Vec<File>) {
    let mut buffer = vec![0; 64 * 1024];
    while !ends.is_empty() {
        let mut polled: Vec<_> = ends.iter().map(|end| PollFd::new(end, PollFlags::IN)).collect();
        if poll(&mut polled, None).is_err_and(|error| error != Errno::INTR) {
            return;
        }
        let ready: Vec<_> = polled.iter().map(|one| !one.revents().is_empty()).collect();
        let mut ready = ready.into_iter();
        ends.retain_mut(|end| {
            !ready.next().unwrap_or(false)
                || match end.read(&mut buffer) {
                    Ok(length) => length > 0,
                    Err(error) => error.kind() == io::ErrorKind::Interrupted,
                }
        });
    }
}
