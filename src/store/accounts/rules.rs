//! Which changes of accounts are allowed: pure, so that all stores decide alike, each within its own
//! transaction.

use thiserror::Error;
use unicode_normalization::UnicodeNormalization as _;
use unicode_security::GeneralSecurityProfile as _;
use unicode_security::confusable_detection::skeleton;

use super::{AccountChange, By, TokenRecord, UserRecord};
use crate::model::{Author, Invalid, Role};

/// Why a change of accounts was refused. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AccountRefusal {
    /// Whoever makes the change is no admin, or no longer.
    #[error("Your access has changed since you came in, so nothing was done. This takes an admin.")]
    NoAuthority {
        /// The role it has now, where it has any.
        holder: Option<Role>,
    },
    /// There is no such user or token, or no longer.
    #[error("There is no such {what} any more.")]
    Missing {
        /// `user` or `token`.
        what: &'static str,
    },
    /// The name is taken.
    #[error("There is a {what} `{name}` already.")]
    Taken {
        /// `user` or `token`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The name would be taken for another's.
    #[error("The name `{name}` looks like that of the {what} `{other}`. Choose one that nobody confuses.")]
    LooksLike {
        /// `user` or `token`.
        what: &'static str,
        /// The name.
        name: String,
        /// What it looks like.
        other: String,
    },
    /// Nobody could manage accounts any more.
    #[error("`{name}` is the only admin. Make another one first.")]
    LastAdmin {
        /// The user.
        name: String,
    },
}

/// The accounts as they stand when a change is decided.
pub struct Standing {
    /// All users.
    pub users: Vec<UserRecord>,
    /// All tokens.
    pub tokens: Vec<TokenRecord>,
    /// The role of whoever makes the change, by a credential that is good; `None` where it is not.
    pub holder: Option<Role>,
}

/// Whether a change may be made.
pub fn decide(change: &AccountChange, by: By, standing: &Standing) -> Result<(), AccountRefusal> {
    if matches!(by, By::Holder { .. }) && standing.holder != Some(Role::Admin) {
        return Err(AccountRefusal::NoAuthority { holder: standing.holder });
    }
    let user = |account| {
        let found = standing.users.iter().find(|user| user.id == account);
        found.ok_or(AccountRefusal::Missing { what: "user" })
    };
    match change {
        AccountChange::AddUser(new) => {
            free("user", &new.name, standing.users.iter().map(|user| user.name.as_str()))
        }
        AccountChange::SetRole { account, role } => keeps_an_admin(user(*account)?, Some(*role), standing),
        AccountChange::RemoveUser { account } => keeps_an_admin(user(*account)?, None, standing),
        AccountChange::AddToken(new) => {
            free("token", &new.name, standing.tokens.iter().map(|token| token.name.as_str()))
        }
        AccountChange::RemoveToken { hash } => {
            let found = standing.tokens.iter().any(|token| token.hash == *hash);
            if found { Ok(()) } else { Err(AccountRefusal::Missing { what: "token" }) }
        }
        AccountChange::PutLink(link) => user(link.account).map(drop),
    }
}

fn keeps_an_admin(user: &UserRecord, role: Option<Role>, standing: &Standing) -> Result<(), AccountRefusal> {
    let others = standing.users.iter().any(|other| other.role == Role::Admin && other.id != user.id);
    if user.role == Role::Admin && role != Some(Role::Admin) && !others {
        return Err(AccountRefusal::LastAdmin { name: user.name.clone() });
    }
    Ok(())
}

fn free<'a>(
    what: &'static str,
    name: &str,
    taken: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), AccountRefusal> {
    if taken.clone().any(|other| other == name) {
        return Err(AccountRefusal::Taken { what, name: name.to_owned() });
    }
    let looks = looks_of(name);
    let alike = |other: &&str| looks_of(other).iter().zip(&looks).any(|(one, two)| one == two);
    match { taken }.find(alike) {
        Some(other) => {
            Err(AccountRefusal::LooksLike { what, name: name.to_owned(), other: other.to_owned() })
        }
        None => Ok(()),
    }
}

