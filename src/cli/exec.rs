//! `longhaul exec`: runs any command as a job.
//!
//! The command never waits for Longhaul and never fails because of it. What it prints goes through at once
//! and into a spool on disk ([`spool`]); a task of its own brings the spool to the server ([`reporter`]).
//! Only the question whether the job may start at all is asked first, and for two seconds at most.
//!
//! ```text
//! command ─ pipes ─▶ pump (thread) ─▶ recorder ─▶ spool (file) ─▶ backlog ─▶ delivery (task) ─▶ server
//!                                                                           heartbeats (task) ◀▶
//! ```
//!
//! Each record bears the time of this machine's clock. The server believes it where it can be true, so what
//! was printed while the server was away has its own time.

pub mod backlog;
pub mod child;
pub mod group;
pub mod inherited;
pub mod keeper;
pub mod leftovers;
pub mod lines;
pub mod masking;
pub mod medium;
pub mod notices;
pub mod phases;
pub mod processes;
pub mod progress;
pub mod pump;
pub mod reader;
pub mod record;
pub mod recorder;
pub mod redraws;
pub mod remains;
pub mod reporter;
pub mod request;
pub mod secret;
pub mod signals;
pub mod spool;
pub mod terminal;
pub mod undelivered;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, PipeReader};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::process::Child;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use self::backlog::Backlog;
use self::child::{Ended, Order, StopReason};
use self::group::{Group, Output};
use self::lines::Directives;
use self::notices::Notices;
use self::pump::{Finished, Pump, Through};
use self::record::{End, Start};
use self::recorder::{Moment, Recorder};
use self::remains::Remains;
use self::reporter::{Delivery, Fate, Link, Pace};
use self::spool::Spool;
use super::client::{Client, ClientArgs, TOKEN_VARIABLE};
use super::exit::{EXEC_CANNOT_RUN, EXEC_NOT_FOUND, EXEC_NOT_WRITTEN, EXEC_REFUSED, EXEC_SIGNALLED, Exit};
use crate::model::{Author, Feature, Level, Tag, Title};

/// What `exec` is told.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = MORE)]
pub struct ExecArgs {
    /// The job's type [default: the command's name]
    #[arg(long, value_parser = |text: &str| Feature::new(text).map(Feature::into_string))]
    pub feature: Option<String>,
    /// What people call the job [default: the feature]
    #[arg(long, value_parser = |text: &str| Title::new(text).map(Title::into_string))]
    pub title: Option<String>,
    /// Whom the job is for [default: whoever the token belongs to]
    #[arg(long, value_parser = |text: &str| Author::new(text).map(Author::into_string))]
    pub author: Option<String>,
    /// A label on the job. May be given several times
    #[arg(long = "tag", value_name = "TAG", value_parser = |text: &str| Tag::new(text).map(Tag::into_string))]
    pub tags: Vec<String>,
    /// How long the job may take, such as `3h`; 0 is no limit, and so is nothing. A job that takes
    /// longer is failed by the server, and its command stopped
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub timeout: Option<Duration>,
    /// How long the job may be silent, such as `20min`; 0 is no limit, and so is nothing
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub activity_timeout: Option<Duration>,
    /// Do not run while another job of the same feature runs
    #[arg(long)]
    pub one_per_feature: bool,
    /// How long the command may take to end once it was asked to
    #[arg(long, value_name = "SPAN", value_parser = span, default_value = "10s")]
    pub grace: Duration,
    /// How often the server hears that the command lives, and is asked whether it should stop
    #[arg(long, value_name = "SPAN", value_parser = span, default_value = "5s")]
    pub heartbeat: Duration,
    /// How long to read on after the command's end, where something it left in the background still holds
    /// its output
    #[arg(long, value_name = "SPAN", value_parser = span, default_value = "2s")]
    pub linger: Duration,
    /// How long to wait after the command's end for a server that is away [default: 30s; 2s where it was away
    /// from the start, and at most 2s after a signal]
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub drain: Option<Duration>,
    /// The folder for reports that the server does not have yet
    /// [default: $XDG_STATE_HOME/longhaul/spool or ~/.local/state/longhaul/spool]
    #[arg(long, env = "LONGHAUL_SPOOL", value_name = "DIR")]
    pub spool: Option<PathBuf>,
    /// Do not pass the command's output through
    #[arg(long, short)]
    pub quiet: bool,
    /// Do not read progress from ordinary lines, only from `::progress`
    #[arg(long)]
    pub no_guess: bool,
    /// Obey no `::` lines: all that the command prints is text. For commands that print what others wrote
    #[arg(long)]
    pub no_directives: bool,
    /// What the lines on standard error are. Many programs say everything there
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = StderrLevel::Warning)]
    pub stderr: StderrLevel,
    /// Leave LONGHAUL_TOKEN in the command's environment. It is taken out otherwise, so that a command that
    /// prints its environment does not print the token into its job's log
    #[arg(long)]
    pub keep_token: bool,
    /// Run nothing; deliver what earlier runs could not
    #[arg(long, conflicts_with = "command")]
    pub drain_spool: bool,
    /// With --drain-spool: what the server did not take (`.refused`) becomes jobs of its own (`take`), or is
    /// thrown away (`discard`). Otherwise it is named
    #[arg(long, value_name = "WHAT", requires = "drain_spool")]
    pub refused: Option<Refused>,
    /// Record the command's name only. Otherwise its arguments are the job's input, with what looks like a
    /// password masked
    #[arg(long)]
    pub no_record_args: bool,
    /// The command and its arguments
    #[arg(last = true, required_unless_present = "drain_spool", value_name = "COMMAND")]
    pub command: Vec<OsString>,
    /// Which server, and as whom.
    #[command(flatten)]
    pub client: ClientArgs,
    /// The token that was in the environment.
    #[arg(skip)]
    pub taken_token: Option<String>,
}

