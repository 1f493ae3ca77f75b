//! What this process was started with, that the standard library has changed by the time `main` runs: it ignores
//! SIGPIPE, and opens standard outputs that were closed. Somebody has to look earlier.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::signals;

static PIPE_WAS_IGNORED: AtomicBool = AtomicBool::new(false);
static WERE_CLOSED: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

/// Whether SIGPIPE was ignored.
pub fn pipe_was_ignored() -> bool {
    PIPE_WAS_IGNORED.load(Ordering::Relaxed)
}

/// Whether standard output (1) or standard error (2) was closed.
pub fn was_closed(output: usize) -> bool {
    WERE_CLOSED.get(output).is_some_and(|closed| closed.load(Ordering::Relaxed))
}

/// An output that was closed: whoever writes there is told so, as without `exec`.
pub struct Closed;

impl io::Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::from_raw_os_error(libc::EBADF))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(target_os = "linux")]
extern "C" fn look() {
    PIPE_WAS_IGNORED.store(signals::is_ignored(libc::SIGPIPE), Ordering::Relaxed);
    for (file, closed) in (0..).zip(&WERE_CLOSED) {
        // SAFETY: only asks, and touches no memory.
        closed.store(unsafe { libc::fcntl(file, libc::F_GETFD) } == -1, Ordering::Relaxed);
    }
}

// SAFETY: the loader calls what is in this section before `main`, with one thread. What is called asks the
// system and sets flags, and needs nothing of the standard library that `main` would have to prepare.
#[cfg(target_os = "linux")]
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;
