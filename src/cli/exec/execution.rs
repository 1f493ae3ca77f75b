//! A run from its start to its last report: the tasks beside the command, and who waits for whom at its end.

use std::fs::File;
use std::future::Future;
use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::args::ExecArgs;
use super::backlog::Backlog;
use super::begin::{Holder, begin, cannot_run, token};
use super::child::{self, Ended, Order, StopReason};
use super::drain::take_up_leftovers;
use super::group::{self, Group};
use super::lines::Directives;
use super::notices::{self, Notices};
use super::pump::{Finished, Pump, Through};
use super::record::{End, Start};
use super::recorder::{Moment, Recorder};
use super::remains::Remains;
use super::reporter::{Delivery, Fate, Pace};
use super::spool::Spool;
use super::{heartbeats, keeper, request, signals, undelivered};
use crate::cli::client::Client;
use crate::cli::exit::{EXEC_NOT_WRITTEN, EXEC_REFUSED, EXEC_SIGNALLED};
use crate::model::Level;

/// How long the last notices may hold up the end, where nobody reads them.
pub const LAST_WORDS: Duration = Duration::from_millis(500);

/// What a run is connected to, beside the server.
pub struct Surroundings {
    /// Where the command's standard output goes.
    pub out: Through,
    /// Where its standard error goes.
    pub err: Through,
    /// Where `exec` itself speaks.
    pub notices: Notices,
    /// What reaches `exec`.
    pub signals: mpsc::UnboundedReceiver<i32>,
    /// Nothing else in this process starts processes.
    pub alone: bool,
    /// Who keeps pipes open after the run.
    pub keep: fn(&[PipeReader]) -> io::Result<()>,
    /// How long things take.
    pub pace: Pace,
}

/// Runs the command, and reports on it. Returns the exit code.
pub async fn execute(args: &ExecArgs, client: Client, folder: Option<PathBuf>, around: Surroundings) -> u8 {
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
    let beating = tokio::spawn(heartbeats::heartbeats(
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

    let warning = tokio::spawn(heartbeats::warn_of_limits(
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
pub fn hold(open: Vec<PipeReader>) -> JoinHandle<()> {
    tokio::task::spawn_blocking(move || {
        keeper::hold(open.into_iter().map(|pipe| File::from(OwnedFd::from(pipe))).collect());
    })
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
