//! Where a request comes from, and whether its page was opened over https.

use std::net::IpAddr;

use axum::http::{Extensions, HeaderMap};
use ipnet::IpNet;

/// The address at the other end of the connection, as whoever accepted it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub IpAddr);

/// The address of the client: that of the connection, or the one which a trusted proxy names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Where a request comes from. `X-Forwarded-For` is believed as far as trusted proxies wrote it: from the end,
/// up to the first address that is none of them.
pub fn client_address(
    extensions: &Extensions,
    headers: &HeaderMap,
    trusted: &[IpNet],
) -> Option<ClientAddress> {
    let PeerAddress(peer) = extensions.get::<PeerAddress>()?;
    let mut client = peer.to_canonical();
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    if !is_trusted(client) {
        return Some(ClientAddress(client));
    }
    let lines: Vec<&str> =
        headers.get_all(FORWARDED_FOR).iter().filter_map(|line| line.to_str().ok()).collect();
    for named in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        let Some(address) = address_of(named) else { break };
        client = address;
        if !is_trusted(client) {
            break;
        }
    }
    Some(ClientAddress(client))
}

/// How a browser opened a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenedOver {
    /// Over https, or on this machine itself, where browsers ask for no https.
    Secure,
    /// Over http: a trusted proxy says so.
    Plain,
    /// Probably over http: neither a trusted proxy nor the browser says otherwise. Browsers from before 2023 say
    /// nothing over https either, and a proxy that is not trusted may have taken the TLS away.
    ProbablyPlain,
}

const FORWARDED_PROTO: &str = "x-forwarded-proto";
/// Browsers send it where a page is opened over https or on this machine itself, and nowhere else.
const FETCH_SITE: &str = "sec-fetch-site";

impl OpenedOver {
    /// How the page of a request was opened.
    pub fn of(extensions: &Extensions, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let by_proxy = extensions.get::<PeerAddress>().is_some_and(|PeerAddress(peer)| {
            let peer = peer.to_canonical();
            trusted.iter().any(|network| network.contains(&peer))
        });
        // Of several the first is the browser's own. A client that forges it changes only the page it is shown.
        let told = headers.get(FORWARDED_PROTO).and_then(|line| line.to_str().ok()).filter(|_| by_proxy);
        let told =
            told.and_then(|line| line.split(',').next()).map(|scheme| scheme.trim().to_ascii_lowercase());
        match told.as_deref() {
            Some("https" | "wss") => Self::Secure,
            Some("http" | "ws") => Self::Plain,
            _ if headers.contains_key(FETCH_SITE) => Self::Secure,
            _ => Self::ProbablyPlain,
        }
    }
}

/// An address as proxies write it: plain, in brackets, with a port.
fn address_of(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let address = text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    address.or_else(with_port).or_else(in_brackets).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn how_a_page_was_opened_is_told_by_trusted_proxies_and_by_browsers() {
        let opened = |peer: &str, headers: &[(&'static str, &'static str)]| {
            let mut extensions = Extensions::new();
            extensions.insert(PeerAddress(peer.parse().unwrap()));
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, HeaderValue::from_static(value));
            }
            OpenedOver::of(&extensions, &map, &["127.0.0.0/8".parse().unwrap()])
        };
        let (proxy, other) = ("127.0.0.1", "192.0.2.1");
        for (peer, headers, expected) in [
            (proxy, &[(FORWARDED_PROTO, "https")][..], OpenedOver::Secure),
            (proxy, &[(FORWARDED_PROTO, "HTTPS, http")], OpenedOver::Secure),
            ("::ffff:127.0.0.1", &[(FORWARDED_PROTO, "http")], OpenedOver::Plain),
            (proxy, &[(FORWARDED_PROTO, "http,https")], OpenedOver::Plain),
            (proxy, &[(FORWARDED_PROTO, "http"), (FETCH_SITE, "none")], OpenedOver::Plain),
            (proxy, &[(FORWARDED_PROTO, "gopher")], OpenedOver::ProbablyPlain),
            (proxy, &[], OpenedOver::ProbablyPlain),
            (proxy, &[(FETCH_SITE, "none")], OpenedOver::Secure),
            (other, &[(FETCH_SITE, "same-origin")], OpenedOver::Secure),
            (other, &[(FORWARDED_PROTO, "https")], OpenedOver::ProbablyPlain),
            (other, &[], OpenedOver::ProbablyPlain),
        ] {
            assert_eq!(opened(peer, headers), expected, "{peer} {headers:?}");
        }
    }

    #[test]
    fn only_what_trusted_proxies_wrote_is_believed() {
        let from = |peer: &str, trusted: &[&str], lines: &[&str]| {
            let mut extensions = Extensions::new();
            extensions.insert(PeerAddress(peer.parse().unwrap()));
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
            }
            let trusted: Vec<IpNet> = trusted.iter().map(|network| network.parse().unwrap()).collect();
            client_address(&extensions, &headers, &trusted).unwrap().0.to_string()
        };
        let own = ["127.0.0.0/8"];
        assert_eq!(from("192.0.2.1", &own, &["203.0.113.9"]), "192.0.2.1", "no proxy of ours");
        assert_eq!(from("127.0.0.1", &[], &["203.0.113.9"]), "127.0.0.1", "nobody is trusted");
        assert_eq!(from("127.0.0.1", &own, &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(from("::ffff:127.0.0.1", &own, &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(from("127.0.0.1", &own, &[]), "127.0.0.1");
        assert_eq!(
            from("127.0.0.1", &own, &["6.6.6.6, 203.0.113.9"]),
            "203.0.113.9",
            "the client wrote the first"
        );
        assert_eq!(from("127.0.0.1", &own, &["6.6.6.6", "203.0.113.9, 127.0.0.2"]), "203.0.113.9");
        assert_eq!(from("127.0.0.1", &own, &["unknown"]), "127.0.0.1");
        assert_eq!(from("127.0.0.1", &own, &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(from("127.0.0.1", &own, &["203.0.113.9:80"]), "203.0.113.9");
        let both = ["127.0.0.1/32", "10.0.0.0/8"];
        assert_eq!(from("127.0.0.1", &both, &["6.6.6.6, 203.0.113.9, 10.1.2.3"]), "203.0.113.9");
        assert_eq!(from("127.0.0.1", &both, &["10.0.0.1, 10.1.2.3"]), "10.0.0.1", "one of us");
    }
}
