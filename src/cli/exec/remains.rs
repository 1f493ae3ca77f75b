//! What is left of a command once it has ended: who still runs, and who still holds its output.

use std::io::PipeReader;
use std::os::fd::AsFd;

use super::child::names;
use super::group::Group;
use super::processes::{self, Process};
use crate::model::Level;

/// What a command left running.
#[derive(Debug, Default, PartialEq)]
pub struct Remains {
    /// Those that hold its output.
    pub holding: Vec<Process>,
    /// Those that do not.
    pub others: Vec<Process>,
    /// Somebody holds its output, but who cannot be seen.
    pub unseen: bool,
}

impl Remains {
    /// Looks who is left, of a command's session and of what else it started. `open` are the outputs that
    /// are still written to. Where `alone`, whatever descends from this process is the command's.
    pub fn of(group: Group, open: &[PipeReader], alone: bool) -> Self {
        let all = processes::all().unwrap_or_default();
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        let descendants = if alone { processes::descendants(&all, own) } else { Default::default() };
        let pipes: Vec<u64> =
            open.iter().filter_map(|pipe| Some(rustix::fs::fstat(pipe.as_fd()).ok()?.st_ino)).collect();
        let mut remains = Self::default();
        for process in all.into_iter().filter(|process| !process.has_ended && process.pid != own) {
            if !pipes.is_empty() && processes::holds(process.pid, &pipes) {
                remains.holding.push(process);
            } else if process.session == group.leader() || descendants.contains(&process.pid) {
                remains.others.push(process);
            }
        }
        remains.unseen = !open.is_empty() && remains.holding.is_empty();
        remains
    }

    /// What the job's log is told of them. `ordered` says that the command was to end, with everything it
    /// started.
    pub fn remark(&self, ordered: bool) -> Option<(Level, String)> {
        let everybody: Vec<Process> = self.holding.iter().chain(&self.others).cloned().collect();
        let names = names(&everybody);
        let (begin, end) = match (ordered, everybody.is_empty(), self.unseen) {
            (_, true, false) => return None,
            (false, true, true) => ("Something that cannot be seen from here still runs", String::new()),
            (true, true, true) => {
                ("Something that cannot be seen from here was not reached and still runs", String::new())
            }
            (false, false, _) => ("The command left running in the background: ", names),
            (true, false, _) => ("Not reached when the command was stopped, and still running: ", names),
        };
        let level = if ordered || self.holds_output() { Level::Warning } else { Level::Info };
        let lost = if self.holds_output() { self.lost_output() } else { String::new() };
        Some((level, format!("{begin}{end}{lost}")))
    }

    /// Whether anything that is still printed is lost.
    pub fn holds_output(&self) -> bool {
        self.unseen || !self.holding.is_empty()
    }

    fn lost_output(&self) -> String {
        let some = !self.others.is_empty() && !self.holding.is_empty();
        let who = if some { format!(" by {}", names(&self.holding)) } else { String::new() };
        format!(". What is still printed{who} is not recorded")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32) -> Process {
        Process { pid, name: "cron".to_owned(), parent: 1, group: pid, session: pid, has_ended: false }
    }

    #[test]
    fn what_is_left_is_named() {
        let remark = |holding: &[i32], others: &[i32], unseen, ordered| {
            let of = |pids: &[i32]| pids.iter().copied().map(process).collect();
            Remains { holding: of(holding), others: of(others), unseen }.remark(ordered)
        };
        assert_eq!(remark(&[], &[], false, false), None);
        assert_eq!(remark(&[], &[], false, true), None);
        assert_eq!(
            remark(&[], &[7], false, false),
            Some((Level::Info, "The command left running in the background: cron (7)".to_owned()))
        );
        assert_eq!(
            remark(&[5], &[7], false, false),
            Some((
                Level::Warning,
                "The command left running in the background: cron (5), cron (7). What is still printed by cron (5) is not recorded".to_owned()
            ))
        );
        assert_eq!(
            remark(&[5], &[], false, true),
            Some((
                Level::Warning,
                "Not reached when the command was stopped, and still running: cron (5). What is still printed is not recorded".to_owned()
            ))
        );
        let (level, text) = remark(&[], &[], true, false).unwrap();
        assert!(level == Level::Warning && text.contains("cannot be seen"), "{text}");
    }
}
