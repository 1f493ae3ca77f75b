//! What a disk holds after the power failed, and a VFS that lets SQLite open it from memory.
//!
//! Each file is what was synced, and the writes after that, of which any may have reached the disk and any
//! not, sector by sector and in any order. A sector is written whole or not at all and keeps the bytes
//! around a smaller write, which is what SQLite asks of a disk ("powersafe overwrite") and what disks do.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::size_of;
use std::ptr::null_mut;
use std::sync::Once;

use rusqlite::ffi::{self, SQLITE_OK, sqlite3_file, sqlite3_io_methods, sqlite3_vfs};
use rusqlite::{Connection, OpenFlags};

use crate::crash::Dice;
use crate::crash::vfs::{Entry, Part};

const SECTOR: usize = 512;

/// The contents of a database's files, by [`Part`]; `None` where there is no such file.
pub type Image = [Option<Vec<u8>>; 3];

/// Something done to a file since it was synced.
#[derive(Clone, Debug)]
struct Change {
    at: usize,
    /// What was written; `None` where the file was cut or extended.
    data: Option<Box<[u8]>>,
    /// The file's length after it.
    length: usize,
}

/// One file under a journal that is played up to some point.
#[derive(Clone, Debug, Default)]
struct Played {
    /// As last synced; `None` before the file was.
    durable: Option<Vec<u8>>,
    /// What was done since, in order.
    pending: Vec<Change>,
    /// Removed, and the folder not synced: may be there again.
    removed: bool,
}

impl Played {
    fn length(&self) -> usize {
        let synced = || self.durable.as_ref().map_or(0, Vec::len);
        self.pending.last().map_or_else(synced, |change| change.length)
    }

    /// Everything that was done, in order.
    fn sync(&mut self) {
        let mut bytes = self.durable.take().unwrap_or_default();
        for Change { at, data, length } in self.pending.drain(..) {
            bytes.resize(bytes.len().max(length), 0);
            if let Some(data) = data {
                bytes[at..at + data.len()].copy_from_slice(&data);
            } else {
                bytes.truncate(length);
            }
        }
        self.durable = Some(bytes);
    }

    /// What could be on the disk.
    fn cut(&self, dice: &mut Dice) -> Option<Vec<u8>> {
        if self.removed && dice.below(2) == 0 {
            return None;
        }
        let count = self.pending.len() as u64;
        let mut bytes = self.durable.clone();
        // How chance falls: nothing arrived, all did, each sector stopped somewhere, each sector all or none.
        let way = dice.below(4);
        if count == 0 || way == 0 {
            return bytes;
        }
        let length = match dice.below(count + 1) {
            _ if way == 1 => self.length(),
            0 => bytes.as_ref().map_or(0, Vec::len),
            some => self.pending[some as usize - 1].length,
        };
        let whole = bytes.get_or_insert_default();
        let longest = self.pending.iter().map(|change| change.length).max().unwrap_or(0);
        whole.resize(whole.len().max(longest), 0);
        let salt = dice.throw();
        for (place, Change { at, data, .. }) in (0..).zip(&self.pending) {
            let Some(data) = data else { continue };
            let end = at + data.len();
            let mut from = *at;
            while from < end {
                let sector = from / SECTOR;
                let to = end.min((sector + 1) * SECTOR);
                let mut chance = Dice(salt ^ (sector as u64).wrapping_mul(0x2545_f491_4f6c_dd1d));
                let arrived = match way {
                    1 => true,
                    2 => place < chance.below(count + 1),
                    _ => chance.below(2) == 0,
                };
                if arrived {
                    whole[from..to].copy_from_slice(&data[from - at..to - at]);
                }
                from = to;
            }
        }
        whole.resize(length, 0);
        bytes
    }
}

/// A journal that is played, entry by entry.
#[derive(Clone, Debug, Default)]
pub struct Player([Played; 3]);

impl Player {
    /// Over a database that was there before, and synced.
    pub fn over(main: Vec<u8>) -> Self {
        let mut player = Self::default();
        player.0[Part::Main as usize].durable = Some(main);
        player
    }

    pub fn play(&mut self, entry: &Entry) {
        match entry {
            Entry::Write(part, at, data) => {
                let file = self.file(*part);
                let length = file.length().max(at + data.len());
                file.pending.push(Change { at: *at, data: Some(data.clone()), length });
            }
            Entry::Truncate(part, size) => {
                self.file(*part).pending.push(Change { at: 0, data: None, length: *size });
            }
            Entry::Sync(part) => self.file(*part).sync(),
            Entry::SyncFolder => {
                for file in self.0.iter_mut().filter(|file| file.removed) {
                    *file = Played::default();
                }
            }
            Entry::Delete(part, true) => self.0[*part as usize] = Played::default(),
            Entry::Delete(part, false) => self.0[*part as usize].removed = true,
        }
    }

    /// A file that is written to; one that was removed before begins anew.
    fn file(&mut self, part: Part) -> &mut Played {
        let file = &mut self.0[part as usize];
        if file.removed {
            *file = Played::default();
        }
        file
    }

    /// What the disk could hold if the power failed now.
    pub fn cut(&self, dice: &mut Dice) -> Image {
        [0, 1, 2].map(|part| self.0[part].cut(dice))
    }
}

thread_local! {
    static IMAGE: RefCell<Image> = const { RefCell::new([None, None, None]) };
}

