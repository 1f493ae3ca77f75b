//! Times and numbers as people read them. Small on purpose: the browser carries this code.

use std::time::Duration;

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

/// A span in its largest unit: `12 s`, `4 min`, `3 h`, `2 d`.
fn about(seconds: u64) -> String {
    let (size, unit) = match seconds {
        0..=59 => (1, "s"),
        60..=3_599 => (60, "min"),
        3_600..=86_399 => (3_600, "h"),
        _ => (86_400, "d"),
    };
    format!("{} {unit}", seconds / size)
}

/// How long ago: `just now`, `12 s ago`, `4 min ago`, `3 h ago`, `2 d ago`.
pub fn age(span: Duration) -> String {
    match span.as_secs() {
        0..=1 => "just now".to_owned(),
        seconds => about(seconds) + " ago",
    }
}

/// How far ahead: `now`, `in 12 s`, `in 4 min`, `in 3 h`, `in 2 d`.
pub fn ahead(span: Duration) -> String {
    match span.as_secs() {
        0..=1 => "now".to_owned(),
        seconds => "in ".to_owned() + &about(seconds),
    }
}

/// The time of day, UTC: `14:03:58`.
pub fn clock_time(at: Timestamp) -> String {
    let seconds = at.0.div_euclid(1_000).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// Year, month from 1 and day of a number of days since 1970-01-01, by the Gregorian calendar.
///
/// Howard Hinnant's `civil_from_days`: the browser would carry all of a calendar's crate for it.
fn civil(days: i64) -> (i64, u8, u8) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month as u8, day as u8)
}

const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// A day as a line of its own: `Sunday 22 Nov 2026`.
pub fn day_line(at: Timestamp) -> String {
    let (year, month, day) = civil(at.day());
    let name = DAYS[at.day().rem_euclid(7) as usize];
    format!("{name} {day} {} {year}", MONTHS[usize::from(month) - 1])
}

/// How far a zone is from UTC: `UTC`, `UTC+2`, `UTC-9:30`.
pub fn zone_name(minutes: i32) -> String {
    let sign = if minutes < 0 { '-' } else { '+' };
    match (minutes.abs() / 60, minutes.abs() % 60) {
        (0, 0) => "UTC".to_owned(),
        (hours, 0) => format!("UTC{sign}{hours}"),
        (hours, rest) => format!("UTC{sign}{hours}:{rest:02}"),
    }
}

/// Day and time, UTC: `22 Nov 2026 16:20`.
pub fn date_time(at: Timestamp) -> String {
    let minutes = at.0.div_euclid(60_000).rem_euclid(1_440);
    let (year, month, day) = civil(at.day());
    format!("{day} {} {year} {:02}:{:02}", MONTHS[usize::from(month) - 1], minutes / 60, minutes % 60)
}

/// A line of a log as a text file has it. What it says cannot be taken for another line: hidden characters are
/// spelt out, and further lines indented.
pub fn text_line(time: &str, kind: &str, step: Option<&str>, text: &str) -> String {
    let step = step.map(|step| format!("[{}] ", visible(step, false))).unwrap_or_default();
    format!("{time} {kind:<8} {step}{}", visible(text, true).replace('\n', "\n    "))
}

/// RFC 3339, UTC, with milliseconds: `2026-11-22T16:20:05.123Z`. For `datetime` attributes and the API.
pub fn iso(at: Timestamp) -> String {
    let (year, month, day) = civil(at.day());
    format!("{year:04}-{month:02}-{day:02}T{}.{:03}Z", clock_time(at), at.0.rem_euclid(1_000))
}

/// A page's title in its tab: what it shows, which server, and of what product.
pub fn tab_title(what: &str, label: Option<&str>) -> String {
    match label {
        Some(label) => format!("{what} · {label} · Longhaul"),
        None => format!("{what} · Longhaul"),
    }
}

/// How the overview is called in its tab: with how many jobs need somebody now.
pub fn jobs_title(urgent: usize, label: Option<&str>) -> String {
    if urgent == 0 { tab_title("Jobs", label) } else { tab_title(&format!("({urgent}) Jobs"), label) }
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
        assert_eq!(
            [1, 2, 59, 3_600, 200_000].map(|seconds| ahead(Duration::from_secs(seconds))),
            ["now", "in 2 s", "in 59 s", "in 1 h", "in 2 d"]
        );
    }

    #[test]
    fn a_day_has_a_line_and_a_zone_a_name() {
        assert_eq!(day_line(Timestamp(1_795_364_405_123)), "Sunday 22 Nov 2026");
        assert_eq!(day_line(Timestamp(0)), "Thursday 1 Jan 1970");
        assert_eq!(day_line(Timestamp(-1)), "Wednesday 31 Dec 1969");
        assert_eq!([0, 120, -570, 345].map(zone_name), ["UTC", "UTC+2", "UTC-9:30", "UTC+5:45"]);
    }

    proptest::proptest! {
        #[test]
        fn the_calendar_is_the_usual_one(day in -700_000_i64..3_000_000) {
            use chrono::Datelike as _;
            let date = chrono::DateTime::from_timestamp(day * 86_400, 0).unwrap();
            proptest::prop_assert_eq!(civil(day), (i64::from(date.year()), date.month() as u8, date.day() as u8));
        }
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(thousands(7), "7");
        assert_eq!(thousands(98_204), "98\u{202f}204");
        assert_eq!(thousands(1_000_000), "1\u{202f}000\u{202f}000");
    }
}
