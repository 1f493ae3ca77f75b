//! What a spool is written on: a file, or memory where no disk takes one.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes by their place, as in a file.
pub enum Medium {
    /// On a disk.
    File(File),
    /// Nowhere else.
    Memory(Mutex<Memory>),
}

/// The part of a spool that has not been given back.
#[derive(Default)]
pub struct Memory {
    begin: u64,
    bytes: VecDeque<u8>,
}

impl Medium {
    /// A medium without a name, for a run whose folder takes no spool: a file that nobody else sees in one of
    /// the system's folders for such files, or memory. It must take a first record of this length.
    pub fn unnamed(first: &[u8]) -> Self {
        let given = std::env::var_os("TMPDIR").map(PathBuf::from).filter(|folder| folder.is_absolute());
        let folders = given.into_iter().chain(["/var/tmp", "/tmp"].map(PathBuf::from));
        let mut files = folders.filter_map(|folder| tempfile::tempfile_in(folder).ok());
        files.find(|file| file.write_all_at(first, 0).is_ok()).map_or_else(Self::memory, Self::File)
    }

    /// Memory.
    pub fn memory() -> Self {
        Self::Memory(Mutex::default())
    }

    /// Writes at a place that is within what was written, or right after it.
    ///
    /// # Errors
    /// Where the disk does not take it.
    pub fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        match self {
            Self::File(file) => file.write_all_at(bytes, at),
            Self::Memory(memory) => {
                let mut memory = lock(memory);
                memory.truncate(at);
                if memory.end() != at {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                memory.bytes.extend(bytes);
                Ok(())
            }
        }
    }

    /// Reads from a place.
    ///
    /// # Errors
    /// Where there is not so much, or the disk cannot be read.
    pub fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        match self {
            Self::File(file) => file.read_exact_at(bytes, at),
            Self::Memory(memory) => {
                let memory = lock(memory);
                let skipped = at.checked_sub(memory.begin).and_then(|skipped| usize::try_from(skipped).ok());
                let range = skipped.map(|from| from..from.saturating_add(bytes.len()));
                let Some(range) = range.filter(|range| range.end <= memory.bytes.len()) else {
                    return Err(ErrorKind::UnexpectedEof.into());
                };
                for (to, from) in bytes.iter_mut().zip(memory.bytes.range(range)) {
                    *to = *from;
                }
                Ok(())
            }
        }
    }

    /// Forgets what comes from `at` on.
    pub fn truncate(&self, at: u64) {
        match self {
            Self::File(file) => {
                let _ = file.set_len(at);
            }
            Self::Memory(memory) => lock(memory).truncate(at),
        }
    }

    /// Gives back the room of what nobody reads any more. Where the system cannot do it, the room is free again
    /// once the run is delivered.
    pub fn release(&self, from: u64, length: u64) {
        match self {
            Self::File(file) => punch(file, from, length),
            Self::Memory(memory) => {
                let mut memory = lock(memory);
                let gone = (from + length).saturating_sub(memory.begin);
                let gone = usize::try_from(gone).unwrap_or(usize::MAX).min(memory.bytes.len());
                memory.bytes.drain(..gone);
                memory.bytes.shrink_to(1 << 20);
                memory.begin += gone as u64;
            }
        }
    }

    /// Lets go of the lock outright: a process that was just forked, and has not closed what it inherited,
    /// would hold on to it.
    pub fn unlock(&self) {
        if let Self::File(file) = self {
            let _ = file.unlock();
        }
    }
}

impl Memory {
    fn end(&self) -> u64 {
        self.begin + self.bytes.len() as u64
    }

    fn truncate(&mut self, at: u64) {
        let kept = usize::try_from(at.saturating_sub(self.begin)).unwrap_or(usize::MAX);
        self.bytes.truncate(kept);
    }
}

fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(target_os = "linux")]
fn punch(file: &File, from: u64, length: u64) {
    use rustix::fs::{FallocateFlags, fallocate};
    let _ = fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, from, length);
}

#[cfg(not(target_os = "linux"))]
fn punch(_: &File, _: u64, _: u64) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_as_a_file_is() {
        for medium in [Medium::memory(), Medium::File(tempfile::tempfile().unwrap())] {
            let read = |from, length| {
                let mut bytes = vec![0; length];
                medium.read_exact_at(&mut bytes, from).map(|()| String::from_utf8(bytes).unwrap())
            };
            medium.write_all_at(b"first second", 0).unwrap();
            medium.write_all_at(b" third", 12).unwrap();
            assert_eq!(read(6, 12).unwrap(), "second third");
            assert!(read(6, 13).is_err() && read(99, 1).is_err());
            medium.truncate(12);
            medium.write_all_at(b"!", 12).unwrap();
            medium.release(0, 6);
            assert_eq!(read(6, 7).unwrap(), "second!");
            assert!(read(6, 8).is_err());
        }
    }
}
