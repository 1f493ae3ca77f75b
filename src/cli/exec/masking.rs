//! Passwords in a command's arguments, as far as they can be recognised, before the arguments leave the machine.
//!
//! A job's input is read by every viewer, and lies in exports and backups. What is no password and looks like
//! one is masked, too: that costs a word, the other mistake costs a password.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// What stands in place of a secret.
pub const MASK: &str = "***";

/// What the name of a secret has in it.
const SECRET: &str = "pass|pwd|token|secret|key|credential";

/// The arguments of a command, the program first, with what is secret in them masked.
pub fn mask(command: &[String]) -> Vec<String> {
    let mut masked = Vec::with_capacity(command.len());
    let mut seen = Seen::default();
    for word in command {
        masked.push(seen.word(word));
    }
    masked
}

/// What the words before say about the next one.
#[derive(Default)]
struct Seen {
    /// The programs named so far: `sudo`, then `mysqldump`.
    programs: Vec<String>,
    /// What the next word is.
    next: Next,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Next {
    #[default]
    Ordinary,
    /// All of it is secret.
    Secret,
    /// A user, and after one of these a password.
    User(&'static [char]),
}

/// Programs whose short options take a password: the beginning of their names, the option, and whether the
/// password may be a word of its own.
const SHORT: [(&str, char, bool); 10] = [
    ("mysql", 'p', false),
    ("mariadb", 'p', false),
    ("mycli", 'p', false),
    ("sshpass", 'p', true),
    ("mongo", 'p', true),
    ("redis-cli", 'a', true),
    ("ldap", 'w', true),
    ("7z", 'p', false),
    ("zip", 'P', true),
    ("unzip", 'P', true),
];

impl Seen {
    fn word(&mut self, word: &str) -> String {
        match std::mem::take(&mut self.next) {
            Next::Secret => return MASK.to_owned(),
            Next::User(separators) => return user(word, separators),
            Next::Ordinary => {}
        }
        if word.contains(char::is_whitespace) {
            return self.script(word);
        }
        if let Some(option) = word.strip_prefix('-') {
            if let Some(masked) = self.option(word, option) {
                return masked;
            }
        } else if !word.contains('=') {
            let name = word.rsplit('/').next().unwrap_or(word);
            self.programs.push(name.to_ascii_lowercase());
        }
        text(word)
    }

    /// A word with blanks in it: a script, a header, a list of settings.
    fn script(&mut self, script: &str) -> String {
        // What is in quotes, or comes after a name, may have blanks in it: it is looked for in the whole first.
        let script = text(script);
        let mut inner = Seen { programs: self.programs.clone(), next: Next::Ordinary };
        let words: Vec<String> = script
            .split_inclusive(char::is_whitespace)
            .map(|piece| {
                let word = piece.trim_end();
                let rest = &piece[word.len()..];
                if word.is_empty() { piece.to_owned() } else { format!("{}{rest}", inner.word(word)) }
            })
            .collect();
        words.concat()
    }

    /// An option; `option` is without its first dash. `None` where it is an ordinary word.
    fn option(&mut self, word: &str, option: &str) -> Option<String> {
        let long = option.strip_prefix('-').unwrap_or(option);
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (long, None),
        };
        let lower = name.to_ascii_lowercase();
        if matches!(lower.as_str(), "user" | "proxy-user") {
            match value {
                Some(value) => {
                    return Some(format!("{}{}", &word[..word.len() - value.len()], user(value, &[':'])));
                }
                None => self.next = Next::User(&[':']),
            }
            return Some(word.to_owned());
        }
        if name.chars().count() > 1 && is_secret_option(&lower) {
            match value {
                Some(value) => return Some(format!("{}{MASK}", &word[..word.len() - value.len()])),
                None => self.next = Next::Secret,
            }
            return Some(word.to_owned());
        }
        if word.starts_with("--") {
            return None;
        }
        let mut letters = option.chars();
        let letter = letters.next()?;
        let attached = letters.as_str();
        if matches!(letter, 'u' | 'U') {
            // The second is smbclient's.
            let separators: &'static [char] = if letter == 'u' { &[':'] } else { &[':', '%'] };
            match attached {
                "" => self.next = Next::User(separators),
                attached => return Some(format!("-{letter}{}", user(attached, separators))),
            }
            return Some(word.to_owned());
        }
        let takes = SHORT.iter().find(|(program, short, _)| {
            *short == letter && self.programs.iter().any(|seen| seen.starts_with(program))
        });
        let (_, _, may_stand_alone) = takes?;
        match attached {
            "" if *may_stand_alone => self.next = Next::Secret,
            "" => {}
            _ => return Some(format!("-{letter}{MASK}")),
        }
        Some(word.to_owned())
    }
}

/// Whether a long option's value is a secret by itself, and not the name of a file, or an answer to yes or no.
fn is_secret_option(name: &str) -> bool {
    let mut parts = name.split(['-', '_']);
    let first = parts.clone().next().unwrap_or_default();
    let last = parts.next_back().unwrap_or_default();
    let says =
        ["password", "passwd", "pass", "pwd", "passphrase", "token", "secret", "credential", "credentials"];
    let is_key = last == "key" && ["api", "access", "secret", "auth", "account", "shared"].contains(&first);
    !matches!(first, "no" | "ask" | "prompt")
        && (says.iter().any(|word| last.ends_with(word)) || last == "apikey" || is_key)
}

/// `root:hunter2` as `root:***`. Two numbers are a user and a group.
fn user(text: &str, separators: &[char]) -> String {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once(separators) {
        Some((user, password)) if !(is_number(user) && is_number(password)) => {
            format!("{user}{}{MASK}", &text[user.len()..=user.len()])
        }
        _ => text.to_owned(),
    }
}

/// Masks what is recognisable anywhere in a text.
fn text(text: &str) -> String {
    static WHOLE: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(&format!(r"(?i)^(-{{0,2}}[a-z0-9_.\-]*(?:{SECRET})[a-z0-9_.\-]*=)[^\s&]+$")).ok()
    });
    static NAMED: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let name = format!(r"[a-z0-9_.\-]*(?:{SECRET})[a-z0-9_.\-]*");
        let value = r#""[^"]*"|'[^']*'|[^\s&"'}]+"#;
        Regex::new(&format!(r#"(?i)({name}(?:["']?=|["']\s*:\s*|:\s+))({value})"#)).ok()
    });
    static AUTHORIZATION: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r#"(?i)(\bauthorization["']?\s*[:=]\s*["']?(?:[a-z]+\s+)?|\bbearer\s+)([^\s"',]+)"#).ok()
    });
    static OPENSSL: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\b(pass:)(\S+)").ok());
    static OPTION: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let option = r"--?[a-z0-9_\-]*(?:password|passwd|passphrase|token|secret)\s+";
        Regex::new(&format!(r#"(?i)({option})("[^"]*"|'[^']*')"#)).ok()
    });
    let masked = address(text);
    let named = |pattern: &Option<Regex>, text: String| match pattern {
        Some(pattern) => {
            pattern.replace_all(&text, |found: &Captures<'_>| format!("{}{MASK}", &found[1])).into_owned()
        }
        None => text,
    };
    // The header's name first: what follows it may have a name that says more.
    let masked = named(&AUTHORIZATION, masked);
    let masked = named(&OPTION, masked);
    let masked = named(&WHOLE, masked);
    let masked = named(&NAMED, masked);
    named(&OPENSSL, masked)
}

