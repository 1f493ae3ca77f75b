//! The layer as SQLite sees it: a VFS and its files, as C wants them.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::size_of;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Once};

use rusqlite::ffi::{
    self, SQLITE_FCNTL_PRAGMA, SQLITE_FULL, SQLITE_OK, sqlite3_file, sqlite3_io_methods, sqlite3_vfs,
};

use super::{Disk, Entry, Part, disk_of};

/// A file as SQLite holds it. The real one follows it in the same piece of memory.
#[repr(C)]
struct File {
    base: sqlite3_file,
    /// From `Arc::into_raw`; null where the file is no test's.
    disk: *const Disk,
    part: Part,
    /// The real file system syncs the folder with the first sync of a new log or journal.
    syncs_folder: bool,
}

static REAL: AtomicPtr<sqlite3_vfs> = AtomicPtr::new(null_mut());

/// Puts the layer in place, once.
pub(super) fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the VFS found is SQLite's own and lives for ever; ours is leaked and does too.
        unsafe {
            let real = ffi::sqlite3_vfs_find(std::ptr::null());
            REAL.store(real, Ordering::SeqCst);
            let ours = Box::leak(Box::new(*real));
            ours.zName = c"longhaul-crash".as_ptr();
            ours.szOsFile += size_of::<File>() as c_int;
            ours.pNext = null_mut();
            ours.xOpen = Some(open);
            ours.xDelete = Some(delete);
            assert_eq!(ffi::sqlite3_vfs_register(ours, 1), SQLITE_OK);
        }
    });
}

/// A method of the real file system.
macro_rules! real {
    ($file:expr, $method:ident $(, $value:expr)*) => {{
        let real = real($file);
        match (*(*real).pMethods).$method {
            Some(method) => method(real $(, $value)*),
            None => unreachable!("the real file system has every method of its version"),
        }
    }};
}

/// The real file behind one of ours.
unsafe fn real(file: *mut sqlite3_file) -> *mut sqlite3_file {
    // SAFETY: `szOsFile` made room for both, ours first.
    unsafe { file.cast::<File>().add(1).cast() }
}

/// The disk under a file, where a test has it in hand.
unsafe fn disk<'a>(file: *mut sqlite3_file) -> Option<(&'a Disk, Part)> {
    // SAFETY: `open` filled the file in before SQLite could use it, and holds the disk until `close`.
    unsafe {
        let file = file.cast::<File>();
        (*file).disk.as_ref().map(|disk| (disk, (*file).part))
    }
}

unsafe fn text<'a>(name: *const c_char) -> Option<&'a str> {
    // SAFETY: SQLite's names end in a zero byte.
    if name.is_null() { None } else { unsafe { CStr::from_ptr(name) }.to_str().ok() }
}

unsafe extern "C" fn open(
    _: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite hands in `szOsFile` bytes for the file, and the real VFS is registered.
    unsafe {
        (*file).pMethods = std::ptr::null();
        let found = text(name).and_then(disk_of);
        let read_only = found
            .as_ref()
            .is_some_and(|(disk, part)| *part == Part::Main && disk.read_only.load(Ordering::SeqCst));
        // As the real one does where the system lets a file be read only.
        let flags = if read_only {
            flags & !(ffi::SQLITE_OPEN_READWRITE | ffi::SQLITE_OPEN_CREATE) | ffi::SQLITE_OPEN_READONLY
        } else {
            flags
        };
        let vfs = REAL.load(Ordering::SeqCst);
        let code = match (*vfs).xOpen {
            Some(open) => open(vfs, name, real(file), flags, out),
            None => ffi::SQLITE_CANTOPEN,
        };
        if code == SQLITE_OK {
            let (disk, part) =
                found.map_or((std::ptr::null(), Part::Main), |(disk, part)| (Arc::into_raw(disk), part));
            let file = file.cast::<File>();
            (*file).disk = disk;
            (*file).part = part;
            (*file).syncs_folder = part != Part::Main && flags & ffi::SQLITE_OPEN_CREATE != 0;
            (*file).base.pMethods = &METHODS;
        }
        code
    }
}

unsafe extern "C" fn delete(_: *mut sqlite3_vfs, name: *const c_char, sync: c_int) -> c_int {
    // SAFETY: as in `open`.
    unsafe {
        let vfs = REAL.load(Ordering::SeqCst);
        let work = || (*vfs).xDelete.map_or(SQLITE_OK, |delete| delete(vfs, name, sync));
        match text(name).and_then(disk_of) {
            Some((disk, part)) => disk.noting(|| Entry::Delete(part, sync != 0), work),
            None => work(),
        }
    }
}

// SAFETY, of all that follow: SQLite calls them with files that `open` made and buffers of the lengths it
// says, and each hands them on to the real file as they are.

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: see above; the disk was held by `open` and is let go of once.
    unsafe {
        let disk = (*file.cast::<File>()).disk;
        let code = real!(file, xClose);
        if !disk.is_null() {
            drop(Arc::from_raw(disk));
        }
        code
    }
}

