//! What the handlers of every way in over HTTP share: the state, who is calling, how a request is read, how no
//! is said, the session's cookie. It knows `service/` and nothing of the router, the pages or the API.

mod address;
mod body;
mod cookies;
mod credential;
mod error;
mod state;

pub use address::percent_encode;
pub use body::{Body, JobPath, OptionalBody, Params, body_limit, messages_limit};
pub use cookies::{PLAIN_COOKIE, new_cookie, no_cookie, session_cookie};
pub use credential::{SignedIn, credential};
pub use error::{ApiError, ErrorBody, status_of};
pub use state::{AppParts, AppState};
