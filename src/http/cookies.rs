//! This server's cookies: the session's, and the one by which a device is known again. Their names, reading
//! them, setting them, taking them away.
//!
//! Browsers keep cookies by host and forget the port, so the name carries it: two servers on one host would
//! otherwise throw each other's people out.

use axum::http::header::{COOKIE, HOST};
use axum::http::{HeaderMap, HeaderValue};
use axum_extra::extract::cookie::{Cookie, SameSite};

use crate::service::SessionSecret;
use crate::settings::Settings;

/// The session's cookie over plain http, where browsers refuse the prefix; with the port where it is not the
/// scheme's own.
pub const PLAIN_COOKIE: &str = "longhaul";
/// The same over https: the prefix makes browsers insist on `Secure`, `Path=/` and no domain.
const HOST_PREFIX: &str = "__Host-";
/// What the device's cookie has behind the session's name.
const DEVICE: &str = "-device";
/// How long a device is known: as long as browsers keep a cookie.
const DEVICE_SECONDS: i64 = 400 * 86_400;
/// So many values of one cookie are looked at.
const MOST_VALUES: usize = 8;

/// The cookies as they are called between one browser and this server.
pub struct Cookies {
    secure: bool,
    port: Option<u16>,
}

impl Cookies {
    /// For a request: by the port of the public address, or else by that which the browser asked for.
    pub fn of(settings: &Settings, headers: &HeaderMap) -> Self {
        let port = match settings.public_origin() {
            Some(public) => public.port,
            None => headers.get(HOST).and_then(|host| host.to_str().ok()).and_then(port_of),
        };
        Self { secure: settings.secure_cookie(), port }
    }

    /// Over https only the prefixed name counts: any host beside ours, and whoever sits on a plain
    /// connection, can set the other.
    fn name(&self, secure: bool, kind: &str) -> String {
        let prefix = if secure { HOST_PREFIX } else { "" };
        match self.port {
            Some(port) => format!("{prefix}{PLAIN_COOKIE}{kind}-{port}"),
            None => format!("{prefix}{PLAIN_COOKIE}{kind}"),
        }
    }

    /// The values of a cookie: one as a rule, several where others have set cookies of the same name for
    /// another path or domain, of which a browser sends all. Read as bytes: other programs' cookies come along
    /// in the same header, and not all are ASCII.
    fn values<'a>(&self, headers: &'a HeaderMap, kind: &str) -> impl Iterator<Item = &'a str> {
        let name = self.name(self.secure, kind);
        let pairs =
            headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
        let values =
            pairs.filter_map(move |pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="));
        values
            .filter_map(|value| std::str::from_utf8(value).ok())
            .filter(|value| !value.is_empty())
            .take(MOST_VALUES)
    }

    /// What may be the secret of a session.
    pub fn sessions(&self, headers: &HeaderMap) -> Vec<String> {
        self.values(headers, "").map(str::to_owned).collect()
    }

    /// The secret by which the device is known.
    pub fn device(&self, headers: &HeaderMap) -> Option<String> {
        self.values(headers, DEVICE).next().map(str::to_owned)
    }

    /// What sets the cookies of a new session.
    pub fn enter(&self, session: &SessionSecret) -> impl Iterator<Item = HeaderValue> + use<> {
        let lasts = i64::try_from(session.lasts.as_secs()).unwrap_or(i64::MAX);
        let device = self.cookie(self.secure, DEVICE, &session.device, DEVICE_SECONDS);
        self.session(&session.secret, lasts).chain(device)
    }

    /// What takes the session's cookie away. The device stays known.
    pub fn leave(&self) -> impl Iterator<Item = HeaderValue> + use<> {
        self.session("", 0)
    }

    /// Sets the session's cookie, and over https takes away one without the prefix, left from before there was
    /// TLS. The other way about a browser would refuse to: over plain http no secure cookie can be touched.
    fn session(&self, value: &str, seconds: i64) -> impl Iterator<Item = HeaderValue> + use<> {
        let stale = if self.secure { self.cookie(false, "", "", 0) } else { None };
        self.cookie(self.secure, "", value, seconds).into_iter().chain(stale)
    }

    fn cookie(&self, prefixed: bool, kind: &str, value: &str, seconds: i64) -> Option<HeaderValue> {
        let cookie = Cookie::build((self.name(prefixed, kind), value.to_owned()))
            .path("/")
            .http_only(true)
            .secure(self.secure)
            // Lax: a link from a mail opens the dashboard signed in; a form from elsewhere never posts here.
            .same_site(SameSite::Lax)
            .build();
        HeaderValue::from_str(&format!("{cookie}; Max-Age={seconds}")).ok()
    }
}

/// The port of a `Host`, where it has one.
fn port_of(host: &str) -> Option<u16> {
    let (_, port) = host.rsplit_once(':')?;
    port.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_has_the_port_in_its_name_and_every_value_of_it_is_seen() {
        let cookies = |port| Cookies { secure: false, port };
        let mut headers = HeaderMap::new();
        let sent = "longhaul-3000=a; longhaul-3001=b;longhaul=c; longhaul-3000=; longhaul-3000=d; x=Zoë";
        headers.append(COOKIE, HeaderValue::from_bytes(sent.as_bytes()).unwrap());
        headers.append(COOKIE, HeaderValue::from_static("longhaul-3000=e; longhaul-device-3000=f"));
        assert_eq!(cookies(Some(3000)).sessions(&headers), ["a", "d", "e"]);
        assert_eq!(cookies(Some(3001)).sessions(&headers), ["b"]);
        assert_eq!(cookies(None).sessions(&headers), ["c"]);
        assert_eq!(cookies(Some(3000)).device(&headers).as_deref(), Some("f"));
        assert_eq!(port_of("box.lan:5348"), Some(5348));
        assert_eq!(port_of("[::1]:80"), Some(80));
        assert_eq!((port_of("[::1]"), port_of("box.lan")), (None, None));
    }
}
