//! Which server the client commands talk to, and as whom: what the command line, the environment and a file say.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{CallError, Client, DEFAULT_SERVER, TOKEN_VARIABLE};
use crate::model::visible;
use crate::settings::client_settings;

/// The environment variable that may name the server.
const SERVER_VARIABLE: &str = "LONGHAUL_SERVER";

/// The environment variable that may name the file with both.
const CONFIG_VARIABLE: &str = "LONGHAUL_CONFIG";

/// Which server, and as whom. Every client command has these.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Server")]
pub struct ClientArgs {
    /// The server's address [default: http://127.0.0.1:3000]
    #[arg(long, env = SERVER_VARIABLE, value_name = "URL")]
    pub server: Option<String>,
    /// The bearer token to sign in with. Better set in the environment than written here, where other
    /// users of the machine can read it, if with `exec` only for a moment
    #[arg(long, env = TOKEN_VARIABLE, value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Read both from this file where they are not said [default: longhaul.toml, where there is one; the
    /// server it names gets its token, never the one from the environment]
    #[arg(long, env = CONFIG_VARIABLE, value_name = "FILE", hide_env_values = true)]
    pub config: Option<PathBuf>,
}

impl ClientArgs {
    /// A client that waits `patience` for each answer.
    ///
    /// # Errors
    /// [`CallError::Setup`] where the file, the address or the token makes no sense, or where a token would
    /// go to a server that only the folder we happen to be in speaks of.
    pub fn client(&self, patience: Duration) -> Result<Client, CallError> {
        self.client_unless_found(std::env::var(TOKEN_VARIABLE).ok().as_deref(), patience)
    }

    /// The same where the token that was in the environment, `in_environment`, is no longer there.
    ///
    /// # Errors
    /// As [`Self::client`].
    pub fn client_unless_found(
        &self,
        in_environment: Option<&str>,
        patience: Duration,
    ) -> Result<Client, CallError> {
        let file =
            client_settings(self.config.as_deref()).map_err(|error| CallError::Setup(error.to_string()))?;
        self.client_with(file, in_environment, patience)
    }

    /// The same for a command that has work to do beside talking to the server. Only a mistake in its own
    /// options is an error. A file that nobody named, and that is not for us or cannot be read, is told to
    /// `warn` and passed over; where the environment or a file make no sense, the client is one that cannot
    /// call anybody and says why. `in_environment` is the token that is, or was, in the environment.
    ///
    /// # Errors
    /// [`CallError::Setup`].
    pub fn client_in_any_folder(
        &self,
        in_environment: Option<&str>,
        patience: Duration,
        mut warn: impl FnMut(&str),
    ) -> Result<Client, CallError> {
        let from = |name: &str| std::env::var(name).ok();
        let written_file =
            self.config.as_ref().filter(|file| from(CONFIG_VARIABLE).as_deref() != file.to_str());
        let file = match client_settings(self.config.as_deref()) {
            Err(error) if written_file.is_none() => {
                warn(&format!("{}; going on without it", error.to_string().trim_end_matches('.')));
                BTreeMap::new()
            }
            file => file.map_err(|error| CallError::Setup(error.to_string()))?,
        };
        if let Some(server) =
            self.server.as_ref().filter(|server| from(SERVER_VARIABLE).as_ref() != Some(server))
        {
            // A wrong address on the command line is a mistake; an empty one is none at all.
            if !server.trim().is_empty() {
                Client::new(server, None, patience)?;
            }
        }
        let found = file.get("server").filter(|_| {
            self.config.is_none() && self.server.as_ref().is_none_or(|server| server.trim().is_empty())
        });
        let (server, is_found) = match (&self.server, found) {
            (_, Some(found)) => (found.clone(), true),
            (Some(server), None) if !server.trim().is_empty() => (server.clone(), false),
            _ => (file.get("server").map_or(DEFAULT_SERVER, String::as_str).to_owned(), false),
        };
        match self.client_with(file, in_environment, patience) {
            Err(CallError::Setup(why)) => Ok(Client::mute(&server, why)),
            Ok(client) => {
                if is_found {
                    warn(&format!(
                        "what the command prints goes to the server {}, which the longhaul.toml of this folder names",
                        client.server()
                    ));
                }
                Ok(client)
            }
            Err(error) => Err(error),
        }
    }

