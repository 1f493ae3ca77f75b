//! `exec` from end to end, against a server that can be killed, made to lose answers, and made to refuse.

mod background;
mod fake;
mod outages;
mod output;
mod runs;
mod spools;
mod stopping;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use self::fake::{Fake, TOO_LONG};
use super::notices::Notices;
use super::reporter::Pace;
use super::{ExecArgs, Surroundings, execute};
use crate::cli::client::{ClientArgs, PATIENCE};
use crate::cli::{Cli, Command};

const PACE: Pace = Pace {
    patience: Duration::from_secs(5),
    start_patience: Duration::from_secs(2),
    least_pause: Duration::from_millis(5),
    most_pause: Duration::from_millis(40),
    farewell: Duration::from_millis(100),
    drain: Duration::from_secs(15),
    hurried_drain: Duration::from_secs(15),
    leftovers: Duration::from_secs(5),
};

/// What is written somewhere, for others to look at.
#[derive(Clone)]
struct Screen(Arc<Mutex<Vec<u8>>>, watch::Sender<()>);

impl Screen {
    fn new() -> Self {
        Self(Arc::default(), watch::Sender::new(()))
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    fn count(&self, part: &str) -> usize {
        self.text().matches(part).count()
    }

    async fn until(&self, part: &str) {
        let mut changed = self.1.subscribe();
        let waiting = async {
            while !self.text().contains(part) {
                changed.changed().await.unwrap();
            }
        };
        if tokio::time::timeout(TOO_LONG, waiting).await.is_err() {
            panic!("`{part}` never came: {}", self.text());
        }
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        self.1.send_replace(());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A folder for a test: its spool, and files its commands wait for.
struct Workspace(TempDir);

impl Workspace {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn spool(&self) -> PathBuf {
        self.0.path().join("spool")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Lets commands go on that wait for the file.
    fn touch(&self, name: &str) {
        std::fs::write(self.file(name), "").unwrap();
    }

    /// The names of what lies in the spool.
    fn spooled(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.spool()) else {
            return Vec::new();
        };
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Runs a shell script, in this folder's light: `$1` is the folder, and `await NAME` waits for a file in
    /// it, or for a test that has failed to take it away.
    fn shell(&self, fake: &Fake, flags: &[&str], script: &str) -> Run {
        let script = format!(
            "await() {{ while [ -d \"$DIR\" ] && [ ! -e \"$DIR/$1\" ]; do sleep 0.01; done; }}; DIR=$1; {script}"
        );
        let folder = self.0.path().to_str().unwrap();
        self.command(fake, flags, &["sh", "-c", &script, "sh", folder])
    }

    fn command(&self, fake: &Fake, flags: &[&str], command: &[&str]) -> Run {
        Run::start(self.args(fake, flags, command))
    }

    fn args(&self, fake: &Fake, flags: &[&str], command: &[&str]) -> ExecArgs {
        let (url, spool) = (fake.url(), self.spool());
        let mut words = vec!["longhaul", "exec", "--server", &url, "--spool", spool.to_str().unwrap()];
        words.extend(
            ["--heartbeat", "20ms", "--grace", "5s", "--linger", "100ms"]
                .into_iter()
                .filter(|_| flags.is_empty()),
        );
        words.extend_from_slice(flags);
        words.push("--");
        words.extend_from_slice(command);
        match Cli::try_parse_from(words).unwrap().command {
            Command::Exec(args) => *args,
            other => panic!("not exec: {other:?}"),
        }
    }
}

/// A run of `exec`.
struct Run {
    out: Screen,
    err: Screen,
    notices: Screen,
    signals: mpsc::UnboundedSender<i32>,
    task: JoinHandle<u8>,
}

impl Run {
    fn start(args: ExecArgs) -> Self {
        let out = Screen::new();
        let through: Box<dyn Write + Send> = Box::new(out.clone());
        Self::start_with(args, through, out, PACE)
    }

    fn start_with(args: ExecArgs, through: Box<dyn Write + Send>, out: Screen, pace: Pace) -> Self {
        let (err, notices) = (Screen::new(), Screen::new());
        let (signals, receiver) = mpsc::unbounded_channel();
        let said = Notices::new(notices.clone());
        let around = Surroundings {
            out: Some(through).filter(|_| !args.quiet),
            err: Some(Box::new(err.clone()) as _).filter(|_| !args.quiet),
            notices: said.clone(),
            signals: receiver,
            alone: false,
            keep: |pipes| {
                let pipes: Vec<_> = pipes.iter().map(|pipe| pipe.try_clone().unwrap()).collect();
                super::execution::hold(pipes);
                Ok(())
            },
            pace,
        };
        let client = ClientArgs { server: args.client.server.clone(), token: None, config: None }
            .client(PATIENCE)
            .unwrap();
        let folder = args.spool.clone();
        super::group::adopt_orphans();
        let task = tokio::spawn(async move {
            let code = execute(&args, client, folder, around).await;
            said.heard(TOO_LONG).await;
            code
        });
        Self { out, err, notices, signals, task }
    }

    /// Waits for the exit code.
    async fn code(&mut self) -> u8 {
        match tokio::time::timeout(TOO_LONG, &mut self.task).await {
            Ok(code) => code.unwrap(),
            Err(_) => panic!("exec never ended; it said: {}", self.notices.text()),
        }
    }
}
