//! A job and an entry of its log as an export writes them: every field, in a fixed order, by names that
//! stay. What is usually absent is left out.

use serde::{Deserialize, Serialize};

use crate::model::job_fields::job_fields;
use crate::model::job_fields::types::*;
use crate::model::{
    Event, EventKind, EventSource, Job, JobId, MessageText, Siblings, Step, StepTree, Weight,
    check_imported_document,
};

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Makes the record of the list of fields.
macro_rules! record {
    (
        required $required:tt
        named $named:tt
        asked $asked:tt
        asked_rarely $rarely:tt
        asked_each $each:tt
        $($section:ident { $($(#[doc = $doc:literal])* $(#[serde($($serde:tt)*)])? $field:ident: $type:ty = $value:expr;)* })*
    ) => {
        /// A job.
        #[derive(Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub(super) struct JobRecord {
            id: JobId,
            spec: Arc<Spec>,
            $($($(#[serde($($serde)*)])? $field: $type,)*)*
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            steps: Vec<StepRecord>,
        }

        impl From<&Job> for JobRecord {
            fn from(job: &Job) -> Self {
                Self {
                    id: job.id,
                    spec: Arc::clone(&job.spec),
                    $($($field: job.$field.clone(),)*)*
                    steps: job.steps.steps().iter().map(StepRecord::from).collect(),
                }
            }
        }

        impl JobRecord {
            fn with_steps(self, steps: Vec<Step>) -> Job {
                Job {
                    id: self.id,
                    spec: self.spec,
                    steps: Arc::new(StepTree::restore(steps)),
                    $($($field: self.$field,)*)*
                }
            }
        }
    };
}

job_fields!(record);

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

impl From<&Step> for StepRecord {
    fn from(step: &Step) -> Self {
        Self {
            id: step.id.clone(),
            title: step.title.clone(),
            weight: step.weight,
            progress: step.progress,
            parent: step.parent,
            started_at: step.started_at,
            ended_at: step.ended_at,
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
            children: Siblings::default(),
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
        Ok(self.with_steps(steps))
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
        Ok(Event { seq: Some(self.seq), at: self.at, source: self.source, kind: self.event, heard: None })
    }
}
