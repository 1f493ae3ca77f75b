//! Jobs with their logs as text: the form in which they leave one store and enter another.
//!
//! NDJSON, one object a line, each with one key that says what it is:
//!
//! ```text
//! {"header":{"format":"longhaul-jobs","version":1}}
//! {"job":{"id":"…","spec":{…},"status":"completed","seq":2,…}}
//! {"event":{"seq":1,"at":1764086400000,"source":{"actor":{…}},"event":{"type":"created",…}}}
//! {"event":{"seq":2,"at":1764086460000,"source":"run","event":{"type":"completed",…}}}
//! {"end":{"jobs":1,"events":2}}
//! ```
//!
//! A job is everything the store keeps of it, and is followed by its whole log. Jobs come in the order of
//! their ids and keys in a fixed order, so that two stores with the same jobs export the same bytes. The last
//! line tells a whole file from one that was cut off. A job that history removed while it was being written
//! is taken back by `{"gone":{"id":"…"}}`, and an import leaves it out; so is one whose log, being full, left lines out
//! meanwhile, which then comes once more.
//!
//! An import believes nothing: each job must be what its log says, or it is refused. Given up: accounts,
//! idempotency keys and the counters of past days, which are not jobs. A backup has them.

mod record;

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::record::{EventRecord, JobRecord};
use super::{ImportedJob, JobStore, StoreError, ledger};
use crate::model::{Job, JobId, Refusal};

const FORMAT: &str = "longhaul-jobs";
const VERSION: u32 = 1;

/// Jobs are read this many at a time.
const JOBS: usize = 50;
/// Log entries are read and written this many at a time.
const CHUNK: usize = 1_000;
/// A job is begun again so often whose log, being full, left lines out while it was written.
const AGAIN: u32 = 3;
/// An import writes this many jobs, or entries, in one transaction. A log longer than that is one of its own.
const BATCH_JOBS: usize = 500;
const BATCH_EVENTS: usize = 20_000;

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Line {
    Header(Header),
    Job(Box<JobRecord>),
    Event(EventRecord),
    Gone(Gone),
    End(Moved),
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct Gone {
    id: JobId,
}

/// How much was written or read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Jobs.
    pub jobs: u64,
    /// Entries of their logs.
    pub events: u64,
}

/// Turns a store's jobs into text, a piece at a time, while work goes on.
///
/// Each job is as it stood when its turn came. It is visited once: ids do not change, whatever becomes of
/// a job meanwhile.
pub struct Exporter {
    store: Arc<dyn JobStore>,
    only_past: bool,
    began: bool,
    ended: bool,
    /// The last job that was read.
    last: Option<JobId>,
    waiting: VecDeque<Arc<Job>>,
    current: Option<Current>,
    moved: Moved,
}

/// A job being written.
struct Current {
    job: Arc<Job>,
    /// The last entry of its log that was.
    reached: u64,
    /// How many were.
    written: u64,
    /// How often it was begun again.
    again: u32,
}

impl Current {
    fn of(job: Arc<Job>) -> Self {
        Self { job, reached: 0, written: 0, again: 0 }
    }
}

impl Exporter {
    /// Over all jobs, or over those that have ended.
    pub fn new(store: Arc<dyn JobStore>, only_past: bool) -> Self {
        Self {
            store,
            only_past,
            began: false,
            ended: false,
            last: None,
            waiting: VecDeque::new(),
            current: None,
            moved: Moved::default(),
        }
    }

    /// What was written so far.
    pub fn moved(&self) -> Moved {
        self.moved
    }

