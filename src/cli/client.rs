//! A Longhaul server, seen from the command line: calls, answers, refusals.
//!
//! Every call ends in one of four ways, and callers need to know which: an answer, a refusal in the
//! server's own words, no answer at all, or an answer that no Longhaul server would give. Redirects are
//! not followed, because following one turns a POST into a GET: the address has to be the right one.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use reqwest::header::{AUTHORIZATION, DATE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use thiserror::Error;

use super::exit::Exit;
use crate::model::visible;
use crate::settings::client_settings;

/// Where the server is when nothing says so.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:3000";

/// The environment variable that may hold the token.
pub const TOKEN_VARIABLE: &str = "LONGHAUL_TOKEN";

/// How long a person at a terminal waits for one answer.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Which server, and as whom. Every client command has these.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Server")]
pub struct ClientArgs {
    /// The server's address [default: http://127.0.0.1:3000]
    #[arg(long, env = "LONGHAUL_SERVER", value_name = "URL")]
    pub server: Option<String>,
    /// The bearer token to sign in with. Better set in the environment than written here, where other
    /// users of the machine can read it
    #[arg(long, env = TOKEN_VARIABLE, value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Read both from this file where they are not said [default: longhaul.toml, where there is one; the
    /// server it names gets its token, never the one from the environment]
    #[arg(long, env = "LONGHAUL_CONFIG", value_name = "FILE", hide_env_values = true)]
    pub config: Option<PathBuf>,
}

impl ClientArgs {
    /// A client that waits `patience` for each answer.
    ///
    /// # Errors
    /// [`CallError::Setup`] where the file, the address or the token makes no sense, or where a token would
    /// go to a server that only the folder we happen to be in speaks of.
    pub fn client(&self, patience: Duration) -> Result<Client, CallError> {
        let file =
            client_settings(self.config.as_deref()).map_err(|error| CallError::Setup(error.to_string()))?;
        self.client_with(file, std::env::var(TOKEN_VARIABLE).ok().as_deref(), patience)
    }

    /// The same for a command that has work to do beside talking to the server: a file that nobody named,
    /// and that is not for us or cannot be read, is told to `warn` and passed over.
    ///
    /// # Errors
    /// As [`Self::client`].
    pub fn client_in_any_folder(
        &self,
        patience: Duration,
        warn: impl FnOnce(&str),
    ) -> Result<Client, CallError> {
        let file = match client_settings(self.config.as_deref()) {
            Err(error) if self.config.is_none() => {
                warn(&format!("{}; going on without it", error.to_string().trim_end_matches('.')));
                BTreeMap::new()
            }
            file => file.map_err(|error| CallError::Setup(error.to_string()))?,
        };
        self.client_with(file, std::env::var(TOKEN_VARIABLE).ok().as_deref(), patience)
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

/// A refusal, as the server words it.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerRefusal {
    /// The HTTP status.
    pub status: u16,
    /// The stable name: `job_finished`.
    pub code: String,
    /// What a person can act on.
    pub sentence: String,
    /// What a program may want to know beside it; null where there is nothing.
    pub details: Value,
    /// When to try again, where the server says so.
    pub retry_after: Option<Duration>,
}

/// Why a call brought nothing.
#[derive(Clone, Debug, Error)]
pub enum CallError {
    /// The address or the token makes no sense.
    #[error("{0}")]
    Setup(String),
    /// Nobody answered.
    #[error(
        "Cannot reach the server at {server}: {why}. Start it with `longhaul serve`, or name another with --server or LONGHAUL_SERVER."
    )]
    Unreachable {
        /// The address.
        server: String,
        /// The innermost cause.
        why: String,
    },
    /// The server refused.
    #[error("{}{}", visible(&.0.sentence, false), hint(.0))]
    Refused(Box<ServerRefusal>),
    /// Somebody answered who is not Longhaul, or something stands in between.
    #[error("The server at {server} did not answer as Longhaul does ({why}). Is the address right?")]
    Strange {
        /// The address.
        server: String,
        /// What came back.
        why: String,
    },
}

fn hint(refusal: &ServerRefusal) -> &'static str {
    match refusal.status {
        401 => " Give a valid token with --token or LONGHAUL_TOKEN.",
        _ => "",
    }
}

impl CallError {
    /// What a script should hear.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Setup(_) => Exit::Usage,
            Self::Unreachable { .. } | Self::Strange { .. } => Exit::Unreachable,
            Self::Refused(refusal) if matches!(refusal.status, 401 | 403) => Exit::NotAllowed,
            Self::Refused(_) => Exit::Failed,
        }
    }
}

/// A server, and who we are to it. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    server: String,
    authorization: Option<HeaderValue>,
    /// By how many milliseconds the server's clock is ahead of ours.
    ahead_ms: Arc<AtomicI64>,
}

/// An answer of which only the arrival matters.
pub type Acknowledged = IgnoredAny;

