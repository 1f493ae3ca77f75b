//! A proxy between a store and its database: it loses answers, breaks connections and holds everything up when told to.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use super::super::cluster::Cluster;
use super::{PostgresSettings, PostgresStore};

/// What the client gets for an answer to a commit that has happened.
#[derive(Clone, Copy)]
pub(super) enum Instead {
    /// The connection breaks.
    Nothing,
    /// An error with this SQLSTATE that ends the connection.
    Fatal(&'static str),
    /// An error with this SQLSTATE, and the connection goes on.
    Error(&'static str),
    /// Silence, there and on every connection from then on.
    Silence,
}

/// The server's message that a commit has happened.
const DONE: &[u8] = b"C\0\0\0\x0bCOMMIT\0";

/// Passes connections on to the cluster.
pub(super) struct Proxy {
    folder: tempfile::TempDir,
    wire: Arc<Wire>,
}

#[derive(Default)]
struct Wire {
    armed: Mutex<Option<Instead>>,
    still: AtomicBool,
}

impl Proxy {
    pub(super) fn new(cluster: &Cluster) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let wire = Arc::new(Wire::default());
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).unwrap();
        let (server, passing) = (cluster.socket(), Arc::clone(&wire));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&server).await.unwrap();
                let wire = Arc::clone(&passing);
                tokio::spawn(async move { wire.pass(client, server).await });
            }
        });
        Self { folder, wire }
    }

    /// A store whose connections go this way.
    pub(super) async fn open(&self, database: &str) -> PostgresStore {
        let folder = self.folder.path().to_string_lossy().replace('/', "%2F");
        let settings = PostgresSettings {
            address: format!("postgres://longhaul@{folder}/{database}"),
            connections: 2,
            node: Some("a".to_owned()),
        };
        PostgresStore::open(settings).await.unwrap()
    }

    /// The next commit happens, and this is its answer.
    pub(super) fn arm(&self, instead: Instead) {
        *self.wire.armed.lock().unwrap() = Some(instead);
    }

    /// Whether the commit is still to come.
    pub(super) fn is_armed(&self) -> bool {
        self.wire.armed.lock().unwrap().is_some()
    }

    /// Whether nothing passes any more.
    pub(super) fn is_still(&self) -> bool {
        self.wire.still.load(Ordering::SeqCst)
    }

    /// Has nothing pass any more, or everything again. Connections on which something was held back stay silent.
    pub(super) fn stand_still(&self, still: bool) {
        self.wire.still.store(still, Ordering::SeqCst);
    }
}

impl Wire {
    async fn pass(&self, client: UnixStream, server: UnixStream) {
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let due = Mutex::new(None);
        let there = async {
            let mut buffer = vec![0; 65_536];
            while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
                self.hold_back().await;
                if buffer[..read].windows(7).any(|part| part == b"commit\0") {
                    *due.lock().unwrap() = self.armed.lock().unwrap().take();
                }
                to_server.write_all(&buffer[..read]).await.unwrap();
            }
        };
        let back = async {
            let mut buffer = vec![0; 65_536];
            while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
                self.hold_back().await;
                // What comes before it answers something else.
                let done = buffer[..read].windows(DONE.len()).position(|part| part == DONE);
                let instead = done.and_then(|_| due.lock().unwrap().take());
                let before = &buffer[..done.filter(|_| instead.is_some()).unwrap_or(read)];
                if to_client.write_all(before).await.is_err() {
                    return;
                }
                let answer = match instead {
                    None => continue,
                    Some(Instead::Nothing) => return,
                    Some(Instead::Fatal(code)) => {
                        let _ = to_client.write_all(&error("FATAL", code)).await;
                        return;
                    }
                    Some(Instead::Error(code)) => [&error("ERROR", code)[..], b"Z\0\0\0\x05I"].concat(),
                    Some(Instead::Silence) => {
                        self.still.store(true, Ordering::SeqCst);
                        continue;
                    }
                };
                if to_client.write_all(&answer).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = there => {}
            () = back => {}
        }
    }

    async fn hold_back(&self) {
        if self.still.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }
}

/// A server's message of an error.
fn error(severity: &str, code: &str) -> Vec<u8> {
    let fields = format!("S{severity}\0V{severity}\0C{code}\0Mit was told to stop\0\0");
    let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
    [b"E", &length[..], fields.as_bytes()].concat()
}
