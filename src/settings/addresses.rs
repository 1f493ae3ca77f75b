//! Addresses in the settings: where to listen, how browsers reach the server, whose word counts.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};

use ipnet::IpNet;
use url::Url;

/// A scheme, a host and a port: what browsers compare where a request comes from and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Whether it is https, and not http.
    pub secure: bool,
    /// The host, in small letters.
    pub host: String,
    /// The port, where it is not the scheme's own.
    pub port: Option<u16>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl Origin {
    /// Reads an address that has nothing else in it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const SCHEME: &str = "must begin with http:// or https://";
        // The parser drops blanks as browsers do; in a setting they are a typing mistake.
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err("must not have blanks in it");
        }
        let (scheme, rest) = text.split_once("://").ok_or(SCHEME)?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(SCHEME),
        };
        if rest.contains(['?', '#']) {
            return Err("must not have a ? or a # in it");
        }
        if rest.contains(['@', '\\']) {
            return Err("must name a host and a port, and nobody's name");
        }
        if rest.trim_end_matches('/').contains('/') {
            return Err(
                "must not have a path: the server answers at the root of a host. Give it a host name or a \
                port of its own",
            );
        }
        let rest = rest.trim_end_matches('/');
        let url = Url::parse(&format!("{scheme}://{rest}/"))
            .map_err(|_| "must name a host, and a port of 1 to 65535 where it has one")?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or("must name a host")?;
        if url.port() == Some(0) || rest.ends_with(':') {
            return Err("must name a host, and a port of 1 to 65535 where it has one");
        }
        Ok(Self { secure, host: host.to_ascii_lowercase(), port: url.port() })
    }

    /// The host and the port as a `Host` header has them.
    pub fn authority(&self) -> String {
        self.port.map_or_else(|| self.host.clone(), |port| format!("{}:{port}", self.host))
    }
}

/// Reads where to listen: an address and a port, a name and a port, or a port of this machine alone.
pub fn listen(text: &str) -> Result<SocketAddr, &'static str> {
    const SHAPE: &str = "must be an address and a port, such as 127.0.0.1:3000, or a port such as 3000";
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let port: u16 = Some(port)
        .filter(|port| port.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|port| port.parse().ok())
        .ok_or(SHAPE)?;
    if host.is_empty() || host.eq_ignore_ascii_case("localhost") {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    if host.contains(|c: char| c.is_whitespace() || c == '/' || c == '[') {
        return Err(SHAPE);
    }
    let mut found = (host, port).to_socket_addrs().map_err(|_| "names a host that is not known here")?;
    found.next().ok_or("names a host that is not known here")
}

/// An address at which a browser on this machine finds what listens there.
pub fn reachable(listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), listen.port())
    } else {
        listen
    }
}

/// Reads addresses and networks.
pub fn networks(text: &str) -> Result<Vec<IpNet>, &'static str> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let read = |part: &str| part.parse::<IpNet>().or_else(|_| part.parse::<IpAddr>().map(IpNet::from));
    parts
        .map(read)
        .collect::<Result<_, _>>()
        .map_err(|_| "must be addresses or networks with commas between them, such as 127.0.0.1,10.0.0.0/8")
}

