//! What may be a password, in one place for whoever asks for one.

use super::Invalid;

/// The fewest characters of a password.
pub const MIN_PASSWORD_CHARS: usize = 10;
/// The most bytes of a password: argon2 would take more, an attacker would gladly send more.
pub const MAX_PASSWORD_BYTES: usize = 1_024;

/// Why a text cannot be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrongPasswordLength {
    /// It has too few characters.
    Short,
    /// It has too many bytes.
    Long,
}

impl WrongPasswordLength {
    /// A sentence about it.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Short => "A password must have at least 10 characters.",
            Self::Long => "A password must have at most 1024 bytes.",
        }
    }

    /// The same as it follows the field's name.
    fn problem(self) -> &'static str {
        let sentence = self.sentence().trim_end_matches('.');
        sentence.strip_prefix("A password ").unwrap_or(sentence)
    }
}

impl From<WrongPasswordLength> for Invalid {
    fn from(wrong: WrongPasswordLength) -> Self {
        Self::new("password", wrong.problem())
    }
}

/// Whether a text may be a password.
pub fn check_password(password: &str) -> Result<(), WrongPasswordLength> {
    if password.chars().count() < MIN_PASSWORD_CHARS {
        return Err(WrongPasswordLength::Short);
    }
    if password.len() > MAX_PASSWORD_BYTES {
        return Err(WrongPasswordLength::Long);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_ten_characters_to_a_kibibyte_and_the_words_say_so() {
        let of = |length: usize| check_password(&"ä".repeat(length));
        assert_eq!(of(MIN_PASSWORD_CHARS - 1), Err(WrongPasswordLength::Short));
        assert_eq!(of(MIN_PASSWORD_CHARS), Ok(()));
        assert_eq!(of(MAX_PASSWORD_BYTES / 2), Ok(()));
        assert_eq!(of(MAX_PASSWORD_BYTES / 2 + 1), Err(WrongPasswordLength::Long));
        let says = |wrong: WrongPasswordLength, number: usize| {
            wrong.problem().split(' ').any(|word| word == number.to_string())
        };
        assert!(says(WrongPasswordLength::Short, MIN_PASSWORD_CHARS));
        assert!(says(WrongPasswordLength::Long, MAX_PASSWORD_BYTES));
    }
}
