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
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::de::{DeserializeOwned, Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::exit::Exit;
use crate::model::visible;
use crate::settings::client_settings;

/// Where the server is when nothing says so.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:3000";

/// The environment variable that may hold the token.
pub const TOKEN_VARIABLE: &str = "LONGHAUL_TOKEN";

/// The environment variable that may name the server.
const SERVER_VARIABLE: &str = "LONGHAUL_SERVER";

/// The environment variable that may name the file with both.
const CONFIG_VARIABLE: &str = "LONGHAUL_CONFIG";

/// How long a person at a terminal waits for one answer.
pub const PATIENCE: Duration = Duration::from_secs(30);

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
    /// Or why nobody can be called.
    http: Result<reqwest::Client, String>,
    server: String,
    authorization: Option<HeaderValue>,
    /// By how many milliseconds the server's clock is ahead of ours.
    ahead_ms: Arc<AtomicI64>,
    /// The proxy that the environment puts in between.
    proxy: Option<String>,
}

/// The answer to what was recorded: a report, or an act on a job. Nothing in it matters but that Longhaul wrote it:
/// what was acknowledged is not sent again, and a gateway that answers 200 with nothing, or with words of its own,
/// has recorded nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged;

impl<'de> Deserialize<'de> for Acknowledged {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            /// The job that it was recorded of, or the place of a message in its log.
            job_id: Option<IgnoredAny>,
            seq: Option<IgnoredAny>,
        }
        let answer = Answer::deserialize(deserializer)?;
        match (answer.job_id, answer.seq) {
            (None, None) => Err(D::Error::custom("it acknowledges nothing")),
            _ => Ok(Self),
        }
    }
}

impl Client {
    /// A client for the server at `server`, which waits `patience` for each answer.
    ///
    /// # Errors
    /// [`CallError::Setup`] where the address or the token makes no sense.
    pub fn new(server: &str, token: Option<&str>, patience: Duration) -> Result<Self, CallError> {
        install_tls();
        let server = server.trim_end_matches('/');
        if has_user(server) {
            return Err(CallError::Setup(
                "The server's address has a name or a password in it, before the `@`. Leave that out: Longhaul asks \
                 for a token, which LONGHAUL_TOKEN or --token gives."
                    .to_owned(),
            ));
        }
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
                if let Some(problem) = token_problem(token) {
                    return Err(CallError::Setup(format!(
                        "The token {problem}. Give it as `longhaul token add` printed it."
                    )));
                }
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
        let mut proxy = None;
        if is_loopback(&url) {
            // A proxy cannot reach this machine's loopback, whatever HTTP_PROXY says.
            http = http.no_proxy();
        } else {
            proxy = proxy_for(&url, |name| std::env::var(name).ok());
        }
        let http = http.build().map_err(|error| CallError::Setup(innermost(&error)))?;
        Ok(Self { http: Ok(http), server: server.to_owned(), authorization, proxy, ahead_ms: Arc::default() })
    }

    /// A client that cannot call the server, and says why where it is asked to.
    pub fn mute(server: &str, why: String) -> Self {
        // It is shown, and kept in the spool.
        let server = match has_user(server) {
            true => server.rsplit_once('@').map_or(server, |(_, place)| place),
            false => server,
        };
        let server = server.trim_end_matches('/').to_owned();
        Self { http: Err(why), server, authorization: None, proxy: None, ahead_ms: Arc::default() }
    }

    /// Why it cannot call anybody, where it cannot.
    pub fn is_mute(&self) -> Option<&str> {
        self.http.as_ref().err().map(String::as_str)
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
        self.call(self.request(Method::GET, path)?.query(query)).await
    }

