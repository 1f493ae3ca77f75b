//! What browsers send: forms of our own pages, and nobody else's; and what they get, which is never JSON.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN, RETRY_AFTER};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::FutureExt as _;
use futures::future::{BoxFuture, Either, Ready, ready};
use serde_json::Value;
use tower::{Layer, Service};

use crate::http::{ApiError, refusal_page, wants_html};
use crate::settings::Origin;

/// The most bytes of a refusal.
const REFUSAL_BYTES: usize = 256 * 1024;

/// Refuses what another site's page sends with our cookie. Knows the public address.
#[derive(Clone)]
pub struct OwnFormsLayer(pub Option<Origin>);

impl<S> Layer<S> for OwnFormsLayer {
    type Service = OwnForms<S>;

    fn layer(&self, inner: S) -> OwnForms<S> {
        OwnForms { inner, public: self.0.clone() }
    }
}

/// A service that answers forms of our own pages.
#[derive(Clone)]
pub struct OwnForms<S> {
    inner: S,
    public: Option<Origin>,
}

impl<S> Service<Request> for OwnForms<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match own(request.method(), request.headers(), self.public.as_ref()) {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(foreign) => {
                let refusal = ApiError::request(StatusCode::FORBIDDEN, "cross_site", foreign.to_string());
                Either::Right(ready(Ok(refusal.into_response())))
            }
        }
    }
}

/// Why a request is not one of our own pages'.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Foreign {
    /// It came from another site, or says so.
    Site { from: String, to: String, public: Option<String> },
    /// It came over http, where browsers reach the server by https alone.
    Plain { public: String },
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Site { from, to, public } => {
                write!(
                    f,
                    "This request came from another site's page, so it was refused: the page is at {from}, and \
                     the server was asked as {to}"
                )?;
                match public {
                    Some(public) => write!(f, "; its public address is {public}")?,
                    None => f.write_str(", and no public address was set")?,
                }
                write!(
                    f,
                    ". If {from} is how you reach this server, start it with --public-url {from}, or let the \
                     proxy in front of it pass the host on (nginx: proxy_set_header Host $http_host)."
                )
            }
            Self::Plain { public } => write!(
                f,
                "This page was opened over http, and this server is used by {public} alone: no browser would \
                 keep its cookie here. Open {public}/login instead."
            ),
        }
    }
}

/// Whether a request that changes something comes from one of our own pages, or from no page at all.
fn own(method: &Method, headers: &HeaderMap, public: Option<&Origin>) -> Result<(), Foreign> {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    // No browser sends a token by itself, so no other site's page can make it send one.
    let bearer = |value: &[u8]| value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "));
    if headers.get_all(AUTHORIZATION).iter().any(|value| bearer(value.as_bytes())) {
        return Ok(());
    }
    let text = |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let (site, origin) = (text("sec-fetch-site"), text(ORIGIN.as_str()));
    let from = origin.as_deref().and_then(|origin| Origin::parse(origin).ok());
    if let Some(public) = public
        && from.as_ref() == Some(public)
    {
        return Ok(());
    }
    let to = text(HOST.as_str()).unwrap_or_default().to_ascii_lowercase();
    let foreign = || Foreign::Site {
        from: origin.as_deref().unwrap_or("an unknown address").chars().take(300).collect(),
        to: if to.is_empty() { "an unknown host".to_owned() } else { to.chars().take(300).collect() },
        public: public.map(ToString::to_string),
    };
    match site.as_deref() {
        // Sent by browsers over https and to this machine itself.
        Some("same-origin" | "none") => return Ok(()),
        Some(_) => return Err(foreign()),
        None => {}
    }
    if origin.is_none() {
        return Ok(());
    }
    let from = from.ok_or_else(foreign)?;
    // The default port of the page's scheme may be said or not.
    let scheme = if from.secure { "https" } else { "http" };
    let asked = Origin::parse(&format!("{scheme}://{to}")).ok();
    let public_host = public.filter(|public| public.secure && !from.secure);
    match public_host {
        Some(public) if asked.as_ref() == Some(&from) || public.host == from.host => {
            Err(Foreign::Plain { public: public.to_string() })
        }
        _ if asked.as_ref() == Some(&from) => Ok(()),
        _ => Err(foreign()),
    }
}

/// Makes a page of a refusal that a browser would show as JSON. Knows the build.
#[derive(Clone)]
pub struct PageLayer(pub Arc<str>);

impl<S> Layer<S> for PageLayer {
    type Service = Pages<S>;

    fn layer(&self, inner: S) -> Pages<S> {
        Pages { inner, build: self.0.clone() }
    }
}

/// A service that answers browsers with pages.
#[derive(Clone)]
pub struct Pages<S> {
    inner: S,
    build: Arc<str>,
}

