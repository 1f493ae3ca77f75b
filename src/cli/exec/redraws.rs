//! Which states of redrawn rows are worth a place in the log. Pure: no clock, no I/O.
//!
//! The first state in new words, so that whoever reads the log knows what goes on; and the last one of each
//! row, and of each of its phases, which says how far it came. What lies between differs in numbers alone.
//! Of first states there are only so many, because a program that draws a file name a thousand times a
//! second has nothing to say a thousand times a second.

use std::collections::BTreeMap;
use std::time::Instant;

use super::progress::words;
use super::terminal::Redraw;

/// The redrawn rows of one output.
#[derive(Debug, Default)]
pub struct Redraws {
    rows: BTreeMap<u64, Row>,
    first: Allowance<20, 500>,
    settled: Allowance<3, 10_000>,
}

#[derive(Debug, Default)]
struct Row {
    words: String,
    /// The log has a state in these words.
    is_logged: bool,
    /// What the log has of it last.
    logged: Option<String>,
    /// What it shows, where the log does not have that.
    pending: Option<String>,
}

impl Redraws {
    /// So many rows are remembered.
    const MOST_ROWS: usize = 200;

    /// Takes a state. Returns what of the row is to be logged now, in order.
    pub fn take(&mut self, state: &Redraw<'_>, now: Instant) -> Vec<String> {
        let is_known = self.rows.contains_key(&state.row);
        if !is_known && self.rows.len() >= Self::MOST_ROWS {
            self.rows.pop_first();
        }
        let row = self.rows.entry(state.row).or_default();
        if let (false, Some(before)) = (is_known, &state.before) {
            row.words = words(before);
            row.is_logged = true;
            row.logged = Some(before.trim_end().to_owned());
        }
        let text = state.text.as_ref();
        let mut logged = Vec::new();
        if state.last {
            let is_other_phase = words(text) != row.words || text.trim().is_empty();
            logged.extend(row.pending.take().filter(|_| is_other_phase).filter(|text| is_worth_it(text)));
            if !text.trim().is_empty() {
                logged.push(text.to_owned());
            }
            if let Some(first) = logged.first()
                && row.logged.as_ref() == Some(first)
            {
                logged.remove(0);
            }
            row.words = words(text);
            row.is_logged = true;
        } else if !text.trim().is_empty() {
            let words = words(text);
            if words.is_empty() || words == row.words {
                row.pending = (row.logged.as_deref() != Some(text)).then(|| text.to_owned());
                return Vec::new();
            }
            let was_logged = std::mem::replace(&mut row.is_logged, self.first.allows(now));
            let had_words = !std::mem::replace(&mut row.words, words).is_empty();
            let before = row.pending.take().filter(|text| is_worth_it(text));
            if row.is_logged {
                // Of what came and went unlogged, how far it came is of no interest either.
                logged.extend(before.filter(|_| was_logged || !had_words));
                logged.push(text.to_owned());
            } else {
                row.pending = Some(text.to_owned());
            }
        }
        if let Some(last) = logged.last() {
            row.logged = Some(last.clone());
        }
        logged
    }

    /// Something on another output may be the last that is heard: what the rows show, where the log does not
    /// have that. Only now and then, because most such things are not.
    pub fn settle(&mut self, now: Instant) -> Vec<String> {
        let is_pending = |row: &Row| row.pending.as_deref().is_some_and(is_worth_it);
        if !self.rows.values().any(is_pending) || !self.settled.allows(now) {
            return Vec::new();
        }
        let rows = self.rows.values_mut().filter(|row| is_pending(row));
        rows.filter_map(|row| {
            row.logged = row.pending.take();
            row.logged.clone()
        })
        .collect()
    }
}

/// A spinner that is gone leaves nothing worth telling.
fn is_worth_it(text: &str) -> bool {
    text.contains(char::is_alphanumeric)
}

/// So many at once, and after that one more every so many milliseconds.
#[derive(Debug)]
struct Allowance<const BURST: u32, const EVERY_MS: u32> {
    left: f64,
    at: Option<Instant>,
}

