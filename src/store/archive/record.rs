//! A job and an entry of its log as an export writes them: every field, in a fixed order, by names that
//! stay. What is usually absent is left out.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{
    AbortRequest, Author, Dropped, Event, EventKind, EventSource, Feature, Job, JobId, LastMessage,
    LogCounts, MessageText, Spec, Status, Step, StepTree, Tag, Timestamp, Title, Weight,
    check_imported_document,
};

fn is_false(value: &bool) -> bool {
    !*value
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// A job.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct JobRecord {
    id: JobId,
    spec: Arc<Spec>,
    status: Status,
    attempt: u32,
    epoch: u32,
    progress: f64,
    created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    activity_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    progress_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    heartbeat_at: Option<Timestamp>,
    seq: u64,
    revision: u64,
    counts: LogCounts,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_message: Option<Arc<LastMessage>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output: Option<Arc<Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    abort: Option<Arc<AbortRequest>>,
    #[serde(default, skip_serializing_if = "is_false")]
    fenced: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    late_writes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    late_write_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_error: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "is_zero")]
    message_key: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recorded_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unrecorded: Vec<usize>,
    #[serde(default, skip_serializing_if = "is_false")]
    unrecorded_whole: bool,
    #[serde(default, skip_serializing_if = "Dropped::is_none")]
    dropped: Dropped,
    #[serde(default, skip_serializing_if = "is_false")]
    unrecorded_drops: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pinned: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    steps: Vec<StepRecord>,
}

/// A step of a job's progress tree, named by its place among them.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StepRecord {
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    weight: Weight,
    progress: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
}

impl From<&Job> for JobRecord {
    fn from(job: &Job) -> Self {
        let step = |step: &Step| StepRecord {
            id: step.id.clone(),
            title: step.title.clone(),
            weight: step.weight,
            progress: step.progress,
            parent: step.parent,
            started_at: step.started_at,
            ended_at: step.ended_at,
        };
        Self {
            id: job.id,
            spec: Arc::clone(&job.spec),
            status: job.status,
            attempt: job.attempt,
            epoch: job.epoch,
            progress: job.progress,
            created_at: job.created_at,
            run_at: job.run_at,
            started_at: job.started_at,
            ended_at: job.ended_at,
            activity_at: job.activity_at,
            progress_at: job.progress_at,
            heartbeat_at: job.heartbeat_at,
            seq: job.seq,
            revision: job.revision,
            counts: job.counts,
            last_message: job.last_message.clone(),
            error: job.error.clone(),
            output: job.output.clone(),
            abort: job.abort.clone(),
            fenced: job.fenced,
            late_writes: job.late_writes,
            late_write_at: job.late_write_at,
            last_error: job.last_error.clone(),
            message_key: job.message_key,
            recorded_at: job.recorded_at,
            unrecorded: job.unrecorded.clone(),
            unrecorded_whole: job.unrecorded_whole,
            dropped: job.dropped,
            unrecorded_drops: job.unrecorded_drops,
            pinned: job.pinned,
            steps: job.steps.steps().iter().map(step).collect(),
        }
    }
}

impl JobRecord {
    /// The job. Refused where it contradicts itself in a way that the rules rely upon.
    pub(super) fn into_job(self) -> Result<Job, String> {
        let wrong = |what: &str| Err(format!("job {}: {what}", self.id));
        if self.status.is_final() != self.ended_at.is_some() {
            return wrong("has ended and has not");
        }
        // Texts are checked where they enter, and this is a way in.
        let spec = &self.spec;
        let limits = Feature::new(spec.feature.as_str()).is_ok_and(|checked| checked == spec.feature)
            && Author::new(spec.author.as_str()).is_ok_and(|checked| checked == spec.author)
            && spec.title.as_ref().is_none_or(|title| Title::new(title.as_str()).as_ref() == Ok(title))
            && spec.tags.iter().all(|tag| Tag::new(tag.as_str()).as_ref() == Ok(tag));
        if !limits {
            return wrong("has a feature, an author, a title or a label that none can have");
        }
        let number = |value: f64| value.is_finite() && (0.0..=1.0).contains(&value);
        if !number(self.progress) {
            return wrong("has a progress that is not between 0 and 1");
        }
        for (field, document) in [("input", spec.input.as_ref()), ("output", self.output.as_deref())] {
            if let Some(Err(invalid)) = document.map(|document| check_imported_document(field, document)) {
                return wrong(&invalid.to_string());
            }
        }
        let step = |step: &StepRecord| Step {
            id: step.id.clone(),
            title: step.title.clone(),
            weight: step.weight,
            progress: step.progress,
            parent: step.parent,
            children: Vec::new(),
            started_at: step.started_at,
            ended_at: step.ended_at,
        };
        let steps: Vec<Step> = self.steps.iter().map(step).collect();
        if let Err(refusal) = StepTree::check_stored(&steps) {
            return wrong(&refusal.to_string());
        }
        if self.unrecorded.iter().any(|&index| index >= steps.len()) {
            return wrong("has a number for a step it does not have");
        }
        Ok(Job {
            id: self.id,
            spec: self.spec,
            status: self.status,
            attempt: self.attempt,
            epoch: self.epoch,
            progress: self.progress,
            steps: Arc::new(StepTree::restore(steps)),
            created_at: self.created_at,
            run_at: self.run_at,
            started_at: self.started_at,
            ended_at: self.ended_at,
            activity_at: self.activity_at,
            progress_at: self.progress_at,
            heartbeat_at: self.heartbeat_at,
            seq: self.seq,
            revision: self.revision,
            counts: self.counts,
            last_message: self.last_message,
            error: self.error,
            output: self.output,
            abort: self.abort,
            fenced: self.fenced,
            late_writes: self.late_writes,
            late_write_at: self.late_write_at,
            last_error: self.last_error,
            message_key: self.message_key,
            recorded_at: self.recorded_at,
            unrecorded: self.unrecorded,
            unrecorded_whole: self.unrecorded_whole,
            dropped: self.dropped,
            unrecorded_drops: self.unrecorded_drops,
            pinned: self.pinned,
        })
    }
}

/// An entry of a job's log.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventRecord {
    seq: u64,
    at: Timestamp,
    source: EventSource,
    event: EventKind,
}

impl From<Event> for EventRecord {
    fn from(event: Event) -> Self {
        Self { seq: event.seq.unwrap_or_default(), at: event.at, source: event.source, event: event.kind }
    }
}

impl EventRecord {
    /// The entry. Refused where it says what none can say.
    pub(super) fn into_event(self) -> Result<Event, String> {
        if let EventKind::Message { text, .. } = &self.event {
            MessageText::new(text.as_str()).map_err(|invalid| invalid.to_string())?;
        }
        Ok(Event { seq: Some(self.seq), at: self.at, source: self.source, kind: self.event })
    }
}
