//! Takes a secret out of what this process shows of its environment and of its command line.
//!
//! The system shows the environment a process began with, in `/proc/PID/environ`, to every process of the same
//! user, and its arguments, in `/proc/PID/cmdline`, to everybody: the command could read there what was kept out of
//! its own environment. Removing a variable leaves the text where it was, so it is written over, and so is an
//! argument. Until then, for the first milliseconds of the process, both could be read.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// Takes the value of a variable, which nobody finds in the environment any more. Only for the beginning of the
/// program, while it has one thread.
pub fn take(name: &str) -> Option<String> {
    let value = std::env::var(name).ok()?;
    if !value.is_empty() {
        hidden(&overwrite(Shown::Environment, 0, |environment| values(environment, name)));
    }
    Some(value)
}

/// Takes the value of an option out of the command line, `--token VALUE` and `--token=VALUE` alike. What stands behind
/// `--` is the command's own. Only for the beginning of the program, after its arguments were read.
pub fn hide_argument(value: &str) {
    if !value.is_empty() {
        hidden(&overwrite(Shown::Arguments, b'*', |arguments| option_values(arguments, value)));
    }
}

/// Where that failed, second best: nobody but root may look.
fn hidden(done: &io::Result<()>) {
    #[cfg(target_os = "linux")]
    if done.is_err() {
        let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    }
    // Other systems show less of it, and in other ways.
    #[cfg(not(target_os = "linux"))]
    let _ = done;
}

/// What the system shows of a process.
#[derive(Clone, Copy)]
enum Shown {
    Arguments,
    Environment,
}

impl Shown {
    /// The file that shows it.
    fn path(self) -> &'static str {
        match self {
            Self::Arguments => "/proc/self/cmdline",
            Self::Environment => "/proc/self/environ",
        }
    }

    /// The field of `/proc/PID/stat` that says where it begins, counted from 1.
    fn field(self) -> usize {
        match self {
            Self::Arguments => 48,
            Self::Environment => 50,
        }
    }
}

/// Writes `with` over parts of it (where they begin, how long they are) where the system looks for it.
fn overwrite(shown: Shown, with: u8, parts: impl FnOnce(&[u8]) -> Vec<(usize, usize)>) -> io::Result<()> {
    let mut text = Vec::new();
    File::open(shown.path())?.read_to_end(&mut text)?;
    let parts = parts(&text);
    if parts.is_empty() {
        return Ok(());
    }
    let stat = std::fs::read("/proc/self/stat")?;
    let begin =
        begins(&stat, shown.field()).ok_or_else(|| io::Error::other("the system does not say where"))?;
    let memory = OpenOptions::new().write(true).open("/proc/self/mem")?;
    for (at, length) in parts {
        memory.write_all_at(&vec![with; length], begin + at as u64)?;
    }
    Ok(())
}

/// An address in a line of `/proc/PID/stat`, by its field. The second is the name, in parentheses.
fn begins(stat: &[u8], field: usize) -> Option<u64> {
    let name_ends = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(&stat[name_ends + 1..]).ok()?;
    fields.split_ascii_whitespace().nth(field - 3)?.parse().ok().filter(|address| *address > 0)
}

/// Where a value of an option lies among arguments, and how long it is.
fn option_values(arguments: &[u8], value: &str) -> Vec<(usize, usize)> {
    let (mut found, mut at) = (Vec::new(), 0);
    for (place, argument) in arguments.split(|byte| *byte == 0).enumerate() {
        if argument == b"--" {
            break;
        }
        let before = argument.strip_suffix(value.as_bytes());
        let is_value = before
            .is_some_and(|before| before.is_empty() || (before.starts_with(b"-") && before.ends_with(b"=")));
        // The first is the program's own name.
        if place > 0 && is_value {
            found.push((at + argument.len() - value.len(), value.len()));
        }
        at += argument.len() + 1;
    }
    found
}

/// Where the values of a variable lie, and how long they are.
fn values(environment: &[u8], name: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    for entry in environment.split(|byte| *byte == 0) {
        if let Some(value) = entry.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")) {
            found.push((at + entry.len() - value.len(), value.len()));
        }
        at += entry.len() + 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_the_whole_name() {
        let environment = b"A=1\0TOKEN=abc\0MY_TOKEN=x\0TOKENS=y\0TOKEN=\0TOKEN=d=e\0";
        assert_eq!(values(environment, "TOKEN"), [(10, 3), (40, 0), (47, 3)]);
        assert_eq!(values(b"", "TOKEN"), []);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_says_where_the_environment_begins() {
        for shown in [Shown::Arguments, Shown::Environment] {
            assert!(begins(&std::fs::read("/proc/self/stat").unwrap(), shown.field()).is_some());
            assert_eq!(begins(b"1 (x) S 1 2", shown.field()), None);
        }
    }

    #[test]
    fn an_options_value_is_found_before_the_command_and_nowhere_else() {
        let arguments =
            b"abc\0exec\0--token\0abc\0--token=abc\0--title=xabc\0abc=abc\0--\0curl\0abc\0--token=abc\0";
        assert_eq!(option_values(arguments, "abc"), [(17, 3), (29, 3)]);
        assert_eq!(option_values(b"", "abc"), []);
    }
}
