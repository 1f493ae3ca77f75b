//! Reads the command's output, passes it through, and hands its lines to the recorder.
//!
//! A thread of its own with blocking calls: whoever reads `exec`'s output may be slow, and a disk may be,
//! and neither may hold up heartbeats. One thread for both outputs keeps their lines in the order in which
//! they arrived.
//!
//! Another thread does nothing but write what is passed through. The reader waits for it, so the command is
//! held up by a slow reader of `exec`'s output as it would be without Longhaul; but it can give up waiting
//! when the command was told to stop, and a write cannot be given up.

use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::oneshot;

use super::link::Link;
use super::notices::Notices;
use super::reader::Reader;
use super::recorder::{Moment, Recorder, Source};
use super::spool::Spool;
use crate::model::Level;

/// As much as a pipe holds by default.
const CHUNK: usize = 64 * 1024;

/// How often somebody who waits for a write looks whether it is still worth it.
const BLINK: Duration = Duration::from_millis(20);
/// How long a write may take once the command was told to stop. Whoever still reads is much faster.
const LAST_WRITE: Duration = Duration::from_millis(500);

/// Where an output is passed through to; nowhere with `--quiet`.
pub type Through = Option<Box<dyn Write + Send>>;

/// The thread that reads.
pub struct Pump {
    stop: Option<PipeWriter>,
    hurry: Arc<AtomicBool>,
    done: oneshot::Receiver<Finished>,
}

/// What is left when nothing more is read.
pub struct Finished {
    /// Takes the run's end.
    pub recorder: Recorder,
    /// The outputs that somebody still holds open. Closed here, they are whoever writes there's SIGPIPE.
    pub open: Vec<PipeReader>,
    /// Why some of the output could not be passed through, where it could not.
    pub failed: Option<String>,
}

impl Pump {
    /// Begins to read `out` and `err`.
    ///
    /// # Errors
    /// Where the system has no more threads or files; the recorder comes back.
    pub fn start(
        (out, to_out): (PipeReader, Through),
        (err, to_err): (PipeReader, Through),
        recorder: Recorder,
        (notices, log, link): (Notices, Spool, Arc<Link>),
    ) -> Result<Self, Box<(io::Error, Recorder)>> {
        let (sender, done) = oneshot::channel();
        let hurry = Arc::new(AtomicBool::new(false));
        // The thread is there before it gets anything, so that nothing is lost where it is not.
        let (give, given) = sync_channel::<(Work, PipeReader)>(1);
        let prepared = io::pipe().and_then(|pipe| {
            let passing = Passing::start([to_out, to_err], Arc::clone(&hurry))?;
            std::thread::Builder::new().name("output".to_owned()).spawn(move || {
                let Ok((mut work, stopped)) = given.recv() else { return };
                work.run(&stopped);
                let open = work.streams.into_iter().filter_map(|stream| stream.pipe).collect();
                let _ = sender.send(Finished { recorder: work.recorder, open, failed: work.failed });
            })?;
            Ok((pipe, passing))
        });
        let ((stopped, stop), passing) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Err(Box::new((error, recorder))),
        };
        let streams = [Stream::new(Source::Stdout, out), Stream::new(Source::Stderr, err)];
        let buffer = vec![0; CHUNK];
        let work = Work { streams, passing, recorder, notices, log, link, failed: None, buffer };
        // It waits for nothing else.
        let _ = give.send((work, stopped));
        Ok(Self { stop: Some(stop), hurry, done })
    }

    /// One that has nothing to read.
    pub fn idle(recorder: Recorder) -> Self {
        let (sender, done) = oneshot::channel();
        let _ = sender.send(Finished { recorder, open: Vec::new(), failed: None });
        Self { stop: None, hurry: Arc::default(), done }
    }

    /// Makes that nobody waits any longer for whoever reads what is passed through.
    pub fn hurry(&self) -> impl Fn() + Send + use<> {
        let hurry = Arc::clone(&self.hurry);
        move || hurry.store(true, Ordering::Relaxed)
    }

    /// Waits until both outputs are closed. Where something that the command started still holds them when
    /// `enough` says so, what they have is read and no more. `None` where the thread is gone.
    pub async fn finish(mut self, enough: impl Future<Output = ()>) -> Option<Finished> {
        tokio::select! {
            biased;
            done = &mut self.done => return done.ok(),
            () = enough => {}
        }
        drop(self.stop);
        self.done.await.ok()
    }
}

