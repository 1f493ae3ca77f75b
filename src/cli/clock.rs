//! `longhaul clock accept`: an operator's word that a server's clock is right.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{CallError, ClientArgs, PATIENCE};
use super::exit::Exit;
use super::output::{print, print_json};
use crate::model::visible;

/// What `clock` is told.
#[derive(Clone, Debug, Args)]
pub struct ClockArgs {
    /// What to do.
    #[command(subcommand)]
    pub what: What,
}

/// What `clock` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum What {
    /// Say that the server's clock is right, where `longhaul health` says it is not believed. Stale jobs and old
    /// history go by it from then on
    Accept {
        /// Print the server's JSON
        #[arg(long)]
        json: bool,
        /// Which server, and as whom.
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// Runs `longhaul clock`.
///
/// # Errors
/// Where the server did not answer, or refused.
pub async fn run(args: ClockArgs) -> Result<Exit, CallError> {
    let What::Accept { json, client } = args.what;
    let answer: Value = client.client(PATIENCE)?.post("/api/admin/clock/accept", &json!({})).await?;
    if json {
        print_json(&answer);
    } else {
        print(&format!("{}.\n", visible(answer["message"].as_str().unwrap_or("Done"), false)));
    }
    Ok(Exit::Done)
}
