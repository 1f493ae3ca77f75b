//! The command line.
//!
//! Two halves. `serve`, `user`, `token`, `config`, `selftest`, `backup`, `restore`, `check`, `export` and
//! `import` work on this machine, with the database itself. The client commands (`exec`, `jobs`, `health`, `cleanup`, `emergency-cleanup`) talk to a server
//! over its REST API and to nothing else: what they may do is what their token may do. They take
//! `--server` and `--token`, print a table or `--json`, and exit with a number that [`exit`] documents.

pub mod backup;
pub mod check;
pub mod cleanup;
pub mod client;
pub mod clock;
pub mod config;
pub mod database;
pub mod exec;
pub mod exit;
pub mod export;
pub mod health;
pub mod import;
pub mod jobs;
pub mod log;
pub mod output;
pub mod restore;
pub mod selftest;
pub mod serve;
pub mod token;
pub mod user;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::client::CallError;
use self::exit::Exit;
use crate::settings::SettingsArgs;

/// `longhaul`.
#[derive(Debug, Parser)]
#[command(name = "longhaul", version, about, after_help = exit::HELP, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `longhaul` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server: the dashboard and the REST API
    Serve(Box<SettingsArgs>),
    /// Run any command as a job: longhaul exec --feature import -- ./import.sh
    Exec(Box<exec::ExecArgs>),
    /// See jobs, and stop them
    Jobs(jobs::JobsArgs),
    /// Say how the system is; exits with 0 where it is healthy
    Health(health::HealthArgs),
    /// Fail the jobs that are stale, now
    Cleanup(cleanup::CleanupArgs),
    /// Force-fail every job, to get a stuck system going again
    EmergencyCleanup(cleanup::EmergencyCleanupArgs),
    /// Say that a server's clock is right, where it is not believed
    Clock(clock::ClockArgs),
    /// Manage who may sign in
    User(user::UserArgs),
    /// Manage the credentials of programs
    Token(token::TokenArgs),
    /// Copy the database to a file, also while a server works with it
    Backup(backup::BackupArgs),
    /// Make a backup the database. Overwrites nothing, and checks the copy first
    Restore(restore::RestoreArgs),
    /// Compare logs, jobs and counters of the database; exits with 0 where they agree
    Check(check::CheckArgs),
    /// Write all jobs with their logs as NDJSON
    Export(export::ExportArgs),
    /// Add exported jobs to the database
    Import(import::ImportArgs),
    /// Print every setting as `serve` would have it, and where it comes from
    Config(Box<SettingsArgs>),
    /// Check on this machine that jobs, limits and recovery do what they promise
    Selftest,
    /// What `exec` leaves behind for those who still write to its command's output
    #[command(hide = true, name = exec::keeper::ARGUMENT)]
    HoldOutput,
}

/// Does what the command line says. Must be called within a Tokio runtime with several threads.
pub async fn run(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Serve(args) => serve::run(&args).await,
        Command::Exec(args) => ExitCode::from(exec::run(*args).await),
        Command::Jobs(args) => called(jobs::run(args).await),
        Command::Health(args) => called(health::run(args).await),
        Command::Cleanup(args) => called(cleanup::run(args).await),
        Command::EmergencyCleanup(args) => called(cleanup::run_emergency(args).await),
        Command::Clock(args) => called(clock::run(args).await),
        Command::User(args) => done(user::run(args).await.map(|()| true)),
        Command::Token(args) => done(token::run(args).await.map(|()| true)),
        Command::Backup(args) => done(backup::run(args).await.map(|()| true)),
        Command::Restore(args) => done(restore::run(args).await.map(|()| true)),
        Command::Check(args) => done(check::run(args).await),
        Command::Export(args) => done(export::run(args).await.map(|()| true)),
        Command::Import(args) => done(import::run(args).await.map(|()| true)),
        Command::Config(args) => done(config::run(&args).map(|()| true)),
        Command::Selftest => done(selftest::run().await),
        Command::HoldOutput => {
            done(tokio::task::spawn_blocking(exec::keeper::run).await.map(|()| true).map_err(Into::into))
        }
    }
}

/// How a client command ended.
fn called(result: Result<Exit, CallError>) -> ExitCode {
    let exit = result.unwrap_or_else(|error| {
        output::complain(&error.to_string());
        error.exit()
    });
    exit.into()
}

/// How a command on this machine ended.
fn done(result: anyhow::Result<bool>) -> ExitCode {
    let exit = match result {
        Ok(true) => Exit::Done,
        Ok(false) => Exit::Failed,
        Err(error) => {
            output::complain(&format!("{error:#}"));
            Exit::Failed
        }
    };
    exit.into()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_tokens_value_is_not_in_the_help() {
        let help = Cli::command()
            .find_subcommand_mut("health")
            .map(|command| command.render_long_help().to_string())
            .unwrap_or_default();
        assert!(help.contains("LONGHAUL_TOKEN") && !help.contains("LONGHAUL_TOKEN="), "{help}");
    }

    #[test]
    fn which_database_may_be_said_before_or_behind() {
        for words in [
            ["token", "--database", "sqlite://x.db", "revoke", "ci"],
            ["token", "revoke", "ci", "--database", "sqlite://x.db"],
            ["token", "revoke", "--database", "sqlite://x.db", "ci"],
            ["user", "remove", "bob", "--database", "sqlite://x.db"],
        ] {
            Cli::try_parse_from(["longhaul"].into_iter().chain(words)).unwrap();
        }
    }

    #[test]
    fn exec_takes_everything_after_the_dashes_as_the_command() {
        let words = ["longhaul", "exec", "--feature", "f", "--timeout", "0", "--", "ls", "--quiet", "-l"];
        let cli = Cli::try_parse_from(words).unwrap();
        let Command::Exec(args) = cli.command else { panic!("not exec") };
        assert_eq!(args.command, ["ls", "--quiet", "-l"]);
        assert!(!args.quiet);
        assert!(Cli::try_parse_from(["longhaul", "exec"]).is_err());
        assert!(Cli::try_parse_from(["longhaul", "exec", "--drain-spool"]).is_ok());
        assert!(Cli::try_parse_from(["longhaul", "exec", "--feature", " ", "--", "ls"]).is_err());
    }
}
