//! What the browser is sent: the parts of a page that move, and nothing else.
//!
//! A page has one island that follows the server ([`LiveBoard`], [`LiveJob`]) and, inside its server-drawn
//! children, small ones that show what it knows. What never moves is drawn on the server and weighs
//! nothing here.

mod begin;
mod board;
mod copy;
mod job;
mod live;
mod live_badge;

pub use begin::Begin;
pub use board::{
    BoardProps, Lead, LiveBoard, Needs, OpenCount, OpenTable, OutcomeChips, PastCount, PastTable, Tiles,
    Updated,
};
pub use job::{
    CopyLog, Deeds, FactList, FirstError, JobActions, JobBar, JobHead, JobProps, LineCount, LiveJob,
    LogKinds, LogLines, LogZone, StepCard,
};
#[cfg(feature = "hydrate")]
pub(crate) use live::dom::bring_originals_back;
pub use live_badge::LiveBadge;
