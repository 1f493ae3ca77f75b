//! The reading side of a spool: what the server does not have yet, a batch at a time.
//!
//! How far delivery has come lies in a small file beside the spool, rewritten after each batch. It may be
//! lost or lag behind: then records are delivered again, which changes nothing, because messages carry
//! keys, numbers never fall, and the start has its own key.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::medium::Medium;
use super::record::{End, Message, Progress, Record, Start};
use super::spool::{Extent, REFUSED, SpoolFile, reserve_path, reserved_end};
use crate::model::JobId;

/// The most messages of one request.
const MOST_MESSAGES: usize = 500;
/// The most bytes that are read at once, and so the most of one request. No record is longer: 64 KiB of
/// text take at most six times that when every character is escaped.
const WINDOW: usize = 1 << 20;

/// The job a run became.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobRef {
    /// The job.
    pub job_id: JobId,
    /// The fence of this run (ARCHITECTURE decision 4).
    pub epoch: u32,
}

/// How far delivery has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    offset: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    job: Option<JobRef>,
}

/// Records that can be delivered together: messages in one request, then numbers, then what needs a
/// request of its own.
#[derive(Debug, Default, PartialEq)]
pub struct Bundle {
    /// Lines of output, in order.
    pub messages: Vec<Message>,
    /// The last number of each step. What lies between them is of no interest any more.
    pub progress: Vec<Progress>,
    /// Steps, a start or an end.
    pub last: Option<Record>,
    /// How much of the spool this is, in bytes.
    bytes: u64,
}

impl Bundle {
    /// Takes as many records from the beginning of `bytes` as can be delivered together. What cannot be
    /// read (a disk lies, an editor was let loose on the file) is skipped.
    fn take(bytes: &[u8]) -> Self {
        let mut batch = Self::default();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if line.last() != Some(&b'\n') {
                break;
            }
            batch.bytes += line.len() as u64;
            match serde_json::from_slice(&line[leading_zeros(line)..]) {
                Ok(Record::Message(message)) => batch.messages.push(message),
                Ok(Record::Progress(progress)) => batch.note(progress),
                Ok(other) => batch.last = Some(other),
                Err(_) => {}
            }
            if batch.last.is_some() || batch.messages.len() == MOST_MESSAGES {
                return batch;
            }
        }
        if batch.bytes == 0 {
            // Not even one whole record: the space that was given back, or rubbish.
            let zeros = leading_zeros(bytes);
            batch.bytes = if zeros > 0 { zeros } else { bytes.len() } as u64;
        }
        batch
    }

    fn note(&mut self, new: Progress) {
        match self.progress.iter_mut().find(|old| old.step == new.step) {
            Some(old) => old.progress = old.progress.max(new.progress),
            None => self.progress.push(new),
        }
    }

    /// How many lines of output it holds.
    pub fn lines(&self) -> usize {
        self.messages.len()
    }
}

/// What is left to deliver of one run.
pub struct Backlog {
    shared: Arc<SpoolFile>,
    extent: watch::Receiver<Extent>,
    position: Position,
    position_file: Option<File>,
    /// Up to here the disk has been given its space back. The start stays: it says which job this is.
    /// 0 is before anything was delivered.
    released: u64,
    window: Vec<u8>,
    tail_taken: bool,
    /// The run's end was read.
    ended: bool,
}

impl Backlog {
    /// What a running run leaves to deliver.
    pub fn of_run(shared: Arc<SpoolFile>) -> Self {
        Self::new(shared, Position::default())
    }

    fn new(shared: Arc<SpoolFile>, position: Position) -> Self {
        Self {
            extent: shared.extent.subscribe(),
            position_file: None,
            released: 0,
            window: Vec::new(),
            tail_taken: false,
            ended: false,
            position,
            shared,
        }
    }

