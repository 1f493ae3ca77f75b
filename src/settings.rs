//! How a server is set up: flag, then `LONGHAUL_*` variable, then file, then default.
//!
//! One table (`settings/table.rs`) names every setting; the command line, the environment, the file and `longhaul config` are
//! all made from it, so that none of them can know a setting the others do not.

mod addresses;
mod args;
mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use thiserror::Error;

pub use addresses::Origin;
use addresses::{listen, networks, reachable, without_password};
pub use args::SettingsArgs;
use table::KNOWN;

use crate::model::{Label, Limits, Timeouts};

/// Where a setting's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A flag.
    Flag,
    /// A `LONGHAUL_*` variable.
    Environment,
    /// The file.
    File,
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::File => "file",
            Self::Default => "default",
        })
    }
}

/// A setting as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// Its value, as written. A secret is shown as dots.
    pub value: String,
    /// Where it comes from.
    pub source: Source,
}

/// Why the settings cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct SettingsError(String);

/// Which store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// Forgets.
    Memory,
    /// A file.
    Sqlite(PathBuf),
    /// A database that several servers may share, by its address.
    Postgres(String),
}

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Which store.
    pub database: Database,
    /// The most connections for reading to a PostgreSQL database.
    pub database_connections: usize,
    /// Where built-in jobs put files.
    pub files: PathBuf,
    /// How browsers reach the server, without a slash at the end; empty where nothing was said.
    pub public: String,
    /// Proxies whose word counts for where a request comes from.
    pub trusted_proxies: Vec<IpNet>,
    /// The most connections.
    pub max_connections: usize,
    /// What the installation allows.
    pub limits: Limits,
    /// How often stale jobs are ended.
    pub sweep_every: Duration,
    /// What this server is called in its pages.
    pub label: Option<Label>,
    /// How long a browser stays signed in.
    pub session_lasts: Duration,
    /// How long running jobs may take to end when the server stops.
    pub stop_within: Duration,
    /// What is logged.
    pub log: String,
    /// Whether the log is JSON.
    pub log_json: bool,
    /// Sets the password of the user admin.
    pub admin_password: Option<String>,
    /// A bearer token with the admin role.
    pub bootstrap_token: Option<String>,
    /// What this server is called.
    pub node: String,
    all: Vec<Setting>,
}

/// The file that is read where nothing is said.
const DEFAULT_FILE: &str = "longhaul.toml";
/// Settings of the file that the client commands read.
const CLIENT_KEYS: [&str; 2] = ["server", "token"];

impl Settings {
    /// Puts the settings together and checks them.
    pub fn new(args: &SettingsArgs) -> Result<Self, SettingsError> {
        let file = match &args.config {
            Some(path) => read_file(path)?,
            None if Path::new(DEFAULT_FILE).exists() => read_file(Path::new(DEFAULT_FILE))?,
            None => BTreeMap::new(),
        };
        Self::from_parts(args, &file)
    }

