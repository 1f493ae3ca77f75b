//! The real server, as a process of its own that can be killed.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::http::{Http, TOKEN};

/// A server process on a database file.
pub struct Server(Child);

impl Server {
    /// Starts one on a file. It may not be ready yet.
    pub fn spawn(file: &Path, port: u16) -> Self {
        Self::spawn_on(&format!("sqlite://{}", file.display()), file.parent().unwrap(), port, "")
    }

    /// Starts one on a database, in a folder, under a name. It may not be ready yet.
    pub fn spawn_on(database: &str, folder: &Path, port: u16, node: &str) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_longhaul"))
            .arg("serve")
            .env_clear()
            .env("LONGHAUL_LISTEN", format!("127.0.0.1:{port}"))
            .env("LONGHAUL_DATABASE", database)
            .env("LONGHAUL_NODE", node)
            .env("LONGHAUL_BOOTSTRAP_TOKEN", TOKEN)
            // What goes wrong where several are tried is what is tried.
            .env("LONGHAUL_LOG", if node.is_empty() { "error" } else { "off" })
            .current_dir(folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("the server can be started");
        Self(child)
    }

    /// A connection, as soon as the server takes one.
    pub fn ready(&mut self, port: u16) -> Http {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Ok(mut http) = Http::connect(port)
                && http.get("/readyz").is_ok_and(|(status, _)| status == 200)
            {
                return http;
            }
            assert!(Instant::now() < deadline, "the server never became ready");
            if let Ok(Some(status)) = self.0.try_wait() {
                panic!("the server ended by itself: {status}");
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Its process, to be stopped and continued.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// SIGKILL: nothing of the server runs after this.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// A port nobody has, below those the system gives to outgoing connections: while the server is dead, one
/// of the writers' own connections could otherwise be given its port.
pub fn free_port() -> u16 {
    static TRIED: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    let mut ports = std::iter::repeat_with(|| first + TRIED.fetch_add(1, Ordering::Relaxed) % 2_000);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}