/// An address as it may be shown, wherever its password stands: before the host, or among the parameters.
pub fn without_password(text: &str) -> String {
    const HIDDEN: &str = "••••••••";
    let Some((scheme, rest)) = text.split_once("://") else {
        // No address, so nobody knows where a password would stand: what is before a host, or follows the word, goes.
        let shown = text.rsplit_once('@').map_or(text.to_owned(), |(_, place)| format!("{HIDDEN}@{place}"));
        let word = shown.to_ascii_lowercase().find("passw");
        return word.map_or(shown.clone(), |at| format!("{}{HIDDEN}", &shown[..at]));
    };
    // The password first: it may have any sign in it, also those that divide the rest.
    let (user, rest) = rest.rsplit_once('@').map_or((None, rest), |(user, rest)| (Some(user), rest));
    let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let user = match user.map(|user| user.split_once(':').ok_or(user)) {
        None => String::new(),
        Some(Ok((name, _))) => format!("{name}:{HIDDEN}@"),
        Some(Err(name)) => format!("{name}@"),
    };
    let shown = parameters.split('&').map(|parameter| match parameter.split_once('=') {
        Some((name, _)) if name.to_ascii_lowercase().contains("password") => format!("{name}={HIDDEN}"),
        _ => parameter.to_owned(),
    });
    let parameters = shown.collect::<Vec<_>>().join("&");
    let sign = if rest.contains('?') { "?" } else { "" };
    format!("{scheme}://{user}{place}{sign}{parameters}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_address_is_a_scheme_a_host_and_a_port_and_nothing_else() {
        for (given, read) in [
            ("http://box.lan:5348", "http://box.lan:5348"),
            ("HTTPS://Jobs.Example.ORG/", "https://jobs.example.org"),
            ("https://jobs.example.org:443", "https://jobs.example.org"),
            ("http://jobs.example.org:80", "http://jobs.example.org"),
            ("http://jobs.example.org:443", "http://jobs.example.org:443"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("http://192.0.2.1", "http://192.0.2.1"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
        ] {
            assert_eq!(Origin::parse(given).map(|origin| origin.to_string()).as_deref(), Ok(read), "{given}");
        }
        for wrong in [
            "",
            "example.org",
            "ftp://example.org",
            "http:example.org",
            "http:/example.org",
            "http://",
            "https:///jobs",
            "https://example.org/jobs",
            "https://example.org/jobs/",
            "https://example.org?x",
            "https://example.org/?x",
            "https://example.org#a",
            "https://example.org:99999",
            "https://example.org:0",
            "https://example.org:",
            "https://example.org:x",
            "https://exam ple.org",
            " https://example.org",
            "https://example.org\n",
            "https://anna@example.org",
            "https://anna:x@example.org",
            "https:\\\\example.org",
            "https://[::1",
        ] {
            assert!(Origin::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_place_to_listen_is_read_as_people_write_it() {
        for (given, read) in [
            ("127.0.0.1:3000", "127.0.0.1:3000"),
            ("localhost:3000", "127.0.0.1:3000"),
            (":3000", "127.0.0.1:3000"),
            ("3000", "127.0.0.1:3000"),
            ("0", "127.0.0.1:0"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::]:80", "[::]:80"),
        ] {
            assert_eq!(listen(given).map(|address| address.to_string()).as_deref(), Ok(read), "{given}");
        }
        for wrong in [
            "",
            "here",
            "localhost",
            "localhost:",
            ":",
            ":x",
            "127.0.0.1",
            "99999",
            "+3000",
            "::1",
            "http://x:1",
        ] {
            assert!(listen(wrong).is_err(), "{wrong}");
        }
        assert_eq!(reachable("0.0.0.0:80".parse().unwrap()).to_string(), "127.0.0.1:80");
        assert_eq!(reachable("[::]:80".parse().unwrap()).to_string(), "127.0.0.1:80");
        assert_eq!(reachable("192.0.2.1:80".parse().unwrap()).to_string(), "192.0.2.1:80");
    }

    #[test]
    fn proxies_are_addresses_or_networks() {
        let read = networks("127.0.0.1, 10.0.0.0/8,::1").unwrap();
        assert_eq!(
            read.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["127.0.0.1/32", "10.0.0.0/8", "::1/128"]
        );
        assert_eq!(networks(""), Ok(Vec::new()));
        assert!(networks("proxy").is_err());
    }

    #[test]
    fn a_password_is_not_shown_wherever_it_stands() {
        for (given, shown) in [
            ("postgres://u:secret@h/d", "postgres://u:••••••••@h/d"),
            ("postgres://u:a@b:secret@h/d?sslmode=require", "postgres://u:••••••••@h/d?sslmode=require"),
            ("postgres://h/d?user=u&password=secret&x=1", "postgres://h/d?user=u&password=••••••••&x=1"),
            ("postgres://u:se?cr&et@h/d?a=1", "postgres://u:••••••••@h/d?a=1"),
            ("postgres://h/d?PGPASSWORD=secret", "postgres://h/d?PGPASSWORD=••••••••"),
            ("postgres://u@h/d", "postgres://u@h/d"),
            ("postgres:u:secret@h/d", "••••••••@h/d"),
            ("u:se@cret@h/d", "••••••••@h/d"),
            ("host=h user=u password='se cret' dbname=d", "host=h user=u ••••••••"),
            ("sqlite://jobs.db", "sqlite://jobs.db"),
        ] {
            assert_eq!(without_password(given), shown);
        }
    }
}
