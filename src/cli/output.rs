//! What client commands print: tables and bars for people, JSON for scripts.
//!
//! Nothing here panics when its reader goes away (`longhaul jobs list | head`), and nothing a job says
//! reaches the terminal unescaped.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use chrono::{DateTime, FixedOffset, Local, NaiveDate, Utc};
use serde_json::Value;
use unicode_width::UnicodeWidthStr;

use crate::model::{Status, is_hidden, visible};

/// What is printed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    /// A person looks at it.
    pub terminal: bool,
    /// Characters in a line; `None` where lines may have any length.
    pub width: Option<usize>,
    /// Colours may be used.
    pub colour: bool,
}

impl Screen {
    /// What stdout is connected to. `NO_COLOR` is honoured.
    pub fn of_stdout() -> Self {
        let terminal = io::stdout().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            terminal,
            width: terminal.then(columns).flatten(),
            colour: terminal && !plain && std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
        }
    }

    /// The text in a status's colour.
    pub fn paint(&self, status: Status, text: &str) -> String {
        let colour = match status {
            Status::Scheduled | Status::Queued => "2",
            Status::Running => "36",
            Status::Aborting | Status::Aborted => "33",
            Status::Completed => "32",
            Status::Failed => "31",
        };
        self.styled(colour, text)
    }

    /// The text as a heading.
    pub fn bold(&self, text: &str) -> String {
        self.styled("1", text)
    }

    fn styled(&self, style: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{style}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns >= 20)
}

/// Prints a text as it is. A reader that went away is not an error.
pub fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints a document for a script. Hidden characters are escaped as JSON has it: the document is the same,
/// and harms no terminal it ends up on.
pub fn print_json(value: &Value) {
    print(&format!("{}\n", harmless(&format!("{value:#}"))));
}

/// JSON without hidden characters.
fn harmless(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        // Line feeds are the document's own: within texts they are escaped already.
        if is_hidden(c) && c != '\n' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            text.push(c);
        }
    }
    text
}

/// The name of an account as a list shows it: nothing in it can make it pass for another.
pub fn account(name: &str) -> String {
    visible(name, false).replace('\u{200c}', "\\u{200c}").replace('\u{200d}', "\\u{200d}")
}

/// How many columns of a terminal a text takes. Some characters take two, and some none.
pub fn columns_of(text: &str) -> usize {
    text.width()
}

