//! `longhaul restore`: a backup becomes the database. Overwrites nothing, and checks the copy before it
//! becomes one.

use std::path::PathBuf;

use clap::Args;

use super::database::{DatabaseArgs, progress_line};
use super::output::print;
use crate::store::restore;

/// `longhaul restore`.
#[derive(Clone, Debug, Args)]
pub struct RestoreArgs {
    /// A file that `longhaul backup` or the built-in job of that name wrote
    #[arg(value_name = "FROM")]
    from: PathBuf,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Does it.
pub async fn run(args: RestoreArgs) -> anyhow::Result<()> {
    let to = args.database.file()?;
    let (from, place) = (args.from.clone(), to.clone());
    let restored = tokio::task::spawn_blocking(move || {
        restore(&from, &place, progress_line("Copying"), progress_line("Checking"))
    });
    let report = restored.await??;
    print(&format!(
        "Restored {} from {}: {} jobs with {} log entries, all in order.\n",
        to.display(),
        args.from.display(),
        report.jobs,
        report.events
    ));
    Ok(())
}
