//! Recognising who is calling.
//!
//! A session's cookie and a bearer token are 32 random bytes; only their SHA-256 is stored. A recognised
//! one is remembered for a few seconds, so that a busy reporter costs no query a call; what this server
//! revokes is forgotten at once, what the command line revokes after [`REMEMBERED`].

use std::collections::{BTreeSet, HashMap};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Argon2, PasswordHash};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::accounts::{check_name, is_bootstrap};
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
/// The most names whose attempts are counted. Each took a hash of a password, of which five minutes hold
/// fewer: nobody comes by new guesses at a name by having it crowded out with others.
const MOST_COUNTED: usize = 100_000;
/// The fewest characters of a password.
const MIN_PASSWORD_CHARS: usize = 10;
/// The most bytes of a password: argon2 would take more, an attacker would gladly send more.
const MAX_PASSWORD_BYTES: usize = 1_024;
/// How long a sign-in link is good.
const LINK_LASTS: Duration = Duration::from_secs(24 * 3600);

/// Hashing a password takes a core and 19 MiB for a moment: two at a time, and about a second's worth in
/// the queue.
static HASHING: HashQueue = HashQueue::new(2, 64);
/// When to come again who found the queue full.
const QUEUE_SECONDS: u64 = 2;

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

/// Attempts to sign in, by name. One counts from the moment it is made, or as many as arrive while a
/// password is hashed would all be let through; it is taken back where it was no wrong password.
#[derive(Default)]
pub(super) struct Attempts(Mutex<Counted>);

/// By the hash of the name, which has the same few bytes whatever was sent.
#[derive(Default)]
struct Counted {
    /// How many there were, and until when they count.
    names: HashMap<[u8; 32], (u32, Timestamp)>,
    /// The names in the order in which they are forgotten.
    order: BTreeSet<(Timestamp, [u8; 32])>,
}

impl Counted {
    /// Returns how many attempts were counted, and until when.
    fn remove(&mut self, name: &[u8; 32]) -> Option<(u32, Timestamp)> {
        let (count, until) = self.names.remove(name)?;
        self.order.remove(&(until, *name));
        Some((count, until))
    }

    fn insert(&mut self, name: [u8; 32], count: u32, until: Timestamp) {
        if self.names.len() >= MOST_COUNTED
            && let Some((_, oldest)) = self.order.first().copied()
        {
            self.remove(&oldest);
        }
        self.names.insert(name, (count, until));
        self.order.insert((until, name));
    }

    fn forget_expired(&mut self, now: Timestamp) {
        while let Some((_, name)) = self.order.first().filter(|(until, _)| *until <= now).copied() {
            self.remove(&name);
        }
    }
}

impl Attempts {
    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an attempt. Refused where there were too many.
    fn begin(&self, name: &str, now: Timestamp) -> Result<(), ServiceError> {
        let name = hash_of(name);
        let mut counted = self.counted();
        counted.forget_expired(now);
        let before = match counted.names.get(&name) {
            Some((count, until)) if *count >= MOST_ATTEMPTS => {
                return Err(ServiceError::TooManyAttempts { seconds: until.since(now).as_secs().max(1) });
            }
            _ => counted.remove(&name).map_or(0, |(count, _)| count),
        };
        counted.insert(name, before + 1, now.plus(ATTEMPTS_WITHIN));
        Ok(())
    }

    /// An attempt came to nothing: no password was compared.
    fn take_back(&self, name: &str) {
        let name = hash_of(name);
        let mut counted = self.counted();
        if let Some((count, until)) = counted.remove(&name).filter(|(count, _)| *count > 1) {
            counted.insert(name, count - 1, until);
        }
    }

