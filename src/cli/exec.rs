//! `longhaul exec`: runs any command as a job.
//!
//! The command never waits for Longhaul and never fails because of it. What it prints goes through at once
//! and into a spool on disk ([`spool`]); a task of its own brings the spool to the server ([`reporter`]).
//! Only the question whether the job may start at all is asked first, and for two seconds at most.
//!
//! ```text
//! command ─ pipes ─▶ pump (thread) ─▶ recorder ─▶ spool (file) ─▶ backlog ─▶ delivery (task) ─▶ server
//!                                                                           heartbeats (task) ◀▶
//! ```
//!
//! Each record bears the time of this machine's clock. The server believes it where it can be true, so what
//! was printed while the server was away has its own time.

mod args;
pub mod backlog;
mod begin;
pub mod child;
mod drain;
mod execution;
pub mod group;
mod heartbeats;
pub mod inherited;
pub mod keeper;
pub mod leftovers;
pub mod lines;
pub mod link;
pub mod masking;
pub mod medium;
pub mod notices;
pub mod phases;
pub mod processes;
pub mod progress;
pub mod pump;
pub mod reader;
pub mod record;
pub mod recorder;
pub mod redraws;
pub mod remains;
pub mod reporter;
pub mod request;
pub mod secret;
pub mod signals;
pub mod spool;
pub mod terminal;
pub mod undelivered;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};

pub use self::args::{ExecArgs, Refused, StderrLevel};
use self::begin::token;
use self::drain::drain_spool;
use self::execution::{LAST_WORDS, Surroundings, execute};
use self::notices::Notices;
use self::pump::Through;
use self::reporter::Pace;
use super::exit::{EXEC_CANNOT_RUN, EXEC_NOT_FOUND, EXEC_REFUSED, Exit};

/// Runs `longhaul exec`. Returns the exit code.
pub async fn run(args: ExecArgs) -> u8 {
    let notices = Notices::new(io::stderr());
    let code = run_with(&args, notices.clone()).await;
    notices.heard(LAST_WORDS).await;
    code
}

async fn run_with(args: &ExecArgs, notices: Notices) -> u8 {
    let pace = Pace::default();
    let taken = args.taken_token.as_deref();
    let client = if args.drain_spool {
        args.client.client_unless_found(taken, pace.patience)
    } else {
        args.client.client_in_any_folder(taken, pace.patience, |why| notices.say(why))
    };
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            notices.say(&error.to_string());
            return if args.drain_spool { Exit::Usage.code() } else { EXEC_REFUSED };
        }
    };
    let folder = spool::folder(args.spool.as_deref());
    if args.drain_spool {
        return drain_spool((folder.as_deref(), args.refused), &client, &notices, pace).await.code();
    }
    group::adopt_orphans();
    signals::survive_large_files();
    let through = |number, stream: io::Result<OwnedFd>| -> Through {
        if args.quiet {
            None
        } else if inherited::was_closed(number) {
            Some(Box::new(inherited::Closed))
        } else {
            stream.ok().map(|stream| Box::new(File::from(stream)) as _)
        }
    };
    let around = Surroundings {
        out: through(1, io::stdout().as_fd().try_clone_to_owned()),
        err: through(2, io::stderr().as_fd().try_clone_to_owned()),
        notices,
        signals: signals::of_process(),
        alone: true,
        keep: keeper::start,
        pace,
    };
    execute(args, client, folder, around).await
}

/// Runs the command as if there were no `exec`, because the machine has no room for it. Comes back only where
/// that is not possible either, with the exit code.
pub fn run_without(args: &ExecArgs, why: &io::Error) -> u8 {
    eprintln!("longhaul: the machine has no room for exec ({why}); the command runs as if it were not there");
    let error = group::become_command(&args.command, token(args));
    eprintln!("longhaul: Cannot run `{}`: {error}", request::program_of(&args.command));
    if error.kind() == ErrorKind::NotFound { EXEC_NOT_FOUND } else { EXEC_CANNOT_RUN }
}

/// How many threads `exec` may have of its own, beside those of the runtime.
pub const THREADS: usize = 5;