    /// Asks for something to be done.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, CallError> {
        self.call(self.request(Method::POST, path)?.json(body)).await
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
        let request = self.request(Method::POST, path)?;
        self.call(request.header(IDEMPOTENCY_KEY, key).json(body)).await
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, CallError> {
        let http = self.http.as_ref().map_err(|why| CallError::Setup(why.clone()))?;
        let request = http.request(method, format!("{}{path}", self.server));
        Ok(match &self.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization.clone()),
            None => request,
        })
    }

    async fn call<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, CallError> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        self.note_time(&response);
        if response.status().is_success() {
            let what = described(&response);
            let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
            serde_json::from_slice(&bytes).map_err(|error| {
                let problem = if bytes.is_empty() { "it is empty".to_owned() } else { error.to_string() };
                self.strange(format!("{what}: {problem}"))
            })
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
        let (status, what) = (response.status(), described(&response));
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let retry_after =
            header(RETRY_AFTER).and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        let elsewhere = header(LOCATION).map(|location| format!(", leads to {}", visible(location, false)));
        match response.bytes().await {
            Err(error) => self.unreachable(&error),
            Ok(bytes) => match serde_json::from_slice::<Body>(&bytes) {
                // Longhaul sends nobody elsewhere.
                Ok(body) if status.is_client_error() || status.is_server_error() => {
                    CallError::Refused(Box::new(ServerRefusal {
                        status: status.as_u16(),
                        code: body.code,
                        sentence: body.error,
                        details: body.details,
                        retry_after,
                    }))
                }
                _ => self.strange(format!("{what}{}", elsewhere.unwrap_or_default())),
            },
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> CallError {
        let why = if error.is_timeout() { "it did not answer in time".to_owned() } else { innermost(error) };
        CallError::Unreachable { server: self.server.clone(), why: self.through_proxy(why) }
    }

    fn strange(&self, why: String) -> CallError {
        CallError::Strange { server: self.server.clone(), why: self.through_proxy(why) }
    }

    /// What went wrong may be the proxy's doing, which nobody thinks of whom nothing reminds.
    fn through_proxy(&self, why: String) -> String {
        match &self.proxy {
            Some(proxy) => format!("{why}; asked through the proxy {proxy}"),
            None => why,
        }
    }
}

/// Whether an address has a name or a password before its host: it would be shown in messages, and no server of ours
/// asks for either.
fn has_user(server: &str) -> bool {
    let host = server.split_once("://").map_or(server, |(_, rest)| rest);
    host.split(['/', '?', '#']).next().is_some_and(|host| host.contains('@'))
}

/// What came back, for people: `502 Bad Gateway, text/html`.
fn described(response: &Response) -> String {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.map(|kind| format!(", {}", visible(kind, false))).unwrap_or_default();
    format!("{}{kind}", response.status())
}

/// What a token has that no token has. Editors, chat programs and documents put such things around it.
fn token_problem(token: &str) -> Option<String> {
    const QUOTES: [char; 9] =
        ['"', '\'', '`', '\u{2018}', '\u{2019}', '\u{201c}', '\u{201d}', '\u{ab}', '\u{bb}'];
    if token.starts_with('\u{feff}') {
        return Some("begins with a byte-order mark (U+FEFF)".to_owned());
    }
    let start = token.get(..7).unwrap_or_default();
    if start.eq_ignore_ascii_case("bearer ") {
        return Some("has `Bearer ` in front, which is added by itself".to_owned());
    }
    let odd = token.char_indices().find(|(_, c)| !c.is_ascii_graphic() || QUOTES.contains(c));
    odd.map(|(at, c)| {
        let at = token[..at].chars().count() + 1;
        match c {
            _ if QUOTES.contains(&c) => format!("has a quotation mark in it, at character {at}: {c}"),
            '\n' | '\r' => format!("has a line end in it, at character {at}"),
            '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{ad}' => {
                format!("has an invisible character in it, at character {at}: U+{:04X}", u32::from(c))
            }
            c if c.is_whitespace() => format!("has a blank in it, at character {at}"),
            c => format!("has a character that no token has, at character {at}: U+{:04X}", u32::from(c)),
        }
    })
}

/// The proxy that the environment names for an address, as reqwest reads it: without what it signs in with.
fn proxy_for(url: &Url, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let named = |names: &[&'static str]| {
        names.iter().find_map(|name| Some((*name, variable(name).filter(|value| !value.trim().is_empty())?)))
    };
    let (name, proxy) = match url.scheme() {
        "https" => named(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]),
        _ => named(&["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]),
    }?;
    let host = url.host_str()?.trim_matches(['[', ']']);
    let (_, except) = named(&["NO_PROXY", "no_proxy"]).unwrap_or_default();
    let is_excepted = except.split(',').map(|part| part.trim().trim_start_matches('.')).any(|part| {
        part == "*" || (!part.is_empty() && (host == part || host.ends_with(&format!(".{part}"))))
    });
    if is_excepted {
        return None;
    }
    let address =
        if proxy.contains("://") { Url::parse(&proxy) } else { Url::parse(&format!("http://{proxy}")) };
    let address = address.ok();
    let shown = address.and_then(|mut address| {
        address.set_username("").ok()?;
        address.set_password(None).ok()?;
        Some(address.as_str().trim_end_matches('/').to_owned())
    });
    Some(format!("{} that {name} names", shown.unwrap_or_else(|| "(its address makes no sense)".to_owned())))
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
    fn an_address_with_a_password_in_it_is_refused_and_not_repeated() {
        for bad in
            ["http://me:hunter2@box.lan", "https://me:hun@ter2@x/y", "http://hunter2@x", "me:hunter2@x"]
        {
            let error = Client::new(bad, None, PATIENCE).unwrap_err();
            assert_eq!(error.exit(), Exit::Usage);
            assert!(error.to_string().contains("token") && !error.to_string().contains("ter2"), "{error}");
            assert!(!Client::mute(bad, String::new()).server().contains("ter2"));
        }
        assert!(Client::new("http://box.lan/a@b", None, PATIENCE).is_ok());
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

    #[test]
    fn what_is_wrong_with_a_token_is_said() {
        let good = "lh_0123456789abcdefABCDEF-_.~+/=";
        for (token, expected) in [
            (format!("\u{feff}{good}"), "byte-order mark"),
            (format!("Bearer {good}"), "`Bearer ` in front"),
            (format!("bearer {good}"), "`Bearer ` in front"),
            (format!("\"{good}\""), "quotation mark in it, at character 1"),
            (format!("{good}\u{201d}"), "quotation mark"),
            (format!("lh_\u{200b}{good}"), "invisible character in it, at character 4: U+200B"),
            (format!("{good}\u{feff}"), "invisible"),
            (format!("{good}\nx"), "line end"),
            (format!("{good} x"), "blank"),
            (format!("{good}\u{e9}"), "U+00E9"),
            ("\u{e9}\u{e9}\u{e9}\u{e9}".to_owned(), "U+00E9"),
        ] {
            let error = Client::new(DEFAULT_SERVER, Some(&token), PATIENCE).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains(good), "{error}");
        }
        for token in [good.to_owned(), format!(" {good}\r\n")] {
            Client::new(DEFAULT_SERVER, Some(&token), PATIENCE).unwrap();
        }
    }

    #[test]
    fn a_proxy_in_between_is_named_without_its_password() {
        let of = |url: &str, variables: &[(&str, &str)]| {
            proxy_for(&Url::parse(url).unwrap(), |name| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let proxy = [("HTTP_PROXY", "http://me:secret@proxy.lan:3128/")];
        assert_eq!(
            of("http://box.lan", &proxy).as_deref(),
            Some("http://proxy.lan:3128 that HTTP_PROXY names")
        );
        assert_eq!(of("https://box.lan", &proxy), None);
        assert_eq!(
            of("https://box.lan", &[("all_proxy", "me:secret@proxy.lan:3128")]).as_deref(),
            Some("http://proxy.lan:3128 that all_proxy names")
        );
        let except = |list| [proxy[0], ("no_proxy", list)];
        assert_eq!(of("http://box.lan", &except("x, .lan")), None);
        assert_eq!(of("http://box.lan", &except("*")), None);
        assert!(of("http://box.lan", &except("ox.lan")).is_some());
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
