//! Which numbers are believed, and of what they tell. Pure: no clock, no I/O.
//!
//! What programs print for people counts more than once: a clone counts objects, receives them and resolves
//! deltas, each from 0 to 100 %. So a number is believed once it rose twice in the same words; what is
//! printed once (`coverage 87%`) moves nothing. Other words, or a fall, begin another phase, which has to be
//! believed anew. Each phase that is believed is a step of the job, named by its words.

use super::progress::Guess;

/// A number that is believed.
#[derive(Clone, Debug, PartialEq)]
pub struct Believed {
    /// Which phase it tells of. They are counted from 0.
    pub phase: usize,
    /// What the phase is called, where it is the first that is heard of it; empty where it has no words.
    pub begins: Option<String>,
    /// How much of the phase is done, 0..=1.
    pub share: f64,
}

/// The phases of a run, as far as its numbers tell.
#[derive(Debug, Default)]
pub struct Phases {
    /// Numbers by the words they come in, the latest last.
    heard: Vec<Heard>,
    /// The names given so far, and how often.
    named: Vec<(String, usize)>,
    count: usize,
}

#[derive(Debug)]
struct Heard {
    /// The words that tell it from others.
    key: Vec<String>,
    /// The words all its lines have in common.
    words: Vec<String>,
    share: f64,
    rises: u32,
    /// The phase it is, once believed.
    phase: Option<usize>,
}

impl Phases {
    /// So many numbers are told apart.
    const MOST_HEARD: usize = 64;
    /// So many phases are believed. What has more counts something else than its work.
    const MOST_PHASES: usize = 50;
    /// So often a number has to rise.
    const RISES: u32 = 2;
    /// A fall by less than this is an estimate put right.
    const LEAST_FALL: f64 = 0.05;

    /// Hears of a number, and tells what to believe of it.
    pub fn hear(&mut self, guess: &Guess) -> Option<Believed> {
        let key = if guess.before.is_empty() { &guess.after } else { &guess.before };
        let words: Vec<String> = guess.before.iter().chain(&guess.after).cloned().collect();
        let believed = self.hear_in(key, words, guess.share);
        // What counts the lines themselves (`[3/12] CC main.o`) does so in other words each time.
        if believed.is_none() && guess.is_bracketed && !key.is_empty() && !self.is_believed(key) {
            return self.hear_in(&[], Vec::new(), guess.share);
        }
        believed
    }

    fn is_believed(&self, key: &[String]) -> bool {
        self.heard.iter().any(|heard| heard.key == key && heard.phase.is_some())
    }

    fn hear_in(&mut self, key: &[String], words: Vec<String>, share: f64) -> Option<Believed> {
        let Some(index) = self.heard.iter().position(|heard| heard.key == key) else {
            if self.heard.len() >= Self::MOST_HEARD {
                self.heard.remove(0);
            }
            self.heard.push(Heard { key: key.to_vec(), words, share, rises: 0, phase: None });
            return None;
        };
        let mut heard = self.heard.remove(index);
        let believed = self.move_on(&mut heard, &words, share);
        self.heard.push(heard);
        believed
    }

    fn move_on(&mut self, heard: &mut Heard, words: &[String], share: f64) -> Option<Believed> {
        if share <= heard.share {
            if share < heard.share - Self::LEAST_FALL {
                *heard = Heard {
                    key: std::mem::take(&mut heard.key),
                    words: words.to_vec(),
                    share,
                    rises: 0,
                    phase: None,
                };
            }
            return None;
        }
        heard.share = share;
        heard.rises += 1;
        if let Some(phase) = heard.phase {
            return Some(Believed { phase, begins: None, share });
        }
        heard.words.retain(|word| words.contains(word));
        if heard.rises < Self::RISES || self.count >= Self::MOST_PHASES {
            return None;
        }
        let phase = self.count;
        self.count += 1;
        heard.phase = Some(phase);
        let name = self.name(heard.words.join(" "));
        Some(Believed { phase, begins: Some(name), share })
    }

