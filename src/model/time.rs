//! A moment, as the whole product counts it: milliseconds since the Unix epoch, UTC.
//!
//! A bare integer rather than `chrono::DateTime`, because the browser would otherwise carry chrono's
//! parser and formatter in its download. REST turns it into RFC 3339 at its edge.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z. Leap seconds do not exist here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// How long ago `earlier` was, seen from here. Zero where `earlier` is in the future: a clock that
    /// was set back must not make a job look as if it had run for a negative time.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This moment, `span` later. Saturates at the end of time.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This moment, `span` earlier. Saturates at the beginning of time.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This moment as a clock calls it that was set from here on `by_ms` ahead (or back, where negative)
    /// and now shows `now`.
    ///
    /// Nothing lies in the future afterwards. After a clock was set back, a moment of the last few seconds
    /// is left alone: it is more likely one from after the jump, before anybody noticed, than one that
    /// lies back exactly as far as the clock was set.
    #[must_use]
    pub fn on_a_clock_set(self, by_ms: i64, now: Self) -> Self {
        const UNNOTICED: Duration = Duration::from_secs(5);
        if by_ms < 0 && self <= now && now.since(self) < UNNOTICED {
            return self;
        }
        Self(self.0.saturating_add(by_ms)).min(now)
    }

    /// The number of whole UTC days since the Unix epoch: the key of the per-day counters.
    pub fn day(self) -> i64 {
        self.0.div_euclid(86_400_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_set_back_gives_zero_rather_than_a_negative_span() {
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
        assert_eq!(Timestamp(9).since(Timestamp(5)), Duration::from_millis(4));
    }

    #[test]
    fn a_moment_keeps_its_age_when_the_clock_is_set() {
        const HOUR: i64 = 3_600_000;
        let (ahead, back) = (Timestamp(100 * HOUR), Timestamp(20 * HOUR));
        assert_eq!(Timestamp(9 * HOUR).on_a_clock_set(90 * HOUR, ahead), Timestamp(99 * HOUR));
        assert_eq!(Timestamp(100 * HOUR - 1).on_a_clock_set(90 * HOUR, ahead), ahead, "noticed late");
        assert_eq!(Timestamp(109 * HOUR).on_a_clock_set(-90 * HOUR, back), Timestamp(19 * HOUR));
        assert_eq!(Timestamp(20 * HOUR - 1).on_a_clock_set(-90 * HOUR, back), Timestamp(20 * HOUR - 1));
        assert_eq!(Timestamp(i64::MAX).on_a_clock_set(i64::MAX, ahead), ahead);
    }

    #[test]
    fn days_before_the_epoch_count_down() {
        assert_eq!(Timestamp(-1).day(), -1);
        assert_eq!(Timestamp(86_400_000).day(), 1);
    }
}
