//! `longhaul export`: all jobs with their logs as NDJSON, for another store or another program. Works beside
//! a server. The form is described in [`crate::store::Exporter`]'s module.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;

use super::database::DatabaseArgs;
use crate::store::{Exporter, JobStore, Moved};

/// `longhaul export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// The file to write, which must not exist; - for standard output
    #[arg(value_name = "TO", default_value = "-")]
    to: PathBuf,
    /// Only jobs that have ended
    #[arg(long)]
    past: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Does it.
pub async fn run(args: ExportArgs) -> anyhow::Result<()> {
    let store = args.database.jobs_to_read().await?;
    if args.to == Path::new("-") {
        write(store, args.past, BufWriter::new(std::io::stdout())).await?;
        return Ok(());
    }
    let moved = to_file(store, args.past, &args.to).await?;
    eprintln!("Wrote {} jobs with {} log entries to {}.", moved.jobs, moved.events, args.to.display());
    Ok(())
}

/// Under a name of its own first, so that a file of that name is whole.
async fn to_file(store: Arc<dyn JobStore>, past: bool, to: &Path) -> anyhow::Result<Moved> {
    anyhow::ensure!(!to.exists(), "There is a file {} already, and export overwrites nothing.", to.display());
    let mut partial = to.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let written = async {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        let moved = write(store, past, BufWriter::new(file)).await?;
        File::open(&partial)?.sync_all()?;
        std::fs::rename(&partial, to)?;
        anyhow::Ok(moved)
    }
    .await;
    if written.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    written.with_context(|| format!("{} cannot be written", to.display()))
}

async fn write(store: Arc<dyn JobStore>, past: bool, mut to: impl Write) -> anyhow::Result<Moved> {
    let mut exporter = Exporter::new(store, past);
    while let Some(text) = exporter.next().await? {
        to.write_all(text.as_bytes())?;
    }
    to.flush()?;
    Ok(exporter.moved())
}
