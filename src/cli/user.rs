//! `longhaul user`: who may sign in.

use std::io::Read as _;

use clap::{Args, Subcommand};
use tracing::Instrument as _;

use super::database::DatabaseArgs;
use super::log;
use super::output::account;
use crate::clock::{Clock as _, SystemClock};
use crate::model::Role;
use crate::service::accounts;
use crate::view::date_time;

/// `longhaul user`.
#[derive(Clone, Debug, Args)]
pub struct UserArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// List the users
    List,
    /// Add a user, and print a one-time link to choose a password with
    Add {
        /// As typed at sign-in
        name: String,
        /// viewer, reporter, operator or admin
        #[arg(long, default_value = "viewer")]
        role: Role,
        #[command(flatten)]
        link: LinkArgs,
    },
    /// Print a new one-time link for a user, who chooses a new password with it
    Link {
        /// The user
        name: String,
        #[command(flatten)]
        link: LinkArgs,
    },
    /// Give a user another role
    Role {
        /// The user
        name: String,
        /// viewer, reporter, operator or admin
        role: Role,
    },
    /// Set a user's password to what standard input says, and end the user's sessions
    SetPassword {
        /// The user
        name: String,
    },
    /// Remove a user, with all sessions
    Remove {
        /// The user
        name: String,
    },
}

#[derive(Clone, Debug, Args)]
struct LinkArgs {
    /// How browsers reach the server [default: as the server's own settings say]
    #[arg(long, value_name = "URL", env = "LONGHAUL_SERVER")]
    server: Option<String>,
}

impl LinkArgs {
    fn print(&self, secret: &str, usual: &str) {
        let server = self.server.as_deref().unwrap_or(usual).trim_end_matches('/');
        println!("Open this link once, within 24 hours, to choose a password and sign in:");
        println!("{server}/login?link={secret}");
    }
}

/// Does it, and logs who did what.
pub async fn run(args: UserArgs) -> anyhow::Result<()> {
    let who = log::of_accounts(&args.database.settings()?);
    act(args).instrument(who).await
}

async fn act(args: UserArgs) -> anyhow::Result<()> {
    let usual = args.database.public_url()?;
    let store = args.database.accounts().await?;
    let now = SystemClock.now();
    match args.what {
        What::List => {
            for user in store.users().await? {
                let password = if user.password.is_some() { "" } else { "  (no password yet)" };
                let name = account(&user.name);
                println!("{:<9} {name}  since {}{password}", user.role, date_time(user.created_at));
            }
        }
        What::Add { name, role, link } => {
            let user = accounts::add_user(&*store, &name, role, now).await?;
            println!("Added {} as {role}.", account(&user.name));
            link.print(&accounts::make_link(&*store, &user.name, now).await?, &usual);
        }
        What::Link { name, link } => link.print(&accounts::make_link(&*store, &name, now).await?, &usual),
        What::Role { name, role } => {
            accounts::set_role(&*store, &name, role, now).await?;
            println!("{} is {role} now; a running server knows within 5 seconds.", account(&name));
        }
        What::SetPassword { name } => {
            let mut password = String::new();
            std::io::stdin().take(4_096).read_to_string(&mut password)?;
            accounts::set_password(&*store, &name, password.trim_end_matches(['\r', '\n']).to_owned())
                .await?;
            println!("{} has a new password, and is signed out everywhere.", account(&name));
        }
        What::Remove { name } => {
            accounts::remove_user(&*store, &name, now).await?;
            println!("Removed {}; a running server knows within 5 seconds.", account(&name));
        }
    }
    Ok(())
}