unsafe extern "C" fn read(file: *mut sqlite3_file, to: *mut c_void, bytes: c_int, at: i64) -> c_int {
    // SAFETY: see above.
    unsafe {
        let refused = disk(file).map_or(SQLITE_OK, |(disk, _)| disk.reads.load(Ordering::SeqCst));
        if refused == SQLITE_OK { real!(file, xRead, to, bytes, at) } else { refused }
    }
}

unsafe extern "C" fn write(file: *mut sqlite3_file, from: *const c_void, bytes: c_int, at: i64) -> c_int {
    // SAFETY: see above.
    unsafe {
        let Some((disk, part)) = disk(file) else { return real!(file, xWrite, from, bytes, at) };
        if let Some(code) = disk.refuses(&disk.writes) {
            if code == SQLITE_FULL {
                // A full disk takes what still fits.
                let _ = real!(file, xWrite, from, bytes / 2, at);
            }
            return code;
        }
        let data = std::slice::from_raw_parts(from.cast::<u8>(), bytes as usize);
        disk.noting(|| Entry::Write(part, at as usize, data.into()), || real!(file, xWrite, from, bytes, at))
    }
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: i64) -> c_int {
    // SAFETY: see above.
    unsafe {
        let Some((disk, part)) = disk(file) else { return real!(file, xTruncate, size) };
        if let Some(code) = disk.refuses(&disk.writes) {
            return code;
        }
        disk.noting(|| Entry::Truncate(part, size as usize), || real!(file, xTruncate, size))
    }
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: see above.
    unsafe {
        let Some((disk, part)) = disk(file) else { return real!(file, xSync, flags) };
        if let Some(code) = disk.refuses(&disk.syncs) {
            return code;
        }
        let code = disk.noting(|| Entry::Sync(part), || real!(file, xSync, flags));
        if code == SQLITE_OK && std::mem::take(&mut (*file.cast::<File>()).syncs_folder) {
            return disk.noting(|| Entry::SyncFolder, || SQLITE_OK);
        }
        code
    }
}

unsafe extern "C" fn file_size(file: *mut sqlite3_file, to: *mut i64) -> c_int {
    // SAFETY: see above.
    unsafe { real!(file, xFileSize, to) }
}

unsafe extern "C" fn lock(file: *mut sqlite3_file, level: c_int) -> c_int {
    // SAFETY: see above.
    unsafe { real!(file, xLock, level) }
}

unsafe extern "C" fn unlock(file: *mut sqlite3_file, level: c_int) -> c_int {
    // SAFETY: see above.
    unsafe { real!(file, xUnlock, level) }
}

unsafe extern "C" fn check_reserved_lock(file: *mut sqlite3_file, to: *mut c_int) -> c_int {
    // SAFETY: see above.
    unsafe { real!(file, xCheckReservedLock, to) }
}

unsafe extern "C" fn file_control(file: *mut sqlite3_file, op: c_int, value: *mut c_void) -> c_int {
    // SAFETY: see above. A pragma comes as an array of strings, the third its value in memory that is
    // the parser's own: two bytes of the four of `full` are written.
    unsafe {
        if op == SQLITE_FCNTL_PRAGMA
            && disk(file).is_some_and(|(disk, _)| disk.hears_normal.load(Ordering::SeqCst))
        {
            let words = value.cast::<*mut c_char>();
            let (name, value) = (*words.add(1), *words.add(2));
            if text(name) == Some("synchronous") && text(value) == Some("full") {
                value.write(b'1' as c_char);
                value.add(1).write(0);
            }
        }
        real!(file, xFileControl, op, value)
    }
}

unsafe extern "C" fn sector_size(file: *mut sqlite3_file) -> c_int {
    // SAFETY: see above.
    unsafe { real!(file, xSectorSize) }
}

unsafe extern "C" fn characteristics(file: *mut sqlite3_file) -> c_int {
    // SAFETY: see above.
    unsafe { real!(file, xDeviceCharacteristics) }
}

unsafe extern "C" fn shm_map(
    file: *mut sqlite3_file,
    region: c_int,
    size: c_int,
    extend: c_int,
    to: *mut *mut c_void,
) -> c_int {
    // SAFETY: see above.
    unsafe { real!(file, xShmMap, region, size, extend, to) }
}

unsafe extern "C" fn shm_lock(file: *mut sqlite3_file, offset: c_int, n: c_int, flags: c_int) -> c_int {
    // SAFETY: see above.
    unsafe { real!(file, xShmLock, offset, n, flags) }
}

unsafe extern "C" fn shm_barrier(file: *mut sqlite3_file) {
    // SAFETY: see above.
    unsafe { real!(file, xShmBarrier) }
}

unsafe extern "C" fn shm_unmap(file: *mut sqlite3_file, remove: c_int) -> c_int {
    // SAFETY: see above.
    unsafe { real!(file, xShmUnmap, remove) }
}

/// Version 2: with shared memory for the write-ahead log, without memory-mapped files, whose writes
/// nobody would see.
static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};
