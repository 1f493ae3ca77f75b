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
    use super::form::{knock, service};
    let session = service()?.sign_in(&name, password, &knock()?).await;
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
    use super::form::{knock, service, turn_back};
    let back = format!("/login?link={}", crate::http::percent_encode(&link));
    if let Some(code) = wrong_password(&password, &again) {
        return turn_back(&back, code);
    }
    enter(service()?.sign_in_with_link(&link, password, &knock()?).await, &back, "/admin/jobs")
}

/// Gives oneself another password.
#[server(prefix = "/rpc", endpoint = "session/change-password")]
pub async fn change_password(
    #[server(default)] current: String,
    #[server(default)] password: String,
    #[server(default)] again: String,
) -> Result<(), RpcError> {
    use super::form::{answer, caller, cookies, knock, service, turn_back};
    if let Some(code) = wrong_password(&password, &again) {
        return turn_back(ACCOUNT, code);
    }
    let changed = service()?.change_own_password(&caller()?, current, password, &knock()?).await;
    let cookies = cookies()?;
    answer(changed, ACCOUNT, |session| {
        put_cookies(cookies.enter(&session));
        (ACCOUNT.to_owned(), "password-changed")
    })
}

/// Signs oneself out in one browser, or in all others.
#[server(prefix = "/rpc", endpoint = "session/end")]
pub async fn end_sessions(#[server(default)] id: String) -> Result<(), RpcError> {
    use super::form::{answer, caller, service};
    let id = Some(id.as_str()).filter(|id| !id.is_empty());
    let ended = service()?.end_own_sessions(&caller()?, id).await;
    answer(ended, ACCOUNT, |_| (ACCOUNT.to_owned(), "sessions-ended"))
}

/// Signs out.
#[server(prefix = "/rpc", endpoint = "session/sign-out")]
pub async fn sign_out() -> Result<(), RpcError> {
    use super::form::{cookies, go, knock, refuse, service};
    let knock = knock()?;
    let signed_out = service()?.sign_out(&knock.session, knock.address).await;
    signed_out.map_err(|error| refuse(&error))?;
    put_cookies(cookies()?.leave());
    go("/login", "signed-out");
    Ok(())
}

/// The page of one's own account.
#[cfg(feature = "ssr")]
const ACCOUNT: &str = "/admin/account";

/// What is wrong with a password that was typed twice.
#[cfg(feature = "ssr")]
fn wrong_password(password: &str, again: &str) -> Option<&'static str> {
    use crate::model::{WrongPasswordLength, check_password};
    if password != again {
        return Some("password_differs");
    }
    check_password(password).err().map(|wrong| match wrong {
        WrongPasswordLength::Short => "password_short",
        WrongPasswordLength::Long => "password_long",
    })
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
    use super::form::{answer, cookies};
    match session {
        Ok(session) => {
            put_cookies(cookies()?.enter(&session));
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
