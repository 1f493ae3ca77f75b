//! What an installation calls itself, so that nobody stops the wrong one's jobs.

/// The most characters of a label.
const MOST_CHARS: usize = 30;

/// A name and a colour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The name.
    pub text: String,
    /// The hue, as the style calls it.
    pub hue: &'static str,
}

impl Label {
    /// Reads `production` or `production:red`. Nothing is no label.
    pub fn read(text: &str) -> Result<Option<Self>, &'static str> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let (name, hue) = match text.rsplit_once(':') {
            None => (text, "warn"),
            Some((name, colour)) => {
                let hue = match colour.trim() {
                    "red" => "bad",
                    "amber" => "warn",
                    "green" => "ok",
                    "blue" => "run",
                    "grey" => "idle",
                    _ => return Err("may end with :red, :amber, :green, :blue or :grey"),
                };
                (name.trim(), hue)
            }
        };
        if name.is_empty() || name.chars().count() > MOST_CHARS {
            return Err("must have 1 to 30 characters");
        }
        Ok(Some(Self { text: super::visible(name, false).into_owned(), hue }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_a_name_and_may_have_a_colour() {
        let read = |text: &str| Label::read(text).map(|label| label.map(|label| (label.text, label.hue)));
        assert_eq!(read(""), Ok(None));
        assert_eq!(read(" production "), Ok(Some(("production".to_owned(), "warn"))));
        assert_eq!(read("staging: blue"), Ok(Some(("staging".to_owned(), "run"))));
        assert!(read("x:pink").is_err() && read(":red").is_err() && read(&"x".repeat(31)).is_err());
        assert_eq!(read("a\u{202e}b"), Ok(Some(("a\\u{202e}b".to_owned(), "warn"))));
    }
}
