//! Connections: how many there may be, how long each may take, and who goes first when there are too many.
//!
//! Hyper reads and writes; this module decides. Whoever has shown a good credential on a connection is
//! *signed in* there. Of the others there may be half as many as there may be at all; where one more comes,
//! the one among them that has been here longest, and whose answer is not being made at this moment, is closed
//! for it. So a crowd that opens connections and says nothing shuts nobody out: neither those who are signed in
//! nor those who are about to. One credential may have a quarter of all, so that a program which opens connections
//! without end leaves room for everybody else.
//!
//! A connection that waits for something from its client waits for a limited time: for the next request, for the
//! rest of a head, for its answer to be read. (For the rest of a body see `intake`.)
//!
//! Most connections do nothing most of the time: they wait for their next request, or for the next event of a
//! stream. Hyper keeps a buffer for reading and one for writing, 8 KiB each, for as long as it has a connection.
//! So it is lent one for a request and its answer, and gives it back ([`conversation`]); what waits has no buffers,
//! and a stream of events is written without it.

mod conversation;
mod endless;
mod watched;

use std::collections::{BTreeMap, HashMap};
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use endless::Endless;

use super::router::Site;
use crate::http::PeerAddress;

/// What connections may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// How many there may be; those who are not signed in have half of them.
    pub most: usize,
    /// How long one may be silent between two requests.
    pub idle: Duration,
    /// How long the head of a request may take.
    pub head: Duration,
    /// How long an answer may lie unread.
    pub unread: Duration,
}

impl ConnectionLimits {
    /// The most that are signed in with one credential.
    pub fn most_each(&self) -> usize {
        self.most.div_ceil(4)
    }

    /// The limits of a server that may have so many connections.
    pub const fn of(most: usize) -> Self {
        Self {
            most,
            // Longer than proxies keep theirs, as a rule a minute.
            idle: Duration::from_secs(75),
            head: Duration::from_secs(15),
            unread: Duration::from_secs(30),
        }
    }
}

/// Files that are none of the connections': the database, the log, what jobs have open.
const OTHER_FILES: u64 = 128;
/// A server that may open no file waits so long before it tries again.
const NO_FILES_WAIT: Duration = Duration::from_millis(50);

/// Raises the number of files the process may have open to what the system allows, and answers how many
/// connections that is enough for.
pub fn make_room(wanted: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let needed = wanted as u64 + OTHER_FILES;
    // No more than is needed: programs that jobs start inherit it.
    let raised = maximum.map_or(needed, |maximum| needed.min(maximum));
    let now = match current {
        None => return wanted,
        Some(current) if current >= raised => current,
        Some(current) => match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }) {
            Ok(()) => raised,
            Err(_) => current,
        },
    };
    let room = usize::try_from(now.saturating_sub(OTHER_FILES).max(now / 2)).unwrap_or(usize::MAX);
    if room < wanted {
        tracing::warn!(
            files = now,
            connections = room,
            "The system lets this process open few files, so it takes fewer connections than --max-connections"
        );
    }
    room.min(wanted)
}

/// What a connection is doing: waiting for a request, reading its head, answering it. An answer that never ends
/// is sent without hyper as soon as its head is out.
const WAITING: u8 = 0;
const IN_HEAD: u8 = 1;
const IN_REQUEST: u8 = 2;
const IN_ENDLESS: u8 = 3;

/// What is to be known of a connection to close it for another.
#[derive(Default)]
struct Door {
    /// The request is here whole, and its answer is being made.
    busy: AtomicBool,
    close: Notify,
}

/// One connection, as its parts see it.
pub struct Connection {
    doing: AtomicU8,
    door: Arc<Door>,
    /// The request was read to its end.
    read: AtomicBool,
    /// All that was said of the answer is on its way.
    sent: AtomicBool,
    /// The credential that was shown last. Behind a proxy several people share a connection.
    holder: Mutex<Option<[u8; 32]>>,
    number: u64,
    all: Arc<Connections>,
}

/// A credential has as many connections as it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareTaken {
    /// So many.
    pub most: usize,
}

impl Connection {
    /// Whoever is at the other end has shown a good credential, of which this is the hash.
    ///
    /// # Errors
    /// Where the credential has its share already. The connection stays what it was.
    pub fn signed_in(&self, credential: [u8; 32]) -> Result<(), ShareTaken> {
        let mut holder = self.holder.lock().unwrap_or_else(PoisonError::into_inner);
        if *holder == Some(credential) {
            return Ok(());
        }
        self.all.give(credential, *holder)?;
        if holder.replace(credential).is_none() {
            self.all.strangers().remove(&self.number);
        }
        Ok(())
    }

