//! How often somebody may guess.
//!
//! Guesses are counted by the name *and* by where they come from, so that nobody shuts another out: not from
//! another address, and not a browser in which the user has signed in before, which is counted for itself.
//!
//! How long they count is measured by [`Clock::steady`](crate::clock::Clock::steady): a wall clock that is set back
//! would shut people out for as long as it was ahead.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::service::ServiceError;

/// So many wrong passwords for one name from one place…
pub const MOST_ATTEMPTS: u32 = 10;
/// …within so long make the next wait.
pub const ATTEMPTS_WITHIN: Duration = Duration::from_secs(5 * 60);
/// The most names whose attempts are counted. Each took a hash of a password, of which five minutes hold
/// fewer: nobody comes by new guesses at a name by having it crowded out with others.
const MOST_COUNTED: usize = 100_000;

/// Where somebody comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptFrom {
    /// A device with which the user has signed in before, by the hash of what it shows.
    Device([u8; 32]),
    /// An address. Whoever has one of IPv6 has the 64 bits behind it too.
    Address(IpAddr),
    /// Nobody knows.
    Unknown,
}

impl AttemptFrom {
    /// The place of an address.
    pub fn of(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            None => Self::Unknown,
            Some(IpAddr::V6(address)) => {
                let network = u128::from(address) & !u128::from(u64::MAX);
                Self::Address(IpAddr::V6(network.into()))
            }
            Some(address) => Self::Address(address),
        }
    }
}

/// What is counted: a hash, which has the same few bytes whatever was sent.
type Key = [u8; 32];

fn key(name: &str, place: AttemptFrom) -> Key {
    let mut digest = Sha256::new();
    match place {
        AttemptFrom::Device(hash) => digest.update(hash),
        AttemptFrom::Address(address) => digest.update(address.to_string()),
        AttemptFrom::Unknown => {}
    }
    // No address and no hash ends like this.
    digest.update(b"\0\0");
    digest.update(name.as_bytes());
    digest.finalize().into()
}

/// Attempts to sign in. One counts from the moment it is made, or as many as arrive while a password is
/// hashed would all be let through; it is taken back where it was no wrong password.
#[derive(Default)]
pub struct Attempts(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    /// How many there were, and until when they count.
    keys: HashMap<Key, (u32, Duration)>,
    /// The keys in the order in which they are forgotten.
    order: BTreeSet<(Duration, Key)>,
}

impl Counted {
    /// Returns how many attempts were counted, and until when.
    fn remove(&mut self, key: &Key) -> Option<(u32, Duration)> {
        let (count, until) = self.keys.remove(key)?;
        self.order.remove(&(until, *key));
        Some((count, until))
    }

    fn insert(&mut self, key: Key, count: u32, until: Duration) {
        if self.keys.len() >= MOST_COUNTED
            && let Some((_, oldest)) = self.order.first().copied()
        {
            self.remove(&oldest);
        }
        self.keys.insert(key, (count, until));
        self.order.insert((until, key));
    }

    fn forget_expired(&mut self, now: Duration) {
        while let Some((_, key)) = self.order.first().filter(|(until, _)| *until <= now).copied() {
            self.remove(&key);
        }
    }
}

impl Attempts {
    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an attempt. Refused where there were too many. Answers whether it is the last that is let
    /// through.
    pub fn begin(&self, name: &str, place: AttemptFrom, now: Duration) -> Result<bool, ServiceError> {
        let key = key(name, place);
        let mut counted = self.counted();
        counted.forget_expired(now);
        let before = match counted.keys.get(&key) {
            Some((count, until)) if *count >= MOST_ATTEMPTS => {
                let seconds = until.saturating_sub(now).as_secs().max(1);
                return Err(ServiceError::TooManyAttempts { seconds });
            }
            _ => counted.remove(&key).map_or(0, |(count, _)| count),
        };
        counted.insert(key, before + 1, now + ATTEMPTS_WITHIN);
        Ok(before + 1 >= MOST_ATTEMPTS)
    }

