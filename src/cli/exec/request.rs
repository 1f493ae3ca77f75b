//! The job that a run asks for.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use serde_json::json;

use super::ExecArgs;
use super::record::StartRequest;
use super::recorder::Moment;
use crate::model::{Feature, shorten, visible};

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
            "command": command_line(&args.command),
            "host": host_name(),
            "pid": std::process::id(),
        })),
        timeout: args.timeout.map(StartRequest::seconds),
        activity_timeout: args.activity_timeout.map(StartRequest::seconds),
        at: Moment::now().time,
        one_per_feature: args.one_per_feature,
    }
}

/// The command as it is recorded: a line of thousands of file names must not be what the server refuses.
fn command_line(command: &[OsString]) -> Vec<String> {
    const MOST_WORDS: usize = 100;
    const MOST_CHARS: usize = 1000;
    let mut words: Vec<String> = command
        .iter()
        .take(MOST_WORDS)
        .map(|word| shorten(&word.to_string_lossy(), MOST_CHARS).into_owned())
        .collect();
    if command.len() > MOST_WORDS {
        words.push(format!("… ({} more)", command.len() - MOST_WORDS));
    }
    words
}

/// Where to look for the process when the dashboard says that it still runs.
fn host_name() -> Option<String> {
    let mut name = [0_u8; 256];
    // SAFETY: the buffer is ours, and one shorter for the system than it is.
    let failed = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) };
    let end = name.iter().position(|byte| *byte == 0)?;
    (failed == 0).then(|| String::from_utf8_lossy(&name[..end]).into_owned())
}