impl<S> Service<Request> for Pages<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if !wants_html(request.uri().path(), request.headers()) {
            return Either::Left(self.inner.call(request));
        }
        let (answer, build) = (self.inner.call(request), Arc::clone(&self.build));
        Either::Right(async move { Ok(as_page(answer.await?, &build).await) }.boxed())
    }
}

async fn as_page(response: Response, build: &str) -> Response {
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let refused = status.is_client_error() || status.is_server_error();
    if !refused || kind.starts_with("text/html") {
        return response;
    }
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, REFUSAL_BYTES).await.unwrap_or_default();
    let said = serde_json::from_slice::<Value>(&bytes).ok();
    let said = said.as_ref().and_then(|said| said["error"].as_str());
    let plain = std::str::from_utf8(&bytes).unwrap_or_default().trim();
    let text = said.unwrap_or(if plain.is_empty() { "The server refused this." } else { plain });
    let mut page = refusal_page(status, build, text);
    for name in [RETRY_AFTER, axum::http::header::ALLOW] {
        if let Some(value) = parts.headers.get(&name) {
            page.headers_mut().insert(name, value.clone());
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn asked(headers: &[(&'static str, &str)], public: &str) -> Result<(), Foreign> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        own(&Method::POST, &map, Origin::parse(public).ok().as_ref())
    }

    #[test]
    fn a_form_of_our_own_is_known_however_a_proxy_calls_us() {
        for (host, origin, public) in [
            ("box.lan:5348", "http://box.lan:5348", ""),
            ("BOX.lan:80", "http://box.lan", ""),
            ("box.lan", "http://box.lan:80", ""),
            ("box.lan:443", "https://box.lan", ""),
            ("box.lan", "https://box.lan", ""),
            ("127.0.0.1:3000", "http://box.lan:5348", "http://box.lan:5348"),
            ("127.0.0.1:3000", "http://BOX.lan:5348", "http://box.lan:5348"),
            ("backend", "https://jobs.example.org", "https://jobs.example.org"),
            ("backend", "https://jobs.example.org:443", "https://jobs.example.org"),
            ("[::1]:3000", "http://[::1]:3000", ""),
            ("127.0.0.1:3000", "http://127.0.0.1:3000", "http://box.lan"),
        ] {
            let answer = asked(&[("host", host), ("origin", origin)], public);
            assert_eq!(answer, Ok(()), "{host} {origin} {public}");
        }
        assert_eq!(asked(&[("host", "x")], ""), Ok(()), "a program sends neither");
        let public = "http://box.lan:5348";
        let sent = [("host", "x"), ("origin", public), ("sec-fetch-site", "same-site")];
        assert_eq!(asked(&sent, public), Ok(()), "the public address is trusted");
        for value in ["Bearer abc", "bearer abc"] {
            let sent = [("host", "x"), ("origin", "https://evil.example"), ("authorization", value)];
            assert_eq!(asked(&sent, ""), Ok(()), "{value}");
        }
    }

    #[test]
    fn a_form_of_another_site_is_refused_with_both_hosts_and_the_remedy() {
        for (host, origin, public) in [
            ("box.lan", "https://evil.example", ""),
            ("box.lan", "null", ""),
            ("box.lan", "http://box.lan:81", ""),
            ("box.lan:3000", "http://box.lan", ""),
            ("box.lan", "http://box.lan.evil.example", "http://box.lan"),
            ("box.lan", "https://box.lan.", "https://box.lan"),
            ("", "http://box.lan", ""),
            ("box.lan", "garbage", ""),
        ] {
            let refused = asked(&[("host", host), ("origin", origin)], public).unwrap_err().to_string();
            assert!(refused.contains(origin) && refused.contains(host), "{refused}");
            assert!(
                refused.contains("--public-url") && refused.contains("proxy_set_header Host"),
                "{refused}"
            );
        }
        for site in ["cross-site", "same-site"] {
            assert!(asked(&[("host", "box.lan"), ("sec-fetch-site", site)], "").is_err());
        }
        let basic =
            [("host", "box.lan"), ("origin", "https://evil.example"), ("authorization", "Basic eA==")];
        assert!(asked(&basic, "").is_err(), "which browsers do send by themselves");
    }

    #[test]
    fn an_https_address_that_is_opened_over_http_says_so() {
        for host in ["jobs.example.org", "127.0.0.1:3000"] {
            let origin = format!("http://{host}");
            let sent = [("host", host), ("origin", origin.as_str())];
            let refused = asked(&sent, "https://jobs.example.org").unwrap_err();
            assert_eq!(refused, Foreign::Plain { public: "https://jobs.example.org".to_owned() });
            assert!(refused.to_string().contains("https://jobs.example.org/login"));
        }
        let on_this_machine = [
            ("host", "localhost:3000"),
            ("origin", "http://localhost:3000"),
            ("sec-fetch-site", "same-origin"),
        ];
        assert_eq!(asked(&on_this_machine, "https://jobs.example.org"), Ok(()), "browsers keep its cookie");
    }
}
