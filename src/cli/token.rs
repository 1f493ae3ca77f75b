//! `longhaul token`: the credentials of programs.

use std::time::Duration;

use clap::{Args, Subcommand};
use tracing::Instrument as _;

use super::database::DatabaseArgs;
use super::log;
use super::output::account;
use crate::clock::{Clock as _, SystemClock};
use crate::model::Role;
use crate::service::{NewToken, accounts};
use crate::view::date_time;

/// `longhaul token`.
#[derive(Clone, Debug, Args)]
pub struct TokenArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// List the tokens, without their secrets
    List,
    /// Make a token, and print it. It is not shown again
    Add {
        /// The name its actions are recorded under
        name: String,
        /// viewer, reporter, operator or admin
        #[arg(long, default_value = "reporter")]
        role: Role,
        /// Let it start jobs in the name of others
        #[arg(long)]
        act_as: bool,
        /// How long it is good, such as 90d; until revoked where nothing is said
        #[arg(long, value_name = "SPAN", value_parser = lifetime)]
        expires: Option<Duration>,
    },
    /// Revoke a token
    Revoke {
        /// The token's name
        name: String,
    },
}

/// Reads how long a token is good.
fn lifetime(text: &str) -> Result<Duration, String> {
    let span = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if accounts::TOKEN_LASTS.contains(&span) {
        Ok(span)
    } else {
        Err("it must be between 1 second and 10 years".to_owned())
    }
}

/// Does it, and logs who did what.
pub async fn run(args: TokenArgs) -> anyhow::Result<()> {
    let who = log::of_accounts(&args.database.settings()?);
    act(args).instrument(who).await
}

async fn act(args: TokenArgs) -> anyhow::Result<()> {
    let store = args.database.accounts().await?;
    match args.what {
        What::List => {
            for token in store.tokens().await? {
                let act_as = if token.act_as { "  acts as others" } else { "" };
                let expires =
                    token.expires_at.map_or(String::new(), |at| format!("  until {}", date_time(at)));
                println!(
                    "{:<9} {}  since {}{expires}{act_as}",
                    token.role,
                    account(&token.name),
                    date_time(token.created_at)
                );
            }
        }
        What::Add { name, role, act_as, expires } => {
            let new = NewToken { name, role, act_as, lasts: expires };
            // Alone on standard output, so that a script can take it.
            println!("{}", accounts::add_token(&*store, new, SystemClock.now()).await?.0);
        }
        What::Revoke { name } => {
            accounts::remove_token(&*store, &name, SystemClock.now()).await?;
            println!("Revoked {}; a running server knows within 5 seconds.", account(&name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lasts_a_second_to_ten_years() {
        for text in ["1s", "90d", "10y"] {
            assert!(lifetime(text).is_ok(), "{text}");
        }
        for text in ["0s", "999ms", "11y", "500000000y", "-1s", "soon", ""] {
            assert!(lifetime(text).is_err(), "{text}");
        }
    }
}
