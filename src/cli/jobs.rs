//! `longhaul jobs`: see jobs, stop them, keep them.

mod act;
mod document;
mod list;
mod log;
mod show;
mod watch;

use clap::{Args, Subcommand};
use serde_json::Value;

use self::document::Document;
use super::client::{CallError, Client, ClientArgs, PATIENCE};
use super::exit::Exit;
use crate::model::{JobId, Status};

/// What `jobs` is told.
#[derive(Clone, Debug, Args)]
pub struct JobsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: JobsCommand,
}

/// What can be done with jobs.
#[derive(Clone, Debug, Subcommand)]
pub enum JobsCommand {
    /// List jobs: those that have not ended, or with --past and --all others
    List(ListArgs),
    /// Show a job: its facts, its steps, the last lines of its log
    Show(ShowArgs),
    /// Print a job's log, all of it
    Log(LogArgs),
    /// Follow a job to its end; exits with 0 if it completed
    Watch(WatchArgs),
    /// Ask jobs to stop
    Abort(ActArgs),
    /// Give jobs more time than their limits
    MoreTime(MoreTimeArgs),
    /// End jobs now, whatever they are doing; their later reports are refused
    ForceFail(ActArgs),
    /// Keep ended jobs, whatever the limits of history are
    Pin(PinArgs),
    /// Let the limits of history have jobs again
    Unpin(PinArgs),
}

