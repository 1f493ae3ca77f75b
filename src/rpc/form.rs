//! Between a server function and a service: who is calling, and where a form's answer goes.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header::{ACCEPT, RETRY_AFTER, USER_AGENT};
use axum::http::request::Parts;
use leptos::prelude::use_context;
use leptos_axum::ResponseOptions;

use super::RpcError;
use crate::http::{ClientAddress, Cookies, percent_encode, status_of};
use crate::model::{Timestamp, WrongPasswordLength};
use crate::service::{ATTEMPTS_WITHIN, Caller, Knock, Service, ServiceError};
use crate::settings::Settings;

/// What a page says after a form was sent, by a code in its address. Only these are shown, so that a
/// forged link cannot put words into the dashboard's mouth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The code.
    pub code: &'static str,
    /// The sentence.
    pub text: Cow<'static, str>,
    /// It was not done.
    pub refused: bool,
}

const fn done(code: &'static str, text: &'static str) -> Notice {
    Notice { code, text: Cow::Borrowed(text), refused: false }
}

const fn refused(code: &'static str, text: &'static str) -> Notice {
    Notice { code, text: Cow::Borrowed(text), refused: true }
}

/// The code of a sign-in that must wait.
const LOCKED_OUT: &str = "too_many_attempts";

/// Every notice there is. The refusals are the codes of the REST API.
const NOTICES: [Notice; 32] = [
    done("abort-requested", "The job was asked to stop. It ends when its process has noticed."),
    done("more-time", "The job has more time: no limit ends it before that is over."),
    done("force-failed", "The job was force-failed. Whatever its process still reports is refused."),
    done("pinned", "The job is pinned: it is kept as long as it is."),
    done("unpinned", "The job is no longer pinned. It goes when history is too old or too long."),
    done("started", "The job was started."),
    done("swept", "Stale jobs were ended."),
    done("swept-none", "No job was stale."),
    done("signed-out", "You are signed out."),
    done("password-changed", "Your password is changed. You are signed out everywhere else."),
    done("sessions-ended", "You are signed out there."),
    refused("conflict", "This cannot be done with what you are signed in with."),
    done("emergency-cleaned", "The cleanup is done. Here is what became of each job."),
    refused("invalid_value", "Give a reason of 1 to 1000 characters."),
    refused("job_finished", "The job had already ended, so nothing was changed."),
    refused("wrong_state", "The job is not in a state in which this can be done."),
    refused("job_not_found", "There is no such job any more."),
    refused("duplicate_job", "That job is already running."),
    refused("active_limit", "As many jobs are active as may be. Wait for one to end."),
    refused("not_found", "There is no such built-in job."),
    refused("forbidden", "Your role does not allow this."),
    refused(
        "not_confirmed",
        "What you typed does not match, or more jobs run now than you were shown. Nothing was changed.",
    ),
    refused("store_unavailable", "The store cannot be used at the moment, so nothing was changed."),
    refused("stopping", "The server is stopping. Try again in a moment."),
    refused("wrong_password", "That name and password do not go together."),
    refused(LOCKED_OUT, "Too many wrong passwords for this name from here."),
    refused("sign_in_busy", "Too many people are signing in at this moment. Try again in a few seconds."),
    refused("link_expired", "This sign-in link was already used or has expired."),
    refused("password_short", WrongPasswordLength::Short.sentence()),
    refused("password_long", WrongPasswordLength::Long.sentence()),
    refused("password_differs", "The two passwords are not the same."),
    refused("malformed_input", "The server could not read the input: it must be JSON."),
];

impl Notice {
    /// The notice of that code.
    pub fn of(code: &str) -> Option<Self> {
        NOTICES.into_iter().find(|notice| notice.code == code)
    }

    /// The same on a page that is drawn at `now`. Where somebody has to wait, `until` (seconds since 1970, from the
    /// page's address) says how long: the minutes that are left, and nothing once they are over. An address can be
    /// forged, but no wait is longer than there is one.
    pub fn at(code: &str, until: Option<&str>, now: Timestamp) -> Option<Self> {
        let notice = Self::of(code)?;
        if notice.code != LOCKED_OUT {
            return Some(notice);
        }
        let most = ATTEMPTS_WITHIN.as_secs();
        let left = until.and_then(|until| until.parse::<i64>().ok()).map(|until| {
            let left = until.saturating_mul(1_000).saturating_sub(now.0);
            u64::try_from(left).unwrap_or(0).div_ceil(1_000).min(most)
        });
        match left {
            Some(0) => None,
            left => {
                let refusal = ServiceError::TooManyAttempts { seconds: left.unwrap_or(most) };
                Some(Self { text: Cow::Owned(refusal.to_string()), ..notice })
            }
        }
    }
}

/// The services, within a page or a server function.
pub fn service() -> Result<Arc<Service>, RpcError> {
    use_context::<Arc<Service>>().ok_or_else(|| outside("the services"))
}