/// What the lines on standard error are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum StderrLevel {
    /// As those on standard output.
    Info,
    /// Something to look at.
    Warning,
    /// Something that went wrong.
    Error,
}

impl StderrLevel {
    fn level(self) -> Level {
        match self {
            Self::Info => Level::Info,
            Self::Warning => Level::Warning,
            Self::Error => Level::Error,
        }
    }
}

/// What is to become of reports that a server did not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Refused {
    /// They become jobs of their own.
    Take,
    /// They are deleted.
    Discard,
}

impl ExecArgs {
    /// Takes the token out of this process's environment and its arguments, where the command could read it. Only for
    /// the beginning of the program, while it has one thread.
    pub fn hide_token(&mut self) {
        self.taken_token = secret::take(TOKEN_VARIABLE);
        // Whether it was an argument, or came from the environment.
        if let Some(token) = &self.client.token {
            secret::hide_argument(token);
        }
    }
}

const MORE: &str = "\
Lines on stdout become infos, lines on stderr warnings or what --stderr says, as a terminal would show
them. Progress is
guessed from what programs print for people (`45%`, `12/340`, `3 of 7`) once a number rose twice in the
same words; each phase with other words is a step. Or the command says it in lines of its own:
  ::progress 0.4       from here on, ordinary lines are not searched for progress
  ::step load          goes on to the step `load`; `load/parse` is a step within it
  ::steps load, save   says which steps are to come, so that the bar knows how much there is
  ::info, ::warning, ::error TEXT
  ::stop-commands::TOKEN    until the line ::TOKEN::, all lines are text

An abort of the job sends SIGTERM to the command and everything it started, and SIGKILL after the
grace period; a daemon that left its session is not reached, and named in the log. Signals sent to exec
are passed on: TERM, INT and QUIT to everything, the others to the command alone. What the command
leaves in the background when it ends by itself is left alive and named in the log; what that prints
later than --linger after the end is thrown away.

While the server is away, or does not take the token, the command runs on. Its reports are kept on disk and delivered as soon as
the server is back, by a later run of exec, or by `longhaul exec --drain-spool`. Where the server
failed the job meanwhile because it heard nothing, the command runs on too, and its reports stay on
disk. LONGHAUL_TOKEN is taken out of the command's environment.

