//! Recognising who is calling.
//!
//! A session's cookie and a bearer token are 32 random bytes; only their SHA-256 is stored. A recognised
//! one is remembered for a few seconds, so that a busy reporter costs no query a call; what this server
//! revokes is forgotten at once, what the command line revokes after [`REMEMBERED`].

mod attempts;
mod credentials;
mod hashing;

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub use attempts::ATTEMPTS_WITHIN;
pub(super) use attempts::{AttemptFrom, Attempts};
pub use credentials::Credential;
pub(super) use credentials::CredentialCache;
use credentials::{Present, REMEMBERED};
pub(super) use hashing::{password_hash, whose_is};

use super::accounts::is_bootstrap;
use super::{Caller, Service, ServiceError, audit};
use crate::model::{Actor, Author, MAX_PASSWORD_BYTES, Role, Timestamp, shorten};
use crate::store::{
    AccountChange, AccountRefusal, By, ChangeError, Grounds, LinkRecord, SessionRecord, UserRecord,
};

/// Of what a browser calls itself so many characters are kept.
const AGENT_CHARS: usize = 200;

/// Who knocks: what a request shows beside a name and a password.
#[derive(Clone, Debug, Default)]
pub struct Knock {
    /// From which address.
    pub address: Option<IpAddr>,
    /// What the browser calls itself.
    pub agent: String,
    /// What it shows of having been signed in before.
    pub device: Option<String>,
    /// The session that it is in, which ends when another begins.
    pub session: Vec<String>,
}

/// The values of a new session's cookies. Shown once.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionSecret {
    /// The session's.
    pub secret: String,
    /// How long it lasts.
    pub lasts: Duration,
    /// The device's, by which it is known again.
    pub device: String,
}

