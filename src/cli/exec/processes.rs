//! The processes of this machine, as `/proc` shows them: who started whom, who is in which session, and
//! who holds a pipe. There is no call that asks for any of it. Elsewhere than on Linux nobody says.

use std::collections::BTreeSet;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// The name of its program, as far as the system keeps it: fifteen bytes.
    pub name: String,
    /// Who started it, or took it over.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// Its session.
    pub session: i32,
    /// It has ended, and nobody has waited for it yet; or it is about to, and has closed its files.
    pub has_ended: bool,
}

/// The system's flag for a thread that is about to end.
const EXITING: i64 = 0x4;

impl Process {
    /// Reads a line of `/proc/PID/stat`: the number, the name, in parentheses and of any bytes, then the
    /// state, the parent, the group, the session, and further on flags and how many threads there are. State
    /// and flags are those of the first thread, which may have ended before the others.
    pub fn read(stat: &[u8]) -> Option<Self> {
        let name_begins = stat.iter().position(|byte| *byte == b'(')?;
        let name_ends = stat.iter().rposition(|byte| *byte == b')').filter(|end| *end > name_begins)?;
        let pid = std::str::from_utf8(&stat[..name_begins]).ok()?.trim().parse().ok()?;
        let name = String::from_utf8_lossy(&stat[name_begins + 1..name_ends]).into_owned();
        let mut fields = std::str::from_utf8(&stat[name_ends + 1..]).ok()?.split_ascii_whitespace();
        let has_ended = matches!(fields.next()?, "Z" | "X" | "x");
        let mut number = |skipped: usize| fields.nth(skipped)?.parse::<i64>().ok();
        let mut id = || number(0).and_then(|id| i32::try_from(id).ok());
        let (parent, group, session) = (id()?, id()?, id()?);
        let is_ending = number(2).is_some_and(|flags| flags & EXITING != 0);
        let has_ended = (has_ended || is_ending) && number(10) <= Some(1);
        Some(Self { pid, name, parent, group, session, has_ended })
    }
}

/// All processes there are. `None` where `/proc` is not there, or is not that of the processes we see.
#[cfg(target_os = "linux")]
pub fn all() -> Option<Vec<Process>> {
    let own = std::fs::read_link("/proc/self").ok()?;
    if own.to_str()?.parse() != Ok(std::process::id()) {
        return None;
    }
    let processes = std::fs::read_dir("/proc").ok()?.flatten().filter_map(|process| {
        let name = process.file_name();
        name.to_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))?;
        // One that cannot be read has ended meanwhile.
        Process::read(&std::fs::read(process.path().join("stat")).ok()?)
    });
    Some(processes.collect())
}

/// Elsewhere nobody says.
#[cfg(not(target_os = "linux"))]
pub fn all() -> Option<Vec<Process>> {
    None
}

/// Those among `all` that `of` started, and those that these started, and so on.
pub fn descendants(all: &[Process], of: i32) -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    let mut new = vec![of];
    while let Some(parent) = new.pop() {
        for child in all.iter().filter(|process| process.parent == parent && process.pid != of) {
            if found.insert(child.pid) {
                new.push(child.pid);
            }
        }
    }
    found
}

/// Whether a process has one of these pipes open, by their inodes. One whose files we may not see does not.
pub fn holds(process: i32, pipes: &[u64]) -> bool {
    let Ok(files) = std::fs::read_dir(format!("/proc/{process}/fd")) else { return false };
    files.flatten().filter_map(|file| std::fs::read_link(file.path()).ok()).any(|target| {
        let inode = target.to_str().and_then(|target| target.strip_prefix("pipe:[")?.strip_suffix(']'));
        inode.and_then(|inode| inode.parse().ok()).is_some_and(|inode| pipes.contains(&inode))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_recognised_whatever_its_name() {
        let of = |stat: &str| {
            Process::read(stat.as_bytes())
                .map(|process| (process.pid, process.group, process.session, process.has_ended))
        };
        assert_eq!(of("12 (sleep) S 1 9 7 0 -1"), Some((12, 9, 7, false)));
        assert_eq!(
            of("12 (a) S 1 2 3 (x) Z 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 9"),
            Some((12, 7, 7, true))
        );
        assert_eq!(of("12 (main) Z 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 5 0 9"), Some((12, 7, 7, false)));
        assert_eq!(of("12 (sh) R 1 7 7 0 -1 4194308 0 0 0 0 0 0 0 0 0 0 1 0"), Some((12, 7, 7, true)));
        assert_eq!(of("12 (sh) R 1 7 7 0 -1 4194308 0 0 0 0 0 0 0 0 0 0 2 0"), Some((12, 7, 7, false)));
        assert_eq!(Process::read(b"3 (a) b) S 1 2 3").map(|process| process.name), Some("a) b".to_owned()));
        for torn in ["12 (sleep", "", ")(", "12 (x) S 1 2", "x (x) S 1 2 3"] {
            assert_eq!(of(torn), None, "{torn}");
        }
    }

    #[test]
    fn descendants_are_found_through_those_between() {
        let process = |pid, parent| Process {
            pid,
            parent,
            name: String::new(),
            group: 0,
            session: 0,
            has_ended: false,
        };
        let all = [process(5, 4), process(4, 2), process(2, 1), process(3, 1), process(1, 0), process(6, 3)];
        assert_eq!(descendants(&all, 2), BTreeSet::from([4, 5]));
        assert_eq!(descendants(&all, 1), BTreeSet::from([2, 3, 4, 5, 6]));
        assert_eq!(descendants(&all, 6), BTreeSet::new());
        // A machine that is being looked at while it changes may show a circle.
        let circle = [process(1, 2), process(2, 1)];
        assert_eq!(descendants(&circle, 1), BTreeSet::from([2]));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn whoever_holds_a_pipe_is_found() {
        use std::os::unix::fs::MetadataExt;
        let (reader, _writer) = std::io::pipe().unwrap();
        let file = std::fs::File::from(std::os::fd::OwnedFd::from(reader));
        let inode = file.metadata().unwrap().ino();
        let own = std::process::id() as i32;
        assert!(holds(own, &[inode]) && !holds(own, &[]));
        assert!(all().unwrap().iter().any(|process| process.pid == own));
    }
}