The command has a session of its own: programs that ask for a password on /dev/tty find no terminal.
Arguments that look like passwords are masked in what is recorded.";

/// A span of time: `10s`, `1h 30m`, or a bare number of seconds.
fn span(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => {
            humantime::parse_duration(text).map_err(|error| format!("{error}; write it like 90s or 1h 30m"))
        }
    }
}

/// How long the last notices may hold up the end, where nobody reads them.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Runs `longhaul exec`. Returns the exit code.
pub async fn run(args: ExecArgs) -> u8 {
    let notices = Notices::new(io::stderr());
    let code = run_with(&args, notices.clone()).await;
    notices.heard(LAST_WORDS).await;
    code
}

async fn run_with(args: &ExecArgs, notices: Notices) -> u8 {
    let pace = Pace::default();
    let taken = args.taken_token.as_deref();
    let client = if args.drain_spool {
        args.client.client_unless_found(taken, pace.patience)
    } else {
        args.client.client_in_any_folder(taken, pace.patience, |why| notices.say(why))
    };
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            notices.say(&error.to_string());
            return if args.drain_spool { Exit::Usage.code() } else { EXEC_REFUSED };
        }
    };
    let folder = spool::folder(args.spool.as_deref());
    if args.drain_spool {
        return drain_spool((folder.as_deref(), args.refused), &client, &notices, pace).await.code();
    }
    group::adopt_orphans();
    signals::survive_large_files();
    let through = |number, stream: io::Result<OwnedFd>| -> Through {
        if args.quiet {
            None
        } else if inherited::was_closed(number) {
            Some(Box::new(inherited::Closed))
        } else {
            stream.ok().map(|stream| Box::new(File::from(stream)) as _)
        }
    };
    let around = Surroundings {
        out: through(1, io::stdout().as_fd().try_clone_to_owned()),
        err: through(2, io::stderr().as_fd().try_clone_to_owned()),
        notices,
        signals: signals::of_process(),
        alone: true,
        keep: keeper::start,
        pace,
    };
    execute(args, client, folder, around).await
}

/// Runs the command as if there were no `exec`, because the machine has no room for it. Comes back only where
/// that is not possible either, with the exit code.
pub fn run_without(args: &ExecArgs, why: &io::Error) -> u8 {
    eprintln!("longhaul: the machine has no room for exec ({why}); the command runs as if it were not there");
    let error = group::become_command(&args.command, token(args));
    eprintln!("longhaul: Cannot run `{}`: {error}", request::program_of(&args.command));
    if error.kind() == ErrorKind::NotFound { EXEC_NOT_FOUND } else { EXEC_CANNOT_RUN }
}

/// How many threads `exec` may have of its own, beside those of the runtime.
pub const THREADS: usize = 5;

/// What a run is connected to, beside the server.
struct Surroundings {
    out: Through,
    err: Through,
    notices: Notices,
    signals: mpsc::UnboundedReceiver<i32>,
    /// Nothing else in this process starts processes.
    alone: bool,
    /// Who keeps pipes open after the run.
    keep: fn(&[PipeReader]) -> io::Result<()>,
    pace: Pace,
}