/// 32 random bytes, written so that they fit a cookie, a header and a URL.
pub(super) fn new_secret() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// What is stored of a secret.
pub(super) fn hash_of(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// The secret of a link, without what a chat program or a sentence put around it.
fn secret_in(link: &str) -> &str {
    let link = link.trim();
    let end = link.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_')));
    &link[..end.unwrap_or(link.len())]
}

/// A name as somebody may have it, by older rules too. Nothing else can be a user's, so a sign-in asks no
/// further.
pub(super) fn plausible_name(name: &str) -> Option<String> {
    let name = Author::new(name).ok()?.into_string();
    (!name.chars().any(char::is_control)).then_some(name)
}

impl Service {
    fn present(&self) -> Present {
        Present { wall: self.clock.now(), steady: self.clock.steady() }
    }

    /// Who holds a credential, where it was recognised a moment ago.
    pub fn remembered(&self, credential: &Credential) -> Option<Caller> {
        let now = self.present();
        credential.names().find_map(|name| self.credentials.get(&name, now, REMEMBERED))
    }

    /// Who holds a credential.
    pub async fn recognise(&self, credential: &Credential) -> Result<Caller, ServiceError> {
        self.recognise_within(credential, REMEMBERED).await
    }

    /// Who holds a credential, as it was no longer ago than that.
    pub async fn recognise_within(
        &self,
        credential: &Credential,
        within: Duration,
    ) -> Result<Caller, ServiceError> {
        for name in credential.names() {
            let now = self.present();
            if let Some(caller) = self.credentials.get(&name, now, within) {
                return Ok(caller);
            }
            let asked = self.credentials.ask();
            let Some((caller, expires)) = self.holder(name, now.wall).await? else { continue };
            self.credentials.put(asked, name, caller.clone(), now, expires);
            return Ok(caller);
        }
        Err(ServiceError::Unauthenticated)
    }

    /// The holder of a session or a token that is good now, and until when it is.
    async fn holder(
        &self,
        (session, credential): credentials::Recognised,
        now: Timestamp,
    ) -> Result<Option<(Caller, Option<Timestamp>)>, ServiceError> {
        Ok(if session {
            let found = self.accounts.session(&credential).await?;
            found.filter(|(session, _)| session.is_good(now)).map(|(session, user)| {
                let (actor, account) = (Actor::user(user.name), Some(user.id));
                let caller =
                    Caller { actor, role: user.role, act_as: false, account, credential, from: None };
                (caller, Some(session.expires_at))
            })
        } else {
            let found = self.accounts.token(&credential).await?;
            found.filter(|token| token.is_good(now)).map(|token| {
                let (actor, act_as) = (Actor::token(token.name), token.act_as);
                let caller =
                    Caller { actor, role: token.role, act_as, account: None, credential, from: None };
                (caller, token.expires_at)
            })
        })
    }

    /// Signs somebody in with a password.
    pub async fn sign_in(
        &self,
        name: &str,
        password: String,
        knock: &Knock,
    ) -> Result<SessionSecret, ServiceError> {
        // A name or a password that no user can have is neither compared nor counted.
        let name = plausible_name(name).filter(|_| password.len() <= MAX_PASSWORD_BYTES);
        let Some(name) = name else {
            audit::sign_in_failed(None, knock.address);
            return Err(ServiceError::WrongPassword);
        };
        let user = self.accounts.user(&name).await?;
        let known = user.as_ref().map(|user| user.name.clone());
        let place = self.place_of(user.as_ref(), knock).await?;
        let last = match self.attempts.begin(&name, place, self.clock.steady()) {
            Ok(last) => last,
            Err(error) => {
                audit::turned_away(known.as_deref(), knock.address);
                return Err(error);
            }
        };
        match whose_is(user, password, place).await {
            Ok(Some(user)) => {
                self.attempts.succeeded(&name, place);
                self.enter(&user, knock, "by password").await?.ok_or(ServiceError::WrongPassword)
            }
            Ok(None) => {
                audit::sign_in_failed(known.as_deref(), knock.address);
                if last {
                    let minutes = attempts::ATTEMPTS_WITHIN.as_secs() / 60;
                    audit::locked_out(known.as_deref(), knock.address, minutes);
                }
                Err(ServiceError::WrongPassword)
            }
            Err(error) => {
                self.attempts.take_back(&name, place);
                Err(error)
            }
        }
    }

    /// Where guesses are counted: with a device of the user's, or with the address.
    async fn place_of(&self, user: Option<&UserRecord>, knock: &Knock) -> Result<AttemptFrom, ServiceError> {
        let Some(device) = knock.device.as_deref().map(hash_of) else {
            return Ok(AttemptFrom::of(knock.address));
        };
        // Asked for whether there is such a user or not: it takes as long.
        let account = user.map_or(Uuid::nil(), |user| user.id);
        let known = self.accounts.has_device(&device, account).await?;
        Ok(if known { AttemptFrom::Device(device) } else { AttemptFrom::of(knock.address) })
    }

    /// Begins a session, and ends the one that the browser was in. `None` where the user has changed since.
    pub(super) async fn enter(
        &self,
        user: &UserRecord,
        knock: &Knock,
        how: &'static str,
    ) -> Result<Option<SessionSecret>, ServiceError> {
        let (secret, now, lasts) = (new_secret(), self.now(), self.settings.session_lasts);
        let session = SessionRecord {
            hash: hash_of(&secret),
            account: user.id,
            password_number: user.password_number,
            created_at: now,
            expires_at: now.plus(lasts),
            address: knock.address.map(|address| address.to_canonical().to_string()).unwrap_or_default(),
            agent: shorten(&knock.agent, AGENT_CHARS).into_owned(),
        };
        if !self.accounts.add_session(session).await? {
            return Ok(None);
        }
        for old in &knock.session {
            self.accounts.remove_session(&hash_of(old)).await?;
            self.credentials.forget();
        }
        let device = knock.device.clone().unwrap_or_else(new_secret);
        self.accounts.put_device(hash_of(&device), user.id, now).await?;
        audit::signed_in(&user.name, knock.address, how);
        Ok(Some(SessionSecret { secret, lasts, device }))
    }

    /// Ends the sessions of a browser's cookies.
    pub async fn sign_out(&self, cookies: &[String], from: Option<IpAddr>) -> Result<(), ServiceError> {
        for cookie in cookies {
            let hash = hash_of(cookie);
            let session = self.accounts.session(&hash).await?;
            self.accounts.remove_session(&hash).await?;
            self.credentials.forget();
            if let Some((_, user)) = session {
                audit::signed_out(&user.name, from);
            }
        }
        Ok(())
    }

    /// Whose one-time link it is, while it is good. Does not use it up.
    pub async fn link_user(&self, link: &str) -> Result<String, ServiceError> {
        let user = self.accounts.link(&hash_of(secret_in(link)), self.now()).await?;
        user.map(|user| user.name).ok_or(ServiceError::LinkExpired)
    }

    /// Uses a one-time link up: sets the password, ends other sessions and links, signs in.
    pub async fn sign_in_with_link(
        &self,
        link: &str,
        password: String,
        knock: &Knock,
    ) -> Result<SessionSecret, ServiceError> {
        let expired = || {
            audit::link_failed(knock.address);
            ServiceError::LinkExpired
        };
        // Whoever has no link gets nothing hashed.
        let hash = hash_of(secret_in(link));
        self.accounts.link(&hash, self.now()).await?.ok_or_else(expired)?;
        // Before the link is spent on a password that is too short.
        let password = password_hash(password, AttemptFrom::of(knock.address)).await?;
        let grounds = Grounds::Link { hash, now: self.now() };
        let user = self.accounts.set_password(password, grounds).await?.ok_or_else(expired)?;
        self.credentials.forget();
        audit::password_set(&user.name, knock.address, "by link");
        self.enter(&user, knock, "by link").await?.ok_or(ServiceError::LinkExpired)
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
            let admin = UserRecord::new("admin", Role::Admin, self.now());
            match self.accounts.change(AccountChange::AddUser(admin), By::Owner).await {
                // Another server of the same database was faster.
                Ok(()) | Err(ChangeError::Refused(AccountRefusal::Taken { .. })) => {}
                Err(error) => return Err(error.into()),
            }
        }
        super::accounts::make_link(&*self.accounts, "admin", self.now()).await.map(Some)
    }
}

/// A new link for a user, and its secret.
pub(super) fn new_link(account: Uuid, now: Timestamp) -> (LinkRecord, String) {
    let secret = new_secret();
    (LinkRecord { hash: hash_of(&secret), account, expires_at: now.plus(LinkRecord::LASTS) }, secret)
}
