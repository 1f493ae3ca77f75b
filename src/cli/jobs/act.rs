//! `longhaul jobs abort`, `more-time`, `force-fail`, `pin` and `unpin`.

use serde_json::{Value, json};

use super::{ActArgs, MoreTimeArgs, connect, path, resolve};
use crate::cli::client::{Acknowledged, CallError, Client, ClientArgs};
use crate::cli::exit::Exit;
use crate::cli::output::{complain, print};
use crate::model::JobId;

/// What is done to the jobs.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    Abort,
    MoreTime,
    ForceFail,
    Pin,
    Unpin,
}

impl Act {
    fn verb(self) -> &'static str {
        match self {
            Self::Abort => "abort",
            Self::MoreTime => "more-time",
            Self::ForceFail => "force-fail",
            Self::Pin => "pin",
            Self::Unpin => "unpin",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Abort => "was asked to stop",
            Self::MoreTime => "has more time",
            Self::ForceFail => "was force-failed",
            Self::Pin => "is pinned",
            Self::Unpin => "is not pinned",
        }
    }
}

/// As [`run`], for what asks for a reason.
pub async fn run_with_reason(args: ActArgs, act: Act) -> Result<Exit, CallError> {
    run(&args.client, &args.ids, &json!({"reason": args.reason}), act).await
}

/// As [`run`], for more time.
pub async fn run_more_time(args: MoreTimeArgs) -> Result<Exit, CallError> {
    let body = json!({"seconds": args.span, "reason": args.reason});
    run(&args.client, &args.ids, &body, Act::MoreTime).await
}

/// Goes through all jobs, also when one is refused, and exits with the gravest result.
pub async fn run(client: &ClientArgs, ids: &[String], body: &Value, act: Act) -> Result<Exit, CallError> {
    let client = connect(client)?;
    let mut exit = Exit::Done;
    for text in ids {
        match one(&client, text, body, act).await {
            Ok(id) => print(&format!("{id} {}\n", act.done())),
            Err(error @ CallError::Unreachable { .. }) => return Err(error),
            Err(error) => {
                complain(&format!("{text}: {error}"));
                exit = exit.max(error.exit());
            }
        }
    }
    Ok(exit)
}

async fn one(client: &Client, text: &str, body: &Value, act: Act) -> Result<JobId, CallError> {
    let id = resolve(client, text).await?;
    let _: Acknowledged = client.post(&path(id, act.verb()), body).await?;
    Ok(id)
}
