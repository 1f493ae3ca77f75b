//! What becomes of a panic: it ends one request, one job or one turn of a task, never what all others need.
//!
//! Writers live through one in what a single job leads to (see [`guarded`]); a task that must live is begun again,
//! and health says so.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::model::Trouble;
use crate::store::StoreError;

/// A task that fell is begun again after this time.
const BEGUN_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What a panic says.
pub fn panic_words(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a word".to_owned())
}

/// Does what concerns one job alone. A panic is that job's answer: what is stored of it makes no sense, and must not
/// keep the writer from the others.
pub(crate) fn guarded<T>(
    job: impl Display,
    work: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let reason = panic_words(&*panic);
        tracing::error!(job = %job, reason, "Work on a job panicked; `longhaul check` says what is wrong with it");
        Err(StoreError::Corrupt(format!("job {job} cannot be worked on ({reason})")))
    })
}

/// How tasks that must live have fared.
#[derive(Default)]
pub struct Watch(Mutex<BTreeMap<&'static str, Fall>>);

struct Fall {
    times: u32,
    reason: String,
    /// It has not been begun again yet.
    down: bool,
}

impl Watch {
    fn falls(&self) -> MutexGuard<'_, BTreeMap<&'static str, Fall>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a task until it ends by itself. One that panics is begun again, until `stop`.
    pub async fn keep<F: Future<Output = ()> + Send + 'static>(
        self: Arc<Self>,
        task: &'static str,
        stop: CancellationToken,
        begin: impl Fn() -> F,
    ) {
        loop {
            let panic = match tokio::spawn(begin()).await {
                Err(error) if error.is_panic() => error.into_panic(),
                // It ended, or the runtime does.
                _ => return,
            };
            let reason = panic_words(&*panic);
            tracing::error!(task, reason, "A task that must live panicked, and is begun again");
            {
                let mut falls = self.falls();
                let fall = falls.entry(task).or_insert(Fall { times: 0, reason: String::new(), down: true });
                (fall.times, fall.reason, fall.down) = (fall.times + 1, reason, true);
            }
            tokio::select! {
                () = tokio::time::sleep(BEGUN_AGAIN_AFTER) => {}
                () = stop.cancelled() => return,
            }
            if let Some(fall) = self.falls().get_mut(task) {
                fall.down = false;
            }
        }
    }

    /// What a person must know: that the program has a fault does not go away with the task's next turn.
    pub fn troubles(&self) -> Vec<Trouble> {
        let falls = self.falls();
        falls
            .iter()
            .map(|(task, fall)| Trouble {
                critical: fall.down,
                what: format!("The task that {task} failed {} since the start", times(fall.times)),
                detail: format!(
                    "it was begun again. This is a fault of the program, please report it: {}",
                    fall.reason
                ),
            })
            .collect()
    }

    /// A task that must live does not at the moment: which.
    pub fn down(&self) -> Option<&'static str> {
        self.falls().iter().find(|(_, fall)| fall.down).map(|(task, _)| *task)
    }
}

fn times(times: u32) -> String {
    if times == 1 { "once".to_owned() } else { format!("{times} times") }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_falls_is_begun_again_and_is_told_of() {
        let (watch, turns) = (Arc::new(Watch::default()), Arc::new(AtomicU32::new(0)));
        let counted = Arc::clone(&turns);
        let begin = move || {
            let turn = counted.fetch_add(1, Ordering::SeqCst);
            async move {
                assert!(turn >= 2, "turn {turn}");
                std::future::pending::<()>().await;
            }
        };
        let (stop, kept) = (CancellationToken::new(), Arc::clone(&watch));
        let task = tokio::spawn(kept.keep("sweeps", stop.clone(), begin));
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(watch.down(), Some("sweeps"));
        assert!(watch.troubles()[0].critical);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!((turns.load(Ordering::SeqCst), watch.down()), (3, None));
        let told = watch.troubles();
        assert_eq!(told[0].what, "The task that sweeps failed 2 times since the start");
        assert!(!told[0].critical && told[0].detail.ends_with("turn 1"), "{told:?}");
        task.abort();
    }

    #[test]
    fn a_panic_is_the_answer_for_its_job() {
        let answer = guarded("1", || -> Result<(), StoreError> { panic!("step {}", 9) });
        assert!(matches!(answer, Err(StoreError::Corrupt(reason)) if reason.contains("(step 9)")));
    }
}
