//! Where reports lie until the server has them: a file for each run, written on one side and read on the
//! other.
//!
//! Everything goes through the file, even while the server answers: memory stays bounded, order is the
//! file's, and a run whose `exec` is killed leaves what it had. Given up: durability against a power cut,
//! which would cost a sync for each line; the page cache survives anything that happens to the process.
//!
//! A disk that takes nothing more must not stop the command, so writing never fails: what cannot be kept
//! is counted, and the count is reported in its place. How the command ended is not a matter of room: for
//! that a small file beside the spool is filled beforehand and written over.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::Utc;
use tokio::sync::watch;
use uuid::Uuid;

use super::medium::Medium;
use super::notices::Notices;
use super::record::{Ended, Message, Progress, Record, RunnerTime, Start};
use crate::model::{Level, MessageText, StepSpec};

/// What ends the name of a spool file.
pub const ENDING: &str = "jsonl";

/// What ends the name of a spool that the server did not take.
pub const REFUSED: &str = "refused";

/// The most bytes that may wait for the server. A command that talks all night to a server that is away
/// must not fill the disk it needs itself.
pub const MOST_WAITING: u64 = 1 << 30;

/// As much as the end of a run and the account of its missing lines take.
const RESERVED: usize = 4096;

/// How far a spool is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Whole records, in bytes.
    pub bytes: u64,
    /// Nothing will be added.
    pub closed: bool,
}

/// What the writing and the reading side share.
pub struct SpoolFile {
    /// What it is written on.
    pub medium: Medium,
    /// Where it lies, where it has a name; otherwise it is gone with this process.
    pub path: Option<PathBuf>,
    /// How far it is written.
    pub extent: watch::Sender<Extent>,
    /// How far it is delivered, in bytes.
    pub delivered: AtomicU64,
    /// Records that did not fit on the disk and are too important to drop: the last ones of a run.
    pub tail: Mutex<Vec<Record>>,
    /// Nobody wants what is still to come.
    pub discard: AtomicBool,
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        self.medium.unlock();
    }
}

impl SpoolFile {
    /// Where it lies, in words.
    pub fn place(&self) -> String {
        self.path.as_ref().map_or_else(|| "memory".to_owned(), |path| path.display().to_string())
    }

    /// Around what is written up to `extent`.
    pub fn new(medium: Medium, path: Option<PathBuf>, extent: Extent) -> Self {
        Self {
            medium,
            path,
            extent: watch::Sender::new(extent),
            delivered: AtomicU64::new(0),
            tail: Mutex::default(),
            discard: AtomicBool::new(false),
        }
    }
}

/// The folder for spools: the one given, or the user's own.
pub fn folder(given: Option<&Path>) -> Option<PathBuf> {
    if let Some(given) = given {
        return Some(given.to_owned());
    }
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("longhaul").join("spool"))
}

/// The writing side of a spool. Clones write to the same one: what the command prints comes from one side,
/// what `exec` has to add to the job's log from another.
#[derive(Clone)]
pub struct Spool(Arc<Mutex<SpoolWriter>>);

struct SpoolWriter {
    shared: Arc<SpoolFile>,
    /// Room for the end. Absent where there was none from the start.
    reserve: Option<File>,
    /// Records not yet written, as lines.
    buffer: Vec<u8>,
    /// How many of them are lines of the command.
    buffered: u64,
    next_key: u64,
    /// Lines of the command that could not be kept and are not yet accounted for.
    dropped: u64,
    /// The buffer holds the account of them.
    accounted: bool,
    most_waiting: u64,
    said_full: bool,
    /// The end was added; nothing comes after it.
    finished: bool,
    notices: Notices,
}

impl Spool {
    /// Makes a spool that begins with `start`, in `folder`, which is made where it is missing. Where that
    /// cannot be done, the spool has no name and lasts as long as this process: that is said where somebody
    /// `asked` for the folder.
    pub fn create(folder: Option<&Path>, asked: bool, start: &Start, notices: Notices) -> Self {
        let mut first = serde_json::to_vec(&Record::Start(start.clone())).unwrap_or_default();
        first.push(b'\n');
        let path = folder.map(|folder| folder.join(format!("{}.{ENDING}", start.key)));
        let made = path.as_deref().map(|path| make_file(path, &first));
        let (medium, path) = match made {
            Some(Ok(file)) => (Medium::File(file), path),
            Some(Err(error)) => {
                if asked {
                    notices.say(&format!(
                        "no spool can be made in the folder that was named ({error}); what the server does not get before exec ends is lost"
                    ));
                }
                (Medium::unnamed(&first), None)
            }
            None => (Medium::unnamed(&first), None),
        };
        let mut writer = SpoolWriter::over(medium, path, notices);
        writer.reserve = writer.shared.path.as_deref().and_then(|path| reserve(path).ok());
        writer.put(&Record::Start(start.clone()));
        writer.flush();
        Self(Arc::new(Mutex::new(writer)))
    }

