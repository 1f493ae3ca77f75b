//! Recognising who is calling.
//!
//! A session's cookie and a bearer token are 32 random bytes; only their SHA-256 is stored. A recognised
//! one is remembered for a few seconds, so that a busy reporter costs no query a call; what this server
//! revokes is forgotten at once, what the command line revokes after [`REMEMBERED`].

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Argon2, PasswordHash};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::{Caller, Service, ServiceError};
use crate::model::{Actor, Invalid, Role, Timestamp};
use crate::store::{SessionRecord, UserRecord};

/// How long a recognised credential is remembered.
const REMEMBERED: Duration = Duration::from_secs(5);
/// How many are remembered.
const MOST_REMEMBERED: usize = 10_000;
/// So many wrong passwords for one name…
const MOST_ATTEMPTS: u32 = 10;
/// …within so long make the next wait.
const ATTEMPTS_WITHIN: Duration = Duration::from_secs(5 * 60);
/// The fewest characters of a password.
const MIN_PASSWORD_CHARS: usize = 10;
/// The most bytes of a password: argon2 would take more, an attacker would gladly send more.
const MAX_PASSWORD_BYTES: usize = 1_024;
/// How long a sign-in link is good.
const LINK_LASTS: Duration = Duration::from_secs(24 * 3600);

/// Hashing a password takes a core and 19 MiB for a moment; no more of that at a time than this.
static HASHING: Semaphore = Semaphore::const_new(2);

/// What a request shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A session's cookie.
    Session(String),
    /// A bearer token.
    Token(String),
}

impl Credential {
    fn name(&self) -> Recognised {
        let (Self::Session(secret) | Self::Token(secret)) = self;
        (matches!(self, Self::Session(_)), hash_of(secret))
    }
}

/// The value of a new session's cookie. Shown once.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionSecret {
    /// The cookie's value.
    pub secret: String,
    /// How long it lasts.
    pub lasts: Duration,
}

/// Names a recognised credential: whether it came as a cookie, and its hash. A token that is sent as a
/// cookie is no session, though it was good as a token a moment ago.
type Recognised = (bool, [u8; 32]);

/// Credentials that were recognised lately.
#[derive(Default)]
pub(super) struct CredentialCache(Mutex<HashMap<Recognised, (Caller, Timestamp)>>);

impl CredentialCache {
    fn map(&self) -> MutexGuard<'_, HashMap<Recognised, (Caller, Timestamp)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: &Recognised, now: Timestamp) -> Option<Caller> {
        self.map().get(key).filter(|(_, until)| *until > now).map(|(caller, _)| caller.clone())
    }

    fn put(&self, key: Recognised, caller: Caller, until: Timestamp) {
        let mut map = self.map();
        if map.len() >= MOST_REMEMBERED {
            map.clear();
        }
        map.insert(key, (caller, until));
    }

    pub(super) fn forget(&self) {
        self.map().clear();
    }
}

/// Wrong passwords, by name.
#[derive(Default)]
pub(super) struct Attempts(Mutex<HashMap<String, (u32, Timestamp)>>);