    /// A request has begun, which has a body or has not.
    fn begins(&self, has_body: bool) {
        self.doing.store(IN_REQUEST, Ordering::Relaxed);
        self.read.store(!has_body, Ordering::Relaxed);
        self.door.busy.store(!has_body, Ordering::Relaxed);
    }

    /// A request is here with its body.
    fn body_is_here(&self) {
        self.read.store(true, Ordering::Relaxed);
        self.door.busy.store(true, Ordering::Relaxed);
    }

    /// What is to be sent has been said. `next`: what the connection does when it is on its way.
    fn said(&self, next: u8) {
        self.sent.store(false, Ordering::Relaxed);
        self.doing.store(next, Ordering::Relaxed);
    }

    fn is(&self, doing: u8) -> bool {
        self.doing.load(Ordering::Relaxed) == doing
    }

    /// Whether nothing of a request or of its answer is under way any more.
    fn is_at_rest(&self) -> bool {
        self.is(WAITING) && self.read.load(Ordering::Relaxed) && self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.strangers().remove(&self.number);
        if let Some(holder) = self.holder.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            take_back(&mut self.all.held(), holder);
        }
        self.all.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All connections.
pub struct Connections {
    limits: ConnectionLimits,
    open: AtomicUsize,
    /// Those that are not signed in, the oldest first.
    strangers: Mutex<BTreeMap<u64, Arc<Door>>>,
    /// How many are signed in with each credential.
    held: Mutex<HashMap<[u8; 32], usize>>,
}

impl Connections {
    fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            open: AtomicUsize::new(0),
            strangers: Mutex::default(),
            held: Mutex::default(),
        })
    }

    fn held(&self) -> MutexGuard<'_, HashMap<[u8; 32], usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection with a credential, and no longer with the one before.
    fn give(&self, credential: [u8; 32], before: Option<[u8; 32]>) -> Result<(), ShareTaken> {
        let (mut held, most) = (self.held(), self.limits.most_each());
        let own = held.entry(credential).or_default();
        if *own >= most {
            return Err(ShareTaken { most });
        }
        *own += 1;
        if let Some(before) = before {
            take_back(&mut held, before);
        }
        Ok(())
    }

    fn strangers(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Door>>> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one more, for which another may have to go. `None` where there is no room.
    fn add(self: &Arc<Self>, number: u64) -> Option<Arc<Connection>> {
        let mut strangers = self.strangers();
        let full = self.open.load(Ordering::Relaxed) >= self.limits.most;
        if (full || strangers.len() >= self.limits.most.div_ceil(2)) && !close_one(&mut strangers) {
            return None;
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        let door = Arc::new(Door::default());
        strangers.insert(number, Arc::clone(&door));
        Some(Arc::new(Connection {
            doing: AtomicU8::new(WAITING),
            door,
            read: AtomicBool::new(false),
            sent: AtomicBool::new(false),
            holder: Mutex::default(),
            number,
            all: Arc::clone(self),
        }))
    }

    /// Closes one that is not being answered, where files have run out.
    fn make_room(&self) {
        close_one(&mut self.strangers());
    }
}

fn take_back(held: &mut HashMap<[u8; 32], usize>, credential: [u8; 32]) {
    match held.get_mut(&credential) {
        Some(own) if *own > 1 => *own -= 1,
        _ => drop(held.remove(&credential)),
    }
}

/// Closes the one of these that has been here longest and is not being answered.
fn close_one(strangers: &mut BTreeMap<u64, Arc<Door>>) -> bool {
    let idle = strangers.iter().find(|(_, door)| !door.busy.load(Ordering::Relaxed));
    let Some(number) = idle.map(|(number, _)| *number) else { return false };
    if let Some(door) = strangers.remove(&number) {
        door.close.notify_one();
    }
    true
}

/// Serves until it is told to stop, and then until every connection has come to its end.
pub async fn serve(listener: TcpListener, site: Site, limits: ConnectionLimits, stop: CancellationToken) {
    let (all, tasks) = (Connections::new(limits), TaskTracker::new());
    let site = Arc::new(site);
    let mut number = 0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_the_clients(&error) => continue,
            Err(error) => {
                tracing::error!(%error, "No connection can be accepted");
                all.make_room();
                sleep(NO_FILES_WAIT).await;
                continue;
            }
        };
        number += 1;
        // A client that is not let in sees its connection closed.
        let Some(connection) = all.add(number) else { continue };
        // Small answers, at once.
        let _ = stream.set_nodelay(true);
        tasks.spawn(conversation::hold(
            stream,
            PeerAddress(peer.ip()),
            connection,
            Arc::clone(&site),
            stop.clone(),
        ));
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

/// Whether a connection was given up before it was accepted.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}
