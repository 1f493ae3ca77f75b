//! What pages and islands are drawn with. A file a component; none knows a browser.

mod ask_dialog;
mod bar;
mod icon;
mod log_filters;
mod log_line;
mod notice;
mod past_filters;
mod start_panel;
mod status_badge;
mod step_tree;
mod time_at;
mod top_bar;

pub use ask_dialog::AskDialog;
pub use bar::Bar;
pub use icon::{Glyph, Icon, Logo};
pub use log_filters::{LogKinds, LogSearch, log_address};
pub use log_line::LogLineRow;
pub use notice::NoticeBar;
pub use past_filters::{PastFilters, address as past_address};
pub use start_panel::StartPanel;
pub use status_badge::{StatusBadge, tone as status_tone, word as status_word};
pub use step_tree::StepRowView;
pub use time_at::TimeAt;
pub use top_bar::TopBar;