async fn execute(args: &ExecArgs, client: Client, folder: Option<PathBuf>, around: Surroundings) -> u8 {
    let Surroundings { out, err, notices, mut signals, alone, keep, pace } = around;
    let start = Start { key: Uuid::now_v7(), server: client.server().to_owned(), request: request::of(args) };
    let spool = Spool::create(folder.as_deref(), args.spool.is_some(), &start, notices.clone());
    let log = spool.clone();
    let backlog = Backlog::of_run(spool.shared());
    let mut delivery = Delivery::new(client.clone(), start, backlog, notices.clone(), pace);
    match tokio::time::timeout(pace.start_patience, delivery.start()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) if undelivered::forbids(&error, args.one_per_feature) => {
            notices.say(&format!("{error} The command was not run."));
            delivery.cancel();
            return EXEC_REFUSED;
        }
        Ok(Err(error)) => delivery.say_away(&undelivered::reason(error)),
        Err(_) => delivery.say_away("is away (it did not answer in time)"),
    }
    let (orders, mut ordered) = mpsc::unbounded_channel();
    let job = delivery.job();
    let link = delivery.link();
    let is_mute = client.is_mute().is_some();
    let has_spool = log.has_name();
    let leftovers = folder.map(|folder| {
        tokio::spawn(take_up_leftovers(folder, client.clone(), job.clone(), notices.clone(), pace))
    });
    let beating = tokio::spawn(reporter::heartbeats(
        client,
        job.clone(),
        Arc::clone(&link),
        args.heartbeat,
        orders.clone(),
    ));
    let delivering = tokio::spawn(async move {
        let fate = delivery.run().await;
        if let Fate::Over(how) = &fate {
            let _ = orders.send(Order::Over(how.clone()));
        }
        fate
    });

    let warning = tokio::spawn(reporter::warn_of_limits(
        (args.timeout, args.activity_timeout),
        Arc::clone(&link),
        notices.clone(),
    ));
    let recorder = Recorder::new(spool, Directives::new(args.no_directives), !args.no_guess)
        .stderr_as(args.stderr.level());
    let (started, holder) = begin(args, (out, err), recorder, (notices.clone(), log.clone(), link));
    let (interrupt, interrupted) = watch::channel(None);
    let ended_at;
    let (end, mut code, group, told) = match started {
        Ok((mut child, group)) => {
            if alone {
                tokio::spawn(group.bury());
            }
            let post = child::Post {
                orders: &mut ordered,
                signals: &mut signals,
                grace: args.grace,
                notices: &notices,
                log: &log,
            };
            let ended = child::supervise(&mut child, group, post).await;
            ended_at = Moment::now();
            tokio::spawn(hear(signals, interrupt));
            if let Some((level, sentence)) = ended.remark() {
                log.remark(level, &sentence);
            }
            let killed = stop_rest(group, ended, args.grace, interrupted.clone(), (&notices, &log)).await;
            let ended = if killed { ended.with_killed(args.grace) } else { ended };
            (ended.end(), ended.exit_code(), Some(group), ended.told().map(|(told, _)| told))
        }
        Err(error) if alone && group::has_no_room(&error) => {
            // Better without Longhaul than not at all.
            let why = format!("The machine has no room for another process ({error})");
            notices.say(&format!("{why}; the command runs as if exec were not there"));
            let ended =
                format!("{why}; the command was run without being watched, and how it ended is not known");
            holder.finish(End::Failed { error: ended, retryable: false }).await;
            beating.abort();
            deliver_last(delivering, None, pace.hurried_drain, pace, &notices).await;
            notices.heard(LAST_WORDS).await;
            let error = group::become_command(&args.command, token(args));
            return cannot_run(args, &error, &notices).1;
        }
        Err(error) => {
            ended_at = Moment::now();
            tokio::spawn(hear(signals, interrupt));
            let (sentence, code) = cannot_run(args, &error, &notices);
            (End::Failed { error: sentence, retryable: false }, code, None, None)
        }
    };
    warning.abort();
    let pump = match holder {
        Holder::Pump(pump) => pump,
        Holder::Recorder(recorder) => Pump::idle(*recorder),
    };
    let hurry = pump.hurry();
    let linger = match told {
        Some(told) => {
            if !matches!(told, StopReason::Signal(_)) {
                hurry();
            }
            args.linger.min(pace.farewell)
        }
        None => args.linger,
    };
    let enough = async {
        tokio::select! {
            () = tokio::time::sleep(linger) => {}
            _ = interruption(interrupted.clone()) => hurry(),
        }
    };
    let mut held = None;
    match unless_interrupted(pump.finish(enough), interrupted.clone(), 2 * pace.farewell).await {
        Ok(Some(Finished { recorder, open, failed })) => {
            if let Some(group) = group {
                let remains = Remains::of(group, &open, alone);
                if let Some((level, sentence)) = remains.remark(told.is_some()) {
                    log.remark(level, &sentence);
                    if remains.holds_output() {
                        notices.say(&sentence);
                    }
                }
            }
            if !open.is_empty()
                && let Err(error) = keep(&open)
            {
                notices.say(&format!(
                    "there is no room for a process that keeps the output open for them ({error}); waiting until they end, Ctrl-C leaves"
                ));
                held = Some(hold(open));
            }
            // A command that would have failed to write does not succeed because we wrote in its place.
            let end = match (end, failed) {
                (End::Completed, Some(error)) => {
                    code = EXEC_NOT_WRITTEN;
                    End::Failed { error, retryable: true }
                }
                (end, _) => end,
            };
            recorder.finish(end, ended_at);
        }
        Ok(None) => {}
        // Nobody reads what we pass through, and somebody wants us to end. How the command ended will be
        // found missing by whoever delivers the spool.
        Err(signal) => return signalled(signal),
    }
    beating.abort();
    let drain = match (told, args.drain) {
        (Some(StopReason::Signal(_)), drain) => drain.unwrap_or(pace.hurried_drain).min(pace.hurried_drain),
        _ if is_mute => Duration::ZERO,
        (_, Some(drain)) => drain,
        (_, None) if job.borrow().is_none() => pace.hurried_drain,
        (_, None) => pace.drain,
    };
    let delivered = deliver_last(delivering, leftovers, drain, pace, &notices);
    let said = match unless_interrupted(delivered, interrupted.clone(), pace.farewell).await {
        Ok(Some(Fate::Unreadable(why))) => Some(format!("the spool cannot be read: {why}")),
        Ok(Some(_)) => None,
        Ok(None) => Some("the server does not have all reports yet".to_owned()),
        Err(signal) => Some(format!("{}: not waiting for the server any longer", group::signal_name(signal))),
    };
    if let Some(said) = said {
        let rest = if has_spool {
            "the next `longhaul exec`, or `longhaul exec --drain-spool`, delivers the rest"
        } else {
            "the rest is lost, because no folder takes a spool. Name one with --spool"
        };
        notices.say(&format!("{said}; {rest}"));
    }
    if let Some(held) = held {
        tokio::select! {
            _ = held => {}
            signal = interruption(interrupted) => code = signalled(signal),
        }
    }
    code
}

