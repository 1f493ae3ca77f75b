//! Tokens as people paste them.

/// What a token has that no token has. Editors, chat programs and documents put such things around it.
pub fn token_problem(token: &str) -> Option<String> {
    const QUOTES: [char; 9] =
        ['"', '\'', '`', '\u{2018}', '\u{2019}', '\u{201c}', '\u{201d}', '\u{ab}', '\u{bb}'];
    if token.starts_with('\u{feff}') {
        return Some("begins with a byte-order mark (U+FEFF)".to_owned());
    }
    let start = token.get(..7).unwrap_or_default();
    if start.eq_ignore_ascii_case("bearer ") {
        return Some("has `Bearer ` in front, which is added by itself".to_owned());
    }
    let odd = token.char_indices().find(|(_, c)| !c.is_ascii_graphic() || QUOTES.contains(c));
    odd.map(|(at, c)| {
        let at = token[..at].chars().count() + 1;
        match c {
            _ if QUOTES.contains(&c) => format!("has a quotation mark in it, at character {at}: {c}"),
            '\n' | '\r' => format!("has a line end in it, at character {at}"),
            '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{ad}' => {
                format!("has an invisible character in it, at character {at}: U+{:04X}", u32::from(c))
            }
            c if c.is_whitespace() => format!("has a blank in it, at character {at}"),
            c => format!("has a character that no token has, at character {at}: U+{:04X}", u32::from(c)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Client, DEFAULT_SERVER, PATIENCE};

    #[test]
    fn what_is_wrong_with_a_token_is_said() {
        let good = "lh_0123456789abcdefABCDEF-_.~+/=";
        for (token, expected) in [
            (format!("\u{feff}{good}"), "byte-order mark"),
            (format!("Bearer {good}"), "`Bearer ` in front"),
            (format!("bearer {good}"), "`Bearer ` in front"),
            (format!("\"{good}\""), "quotation mark in it, at character 1"),
            (format!("{good}\u{201d}"), "quotation mark"),
            (format!("lh_\u{200b}{good}"), "invisible character in it, at character 4: U+200B"),
            (format!("{good}\u{feff}"), "invisible"),
            (format!("{good}\nx"), "line end"),
            (format!("{good} x"), "blank"),
            (format!("{good}\u{e9}"), "U+00E9"),
            ("\u{e9}\u{e9}\u{e9}\u{e9}".to_owned(), "U+00E9"),
        ] {
            let error = Client::new(DEFAULT_SERVER, Some(&token), PATIENCE).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains(good), "{error}");
        }
        for token in [good.to_owned(), format!(" {good}\r\n")] {
            Client::new(DEFAULT_SERVER, Some(&token), PATIENCE).unwrap();
        }
    }
}
