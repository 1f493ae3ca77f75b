//! A disk that can be told to misbehave: a layer between SQLite and the real file system.
//!
//! It becomes the process's default VFS and hands everything through, but for the database files a test
//! has taken in hand with [`Disk::under`]: of those it can keep a journal of every write and sync, and
//! refuse to write, sync or read. So the product's own code is under test, opened the way it always is, and
//! needs no door for tests. The weakened control comes about the same way: SQLite shows a VFS each pragma
//! before it obeys it, and this one can turn `synchronous = full` into `normal` on its way.

mod file;

use std::ffi::c_int;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::ffi::{self, SQLITE_OK};

/// The files a database is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Part {
    /// The database.
    Main,
    /// Its write-ahead log.
    Wal,
    /// Its rollback journal, which is only used before it has a write-ahead log.
    Journal,
}

/// Something that was done to a file.
#[derive(Clone, Debug)]
pub enum Entry {
    /// Bytes were written.
    Write(Part, usize, Box<[u8]>),
    /// The file was cut or extended.
    Truncate(Part, usize),
    /// What was done to the file so far is on the disk now.
    Sync(Part),
    /// The file was removed, for good where the folder was synced too.
    Delete(Part, bool),
    /// The folder was synced: what was removed from it stays removed.
    SyncFolder,
}

/// The disk under one database.
#[derive(Default)]
pub struct Disk {
    path: PathBuf,
    /// What writes, syncs and reads are answered; 0 where they are carried out.
    writes: AtomicI32,
    syncs: AtomicI32,
    reads: AtomicI32,
    /// The database file opens for reading only.
    read_only: AtomicBool,
    /// How many more writes and syncs are carried out before all fail; negative where that is no concern.
    until_gone: AtomicI64,
    /// `synchronous = full` is heard as `normal`.
    hears_normal: AtomicBool,
    journal: Option<Mutex<Vec<Entry>>>,
}

static DISKS: Mutex<Vec<Arc<Disk>>> = Mutex::new(Vec::new());

impl Disk {
    /// Takes the database at `path` in hand. It must not be open yet.
    pub fn under(path: &Path) -> Arc<Self> {
        Self::install(Self { path: whole(path), until_gone: AtomicI64::new(-1), ..Self::default() })
    }

    /// The same, keeping a journal of what is done to it.
    pub fn recording(path: &Path) -> Arc<Self> {
        let journal = Some(Mutex::default());
        Self::install(Self { path: whole(path), until_gone: AtomicI64::new(-1), journal, ..Self::default() })
    }

    fn install(self) -> Arc<Self> {
        file::register();
        let disk = Arc::new(self);
        DISKS.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&disk));
        disk
    }

    /// Answers writes with this from now on; [`SQLITE_OK`] carries them out again.
    pub fn answer_writes(&self, code: c_int) {
        self.writes.store(code, Ordering::SeqCst);
    }

    /// Answers syncs with this from now on.
    pub fn answer_syncs(&self, code: c_int) {
        self.syncs.store(code, Ordering::SeqCst);
    }

    /// Answers reads with this from now on.
    pub fn answer_reads(&self, code: c_int) {
        self.reads.store(code, Ordering::SeqCst);
    }

    /// Lets the database file be opened for reading only.
    pub fn make_read_only(&self, read_only: bool) {
        self.read_only.store(read_only, Ordering::SeqCst);
    }

    /// Carries out so many more writes and syncs, and none after them until told otherwise by a negative
    /// number.
    pub fn goes_away_after(&self, operations: i64) {
        self.until_gone.store(operations, Ordering::SeqCst);
    }

    /// From now on, `synchronous = full` is heard as `normal`.
    pub fn hear_normal(&self) {
        self.hears_normal.store(true, Ordering::SeqCst);
    }

    /// How many entries the journal has.
    pub fn position(&self) -> usize {
        self.journal
            .as_ref()
            .map_or(0, |journal| journal.lock().unwrap_or_else(PoisonError::into_inner).len())
    }

    /// The journal.
    pub fn journal(&self) -> Vec<Entry> {
        self.journal
            .as_ref()
            .map_or_else(Vec::new, |journal| journal.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// The place of the journal's first entry of some kind, from a place on.
    pub fn find(&self, from: usize, wanted: impl Fn(&Entry) -> bool) -> Option<usize> {
        let journal = self.journal.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        journal.get(from..)?.iter().position(wanted).map(|place| from + place)
    }

    fn part(&self, name: &str) -> Option<Part> {
        match name.strip_prefix(self.path.to_str()?)? {
            "" => Some(Part::Main),
            "-wal" => Some(Part::Wal),
            "-journal" => Some(Part::Journal),
            _ => None,
        }
    }

    /// What an operation that changes the disk is answered instead of being carried out.
    fn refuses(&self, code: &AtomicI32) -> Option<c_int> {
        let gone = self
            .until_gone
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| (left > 0).then(|| left - 1))
            .is_err_and(|left| left == 0);
        let code = code.load(Ordering::SeqCst);
        match code {
            SQLITE_OK if gone => Some(ffi::SQLITE_IOERR_WRITE),
            SQLITE_OK => None,
            code => Some(code),
        }
    }

    /// Carries `work` out and writes it down, as one step, so that the journal has the order of the disk.
    fn noting(&self, entry: impl FnOnce() -> Entry, work: impl FnOnce() -> c_int) -> c_int {
        let Some(journal) = &self.journal else { return work() };
        let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
        let code = work();
        if code == SQLITE_OK {
            journal.push(entry());
        }
        code
    }
}

/// The name SQLite will use.
fn whole(path: &Path) -> PathBuf {
    let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
    folder.and_then(|folder| Some(folder.join(path.file_name()?))).unwrap_or_else(|| path.to_owned())
}

fn disk_of(name: &str) -> Option<(Arc<Disk>, Part)> {
    let disks = DISKS.lock().unwrap_or_else(PoisonError::into_inner);
    disks.iter().rev().find_map(|disk| disk.part(name).map(|part| (Arc::clone(disk), part)))
}