    fn succeeded(&self, name: &str) {
        self.counted().remove(&hash_of(name));
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

/// Who hashes a password, and who waits to.
struct HashQueue {
    turns: Semaphore,
    places: Semaphore,
}

impl HashQueue {
    const fn new(at_once: usize, waiting: usize) -> Self {
        Self { turns: Semaphore::const_new(at_once), places: Semaphore::const_new(at_once + waiting) }
    }

    /// Does the work when its turn comes. Refused where too many wait already: a queue without an end
    /// would let guesses keep everybody out.
    async fn run<T: Send + 'static>(
        &'static self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ServiceError> {
        let failed =
            |what: String| ServiceError::Unavailable(format!("A password could not be checked: {what}"));
        let place = self
            .places
            .try_acquire()
            .map_err(|_| ServiceError::TooManyAttempts { seconds: QUEUE_SECONDS })?;
        let turn = self.turns.acquire().await.map_err(|error| failed(error.to_string()))?;
        // Work goes on when whoever asked for it hangs up, so the turn ends with the work.
        let work = move || {
            let _held = (place, turn);
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| failed(error.to_string()))
    }
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
    HASHING
        .run(move || Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string()))
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
        && HASHING
            .run(move || {
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
        // What no user has as a name or a password needs no comparing, and is not worth remembering.
        let Ok(name) = check_name(name) else { return Err(ServiceError::WrongPassword) };
        if password.len() > MAX_PASSWORD_BYTES {
            return Err(ServiceError::WrongPassword);
        }
        self.attempts.begin(&name, self.now())?;
        match self.whose_password(&name, password).await {
            Ok(Some(user)) => {
                self.attempts.succeeded(&name);
                self.new_session(&user).await
            }
            Ok(None) => Err(ServiceError::WrongPassword),
            Err(error) => {
                self.attempts.take_back(&name);
                Err(error)
            }
        }
    }

    async fn whose_password(&self, name: &str, password: String) -> Result<Option<UserRecord>, ServiceError> {
        whose_is(self.accounts.user(name).await?, password).await
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
        // Whoever has no link gets nothing hashed.
        self.link_user(link).await?;
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

    /// The first start: makes the user `admin` and a one-time link, unless somebody can already come in
    /// as an admin, be it with the bootstrap token. Returns the link's secret.
    pub async fn first_link(&self) -> Result<Option<String>, ServiceError> {
        let users = self.accounts.users().await?;
        if users.iter().any(|user| user.role == Role::Admin && user.password.is_some()) {
            return Ok(None);
        }
        if self.accounts.tokens().await?.iter().any(is_bootstrap) {
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

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    #[test]
    fn attempts_count_from_when_they_are_made_until_they_are_taken_back() {
        let attempts = Attempts::default();
        for _ in 0..MOST_ATTEMPTS {
            attempts.begin("anna", NOW).unwrap();
        }
        assert_eq!(attempts.begin("anna", NOW), Err(ServiceError::TooManyAttempts { seconds: 300 }));
        attempts.take_back("anna");
        attempts.begin("anna", NOW).unwrap();
        assert!(attempts.begin("anna", NOW).is_err());
        attempts.succeeded("anna");
        attempts.begin("anna", NOW).unwrap();
        attempts.take_back("anna");
        attempts.take_back("anna");
        assert!(attempts.counted().names.is_empty() && attempts.counted().order.is_empty());
    }

    #[test]
    fn names_are_forgotten_in_the_order_in_which_they_expire() {
        let attempts = Attempts::default();
        let later = NOW.plus(Duration::from_secs(60));
        for name in ["anna", "otto"] {
            attempts.begin(name, NOW).unwrap();
        }
        attempts.begin("anna", later).unwrap();
        attempts.begin("ida", NOW.plus(ATTEMPTS_WITHIN)).unwrap();
        let counted = attempts.counted();
        assert_eq!(counted.names[&hash_of("anna")], (2, later.plus(ATTEMPTS_WITHIN)));
        assert!(!counted.names.contains_key(&hash_of("otto")));
        assert_eq!((counted.names.len(), counted.order.len()), (2, 2));
    }

    #[test]
    fn no_more_names_are_counted_than_there_is_room_for() {
        let attempts = Attempts::default();
        for number in 0..MOST_COUNTED + 10 {
            attempts.begin(&number.to_string(), NOW.plus(Duration::from_millis(number as u64))).unwrap();
        }
        let counted = attempts.counted();
        assert_eq!((counted.names.len(), counted.order.len()), (MOST_COUNTED, MOST_COUNTED));
        assert!(!counted.names.contains_key(&hash_of("9")), "the oldest go");
        assert!(counted.names.contains_key(&hash_of("10")));
    }

    #[tokio::test]
    async fn the_queue_has_an_end_and_a_turn_lasts_as_long_as_its_work() {
        static QUEUE: HashQueue = HashQueue::new(1, 1);
        let (start, started) = std::sync::mpsc::channel::<()>();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let first = tokio::spawn(QUEUE.run(move || {
            let _ = start.send(());
            let _ = released.recv();
        }));
        while started.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
        // Whoever asked hangs up. The work goes on, and nobody else's begins.
        first.abort();
        assert!(first.await.is_err());
        let second = tokio::spawn(QUEUE.run(|| 2));
        while QUEUE.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = Err(ServiceError::TooManyAttempts { seconds: QUEUE_SECONDS });
        assert_eq!(QUEUE.run(|| 3).await, refused);
        assert!(!second.is_finished());
        release.send(()).unwrap();
        assert_eq!(second.await.unwrap(), Ok(2));
        assert_eq!(QUEUE.run(|| 4).await, Ok(4));
    }
}
