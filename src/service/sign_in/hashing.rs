//! Hashing passwords: what it costs is shared out fairly among those who wait.
//!
//! A hash takes a core and 19 MiB for a moment, so two are made at a time. Whoever waits stands in the line of
//! the place it comes from, and the lines take turns: a crowd from one address makes its own line long.
//! Devices that are known go before all others.

use std::collections::VecDeque;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Argon2, PasswordHash};
use tokio::sync::oneshot;

use super::attempts::AttemptFrom;
use super::new_secret;
use crate::model::{Invalid, MAX_PASSWORD_BYTES, check_password};
use crate::service::ServiceError;
use crate::store::UserRecord;

static HASHING: Queue = Queue::new(2, 512, 4_096);
/// When to come again who found the queue full.
const QUEUE_SECONDS: u64 = 5;

/// Who hashes a password, and who waits to.
struct Queue {
    at_once: usize,
    most_of_a_place: usize,
    most: usize,
    lines: Mutex<Lines>,
}

struct Lines {
    running: usize,
    /// The lines in the order of their next turns. None is empty.
    known: VecDeque<Line>,
    others: VecDeque<Line>,
}

struct Line {
    place: AttemptFrom,
    waiting: VecDeque<oneshot::Sender<HashingPermit>>,
}

/// The right to hash, passed on when it is dropped.
struct HashingPermit(&'static Queue);

impl Drop for HashingPermit {
    fn drop(&mut self) {
        self.0.pass_on();
    }
}

impl Lines {
    fn next(&mut self) -> Option<oneshot::Sender<HashingPermit>> {
        let lines = if self.known.is_empty() { &mut self.others } else { &mut self.known };
        let mut line = lines.pop_front()?;
        let next = line.waiting.pop_front();
        if !line.waiting.is_empty() {
            lines.push_back(line);
        }
        next
    }

    /// How many wait, once those are forgotten who went away.
    fn count(&mut self) -> usize {
        for lines in [&mut self.known, &mut self.others] {
            for line in lines.iter_mut() {
                line.waiting.retain(|waiting| !waiting.is_closed());
            }
            lines.retain(|line| !line.waiting.is_empty());
        }
        self.known.iter().chain(&self.others).map(|line| line.waiting.len()).sum()
    }
}

impl Queue {
    const fn new(at_once: usize, most_of_a_place: usize, most: usize) -> Self {
        let lines = Lines { running: 0, known: VecDeque::new(), others: VecDeque::new() };
        Self { at_once, most_of_a_place, most, lines: Mutex::new(lines) }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a turn that has ended to whoever is next and still there.
    fn pass_on(&'static self) {
        loop {
            let next = {
                let mut lines = self.lines();
                let next = lines.next();
                if next.is_none() {
                    lines.running -= 1;
                }
                next
            };
            match next.map(|next| next.send(HashingPermit(self))) {
                None | Some(Ok(())) => return,
                // Dropping it would call this function within itself, once for each waiter that has gone away.
                Some(Err(turn)) => std::mem::forget(turn),
            }
        }
    }

    /// Takes a turn, or a place in a line.
    fn take(
        &'static self,
        place: AttemptFrom,
    ) -> Result<Result<HashingPermit, oneshot::Receiver<HashingPermit>>, ServiceError> {
        let mut lines = self.lines();
        if lines.running < self.at_once {
            lines.running += 1;
            return Ok(Ok(HashingPermit(self)));
        }
        let full = lines.count() >= self.most;
        let of = if matches!(place, AttemptFrom::Device(_)) { &mut lines.known } else { &mut lines.others };
        let at = of.iter().position(|line| line.place == place);
        if full || at.is_some_and(|at| of[at].waiting.len() >= self.most_of_a_place) {
            return Err(ServiceError::Busy { seconds: QUEUE_SECONDS });
        }
        let (give, turn) = oneshot::channel();
        match at {
            Some(at) => of[at].waiting.push_back(give),
            None => of.push_back(Line { place, waiting: VecDeque::from([give]) }),
        }
        Ok(Err(turn))
    }

    /// Does the work when its turn comes. Refused where too many wait already.
    async fn run<T: Send + 'static>(
        &'static self,
        place: AttemptFrom,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ServiceError> {
        let failed =
            |what: String| ServiceError::Unavailable(format!("A password could not be checked: {what}"));
        let turn = match self.take(place)? {
            Ok(turn) => turn,
            Err(waiting) => waiting.await.map_err(|error| failed(error.to_string()))?,
        };
        // Work goes on when whoever asked for it hangs up, so the turn ends with the work.
        let work = move || {
            let _held = turn;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| failed(error.to_string()))
    }
}

/// A password as it is stored.
pub async fn password_hash(password: String, place: AttemptFrom) -> Result<String, ServiceError> {
    check_password(&password).map_err(Invalid::from)?;
    HASHING
        .run(place, move || Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string()))
        .await?
        .map_err(|error| ServiceError::Unavailable(format!("A password could not be stored: {error}")))
}

/// A hash nobody has the password of, so that an unknown name takes as long as a wrong password.
static NOBODY: LazyLock<String> = LazyLock::new(|| {
    Argon2::default().hash_password(new_secret().as_bytes()).map(|hash| hash.to_string()).unwrap_or_default()
});

/// The user, where the password is theirs. Takes as long where there is no such user.
pub async fn whose_is(
    user: Option<UserRecord>,
    password: String,
    place: AttemptFrom,
) -> Result<Option<UserRecord>, ServiceError> {
    let stored = user.as_ref().and_then(|user| user.password.clone());
    let known = stored.is_some();
    let matches = password.len() <= MAX_PASSWORD_BYTES
        && HASHING
            .run(place, move || {
                let against = stored.unwrap_or_else(|| NOBODY.clone());
                PasswordHash::new(&against)
                    .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
            })
            .await?;
    Ok(user.filter(|_| matches && known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(queue: &Queue) -> usize {
        queue.lines().count()
    }

    /// Holds the only turn until it is let go.
    async fn hold(queue: &'static Queue) -> (std::sync::mpsc::Sender<()>, tokio::task::JoinHandle<()>) {
        let (start, started) = std::sync::mpsc::channel::<()>();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let held = tokio::spawn(async move {
            let work = move || {
                let _ = start.send(());
                let _ = released.recv();
            };
            queue.run(AttemptFrom::Unknown, work).await.unwrap();
        });
        while started.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
        (release, held)
    }

    #[tokio::test]
    async fn the_queue_has_an_end_and_a_turn_lasts_as_long_as_its_work() {
        static QUEUE: Queue = Queue::new(1, 1, 2);
        let (release, first) = hold(&QUEUE).await;
        // Whoever asked hangs up. The work goes on, and nobody else's begins.
        first.abort();
        assert!(first.await.is_err());
        let second = tokio::spawn(QUEUE.run(AttemptFrom::Unknown, || 2));
        while waiting(&QUEUE) < 1 {
            tokio::task::yield_now().await;
        }
        let refused = Err(ServiceError::Busy { seconds: QUEUE_SECONDS });
        assert_eq!(QUEUE.run(AttemptFrom::Unknown, || 3).await, refused, "its own line is full");
        let third = tokio::spawn(QUEUE.run(AttemptFrom::Device([1; 32]), || 3));
        while waiting(&QUEUE) < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(QUEUE.run(AttemptFrom::Device([2; 32]), || 4).await, refused, "all lines together are");
        // Who goes away leaves room.
        third.abort();
        assert!(third.await.is_err());
        assert_eq!(waiting(&QUEUE), 1);
        assert!(!second.is_finished());
        release.send(()).unwrap();
        assert_eq!(second.await.unwrap(), Ok(2));
        assert_eq!(QUEUE.run(AttemptFrom::Unknown, || 4).await, Ok(4));
        assert_eq!(QUEUE.lines().running, 0);
    }

    #[tokio::test]
    async fn places_take_turns_and_known_devices_go_first() {
        static QUEUE: Queue = Queue::new(1, 100, 1_000);
        static ORDER: Mutex<Vec<&str>> = Mutex::new(Vec::new());
        let (release, held) = hold(&QUEUE).await;
        let crowd = AttemptFrom::of(Some("192.0.2.1".parse().unwrap()));
        let other = AttemptFrom::of(Some("192.0.2.2".parse().unwrap()));
        let mut all = Vec::new();
        for (place, name) in [
            (crowd, "crowd"),
            (crowd, "crowd"),
            (crowd, "crowd"),
            (other, "other"),
            (AttemptFrom::Device([1; 32]), "device"),
            (other, "other"),
        ] {
            let before = waiting(&QUEUE);
            all.push(tokio::spawn(QUEUE.run(place, move || ORDER.lock().unwrap().push(name))));
            while waiting(&QUEUE) == before {
                tokio::task::yield_now().await;
            }
        }
        release.send(()).unwrap();
        held.await.unwrap();
        for one in all {
            one.await.unwrap().unwrap();
        }
        assert_eq!(*ORDER.lock().unwrap(), ["device", "crowd", "other", "crowd", "other", "crowd"]);
    }
}
