//! The session's cookie: its name, reading it, setting it, taking it away.

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};
use axum_extra::extract::cookie::{Cookie, SameSite};

use crate::service::SessionSecret;

/// The session's cookie over https: the prefix makes browsers insist on `Secure`, `Path=/` and no domain.
pub const HOST_COOKIE: &str = "__Host-longhaul";
/// The session's cookie over plain http on loopback, where browsers refuse the prefix.
pub const PLAIN_COOKIE: &str = "longhaul";

/// What the session's cookie is called. Over https only the prefixed name counts: any host beside ours, and
/// whoever sits on a plain connection, can set the other.
const fn cookie_name(secure: bool) -> &'static str {
    if secure { HOST_COOKIE } else { PLAIN_COOKIE }
}

/// The value of the session's cookie. Read as bytes: other programs' cookies come along in the same header,
/// and not all are ASCII.
pub fn session_cookie(headers: &HeaderMap, secure: bool) -> Option<String> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    let mut values = pairs.filter_map(|pair| {
        pair.trim_ascii().strip_prefix(cookie_name(secure).as_bytes())?.strip_prefix(b"=")
    });
    values.find_map(|value| std::str::from_utf8(value).ok().map(str::to_owned))
}

/// What sets the cookie of a new session.
pub fn new_cookie(session: &SessionSecret, secure: bool) -> impl Iterator<Item = HeaderValue> {
    let lasts = i64::try_from(session.lasts.as_secs()).unwrap_or(i64::MAX);
    set_cookie(session.secret.clone(), lasts, secure)
}

/// What takes the cookie away.
pub fn no_cookie(secure: bool) -> impl Iterator<Item = HeaderValue> {
    set_cookie(String::new(), 0, secure)
}

/// Sets the cookie, and over https takes away one without the prefix, left from before there was TLS. The
/// other way about a browser would refuse to: over plain http no secure cookie can be touched.
fn set_cookie(value: String, seconds: i64, secure: bool) -> impl Iterator<Item = HeaderValue> {
    let cookie = |name: &'static str, value: String, seconds: i64| {
        let cookie = Cookie::build((name, value))
            .path("/")
            .http_only(true)
            .secure(secure)
            // Lax: a link from a mail opens the dashboard signed in; a form from elsewhere never posts here.
            .same_site(SameSite::Lax)
            .build();
        HeaderValue::from_str(&format!("{cookie}; Max-Age={seconds}")).ok()
    };
    let stale = if secure { cookie(PLAIN_COOKIE, String::new(), 0) } else { None };
    cookie(cookie_name(secure), value, seconds).into_iter().chain(stale)
}