/// Opens an image, as a database is opened after a power cut. One at a time in a thread.
pub fn open(image: Image) -> rusqlite::Result<Connection> {
    register();
    IMAGE.set(image);
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags_and_vfs("/cut.db", flags, c"longhaul-cut")?;
    // The index of the write-ahead log then needs no shared memory.
    db.execute_batch("pragma locking_mode = exclusive; pragma temp_store = memory")?;
    db.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(db)
}

#[repr(C)]
struct File {
    base: sqlite3_file,
    part: usize,
}

fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the VFS found lives for ever; ours is leaked and does too.
        unsafe {
            let ours = Box::leak(Box::new(*ffi::sqlite3_vfs_find(c"unix".as_ptr())));
            ours.zName = c"longhaul-cut".as_ptr();
            ours.szOsFile = size_of::<File>() as c_int;
            ours.pNext = null_mut();
            ours.xOpen = Some(open_file);
            ours.xDelete = Some(delete);
            ours.xAccess = Some(access);
            assert_eq!(ffi::sqlite3_vfs_register(ours, 0), SQLITE_OK);
        }
    });
}

unsafe fn part(name: *const c_char) -> Option<usize> {
    if name.is_null() {
        return None;
    }
    // SAFETY: SQLite's names end in a zero byte.
    match unsafe { CStr::from_ptr(name) }.to_bytes() {
        b"/cut.db" => Some(Part::Main as usize),
        b"/cut.db-wal" => Some(Part::Wal as usize),
        b"/cut.db-journal" => Some(Part::Journal as usize),
        _ => None,
    }
}

/// The bytes of an open file.
unsafe fn with<T>(file: *mut sqlite3_file, work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    // SAFETY: `open_file` filled it in.
    let part = unsafe { (*file.cast::<File>()).part };
    IMAGE.with_borrow_mut(|image| work(image[part].get_or_insert_default()))
}

// SAFETY, of all that follow: SQLite calls them with files that `open_file` made, and with buffers of the
// lengths it says.

unsafe extern "C" fn open_file(
    _: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: see above.
    unsafe {
        (*file).pMethods = std::ptr::null();
        let Some(part) = part(name) else { return ffi::SQLITE_CANTOPEN };
        (*file.cast::<File>()).part = part;
        (*file).pMethods = &METHODS;
        with(file, |_| ());
        if !out.is_null() {
            *out = flags;
        }
    }
    SQLITE_OK
}

unsafe extern "C" fn delete(_: *mut sqlite3_vfs, name: *const c_char, _: c_int) -> c_int {
    // SAFETY: see above.
    if let Some(part) = unsafe { part(name) } {
        IMAGE.with_borrow_mut(|image| image[part] = None);
    }
    SQLITE_OK
}

unsafe extern "C" fn access(_: *mut sqlite3_vfs, name: *const c_char, _: c_int, to: *mut c_int) -> c_int {
    // SAFETY: see above.
    unsafe {
        let there = part(name).is_some_and(|part| IMAGE.with_borrow(|image| image[part].is_some()));
        *to = c_int::from(there);
    }
    SQLITE_OK
}

unsafe extern "C" fn close(_: *mut sqlite3_file) -> c_int {
    SQLITE_OK
}

unsafe extern "C" fn read(file: *mut sqlite3_file, to: *mut c_void, bytes: c_int, at: i64) -> c_int {
    // SAFETY: see above.
    unsafe {
        let to = std::slice::from_raw_parts_mut(to.cast::<u8>(), bytes as usize);
        with(file, |content| {
            let there = content.get(at as usize..).unwrap_or_default();
            let there = &there[..there.len().min(to.len())];
            to[..there.len()].copy_from_slice(there);
            to[there.len()..].fill(0);
            if there.len() == to.len() { SQLITE_OK } else { ffi::SQLITE_IOERR_SHORT_READ }
        })
    }
}

unsafe extern "C" fn write(file: *mut sqlite3_file, from: *const c_void, bytes: c_int, at: i64) -> c_int {
    // SAFETY: see above.
    unsafe {
        let from = std::slice::from_raw_parts(from.cast::<u8>(), bytes as usize);
        let at = at as usize;
        with(file, |content| {
            content.resize(content.len().max(at + from.len()), 0);
            content[at..at + from.len()].copy_from_slice(from);
        });
    }
    SQLITE_OK
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: i64) -> c_int {
    // SAFETY: see above.
    unsafe { with(file, |content| content.truncate(size as usize)) };
    SQLITE_OK
}

unsafe extern "C" fn file_size(file: *mut sqlite3_file, to: *mut i64) -> c_int {
    // SAFETY: see above.
    unsafe { *to = with(file, |content| content.len() as i64) };
    SQLITE_OK
}

unsafe extern "C" fn nothing(_: *mut sqlite3_file, _: c_int) -> c_int {
    SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(_: *mut sqlite3_file, to: *mut c_int) -> c_int {
    // SAFETY: see above.
    unsafe { *to = 0 };
    SQLITE_OK
}

unsafe extern "C" fn file_control(_: *mut sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_: *mut sqlite3_file) -> c_int {
    SECTOR as c_int
}

unsafe extern "C" fn characteristics(_: *mut sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(nothing),
    xFileSize: Some(file_size),
    xLock: Some(nothing),
    xUnlock: Some(nothing),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};