    /// The next piece: some whole lines, each with its line feed. `None` at the end.
    pub async fn next(&mut self) -> Result<Option<String>, StoreError> {
        let mut text = String::new();
        if !self.began {
            self.began = true;
            put(&mut text, &Line::Header(Header { format: FORMAT.to_owned(), version: VERSION }))?;
        }
        while text.is_empty() || (text.len() < 64 * 1024 && self.current.is_none()) {
            if self.ended {
                return Ok(Some(text).filter(|text| !text.is_empty()));
            }
            if let Some(current) = self.current.take() {
                self.go_on(current, &mut text).await?;
            } else if let Some(job) = self.waiting.pop_front() {
                self.go_on(Current::of(job), &mut text).await?;
            } else {
                let page = self.store.jobs_by_id(self.last, JOBS).await?;
                match page.last() {
                    Some(job) => self.last = Some(job.id),
                    None => {
                        self.ended = true;
                        put(&mut text, &Line::End(self.moved))?;
                    }
                }
                let wanted = |job: &Arc<Job>| !self.only_past || job.status.is_final();
                self.waiting = page.into_iter().filter(wanted).collect();
            }
        }
        Ok(Some(text))
    }

    /// Writes more of a job: its line before its first entries, then as many as fit.
    async fn go_on(&mut self, current: Current, text: &mut String) -> Result<(), StoreError> {
        let Current { job, reached, written, again } = current;
        let limit = usize::try_from(job.seq - reached).unwrap_or(CHUNK).min(CHUNK);
        let mut events = match self.store.events(job.id, reached, limit).await {
            Ok(events) => events,
            Err(StoreError::Refused(Refusal::NotFound { .. })) => Vec::new(),
            Err(error) => return Err(error),
        };
        let more = events.len() == limit;
        // What is recorded after the job was read belongs to a job that is not the one we write.
        events.retain(|event| event.seq <= Some(job.seq));
        if events.is_empty() && written == 0 {
            return Ok(());
        }
        if written == 0 {
            self.moved.jobs += 1;
            put(text, &Line::Job(Box::new(JobRecord::from(&*job))))?;
        }
        let reached = events.last().and_then(|event| event.seq).unwrap_or(reached);
        let written = written + events.len() as u64;
        self.moved.events += events.len() as u64;
        for event in events {
            put(text, &Line::Event(EventRecord::from(event)))?;
        }
        if more && reached < job.seq {
            self.current = Some(Current { job, reached, written, again });
            return Ok(());
        }
        // History may have removed it meanwhile, and a log that is full leaves lines out while it grows.
        let stands = self.store.get(job.id).await?;
        let moved = |stands: &Arc<Job>| stands.tails.moved_since(&job.tails);
        if reached == job.seq && !stands.as_ref().is_some_and(moved) {
            return Ok(());
        }
        self.moved.jobs -= 1;
        self.moved.events -= written;
        put(text, &Line::Gone(Gone { id: job.id }))?;
        match stands {
            Some(job) if again < AGAIN => {
                self.current = Some(Current { again: again + 1, ..Current::of(job) });
            }
            Some(job) => tracing::warn!(
                job = %job.id,
                "A job whose log is full goes on too quickly to be exported. Export again when it has ended"
            ),
            None => {}
        }
        Ok(())
    }
}

fn put(text: &mut String, line: &Line) -> Result<(), StoreError> {
    let line = serde_json::to_string(line).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    text.push_str(&line);
    text.push('\n');
    Ok(())
}

/// Why an import stopped. What was written before is in the store.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The text is not what an export writes.
    #[error("Line {line}: {problem}. {} jobs from the lines before are imported.", .before.jobs)]
    Malformed {
        /// Where.
        line: u64,
        /// What is wrong.
        problem: String,
        /// What is in the store now.
        before: Moved,
    },
    /// The store refused, or could not.
    #[error("{error} {} jobs were imported before.", .before.jobs)]
    Store {
        /// Why.
        error: StoreError,
        /// What is in the store now.
        before: Moved,
    },
}

/// Puts a file's jobs into a store, a line at a time, in transactions of a bounded size.
pub struct Importer {
    store: Arc<dyn JobStore>,
    line: u64,
    began: bool,
    ended: bool,
    current: Option<ImportedJob>,
    waiting: Vec<ImportedJob>,
    waiting_events: usize,
    read: Moved,
    written: Moved,
}