impl Attempts {
    fn check(&self, name: &str, now: Timestamp) -> Result<(), ServiceError> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match map.get(name) {
            Some((count, until)) if *count >= MOST_ATTEMPTS && *until > now => {
                Err(ServiceError::TooManyAttempts { seconds: until.since(now).as_secs().max(1) })
            }
            _ => Ok(()),
        }
    }

    fn failed(&self, name: &str, now: Timestamp) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.retain(|_, (_, until)| *until > now);
        let entry = map.entry(name.to_owned()).or_insert((0, now));
        entry.0 += 1;
        entry.1 = now.plus(ATTEMPTS_WITHIN);
    }

    fn succeeded(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

/// 32 random bytes, written so that they fit a cookie, a header and a URL.
pub(super) fn new_secret() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// What is stored of a secret.
pub(super) fn hash_of(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

async fn hashing<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ServiceError> {
    let failed = |what: String| ServiceError::Unavailable(format!("A password could not be checked: {what}"));
    let _turn = HASHING.acquire().await.map_err(|error| failed(error.to_string()))?;
    tokio::task::spawn_blocking(work).await.map_err(|error| failed(error.to_string()))
}

fn check_password(password: &str) -> Result<(), Invalid> {
    if password.chars().count() < MIN_PASSWORD_CHARS {
        return Err(Invalid::new("password", "must have at least 10 characters"));
    }
    if password.len() > MAX_PASSWORD_BYTES {
        return Err(Invalid::new("password", "must have at most 1024 bytes"));
    }
    Ok(())
}

/// A password as it is stored.
pub(super) async fn password_hash(password: String) -> Result<String, ServiceError> {
    check_password(&password)?;
    hashing(move || Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string()))
        .await?
        .map_err(|error| ServiceError::Unavailable(format!("A password could not be stored: {error}")))
}

/// A hash nobody has the password of, so that an unknown name takes as long as a wrong password.
static NOBODY: LazyLock<String> = LazyLock::new(|| {
    Argon2::default().hash_password(new_secret().as_bytes()).map(|hash| hash.to_string()).unwrap_or_default()
});

/// The user, where the password is theirs. Takes as long where there is no such user.
pub(super) async fn whose_is(
    user: Option<UserRecord>,
    password: String,
) -> Result<Option<UserRecord>, ServiceError> {
    let stored = user.as_ref().and_then(|user| user.password.clone());
    let known = stored.is_some();
    let matches = password.len() <= MAX_PASSWORD_BYTES
        && hashing(move || {
            let against = stored.unwrap_or_else(|| NOBODY.clone());
            PasswordHash::new(&against)
                .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
        })
        .await?;
    Ok(user.filter(|_| matches && known))
}

impl Service {
    /// Who holds a credential, where it was recognised a moment ago.
    pub fn remembered(&self, credential: &Credential) -> Option<Caller> {
        self.credentials.get(&credential.name(), self.now())
    }

    /// Who holds a credential.
    pub async fn recognise(&self, credential: &Credential) -> Result<Caller, ServiceError> {
        let now = self.now();
        let key = credential.name();
        if let Some(caller) = self.credentials.get(&key, now) {
            return Ok(caller);
        }
        let hash = key.1;
        let (caller, expires) = match credential {
            Credential::Session(_) => {
                let (session, user) =
                    self.accounts.session(&hash).await?.ok_or(ServiceError::Unauthenticated)?;
                let caller = Caller { actor: Actor::user(user.name), role: user.role, act_as: false };
                (caller, Some(session.expires_at))
            }
            Credential::Token(_) => {
                let token = self.accounts.token(&hash).await?.ok_or(ServiceError::Unauthenticated)?;
                let caller =
                    Caller { actor: Actor::token(token.name), role: token.role, act_as: token.act_as };
                (caller, token.expires_at)
            }
        };
        if expires.is_some_and(|at| at <= now) {
            return Err(ServiceError::Unauthenticated);
        }
        let until = now.plus(REMEMBERED);
        self.credentials.put(key, caller.clone(), expires.map_or(until, |at| at.min(until)));
        Ok(caller)
    }

    /// Signs somebody in with a password.
    pub async fn sign_in(&self, name: &str, password: String) -> Result<SessionSecret, ServiceError> {
        let name = name.trim();
        self.attempts.check(name, self.now())?;
        let user = self.accounts.user(name).await?;
        match whose_is(user, password).await? {
            Some(user) => {
                self.attempts.succeeded(name);
                self.new_session(&user).await
            }
            None => {
                self.attempts.failed(name, self.now());
                Err(ServiceError::WrongPassword)
            }
        }
    }

    async fn new_session(&self, user: &UserRecord) -> Result<SessionSecret, ServiceError> {
        let secret = new_secret();
        let now = self.now();
        let lasts = self.settings.session_lasts;
        let session = SessionRecord {
            hash: hash_of(&secret),
            user: user.name.clone(),
            created_at: now,
            expires_at: now.plus(lasts),
        };
        self.accounts.add_session(session).await?;
        tracing::info!(user = %user.name, "Signed in");
        Ok(SessionSecret { secret, lasts })
    }

    /// Ends the session of a cookie.
    pub async fn sign_out(&self, cookie: &str) -> Result<(), ServiceError> {
        self.accounts.remove_session(&hash_of(cookie)).await?;
        self.credentials.forget();
        Ok(())
    }

    /// Whose one-time link it is, while it is good. Does not use it up.
    pub async fn link_user(&self, link: &str) -> Result<String, ServiceError> {
        self.accounts.link(&hash_of(link), self.now()).await?.ok_or(ServiceError::LinkExpired)
    }

    /// Uses a one-time link up: sets the password, ends other sessions, signs in.
    pub async fn sign_in_with_link(
        &self,
        link: &str,
        password: String,
    ) -> Result<SessionSecret, ServiceError> {
        // Before the link is spent on a password that is too short.
        let password = password_hash(password).await?;
        let name =
            self.accounts.take_link(&hash_of(link), self.now()).await?.ok_or(ServiceError::LinkExpired)?;
        let user = self.accounts.user(&name).await?.ok_or(ServiceError::LinkExpired)?;
        let user = UserRecord { password: Some(password), ..user };
        self.accounts.put_user(user.clone()).await?;
        self.accounts.remove_sessions_of(&user.name).await?;
        self.credentials.forget();
        self.new_session(&user).await
    }

    /// The first start: makes the user `admin` and a one-time link, unless somebody can already sign in.
    /// Returns the link's secret.
    pub async fn first_link(&self) -> Result<Option<String>, ServiceError> {
        let users = self.accounts.users().await?;
        if users.iter().any(|user| user.role == Role::Admin && user.password.is_some()) {
            return Ok(None);
        }
        if !users.iter().any(|user| user.name == "admin") {
            let admin = UserRecord {
                name: "admin".to_owned(),
                role: Role::Admin,
                password: None,
                created_at: self.now(),
            };
            self.accounts.put_user(admin).await?;
        }
        let secret = new_secret();
        self.accounts.add_link(hash_of(&secret), "admin", self.now().plus(LINK_LASTS)).await?;
        Ok(Some(secret))
    }
}

/// How long a sign-in link is good, for those who make one.
pub(super) const fn link_lasts() -> Duration {
    LINK_LASTS
}
