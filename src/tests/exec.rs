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
    // No mistake of whoever runs it, and no reason not to.
    let run = exec(folder.path(), &[], "exit 7");
    assert_eq!(run.status.code(), Some(7), "{run:?}");
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

#[cfg(target_os = "linux")]
#[test]
fn the_command_does_not_find_the_token_in_the_environment_of_exec() {
    let folder = tempfile::tempdir().unwrap();
    let script = "tr '\\0' '\\n' < /proc/$PPID/environ | grep -c -e '^PATH=' -e secret; echo $LONGHAUL_TOKEN";
    for (flags, expected) in
        [(&NOBODY[..], "1\n\n"), (&["--keep-token", NOBODY[0], NOBODY[1]][..], "1\nsecret\n")]
    {
        let run = exec(folder.path(), flags, script);
        assert_eq!(String::from_utf8_lossy(&run.stdout), expected, "{run:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_command_does_not_find_the_token_in_the_arguments_of_exec() {
    let folder = tempfile::tempdir().unwrap();
    // The arguments of exec, a line each, and what the command was given itself.
    let script = "tr '\\0' '\\n' < /proc/$PPID/cmdline | sed '/^--$/q'; echo ours $1";
    for typed in [&["--token", "typed-token"][..], &["--token=typed-token"]] {
        for from_around in ["secret", "typed-token"] {
            let run = Command::new(env!("CARGO_BIN_EXE_longhaul"))
                .args(["exec", "--drain", "0", "--spool", "spool"])
                .args(NOBODY)
                .args(typed)
                .args(["--", "sh", "-c", script, "sh", "typed-token"])
                .current_dir(folder.path())
                .env("LONGHAUL_TOKEN", from_around)
                .output()
                .unwrap();
            let (arguments, own) = (String::from_utf8_lossy(&run.stdout), "ours typed-token\n");
            let arguments = arguments.strip_suffix(own).expect("the command's own are its own");
            assert!(arguments.contains("--token") && arguments.contains("***********"), "{arguments}");
            assert!(!arguments.contains("typed-token"), "{arguments}");
        }
    }
    // A password in the address is refused, and nowhere to be read.
    let run = exec(folder.path(), &["--server", "http://me:hunter2@127.0.0.1:1"], "exit 7");
    assert_eq!(run.status.code(), Some(125));
    assert!(!String::from_utf8_lossy(&run.stderr).contains("hunter2"), "{run:?}");
}

#[test]
fn a_bad_token_or_address_from_around_keeps_nothing_from_running_and_a_bad_option_does() {
    let folder = tempfile::tempdir().unwrap();
    let run = |options: &[&str], variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longhaul"));
        command.args(["exec", "--spool", "spool"]).args(options).args(["--", "sh", "-c", "exit 7"]);
        command.current_dir(folder.path());
        for name in ["LONGHAUL_SERVER", "LONGHAUL_CONFIG", "LONGHAUL_TOKEN"] {
            command.env_remove(name);
        }
        let run = command.envs(variables.iter().copied()).output().unwrap();
        (run.status.code(), String::from_utf8_lossy(&run.stderr).into_owned())
    };
    for (variable, value, expected) in [
        ("LONGHAUL_TOKEN", "\u{feff}lh_abc", "byte-order mark"),
        ("LONGHAUL_TOKEN", "\"lh_abc\"", "quotation mark"),
        ("LONGHAUL_SERVER", "box.lan:3000", "not a server's address"),
        ("LONGHAUL_SERVER", "http://me:x@127.0.0.1:1", "name or a password"),
        ("LONGHAUL_CONFIG", "nowhere.toml", "nowhere.toml"),
    ] {
        let (code, said) = run(&[], &[(variable, value), ("HTTP_PROXY", "")]);
        assert_eq!(code, Some(7), "{variable}: {said}");
        assert!(said.contains(expected), "{said}");
    }
    for options in [["--server", "box.lan:3000"], ["--config", "nowhere.toml"]] {
        let (code, said) = run(&options, &[]);
        assert_eq!(code, Some(125), "{said}");
    }
}

#[test]
fn which_server_a_file_that_lies_there_sends_output_to_is_said_once() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("longhaul.toml"),
        "server = \"http://127.0.0.1:1\"\ntoken = \"theirs\"\n",
    )
    .unwrap();
    let said = String::from_utf8_lossy(&exec(folder.path(), &[], "exit 7").stderr).into_owned();
    assert_eq!(
        said.matches("goes to the server http://127.0.0.1:1, which the longhaul.toml").count(),
        1,
        "{said}"
    );
    let said = String::from_utf8_lossy(&exec(folder.path(), &NOBODY, "exit 7").stderr).into_owned();
    assert!(!said.contains("goes to the server"), "{said}");
}

