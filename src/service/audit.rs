//! Who was let in, shut out, made or changed: a line in the log each, with who did it and from where.
//!
//! No line has a secret in it: of a failed sign-in the name is told only where there is such a user, for
//! people type their password into the wrong field.

use std::fmt;
use std::net::IpAddr;

use crate::model::{Role, visible};

use super::Caller;

/// Where somebody comes from, as it is told.
pub struct From(pub Option<IpAddr>);

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.to_canonical().fmt(f),
            None => f.write_str("here"),
        }
    }
}

/// Who did something: the holder of a credential, or whoever holds the database; and from where.
fn actor(by: Option<&Caller>) -> (String, From) {
    let Some(caller) = by else { return ("the owner of the database".to_owned(), From(None)) };
    (shown(&caller.owner()), From(caller.from))
}

fn shown(name: &str) -> String {
    visible(name, false).into_owned()
}

/// Somebody signed in.
pub fn signed_in(user: &str, from: Option<IpAddr>, how: &'static str) {
    tracing::info!(user = %shown(user), from = %From(from), how, "Signed in");
}

/// Somebody signed out.
pub fn signed_out(user: &str, from: Option<IpAddr>) {
    tracing::info!(user = %shown(user), from = %From(from), "Signed out");
}

/// A sign-in failed.
pub fn sign_in_failed(user: Option<&str>, from: Option<IpAddr>) {
    match user {
        Some(user) => {
            tracing::warn!(user = %shown(user), from = %From(from), "A sign-in failed: wrong password");
        }
        None => tracing::warn!(from = %From(from), "A sign-in failed: no such user"),
    }
}

/// A link was shown that is none, or no more.
pub fn link_failed(from: Option<IpAddr>) {
    tracing::warn!(from = %From(from), "A sign-in failed: the link is used, expired or none");
}

/// So many sign-ins failed that the next must wait.
pub fn locked_out(user: Option<&str>, from: Option<IpAddr>, minutes: u64) {
    let user = user.map_or_else(|| "(no such user)".to_owned(), shown);
    tracing::warn!(user = %user, from = %From(from), minutes, "Locked out after too many wrong passwords");
}

/// Somebody who is locked out tried again.
pub fn turned_away(user: Option<&str>, from: Option<IpAddr>) {
    let user = user.map_or_else(|| "(no such user)".to_owned(), shown);
    tracing::debug!(user = %user, from = %From(from), "A sign-in was turned away: locked out");
}

/// A user was added.
pub fn user_added(by: Option<&Caller>, name: &str, role: Role) {
    let (by, from) = actor(by);
    tracing::info!(user = %shown(name), role = role.name(), by, %from, "User added");
}

/// A user was removed.
pub fn user_removed(by: Option<&Caller>, name: &str) {
    let (by, from) = actor(by);
    tracing::info!(user = %shown(name), by, %from, "User removed");
}

/// A user has another role.
pub fn role_changed(by: Option<&Caller>, name: &str, before: Role, role: Role) {
    let (by, from) = actor(by);
    tracing::info!(
        user = %shown(name), before = before.name(), role = role.name(), by, %from,
        "Role changed"
    );
}

/// A user has another password.
pub fn password_set(name: &str, from: Option<IpAddr>, how: &'static str) {
    tracing::info!(user = %shown(name), how, from = %From(from), "Password set; all other sessions ended");
}

/// A one-time link was made.
pub fn link_made(by: Option<&Caller>, name: &str) {
    let (by, from) = actor(by);
    tracing::info!(user = %shown(name), by, %from, "Sign-in link made");
}

/// A token was made.
pub fn token_made(by: Option<&Caller>, name: &str, role: Role, act_as: bool) {
    let (by, from) = actor(by);
    tracing::info!(
        token = %shown(name), role = role.name(), act_as, by, %from, "Token made"
    );
}

/// A token was revoked.
pub fn token_revoked(by: Option<&Caller>, name: &str) {
    let (by, from) = actor(by);
    tracing::info!(token = %shown(name), by, %from, "Token revoked");
}
