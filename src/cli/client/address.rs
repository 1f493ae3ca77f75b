//! Addresses of servers, and the proxies in between.

use std::net::IpAddr;

use reqwest::Url;

/// Whether an address has a name or a password before its host: it would be shown in messages, and no server of ours
/// asks for either.
pub fn has_user(server: &str) -> bool {
    let host = server.split_once("://").map_or(server, |(_, rest)| rest);
    host.split(['/', '?', '#']).next().is_some_and(|host| host.contains('@'))
}

/// Whether it is this machine's own.
pub fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        host == "localhost"
            || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

/// The proxy that the environment names for an address, as reqwest reads it: without what it signs in with.
pub fn proxy_for(url: &Url, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