fn longhaul(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longhaul"));
    command.current_dir(folder).env_remove("LONGHAUL_SERVER").env_remove("LONGHAUL_CONFIG");
    command.args(["exec", "--drain", "0", "--spool", "spool", "--server", "http://127.0.0.1:1"]);
    command
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// What the spool of the only run says.
fn spooled(folder: &Path) -> String {
    let spool = std::fs::read_dir(folder.join("spool")).unwrap().map(|entry| entry.unwrap().path());
    let spool = spool.filter(|path| path.extension().is_some_and(|ending| ending == "jsonl"));
    spool.map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

/// Whoever waits for the end of `exec`'s own outputs gets it with `exec`, and the background goes on.
#[cfg(target_os = "linux")]
#[test]
fn the_background_outlives_exec_though_it_goes_on_printing() {
    let folder = tempfile::tempdir().unwrap();
    let script = "(while [ ! -e go ] && [ -e . ]; do sleep 0.05; done; i=0; while [ $i -lt 30000 ]; do i=$((i+1)); echo line $i || exit; echo more >&2 || exit; done; touch mail) & exit 0";
    let run = longhaul(folder.path()).args(["--linger", "100ms", "--", "sh", "-c", script]).output().unwrap();
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert!(String::from_utf8_lossy(&run.stderr).contains("left running in the background: sh ("), "{run:?}");
    assert!(spooled(folder.path()).contains("left running in the background: sh ("));
    std::fs::write(folder.path().join("go"), "").unwrap();
    until("the background's work", || folder.path().join("mail").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_under_the_output_is_not_success() {
    for (name, script) in [("out", "seq 100000"), ("err", "seq 100000 >&2")] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = longhaul(folder.path());
        command.args(["--", "sh", "-c", script]);
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        match name {
            "out" => command.stdout(full),
            _ => command.stderr(full),
        };
        assert_eq!(command.status().unwrap().code(), Some(1), "{name}");
        assert!(spooled(folder.path()).contains("No space left on device"), "{name}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_limit_on_the_size_of_files_that_hits_the_spool_kills_nothing() {
    for (blocks, expected) in [(0, "20000"), (1, "20000"), (64, "20000")] {
        let folder = tempfile::tempdir().unwrap();
        let program = env!("CARGO_BIN_EXE_longhaul");
        let script = format!(
            "ulimit -f {blocks}; exec {program} exec --drain 0 --spool spool --server http://127.0.0.1:1 -- sh -c 'seq 20000; exit 4'"
        );
        let run = Command::new("sh").args(["-c", &script]).current_dir(folder.path()).output().unwrap();
        assert_eq!(run.status.code(), Some(4), "{blocks}: {}", String::from_utf8_lossy(&run.stderr));
        assert!(run.stdout.ends_with(format!("{expected}\n").as_bytes()), "{blocks}");
        // The command itself is not spared what it would have met without exec.
        let script = format!(
            "ulimit -f {blocks}; exec {program} exec --drain 0 --spool spool --server http://127.0.0.1:1 -- sh -c 'seq 20000 > file'"
        );
        let run = Command::new("sh").args(["-c", &script]).current_dir(folder.path()).output().unwrap();
        assert_eq!(run.status.code(), Some(153), "{blocks}: {}", String::from_utf8_lossy(&run.stderr));
    }
}

/// A machine that has no files left for `exec` has some for the command.
#[cfg(target_os = "linux")]
#[test]
fn the_command_runs_where_there_is_no_room_for_exec() {
    let program = env!("CARGO_BIN_EXE_longhaul");
    for files in [4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 32, 40] {
        let folder = tempfile::tempdir().unwrap();
        let script = format!(
            "ulimit -n {files}; exec {program} exec --drain 0 --spool spool --server http://127.0.0.1:1 -- sh -c 'echo hi; exit 3'"
        );
        let run = Command::new("sh").args(["-c", &script]).current_dir(folder.path()).output().unwrap();
        let said = String::from_utf8_lossy(&run.stderr);
        assert_eq!((run.status.code(), &run.stdout[..]), (Some(3), &b"hi\n"[..]), "{files}: {said}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_broken_pipes_signal_is_to_the_command_what_it_was_to_exec() {
    let folder = tempfile::tempdir().unwrap();
    for (trap, ignored) in [("trap '' PIPE", true), ("true", false)] {
        let program = env!("CARGO_BIN_EXE_longhaul");
        let script = format!(
            "{trap}; exec {program} exec --drain 0 --spool spool --server http://127.0.0.1:1 -- grep SigIgn /proc/self/status"
        );
        let run = Command::new("sh").args(["-c", &script]).current_dir(folder.path()).output().unwrap();
        let said = String::from_utf8_lossy(&run.stdout).into_owned();
        let mask = said.split_whitespace().nth(1).and_then(|mask| u64::from_str_radix(mask, 16).ok());
        assert_eq!(mask.map(|mask| mask & 1 << (libc::SIGPIPE - 1) != 0), Some(ignored), "{run:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_that_was_closed_takes_nothing_as_without_exec() {
    let program = env!("CARGO_BIN_EXE_longhaul");
    let exec = format!("exec {program} exec --drain 0 --spool spool --server http://127.0.0.1:1");
    for (script, code) in [
        (format!("{exec} -- seq 3 >&-"), 1),
        (format!("{exec} -- sh -c 'seq 3 >&2' 2>&-"), 1),
        (format!("{exec} -- true >&- 2>&-"), 0),
        (format!("{exec} --quiet -- seq 3 >&-"), 0),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let run = Command::new("sh").args(["-c", &script]).current_dir(folder.path()).output().unwrap();
        assert_eq!(run.status.code(), Some(code), "{script}: {run:?}");
    }
}