impl Client {
    /// A client for the server at `server`, which waits `patience` for each answer.
    ///
    /// # Errors
    /// [`CallError::Setup`] where the address or the token makes no sense.
    pub fn new(server: &str, token: Option<&str>, patience: Duration) -> Result<Self, CallError> {
        install_tls();
        let server = server.trim_end_matches('/');
        let url = Url::parse(server)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| {
                CallError::Setup(format!(
                    "`{}` is not a server's address. Write it like {DEFAULT_SERVER}.",
                    visible(server, false)
                ))
            })?;
        let authorization = token
            .map(str::trim)
            .filter(|token| !token.is_empty())
            .map(|token| {
                let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                    .map_err(|_| CallError::Setup("The token holds characters no token has.".to_owned()))?;
                value.set_sensitive(true);
                Ok(value)
            })
            .transpose()?;
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("longhaul/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(patience.min(Duration::from_secs(5)))
            .timeout(patience)
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(&url) {
            // A proxy cannot reach this machine's loopback, whatever HTTP_PROXY says.
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| CallError::Setup(innermost(&error)))?;
        Ok(Self { http, server: server.to_owned(), authorization, ahead_ms: Arc::default() })
    }

    /// The server's address.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// What the server's clock shows, by its last answer: the times it tells are by that clock, and ages
    /// are reckoned with it. Until it has answered, our own.
    pub fn now(&self) -> DateTime<Utc> {
        Utc::now() + TimeDelta::milliseconds(self.ahead_ms.load(Ordering::Relaxed))
    }

    /// Notes the time of an answer. Answers tell whole seconds, and come after a while: what may be due to
    /// that is no difference.
    fn note_time(&self, response: &Response) {
        const UNCERTAIN_MS: i64 = 2_000;
        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
        if let Some(date) = date.and_then(|date| DateTime::parse_from_rfc2822(date).ok()) {
            let ahead = (date.to_utc() - Utc::now()).num_milliseconds();
            let ahead = if ahead.abs() < UNCERTAIN_MS { 0 } else { ahead };
            self.ahead_ms.store(ahead, Ordering::Relaxed);
        }
    }

    /// Reads something.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<T, CallError> {
        self.call(self.request(Method::GET, path).query(query)).await
    }

    /// Asks for something to be done.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, CallError> {
        self.call(self.request(Method::POST, path).json(body)).await
    }

    /// As [`Self::post`], under a key that makes it safe to ask again when no answer came.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn post_keyed<T: DeserializeOwned>(
        &self,
        path: &str,
        key: &str,
        body: &impl Serialize,
    ) -> Result<T, CallError> {
        const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
        let request = self.request(Method::POST, path);
        self.call(request.header(IDEMPOTENCY_KEY, key).json(body)).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.server));
        match &self.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization.clone()),
            None => request,
        }
    }

    async fn call<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, CallError> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        self.note_time(&response);
        if response.status().is_success() {
            let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
            let text: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
            serde_json::from_slice(text).map_err(|error| self.strange(error.to_string()))
        } else {
            Err(self.refusal(response).await)
        }
    }

    async fn refusal(&self, response: Response) -> CallError {
        #[derive(serde::Deserialize)]
        struct Body {
            error: String,
            code: String,
            #[serde(default)]
            details: Value,
        }
        let status = response.status();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let retry_after =
            header(RETRY_AFTER).and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        let elsewhere = header(LOCATION).map(|location| format!(", leads to {}", visible(location, false)));
        match response.bytes().await {
            Err(error) => self.unreachable(&error),
            Ok(bytes) => match serde_json::from_slice::<Body>(&bytes) {
                Ok(body) => CallError::Refused(Box::new(ServerRefusal {
                    status: status.as_u16(),
                    code: body.code,
                    sentence: body.error,
                    details: body.details,
                    retry_after,
                })),
                Err(_) => self.strange(format!("{status}{}", elsewhere.unwrap_or_default())),
            },
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> CallError {
        let why = if error.is_timeout() { "it did not answer in time".to_owned() } else { innermost(error) };
        CallError::Unreachable { server: self.server.clone(), why }
    }

    fn strange(&self, why: String) -> CallError {
        CallError::Strange { server: self.server.clone(), why }
    }
}

/// What reqwest wraps in several layers of "error sending request".
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        host == "localhost"
            || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

/// reqwest is built without a provider of cryptography (ring needs no cmake), so one has to be named
/// before the first client. Failing means that somebody named one already, which is as good.
fn install_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_none_are_refused_with_an_example() {
        for bad in ["", "localhost:3000", "ftp://x", "http://", "/x"] {
            let error = Client::new(bad, None, PATIENCE).unwrap_err();
            assert_eq!(error.exit(), Exit::Usage, "{bad}");
            assert!(error.to_string().contains(DEFAULT_SERVER), "{error}");
        }
        assert_eq!(Client::new("https://x/y/", None, PATIENCE).unwrap().server(), "https://x/y");
    }

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

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named_with_what_to_do() {
        // Bound and not listening: nobody else can take the port, and nobody answers on it.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let server = format!("http://{}", socket.local_addr().unwrap());
        let client = Client::new(&server, None, PATIENCE).unwrap();
        let error = client.get::<Acknowledged>("/healthz", &[]).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Unreachable);
        let text = error.to_string();
        assert!(text.contains(&server) && text.contains("--server"), "{text}");
    }
}