    fn from_parts(args: &SettingsArgs, file: &BTreeMap<String, String>) -> Result<Self, SettingsError> {
        for name in file.keys() {
            if !KNOWN.iter().any(|known| known.name == name) && !CLIENT_KEYS.contains(&name.as_str()) {
                return Err(SettingsError(format!("The settings file has `{name}`, which is no setting")));
            }
        }
        let mut raw: BTreeMap<&str, (String, Source)> = BTreeMap::new();
        for known in &KNOWN {
            let value = args
                .given
                .get(known.name)
                .cloned()
                .or_else(|| file.get(known.name).map(|value| (value.clone(), Source::File)))
                .unwrap_or_else(|| (known.default.to_owned(), Source::Default));
            raw.insert(known.name, value);
        }
        let all = KNOWN
            .iter()
            .map(|known| {
                let (value, source) = raw[known.name].clone();
                let value = if known.secret && !value.is_empty() {
                    "••••••••".to_owned()
                } else {
                    without_password(&value)
                };
                Setting { name: known.name, value, source }
            })
            .collect();
        let text = |name: &str| raw[name].0.clone();
        let wrong = |name: &str, problem: &str| {
            let (value, source) = &raw[name];
            let value = without_password(value);
            SettingsError(format!("--{name} is `{value}` (from the {source}), but {problem}"))
        };
        let span = |name: &str| match text(name).as_str() {
            "0" => Ok(None),
            value => humantime::parse_duration(value)
                .map(|span| Some(span).filter(|span| !span.is_zero()))
                .map_err(|_| wrong(name, "must be a span of time such as 90s, 10m, 2h or 7d, or 0")),
        };
        let some_span = |name: &str| span(name)?.ok_or_else(|| wrong(name, "must be longer than nothing"));
        let number = |name: &str| {
            text(name)
                .parse::<u32>()
                .ok()
                .filter(|number| *number > 0)
                .ok_or_else(|| wrong(name, "must be a whole number, 1 or more"))
        };
        let database = database(&text("database")).map_err(|problem| wrong("database", problem))?;
        let max_past = match (&database, raw["max-past-jobs"].1) {
            (Database::Memory, Source::Default) => Limits::MEMORY.max_past,
            _ => number("max-past-jobs")?,
        };
        let max_lines = match (&database, raw["max-log-lines"].1) {
            (Database::Memory, Source::Default) => Limits::MEMORY.max_lines,
            _ => number("max-log-lines")?,
        };
        let public = match text("public-url").as_str() {
            "" => String::new(),
            url => Origin::parse(url).map_err(|problem| wrong("public-url", problem))?.to_string(),
        };
        let trusted_proxies =
            networks(&text("trusted-proxies")).map_err(|problem| wrong("trusted-proxies", problem))?;
        let log_json = match text("log-format").as_str() {
            "text" => false,
            "json" => true,
            _ => return Err(wrong("log-format", "must be text or json")),
        };
        let secret = |name: &str| Some(text(name)).filter(|value| !value.is_empty());
        Ok(Self {
            listen: listen(&text("listen")).map_err(|problem| wrong("listen", problem))?,
            database,
            database_connections: number("database-connections")? as usize,
            files: PathBuf::from(text("files")),
            public,
            trusted_proxies,
            max_connections: number("max-connections")? as usize,
            limits: Limits {
                max_active: number("max-active-jobs")?,
                max_active_each: match text("max-active-each").is_empty() {
                    true => None,
                    false => Some(number("max-active-each")?),
                },
                max_past,
                max_age: span("max-past-age")?,
                max_lines,
                timeouts: Timeouts { run: span("job-timeout")?, activity: span("activity-timeout")? },
                lost_after: span("lost-after")?,
            },
            sweep_every: some_span("sweep-every")?,
            label: Label::read(&text("label")).map_err(|problem| wrong("label", problem))?,
            session_lasts: some_span("session-lasts")?,
            stop_within: span("stop-within")?.unwrap_or_default(),
            log: text("log"),
            log_json,
            admin_password: secret("admin-password"),
            bootstrap_token: secret("bootstrap-token"),
            node: secret("node").or_else(host_name).unwrap_or_else(|| "longhaul".to_owned()),
            all,
        })
    }

    /// Every setting as it stands, with its source.
    pub fn all(&self) -> &[Setting] {
        &self.all
    }

    /// How browsers reach the server: where nothing was said, at the address it listens on.
    pub fn public_url(&self) -> String {
        if self.public.is_empty() {
            format!("http://{}", reachable(self.listen))
        } else {
            self.public.clone()
        }
    }

    /// The public address in its parts, where one was said.
    pub fn public_origin(&self) -> Option<Origin> {
        Origin::parse(&self.public).ok()
    }

    /// The command that makes a sign-in link, to be run on the server's machine.
    pub fn link_command(&self, user: &str) -> String {
        let other =
            self.all.iter().any(|setting| setting.name == "database" && setting.source != Source::Default);
        match &self.database {
            Database::Sqlite(path) if other => {
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                format!("longhaul user link {user} --database 'sqlite://{}'", path.display())
            }
            _ => format!("longhaul user link {user}"),
        }
    }