/// The exit code of a run that a signal ended.
fn signalled(signal: i32) -> u8 {
    EXEC_SIGNALLED.saturating_add(u8::try_from(signal).unwrap_or(0))
}

/// After the command's end signals are for `exec` itself.
async fn hear(mut signals: mpsc::UnboundedReceiver<i32>, interrupt: watch::Sender<Option<i32>>) {
    while let Some(signal) = signals.recv().await {
        if signals::asks_to_end(signal) {
            interrupt.send_replace(Some(signal));
        }
    }
    interrupt.closed().await;
}

/// Ends what an ordered end has left over: an order and the signals that say "end" are for everything that
/// the command started, within the one grace. Where the command ended by itself, nothing is done. Answers whether
/// something had to be killed.
async fn stop_rest(
    group: Group,
    ended: Ended,
    grace: Duration,
    interrupted: watch::Receiver<Option<i32>>,
    (notices, log): (&Notices, &Spool),
) -> bool {
    let Some((told, since)) = ended.told() else { return false };
    if told == StopReason::Signal(libc::SIGHUP) {
        // A terminal that goes away tells all of a group. Who does not mind lives on, as `nohup` wants it.
        if ended.died_of(libc::SIGHUP) {
            group.signal(libc::SIGHUP);
        }
        return false;
    }
    let hurry = async {
        interruption(interrupted).await;
    };
    let killed = group.clear(since + grace, hurry).await;
    if !killed.is_empty() {
        let sentence =
            format!("Killed with SIGKILL, because it had not ended when asked to: {}", child::names(&killed));
        if told == StopReason::Abort {
            log.remark(Level::Warning, &sentence);
        }
        notices.say(&sentence);
    }
    !killed.is_empty()
}