/// Which jobs to list.
#[derive(Clone, Debug, Args)]
pub struct ListArgs {
    /// Only jobs that have ended
    #[arg(long, conflicts_with = "all")]
    pub past: bool,
    /// Jobs that have ended, too
    #[arg(long)]
    pub all: bool,
    /// Only this feature
    #[arg(long)]
    pub feature: Option<String>,
    /// Only this status: scheduled, queued, running, aborting, completed, failed or aborted
    #[arg(long)]
    pub status: Option<Status>,
    /// Only this author
    #[arg(long)]
    pub author: Option<String>,
    /// Only jobs with this label
    #[arg(long)]
    pub tag: Option<String>,
    /// Only jobs whose title, feature, author or error contains this
    #[arg(long, short, value_name = "TEXT")]
    pub search: Option<String>,
    /// The most jobs to list
    #[arg(long, short = 'n', default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Print JSON: {"jobs": […]}
    #[arg(long)]
    pub json: bool,
    /// Which server, and as whom.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Which job to show.
#[derive(Clone, Debug, Args)]
pub struct ShowArgs {
    /// The job's id, or its beginning
    pub id: String,
    /// How many lines of the log to show
    #[arg(long, short = 'n', default_value_t = 10)]
    pub lines: usize,
    /// Print the server's JSON
    #[arg(long)]
    pub json: bool,
    /// Which server, and as whom.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Whose log to print.
#[derive(Clone, Debug, Args)]
pub struct LogArgs {
    /// The job's id, or its beginning
    pub id: String,
    /// Go on with what comes, until the job has ended; exits with 0 if it completed
    #[arg(long, short)]
    pub follow: bool,
    /// Only these lines: info, warning, error, system, operator, or several with commas
    #[arg(long, value_name = "LEVELS", default_value = "all")]
    pub level: String,
    /// Which server, and as whom.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Which job to follow.
#[derive(Clone, Debug, Args)]
pub struct WatchArgs {
    /// The job's id, or its beginning
    pub id: String,
    /// How many earlier lines of the log to begin with
    #[arg(long, short = 'n', default_value_t = 10)]
    pub lines: usize,
    /// Which server, and as whom.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Which jobs to stop, and why.
#[derive(Clone, Debug, Args)]
pub struct ActArgs {
    /// The jobs' ids, or their beginnings
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<String>,
    /// Why. It is recorded in the jobs' logs
    #[arg(long, short)]
    pub reason: String,
    /// Which server, and as whom.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Which jobs to give more time, and how much.
#[derive(Clone, Debug, Args)]
pub struct MoreTimeArgs {
    /// The jobs' ids, or their beginnings
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<String>,
    /// How much from now on, like 10m or 4h, or `none` for no limit; as long again as its own limit where absent
    #[arg(long = "for", short, value_name = "SPAN", value_parser = seconds)]
    pub span: Option<u64>,
    /// Why. It is recorded in the jobs' logs
    #[arg(long, short)]
    pub reason: Option<String>,
    /// Which server, and as whom.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// A span in seconds, rounded up; `none` is 0.
fn seconds(text: &str) -> Result<u64, String> {
    if text == "none" {
        return Ok(0);
    }
    let span = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write it like 90s or 1h 30m, or none for no limit"))?;
    if span.is_zero() {
        return Err("that is no time; write none for no limit".to_owned());
    }
    Ok(span.as_secs() + u64::from(span.subsec_nanos() > 0))
}

/// Which jobs to keep.
#[derive(Clone, Debug, Args)]
pub struct PinArgs {
    /// The jobs' ids, or their beginnings
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<String>,
    /// Which server, and as whom.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Runs `longhaul jobs`.
///
/// # Errors
/// Where a call to the server failed and nothing was printed about it yet.
pub async fn run(args: JobsArgs) -> Result<Exit, CallError> {
    match args.command {
        JobsCommand::List(args) => list::run(args).await,
        JobsCommand::Show(args) => show::run(args).await,
        JobsCommand::Log(args) => log::run(args).await,
        JobsCommand::Watch(args) => watch::run(args).await,
        JobsCommand::Abort(args) => act::run_with_reason(args, act::Act::Abort).await,
        JobsCommand::MoreTime(args) => act::run_more_time(args).await,
        JobsCommand::ForceFail(args) => act::run_with_reason(args, act::Act::ForceFail).await,
        JobsCommand::Pin(args) => act::run(&args.client, &args.ids, &Value::Null, act::Act::Pin).await,
        JobsCommand::Unpin(args) => act::run(&args.client, &args.ids, &Value::Null, act::Act::Unpin).await,
    }
}

/// The path of a job's resource.
fn path(id: JobId, verb: &str) -> String {
    format!("/api/admin/jobs/{id}/{verb}")
}

/// The job somebody means by an id or by the beginning of one.
async fn resolve(client: &Client, text: &str) -> Result<JobId, CallError> {
    let text = text.trim();
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let wrong = |why: &str| CallError::Setup(format!("`{text}` {why}"));
    let digits = text.chars().filter(char::is_ascii_hexdigit).count();
    if digits < 4 || text.chars().any(|c| !c.is_ascii_hexdigit() && c != '-') {
        return Err(wrong("is not a job's id, nor the beginning of one (at least four of its characters)."));
    }
    let query = [("q", text.to_owned()), ("includePast", "true".to_owned()), ("limit", "200".to_owned())];
    let page: Value = client.get("/api/admin/jobs", &query).await?;
    let plain = |id: &str| id.replace('-', "").to_ascii_lowercase();
    let mut fitting = page["jobs"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|job| job["id"].as_str())
        .filter(|id| plain(id).starts_with(&plain(text)))
        .filter_map(|id| id.parse().ok());
    match (fitting.next(), fitting.next()) {
        (Some(id), None) => Ok(id),
        (Some(_), Some(_)) => Err(wrong("is the beginning of several jobs' ids. Write more of it.")),
        (None, _) => Err(CallError::Refused(Box::new(super::client::ServerRefusal {
            status: 404,
            code: "job_not_found".to_owned(),
            sentence: format!("There is no job whose id begins with {text}."),
            details: Value::Null,
            retry_after: None,
        }))),
    }
}

/// A job, as people are shown it.
async fn fetch(client: &Client, id: JobId) -> Result<Document, CallError> {
    client.get(&path(id, "progress"), &[]).await
}

/// A client for a person at a terminal.
fn connect(args: &ClientArgs) -> Result<Client, CallError> {
    args.client(PATIENCE)
}
