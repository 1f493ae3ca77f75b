//! `longhaul import`: jobs that were exported, with their logs, into the database. Not while a server has it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::database::DatabaseArgs;
use super::output::print;
use crate::store::Importer;

/// `longhaul import`.
#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// A file that `longhaul export` wrote; - for standard input
    #[arg(value_name = "FROM")]
    from: PathBuf,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Does it.
pub async fn run(args: ImportArgs) -> anyhow::Result<()> {
    let unreadable = || format!("{} cannot be read", args.from.display());
    let from: Box<dyn BufRead + Send> = if args.from == Path::new("-") {
        Box::new(BufReader::new(std::io::stdin()))
    } else {
        Box::new(BufReader::new(File::open(&args.from).with_context(unreadable)?))
    };
    let store = args.database.jobs_to_write().await?;
    let imported = async {
        let mut importer = Importer::new(store.clone());
        for line in from.lines() {
            importer.line(&line.with_context(unreadable)?).await?;
        }
        anyhow::Ok(importer.finish().await?)
    }
    .await;
    store.close().await;
    let moved = imported?;
    print(&format!("Imported {} jobs with {} log entries.\n", moved.jobs, moved.events));
    Ok(())
}
