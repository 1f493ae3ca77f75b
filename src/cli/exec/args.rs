//! What `longhaul exec` is told on its command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::secret;
use crate::cli::client::{ClientArgs, TOKEN_VARIABLE};
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
    /// The level of such a line.
    pub fn level(self) -> Level {
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