    /// Whether it is there for a later run, too.
    pub fn has_name(&self) -> bool {
        self.writer().shared.path.is_some()
    }

    #[cfg(test)]
    pub(super) fn over(file: File, path: PathBuf, notices: Notices) -> Self {
        Self(Arc::new(Mutex::new(SpoolWriter::over(Medium::File(file), Some(path), notices))))
    }

    fn writer(&self) -> MutexGuard<'_, SpoolWriter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the reading side needs.
    pub fn shared(&self) -> Arc<SpoolFile> {
        Arc::clone(&self.writer().shared)
    }

    /// Adds a line of the command, printed `at`. Nothing is written before [`Self::flush`].
    pub fn message(
        &mut self,
        level: Level,
        message: MessageText,
        step: Option<&str>,
        at: Option<RunnerTime>,
    ) {
        self.writer().message(level, message, step, at);
    }

    /// Adds a sentence of `exec`'s own to the job's log, at once.
    pub fn remark(&self, level: Level, sentence: &str) {
        let mut writer = self.writer();
        writer.message(level, MessageText::cut(sentence), None, RunnerTime::of(Utc::now()));
        writer.flush();
    }

    /// Adds steps.
    pub fn steps(&mut self, steps: Vec<StepSpec>) {
        self.writer().put(&Record::Steps(steps));
    }

    /// Adds a number.
    pub fn progress(&mut self, progress: Progress) {
        self.writer().put(&Record::Progress(progress));
    }

    /// Writes what was added, and tells the reading side.
    pub fn flush(&mut self) {
        self.writer().flush();
    }

    /// Adds the run's end, and closes the spool. The end is kept even where the spool or the disk is full.
    pub fn finish(self, end: impl Into<Ended>) {
        self.writer().finish(end.into());
    }

    /// Lets only so many bytes wait for the server.
    #[cfg(test)]
    pub(super) fn limit(&mut self, most_waiting: u64) {
        self.writer().most_waiting = most_waiting;
    }

    /// From now on the disk takes nothing.
    #[cfg(test)]
    pub(super) fn fill_disk(&mut self) {
        let mut writer = self.writer();
        let (path, extent) = (writer.shared.path.clone(), *writer.shared.extent.borrow());
        let read_only = File::open(path.as_ref().unwrap()).unwrap();
        writer.shared = Arc::new(SpoolFile::new(Medium::File(read_only), path, extent));
    }
}

impl SpoolWriter {
    fn over(medium: Medium, path: Option<PathBuf>, notices: Notices) -> Self {
        Self {
            shared: Arc::new(SpoolFile::new(medium, path, Extent { bytes: 0, closed: false })),
            reserve: None,
            buffer: Vec::new(),
            buffered: 0,
            next_key: 1,
            dropped: 0,
            accounted: false,
            most_waiting: MOST_WAITING,
            said_full: false,
            finished: false,
            notices,
        }
    }

    fn message(&mut self, level: Level, message: MessageText, step: Option<&str>, at: Option<RunnerTime>) {
        if self.shared.discard.load(Ordering::Relaxed) {
            return;
        }
        if self.dropped > 0 && !self.accounted {
            self.accounted = true;
            let account =
                format!("{} lines before this one were not recorded: the spool was full", self.dropped);
            self.keyed(Level::Warning, MessageText::cut(account), None, at);
        }
        self.keyed(level, message, step, at);
        self.buffered += 1;
    }

    fn keyed(&mut self, level: Level, message: MessageText, step: Option<&str>, at: Option<RunnerTime>) {
        let key = self.next_key;
        self.next_key += 1;
        self.put(&Record::Message(Message { key, level, message, step: step.map(str::to_owned), at }));
    }

    fn put(&mut self, record: &Record) {
        if self.finished || self.shared.discard.load(Ordering::Relaxed) {
            return;
        }
        let before = self.buffer.len();
        if serde_json::to_writer(&mut self.buffer, record).is_err() {
            // Only a number that is none could do this, and those are kept out before.
            self.buffer.truncate(before);
            return;
        }
        self.buffer.push(b'\n');
    }

    fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let at = self.shared.extent.borrow().bytes;
        match self.write_at(at) {
            Ok(()) => {
                let bytes = at + self.buffer.len() as u64;
                self.shared.extent.send_modify(|extent| extent.bytes = bytes);
                if self.accounted {
                    self.dropped = 0;
                }
            }
            Err(error) => {
                // A torn record would make the next one unreadable.
                self.shared.medium.truncate(at);
                self.dropped += self.buffered;
                if !self.said_full {
                    self.said_full = true;
                    self.notices.say(&format!(
                        "reports cannot be kept in {} ({error}); the command goes on, and the lines missing from its log are counted there",
                        self.shared.place()
                    ));
                }
            }
        }
        self.accounted = false;
        self.buffered = 0;
        self.buffer.clear();
        // One burst must not hold its memory for the rest of a run.
        self.buffer.shrink_to(1 << 20);
    }

    fn write_at(&self, at: u64) -> io::Result<()> {
        let waiting =
            (at + self.buffer.len() as u64).saturating_sub(self.shared.delivered.load(Ordering::Relaxed));
        if waiting > self.most_waiting {
            return Err(io::Error::other(format!(
                "{} MiB wait for the server already",
                self.most_waiting >> 20
            )));
        }
        self.shared.medium.write_all_at(&self.buffer, at)
    }

    fn finish(&mut self, end: Ended) {
        self.flush();
        // How much waits already matters no more: this is all that comes.
        self.most_waiting = u64::MAX;
        let dropped = self.dropped;
        let mut last = Vec::new();
        if dropped > 0 {
            last.push(Record::Message(Message {
                key: self.next_key,
                level: Level::Warning,
                message: MessageText::cut(format!(
                    "The last {dropped} lines were not recorded: the spool was full"
                )),
                step: None,
                at: None,
            }));
        }
        last.push(Record::End(end));
        let before = self.shared.extent.borrow().bytes;
        for record in &last {
            self.put(record);
        }
        self.flush();
        self.finished = true;
        if self.shared.extent.borrow().bytes > before {
            if let Some(path) = &self.shared.path {
                let _ = std::fs::remove_file(reserve_path(path));
            }
        } else {
            // For a later run, should this one not come to deliver it.
            if let Some(reserve) = &self.reserve {
                let _ = reserve.write_all_at(&lines_within(&last, RESERVED), 0);
            }
            *self.shared.tail.lock().unwrap_or_else(PoisonError::into_inner) = last;
        }
        self.shared.extent.send_modify(|extent| extent.closed = true);
    }
}

/// Where the end of a run lies that the spool had no room for.
pub fn reserve_path(spool: &Path) -> PathBuf {
    spool.with_extension("end")
}

/// Makes room for the end, by filling it with what means nothing: space that was only asked for may be
/// gone when it is needed.
fn reserve(spool: &Path) -> io::Result<File> {
    let path = reserve_path(spool);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all_at(&[b' '; RESERVED], 0).inspect_err(|_| {
        let _ = std::fs::remove_file(&path);
    })?;
    Ok(file)
}

/// Records as lines. Where they do not all fit into so many bytes, the last ones, which matter most.
fn lines_within(records: &[Record], most: usize) -> Vec<u8> {
    let mut lines = Vec::new();
    for record in records.iter().rev() {
        let Ok(mut line) = serde_json::to_vec(record) else { break };
        line.push(b'\n');
        if line.len() + lines.len() > most {
            break;
        }
        line.append(&mut lines);
        lines = line;
    }
    lines
}

/// The end of a run that lies beside its spool; nothing where it has none there.
pub fn reserved_end(spool: &Path) -> Vec<Record> {
    let text = std::fs::read(reserve_path(spool)).unwrap_or_default();
    let lines = text.split(|byte| *byte == b'\n');
    lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// Makes a spool's file, and holds its lock before anybody else can see it under its name. It must have room
/// for the first record.
fn make_file(path: &Path, first: &[u8]) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let hidden = path.with_extension("new");
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&hidden)?;
    let made = file.lock().and_then(|()| file.write_all_at(first, 0));
    made.and_then(|()| std::fs::rename(&hidden, path)).inspect_err(|_| {
        let _ = std::fs::remove_file(&hidden);
    })?;
    Ok(file)
}

/// The keys of the runs whose spools lie in `folder`, oldest first: the keys are made to sort by time.
pub fn runs(folder: &Path) -> io::Result<Vec<PathBuf>> {
    with_ending(folder, ENDING)
}

/// The files in `folder` that are named by a run's key, and end so.
pub fn with_ending(folder: &Path, wanted: &str) -> io::Result<Vec<PathBuf>> {
    let mut runs = Vec::new();
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(runs),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let is_run = path.extension().is_some_and(|ending| ending == wanted)
            && path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .is_some_and(|stem| Uuid::try_parse(stem).is_ok());
        if is_run {
            runs.push(path);
        }
    }
    runs.sort_unstable();
    Ok(runs)
}
