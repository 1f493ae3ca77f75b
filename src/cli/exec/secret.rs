//! Takes a secret out of what this process shows of its environment.
//!
//! The system shows the environment a process began with, in `/proc/PID/environ`, to every process of the same
//! user: the command could read there what was kept out of its own. Removing the variable leaves the text where
//! it was, so it is written over.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// Takes the value of a variable, which nobody finds in the environment any more. Only for the beginning of the
/// program, while it has one thread.
pub fn take(name: &str) -> Option<String> {
    let value = std::env::var(name).ok()?;
    if cfg!(target_os = "linux") && !value.is_empty() && overwrite(name).is_err() {
        // Second best: nobody but root may look.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    }
    Some(value)
}

/// Writes over the value where the system looks for it.
fn overwrite(name: &str) -> io::Result<()> {
    let mut environment = Vec::new();
    File::open("/proc/self/environ")?.read_to_end(&mut environment)?;
    let stat = std::fs::read("/proc/self/stat")?;
    let begin = begins(&stat).ok_or_else(|| io::Error::other("the system does not say where"))?;
    let memory = OpenOptions::new().write(true).open("/proc/self/mem")?;
    for (at, length) in values(&environment, name) {
        memory.write_all_at(&vec![0; length], begin + at as u64)?;
    }
    Ok(())
}

/// Where the environment begins, by a line of `/proc/PID/stat`: its fiftieth field, the second being the name,
/// in parentheses.
fn begins(stat: &[u8]) -> Option<u64> {
    let name_ends = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(&stat[name_ends + 1..]).ok()?;
    fields.split_ascii_whitespace().nth(50 - 3)?.parse().ok().filter(|address| *address > 0)
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
        assert!(begins(&std::fs::read("/proc/self/stat").unwrap()).is_some());
        assert_eq!(begins(b"1 (x) S 1 2"), None);
    }
}
