//! How an open page stays up to date, and the only code that touches the browser.
//!
//! One path for data: resources of Leptos, which ask again at each beat of the page's [`Pulse`]. A
//! server-sent event is a nudge that makes the pulse beat now (ARCHITECTURE decision 9); a timer and the page being
//! looked at again do so too. While the stream is healthy an idle page makes no request; without one the page
//! polls; when the server does not answer it backs off and says so; when nobody looks it pauses.
//!
//! All pages of a browser share one stream ([`share`]), because a browser gives a server six connections. A
//! stream is believed while it is heard of in time, and no longer: what buffers it in between is not.

mod ask;
mod clock;
pub mod dom;
mod nudge;
mod pulse;
mod share;
mod state;
mod stream;
mod wake;

pub use ask::{Asking, Question};
pub use clock::Clock;
pub use pulse::{Pace, Pulse};
pub use state::{LiveState, live_state};
