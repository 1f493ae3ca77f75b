//! What the browser is sent: the parts of a page that move.

mod live;
mod live_badge;
mod live_board;
mod live_job;

pub use live_badge::LiveBadge;
pub use live_board::LiveBoard;
pub use live_job::LiveJob;
