//! The job that a run asks for.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use serde_json::json;

use super::ExecArgs;
use super::masking;
use super::record::StartRequest;
use super::recorder::Moment;
use crate::model::{Feature, shorten, visible};

/// The most seconds between two heartbeats that the server takes for a promise.
const MOST_BETWEEN_HEARTBEATS: u64 = 3_600;
/// The longest grace that the server takes, in seconds.
const MOST_GRACE: u64 = 86_400;

/// The command's name without its folder.
pub fn name_of(command: &[OsString]) -> String {
    let program = command.first().map(OsString::as_os_str).unwrap_or_default();
    let name = Path::new(program).file_name().unwrap_or(OsStr::new("command"));
    visible(&name.to_string_lossy(), false).into_owned()
}

/// The program of a command, as it was written.
pub fn program_of(command: &[OsString]) -> String {
    visible(&command.first().map(|program| program.to_string_lossy()).unwrap_or_default(), false).into_owned()
}

/// The start request for a run.
pub fn of(args: &ExecArgs) -> StartRequest {
    let feature = args.feature.clone().or_else(|| {
        let name: String = name_of(&args.command).chars().take(Feature::MAX_CHARS).collect();
        Feature::new(name).ok().map(Feature::into_string)
    });
    StartRequest {
        feature: feature.unwrap_or_else(|| "command".to_owned()),
        title: args.title.clone(),
        author: args.author.clone(),
        tags: args.tags.clone(),
        input: Some(json!({
            "command": command_line(&args.command, !args.no_record_args),
            "host": host_name(),
            "pid": std::process::id(),
        })),
        heartbeat_every: Some(StartRequest::seconds(args.heartbeat).clamp(1, MOST_BETWEEN_HEARTBEATS)),
        grace: Some(StartRequest::seconds(args.grace).min(MOST_GRACE)),
        // What the server has for work that nobody vouches for is not for this: a command that lives and works
        // is ended by nothing but what was asked for.
        timeout: Some(args.timeout.map_or(0, StartRequest::seconds)),
        activity_timeout: Some(args.activity_timeout.map_or(0, StartRequest::seconds)),
        at: Moment::now().time,
        one_per_feature: args.one_per_feature,
    }
}

/// The command as it is recorded, with what looks like a password in it masked, or the program alone. A line of
/// thousands of file names must not be what the server refuses.
fn command_line(command: &[OsString], with_arguments: bool) -> Vec<String> {
    const MOST_WORDS: usize = 100;
    const MOST_CHARS: usize = 1000;
    let most = if with_arguments { MOST_WORDS } else { 1 };
    let words: Vec<String> =
        command.iter().take(most).map(|word| word.to_string_lossy().into_owned()).collect();
    let mut words: Vec<String> =
        masking::mask(&words).iter().map(|word| shorten(word, MOST_CHARS).into_owned()).collect();
    match command.len().saturating_sub(most) {
        0 => {}
        more if with_arguments => words.push(format!("… ({more} more)")),
        more => words.push(format!("… ({more} not recorded)")),
    }
    words
}

/// Where to look for the process when the dashboard says that it still runs.
fn host_name() -> Option<String> {
    Some(rustix::system::uname().nodename().to_string_lossy().into_owned()).filter(|name| !name.is_empty())
}
