//! Settings as they come in: flags, and `LONGHAUL_*` variables.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use super::Source;
use super::table::KNOWN;

/// The flags and variables, as they came in.
#[derive(Clone, Debug, Default)]
pub struct SettingsArgs {
    pub(super) config: Option<PathBuf>,
    pub(super) given: BTreeMap<&'static str, (String, Source)>,
}

impl SettingsArgs {
    /// As if only these had been given.
    pub fn with_database(config: Option<PathBuf>, database: Option<String>) -> Self {
        // How browsers reach the server, and how it logs, is said to it in its file or its environment.
        let said = ["public-url", "listen", "log-format"].into_iter().filter_map(|name| {
            let value = std::env::var(variable(name)).ok()?;
            Some((name, (value, Source::Environment)))
        });
        let database = database.map(|database| ("database", (database, Source::Flag)));
        Self { config, given: said.chain(database).collect() }
    }
}

fn variable(name: &str) -> String {
    format!("LONGHAUL_{}", name.to_uppercase().replace('-', "_"))
}

impl Args for SettingsArgs {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .env("LONGHAUL_CONFIG")
            .help("Read settings from this file [default: longhaul.toml, where there is one]");
        let command = command.arg(config);
        KNOWN.iter().fold(command, |command, known| {
            let mut help = known.help.to_owned();
            if !known.default.is_empty() {
                help.push_str(&format!(" [default: {}]", known.default));
            }
            let arg = Arg::new(known.name)
                .long(known.name)
                .value_name(known.value)
                .env(variable(known.name))
                .hide_env_values(true)
                .help(help);
            command.arg(arg)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingsArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = Self::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.config = matches.get_one::<String>("config").map(PathBuf::from);
        for known in &KNOWN {
            if let Some(value) = matches.get_one::<String>(known.name) {
                let source = match matches.value_source(known.name) {
                    Some(ValueSource::EnvVariable) => Source::Environment,
                    _ => Source::Flag,
                };
                self.given.insert(known.name, (value.clone(), source));
            }
        }
        Ok(())
    }
}