/// The services and who is calling, for a page of this build. One of another could not read the answer, and
/// is told so.
pub fn page_of_build(build: &str) -> Result<(Arc<Service>, Caller), RpcError> {
    let (caller, service) = (caller()?, service()?);
    if service.board().build() == build {
        return Ok((service, caller));
    }
    answer_with(StatusCode::CONFLICT);
    let error = "Another version of Longhaul is running. Load the page anew.".to_owned();
    Err(RpcError { code: RpcError::OTHER_BUILD.to_owned(), error })
}

/// How the server is set up.
pub fn settings() -> Result<Arc<Settings>, RpcError> {
    use_context::<Arc<Settings>>().ok_or_else(|| outside("the settings"))
}

fn outside(what: &str) -> RpcError {
    RpcError { code: "internal_error".to_owned(), error: format!("{what} are not at hand here.") }
}

/// The request's head.
pub fn parts() -> Option<Parts> {
    use_context::<Parts>()
}

/// Who is calling.
pub fn caller() -> Result<Caller, RpcError> {
    let caller = parts().and_then(|parts| parts.extensions.get::<Caller>().cloned());
    caller.ok_or_else(|| refuse(&ServiceError::Unauthenticated))
}

/// What this server's cookies are called for the request.
pub fn cookies() -> Result<Cookies, RpcError> {
    let headers = parts().map(|parts| parts.headers).unwrap_or_default();
    Ok(Cookies::of(&*settings()?, &headers))
}

/// Who knocks: what the request shows beside a name and a password.
pub fn knock() -> Result<Knock, RpcError> {
    let Some(parts) = parts() else { return Ok(Knock::default()) };
    let cookies = cookies()?;
    let agent = parts.headers.get(USER_AGENT);
    Ok(Knock {
        address: parts.extensions.get::<ClientAddress>().map(|client| client.0),
        agent: agent.map(|agent| String::from_utf8_lossy(agent.as_bytes()).into_owned()).unwrap_or_default(),
        device: cookies.device(&parts.headers),
        session: cookies.sessions(&parts.headers),
    })
}

/// Says no: the one place where a service's error becomes a status.
pub fn refuse(error: &ServiceError) -> RpcError {
    if let Some(response) = use_context::<ResponseOptions>() {
        response.set_status(status_of(error));
        if let Some(seconds) = error.retry_after() {
            response.insert_header(RETRY_AFTER, HeaderValue::from(seconds));
        }
    }
    RpcError { code: error.code().to_owned(), error: error.to_string() }
}

fn is_form() -> bool {
    parts().is_some_and(|parts| {
        parts
            .headers
            .get(ACCEPT)
            .and_then(|accept| accept.to_str().ok())
            .is_some_and(|accept| accept.contains("text/html"))
    })
}

/// Sends a form's sender on, saying what happened.
pub fn go(path: &str, code: &str) {
    let separator = if path.contains('?') { '&' } else { '?' };
    leptos_axum::redirect(&format!("{path}{separator}notice={}", percent_encode(code)));
}

/// Sends a form's sender back over a refusal.
fn go_back(path: &str, error: &ServiceError) {
    let until = match error {
        ServiceError::TooManyAttempts { seconds } => service().ok().map(|service| {
            let until = service.now().plus(Duration::from_secs(*seconds));
            until.0.div_euclid(1_000) + 1
        }),
        _ => None,
    };
    let separator = if path.contains('?') { '&' } else { '?' };
    match until {
        Some(until) => go(&format!("{path}{separator}until={until}"), error.code()),
        None => go(path, error.code()),
    }
}

/// The arguments could not be read: the sender's mistake, not the server's.
pub fn not_understood() {
    answer_with(StatusCode::BAD_REQUEST);
}

/// More was sent than is read.
pub fn too_large() {
    answer_with(StatusCode::PAYLOAD_TOO_LARGE);
}

fn answer_with(status: StatusCode) {
    if let Some(response) = use_context::<ResponseOptions>() {
        response.set_status(status);
    }
}

/// Turns a form back over what was typed into it. A program is answered 400 with the same words.
pub fn turn_back(back: &str, code: &str) -> Result<(), RpcError> {
    if is_form() {
        go(back, code);
        return Ok(());
    }
    not_understood();
    let error = Notice::of(code).map_or(Cow::Borrowed(code), |notice| notice.text).into_owned();
    Err(RpcError { code: code.to_owned(), error })
}

/// Answers a form: `to` on success with a notice, `back` with the refusal's. A program is answered with
/// the error itself.
pub fn answer<T>(
    result: Result<T, ServiceError>,
    back: &str,
    success: impl FnOnce(T) -> (String, &'static str),
) -> Result<(), RpcError> {
    match result {
        Ok(value) => {
            let (to, code) = success(value);
            go(&to, code);
            Ok(())
        }
        Err(error) if is_form() => {
            go_back(back, &error);
            Ok(())
        }
        Err(error) => Err(refuse(&error)),
    }
}
