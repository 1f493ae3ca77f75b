//! The exit codes. Scripts rely on them, so a number never changes its meaning.
//!
//! `exec` is the exception: it exits with its command's code. Where no command ran, it uses the numbers
//! that `env`, `timeout` and shells use in that case.

use std::process::ExitCode;

/// How a command ended, for the script that called it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// It did what was asked; the watched job completed; the system is healthy.
    Done = 0,
    /// The server refused, or the watched job did not complete.
    Failed = 1,
    /// The command line makes no sense. clap uses the same number.
    Usage = 2,
    /// No server answered.
    Unreachable = 3,
    /// Not signed in, or without the permission.
    NotAllowed = 4,
    /// `health`: something needs a person soon.
    Degraded = 5,
    /// `health`: something needs a person now.
    Critical = 6,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// `exec`: the command went well, but its output could not be written where `exec`'s goes. Most programs
/// that find this out themselves exit so.
pub const EXEC_NOT_WRITTEN: u8 = 1;
/// `exec` did not run the command: the job was refused, or the arguments were.
pub const EXEC_REFUSED: u8 = 125;
/// `exec` found the command, and could not run it.
pub const EXEC_CANNOT_RUN: u8 = 126;
/// `exec` did not find the command.
pub const EXEC_NOT_FOUND: u8 = 127;
/// `exec`: the command was killed by a signal, whose number is added.
pub const EXEC_SIGNALLED: u8 = 128;

/// The numbers, as `--help` prints them.
pub const HELP: &str = "\
Exit codes:
  0  done; for `jobs watch`: the job completed; for `health`: healthy
  1  refused, or the watched job did not complete
  2  the command line makes no sense
  3  no server answered
  4  not signed in, or not allowed
  5  `health`: degraded
  6  `health`: critical
`exec` exits as its command does: 125 where the job was refused, 126 where the command
could not be run, 127 where it was not found, 128 + N where signal N killed it; and 1 where
the command went well, but what it printed could not be written.";
