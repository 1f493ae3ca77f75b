//! What a server does by itself: keep the live board, run built-in jobs, sweep, keep history in bounds,
//! watch the clock, stop in good order.

mod board;
mod runner;
mod sweeper;
#[cfg(test)]
mod tests;
mod timekeeper;

pub use board::Board;
pub use runner::{AdminJob, JobError, RunContext, Runner};
pub(crate) use sweeper::end_stale;
pub use sweeper::{Sweeper, SweeperSettings, troubles};
pub use timekeeper::Timekeeper;
