//! The contenders: the release of Longhaul, and a service over BullMQ, each in a folder of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::http::Http;
use crate::machine::{SERVER_CORE, all_cores};

pub const TOKEN: &str = "lh_load-token-0123456789abcdef";
pub const PASSWORD: &str = "correct horse battery";

/// A service that was started here, and ends with its owner.
pub struct Service {
    processes: Vec<Child>,
    pub port: u16,
}

impl Service {
    /// The process that answers.
    pub fn id(&self) -> u32 {
        self.processes.last().map_or(0, Child::id)
    }

    pub async fn connect(&self) -> Http {
        Http::connect(self.port, &format!("Authorization: Bearer {TOKEN}"))
            .await
            .expect("it takes connections")
    }

    /// Asks it to stop, and waits.
    pub fn stop(mut self) {
        for process in self.processes.iter_mut().rev() {
            let id = process.id().to_string();
            let _ = Command::new("kill").arg(id).status();
            let _ = process.wait();
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port is free").port()
}

/// Runs a program on the server's core, or on all.
fn pinned(program: &str, pin: bool) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &if pin { SERVER_CORE.to_owned() } else { all_cores() }, program]);
    command
}

async fn answers(port: u16, path: &str) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        if let Ok(mut http) = Http::connect(port, &format!("Authorization: Bearer {TOKEN}")).await
            && http.get(path).await.is_ok_and(|answer| answer.status == 200)
        {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    false
}

/// The release's binary.
pub fn binary() -> PathBuf {
    std::env::var_os("LONGHAUL_BINARY")
        .map_or_else(|| PathBuf::from("target/release/longhaul"), PathBuf::from)
}

/// Starts Longhaul on a database, and does not wait.
pub fn launch(folder: &Path, database: &str, pin: bool, password: Option<&str>) -> Service {
    launch_program(&binary(), folder, database, pin, password, &[])
}

fn launch_program(
    program: &Path,
    folder: &Path,
    database: &str,
    pin: bool,
    password: Option<&str>,
    settings: &[(&str, &str)],
) -> Service {
    let port = free_port();
    let program = std::path::absolute(program).expect("the binary has a path");
    let process = pinned(&program.to_string_lossy(), pin)
        .envs(password.map(|password| ("LONGHAUL_ADMIN_PASSWORD", password)))
        .arg("serve")
        .current_dir(folder)
        .env("LONGHAUL_LISTEN", format!("127.0.0.1:{port}"))
        .env("LONGHAUL_DATABASE", database)
        .env("LONGHAUL_BOOTSTRAP_TOKEN", TOKEN)
        .env("LONGHAUL_MAX_ACTIVE_JOBS", "100000")
        // Nothing else is removed while it is measured.
        .env("LONGHAUL_MAX_PAST_JOBS", "100000000")
        .env("LONGHAUL_MAX_PAST_AGE", "0")
        .env("LONGHAUL_LOG", "error")
        .envs(settings.iter().copied())
        .stdout(Stdio::null())
        .spawn()
        .expect("target/release/longhaul can be started: make build");
    Service { processes: vec![process], port }
}

/// Starts Longhaul on a database, and waits until it answers.
pub async fn longhaul(folder: &Path, database: &str, pin: bool) -> Service {
    longhaul_with(folder, database, pin, &[]).await
}

/// The same, set up otherwise.
pub async fn longhaul_with(folder: &Path, database: &str, pin: bool, settings: &[(&str, &str)]) -> Service {
    longhaul_of(&binary(), folder, database, pin, settings).await
}

/// The same, of another build.
pub async fn longhaul_of(
    program: &Path,
    folder: &Path,
    database: &str,
    pin: bool,
    settings: &[(&str, &str)],
) -> Service {
    let service = launch_program(program, folder, database, pin, Some(PASSWORD), settings);
    assert!(answers(service.port, "/readyz").await, "the server never became ready");
    service
}

/// Signs in as a browser does. Answers the header that shows it.
pub async fn sign_in(service: &Service) -> String {
    let mut http =
        Http::connect(service.port, "Sec-Fetch-Site: same-origin").await.expect("it takes connections");
    let form = format!("name=admin&password={}", PASSWORD.replace(' ', "+"));
    let answer = http
        .send("POST", "/rpc/session/sign-in", "application/x-www-form-urlencoded", form.as_bytes())
        .await
        .expect("an answer");
    let cookie = answer.head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("set-cookie").then(|| value.split(';').next().unwrap_or("").to_owned())
    });
    format!("Cookie: {}", cookie.expect("a session"))
}

/// Starts Redis, which writes its log to the disk every second, and the service over it.
pub async fn bullmq(folder: &Path) -> Service {
    let (redis_port, port) = (free_port(), free_port());
    let redis = pinned("redis-server", true)
        .args(["--port", &redis_port.to_string(), "--bind", "127.0.0.1", "--dir"])
        .arg(folder)
        .args(["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""])
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server can be started");
    let node = pinned("node", true)
        .arg("benches/bullmq/service.mjs")
        .env("PORT", port.to_string())
        .env("REDIS_PORT", redis_port.to_string())
        .env("TOKEN", TOKEN)
        .env("NODE_ENV", "production")
        .spawn()
        .expect("node can be started");
    let service = Service { processes: vec![redis, node], port };
    assert!(answers(port, "/readyz").await, "the BullMQ service never became ready");
    service
}
