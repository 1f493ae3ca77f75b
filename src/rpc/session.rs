//! Coming in and going out.

use leptos::prelude::*;

use super::RpcError;

/// Signs in with a password.
#[server(prefix = "/rpc", endpoint = "session/sign-in")]
pub async fn sign_in(
    #[server(default)] name: String,
    #[server(default)] password: String,
    #[server(default)] next: String,
) -> Result<(), RpcError> {
    use super::form::service;
    let session = service()?.sign_in(&name, password).await;
    let back = match local(&next) {
        "/admin/jobs" => "/login".to_owned(),
        next => format!("/login?next={}", crate::http::percent_encode(next)),
    };
    enter(session, &back, local(&next))
}

/// Uses a one-time link up: chooses a password and signs in.
#[server(prefix = "/rpc", endpoint = "session/choose-password")]
pub async fn choose_password(
    #[server(default)] link: String,
    #[server(default)] password: String,
    #[server(default)] again: String,
) -> Result<(), RpcError> {
    use super::form::{service, turn_back};
    let back = format!("/login?link={}", crate::http::percent_encode(&link));
    if password != again {
        return turn_back(&back, "password_differs");
    }
    if password.chars().count() < 10 {
        return turn_back(&back, "password_short");
    }
    if password.len() > 1_024 {
        return turn_back(&back, "password_long");
    }
    enter(service()?.sign_in_with_link(&link, password).await, &back, "/admin/jobs")
}

/// Signs out.
#[server(prefix = "/rpc", endpoint = "session/sign-out")]
pub async fn sign_out() -> Result<(), RpcError> {
    use super::form::{go, parts, refuse, service, settings};
    let secure = settings()?.secure_cookie();
    if let Some(cookie) = parts().and_then(|parts| crate::http::session_cookie(&parts.headers, secure)) {
        service()?.sign_out(&cookie).await.map_err(|error| refuse(&error))?;
    }
    put_cookies(crate::http::no_cookie(secure));
    go("/login", "signed-out");
    Ok(())
}

/// Where to go after signing in: a path of this server, never another's.
#[cfg(feature = "ssr")]
fn local(next: &str) -> &str {
    // An address as it was on the wire is plain ASCII. Browsers drop a tab or a line feed, and what was
    // `/\t/evil.example` is then another server's.
    let plain = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let here = next.starts_with('/') && !next.starts_with("//") && plain;
    if here { next } else { "/admin/jobs" }
}

#[cfg(feature = "ssr")]
fn put_cookies(cookies: impl Iterator<Item = axum::http::HeaderValue>) {
    use axum::http::header::SET_COOKIE;
    use leptos_axum::ResponseOptions;
    if let Some(response) = use_context::<ResponseOptions>() {
        cookies.for_each(|cookie| response.append_header(SET_COOKIE, cookie));
    }
}

#[cfg(feature = "ssr")]
fn enter(
    session: Result<crate::service::SessionSecret, crate::service::ServiceError>,
    back: &str,
    to: &str,
) -> Result<(), RpcError> {
    use super::form::{answer, settings};
    match session {
        Ok(session) => {
            put_cookies(crate::http::new_cookie(&session, settings()?.secure_cookie()));
            leptos_axum::redirect(to);
            Ok(())
        }
        Err(error) => answer(Err::<(), _>(error), back, |()| (to.to_owned(), "")),
    }
}

#[cfg(all(test, feature = "ssr"))]
mod tests {
    use super::local;

    #[test]
    fn signing_in_never_leads_to_another_server() {
        for next in [
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "/\t/evil.example",
            "/\r\nset-cookie: a=b",
            "javascript:alert(1)",
            "",
        ] {
            assert_eq!(local(next), "/admin/jobs", "{next}");
        }
        assert_eq!(local("/admin/jobs?status=failed"), "/admin/jobs?status=failed");
    }
}
