//! `longhaul jobs log`: a job's log, all of it.
//!
//! On a terminal as `show` and `watch` have it; elsewhere as the server's `log.txt`, a line a message, with
//! its whole time. It is read a page at a time and printed as it comes, so it may have any length.

use std::time::Duration;

use serde::Deserialize;

use super::document::Line;
use super::show::log_line;
use super::{LogArgs, connect, fetch, path, resolve};
use crate::cli::client::{CallError, Client};
use crate::cli::exit::Exit;
use crate::cli::output::{LogClock, Screen, complain, print};
use crate::model::{JobId, Status};
use crate::view::text_line;

const EVERY: Duration = Duration::from_secs(1);

pub async fn run(args: LogArgs) -> Result<Exit, CallError> {
    let client = connect(&args.client)?;
    let id = resolve(&client, &args.id).await?;
    let screen = Screen::of_stdout();
    let mut clock = LogClock::default();
    let mut print_lines = |lines: Vec<Line>| {
        let mut text = String::new();
        for line in &lines {
            text.push_str(&if screen.terminal { log_line(line, &mut clock, screen) } else { plain(line) });
            text.push('\n');
        }
        print(&text);
    };
    let mut seq = 0;
    if !args.follow {
        pages(&client, id, &args.level, &mut seq, print_lines).await?;
        return Ok(Exit::Done);
    }
    let mut away = false;
    loop {
        // The job first: once it has ended, the lines read after it are all there will be.
        match follow(&client, id, &args.level, &mut seq, &mut print_lines).await {
            Ok(status) => {
                if std::mem::take(&mut away) {
                    complain(&format!("server {} is back", client.server()));
                }
                if status.is_final() {
                    return Ok(if status == Status::Completed { Exit::Done } else { Exit::Failed });
                }
            }
            Err(error @ (CallError::Refused(_) | CallError::Setup(_))) => return Err(error),
            Err(error) => {
                if !std::mem::replace(&mut away, true) {
                    complain(&error.to_string());
                }
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn follow(
    client: &Client,
    id: JobId,
    level: &str,
    seq: &mut u64,
    each: impl FnMut(Vec<Line>),
) -> Result<Status, CallError> {
    let status = fetch(client, id).await?.status;
    pages(client, id, level, seq, each).await?;
    Ok(status)
}

fn plain(line: &Line) -> String {
    let time = line.timestamp.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    text_line(&time, &line.kind, line.step.as_deref(), &line.message)
}

/// Reads the lines of a log behind `seq`, a page at a time, and moves `seq` to the last of them.
pub async fn pages(
    client: &Client,
    id: JobId,
    level: &str,
    seq: &mut u64,
    mut each: impl FnMut(Vec<Line>),
) -> Result<(), CallError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Page {
        messages: Vec<Line>,
        #[serde(default)]
        next_after: Option<u64>,
    }
    const LIMIT: usize = 1000;
    loop {
        let query = [("after", seq.to_string()), ("level", level.to_owned()), ("limit", LIMIT.to_string())];
        let page: Page = client.get(&path(id, "messages"), &query).await?;
        *seq = page.messages.iter().map(|line| line.seq).fold(*seq, u64::max);
        let is_full = !page.messages.is_empty();
        if is_full {
            each(page.messages);
        }
        if page.next_after.is_none() || !is_full {
            return Ok(());
        }
    }
}