/// The text, cut to so many columns, with an ellipsis where something was cut.
pub fn fit(text: &str, columns: usize) -> String {
    if columns_of(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(1);
    let end = text
        .char_indices()
        .map(|(at, c)| at + c.len_utf8())
        .take_while(|end| columns_of(&text[..*end]) <= room)
        .last()
        .unwrap_or(0);
    format!("{}…", text[..end].trim_end())
}

/// The text in exactly so many columns.
pub fn padded(text: &str, columns: usize) -> String {
    let text = fit(text, columns);
    let missing = columns.saturating_sub(columns_of(&text));
    text + &" ".repeat(missing)
}

/// Says what went wrong, on one line.
pub fn complain(sentence: &str) {
    let line = format!("longhaul: {}\n", visible(sentence, false));
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// Rows under headings. The widest column gives way where the terminal is too narrow.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Columns are two spaces apart.
    const GAP: usize = 2;
    /// A column that gives way keeps so much.
    const LEAST: usize = 8;

    /// A table with these headings.
    pub fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|heading| (*heading).to_owned()).collect()] }
    }

    /// Adds a row. Its texts are made visible.
    pub fn row(&mut self, cells: &[&str]) {
        self.rows.push(cells.iter().map(|cell| visible(cell, false).into_owned()).collect());
    }

    /// The table as text. `paint` gives a cell's text (row from 0, below the headings; column) its colour.
    pub fn render(&self, width: Option<usize>, paint: impl Fn(usize, usize, &str) -> String) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let mut widths: Vec<usize> = (0..columns)
            .map(|column| {
                self.rows
                    .iter()
                    .filter_map(|row| row.get(column))
                    .map(|cell| columns_of(cell))
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let total = widths.iter().sum::<usize>() + Self::GAP * columns.saturating_sub(1);
        if let Some(over) = width.map(|width| total.saturating_sub(width))
            && let Some(widest) = widths.iter_mut().max()
        {
            *widest = widest.saturating_sub(over).max(Self::LEAST.min(*widest));
        }
        let mut text = String::new();
        for (index, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let most = widths.get(column).copied().unwrap_or(0);
                let shown = fit(cell, most);
                let padding = most.saturating_sub(columns_of(&shown)) + Self::GAP;
                line.push_str(&match index.checked_sub(1) {
                    Some(index) => paint(index, column, &shown),
                    None => shown,
                });
                line.extend(std::iter::repeat_n(' ', padding));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A bar of `width` characters, filled to `share` (0..=1).
pub fn bar(share: f64, width: usize) -> String {
    let eighths = (share.clamp(0.0, 1.0) * (width * 8) as f64).floor() as usize;
    let mut bar = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        bar.extend(char::from_u32(0x2590 - (eighths % 8) as u32));
    }
    let drawn = bar.chars().count();
    bar.extend(std::iter::repeat_n('░', width.saturating_sub(drawn)));
    bar
}

/// Whole percents, rounded down, so that 100 is printed for nothing less than 1.
pub fn percent(share: f64) -> u8 {
    (share * 100.0 + 1e-9).floor().clamp(0.0, 100.0) as u8
}

/// A span as people say it: `42 s`, `3 min`, `2 h 05 min`, `4 d 3 h`.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        600..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// How long from one moment to another; nothing where the clocks disagree.
pub fn between(from: DateTime<Utc>, to: DateTime<Utc>) -> Duration {
    (to - from).to_std().unwrap_or(Duration::ZERO)
}

/// A moment as people read it here.
pub fn moment(at: DateTime<Utc>) -> String {
    at.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S %:z").to_string()
}

/// The times of a log, line by line, in the zone of whoever reads it. The day, and the zone, stand before the
/// first line, and before each line that is of another.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogClock {
    day: Option<(NaiveDate, FixedOffset)>,
}

impl LogClock {
    /// The line that is due before the line of this moment, where one is; and the moment's time of day.
    pub fn at(&mut self, at: DateTime<Utc>) -> (Option<String>, String) {
        self.at_local(at.with_timezone(&Local).fixed_offset())
    }

    fn at_local(&mut self, at: DateTime<FixedOffset>) -> (Option<String>, String) {
        let day = Some((at.date_naive(), *at.offset()));
        let is_new = std::mem::replace(&mut self.day, day) != day;
        let line = is_new.then(|| at.format("── %A, %Y-%m-%d, times in UTC%:z ──").to_string());
        (line, at.format("%H:%M:%S").to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_the_terminal_by_shortening_its_widest_column() {
        let mut table = Table::new(&["ID", "TITLE"]);
        table.row(&["1", "a rather long title of a job"]);
        table.row(&["22", "b\u{1b}[2J"]);
        let plain = |_, _, text: &str| text.to_owned();
        assert_eq!(table.render(None, plain), "ID  TITLE\n1   a rather long title of a job\n22  b\\e[2J\n");
        let narrow = table.render(Some(20), plain);
        assert!(narrow.lines().all(|line| line.chars().count() <= 20), "{narrow}");
        assert!(narrow.contains("a rather long t…"), "{narrow}");
    }

    #[test]
    fn wide_characters_keep_the_columns_straight() {
        let mut table = Table::new(&["A", "B"]);
        table.row(&["夜間インポート", "x"]);
        table.row(&["e\u{301}té", "y"]);
        let plain = |_, _, text: &str| text.to_owned();
        assert_eq!(
            table.render(None, plain),
            "A               B\n夜間インポート  x\ne\u{301}té             y\n"
        );
        let narrow = table.render(Some(12), plain);
        assert!(narrow.lines().all(|line| columns_of(line) <= 12), "{narrow}");
        assert_eq!(
            (fit("夜間", 4), fit("夜間イ", 4), fit("abcd", 3)),
            ("夜間".into(), "夜…".into(), "ab…".into())
        );
        assert_eq!(padded("夜", 4), "夜  ");
    }

    #[test]
    fn json_is_the_same_and_harmless() {
        let value = serde_json::json!({"a\u{202e}": "\u{9b}31m\u{9d}\u{200b}\u{e0041}\n\u{1b}é夜\u{200d}"});
        let text = harmless(&format!("{value:#}"));
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        assert!(text.contains("é夜\u{200d}") && text.contains("\\udb40\\udc41"), "{text}");
        assert!(!text.contains(|c| is_hidden(c) && c != '\n'), "{text}");
        assert_eq!(account("an\u{200d}na\u{202e}"), "an\\u{200d}na\\u{202e}");
    }

    #[test]
    fn a_log_says_its_day_and_zone_once_and_where_they_change() {
        let mut clock = LogClock::default();
        let mut at = |time: &str| clock.at_local(DateTime::parse_from_rfc3339(time).unwrap());
        let first = at("2026-10-24T23:59:58+02:00");
        assert_eq!(first.0.as_deref(), Some("── Saturday, 2026-10-24, times in UTC+02:00 ──"));
        assert_eq!((first.1.as_str(), at("2026-10-24T23:59:59+02:00").0), ("23:59:58", None));
        assert!(at("2026-10-25T00:00:00+02:00").0.unwrap().contains("Sunday, 2026-10-25"));
        assert!(at("2026-10-25T02:00:00+01:00").0.unwrap().contains("UTC+01:00"));
        assert_eq!(at("2026-10-25T03:00:00+01:00").0, None);
    }

    #[test]
    fn colours_do_not_count_as_width() {
        let mut table = Table::new(&["A", "B"]);
        table.row(&["x", "y"]);
        assert_eq!(
            table.render(None, |_, _, text| format!("\u{1b}[1m{text}\u{1b}[0m")),
            "A  B\n\u{1b}[1mx\u{1b}[0m  \u{1b}[1my\u{1b}[0m\n"
        );
    }

    #[test]
    fn bars_and_percents_never_claim_what_is_not_done() {
        assert_eq!(bar(0.0, 4), "░░░░");
        assert_eq!(bar(1.0, 4), "████");
        assert_eq!(bar(0.5, 3), "█▌░");
        assert_eq!(bar(7.0, 2), "██");
        assert_eq!(percent(0.999), 99);
        assert_eq!(percent(0.29), 29);
        assert_eq!(percent(1.0), 100);
    }

    #[test]
    fn spans_read_as_people_say_them() {
        let said = |seconds| span(Duration::from_secs(seconds));
        assert_eq!(said(5), "5 s");
        assert_eq!(said(185), "3 min 05 s");
        assert_eq!(said(7500), "2 h 05 min");
        assert_eq!(said(90_000), "1 d 1 h");
    }
}