impl<const BURST: u32, const EVERY_MS: u32> Allowance<BURST, EVERY_MS> {
    fn allows(&mut self, now: Instant) -> bool {
        if let Some(before) = self.at.replace(now) {
            let passed = now.saturating_duration_since(before).as_secs_f64() * 1000.0;
            self.left = (self.left + passed / f64::from(EVERY_MS)).min(f64::from(BURST));
        }
        let allowed = self.left >= 1.0;
        if allowed {
            self.left -= 1.0;
        }
        allowed
    }
}

impl<const BURST: u32, const EVERY_MS: u32> Default for Allowance<BURST, EVERY_MS> {
    fn default() -> Self {
        Self { left: f64::from(BURST), at: None }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::time::Duration;

    use super::*;

    struct Log(Redraws, Instant);

    impl Log {
        fn new() -> Self {
            Self(Redraws::default(), Instant::now())
        }

        fn state(&mut self, text: &str, last: bool) -> Vec<String> {
            let text = Cow::Borrowed(text);
            self.0.take(&Redraw { row: 1, drawn: text.clone(), text, before: None, last }, self.1)
        }
    }

    #[test]
    fn the_first_and_the_last_state_of_the_same_words_are_logged() {
        let mut log = Log::new();
        assert_eq!(log.state("copying 0/1000", false), ["copying 0/1000"]);
        for i in 1..430 {
            assert_eq!(log.state(&format!("copying {i}/1000"), false), [""; 0]);
        }
        assert_eq!(log.state("copying 429/1000", true), ["copying 429/1000"]);
        assert_eq!(log.state("copying 429/1000", true), [""; 0]);
    }

    #[test]
    fn other_words_are_logged_behind_the_last_state_of_those_before() {
        let mut log = Log::new();
        log.state("Counting: 1%", false);
        log.state("Counting: 100%", false);
        assert_eq!(log.state("Receiving: 1%", false), ["Counting: 100%", "Receiving: 1%"]);
        log.state("Receiving: 2%", false);
        // Erased, and something else in its place.
        assert_eq!(log.state("done", true), ["Receiving: 2%", "done"]);
        let mut log = Log::new();
        log.state(" 1%", false);
        log.state(" 99%", false);
        assert_eq!(log.state("", true), [" 99%"]);
        assert_eq!(log.state("", true), [""; 0]);
        assert_eq!(
            (log.state("|", false), log.state("/", false), log.state("", true)),
            (vec![], vec![], vec![])
        );
    }

    #[test]
    fn a_row_that_was_a_line_before_is_not_logged_again() {
        let mut log = Log::new();
        let text = Cow::Borrowed("layer 0%");
        let state =
            Redraw { row: 1, drawn: text.clone(), text, before: Some("layer 0%".into()), last: false };
        assert_eq!(log.0.take(&state, log.1), [""; 0]);
        assert_eq!(log.state("layer 0%", true), [""; 0]);
        assert_eq!(log.state("layer done", true), ["layer done"]);
    }

    #[test]
    fn so_many_names_a_second_are_too_many_and_the_last_one_is_still_logged() {
        let mut log = Log::new();
        let names = |from: u32| (from..from + 100).map(|i| char::from_u32(0x4e00 + i).unwrap().to_string());
        let logged: usize = names(0).map(|name| log.state(&name, false).len()).sum();
        assert_eq!(logged, 20);
        log.1 += Duration::from_secs(5);
        let logged: usize = names(200).map(|name| log.state(&name, false).len()).sum();
        assert_eq!(logged, 10);
        assert_eq!(log.state("the last", false), [""; 0]);
        assert_eq!(log.state("the last", true), ["the last"]);
    }

    #[test]
    fn what_is_shown_is_logged_before_what_may_be_the_last_word() {
        let mut log = Log::new();
        log.state("copying 0/9", false);
        log.state("copying 4/9", false);
        assert_eq!(log.0.settle(log.1), ["copying 4/9"]);
        assert_eq!(log.0.settle(log.1), [""; 0]);
        assert_eq!(log.state("copying 4/9", true), [""; 0]);
    }
}
