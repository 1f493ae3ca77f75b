//! What pages and islands are drawn with. A file a component; none knows a browser, none draws an island.

mod address;
mod ask_dialog;
mod bar;
mod icon;
mod label_pill;
mod log_line;
mod more_time;
mod notice;
mod start_panel;
mod status_badge;
mod step_tree;
mod time_at;

pub use address::{encode, log_address, past_address};
pub use ask_dialog::AskDialog;
pub use bar::Bar;
pub use icon::{Glyph, Icon, Logo};
pub use label_pill::LabelPill;
pub use log_line::LogLineRow;
pub use more_time::MoreTimeDialog;
pub use notice::NoticeBar;
pub use start_panel::StartPanel;
pub use status_badge::{StatusBadge, need_tone, tone as status_tone, word as status_word};
pub use step_tree::StepRowView;
pub use time_at::TimeAt;