/// Waits for the last reports, and says so where it takes long. `None` where they did not all arrive.
async fn deliver_last(
    mut delivering: JoinHandle<Fate>,
    leftovers: Option<JoinHandle<()>>,
    drain: Duration,
    pace: Pace,
    notices: &Notices,
) -> Option<Fate> {
    let fate = tokio::time::timeout(drain, async {
        if let Ok(fate) = tokio::time::timeout(pace.farewell, &mut delivering).await {
            return fate;
        }
        notices.say(&format!(
            "the command has ended; waiting for the server to take the last reports, for {} at most. Ctrl-C leaves, and they are kept",
            notices::span_text(drain)
        ));
        (&mut delivering).await
    })
    .await;
    let fate = fate.ok().and_then(Result::ok);
    if let Some(mut leftovers) = leftovers {
        if matches!(fate, Some(Fate::Delivered)) {
            let _ = tokio::time::timeout(pace.leftovers, &mut leftovers).await;
        }
        leftovers.abort();
    }
    if !delivering.is_finished() {
        // Whoever delivers the rest needs the spool's lock.
        delivering.abort();
        let _ = delivering.await;
    }
    fate
}

/// Reads on, in a thread of this process.
fn hold(open: Vec<PipeReader>) -> JoinHandle<()> {
    tokio::task::spawn_blocking(move || {
        keeper::hold(open.into_iter().map(|pipe| File::from(OwnedFd::from(pipe))).collect());
    })
}

/// Says that the command cannot be run. Returns the sentence, and the exit code.
fn cannot_run(args: &ExecArgs, error: &io::Error, notices: &Notices) -> (String, u8) {
    let sentence = format!("Cannot run `{}`: {error}", request::program_of(&args.command));
    notices.say(&sentence);
    let code = match error.kind() {
        ErrorKind::NotFound => EXEC_NOT_FOUND,
        _ => EXEC_CANNOT_RUN,
    };
    (sentence, code)
}

/// The token's variable as the command finds it.
fn token(args: &ExecArgs) -> (&'static str, Option<&str>) {
    (TOKEN_VARIABLE, args.taken_token.as_deref().filter(|_| args.keep_token))
}

/// Who has the recorder.
enum Holder {
    Pump(Pump),
    Recorder(Box<Recorder>),
}

impl Holder {
    /// Closes a run whose command prints nothing to us.
    async fn finish(self, end: End) {
        let recorder = match self {
            Self::Pump(pump) => pump.finish(std::future::pending()).await.map(|finished| finished.recorder),
            Self::Recorder(recorder) => Some(*recorder),
        };
        if let Some(recorder) = recorder {
            recorder.finish(end, Moment::now());
        }
    }
}

/// Connects the command's output, and starts it. Where the machine has no room for the pipes and threads that
/// takes, the command writes where `exec` would, and that is recorded in place of what it prints.
fn begin(
    args: &ExecArgs,
    (to_out, to_err): (Through, Through),
    recorder: Recorder,
    heard: (Notices, Spool, Arc<Link>),
) -> (io::Result<(Child, Group)>, Holder) {
    let (notices, log) = (heard.0.clone(), heard.1.clone());
    let pipes = if !args.quiet && (to_out.is_none() || to_err.is_none()) {
        // There was no room for a second handle on our own outputs.
        Err(io::Error::from_raw_os_error(libc::EMFILE))
    } else {
        io::pipe().and_then(|out| Ok((out, io::pipe()?)))
    };
    let (why, holder) = match pipes {
        Err(error) => {
            drop((to_out, to_err));
            (error, Holder::Recorder(Box::new(recorder)))
        }
        Ok(((out, out_end), (err, err_end))) => {
            match Pump::start((out, to_out), (err, to_err), recorder, heard) {
                Err(failed) => {
                    let (error, recorder) = *failed;
                    (error, Holder::Recorder(Box::new(recorder)))
                }
                Ok(pump) => match group::spawn(&args.command, token(args), Output::Pipes(out_end, err_end)) {
                    Err(error) if group::has_no_room(&error) => (error, Holder::Pump(pump)),
                    started => return (started, Holder::Pump(pump)),
                },
            }
        }
    };
    let started = group::spawn(&args.command, token(args), Output::Ours { quiet: args.quiet });
    if started.is_ok() {
        let sentence = format!("The machine has no room to record what the command prints ({why})");
        log.remark(Level::Warning, &sentence);
        notices.say(&sentence);
    }
    (started, holder)
}

