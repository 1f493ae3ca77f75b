//! How a server function says no.

use leptos::server_fn::codec::JsonEncoding;
use leptos::server_fn::error::{FromServerFnError, ServerFnErrorErr};
use serde::{Deserialize, Serialize};

#[cfg(feature = "ssr")]
use super::form::{not_understood, too_large};

/// Only the server answers with a status.
#[cfg(not(feature = "ssr"))]
fn not_understood() {}

/// Why a server function did not do what it was asked. The same code and sentence as the REST API's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpcError {
    /// A stable name for programs.
    pub code: String,
    /// A sentence a person can act on.
    pub error: String,
}

impl RpcError {
    /// The code by which a page is told that the server is of another build.
    pub const OTHER_BUILD: &str = "other_build";

    /// Whether the server is of another build than the page.
    pub fn is_outdated(&self) -> bool {
        self.code == Self::OTHER_BUILD
    }

    /// A refusal as a page hears it. Only the code is looked for: a page's sentences are its own, and a reader
    /// of JSON would be a part of its download.
    pub fn told(refusal: &[u8]) -> Self {
        let code = std::str::from_utf8(refusal).ok().and_then(|text| text.split_once("\"code\":\""));
        match code.and_then(|(_, rest)| rest.split_once('"')) {
            Some((code, _)) => Self { code: code.to_owned(), error: String::new() },
            None => Self::no_answer(),
        }
    }

    /// No answer came in time.
    pub fn no_answer() -> Self {
        Self { code: "server_away".to_owned(), error: "The server did not answer in time.".to_owned() }
    }

    /// Whether the browser is not signed in any more.
    pub fn is_signed_out(&self) -> bool {
        self.code == "not_signed_in"
    }

    /// Whether what was asked for is not there any more.
    pub fn is_gone(&self) -> bool {
        self.code == "job_not_found"
    }
}

impl FromServerFnError for RpcError {
    type Encoder = JsonEncoding;

    fn from_server_fn_error(error: ServerFnErrorErr) -> Self {
        let code = match &error {
            ServerFnErrorErr::Request(_) => "server_away",
            ServerFnErrorErr::Args(_) | ServerFnErrorErr::MissingArg(_) => {
                not_understood();
                "wrong_shape"
            }
            // To a browser this is the answer that makes no sense; to the server it is the request's body.
            #[cfg(feature = "ssr")]
            ServerFnErrorErr::Deserialization(problem) => return unreadable(problem),
            _ => "request_failed",
        };
        Self { code: code.to_owned(), error: error.to_string() }
    }
}

/// What is said of a body that could not be read. That it is too large is told by its text alone.
#[cfg(feature = "ssr")]
fn unreadable(problem: &str) -> RpcError {
    let (code, error) = if problem.contains("length limit exceeded") {
        too_large();
        ("body_too_large", "The request is too large: 1 MiB at most.".to_owned())
    } else {
        not_understood();
        ("body_unreadable", format!("The request cannot be read: {problem}."))
    };
    RpcError { code: code.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_finds_the_code_of_a_refusal() {
        let error = RpcError { code: "job_finished".to_owned(), error: "\"It\" has ended.".to_owned() };
        let sent = serde_json::to_vec(&error).unwrap();
        assert_eq!(serde_json::from_slice::<RpcError>(&sent).unwrap(), error);
        assert_eq!(RpcError::told(&sent).code, "job_finished");
        for other in ["", "<html>", "{\"code\":7}"] {
            assert_eq!(RpcError::told(other.as_bytes()), RpcError::no_answer(), "{other}");
        }
    }
}
