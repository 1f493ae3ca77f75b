//! A PostgreSQL cluster for tests: made in a temporary folder, reached through a socket there, gone with
//! the process. Needs the server's programs and nothing else: no service, no root, no free port.
//!
//! Nothing is synced to disk in it: what a power cut would do to PostgreSQL is PostgreSQL's business.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A running cluster.
pub struct Cluster {
    folder: PathBuf,
    programs: PathBuf,
    /// Whom it runs as: the server's programs refuse root.
    user: Option<u32>,
    options: Vec<String>,
    server: Option<Child>,
}

/// Runs the server, and ends it when nobody holds the other end of its input any more, which is so when the
/// tests have ended in whatever way.
const KEEPER: &str = r#""$@" >> "$FOLDER/log" 2>&1 & server=$!
trap '' INT TERM
while read -r word; do
  case $word in
    kill) kill -9 "-$server" 2> /dev/null || kill -9 "$server"; wait; exit ;;
    stop) break ;;
  esac
done
kill -QUIT "$server" 2> /dev/null; wait
[ "$word" = stop ] || rm -rf "$FOLDER""#;

impl Cluster {
    /// Makes a cluster and starts it.
    pub fn start(options: &[&str]) -> Self {
        Self::start_with(options, &[])
    }

    /// The same with files beside its data, by name and content, that nobody else may read.
    pub fn start_with(options: &[&str], files: &[(&str, &str)]) -> Self {
        let folder = tempfile::Builder::new().prefix("longhaul-pg-").tempdir().unwrap().keep();
        let user = is_root().then(unprivileged_user);
        if let Some(user) = user {
            chown(&folder, Some(user), None).unwrap();
        }
        for (name, content) in files {
            let path = folder.join(name);
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            chown(&path, user, None).unwrap();
        }
        let mut cluster = Self {
            folder,
            programs: programs(),
            user,
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            server: None,
        };
        let made = cluster
            .command("initdb")
            .args(["--no-sync", "-A", "trust", "-U", "longhaul", "-E", "UTF8", "--locale=C", "-D"])
            .arg(cluster.folder.join("data"))
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        cluster.run();
        cluster
    }

    /// One for all tests of a process.
    #[allow(dead_code, reason = "the benchmark has its own")]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&["fsync=off"]))
    }

    /// A program of the server's.
    #[allow(dead_code, reason = "only the benchmark does")]
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(&self.folder).env_clear().env("LC_ALL", "C").env("PGPORT", self.port());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    /// The port in its socket's name, and where it listens besides, if it was told to.
    fn port(&self) -> &str {
        self.options.iter().find_map(|option| option.strip_prefix("port=")).unwrap_or("5432")
    }

    fn run(&mut self) {
        let program = self.programs.join("postgres");
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", KEEPER, "keeper"])
            .arg(program)
            .arg("-D")
            .arg(self.folder.join("data"))
            .arg("-k")
            .arg(&self.folder)
            .args([
                "-c",
                "listen_addresses=",
                "-c",
                "max_connections=400",
                "-c",
                "unix_socket_permissions=0777",
            ]);
        // The last of two that say the same counts.
        for option in &self.options {
            shell.args(["-c", option]);
        }
        shell
            .current_dir(&self.folder)
            .env("FOLDER", &self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some(user) = self.user {
            shell.uid(user).gid(user);
        }
        self.server = Some(shell.spawn().unwrap());
        let begun = Instant::now();
        while !self.psql("postgres", "select 1").status.success() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the cluster does not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the server without a word to anybody.
    #[allow(dead_code, reason = "only some tests do")]
    pub fn kill(&mut self) {
        self.tell("kill\n");
    }

    /// Starts it again.
    #[allow(dead_code, reason = "only some tests do")]
    pub fn start_again(&mut self) {
        self.run();
    }

    #[allow(dead_code, reason = "see `kill`")]
    fn tell(&mut self, word: &str) {
        let mut server = self.server.take().unwrap();
        server.stdin.take().unwrap().write_all(word.as_bytes()).unwrap();
        server.wait().unwrap();
    }

    /// Where it listens.
    #[allow(dead_code, reason = "only some tests come between")]
    pub fn socket(&self) -> PathBuf {
        self.folder.join(format!(".s.PGSQL.{}", self.port()))
    }

    /// What the server logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn psql(&self, database: &str, sql: &str) -> std::process::Output {
        self.command("psql")
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "longhaul", "-h"])
            .arg(&self.folder)
            .args(["-d", database, "-c", sql])
            .output()
            .unwrap()
    }

    /// What a statement answers in a database, as text.
    pub fn ask(&self, database: &str, sql: &str) -> String {
        let answer = self.psql(database, sql);
        assert!(answer.status.success(), "{sql}: {}", String::from_utf8_lossy(&answer.stderr));
        String::from_utf8(answer.stdout).unwrap().trim_end().to_owned()
    }

    /// Makes an empty database that nobody else uses. Returns its name.
    pub fn database(&self) -> String {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", MADE.fetch_add(1, Ordering::Relaxed));
        self.ask("postgres", &format!("create database {name}"));
        name
    }

    /// Where a database is.
    pub fn address(&self, database: &str) -> String {
        let folder = self.folder.to_string_lossy().replace('/', "%2F");
        format!("postgres://longhaul@{folder}/{database}")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            drop(server.stdin.take());
            let _ = server.wait();
        }
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// The user the system's own clusters run as, or nobody.
fn unprivileged_user() -> u32 {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let of = |name: &str| {
        users.lines().find_map(|line| {
            let mut parts = line.split(':');
            (parts.next() == Some(name)).then(|| parts.nth(1)?.parse().ok()).flatten()
        })
    };
    of("postgres").or_else(|| of("nobody")).unwrap_or(65_534)
}

/// Where the server's programs are: beside each other on the PATH, or where Debian puts them.
fn programs() -> PathBuf {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&on_path).collect();
    for root in ["/usr/lib/postgresql", "/usr/local/pgsql", "/opt/homebrew/opt"] {
        let mut found: Vec<PathBuf> = std::fs::read_dir(root)
            .into_iter()
            .flatten()
            .flatten()
            .map(|version| version.path().join("bin"))
            .collect();
        found.sort();
        places.extend(found.into_iter().rev());
    }
    let has_all = |place: &&PathBuf| ["initdb", "postgres", "psql"].iter().all(|name| is_file(place, name));
    places
        .iter()
        .find(has_all)
        .cloned()
        .expect("PostgreSQL's programs (initdb, postgres, psql) are needed: install the package postgresql")
}

fn is_file(place: &Path, name: &str) -> bool {
    place.join(name).is_file()
}