    /// A name that no phase has yet.
    fn name(&mut self, words: String) -> String {
        let times = match self.named.iter_mut().find(|(name, _)| *name == words) {
            Some((_, times)) => {
                *times += 1;
                *times
            }
            None => {
                self.named.push((words.clone(), 1));
                1
            }
        };
        match (words.as_str(), times) {
            (_, 1) => words,
            ("", times) => format!("part {times}"),
            (_, times) => format!("{words} ({times})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::progress::guess;
    use super::*;

    /// What is believed of lines: the phase's number, its name where it begins, and whole percents.
    fn believed(lines: &[&str]) -> Vec<String> {
        let mut phases = Phases::default();
        let heard = lines.iter().filter_map(|line| phases.hear(&guess(line)?));
        heard
            .map(|Believed { phase, begins, share }| {
                let begins = begins.map(|name| format!(" `{name}`")).unwrap_or_default();
                format!("{phase}{begins} {}", (share * 100.0).round())
            })
            .collect()
    }

    #[test]
    fn a_number_is_believed_once_it_rose_twice_in_the_same_words() {
        assert_eq!(believed(&["coverage 87%"]), [""; 0]);
        assert_eq!(believed(&["disk 87%", "disk 88%", "disk 88%", "disk 88%"]), [""; 0]);
        assert_eq!(believed(&["10%", "20%", "20%", "30%", "31%"]), ["0 `` 30", "0 31"]);
        assert_eq!(
            believed(&["copying 1/10 to tape", "copying 2/10 to tape", "copying 3/10 to tape"]),
            ["0 `copying to tape` 30"]
        );
        assert_eq!(believed(&["a 10%", "b 20%", "c 30%", "d 40%"]), [""; 0]);
    }

    #[test]
    fn other_words_or_a_fall_begin_another_phase() {
        assert_eq!(
            believed(&[
                "Counting objects:  33% (1/3)",
                "Counting objects:  66% (2/3)",
                "Counting objects: 100% (3/3), done.",
                "Receiving objects:  10% (1/10)",
                "Receiving objects:  20% (2/10), 1.2 MiB | 3 MiB/s",
                "Receiving objects:  30% (3/10), 1.3 MiB | 3 MiB/s",
            ]),
            ["0 `Counting objects` 100", "1 `Receiving objects` 30"]
        );
        assert_eq!(
            believed(&["at 1/4", "at 2/4", "at 4/4", "at 1/4", "at 2/4", "at 3/4"]),
            ["0 `at` 100", "1 `at (2)` 75"]
        );
        assert_eq!(believed(&["1%", "2%", "90%", "1%", "2%", "3%"]), ["0 `` 90", "1 `part 2` 3"]);
        // An estimate that is put right is no other phase.
        assert_eq!(believed(&["10%", "20%", "40%", "38%", "39%", "41%"]), ["0 `` 40", "0 41"]);
    }

    #[test]
    fn phases_may_go_on_side_by_side() {
        assert_eq!(
            believed(&["a 1%", "b 5%", "a 2%", "b 6%", "a 3%", "b 7%", "a 4%"]),
            ["0 `a` 3", "1 `b` 7", "0 4"]
        );
    }

    #[test]
    fn what_counts_the_lines_themselves_is_believed_in_any_words() {
        assert_eq!(
            believed(&["[1/9] CC a.o", "[2/9] CC b.o", "[3/9] CXX c.o", "[9/9] LINK d"]),
            ["0 `` 33", "0 100"]
        );
        assert_eq!(believed(&["Progress: [ 1%]", "Progress: [ 2%]", "Progress: [ 3%]"]), ["0 `Progress` 3"]);
    }

    proptest! {
        #[test]
        fn a_phase_never_falls_and_begins_once(shares in proptest::collection::vec((0_u8..3, 0_u8..=100), 0..300)) {
            let mut phases = Phases::default();
            let mut seen: Vec<f64> = Vec::new();
            for (word, share) in shares {
                let Some(told) = guess(&format!("{} {share}%", ["a", "b", "c"][usize::from(word)])) else { continue };
                let Some(told) = phases.hear(&told) else { continue };
                prop_assert_eq!(told.begins.is_some(), told.phase == seen.len());
                match seen.get_mut(told.phase) {
                    Some(before) => { prop_assert!(told.share > *before); *before = told.share; }
                    None => seen.push(told.share),
                }
            }
            prop_assert!(seen.len() <= Phases::MOST_PHASES);
        }
    }
}