    /// Whether the session's cookie may only travel over https.
    pub fn secure_cookie(&self) -> bool {
        self.public.starts_with("https://")
    }
}

fn database(text: &str) -> Result<Database, &'static str> {
    if text == "memory:" || text == "memory" {
        return Ok(Database::Memory);
    }
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return Ok(Database::Postgres(text.to_owned()));
    }
    match text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:")) {
        Some("") => Err("must name a file: sqlite://longhaul.db"),
        Some(path) => Ok(Database::Sqlite(PathBuf::from(path))),
        None => Err("must be sqlite://FILE, postgres://USER@HOST/NAME or memory:"),
    }
}

fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/etc/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// What the file says for the client commands.
pub fn client_settings(config: Option<&Path>) -> Result<BTreeMap<String, String>, SettingsError> {
    let path = config.unwrap_or_else(|| Path::new(DEFAULT_FILE));
    if config.is_none() && !path.exists() {
        return Ok(BTreeMap::new());
    }
    let file = read_file(path)?;
    Ok(file.into_iter().filter(|(name, _)| CLIENT_KEYS.contains(&name.as_str())).collect())
}

fn read_file(path: &Path) -> Result<BTreeMap<String, String>, SettingsError> {
    let cannot = |problem: String| SettingsError(format!("The settings file {} {problem}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| cannot(format!("cannot be read: {error}")))?;
    let table: toml::Table = text.parse().map_err(|error| cannot(format!("is not TOML: {error}")))?;
    table
        .into_iter()
        .map(|(name, value)| match value {
            toml::Value::String(text) => Ok((name, text)),
            toml::Value::Integer(number) => Ok((name, number.to_string())),
            _ => Err(cannot(format!("gives `{name}` something that is neither text nor a number"))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(given: &[(&'static str, &str)], file: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let given = given.iter().map(|(name, value)| (*name, ((*value).to_owned(), Source::Flag))).collect();
        let file = file.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Settings::from_parts(&SettingsArgs { config: None, given }, &file)
    }

    #[test]
    fn the_defaults_are_the_requirements() {
        let settings = settings(&[], &[]).unwrap();
        assert_eq!(settings.limits, Limits::DURABLE);
        assert_eq!(settings.sweep_every, Duration::from_secs(300));
        assert_eq!(settings.listen.to_string(), "127.0.0.1:3000");
        assert!(!settings.secure_cookie());
        let memory = super::tests::settings(&[("database", "memory:")], &[]).unwrap();
        assert_eq!(memory.limits.max_past, 100);
    }

    #[test]
    fn a_flag_goes_before_the_file_and_the_source_is_told() {
        let settings =
            settings(&[("listen", "0.0.0.0:80")], &[("listen", "x"), ("job-timeout", "0")]).unwrap();
        assert_eq!(settings.listen.port(), 80);
        assert_eq!(settings.limits.timeouts.run, None);
        let of = |name: &str| settings.all().iter().find(|setting| setting.name == name).unwrap().source;
        assert_eq!(
            (of("listen"), of("job-timeout"), of("log")),
            (Source::Flag, Source::File, Source::Default)
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_source() {
        for (name, value) in [
            ("listen", "here"),
            ("database", "mysql://x"),
            ("job-timeout", "soon"),
            ("sweep-every", "0"),
            ("max-active-jobs", "0"),
            ("public-url", "example.org"),
            ("public-url", "https://example.org/jobs"),
            ("trusted-proxies", "proxy"),
            ("log-format", "xml"),
        ] {
            let error = settings(&[], &[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("(from the file)"), "{error}");
        }
        assert!(settings(&[], &[("max-jobs", "1")]).unwrap_err().to_string().contains("no setting"));
    }

    #[test]
    fn secrets_are_not_shown() {
        let settings = settings(&[("admin-password", "correct horse")], &[]).unwrap();
        assert!(settings.all().iter().all(|setting| !setting.value.contains("horse")));
        assert_eq!(settings.admin_password.as_deref(), Some("correct horse"));
    }
}
