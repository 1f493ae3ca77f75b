//! Starts the command, with its output connected to us as far as the machine has room for that.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use tokio::process::Child;

use super::args::ExecArgs;
use super::group::{self, Group, Output};
use super::link::Link;
use super::notices::Notices;
use super::pump::{Pump, Through};
use super::record::End;
use super::recorder::{Moment, Recorder};
use super::request;
use super::spool::Spool;
use crate::cli::client::TOKEN_VARIABLE;
use crate::cli::exit::{EXEC_CANNOT_RUN, EXEC_NOT_FOUND};
use crate::model::Level;

/// Says that the command cannot be run. Returns the sentence, and the exit code.
pub fn cannot_run(args: &ExecArgs, error: &io::Error, notices: &Notices) -> (String, u8) {
    let sentence = format!("Cannot run `{}`: {error}", request::program_of(&args.command));
    notices.say(&sentence);
    let code = match error.kind() {
        ErrorKind::NotFound => EXEC_NOT_FOUND,
        _ => EXEC_CANNOT_RUN,
    };
    (sentence, code)
}

/// The token's variable as the command finds it.
pub fn token(args: &ExecArgs) -> (&'static str, Option<&str>) {
    (TOKEN_VARIABLE, args.taken_token.as_deref().filter(|_| args.keep_token))
}

/// Who has the recorder.
pub enum Holder {
    /// What reads the command's output.
    Pump(Pump),
    /// Nobody but us: the command writes past us.
    Recorder(Box<Recorder>),
}

impl Holder {
    /// Closes a run whose command prints nothing to us.
    pub async fn finish(self, end: End) {
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
pub fn begin(
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
