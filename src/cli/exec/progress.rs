//! Progress, guessed from what programs print for people: `45%`, `12/340`, `3 of 7`.
//!
//! A guess may miss, and must not mislead. So what looks like a date, a path, a version, an address or an
//! option is left alone, and of several numbers in a line the last one wins, which is where programs put the
//! current one. Whether a number is believed is not decided here: see [`phases`](super::phases).

/// A number in a line, and the words around it.
#[derive(Clone, Debug, PartialEq)]
pub struct Guess {
    /// The share of the work it tells of, 0..=1.
    pub share: f64,
    /// The words before it, without numbers, bars and spinners.
    pub before: Vec<String>,
    /// The words behind it, likewise, and without units.
    pub after: Vec<String>,
    /// It stands in brackets, as what counts the lines themselves does.
    pub is_bracketed: bool,
}

/// The number a line tells of.
pub fn guess(line: &str) -> Option<Guess> {
    if !line.bytes().any(|byte| matches!(byte, b'%' | b'/')) && !line.contains("of ") {
        return None;
    }
    let mut found = None;
    let mut first = None;
    let mut at = 0;
    while let Some(start) = line[at..].find(|c: char| c.is_ascii_digit()).map(|more| at + more) {
        let number = Number::read(line, start);
        at = number.end;
        if let Some((share, end)) = percent(line, &number).or_else(|| counted(line, &number)) {
            first = first.or(Some(start));
            found = Some((share, start, end));
            at = end;
        }
    }
    let (share, start, end) = found?;
    let words = |text: &str| text.split_whitespace().filter_map(word).collect();
    let first = first.unwrap_or(start);
    let is_bracketed = first == start
        && line[..start].trim_end().ends_with(['[', '('])
        && line[end..].trim_start().starts_with([']', ')']);
    Some(Guess {
        share,
        // What stands between two numbers of one line belongs to the numbers.
        before: words(&line[..first]),
        after: words(&line[end..]),
        is_bracketed,
    })
}