struct Stream {
    source: Source,
    /// Absent once closed.
    pipe: Option<PipeReader>,
    reader: Reader,
}

impl Stream {
    fn new(source: Source, pipe: PipeReader) -> Self {
        Self { source, pipe: Some(pipe), reader: Reader::new(source) }
    }
}

struct Work {
    streams: [Stream; 2],
    passing: Passing,
    recorder: Recorder,
    notices: Notices,
    log: Spool,
    link: Arc<Link>,
    failed: Option<String>,
    buffer: Vec<u8>,
}

impl Work {
    fn run(&mut self, stop: &PipeReader) {
        while self.streams.iter().any(|stream| stream.pipe.is_some()) {
            let ready = self.wait(Some(stop), self.timeout());
            let now = Moment::now();
            self.read_ready(&ready, now);
            if ready[2] {
                self.read_rest(now);
                break;
            }
            for stream in &mut self.streams {
                stream.reader.tick(now, &mut self.recorder);
            }
            self.recorder.tick(now);
        }
        let now = Moment::now();
        for stream in &mut self.streams {
            stream.reader.finish(now, &mut self.recorder);
        }
        self.recorder.tick(now);
    }

    /// How long nothing may come before there is something else to do.
    fn timeout(&self) -> Option<Duration> {
        let resting = self.streams.iter().filter_map(|stream| stream.reader.due());
        let due = resting.chain(self.recorder.due()).min();
        due.map(|due| due.saturating_duration_since(Instant::now()))
    }

    /// Waits until an output has something, or `stop` is closed: in this order.
    fn wait(&self, stop: Option<&PipeReader>, timeout: Option<Duration>) -> [bool; 3] {
        let [out, err] = &self.streams;
        let pipes = [out.pipe.as_ref(), err.pipe.as_ref(), stop];
        let open = pipes.iter().enumerate().filter_map(|(place, pipe)| Some((place, (*pipe)?)));
        let (places, mut polled): (Vec<usize>, Vec<PollFd<'_>>) =
            open.map(|(place, pipe)| (place, PollFd::new(pipe, PollFlags::IN))).unzip();
        // A span that no system can wait for is as good as none.
        let timeout = timeout.and_then(|span| Timespec::try_from(span).ok());
        let mut ready = [false; 3];
        // An error is a signal that came between: whoever waits looks again.
        if poll(&mut polled, timeout.as_ref()).is_ok() {
            for (place, one) in places.into_iter().zip(&polled) {
                ready[place] = !one.revents().is_empty();
            }
        }
        ready
    }

    fn read_ready(&mut self, ready: &[bool; 3], now: Moment) {
        for source in [Source::Stdout, Source::Stderr] {
            if !ready[source as usize] {
                continue;
            }
            let stream = &mut self.streams[source as usize];
            let Some(pipe) = &mut stream.pipe else {
                continue;
            };
            match pipe.read(&mut self.buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => stream.pipe = None,
                Ok(length) => {
                    self.link.printed();
                    let bytes = &self.buffer[..length];
                    match self.passing.pass(stream.source, bytes) {
                        Passed::Done => {}
                        // As it would have been without Longhaul (`… | head`): the command hears of it at
                        // its next write.
                        Passed::Closed => stream.pipe = None,
                        Passed::Failed(why) => {
                            let name = stream.source.name();
                            let sentence = format!("The command's {name} could not be written: {why}");
                            self.log.remark(Level::Error, &sentence);
                            self.notices.say(&format!("{sentence}; the command goes on, and its job will fail"));
                            self.failed.get_or_insert(sentence);
                        }
                        Passed::GivenUp => self.notices.say(
                            "nobody reads the command's output; it is recorded, and not passed through any longer",
                        ),
                    }
                    if source == Source::Stderr {
                        self.streams[Source::Stdout as usize].reader.settle(now, &mut self.recorder);
                    }
                    let reader = &mut self.streams[source as usize].reader;
                    reader.feed(&self.buffer[..length], now, &mut self.recorder);
                }
            }
        }
    }

    /// Reads what is there, without waiting for more. Somebody who goes on writing does not keep us.
    fn read_rest(&mut self, now: Moment) {
        const MOST_READS: usize = 32;
        for _ in 0..MOST_READS {
            let ready = self.wait(None, Some(Duration::ZERO));
            if ready == [false; 3] {
                return;
            }
            self.read_ready(&ready, now);
        }
    }
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "standard output",
            Self::Stderr => "standard error",
        }
    }
}