/// What a name looks like by Unicode's table of confusables (UTS 39): as it is, in small and in capital
/// letters. A capital `I` is a small `l`, and a Cyrillic `М` is Latin only as a capital.
fn looks_of(name: &str) -> [String; 3] {
    [name.to_owned(), name.to_lowercase(), name.to_uppercase()].map(|form| skeleton(&form).collect())
}

/// The signs of a name beside letters and digits.
const SIGNS: &str = " ._-@+:/'";
/// So many marks, such as accents, may stand on one letter.
const MOST_MARKS: usize = 2;

/// What [`check_account_name`] asks of a name, as far as a regular expression can say it that all languages read alike:
/// the signs among ASCII exactly, of what is beyond it no punctuation, symbols or private signs. At most
/// [`Author::MAX_CHARS`] characters.
pub const ACCOUNT_NAME_PATTERN: &str = concat!(
    r"^[^\u0000-/:-@\[-`{-\u00bf\u00d7\u00f7\u0300-\u036f\u2000-\u2bff\u3000-\u3004\u3008-\u3020",
    r"\ue000-\uf8ff\ufe00-\ufe0f\ufeff-\uffff]",
    r"(?: ?[^\u0000-&(-*,;-?\[-^`{-\u00bf\u00d7\u00f7\u2000-\u2bff\u3000-\u3004\u3008-\u3020",
    r"\ue000-\uf8ff\ufe00-\ufe0f\ufeff-\uffff])*$",
);

