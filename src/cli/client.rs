//! A Longhaul server, seen from the command line: calls, answers, refusals.
//!
//! Every call ends in one of four ways, and callers need to know which: an answer, a refusal in the
//! server's own words, no answer at all, or an answer that no Longhaul server would give. Redirects are
//! not followed, because following one turns a POST into a GET: the address has to be the right one.

mod address;
mod args;
mod error;
mod token;

use std::error::Error;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::de::{DeserializeOwned, Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use self::address::{has_user, is_loopback, proxy_for};
pub use self::args::ClientArgs;
pub use self::error::{CallError, ServerRefusal};
use self::token::token_problem;
use crate::model::visible;

/// Where the server is when nothing says so.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:3000";

/// The environment variable that may hold the token.
pub const TOKEN_VARIABLE: &str = "LONGHAUL_TOKEN";

/// How long a person at a terminal waits for one answer.
pub const PATIENCE: Duration = Duration::from_secs(30);

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

/// What came back, for people: `502 Bad Gateway, text/html`.
fn described(response: &Response) -> String {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.map(|kind| format!(", {}", visible(kind, false))).unwrap_or_default();
    format!("{}{kind}", response.status())
}

/// What reqwest wraps in several layers of "error sending request".
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
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
    use crate::cli::exit::Exit;

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
