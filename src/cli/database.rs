//! The commands that work on the database itself, beside a server or without one: who may come in is
//! decided by whoever holds the file.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::server::{Database, Settings, SettingsArgs};
use crate::store::{AccountStore, SqliteAccounts};

/// Which database.
#[derive(Clone, Debug, Args)]
pub struct DatabaseArgs {
    /// The database, as the server has it [default: sqlite://longhaul.db]
    #[arg(long, value_name = "URL", env = "LONGHAUL_DATABASE", hide_env_values = true)]
    database: Option<String>,
    /// Read settings from this file [default: longhaul.toml, where there is one]
    #[arg(long, value_name = "FILE", env = "LONGHAUL_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
}

impl DatabaseArgs {
    /// Opens the accounts of the database.
    pub fn accounts(&self) -> anyhow::Result<Arc<dyn AccountStore>> {
        let settings =
            Settings::new(&SettingsArgs::with_database(self.config.clone(), self.database.clone()))?;
        match settings.database {
            Database::Memory => {
                anyhow::bail!(
                    "A memory store lives in its server: set LONGHAUL_ADMIN_PASSWORD or LONGHAUL_BOOTSTRAP_TOKEN there."
                )
            }
            Database::Sqlite(path) if !path.exists() => anyhow::bail!(
                "There is no database {}. Start the server once, or name another with --database.",
                path.display()
            ),
            Database::Sqlite(path) => Ok(Arc::new(SqliteAccounts::open(&path)?)),
        }
    }
}
