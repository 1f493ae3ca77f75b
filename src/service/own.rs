//! What everybody does with their own account: see where it is signed in, sign out there, choose a password.

use uuid::Uuid;

use super::sign_in::{AttemptFrom, Knock, SessionSecret, password_hash, whose_is};
use super::{Caller, Service, ServiceError, audit};
use crate::model::Timestamp;
use crate::store::{Grounds, SessionRecord};

/// A browser in which one is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnSession {
    /// Names it. Not what it shows.
    pub id: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// From which address it began; empty where nobody knows.
    pub address: String,
    /// What the browser calls itself.
    pub agent: String,
    /// Whether it is this one.
    pub here: bool,
}

/// A name for a session: part of the stored hash of its secret, from which the secret cannot be found.
fn id_of(session: &SessionRecord) -> String {
    session.hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn account_of(caller: &Caller) -> Result<Uuid, ServiceError> {
    let none = || ServiceError::Conflict("A token belongs to no user, and has no password.".to_owned());
    caller.account.ok_or_else(none)
}

impl Service {
    /// Where the caller is signed in, the newest first.
    pub async fn own_sessions(&self, caller: &Caller) -> Result<Vec<OwnSession>, ServiceError> {
        let now = self.now();
        let sessions = self.accounts.sessions_of(account_of(caller)?).await?;
        let good = sessions.into_iter().filter(|session| session.is_good(now));
        Ok(good
            .map(|session| OwnSession {
                id: id_of(&session),
                since: session.created_at,
                until: session.expires_at,
                here: session.hash == caller.credential,
                address: session.address,
                agent: session.agent,
            })
            .collect())
    }

    /// Signs the caller out in one browser, or in all but this one.
    pub async fn end_own_sessions(&self, caller: &Caller, id: Option<&str>) -> Result<usize, ServiceError> {
        let sessions = self.accounts.sessions_of(account_of(caller)?).await?;
        let meant = |session: &&SessionRecord| match id {
            Some(id) => id_of(session) == id,
            None => session.hash != caller.credential,
        };
        let meant: Vec<&SessionRecord> = sessions.iter().filter(meant).collect();
        for session in &meant {
            self.accounts.remove_session(&session.hash).await?;
            audit::signed_out(&caller.actor.name, caller.from);
        }
        self.credentials.forget();
        Ok(meant.len())
    }

    /// Gives the caller another password, who shows the current one. Ends all sessions, and begins one here.
    pub async fn change_own_password(
        &self,
        caller: &Caller,
        current: String,
        password: String,
        knock: &Knock,
    ) -> Result<SessionSecret, ServiceError> {
        let (account, name) = (account_of(caller)?, caller.actor.name.as_str());
        // Counted for this session, so that somebody at a browser that was left signed in has no more guesses than anybody.
        let place = AttemptFrom::Device(caller.credential);
        self.attempts.begin(name, place, self.clock.steady())?;
        let user = self.accounts.user(name).await?.filter(|user| user.id == account);
        let shown = match whose_is(user, current, place).await {
            Ok(shown) => shown,
            Err(error) => {
                self.attempts.take_back(name, place);
                return Err(error);
            }
        };
        let Some(user) = shown else {
            audit::sign_in_failed(Some(name), caller.from);
            return Err(ServiceError::WrongPassword);
        };
        self.attempts.succeeded(name, place);
        let password = password_hash(password, place).await?;
        let grounds = Grounds::Current { account, password_number: user.password_number };
        let changed = self.accounts.set_password(password, grounds).await?;
        let user = changed.ok_or(ServiceError::WrongPassword)?;
        self.credentials.forget();
        audit::password_set(&user.name, caller.from, "by the user");
        self.enter(&user, knock, "with a new password").await?.ok_or(ServiceError::WrongPassword)
    }
}
