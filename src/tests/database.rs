//! The commands that work on the database itself, as the command line runs them: beside a server, and
//! without one.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use clap::Parser as _;
use longhaul::cli::{Cli, run};
use longhaul::{JobStore, Jobs, SqliteStore};

use crate::crash::cluster::Cluster;

/// Runs a command, with the file as its database. Answers whether it succeeded.
async fn longhaul(command: &[&str], database: &Path) -> bool {
    let url = format!("sqlite://{}", database.display());
    let words = ["longhaul"].iter().chain(command).copied().chain(["--database", &url]);
    let exit = run(Cli::try_parse_from(words).unwrap()).await;
    format!("{exit:?}") == format!("{:?}", ExitCode::SUCCESS)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_is_backed_up_restored_exported_and_imported_by_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let text = |name: &str| std::fs::read_to_string(at(name)).unwrap();
    let (jobs_db, copy, export) = (at("jobs.db"), at("copy.db"), at("jobs.ndjson"));
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    assert!(!longhaul(&["check"], &jobs_db).await, "there is nothing yet");
    assert!(!jobs_db.exists(), "and looking at it makes nothing");

    let server = Arc::new(SqliteStore::open(&jobs_db).unwrap());
    let jobs = Jobs::new(Arc::clone(&server) as Arc<dyn JobStore>);
    for _ in 0..3 {
        let id = jobs.create_job("import", "anna").await.unwrap();
        jobs.force_fail_job(id, "hung").await.unwrap();
    }
    jobs.create_job("import", "anna").await.unwrap();

    // While a server has it.
    assert!(longhaul(&["check"], &jobs_db).await);
    assert!(longhaul(&["backup", &path(&copy)], &jobs_db).await);
    assert!(!longhaul(&["backup", &path(&copy)], &jobs_db).await, "a backup overwrites nothing");
    assert!(longhaul(&["export", &path(&export)], &jobs_db).await);
    assert!(!longhaul(&["export", &path(&export)], &jobs_db).await, "nor does an export");
    assert!(longhaul(&["export", "--past", &path(&at("past.ndjson"))], &jobs_db).await);
    assert!(
        text("past.ndjson").ends_with("{\"end\":{\"jobs\":3,\"events\":9}}\n"),
        "{}",
        text("past.ndjson")
    );
    assert!(!longhaul(&["import", &path(&export)], &jobs_db).await, "an import waits for the server to stop");
    assert!(!longhaul(&["restore", &path(&copy)], &jobs_db).await);
    assert_eq!(server.counts().past(), 3, "and nothing of it happened");
    server.close().await;
    drop((server, jobs));

    // Without one.
    assert!(!longhaul(&["restore", &path(&copy)], &jobs_db).await, "a restore overwrites nothing");
    assert!(longhaul(&["restore", &path(&copy)], &at("restored.db")).await);
    assert!(longhaul(&["import", &path(&export)], &at("deep/imported.db")).await);
    assert!(!longhaul(&["import", &path(&export)], &at("deep/imported.db")).await, "twice is once too often");
    for (database, to) in
        [("restored.db", "a.ndjson"), ("deep/imported.db", "b.ndjson"), ("jobs.db", "c.ndjson")]
    {
        assert!(longhaul(&["check"], &at(database)).await, "{database}");
        assert!(longhaul(&["export", &path(&at(to))], &at(database)).await, "{database}");
        assert_eq!(text(to), text("jobs.ndjson"), "{database} has the same jobs to the byte");
    }
    rusqlite::Connection::open(&jobs_db).unwrap().execute_batch("update counter set n = n + 1").unwrap();
    assert!(!longhaul(&["check"], &jobs_db).await, "a check that finds something says so to scripts too");
}

