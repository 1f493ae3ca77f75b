//! Who may come in: users, their sessions, bearer tokens, one-time sign-in links.
//!
//! Nothing secret is stored: passwords as argon2 strings, everything else as the SHA-256 of 32 random
//! bytes, which nobody can guess and which therefore needs no slow hash.
//!
//! An account is its id, not its name: what was given to a user who was removed is worth nothing to one
//! who is made later under the same name. A user's passwords are numbered; sessions and links carry the
//! number they were made under and are void under the next, so that none made at the same moment as a
//! change of password outlives it. Every change is one transaction, in which the rules ([`decide`]) see the
//! accounts as they stand, and whoever makes it is still somebody who may.

mod rules;

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::StoreError;
use crate::model::{Role, Timestamp};

pub use rules::{ACCOUNT_NAME_PATTERN, AccountRefusal, check_account_name};
pub(super) use rules::{Standing, decide};

/// A person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRecord {
    /// Never given twice.
    pub id: Uuid,
    /// Unique, as typed at sign-in.
    pub name: String,
    /// What the person may do.
    pub role: Role,
    /// An argon2 string; `None` until the person has chosen a password.
    pub password: Option<String>,
    /// Rises with each password.
    pub password_number: i64,
    /// Since when.
    pub created_at: Timestamp,
}

impl UserRecord {
    /// Somebody new, without a password.
    pub fn new(name: impl Into<String>, role: Role, now: Timestamp) -> Self {
        Self {
            id: Uuid::new_v4(),
            name: name.into(),
            role,
            password: None,
            password_number: 0,
            created_at: now,
        }
    }
}

/// A signed-in browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// The SHA-256 of the cookie's value.
    pub hash: [u8; 32],
    /// Whose.
    pub account: Uuid,
    /// Which of the account's passwords it was made under.
    pub password_number: i64,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when.
    pub expires_at: Timestamp,
    /// From which address it was made.
    pub address: String,
    /// What the browser calls itself.
    pub agent: String,
}

/// A session, a link or a token with an end may have been made so long after the present at most, for clocks differ
/// and are corrected. One that is dated later was made by a clock that was far ahead and has been set back since: it
/// would be good for as long as that clock was ahead, so it is not good at all. It is not forgotten, and is good again
/// should that clock have been right.
pub(super) const MOST_AHEAD: Duration = Duration::from_secs(24 * 3600);

fn was_made(at: Timestamp, now: Timestamp) -> bool {
    at <= now.plus(MOST_AHEAD)
}

impl SessionRecord {
    /// Whether it is good at that time.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.expires_at > now && was_made(self.created_at, now)
    }
}

/// A program's credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// Unique; the name its actions are recorded under.
    pub name: String,
    /// The SHA-256 of the token: what makes it this one and no other of the same name.
    pub hash: [u8; 32],
    /// What it may do.
    pub role: Role,
    /// Whether it may name another author than itself.
    pub act_as: bool,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when; `None` is until revoked.
    pub expires_at: Option<Timestamp>,
}

impl TokenRecord {
    /// Whether it is good at that time.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|at| at > now && was_made(self.created_at, now))
    }
}

/// A one-time sign-in link. A user has one at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkRecord {
    /// The SHA-256 of the link's secret.
    pub hash: [u8; 32],
    /// Whose.
    pub account: Uuid,
    /// Until when.
    pub expires_at: Timestamp,
}

impl LinkRecord {
    /// How long one is good.
    pub const LASTS: Duration = Duration::from_secs(24 * 3600);

    /// The latest end that a link can have which is good at that time.
    pub(super) fn latest_end(now: Timestamp) -> Timestamp {
        now.plus(MOST_AHEAD).plus(Self::LASTS)
    }
}

