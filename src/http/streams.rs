//! How many listen to changes: so many in all, and so many with one credential.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The most streams of one credential.
const MOST_OF_ONE: usize = 32;
/// The most streams: half as many as there may be connections, for a page that listens has another to ask on.
const MOST: usize = 2_000;

/// Who listens.
#[derive(Clone, Default)]
pub struct Streams(Arc<Mutex<HashMap<[u8; 32], usize>>>);

/// A stream that is open, until it is dropped.
pub struct Listening {
    streams: Streams,
    credential: [u8; 32],
}

impl Streams {
    fn with<T>(&self, work: impl FnOnce(&mut HashMap<[u8; 32], usize>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Opens one. `None` where there are too many.
    pub fn open(&self, credential: [u8; 32]) -> Option<Listening> {
        self.with(|open| {
            let (own, all) = (open.get(&credential).copied().unwrap_or(0), open.values().sum::<usize>());
            if own >= MOST_OF_ONE || all >= MOST {
                return None;
            }
            open.insert(credential, own + 1);
            Some(Listening { streams: self.clone(), credential })
        })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.streams.with(|open| match open.get_mut(&self.credential) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(open.remove(&self.credential)),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_credential_has_its_share_and_all_have_an_end() {
        let streams = Streams::default();
        let of_one: Vec<_> = (0..MOST_OF_ONE).map(|_| streams.open([0; 32]).unwrap()).collect();
        assert!(streams.open([0; 32]).is_none());
        let mut others = Vec::new();
        while let Some(stream) = streams.open([u8::try_from(1 + others.len() / MOST_OF_ONE).unwrap(); 32]) {
            others.push(stream);
        }
        assert_eq!(of_one.len() + others.len(), MOST);
        drop(of_one);
        assert!(streams.open([0; 32]).is_some());
        drop(others);
        assert!(streams.with(|open| open.is_empty()));
    }
}
