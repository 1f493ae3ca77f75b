//! The command line.

pub mod config;
pub mod database;
pub mod selftest;
pub mod serve;
pub mod token;
pub mod user;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::server::SettingsArgs;

/// `longhaul`.
#[derive(Debug, Parser)]
#[command(name = "longhaul", version, about, max_term_width = 100)]
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
    /// Manage who may sign in
    User(user::UserArgs),
    /// Manage the credentials of programs
    Token(token::TokenArgs),
    /// Print every setting as `serve` would have it, and where it comes from
    Config(Box<SettingsArgs>),
    /// Check on this machine that jobs, limits and recovery do what they promise
    Selftest,
}

/// Does what the command line says. Must be called within a Tokio runtime with several threads.
pub async fn run(cli: Cli) -> ExitCode {
    let done = match cli.command {
        Command::Serve(args) => return serve::run(&args).await,
        Command::User(args) => user::run(args).await,
        Command::Token(args) => token::run(args).await,
        Command::Config(args) => config::run(&args),
        Command::Selftest => match selftest::run().await {
            Ok(true) => Ok(()),
            Ok(false) => return ExitCode::FAILURE,
            Err(error) => Err(error),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("longhaul: {error:#}");
            ExitCode::FAILURE
        }
    }
}