/// A change of what there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountChange {
    /// Adds a user.
    AddUser(UserRecord),
    /// Gives a user another role.
    SetRole {
        /// The user.
        account: Uuid,
        /// The role.
        role: Role,
    },
    /// Removes a user with all that was given to it.
    RemoveUser {
        /// The user.
        account: Uuid,
    },
    /// Adds a token.
    AddToken(TokenRecord),
    /// Removes a token, by its hash.
    RemoveToken {
        /// The token's.
        hash: [u8; 32],
    },
    /// Gives a user a one-time link in the place of any other.
    PutLink(LinkRecord),
}

/// Who makes a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Whoever holds the database.
    Owner,
    /// Whoever shows this credential, which must be an admin's while the change is made.
    Holder {
        /// The SHA-256 of a session's cookie or of a token.
        hash: [u8; 32],
        /// The time.
        now: Timestamp,
    },
}

/// Why a change was not made.
#[derive(Clone, Debug, PartialEq)]
pub enum ChangeError {
    /// The rules refuse it.
    Refused(AccountRefusal),
    /// The store cannot be used.
    Store(StoreError),
}

impl From<StoreError> for ChangeError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What entitles to set a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grounds {
    /// Holding the database.
    Owner {
        /// Whose password.
        account: Uuid,
    },
    /// Having shown the current password.
    Current {
        /// Whose password.
        account: Uuid,
        /// The number of the one that was shown.
        password_number: i64,
    },
    /// A one-time link, which is used up.
    Link {
        /// The SHA-256 of its secret.
        hash: [u8; 32],
        /// The time.
        now: Timestamp,
    },
}

/// The most devices that are known of one user; the one not seen for longest goes, and before it one that was seen by
/// a clock that has been set back.
pub(super) const MOST_DEVICES: i64 = 50;

/// Where accounts live.
#[async_trait]
pub trait AccountStore: Send + Sync + 'static {
    /// A user by name.
    async fn user(&self, name: &str) -> Result<Option<UserRecord>, StoreError>;
    /// All users, by name.
    async fn users(&self) -> Result<Vec<UserRecord>, StoreError>;
    /// Makes a change, if the rules allow it and whoever makes it still may.
    async fn change(&self, change: AccountChange, by: By) -> Result<(), ChangeError>;
    /// Sets a password and ends all sessions and links of the user, if the grounds still stand. Answers the
    /// user as it is then.
    async fn set_password(
        &self,
        password: String,
        grounds: Grounds,
    ) -> Result<Option<UserRecord>, StoreError>;
    /// Adds a session. False, and nothing is added, where the user is gone or has another password by now.
    async fn add_session(&self, session: SessionRecord) -> Result<bool, StoreError>;
    /// Forgets the sessions that expired before `before`. For when the clock is believed: what is forgotten does
    /// not come back with the right time.
    async fn forget_sessions(&self, before: Timestamp) -> Result<(), StoreError>;
    /// A session with its user, expired or not, as long as the user has the password it was made under.
    async fn session(&self, hash: &[u8; 32]) -> Result<Option<(SessionRecord, UserRecord)>, StoreError>;
    /// A user's sessions, the newest first, expired or not.
    async fn sessions_of(&self, account: Uuid) -> Result<Vec<SessionRecord>, StoreError>;
    /// Ends a session.
    async fn remove_session(&self, hash: &[u8; 32]) -> Result<(), StoreError>;
    /// All tokens, by name.
    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError>;
    /// A token by its hash, expired or not.
    async fn token(&self, hash: &[u8; 32]) -> Result<Option<TokenRecord>, StoreError>;
    /// Whose link it is, while it is good: it has not ended, and was not made by a clock that was far ahead. Leaves
    /// it in place.
    async fn link(&self, hash: &[u8; 32], now: Timestamp) -> Result<Option<UserRecord>, StoreError>;
    /// Notes that a user has signed in with a device, by the SHA-256 of what the device shows.
    async fn put_device(&self, hash: [u8; 32], account: Uuid, now: Timestamp) -> Result<(), StoreError>;
    /// Whether a user has signed in with a device.
    async fn has_device(&self, hash: &[u8; 32], account: Uuid) -> Result<bool, StoreError>;
}
