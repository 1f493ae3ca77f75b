//! What a node knows of the jobs, and whom it tells.
//!
//! Two bring news: the node's own writer, right after its commit, and the feed, which reads what other
//! nodes committed. They overtake each other, so a job is taken only where its revision is newer than the
//! one known; what ended lately is remembered for that too, or late news would wake it up.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{Counts, Job, JobId};
use crate::store::{ChangeSink, Changes, NodeRecord};

/// How many ended jobs' revisions are remembered.
const ENDED: usize = 16_384;
/// A node that has not heard the others for so long says so. Without a notice it reads twice a second.
const DEAF_AFTER: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct NodeView {
    state: Mutex<NodeViewState>,
}

#[derive(Default)]
struct NodeViewState {
    open: HashMap<JobId, Arc<Job>>,
    ended: HashMap<JobId, u64>,
    ended_order: VecDeque<JobId>,
    counts: Counts,
    /// How often this node has written.
    written: u64,
    sinks: Vec<Arc<dyn ChangeSink>>,
    last_failure: Option<String>,
    feed_error: Option<String>,
    /// When the others were heard last; `None` where nobody listens.
    heard_at: Option<Instant>,
    leads: bool,
    must_not_lead: bool,
    nodes: Vec<NodeRecord>,
}

impl NodeViewState {
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

    /// Takes news in and passes on what was news. Sinks are called under the lock: news of one job from
    /// two sides must not overtake each other on the way to a sink either.
    fn publish(&mut self, jobs: Vec<Arc<Job>>, removed: Vec<JobId>, counts: Counts) {
        let jobs: Vec<_> = jobs.into_iter().filter(|job| self.take(job)).collect();
        for id in &removed {
            self.open.remove(id);
            self.end(*id, u64::MAX);
        }
        let counted = self.counts != counts;
        self.counts = counts;
        if jobs.is_empty() && removed.is_empty() && !counted {
            return;
        }
        let changes = Changes { jobs, removed, counts };
        for sink in &self.sinks {
            sink.publish(&changes);
        }
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

impl NodeView {
    fn state(&self) -> MutexGuard<'_, NodeViewState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what this node wrote, and passes it on.
    pub(super) fn publish(&self, jobs: Vec<Arc<Job>>, removed: Vec<JobId>, counts: Counts) {
        let mut state = self.state();
        state.written += 1;
        state.publish(jobs, removed, counts);
    }

    /// How much this node has written: to be asked before something is read that is then [heard](Self::hear).
    pub(super) fn written(&self) -> u64 {
        self.state().written
    }

    /// Takes in what was read since `written`, and passes on what was news. The counters that this node wrote
    /// meanwhile are newer than those that were read.
    pub(super) fn hear(&self, written: u64, jobs: Vec<Arc<Job>>, removed: Vec<JobId>, counts: Counts) {
        let mut state = self.state();
        let counts = if state.written == written { counts } else { state.counts };
        state.publish(jobs, removed, counts);
    }

    pub(super) fn add_sink(&self, sink: Arc<dyn ChangeSink>) {
        let mut state = self.state();
        state.sinks.retain(|sink| !sink.is_gone());
        state.sinks.push(sink);
    }

    /// The jobs this node, or somebody it tells, believes have not ended.
    pub(super) fn open_ids(&self) -> HashSet<JobId> {
        let state = self.state();
        let told = state.sinks.iter().flat_map(|sink| sink.believed_open());
        state.open.keys().copied().chain(told).collect()
    }

    /// A job that has not ended, as this node knows it.
    pub(super) fn open_job(&self, id: JobId) -> Option<Arc<Job>> {
        self.state().open.get(&id).cloned()
    }

    pub(super) fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Why the last write failed, or why the other nodes cannot be heard.
    pub(super) fn error(&self) -> Option<String> {
        self.error_at(Instant::now())
    }

    pub(super) fn error_at(&self, now: Instant) -> Option<String> {
        let state = self.state();
        let silence = state.heard_at.map(|at| now.saturating_duration_since(at));
        let deaf = silence.filter(|silence| *silence >= DEAF_AFTER).map(|silence| {
            format!("what other servers changed could not be read for {} seconds", silence.as_secs())
        });
        state.last_failure.clone().or_else(|| state.feed_error.clone()).or(deaf)
    }

    pub(super) fn set_write_error(&self, error: Option<String>) {
        self.state().last_failure = error;
    }

    pub(super) fn set_feed_error(&self, error: Option<String>) {
        self.state().feed_error = error;
    }

    /// Everything the others had changed by now has been read.
    pub(super) fn set_heard(&self, at: Instant) {
        self.state().heard_at = Some(at);
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

    /// Takes or gives up the lead; one that must not lead does not.
    pub(super) fn set_leads(&self, leads: bool) {
        let mut state = self.state();
        state.leads = leads && !state.must_not_lead;
    }

    pub(super) fn may_lead(&self) -> bool {
        !self.state().must_not_lead
    }

    pub(super) fn set_may_lead(&self, may: bool) {
        let mut state = self.state();
        state.must_not_lead = !may;
        state.leads &= may;
    }
}
