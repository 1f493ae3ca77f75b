//! Who may come in: users, their sessions, bearer tokens, one-time sign-in links.
//!
//! Nothing secret is stored: passwords as argon2 strings, everything else as the SHA-256 of 32 random
//! bytes, which nobody can guess and which therefore needs no slow hash.

use async_trait::async_trait;

use super::StoreError;
use crate::model::{Role, Timestamp};

/// A person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRecord {
    /// Unique, as typed at sign-in.
    pub name: String,
    /// What the person may do.
    pub role: Role,
    /// An argon2 string; `None` until the person has chosen a password.
    pub password: Option<String>,
    /// Since when.
    pub created_at: Timestamp,
}

/// A signed-in browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// The SHA-256 of the cookie's value.
    pub hash: [u8; 32],
    /// Whose.
    pub user: String,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when.
    pub expires_at: Timestamp,
}

/// A program's credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// Unique; the name its actions are recorded under.
    pub name: String,
    /// The SHA-256 of the token.
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

/// Where accounts live.
#[async_trait]
pub trait AccountStore: Send + Sync + 'static {
    /// A user by name.
    async fn user(&self, name: &str) -> Result<Option<UserRecord>, StoreError>;
    /// All users, by name.
    async fn users(&self) -> Result<Vec<UserRecord>, StoreError>;
    /// Adds a user, or replaces the one of that name.
    async fn put_user(&self, user: UserRecord) -> Result<(), StoreError>;
    /// Removes a user with all sessions. False where there was none.
    async fn remove_user(&self, name: &str) -> Result<bool, StoreError>;
    /// Adds a session.
    async fn add_session(&self, session: SessionRecord) -> Result<(), StoreError>;
    /// Forgets the sessions that expired before `before`. For when the clock is believed: what is forgotten does not
    /// come back with the right time.
    async fn forget_sessions(&self, before: Timestamp) -> Result<(), StoreError>;
    /// A session with its user, expired or not.
    async fn session(&self, hash: &[u8; 32]) -> Result<Option<(SessionRecord, UserRecord)>, StoreError>;
    /// Ends a session.
    async fn remove_session(&self, hash: &[u8; 32]) -> Result<(), StoreError>;
    /// Ends all sessions of a user.
    async fn remove_sessions_of(&self, user: &str) -> Result<(), StoreError>;
    /// Adds a token. False where the name is taken.
    async fn add_token(&self, token: TokenRecord) -> Result<bool, StoreError>;
    /// All tokens, by name.
    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError>;
    /// A token by its hash, expired or not.
    async fn token(&self, hash: &[u8; 32]) -> Result<Option<TokenRecord>, StoreError>;
    /// Removes a token. False where there was none.
    async fn remove_token(&self, name: &str) -> Result<bool, StoreError>;
    /// Adds a one-time sign-in link for a user.
    async fn add_link(&self, hash: [u8; 32], user: &str, expires_at: Timestamp) -> Result<(), StoreError>;
    /// Whose link it is, while it is good. Leaves it in place.
    async fn link(&self, hash: &[u8; 32], now: Timestamp) -> Result<Option<String>, StoreError>;
    /// Uses a link up. The user it signs in, where it was still good.
    async fn take_link(&self, hash: &[u8; 32], now: Timestamp) -> Result<Option<String>, StoreError>;
}
