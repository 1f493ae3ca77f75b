//! `longhaul exec` as a process of its own: what only shows where nothing else shares the process.

use std::path::Path;
use std::process::{Command, Output};

/// Runs a shell script under `exec` with a token in the environment and no server anywhere.
fn exec(folder: &Path, flags: &[&str], script: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_longhaul"))
        .args(["exec", "--drain", "0", "--spool", "spool"])
        .args(flags)
        .args(["--", "sh", "-c", script])
        .current_dir(folder)
        .env("LONGHAUL_TOKEN", "secret")
        .env_remove("LONGHAUL_SERVER")
        .env_remove("LONGHAUL_CONFIG")
        .output()
        .expect("exec does not start")
}

/// Nobody listens at this port: only the system may.
const NOBODY: [&str; 2] = ["--server", "http://127.0.0.1:1"];

#[cfg(target_os = "linux")]
#[test]
fn orphans_that_have_ended_do_not_pile_up_while_the_command_runs() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
        for i in 1 2 3 4 5; do (true &); (setsid true &); done
        for i in 1 2 3 4 5 6 7 8 9 10; do
            sleep 0.5
            left=$(cat /proc/[0-9]*/stat 2>/dev/null | grep -c ") Z $PPID ")
            [ "$left" = 0 ] && exit 9
        done"#;
    let run = exec(folder.path(), &NOBODY, script);
    assert_eq!(run.status.code(), Some(9), "{run:?}");
}

#[test]
fn the_token_is_not_in_the_commands_environment_unless_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let script = "echo ${LONGHAUL_TOKEN-none}";
    assert_eq!(exec(folder.path(), &NOBODY, script).stdout, b"none\n");
    let kept = [NOBODY[0], NOBODY[1], "--keep-token"];
    assert_eq!(exec(folder.path(), &kept, script).stdout, b"secret\n");
}

#[test]
fn a_settings_file_that_happens_to_lie_there_is_passed_over_but_its_server_is_not_told_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("longhaul.toml");
    std::fs::write(&file, "[of]\nanother = \"program\"\n").unwrap();
    let run = exec(folder.path(), &NOBODY, "exit 7");
    assert_eq!(run.status.code(), Some(7), "{run:?}");
    assert!(String::from_utf8_lossy(&run.stderr).contains("going on without it"), "{run:?}");
    std::fs::write(&file, "server = \"http://127.0.0.1:1\"\n").unwrap();
    let run = exec(folder.path(), &[], "exit 7");
    assert_eq!(run.status.code(), Some(125), "{run:?}");
    assert!(String::from_utf8_lossy(&run.stderr).contains("--config"), "{run:?}");
    let run = exec(folder.path(), &["--config", "longhaul.toml"], "exit 7");
    assert_eq!(run.status.code(), Some(7), "{run:?}");
}

/// A write to a full pipe cannot be taken back: nothing may depend on one.
#[cfg(target_os = "linux")]
#[test]
fn exec_ends_with_its_command_though_nobody_reads_what_it_says() {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::process::Stdio;

    let folder = tempfile::tempdir().unwrap();
    let (_reader, mut full) = std::io::pipe().unwrap();
    // SAFETY: touches no memory. The pipe takes as little as it can, and is then filled to the brim.
    let size = unsafe { libc::fcntl(full.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) };
    full.write_all(&vec![b'x'; usize::try_from(size).unwrap()]).unwrap();
    let mut run = Command::new(env!("CARGO_BIN_EXE_longhaul"))
        .args(["exec", "--drain", "0", "--spool", "spool", "--server", "http://127.0.0.1:1", "--"])
        .args(["sh", "-c", "exit 5"])
        .current_dir(folder.path())
        .stderr(Stdio::from(full))
        .spawn()
        .unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(15);
    let code = loop {
        match run.try_wait().unwrap() {
            Some(status) => break status.code(),
            None if std::time::Instant::now() > deadline => {
                run.kill().unwrap();
                panic!("exec waits for whoever reads its notices");
            }
            None => std::thread::sleep(std::time::Duration::from_millis(20)),
        }
    };
    assert_eq!(code, Some(5));
}