    /// An attempt came to nothing: no password was compared.
    pub fn take_back(&self, name: &str, place: AttemptFrom) {
        let key = key(name, place);
        let mut counted = self.counted();
        if let Some((count, until)) = counted.remove(&key).filter(|(count, _)| *count > 1) {
            counted.insert(key, count - 1, until);
        }
    }

    /// The password was right.
    pub fn succeeded(&self, name: &str, place: AttemptFrom) {
        self.counted().remove(&key(name, place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_000);

    fn from(address: &str) -> AttemptFrom {
        AttemptFrom::of(Some(address.parse().unwrap()))
    }

    #[test]
    fn attempts_count_from_when_they_are_made_until_they_are_taken_back() {
        let (attempts, here) = (Attempts::default(), from("192.0.2.1"));
        for number in 1..=MOST_ATTEMPTS {
            assert_eq!(attempts.begin("anna", here, NOW), Ok(number == MOST_ATTEMPTS));
        }
        let refused = Err(ServiceError::TooManyAttempts { seconds: 300 });
        assert_eq!(attempts.begin("anna", here, NOW), refused);
        attempts.take_back("anna", here);
        attempts.begin("anna", here, NOW).unwrap();
        assert!(attempts.begin("anna", here, NOW).is_err());
        attempts.succeeded("anna", here);
        attempts.begin("anna", here, NOW).unwrap();
        attempts.take_back("anna", here);
        attempts.take_back("anna", here);
        assert!(attempts.counted().keys.is_empty() && attempts.counted().order.is_empty());
    }

    #[test]
    fn guesses_are_counted_where_they_come_from() {
        let attempts = Attempts::default();
        let here = from("2001:db8::1");
        for _ in 0..MOST_ATTEMPTS {
            attempts.begin("anna", here, NOW).unwrap();
        }
        assert!(attempts.begin("anna", from("2001:db8::ffff:1"), NOW).is_err(), "the same network");
        for elsewhere in [
            from("2001:db8:0:1::1"),
            from("192.0.2.1"),
            AttemptFrom::Unknown,
            AttemptFrom::Device([1; 32]),
            AttemptFrom::Device([2; 32]),
        ] {
            assert!(attempts.begin("anna", elsewhere, NOW).is_ok(), "{elsewhere:?}");
        }
        assert!(attempts.begin("otto", here, NOW).is_ok(), "another name");
        assert_eq!(from("::ffff:192.0.2.1"), from("192.0.2.1"), "two ways to write one address");
    }

    #[test]
    fn names_are_forgotten_in_the_order_in_which_they_expire() {
        let (attempts, here) = (Attempts::default(), AttemptFrom::Unknown);
        let later = NOW + Duration::from_secs(60);
        for name in ["anna", "otto"] {
            attempts.begin(name, here, NOW).unwrap();
        }
        attempts.begin("anna", here, later).unwrap();
        attempts.begin("ida", here, NOW + ATTEMPTS_WITHIN).unwrap();
        let counted = attempts.counted();
        assert_eq!(counted.keys[&key("anna", here)], (2, later + ATTEMPTS_WITHIN));
        assert!(!counted.keys.contains_key(&key("otto", here)));
        assert_eq!((counted.keys.len(), counted.order.len()), (2, 2));
    }

    #[test]
    fn no_more_names_are_counted_than_there_is_room_for() {
        let (attempts, here) = (Attempts::default(), AttemptFrom::Unknown);
        for number in 0..MOST_COUNTED + 10 {
            let at = NOW + Duration::from_millis(number as u64);
            attempts.begin(&number.to_string(), here, at).unwrap();
        }
        let counted = attempts.counted();
        assert_eq!((counted.keys.len(), counted.order.len()), (MOST_COUNTED, MOST_COUNTED));
        assert!(!counted.keys.contains_key(&key("9", here)), "the oldest go");
        assert!(counted.keys.contains_key(&key("10", here)));
    }
}