/// What became of bytes that were to be passed through.
enum Passed {
    Done,
    /// Nobody reads there any more.
    Closed,
    /// They cannot be written; nor will any later ones be.
    Failed(io::Error),
    /// Whoever is to read does not; nor is anything written for them any more.
    GivenUp,
}

/// The thread that writes, as the one that reads sees it.
struct Passing {
    /// Which outputs are passed through.
    open: [bool; 2],
    chunks: SyncSender<(Source, Vec<u8>)>,
    written: Receiver<(Vec<u8>, io::Result<()>)>,
    /// Travels to the other thread and back, so that it is allocated once.
    spare: Vec<u8>,
    hurry: Arc<AtomicBool>,
}

impl Passing {
    fn start(mut to: [Through; 2], hurry: Arc<AtomicBool>) -> io::Result<Self> {
        let open = [to[0].is_some(), to[1].is_some()];
        let (chunks, to_write) = sync_channel::<(Source, Vec<u8>)>(1);
        let (report, written) = sync_channel(1);
        if open != [false; 2] {
            std::thread::Builder::new().name("passing".to_owned()).spawn(move || {
                for (source, bytes) in to_write {
                    let result = to[source as usize].as_mut().map_or(Ok(()), |to| write(to, &bytes));
                    if report.send((bytes, result)).is_err() {
                        return;
                    }
                }
            })?;
        }
        Ok(Self { open, chunks, written, spare: Vec::new(), hurry })
    }

    /// Passes bytes through at once, and comes back when they are written or never will be.
    fn pass(&mut self, source: Source, bytes: &[u8]) -> Passed {
        if !self.open[source as usize] {
            return Passed::Done;
        }
        let mut chunk = std::mem::take(&mut self.spare);
        chunk.clear();
        chunk.extend_from_slice(bytes);
        if self.chunks.send((source, chunk)).is_err() {
            self.open = [false; 2];
            return Passed::Done;
        }
        let mut hurried: Option<Instant> = None;
        let result = loop {
            match self.written.recv_timeout(BLINK) {
                Ok((chunk, result)) => {
                    self.spare = chunk;
                    break result;
                }
                Err(RecvTimeoutError::Timeout) => {
                    if self.hurry.load(Ordering::Relaxed)
                        && hurried.get_or_insert_with(Instant::now).elapsed() >= LAST_WRITE
                    {
                        self.open = [false; 2];
                        return Passed::GivenUp;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.open = [false; 2];
                    return Passed::Done;
                }
            }
        };
        let Err(error) = result else { return Passed::Done };
        self.open[source as usize] = false;
        if error.kind() == ErrorKind::BrokenPipe { Passed::Closed } else { Passed::Failed(error) }
    }
}

fn write(to: &mut (dyn Write + Send), mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(length) => bytes = &bytes[length..],
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => {}
                // Somebody we share it with made it so. There is nothing to wait on in a mere writer.
                ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(1)),
                _ => return Err(error),
            },
        }
    }
    to.flush()
}
