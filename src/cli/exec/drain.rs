//! Reports of earlier runs: taken up beside a run, or by `longhaul exec --drain-spool`.

use std::io;
use std::path::{Path, PathBuf};

use tokio::sync::watch;

use super::args::Refused;
use super::backlog::JobRef;
use super::leftovers;
use super::notices::Notices;
use super::reporter::Pace;
use crate::cli::client::Client;
use crate::cli::exit::Exit;

/// Delivers in the background what earlier runs left, as soon as the server is known to be there.
pub async fn take_up_leftovers(
    folder: PathBuf,
    client: Client,
    mut job: watch::Receiver<Option<JobRef>>,
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

/// `longhaul exec --drain-spool`: delivers what lies in the folder, and settles or names what a server refused.
pub async fn drain_spool(
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
