//! What the browser is sent: the parts of a page that move, and nothing else.
//!
//! A page has one island that follows the server ([`LiveBoard`], [`LiveJob`]) and, inside its server-drawn
//! children, small ones that show what it knows. What never moves is drawn on the server and weighs
//! nothing here.

mod board;
mod job;
mod live;
mod live_badge;

pub use board::{
    BoardProps, Lead, LiveBoard, Needs, OpenCount, OpenTable, PastCount, PastTable, Tiles, Updated,
};
pub use job::{
    Deeds, FactList, FirstError, JobActions, JobBar, JobHead, JobProps, KindCount, LineCount, LiveJob,
    LogLines, StepCount, Steps,
};
pub use live_badge::LiveBadge;
