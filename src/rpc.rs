//! Server functions: the dashboard's own way in, over the same services as the REST API.
//!
//! What a page polls is a GET and changes nothing. What changes something is a POST that a plain form can
//! send: with JavaScript off the answer is a redirect back to a page that says what happened.

mod error;
#[cfg(feature = "ssr")]
mod form;
#[expect(missing_docs, reason = "made by the macro from the arguments")]
mod jobs;
mod live;
#[expect(missing_docs, reason = "made by the macro from the arguments")]
mod session;
#[expect(missing_docs, reason = "made by the macro from the arguments")]
mod system;

pub use error::RpcError;
#[cfg(feature = "ssr")]
pub use form::{Notice, caller, service, settings};
pub use jobs::{AbortJob, ForceFailJob, GiveMoreTime, PinJob, StartBuiltIn, UnpinJob};
#[cfg(feature = "ssr")]
pub use live::read_past;
pub use live::{LogView, PastFilter, PastPage, list_past, poll_board, poll_job, poll_log};
pub use session::{ChangePassword, ChoosePassword, EndSessions, SignIn, SignOut};
pub use system::{EmergencyCleanup, SweepNow};
