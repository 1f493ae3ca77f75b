//! What a node knows of the jobs, and whom it tells.
//!
//! Two bring news: the node's own writer, right after its commit, and the feed, which reads what other
//! nodes committed. They overtake each other, so a job is taken only where its revision is newer than the
//! one known; what ended lately is remembered for that too, or late news would wake it up.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::{Counts, Job, JobId};
use crate::store::{ChangeSink, Changes, NodeRecord};

/// How many ended jobs' revisions are remembered.
const ENDED: usize = 16_384;

#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: HashMap<JobId, Arc<Job>>,
    ended: HashMap<JobId, u64>,
    ended_order: VecDeque<JobId>,
    counts: Counts,
    sinks: Vec<Arc<dyn ChangeSink>>,
    write_error: Option<String>,
    feed_error: Option<String>,
    leads: bool,
    nodes: Vec<NodeRecord>,
}

impl State {
    /// Whether this is news of the job.
    fn take(&mut self, job: &Arc<Job>) -> bool {
        let known =
            self.open.get(&job.id).map(|job| job.revision).or_else(|| self.ended.get(&job.id).copied());
        if known.is_some_and(|known| known >= job.revision) {
            return false;
        }
        if job.status.is_final() {
            self.open.remove(&job.id);
            self.end(job.id, job.revision);
        } else {
            self.ended.remove(&job.id);
            self.open.insert(job.id, Arc::clone(job));
        }
        true
    }

    fn end(&mut self, id: JobId, revision: u64) {
        if self.ended.insert(id, revision).is_none() {
            self.ended_order.push_back(id);
        }
        while self.ended_order.len() > ENDED {
            if let Some(oldest) = self.ended_order.pop_front() {
                self.ended.remove(&oldest);
            }
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes news in and passes on what was news. Sinks are called under the lock: news of one job from
    /// two sides must not overtake each other on the way to a sink either.
    pub(super) fn publish(&self, jobs: Vec<Arc<Job>>, removed: Vec<JobId>, counts: Counts) {
        let mut state = self.state();
        let jobs: Vec<_> = jobs.into_iter().filter(|job| state.take(job)).collect();
        for id in &removed {
            state.open.remove(id);
            state.end(*id, u64::MAX);
        }
        let counted = state.counts != counts;
        state.counts = counts;
        if jobs.is_empty() && removed.is_empty() && !counted {
            return;
        }
        let changes = Changes { jobs, removed, counts };
        for sink in &state.sinks {
            sink.publish(&changes);
        }
    }

    pub(super) fn add_sink(&self, sink: Arc<dyn ChangeSink>) {
        let mut state = self.state();
        state.sinks.retain(|sink| !sink.is_gone());
        state.sinks.push(sink);
    }

    /// The jobs this node believes have not ended.
    pub(super) fn open_ids(&self) -> Vec<JobId> {
        self.state().open.keys().copied().collect()
    }

    pub(super) fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Why the last write failed, or why the other nodes cannot be heard.
    pub(super) fn error(&self) -> Option<String> {
        let state = self.state();
        state.write_error.clone().or_else(|| state.feed_error.clone())
    }

    pub(super) fn set_write_error(&self, error: Option<String>) {
        self.state().write_error = error;
    }

    pub(super) fn set_feed_error(&self, error: Option<String>) {
        self.state().feed_error = error;
    }

    pub(super) fn nodes(&self) -> Vec<NodeRecord> {
        self.state().nodes.clone()
    }

    pub(super) fn set_nodes(&self, nodes: Vec<NodeRecord>) {
        self.state().nodes = nodes;
    }

    pub(super) fn leads(&self) -> bool {
        self.state().leads
    }

    pub(super) fn set_leads(&self, leads: bool) {
        self.state().leads = leads;
    }
}