/// Waits for something; once a signal says that `exec` is to end, only for `grace` more. The error is the
/// signal.
async fn unless_interrupted<T>(
    wanted: impl Future<Output = T>,
    interrupted: watch::Receiver<Option<i32>>,
    grace: Duration,
) -> Result<T, i32> {
    tokio::pin!(wanted);
    tokio::select! {
        done = &mut wanted => Ok(done),
        signal = interruption(interrupted) => {
            tokio::time::timeout(grace, wanted).await.map_err(|_| signal)
        }
    }
}

/// The signal that says `exec` itself is to end. Waits for ever where none comes.
async fn interruption(mut interrupted: watch::Receiver<Option<i32>>) -> i32 {
    match interrupted.wait_for(Option::is_some).await.map(|signal| *signal) {
        Ok(Some(signal)) => signal,
        _ => std::future::pending().await,
    }
}

/// Delivers in the background what earlier runs left, as soon as the server is known to be there.
async fn take_up_leftovers(
    folder: PathBuf,
    client: Client,
    mut job: watch::Receiver<Option<backlog::JobRef>>,
    notices: Notices,
    pace: Pace,
) {
    if job.wait_for(Option::is_some).await.is_err() {
        return;
    }
    let Ok(swept) = leftovers::deliver(&folder, &client, &notices, pace).await else { return };
    if swept.delivered > 0 {
        notices.say(&format!("delivered the reports of {} earlier runs", swept.delivered));
    }
    if let Some((path, why)) = swept.held.first() {
        notices.say(&format!(
            "the reports of {} earlier runs are not taken for now, such as {} ({why}); `longhaul exec --drain-spool` names them all",
            swept.held.len(),
            path.display()
        ));
    }
}

async fn drain_spool(
    (folder, refused): (Option<&Path>, Option<Refused>),
    client: &Client,
    notices: &Notices,
    pace: Pace,
) -> Exit {
    let Some(folder) = folder else {
        notices.say("neither XDG_STATE_HOME nor HOME is set; name the folder with --spool");
        return Exit::Usage;
    };
    let cannot_be_read = |error: io::Error| {
        notices.say(&format!("{} cannot be read: {error}", folder.display()));
        Exit::Failed
    };
    if let Some(what) = refused {
        match leftovers::settle_refused(folder, client.server(), what) {
            Ok(0) => notices.say("nothing there was refused by this server"),
            Ok(count) if what == Refused::Discard => {
                notices.say(&format!("{count} refused runs thrown away"));
            }
            Ok(count) => notices.say(&format!("{count} refused runs become jobs of their own")),
            Err(error) => return cannot_be_read(error),
        }
    }
    let swept = match leftovers::deliver(folder, client, notices, pace).await {
        Ok(swept) => swept,
        Err(error) => return cannot_be_read(error),
    };
    for path in leftovers::refused(folder).unwrap_or_default() {
        notices.say(&format!(
            "{} holds what a server did not take; --refused take makes a job of it, --refused discard deletes it",
            path.display()
        ));
    }
    for (path, why) in &swept.held {
        notices.say(&format!("{} is not taken for now ({why}); it stays there", path.display()));
    }
    let mut parts = vec![format!("{} runs delivered", swept.delivered)];
    for (count, what) in [
        (swept.refused, "not taken by the server"),
        (swept.held.len(), "not taken by the server for now"),
        (swept.busy, "still running"),
        (swept.elsewhere, "for other servers"),
        (swept.unreadable, "unreadable"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    notices.say(&parts.join(", "));
    match swept.away {
        Some(why) => {
            notices.say(&format!("server {} {why}", client.server()));
            Exit::Unreachable
        }
        None if swept.refused + swept.held.len() + swept.unreadable > 0 => Exit::Failed,
        None => Exit::Done,
    }
}
