//! What the handlers of every way in over HTTP share: the state, who is calling, how a request is read, how no
//! is said, the session's cookie. It knows `service/` and nothing of the router, the pages or the API.

mod address;
mod as_described;
mod body;
mod client;
mod cookies;
mod credential;
mod error;
mod refusal_page;
mod state;
mod streams;

pub use address::percent_encode;
pub use body::{Body, JobPath, NamePath, OptionalBody, Params, body_limit, messages_limit};
pub use client::{ClientAddress, OpenedOver, PeerAddress, client_address};
pub use cookies::{Cookies, PLAIN_COOKIE};
pub use credential::{Allowed, ManageAccounts, Recover, ReportOwn, SignedIn, Start, credential};
pub use error::{ApiError, ErrorBody, status_of};
pub use refusal_page::{refusal_page, wants_html};
pub use state::{AppParts, AppState};
pub use streams::{Listening, Streams};