    /// What an earlier run left. `None` where another process is at it, or has just finished.
    ///
    /// # Errors
    /// Where the file cannot be read, or does not begin as a spool does.
    pub fn of_file(path: &Path) -> io::Result<Option<(Start, Self)>> {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if file.metadata()?.nlink() == 0 {
            // Delivered and deleted between our opening it and our locking it.
            return Ok(None);
        }
        let bytes = whole_records(&file)?;
        let mut head = vec![0; WINDOW.min(usize::try_from(bytes).unwrap_or(WINDOW))];
        file.read_exact_at(&mut head, 0)?;
        let head_length = head.iter().position(|byte| *byte == b'\n').unwrap_or(head.len());
        let start = match serde_json::from_slice(&head[..head_length]) {
            Ok(Record::Start(start)) => start,
            _ => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not begin with a job"));
            }
        };
        let position = std::fs::read(position_path(path))
            .ok()
            .and_then(|text| serde_json::from_slice::<Position>(&text).ok())
            .filter(|position| position.offset <= bytes)
            .unwrap_or_default();
        let shared =
            SpoolFile::new(Medium::File(file), Some(path.to_owned()), Extent { bytes, closed: true });
        shared.delivered.store(position.offset, Ordering::Relaxed);
        *shared.tail.lock().unwrap_or_else(PoisonError::into_inner) = reserved_end(path);
        let mut backlog = Self::new(Arc::new(shared), position);
        backlog.released = (head_length as u64).next_multiple_of(BLOCK);
        Ok(Some((start, backlog)))
    }

    /// The job, where it was made.
    pub fn job(&self) -> Option<JobRef> {
        self.position.job
    }

    /// Remembers the job, for whoever delivers the rest.
    pub fn set_job(&mut self, job: JobRef) {
        self.position.job = Some(job);
        self.save_position();
    }

    /// Where the spool lies, where it has a name.
    pub fn path(&self) -> Option<&Path> {
        self.shared.path.as_deref()
    }

    /// The next records. Waits until there are some; `None` once everything was given out and nothing
    /// more will come.
    ///
    /// The file is read in place rather than on a thread of its own: what is read was written moments ago,
    /// and comes from the page cache.
    ///
    /// # Errors
    /// Where the spool cannot be read.
    pub async fn next(&mut self) -> io::Result<Option<Bundle>> {
        loop {
            let extent = *self.extent.borrow_and_update();
            if self.position.offset < extent.bytes {
                let batch = self.read(extent.bytes)?;
                self.ended |= matches!(batch.last, Some(Record::End(_)));
                return Ok(Some(batch));
            }
            if extent.closed {
                return Ok(self.tail());
            }
            if self.extent.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    fn read(&mut self, end: u64) -> io::Result<Bundle> {
        let left = end - self.position.offset;
        self.window.resize(usize::try_from(left).unwrap_or(WINDOW).min(WINDOW), 0);
        self.shared.medium.read_exact_at(&mut self.window, self.position.offset)?;
        Ok(Bundle::take(&self.window))
    }

    /// What comes after the file: the end, where the file did not take it or nobody lived to write it.
    fn tail(&mut self) -> Option<Bundle> {
        if self.tail_taken || self.ended {
            return None;
        }
        self.tail_taken = true;
        let mut batch = Bundle::default();
        let mut tail = self.shared.tail.lock().unwrap_or_else(PoisonError::into_inner);
        for record in tail.drain(..) {
            match record {
                Record::Message(message) => batch.messages.push(message),
                last => batch.last = Some(last),
            }
        }
        batch.last.get_or_insert_with(|| Record::End(End::unknown().into()));
        Some(batch)
    }

    /// The server has the batch.
    pub fn delivered(&mut self, batch: &Bundle) {
        self.position.offset += batch.bytes;
        self.shared.delivered.store(self.position.offset, Ordering::Relaxed);
        self.save_position();
        self.release();
    }

    /// Whether lines of output are left that the server does not have.
    pub fn has_lines(&mut self) -> bool {
        let end = self.extent.borrow().bytes;
        let offset = self.position.offset;
        let mut found = false;
        while !found && self.position.offset < end {
            match self.read(end) {
                Ok(batch) => {
                    found = batch.lines() > 0;
                    self.position.offset += batch.bytes;
                }
                Err(_) => break,
            }
        }
        self.position.offset = offset;
        found
    }

    /// Everything is delivered, or nobody wants it: the spool goes.
    pub fn remove(&self) {
        if let Some(path) = &self.shared.path {
            let _ = std::fs::remove_file(path);
            let _ = std::fs::remove_file(position_path(path));
            let _ = std::fs::remove_file(reserve_path(path));
        }
    }

    /// The server will never take the rest: the spool is kept under a name at which it is not tried again.
    /// Returns where, in words.
    pub fn set_aside(&self) -> String {
        let Some(path) = &self.shared.path else {
            return "nowhere, because no folder takes a spool".to_owned();
        };
        let aside = path.with_extension(REFUSED);
        let _ = std::fs::rename(path, &aside);
        let _ = std::fs::remove_file(position_path(path));
        let _ = std::fs::remove_file(reserve_path(path));
        aside.display().to_string()
    }

    /// Nobody wants what is still to come: the writing side may stop writing.
    pub fn discard(&self) {
        self.shared.discard.store(true, Ordering::Relaxed);
    }

    fn save_position(&mut self) {
        let Some(path) = &self.shared.path else { return };
        if self.position_file.is_none() {
            self.position_file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(position_path(path))
                .ok();
        }
        // Numbers only grow, so the new text covers the old one. Losing it costs repetition, no more.
        if let (Some(file), Ok(text)) = (&self.position_file, serde_json::to_vec(&self.position)) {
            let _ = file.write_all_at(&text, 0);
        }
    }

    /// Gives the disk back what was delivered, so that a run of a week does not keep its whole output.
    /// The file keeps its length, and with it every offset its meaning. Where the system cannot do it, the
    /// space is free again once the run is delivered.
    fn release(&mut self) {
        const WORTH_IT: u64 = 4 << 20;
        if self.released == 0 {
            self.released = self.position.offset.next_multiple_of(BLOCK);
        }
        let to = self.position.offset / BLOCK * BLOCK;
        if to >= self.released + WORTH_IT {
            self.shared.medium.release(self.released, to - self.released);
            self.released = to;
        }
    }
}

/// What disks give back space by.
const BLOCK: u64 = 4096;

fn leading_zeros(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| **byte == 0).count()
}

fn position_path(spool: &Path) -> PathBuf {
    spool.with_extension("pos")
}

/// How much of a file is whole records: the last one may have been torn when its writer was killed.
fn whole_records(file: &File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut window = vec![0; 64 * 1024];
    while end > 0 {
        let length = end.min(window.len() as u64);
        let window = &mut window[..length as usize];
        file.read_exact_at(window, end - length)?;
        if let Some(at) = window.iter().rposition(|byte| *byte == b'\n') {
            return Ok(end - length + at as u64 + 1);
        }
        end -= length;
    }
    Ok(0)
}