impl Importer {
    /// Into that store.
    pub fn new(store: Arc<dyn JobStore>) -> Self {
        Self {
            store,
            line: 0,
            began: false,
            ended: false,
            current: None,
            waiting: Vec::new(),
            waiting_events: 0,
            read: Moved::default(),
            written: Moved::default(),
        }
    }

    fn malformed(&self, problem: impl Into<String>) -> ImportError {
        ImportError::Malformed { line: self.line, problem: problem.into(), before: self.written }
    }

    /// Takes a line, with or without its line feed.
    pub async fn line(&mut self, text: &str) -> Result<(), ImportError> {
        self.line += 1;
        if self.ended {
            return Err(self.malformed("there is more after the last line"));
        }
        let line: Line = serde_json::from_str(text)
            .map_err(|error| self.malformed(format!("this is no line of an export: {error}")))?;
        match line {
            Line::Header(header) if !self.began => {
                if header.format != FORMAT || header.version != VERSION {
                    return Err(self.malformed(format!(
                        "this is {} version {}, and this program reads {FORMAT} version {VERSION}",
                        header.format, header.version
                    )));
                }
                self.began = true;
            }
            _ if !self.began => return Err(self.malformed("the file does not begin with a header")),
            Line::Header(_) => return Err(self.malformed("there is a second header")),
            Line::Job(record) => {
                self.settle()?;
                if self.waiting.len() >= BATCH_JOBS || self.waiting_events >= BATCH_EVENTS {
                    self.write().await?;
                }
                let job = record.into_job().map_err(|problem| self.malformed(problem))?;
                self.current = Some(ImportedJob { job: Arc::new(job), log: Vec::new() });
            }
            Line::Event(record) => {
                let event = record.into_event().map_err(|problem| self.malformed(problem))?;
                match &mut self.current {
                    Some(current) => current.log.push(event),
                    None => return Err(self.malformed("this entry belongs to no job")),
                }
            }
            Line::Gone(gone) => match self.current.take() {
                Some(current) if current.job.id == gone.id => {}
                _ => return Err(self.malformed("this takes back another job than the one before it")),
            },
            Line::End(end) => {
                self.settle()?;
                if end != self.read {
                    return Err(self.malformed(format!(
                        "there should be {} jobs with {} log entries, and there are {} with {}",
                        end.jobs, end.events, self.read.jobs, self.read.events
                    )));
                }
                self.ended = true;
                self.write().await?;
            }
        }
        Ok(())
    }

    /// The job that was being read is complete.
    fn settle(&mut self) -> Result<(), ImportError> {
        let Some(current) = self.current.take() else { return Ok(()) };
        let mut replayed = ledger::Replay::new(current.job.id);
        for event in &current.log {
            replayed.add(event);
        }
        if !replayed.agrees_with(&current.job) {
            return Err(self.malformed(format!("job {} is not what its log says", current.job.id)));
        }
        self.read.jobs += 1;
        self.read.events += current.log.len() as u64;
        self.waiting_events += current.log.len();
        self.waiting.push(current);
        Ok(())
    }

    async fn write(&mut self) -> Result<(), ImportError> {
        let jobs = std::mem::take(&mut self.waiting);
        if jobs.is_empty() {
            return Ok(());
        }
        let (count, events) = (jobs.len() as u64, self.waiting_events as u64);
        self.waiting_events = 0;
        let before = self.written;
        self.store.import(jobs).await.map_err(|error| ImportError::Store { error, before })?;
        self.written.jobs += count;
        self.written.events += events;
        Ok(())
    }

    /// The text has ended. Answers what was imported.
    pub async fn finish(mut self) -> Result<Moved, ImportError> {
        if self.ended {
            return Ok(self.written);
        }
        self.line += 1;
        // What was read whole is imported; the error says that the file was cut off.
        if self.settle().is_ok() {
            self.write().await?;
        }
        Err(self.malformed("the file was cut off: its last line is missing"))
    }
}
