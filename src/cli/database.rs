//! What the commands have in common that work on the database itself, beside a server or without one.
//! They ask for no sign-in: whoever can write the database file, or knows the database's password, may
//! manage users, tokens and history.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;

use crate::settings::{Database, Settings, SettingsArgs};
use crate::store::{
    AccountStore, JobStore, PostgresAccounts, PostgresSettings, PostgresStore, SqliteAccounts, SqliteStore,
    StoreProgress,
};
use crate::view::thousands;

/// Which database.
#[derive(Clone, Debug, Args)]
pub struct DatabaseArgs {
    /// The database, as the server has it [default: sqlite://longhaul.db]
    #[arg(long, value_name = "URL", env = "LONGHAUL_DATABASE", hide_env_values = true, global = true)]
    database: Option<String>,
    /// Read settings from this file [default: longhaul.toml, where there is one]
    #[arg(long, value_name = "FILE", env = "LONGHAUL_CONFIG", hide_env_values = true, global = true)]
    config: Option<PathBuf>,
}

const MEMORY: &str = "A memory store lives in its server and nowhere else";

impl DatabaseArgs {
    /// The settings of the server that the database is of, as far as they are known here.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        Ok(Settings::new(&SettingsArgs::with_database(self.config.clone(), self.database.clone()))?)
    }

    fn database(&self) -> anyhow::Result<Database> {
        Ok(self.settings()?.database)
    }

    /// How browsers reach the server, by its own settings.
    pub fn public_url(&self) -> anyhow::Result<String> {
        Ok(self.settings()?.public_url())
    }

    /// Opens the accounts of the database.
    pub async fn accounts(&self) -> anyhow::Result<Arc<dyn AccountStore>> {
        match self.database()? {
            Database::Memory => {
                anyhow::bail!("{MEMORY}: set LONGHAUL_ADMIN_PASSWORD or LONGHAUL_BOOTSTRAP_TOKEN there.")
            }
            Database::Sqlite(path) => Ok(Arc::new(SqliteAccounts::open(existing(&path)?)?)),
            Database::Postgres(address) => Ok(Arc::new(PostgresAccounts::open(&address).await?)),
        }
    }

    /// Opens the jobs to look at them, beside a server or without one.
    pub async fn jobs_to_read(&self) -> anyhow::Result<Arc<dyn JobStore>> {
        match self.database()? {
            Database::Memory => anyhow::bail!("{MEMORY}."),
            Database::Sqlite(path) => Ok(Arc::new(SqliteStore::open_read_only(existing(&path)?)?)),
            Database::Postgres(address) => postgres(address).await,
        }
    }

    /// Opens the jobs to add to them. A file is made where it is missing, and no server may have it open.
    pub async fn jobs_to_write(&self) -> anyhow::Result<Arc<dyn JobStore>> {
        match self.database()? {
            Database::Memory => anyhow::bail!("{MEMORY}."),
            Database::Sqlite(path) => {
                make_folder_of(&path)?;
                Ok(Arc::new(SqliteStore::open(&path)?))
            }
            Database::Postgres(address) => postgres(address).await,
        }
    }

    /// The file of the database, which need not be there.
    pub fn file(&self) -> anyhow::Result<PathBuf> {
        match self.database()? {
            Database::Memory => anyhow::bail!("{MEMORY}."),
            Database::Sqlite(path) => {
                make_folder_of(&path)?;
                Ok(path)
            }
            Database::Postgres(_) => anyhow::bail!(
                "A backup of a file is restored to a file. PostgreSQL has its own tools (pg_restore); to move \
                 jobs from a file to it use `longhaul export` and `longhaul import`."
            ),
        }
    }
}

async fn postgres(address: String) -> anyhow::Result<Arc<dyn JobStore>> {
    let settings = PostgresSettings { address, connections: 2, node: None };
    Ok(Arc::new(PostgresStore::open(settings).await?))
}

fn existing(path: &Path) -> anyhow::Result<&Path> {
    anyhow::ensure!(
        path.exists(),
        "There is no database {}. Start the server once, or name another with --database.",
        path.display()
    );
    Ok(path)
}

fn make_folder_of(path: &Path) -> anyhow::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("The folder {} cannot be made", folder.display()))?;
    }
    Ok(())
}

/// Tells a person at a terminal how far a long operation has come; says nothing to a script.
pub fn progress_line(what: &'static str) -> StoreProgress {
    let watched = std::io::stderr().is_terminal();
    let mut said = u64::MAX;
    Box::new(move |done, total| {
        let known = total > 0;
        let reached = if known { done * 100 / total } else { done / 100_000 };
        if watched && reached != said {
            said = reached;
            // Where the terminal was closed, the operation goes on unseen.
            let _ = match known {
                true => {
                    let end = if done >= total { "\n" } else { "" };
                    write!(std::io::stderr(), "\r{what}: {reached} %                    {end}")
                }
                false => {
                    write!(std::io::stderr(), "\r{what}: {} steps of SQLite's own check", thousands(done))
                }
            };
        }
        true
    })
}
