//! How a server function says no.

use leptos::server_fn::codec::JsonEncoding;
use leptos::server_fn::error::{FromServerFnError, ServerFnErrorErr};
use serde::{Deserialize, Serialize};

#[cfg(feature = "ssr")]
use super::form::not_understood;

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
        let code = match error {
            ServerFnErrorErr::Request(_) => "server_away",
            ServerFnErrorErr::Args(_) | ServerFnErrorErr::MissingArg(_) => {
                not_understood();
                "wrong_shape"
            }
            _ => "request_failed",
        };
        Self { code: code.to_owned(), error: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_wire() {
        let error = RpcError { code: "job_finished".to_owned(), error: "It has ended.".to_owned() };
        let sent = serde_json::to_string(&error).unwrap();
        assert_eq!(serde_json::from_str::<RpcError>(&sent).unwrap(), error);
    }
}