/// Masks the user info of every address in a text: `postgres://***@box/db`.
fn address(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        masked.push_str(before);
        let ends = after.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'')).unwrap_or(after.len());
        let authority = after.find(['/', '?', '#']).unwrap_or(ends).min(ends);
        // A password may have a slash in it, where somebody did not know better.
        let is_host = after[..authority]
            .rsplit_once(':')
            .is_none_or(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
        let until = after[..authority].rfind('@').or_else(|| after[..ends].rfind('@').filter(|_| !is_host));
        let scheme = before[..before.len() - 3].rsplit(|c: char| !c.is_ascii_alphanumeric()).next();
        let is_login = matches!(scheme, Some("ssh" | "git" | "sftp" | "rsync" | "svn"));
        match until.map(|until| after.split_at(until)) {
            Some((info, after)) if !is_login || info.contains(':') => {
                masked.push_str(MASK);
                rest = after;
            }
            _ => rest = after,
        }
    }
    masked.push_str(rest);
    masked
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(command: &[&str]) -> String {
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        mask(&command).join(" ")
    }

    #[test]
    fn what_is_recognisable_is_masked() {
        for (command, expected) in [
            (&["curl", "-u", "root:hunter2", "http://x"][..], "curl -u root:*** http://x"),
            (&["curl", "-uroot:hunter2"], "curl -uroot:***"),
            (
                &["curl", "--user=root:hunter2", "--proxy-user", "p:q"],
                "curl --user=root:*** --proxy-user p:***",
            ),
            (&["curl", "https://bob:hunter2@box.lan/x?y#z"], "curl https://***@box.lan/x?y#z"),
            (&["git", "clone", "https://ghp_abc@github.com/x/y"], "git clone https://***@github.com/x/y"),
            (&["pg_dump", "postgres://bob:p/w@box:5432/db"], "pg_dump postgres://***@box:5432/db"),
            (&["curl", "https://x/?a=1&access_token=abc&b=2"], "curl https://x/?a=1&access_token=***&b=2"),
            (&["env", "PGPASSWORD=a;b,c", "psql"], "env PGPASSWORD=*** psql"),
            (
                &["env", "AWS_SECRET_ACCESS_KEY=x", "DB_PWD=y", "GH_TOKEN=z", "MY_CREDENTIALS=k"],
                "env AWS_SECRET_ACCESS_KEY=*** DB_PWD=*** GH_TOKEN=*** MY_CREDENTIALS=***",
            ),
            (&["psql", "host=x password=hunter2 dbname=y"], "psql host=x password=*** dbname=y"),
            (&["x", "--password", "hunter2", "-v"], "x --password *** -v"),
            (
                &["x", "--token=abc", "--api-key", "k", "--db-password=p"],
                "x --token=*** --api-key *** --db-password=***",
            ),
            (
                &["java", "-Djavax.net.ssl.keyStorePassword=changeit"],
                "java -Djavax.net.ssl.keyStorePassword=***",
            ),
            (&["sudo", "mysqldump", "-uroot", "-phunter2", "db"], "sudo mysqldump -uroot -p*** db"),
            (&["/usr/bin/mariadb", "-p", "db"], "/usr/bin/mariadb -p db"),
            (&["sshpass", "-p", "hunter2", "ssh", "-p", "22", "x"], "sshpass -p *** ssh -p *** x"),
            (
                &["sh", "-c", "PGPASSWORD=hunter2 psql && mysql -phunter2 db"],
                "sh -c PGPASSWORD=*** psql && mysql -p*** db",
            ),
            (
                &["sh", "-c", "curl --token \"a b\" -u me:x http://me:y@z"],
                "sh -c curl --token *** -u me:*** http://***@z",
            ),
            (&["curl", "-H", "Authorization: Bearer abc.def"], "curl -H Authorization: Bearer ***"),
            (&["curl", "-H", "X-Api-Key: abc"], "curl -H X-Api-Key: ***"),
            (
                &["curl", "-d", r#"{"user":"me","password": "hunter 2"}"#],
                r#"curl -d {"user":"me","password": ***}"#,
            ),
            (&["openssl", "enc", "-pass", "pass:hunter2"], "openssl enc -pass ***"),
            (&["openssl", "rsa", "-passin", "pass:hunter2"], "openssl rsa -passin pass:***"),
            (&["smbclient", "-U", "bob%hunter2", "//x/y"], "smbclient -U bob%*** //x/y"),
        ] {
            assert_eq!(masked(command), expected);
        }
    }

    #[test]
    fn what_is_none_stays() {
        for command in [
            &["rsync", "-a", "/srv/", "box:/backup/"][..],
            &["ssh", "-p", "22", "git@box.lan"],
            &["git", "clone", "ssh://git@box.lan:22/x/y"],
            &["docker", "run", "-u", "1000:1000", "-p", "80:80", "nginx"],
            &["psql", "--no-password", "-U", "bob", "db"],
            &["x", "--password-file", "/run/secret", "--passphrase-fd", "3"],
            &["echo", "at 10:00, see https://box.lan:8443/a:b@c"],
            &["tar", "-czpf", "x.tgz", "."],
            &["mkdir", "-p", "mysql"],
            &["mail", "me@example.org"],
        ] {
            assert_eq!(masked(command), command.join(" "));
        }
    }

    proptest! {
        #[test]
        fn a_secret_is_never_seen_where_its_place_says_so(secret in "[a-zA-Z0-9!$%^*()+.,;:@/_-]{6,20}") {
            prop_assume!(!MASK.contains(&secret));
            for command in [
                vec!["x".to_owned(), format!("DB_PASSWORD={secret}")],
                vec!["x".to_owned(), format!("--password={secret}")],
                vec!["x".to_owned(), "--token".to_owned(), secret.clone()],
                vec!["curl".to_owned(), "-u".to_owned(), format!("root:{secret}")],
                vec!["mysql".to_owned(), format!("-p{secret}")],
                vec!["sh".to_owned(), "-c".to_owned(), format!("SECRET={secret} x")],
                vec!["psql".to_owned(), format!("host=x password={secret} user=y")],
            ] {
                prop_assert!(!mask(&command).join(" ").contains(&secret), "{command:?}");
            }
        }

        #[test]
        fn any_command_is_read_without_panic(command in proptest::collection::vec(any::<String>(), 0..5)) {
            prop_assert_eq!(mask(&command).len(), command.len());
        }

        #[test]
        fn any_text_that_looks_like_arguments_is_read_without_panic(text in "[-=:@/?&%'\"a-z A-ZéßpuU.]{0,60}") {
            let _ = mask(&[text]);
        }
    }
}