/// A database on another machine: reached through an encrypted connection, by the certificate it shows.
#[test]
fn a_database_elsewhere_is_reached_by_tls_and_only_with_a_certificate_that_is_trusted() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let cluster = Cluster::start_with(
        &[
            "fsync=off",
            "listen_addresses=127.0.0.1",
            &format!("port={port}"),
            "log_connections=on",
            "ssl=on",
            "ssl_cert_file=../server.crt",
            "ssl_key_file=../server.key",
        ],
        &[("server.crt", &certificate), ("server.key", &key)],
    );
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("authority.pem");
    std::fs::write(&trusted, &certificate).unwrap();
    let database = cluster.database();
    let check = |mode: &str, trusted: Option<&Path>| {
        let address = format!("postgres://longhaul@127.0.0.1:{port}/{database}?sslmode={mode}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_longhaul"));
        command.args(["check", "--database", &address]).env_remove("SSL_CERT_FILE");
        let out = command.envs(trusted.map(|file| ("SSL_CERT_FILE", file))).output().unwrap();
        (out.status.success(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    for mode in ["require", "prefer"] {
        let (succeeded, said) = check(mode, None);
        assert!(!succeeded && said.contains("certificate"), "nobody vouches for it: {said}");
        assert!(!cluster.log().contains(&format!("database={database}")), "not even a name was told");
    }
    let (succeeded, said) = check("require", Some(&trusted));
    assert!(succeeded, "{said}");
    let told = cluster.log();
    let mut connections = told.lines().filter(|line| line.contains(&format!("database={database}")));
    assert!(
        connections.clone().count() > 0 && connections.all(|line| line.contains("SSL enabled")),
        "{told}"
    );
}

/// These commands go past the server, so its log has nothing of them.
#[test]
fn who_changes_accounts_beside_the_server_is_logged_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("jobs.db");
    drop(SqliteStore::open(&database).unwrap());
    let address = format!("sqlite://{}", database.display());
    let run = |words: &[&str], format: &str, given: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longhaul"));
        command.args(words).args(["--database", &address]).current_dir(folder.path());
        command.env("LONGHAUL_LOG_FORMAT", format).env("SUDO_USER", "root\u{1b}[2J").stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(given.as_bytes()).unwrap();
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "{words:?}: {out:?}");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (text(out.stdout), text(out.stderr))
    };
    for (words, given, said, named) in [
        (
            &["user", "add", "anna", "--role", "admin"][..],
            "",
            &["User added", "Sign-in link made"][..],
            "anna",
        ),
        (&["user", "link", "anna"], "", &["Sign-in link made"], "anna"),
        (&["user", "set-password", "anna"], "correct horse\n", &["Password set"], "anna"),
        (&["user", "add", "otto"], "", &["User added"], "otto"),
        (&["user", "role", "otto", "operator"], "", &["Role changed", "before=\"viewer\""], "otto"),
        (&["user", "remove", "otto"], "", &["User removed"], "otto"),
        (&["token", "add", "ci"], "", &["Token made", "role=\"reporter\""], "ci"),
        (&["token", "revoke", "ci"], "", &["Token revoked"], "ci"),
        (&["user", "list"], "", &[], ""),
        (&["token", "list"], "", &[], ""),
    ] {
        let (printed, logged) = run(words, "text", given);
        for part in said {
            assert!(logged.contains(part), "{words:?}: `{part}` is not in {logged}");
        }
        assert_eq!(logged.is_empty(), said.is_empty(), "{words:?}: {logged}");
        let who = format!("uid={}", rustix::process::getuid().as_raw());
        assert!(
            logged.lines().all(|line| line.contains(&who) && line.contains(named)),
            "{words:?}: {logged}"
        );
        let secret = printed.split("link=").nth(1).unwrap_or(if words[1] == "add" { &printed } else { "?" });
        assert!(!logged.contains(secret.trim()) && !logged.contains("horse"), "{logged}");
        assert!(!logged.contains('\u{1b}'), "{logged}");
        let secret_alone = words != ["token", "add", "ci"] || printed.lines().count() == 1;
        assert!(secret_alone, "a script takes the token from there: {printed}");
    }
    let (_, logged) = run(&["user", "add", "ida"], "json", "");
    let first: serde_json::Value = serde_json::from_str(logged.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["fields"]["message"], &first["fields"]["user"]),
        (&"User added".into(), &"ida".into())
    );
}
