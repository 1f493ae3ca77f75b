//! What is logged, to standard error: by a server, and by the commands that change accounts beside it.

use std::io::IsTerminal as _;

use tracing::Span;
use tracing_subscriber::EnvFilter;

use crate::model::visible;
use crate::settings::Settings;

/// Logs what a server does.
///
/// # Errors
/// Where `--log` is no filter.
pub fn of_server(settings: &Settings) -> anyhow::Result<()> {
    // Ours comes first, so that whoever wants to read of each migration can say so.
    let filter = EnvFilter::try_new(format!("refinery_core=warn,{}", settings.log))
        .map_err(|error| anyhow::anyhow!("--log is `{}`, which is no filter: {error}", settings.log))?;
    to_stderr(filter, settings.log_json);
    Ok(())
}

/// Logs who changed accounts, in the form a server has. These commands work on the database itself, so no server
/// hears of it: whoever wants a record keeps what they say on standard error.
pub fn of_accounts(settings: &Settings) -> Span {
    // Who runs the command is a span of this module.
    let filter = EnvFilter::new("error,longhaul::service::audit=info,longhaul::cli::log=info");
    to_stderr(filter, settings.log_json);
    let uid = rustix::process::getuid().as_raw();
    let sudo = std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty());
    match sudo {
        Some(sudo) => tracing::info_span!("command", uid, sudo = %visible(&sudo, false)),
        None => tracing::info_span!("command", uid),
    }
}

fn to_stderr(filter: EnvFilter, json: bool) {
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would be told on standard error that standard error cannot be written to, with a panic.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal());
    // It fails where there is one already, which is as good.
    let _ = if json { log.json().try_init() } else { log.with_target(false).try_init() };
}
