//! Times and numbers as people read them. Small on purpose: the browser carries this code.

use std::time::Duration;

use chrono::{Datelike, TimeZone, Utc};

use crate::model::{Timestamp, visible};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A run's age as a clock: `00:51`, `18:42`, `1:02:03`, `2 d 03:04`.
pub fn duration(span: Duration) -> String {
    let seconds = span.as_secs();
    let (days, hours, minutes, rest) =
        (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    if days > 0 {
        format!("{days} d {hours:02}:{minutes:02}")
    } else if hours > 0 {
        format!("{hours}:{minutes:02}:{rest:02}")
    } else {
        format!("{minutes:02}:{rest:02}")
    }
}

/// How long ago: `just now`, `12 s ago`, `4 min ago`, `3 h ago`, `2 d ago`.
pub fn age(span: Duration) -> String {
    match span.as_secs() {
        0..=1 => "just now".to_owned(),
        seconds @ 2..=59 => format!("{seconds} s ago"),
        seconds @ 60..=3_599 => format!("{} min ago", seconds / 60),
        seconds @ 3_600..=86_399 => format!("{} h ago", seconds / 3_600),
        seconds => format!("{} d ago", seconds / 86_400),
    }
}

/// The time of day, UTC: `14:03:58`.
pub fn clock_time(at: Timestamp) -> String {
    let seconds = at.0.div_euclid(1_000).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// Day and time, UTC: `22 Nov 2026 16:20`.
pub fn date_time(at: Timestamp) -> String {
    let minutes = at.0.div_euclid(60_000).rem_euclid(1_440);
    match Utc.timestamp_millis_opt(at.0).single() {
        Some(date) => {
            let month = MONTHS[date.month0() as usize];
            format!("{} {month} {} {:02}:{:02}", date.day(), date.year(), minutes / 60, minutes % 60)
        }
        None => "unknown".to_owned(),
    }
}

/// A line of a log as a text file has it. What it says cannot be taken for another line: hidden characters are
/// spelt out, and further lines indented.
pub fn text_line(time: &str, kind: &str, step: Option<&str>, text: &str) -> String {
    let step = step.map(|step| format!("[{}] ", visible(step, false))).unwrap_or_default();
    format!("{time} {kind:<8} {step}{}", visible(text, true).replace('\n', "\n    "))
}

/// RFC 3339, UTC, with milliseconds: `2026-11-22T16:20:05.123Z`. For `datetime` attributes and the API.
pub fn iso(at: Timestamp) -> String {
    match Utc.timestamp_millis_opt(at.0).single() {
        Some(date) => format!(
            "{:04}-{:02}-{:02}T{}.{:03}Z",
            date.year(),
            date.month(),
            date.day(),
            clock_time(at),
            at.0.rem_euclid(1_000)
        ),
        None => "0000-00-00T00:00:00.000Z".to_owned(),
    }
}

/// A number with thin spaces between its thousands: `98 204`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 * 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// `62 %`, with a space that does not break.
pub fn percent_text(percent: u8) -> String {
    format!("{percent}\u{a0}%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_people_write_them() {
        let at = Timestamp(1_795_364_405_123);
        assert_eq!(iso(at), "2026-11-22T16:20:05.123Z");
        assert_eq!(date_time(at), "22 Nov 2026 16:20");
        assert_eq!(clock_time(at), "16:20:05");
        assert_eq!(iso(Timestamp(-1)), "1969-12-31T23:59:59.999Z");
        assert_eq!(duration(Duration::from_secs(51)), "00:51");
        assert_eq!(duration(Duration::from_secs(3_723)), "1:02:03");
        assert_eq!(duration(Duration::from_secs(183_845)), "2 d 03:04");
        assert_eq!(age(Duration::from_secs(252)), "4 min ago");
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(thousands(7), "7");
        assert_eq!(thousands(98_204), "98\u{202f}204");
        assert_eq!(thousands(1_000_000), "1\u{202f}000\u{202f}000");
    }
}
