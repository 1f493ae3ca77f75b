//! Credentials that were recognised lately, so that a busy reporter costs no query a call.
//!
//! How long ago that was is measured by [`Clock::steady`](crate::clock::Clock::steady): a wall clock that is set
//! back would keep a credential that was revoked meanwhile.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::hash_of;
use crate::model::Timestamp;
use crate::service::Caller;

/// How long a recognised credential is remembered.
pub const REMEMBERED: Duration = Duration::from_secs(5);
/// How many are remembered.
const MOST_REMEMBERED: usize = 10_000;

/// What a request shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// What a browser sends under the name of the session's cookie: one value, or several where others
    /// have set cookies of the same name. One of them may be a session's.
    Session(Vec<String>),
    /// A bearer token.
    Token(String),
}

/// Names a recognised credential: whether it came as a cookie, and its hash. A token that is sent as a
/// cookie is no session, though it was good as a token a moment ago.
pub type Recognised = (bool, [u8; 32]);

impl Credential {
    pub(super) fn names(&self) -> impl Iterator<Item = Recognised> + '_ {
        let (session, secrets) = match self {
            Self::Session(values) => (true, values.as_slice()),
            Self::Token(token) => (false, std::slice::from_ref(token)),
        };
        secrets.iter().map(move |secret| (session, hash_of(secret)))
    }
}

struct RecognisedCaller {
    caller: Caller,
    since: Duration,
    /// Where it ends by itself.
    expires: Option<Timestamp>,
}

/// What the clocks show.
#[derive(Clone, Copy)]
pub struct Present {
    /// The one on the wall, by which credentials end.
    pub wall: Timestamp,
    /// The stopwatch.
    pub steady: Duration,
}

/// Credentials that were recognised lately.
#[derive(Default)]
pub struct CredentialCache(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    known: HashMap<Recognised, RecognisedCaller>,
    /// Rises when all is forgotten.
    forgotten: u64,
}

/// When an answer was asked for that is to be remembered.
#[derive(Clone, Copy)]
pub struct Asked(u64);

impl CredentialCache {
    fn all(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever was recognised by it no longer ago than that.
    pub fn get(&self, name: &Recognised, now: Present, within: Duration) -> Option<Caller> {
        let all = self.all();
        let known = all.known.get(name)?;
        let fresh =
            now.steady.saturating_sub(known.since) < within && known.expires.is_none_or(|at| at > now.wall);
        fresh.then(|| known.caller.clone())
    }

    /// Before the store is asked.
    pub fn ask(&self) -> Asked {
        Asked(self.all().forgotten)
    }

    /// Remembers an answer, unless something was revoked since it was asked for: it may be from before.
    pub fn put(
        &self,
        asked: Asked,
        name: Recognised,
        caller: Caller,
        now: Present,
        expires: Option<Timestamp>,
    ) {
        let mut all = self.all();
        if all.forgotten != asked.0 {
            return;
        }
        if all.known.len() >= MOST_REMEMBERED {
            all.known.clear();
        }
        all.known.insert(name, RecognisedCaller { caller, since: now.steady, expires });
    }

    /// Something was revoked.
    pub fn forget(&self) {
        let mut all = self.all();
        all.known.clear();
        all.forgotten += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Actor, Role};

    #[test]
    fn an_answer_from_before_a_revocation_is_not_remembered() {
        let (cache, wall) = (CredentialCache::default(), Timestamp(1_000_000));
        let at = |seconds: u64| Present { wall, steady: Duration::from_secs(seconds) };
        let now = at(10);
        let caller = Caller {
            actor: Actor::user("anna"),
            role: Role::Viewer,
            act_as: false,
            account: None,
            credential: [1; 32],
            from: None,
        };
        let name = (true, [1; 32]);
        let asked = cache.ask();
        cache.forget();
        cache.put(asked, name, caller.clone(), now, None);
        assert_eq!(cache.get(&name, now, REMEMBERED), None);
        cache.put(cache.ask(), name, caller.clone(), now, None);
        assert_eq!(cache.get(&name, now, REMEMBERED), Some(caller.clone()));
        assert!(cache.get(&name, at(12), REMEMBERED).is_some());
        assert_eq!(cache.get(&name, at(12), Duration::from_secs(1)), None, "not fresh enough");
        assert_eq!(cache.get(&name, at(15), REMEMBERED), None);
        let back = Present { wall: Timestamp(1), ..at(15) };
        assert_eq!(
            cache.get(&name, back, REMEMBERED),
            None,
            "a clock that is set back remembers nothing longer"
        );
        cache.put(cache.ask(), name, caller, now, Some(wall.plus(Duration::from_secs(1))));
        assert!(cache.get(&name, now, REMEMBERED).is_some());
        let ended = Present { wall: wall.plus(Duration::from_secs(1)), ..now };
        assert_eq!(cache.get(&name, ended, REMEMBERED), None, "it has ended by itself");
    }
}
