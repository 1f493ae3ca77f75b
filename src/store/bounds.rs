//! What bounds an answer and a search: bytes as they are sent, time, and how many go on at once.
//!
//! A control character is six bytes of JSON, so a page that is bounded by the length of its texts is six times that.
//! What is counted here is what goes over the wire.

use std::io::{self, Write};
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::StoreError;
use crate::model::Refusal;

/// A search is given up after this time.
pub(super) const SEARCH_LASTS: Duration = Duration::from_secs(10);
/// So many searches go on at once in another program, which has cores of its own.
pub(super) const SEARCHES_ELSEWHERE: usize = 2;
/// The most that go on at once in this one. They use a core each, and one is always left to those who write.
const MOST_SEARCHES_HERE: usize = 4;
/// The others wait so long for their turn.
const WAITS: Duration = Duration::from_secs(4);

/// Searches that take turns.
pub(super) struct Searches(Arc<Semaphore>);

impl Searches {
    /// So many go on at once.
    pub(super) fn new(at_once: usize) -> Self {
        Self(Arc::new(Semaphore::new(at_once)))
    }

    /// As many as this machine has cores to spare.
    pub(super) fn in_this_program() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self::new(cores.saturating_sub(1).clamp(1, MOST_SEARCHES_HERE))
    }

    /// Waits for a turn, which lasts until what is returned is dropped.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        let turn = tokio::time::timeout(WAITS, Arc::clone(&self.0).acquire_owned()).await;
        match turn {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(Refusal::TooManySearches.into()),
        }
    }
}

/// Until when a search goes on: until its time is over, or nobody waits for it any more.
#[derive(Clone)]
pub(super) struct Until {
    end: Instant,
    left: Arc<AtomicBool>,
}

impl Until {
    /// As long as a search may take from here on. It ends with the guard as well.
    pub(super) fn begin() -> (Self, Waiting) {
        let left = Arc::new(AtomicBool::new(false));
        (Self { end: Instant::now() + SEARCH_LASTS, left: Arc::clone(&left) }, Waiting(left))
    }

    /// Until then, whoever waits.
    #[cfg(test)]
    pub(super) fn at(end: Instant) -> Self {
        Self { end, left: Arc::default() }
    }

    /// Whether it is over.
    pub(super) fn is_over(&self) -> bool {
        self.left.load(Ordering::Relaxed) || Instant::now() >= self.end
    }
}

/// Somebody waits for a search.
pub(super) struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How many bytes of JSON something is.
pub(crate) fn sent_bytes(value: &(impl Serialize + ?Sized)) -> usize {
    struct Counted(usize);
    impl Write for Counted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counted = Counted(0);
    // What cannot be written as JSON is not sent as such.
    let _ = serde_json::to_writer(&mut counted, value);
    counted.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_what_is_sent() {
        for text in ["", "plain", "\u{1}\u{1}", "\"quoted\" \\ back", "ü→😀", "line\nfeed\t"] {
            assert_eq!(sent_bytes(text), serde_json::to_string(text).unwrap().len(), "{text:?}");
        }
        let document = serde_json::json!({"a": ["\u{7}", 1.5, null]});
        assert_eq!(sent_bytes(&document), document.to_string().len());
    }

    #[tokio::test(start_paused = true)]
    async fn searches_take_turns_and_nobody_waits_for_long() {
        let searches = Searches::new(SEARCHES_ELSEWHERE);
        let mut going_on = Vec::new();
        for _ in 0..SEARCHES_ELSEWHERE {
            going_on.push(searches.turn().await.unwrap());
        }
        let begun = tokio::time::Instant::now();
        assert_eq!(searches.turn().await.err(), Some(StoreError::Refused(Refusal::TooManySearches)));
        assert!(begun.elapsed() < Duration::from_secs(5));
        going_on.pop();
        assert!(searches.turn().await.is_ok(), "one has ended");
    }

    #[test]
    fn a_search_ends_with_whoever_waits_for_it() {
        let (until, waiting) = Until::begin();
        assert!(!until.is_over());
        drop(waiting);
        assert!(until.is_over());
        assert!(Until::at(Instant::now()).is_over());
    }
}
