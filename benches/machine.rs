//! What is recorded beside each figure: the machine, the disk's speed at that moment, and which process
//! ran on which core.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The server's core and the load's.
pub const SERVER_CORE: &str = "0";
const LOAD_CORE: &str = "1";

/// All cores, as `taskset` names them.
pub fn all_cores() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cores = text.lines().filter(|line| line.starts_with("processor")).count();
    format!("0-{}", cores.max(1) - 1)
}

/// Keeps this process to the load's core, or lets it, and what it starts, have all.
pub fn keep_to_load_core(keep: bool) {
    let cores = if keep { LOAD_CORE.to_owned() } else { all_cores() };
    let process = std::process::id().to_string();
    let pinned = Command::new("taskset").args(["-acp", &cores, &process]).output();
    assert!(pinned.is_ok_and(|out| out.status.success()), "taskset (util-linux) is needed, and two cores");
}

fn line_of(file: &str, name: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
    found.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
}

/// The machine, for people and for files.
pub fn describe(folder: &Path) -> Value {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = all_cores();
    let system = Command::new("df").arg("--output=fstype").arg(folder).output();
    let system =
        system.map(|out| String::from_utf8_lossy(&out.stdout).lines().nth(1).unwrap_or("").to_owned());
    assert!(
        system.as_deref().is_ok_and(|system| system != "tmpfs"),
        "target/bench is memory, which cannot be synced"
    );
    json!({
        "processor": line_of("/proc/cpuinfo", "model name"),
        "cores": cores,
        "memory": line_of("/proc/meminfo", "MemTotal"),
        "kernel": kernel.trim(),
        "fileSystem": system.unwrap_or_default(),
        "load": std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim(),
    })
}

/// How long the disk takes to put four kilobytes onto itself, right now: the median of fifty.
pub fn sync_time(folder: &Path) -> Duration {
    let path = folder.join("sync");
    let mut file = File::create(&path).expect("the folder can be written");
    file.write_all(&[1; 4096]).and_then(|()| file.sync_all()).expect("a block is written");
    let mut times: Vec<Duration> = (0..50)
        .map(|_| {
            let begun = Instant::now();
            // In place: a file that grows needs its length written too.
            file.rewind().and_then(|()| file.write_all(&[7; 4096])).expect("a block is written");
            file.sync_data().expect("the disk syncs");
            begun.elapsed()
        })
        .collect();
    let _ = std::fs::remove_file(path);
    times.sort();
    times[25]
}

/// What a process holds in memory, in bytes: all of it, and what is its own alone.
pub fn memory_of(process: u32) -> (u64, u64) {
    let of = |name: &str| -> u64 {
        let text = line_of(&format!("/proc/{process}/status"), name);
        text.trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1_024
    };
    (of("VmRSS"), of("RssAnon"))
}

/// The most a process has held in memory since that was asked to be forgotten, in bytes.
pub fn peak_of(process: u32) -> u64 {
    let text = line_of(&format!("/proc/{process}/status"), "VmHWM");
    text.trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1_024
}

/// Lets what a process has held at most begin anew from what it holds.
pub fn forget_peak(process: u32) {
    std::fs::write(format!("/proc/{process}/clear_refs"), "5").expect("the peak is forgotten");
}

/// Lets this process open as many files as the system allows: thousands of connections.
pub fn open_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    raised.expect("the system lets files be opened");
}

/// How long a process has had a core, all its threads together.
pub fn core_time_of(process: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{process}/task"));
    let threads = threads.into_iter().flatten().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}
