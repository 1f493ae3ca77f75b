//! `longhaul jobs abort` and `longhaul jobs force-fail`.

use serde_json::json;

use super::{ActArgs, connect, path, resolve};
use crate::cli::client::{Acknowledged, CallError, Client};
use crate::cli::exit::Exit;
use crate::cli::output::{complain, print};
use crate::model::JobId;

/// What is done to the jobs.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    Abort,
    ForceFail,
}

impl Act {
    fn verb(self) -> &'static str {
        match self {
            Self::Abort => "abort",
            Self::ForceFail => "force-fail",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Abort => "was asked to stop",
            Self::ForceFail => "was force-failed",
        }
    }
}

/// Goes through all jobs, also when one is refused, and exits with the gravest result.
pub async fn run(args: &ActArgs, act: Act) -> Result<Exit, CallError> {
    let client = connect(&args.client)?;
    let mut exit = Exit::Done;
    for text in &args.ids {
        match one(&client, text, &args.reason, act).await {
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

async fn one(client: &Client, text: &str, reason: &str, act: Act) -> Result<JobId, CallError> {
    let id = resolve(client, text).await?;
    let _: Acknowledged = client.post(&path(id, act.verb()), &json!({"reason": reason})).await?;
    Ok(id)
}
