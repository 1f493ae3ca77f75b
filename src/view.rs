//! What people are shown of the model: plain data that crosses from the server to the browser.
//!
//! A view is built on the server and carries what it needs to stay true while time passes: the browser
//! works ages and verdicts out from the same functions, against the server's clock.

mod attention;
mod board;
mod format;
mod job_page;
mod packed;
#[cfg(feature = "ssr")]
mod reference;

pub use crate::model::Severity;
pub use attention::{Attention, attention, headline, urgent};
pub use board::{BoardAnswer, BoardView, JobRow, PastRow, SweepPlan};
pub use format::{
    age, ahead, clock_time, date_time, day_line, duration, iso, jobs_title, percent_text, tab_title,
    text_line, thousands, zone_name,
};
pub use job_page::{Action, Fact, JobAnswer, JobPageView, LogAnswer, StepRow, StepState};
pub use packed::{pack, unpack};
#[cfg(feature = "ssr")]
pub use reference::{Answer, ApiReference, Body, Field, Group, Kind, Operation, Shape, Word};