/// A word that stays from line to line: neither a number nor a unit, and bare of what stands around it.
fn word(text: &str) -> Option<String> {
    let word = text.trim_matches(|c: char| !c.is_alphanumeric());
    let is_unit = word.ends_with("/s")
        || ["eta", "ETA"].contains(&word)
        || word
            .strip_suffix('B')
            .is_some_and(|rest| ["", "k", "K", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"].contains(&rest));
    let is_word = word.contains(char::is_alphabetic) && !word.contains(|c: char| c.is_ascii_digit());
    (is_word && !is_unit).then(|| word.to_owned())
}

/// The words of a line, without numbers, units, bars and spinners: two redraws with the same words differ
/// in progress alone.
pub fn words(line: &str) -> String {
    let mut words = String::new();
    for word in line.split_whitespace() {
        let has_digit = word.contains(|c: char| c.is_ascii_digit());
        if !has_digit && word.contains(char::is_alphabetic) {
            words.push_str(word);
            words.push(' ');
        }
    }
    words
}

/// A number as people write it: `12`, `1,234`, `99.5`.
struct Number {
    value: f64,
    start: usize,
    end: usize,
}

impl Number {
    /// Reads the number that begins at `start`, which is a digit.
    fn read(line: &str, start: usize) -> Self {
        let bytes = line.as_bytes();
        let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut end = start + digits(start);
        let mut text = line[start..end].to_owned();
        while text.len() <= 12 && bytes.get(end) == Some(&b',') && digits(end + 1) == 3 {
            text.push_str(&line[end + 1..end + 4]);
            end += 4;
        }
        if bytes.get(end) == Some(&b'.') && digits(end + 1) > 0 {
            let after = end + 1 + digits(end + 1);
            text.push_str(&line[end..after]);
            end = after;
        }
        // More digits than an f64 tells apart still parse; what does not can be no count of anything.
        Self { value: text.parse().unwrap_or(f64::INFINITY), start, end }
    }
}

/// `45%`, `45.5 %`.
fn percent(line: &str, number: &Number) -> Option<(f64, usize)> {
    let rest = &line[number.end..];
    let after = rest.strip_prefix('%').or_else(|| rest.strip_prefix(" %"))?;
    let stands_alone = match line[..number.start].chars().next_back() {
        None => true,
        Some(c) => !c.is_alphanumeric() && !matches!(c, '.' | ',' | '-' | '+' | '_' | '/' | '%'),
    };
    let goes_on = after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    (stands_alone && !goes_on && number.value <= 100.0)
        .then(|| (number.value / 100.0, line.len() - after.len()))
}

/// `12/340`, `3 of 7`.
fn counted(line: &str, done: &Number) -> Option<(f64, usize)> {
    let rest = &line[done.end..];
    let after =
        rest.strip_prefix('/').or_else(|| rest.strip_prefix(" / ")).or_else(|| rest.strip_prefix(" of "))?;
    let from = line.len() - after.len();
    if !after.starts_with(|c: char| c.is_ascii_digit()) || !may_begin(&line[..done.start]) {
        return None;
    }
    let total = Number::read(line, from);
    let fits = total.value.is_finite() && total.value > 1.0 && done.value <= total.value;
    (fits && may_end(&line[total.end..])).then(|| (done.value / total.value, total.end))
}

/// Whether a count may begin after `before`: not within a word, a path, a date, an address or an option.
fn may_begin(before: &str) -> bool {
    let label = |text: &str| {
        let word = text.trim_end_matches(char::is_alphabetic);
        word.len() < text.len() && (word.is_empty() || word.ends_with(char::is_whitespace))
    };
    match before.chars().next_back() {
        None => true,
        Some(':') => label(&before[..before.len() - 1]),
        Some(c) => {
            c.is_whitespace()
                || matches!(c, '(' | '[' | '{' | '<' | '|' | '#' | '"' | '\'')
                || (!c.is_ascii() && !c.is_alphanumeric())
        }
    }
}

/// Whether a count may end before `after`: not within a word, a path or a date, and not before a clock time.
fn may_end(after: &str) -> bool {
    let mut chars = after.chars();
    let Some(next) = chars.next() else {
        return true;
    };
    match next {
        '.' | ',' | ':' => !chars.next().is_some_and(char::is_alphanumeric),
        ')' | ']' | '}' | '>' | ';' | '|' | '!' | '"' | '\'' => true,
        c if c.is_whitespace() => !is_clock(after.trim_start()),
        c => !c.is_ascii() && !c.is_alphanumeric(),
    }
}

/// `10:22`, `9:05:13`.
fn is_clock(text: &str) -> bool {
    let bytes = text.as_bytes();
    let hours = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (1..=2).contains(&hours)
        && bytes.get(hours) == Some(&b':')
        && bytes.get(hours + 1..hours + 3).is_some_and(|minutes| minutes.iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whole per mille, to compare without rounding.
    fn mille(line: &str) -> Option<i64> {
        guess(line).map(|guess| (guess.share * 1000.0).round() as i64)
    }

    #[test]
    fn what_real_programs_print_is_understood() {
        for (line, expected) in [
            ("45%", 450),
            ("99.5 % done", 995),
            ("100%", 1000),
            ("0%", 0),
            ("progress=7%", 70),
            ("~50%", 500),
            ("████████50%", 500),
            // git
            ("Receiving objects:  40% (108/270), 1.2 MiB | 500 KiB/s", 400),
            // rsync: what is left to check is not what is done
            ("     32,768  12%   31.22kB/s    0:00:07 (xfr#1, to-chk=3/5)", 120),
            // cargo, ninja, make, pytest, apt, curl -#, wget
            ("    Building [=====>      ] 12/48: serde", 250),
            ("[3/12] CC main.o", 250),
            ("[ 45%] Building CXX object", 450),
            ("tests/test_a.py ........ [ 30%]", 300),
            ("Progress: [ 62%] [#####....]", 620),
            ("######## 25.5%", 255),
            ("a.iso      20%[==>        ]  10.00M  2.1MB/s  eta 9s", 200),
            // pip
            ("   ━━━━━ 1.5/3.0 MB 5.6 MB/s", 500),
            ("Step 3 of 12", 250),
            ("1,234 of 2,468 rows", 500),
            ("Done: 3/4.", 750),
            ("done 3/4...", 750),
            ("batch:1/4", 250),
            ("3 / 4 files", 750),
            ("0/10", 0),
            ("first 1/4, then 3/4", 750),
            ("10% of 3/4", 750),
        ] {
            assert_eq!(mille(line), Some(expected), "{line}");
        }
    }

    #[test]
    fn dates_paths_versions_and_options_are_left_alone() {
        for line in [
            "24/7/2026",
            "2026/07/24 started",
            "07/24 10:22:05 INFO ready",
            "/usr/1/2",
            "/usr/1/2/x",
            "a/1/2",
            "1/2/",
            "1/2.txt",
            "10.0.0.0/24",
            "10.0.0.1/32",
            "http://host:80/100",
            "24/7 support",
            "1/1",
            "1 of 1",
            "5/3",
            "foo%20bar",
            "a%2Fb",
            "150%",
            "-5%",
            "+5% faster",
            "v1/2",
            "1/2-beta",
            "3 of them",
            "--jobs=1/2",
            "rate 5 kB/s",
            "100%25",
            "50%_x",
            "99999999999999999999999999999999999999999999999999999%",
            "",
            "%",
            "/",
            " of ",
        ] {
            assert_eq!(guess(line), None, "{line}");
        }
    }

    #[test]
    fn a_number_has_words_around_it() {
        let told = |line| {
            guess(line).map(|guess| (guess.before.join(" "), guess.after.join(" "), guess.is_bracketed))
        };
        for (line, before, after, is_bracketed) in [
            ("Receiving objects:  40% (108/270), 1.2 MiB | 500 KiB/s", "Receiving objects", "", false),
            ("Receiving objects:  40%", "Receiving objects", "", false),
            ("copying 5/1000 to tape", "copying", "to tape", false),
            ("[3/12] CC main.o", "", "CC main.o", true),
            ("[ 45%] Building CXX object", "", "Building CXX object", true),
            ("Epoch 2:  12%|█▏   | 12/100 [00:01<00:08, 10.5it/s]", "Epoch", "", false),
            ("     32,768  12%   31.22kB/s    0:00:07", "", "", false),
        ] {
            assert_eq!(told(line), Some((before.to_owned(), after.to_owned(), is_bracketed)), "{line}");
        }
    }

    #[test]
    fn redraws_that_differ_in_numbers_have_the_same_words() {
        let same = |a, b| assert_eq!(words(a), words(b));
        same("Receiving objects:  1% (3/270)", "Receiving objects: 99% (269/270), 3MiB");
        same("  32,768  12%   31.22kB/s  0:00:07", "  64,000  25%   1.22MB/s  0:00:03");
        same("[=>   ] 10%", "[===> ] 60%");
        same("⠋ Installing", "⠙ Installing");
        assert_ne!(words("reading a"), words("reading b"));
        assert_eq!(words("12% [##  ] 3/4 |"), "");
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_panic(line in any::<String>()) {
            let _ = (guess(&line), words(&line));
        }

        #[test]
        fn a_guess_is_a_share(line in "[0-9,./% ofa:\\-é█\u{1b}\\[]{0,40}") {
            if let Some(Guess { share, .. }) = guess(&line) {
                prop_assert!((0.0..=1.0).contains(&share), "{share}");
            }
        }

        #[test]
        fn counts_are_found_anywhere_in_a_sentence(total in 2_u32..100_000, done in 0_u32..100_000) {
            let done = done.min(total);
            let expected = f64::from(done) / f64::from(total);
            for line in [format!("[{done}/{total}] x"), format!("row {done} of {total}, ok"), format!("{done}/{total}")] {
                prop_assert_eq!(guess(&line).map(|guess| guess.share), Some(expected), "{}", line);
            }
        }
    }
}