/// A name as a new user or token may have it: letters and digits of any living script, and a few signs.
/// Nothing that is invisible, that turns the direction of what follows, or that paints over its neighbours.
pub fn check_account_name(name: &str) -> Result<String, Invalid> {
    let name = Author::new(name.nfc().collect::<String>())
        .map_err(|invalid| Invalid { field: "name".to_owned(), ..invalid })?
        .into_string();
    let is_letter = |c: char| c.is_alphanumeric() && c.identifier_allowed();
    let is_mark = unicode_normalization::char::is_combining_mark;
    let may = |c: char| is_letter(c) || SIGNS.contains(c) || (is_mark(c) && c.identifier_allowed());
    if let Some(wrong) = name.chars().find(|c| !may(*c)) {
        return Err(Invalid::new(
            "name",
            format!(
                "must consist of letters, digits, spaces and . _ - @ + : / ', but has the sign U+{:04X}",
                u32::from(wrong)
            ),
        ));
    }
    if !name.starts_with(is_letter) {
        return Err(Invalid::new("name", "must begin with a letter or a digit"));
    }
    if name.contains("  ") {
        return Err(Invalid::new("name", "must not have two spaces in a row"));
    }
    let mut marks = 0;
    for c in name.chars() {
        marks = if is_mark(c) { marks + 1 } else { 0 };
        if marks > MOST_MARKS {
            return Err(Invalid::new("name", "must not have more than two accents on one letter"));
        }
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Timestamp;

    fn user(name: &str, role: Role) -> UserRecord {
        UserRecord::new(name, role, Timestamp(1))
    }

    fn standing(names: &[&str]) -> Standing {
        let users = names.iter().map(|name| user(name, Role::Viewer)).collect();
        Standing { users, tokens: Vec::new(), holder: None }
    }

    fn add(name: &str, standing: &Standing) -> Result<(), AccountRefusal> {
        decide(&AccountChange::AddUser(user(name, Role::Viewer)), By::Owner, standing)
    }

    #[test]
    fn names_have_a_sane_alphabet() {
        for name in [
            "anna",
            "Anna Müller",
            "o'neill",
            "anna@example.org",
            "ci-runner_2.x+y",
            "team/ci:nightly",
            "Zoë",
            "Ærøskøbing",
            "Иван",
            "山田太郎",
            "علي",
            "अनिता",
            "สมชาย",
            "9to5",
        ] {
            assert_eq!(check_account_name(name).as_deref(), Ok(name));
        }
        assert_eq!(check_account_name(" Zoe\u{308} ").as_deref(), Ok("Zoë"), "one way to write it");
        for name in [
            "",
            " ",
            "a\u{0}b",
            "a\u{9b}b",
            "a\nb",
            "a\u{202e}b",
            "a\u{2066}b",
            "a\u{200b}b",
            "a\u{200d}b",
            "a\u{ad}b",
            "a\u{feff}b",
            "a\u{e0041}b",
            "a\u{3164}b",
            "a\u{a0}b",
            "a\u{2028}b",
            "anna💥",
            "𝐚nna",
            "ａnna",
            "<b>anna</b>",
            "`anna`",
            "-rf",
            ".hidden",
            "a  b",
            "\u{301}anna",
            "an\u{334}\u{335}\u{336}na",
        ] {
            assert!(check_account_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn the_pattern_that_the_api_describes_takes_no_name_for_wrong_that_is_right() {
        let pattern = regex::Regex::new(ACCOUNT_NAME_PATTERN).unwrap();
        // Beyond the first plane nothing is described.
        for c in '\u{0}'..'\u{ffff}' {
            for name in [format!("{c}b"), format!("a {c}{c}")] {
                // The rules forgive blanks around a name, and another way to write a letter.
                let given = check_account_name(&name).is_ok_and(|kept| kept == name);
                let described = pattern.is_match(&name);
                assert!(described || !given, "{name:?} is right");
                if c.is_ascii() {
                    assert_eq!(described, given, "{name:?}");
                }
            }
        }
        for name in ["", " ", "a  b", "a ", " a", "a\n", "-a", "a\u{200b}b", "a\u{202e}b", "💥", "a\u{a0}b"]
        {
            assert_eq!(pattern.is_match(name), name == "💥", "{name:?}");
        }
    }

    #[test]
    fn a_name_that_looks_like_another_is_refused() {
        let standing = standing(&["admin", "Paul", "modem"]);
        for name in ["аdmin", "Admin", "ADMIN", "АDМІN", "PauI", "Pau1", "rnodem", "mоdеm"] {
            let refused = add(name, &standing);
            assert!(matches!(refused, Err(AccountRefusal::LooksLike { .. })), "{name}: {refused:?}");
        }
        assert!(matches!(add("admin", &standing), Err(AccountRefusal::Taken { .. })));
        for name in ["admin2", "paula", "node-1", "anna"] {
            assert_eq!(add(name, &standing), Ok(()), "{name}");
        }
    }

    #[test]
    fn who_is_no_admin_any_more_changes_nothing() {
        let now = Timestamp(1);
        let by = By::Holder { hash: [1; 32], now };
        let change = AccountChange::AddUser(user("anna", Role::Viewer));
        for holder in [None, Some(Role::Viewer), Some(Role::Operator)] {
            let standing = Standing { holder, ..standing(&[]) };
            let refused = Err(AccountRefusal::NoAuthority { holder });
            assert_eq!(decide(&change, by, &standing), refused);
        }
        assert_eq!(decide(&change, by, &Standing { holder: Some(Role::Admin), ..standing(&[]) }), Ok(()));
    }

    proptest! {
        #[test]
        fn there_is_an_admin_for_as_long_as_there_was_one(
            roles in prop::collection::vec(0..4_usize, 1..6),
            acts in prop::collection::vec((0..6_usize, 0..5_usize), 0..30),
        ) {
            let users = roles.iter().enumerate().map(|(n, role)| user(&format!("u{n}"), Role::ALL[*role]));
            let mut standing = Standing { users: users.collect(), tokens: Vec::new(), holder: None };
            let admins = |standing: &Standing| standing.users.iter().any(|user| user.role == Role::Admin);
            let had = admins(&standing);
            for (who, what) in acts {
                let Some(id) = standing.users.get(who).map(|user| user.id) else { continue };
                let change = match Role::ALL.get(what) {
                    Some(role) => AccountChange::SetRole { account: id, role: *role },
                    None => AccountChange::RemoveUser { account: id },
                };
                if decide(&change, By::Owner, &standing).is_err() {
                    continue;
                }
                match change {
                    AccountChange::SetRole { role, .. } => standing.users[who].role = role,
                    _ => drop(standing.users.remove(who)),
                }
                prop_assert!(admins(&standing) || !had);
            }
        }
    }
}