    /// Puts together what was said and what the file says. A file that nobody named may have been written by
    /// anybody, so its server gets only its own token, or one that was written on the command line: never
    /// the one from the environment, `in_environment`.
    fn client_with(
        &self,
        mut file: BTreeMap<String, String>,
        in_environment: Option<&str>,
        patience: Duration,
    ) -> Result<Client, CallError> {
        let given = |said: &Option<String>| said.clone().filter(|text| !text.trim().is_empty());
        let (server, token) = (given(&self.server), given(&self.token));
        let (found_server, found_token) = (file.remove("server"), file.remove("token"));
        let is_found = server.is_none() && found_server.is_some() && self.config.is_none();
        let token = match token {
            Some(token) if !is_found || in_environment != Some(token.as_str()) => Some(token),
            _ if is_found && found_token.is_none() => {
                return Err(CallError::Setup(format!(
                    "The longhaul.toml of this folder names the server {} without a token, and a token is not \
                     sent to a server just because of the folder one is in. If that server is meant, name it \
                     with --server or the file with --config.",
                    visible(&found_server.unwrap_or_default(), false)
                )));
            }
            _ => found_token,
        };
        let server = server.or(found_server);
        let server = server.as_deref().unwrap_or(DEFAULT_SERVER).trim_end_matches('/');
        Client::new(server, token.as_deref(), patience)
    }
}

#[cfg(test)]
mod tests {
    use super::super::PATIENCE;
    use super::*;
    use crate::cli::exit::Exit;

    #[test]
    fn an_empty_setting_is_none() {
        let args = ClientArgs { server: Some(String::new()), token: Some(" ".to_owned()), config: None };
        let client = args.client(PATIENCE).unwrap();
        assert_eq!(client.server(), DEFAULT_SERVER);
        assert!(client.authorization.is_none());
    }

    #[test]
    fn a_server_found_in_a_file_nobody_named_does_not_get_the_environments_token() {
        let client = |server: Option<&str>, token: &str, config: Option<&str>, file: &[(&str, &str)]| {
            let owned = |text: &str| text.to_owned();
            let args = ClientArgs {
                server: server.map(owned),
                token: Some(owned(token)),
                config: config.map(PathBuf::from),
            };
            let file = file.iter().map(|(name, value)| (owned(name), owned(value))).collect();
            args.client_with(file, Some("mine"), PATIENCE)
        };
        let bearer = |client: &Client| client.authorization.clone().unwrap().to_str().unwrap().to_owned();
        let found = [("server", "http://x")];
        let refused = client(None, "mine", None, &found).unwrap_err();
        assert_eq!(refused.exit(), Exit::Usage);
        assert!(refused.to_string().contains("http://x") && refused.to_string().contains("--config"));
        assert!(client(None, "", None, &found).is_err());
        let both = [("server", "http://x"), ("token", "theirs")];
        assert_eq!(bearer(&client(None, "mine", None, &both).unwrap()), "Bearer theirs");
        // Written on the command line, named, or not of the file.
        assert_eq!(bearer(&client(None, "typed", None, &found).unwrap()), "Bearer typed");
        assert_eq!(bearer(&client(None, "mine", Some("a.toml"), &found).unwrap()), "Bearer mine");
        assert_eq!(bearer(&client(Some("http://y"), "mine", None, &both).unwrap()), "Bearer mine");
        assert_eq!(bearer(&client(None, "mine", None, &[("token", "theirs")]).unwrap()), "Bearer mine");
    }
}
