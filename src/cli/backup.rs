//! `longhaul backup`: a copy of the database, while a server works with it or without one.

use std::path::PathBuf;

use clap::Args;

use super::database::{DatabaseArgs, progress_line};
use super::output::print;

/// `longhaul backup`.
#[derive(Clone, Debug, Args)]
pub struct BackupArgs {
    /// The file to write. It must not exist
    #[arg(value_name = "TO")]
    to: PathBuf,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Does it.
pub async fn run(args: BackupArgs) -> anyhow::Result<()> {
    let store = args.database.jobs_to_read().await?;
    let bytes = store.backup(&args.to, progress_line("Copying")).await?;
    print(&format!(
        "Wrote {} ({bytes} bytes): everything up to the moment it was begun.\n",
        args.to.display()
    ));
    Ok(())
}
