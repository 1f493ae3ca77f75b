//! What a logger was told and its job was not yet: messages in order, and the last number of each step.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use tokio::sync::oneshot;

use super::End;
use crate::model::{Job, Level, MessageText, ReportItem, StepSpec, StepTree};
use crate::store::StoreError;

/// The most items in one write.
pub(super) const MAX_BATCH: usize = 2_000;
/// The most bytes of messages that wait, 64 MiB. What is said beyond is left out and counted: the program the
/// logger is in must not run out of memory because the store is away.
pub(super) const MAX_WAITING: usize = 64 << 20;
/// Room beyond that for warnings and errors, which are what is looked for afterwards.
pub(super) const KEPT_FREE: usize = 8 << 20;
/// The most mistakes that are said in a job's log.
pub(super) const MAX_COMPLAINTS: usize = 100;
/// The most names of steps that are remembered.
const MAX_NAMES: usize = 10_000;

/// Where somebody waits for what he said to be in the store.
pub(super) type Reply = oneshot::Sender<Result<(), StoreError>>;

#[derive(Default)]
pub(super) struct Gathered {
    /// Messages and declarations, in order.
    pub(super) said: VecDeque<ReportItem>,
    /// How many bytes of messages wait, and how many messages found no room.
    pub(super) waiting: usize,
    pub(super) left_out: u64,
    /// The steps as this logger knows them, to find one without asking the store.
    pub(super) tree: StepTree,
    pub(super) names: HashMap<String, Option<usize>>,
    /// The numbers that wait, by step.
    pub(super) numbers: BTreeMap<usize, f64>,
    pub(super) whole: Option<f64>,
    /// Mistakes that were already said.
    pub(super) complained: HashSet<String>,
    pub(super) end: Option<(End, Option<Reply>)>,
    pub(super) flushes: Vec<Reply>,
    pub(super) ended: bool,
}

impl Gathered {
    /// Takes a message in while there is room for it.
    pub(super) fn say(&mut self, message: ReportItem) {
        let bytes = weight(&message);
        let grave = matches!(message, ReportItem::Message { level: Level::Warning | Level::Error, .. });
        if self.waiting + bytes > MAX_WAITING + if grave { KEPT_FREE } else { 0 } {
            self.left_out += 1;
            return;
        }
        self.waiting += bytes;
        self.said.push_back(message);
    }

    pub(super) fn declare(&mut self, mut steps: Vec<StepSpec>) {
        // As the store names them.
        steps.iter_mut().for_each(StepSpec::drop_escapes);
        match self.tree.check(&steps) {
            Ok(()) => {
                self.tree.declare(&steps, crate::model::Timestamp::default());
                self.names.clear();
                self.said.push_back(ReportItem::Steps(steps));
            }
            Err(refusal) => self.complain(format!("Steps were ignored: {refusal}")),
        }
    }

    pub(super) fn find(&mut self, name: &str) -> Option<usize> {
        if let Some(known) = self.names.get(name) {
            return *known;
        }
        let found = match self.tree.find(name) {
            Ok(index) => Some(index),
            Err(refusal) => {
                self.complain(format!("A report on a step was ignored: {refusal}"));
                None
            }
        };
        if self.names.len() >= MAX_NAMES {
            self.names.clear();
        }
        self.names.insert(name.to_owned(), found);
        found
    }

    /// Takes a number in. False where there is nothing to carry.
    pub(super) fn number(&mut self, step: &str, value: f64) -> bool {
        if !(0.0..=1.0).contains(&value) {
            self.complain(format!(
                "Progress {value} of step `{step}` was ignored: it must be a number between 0 and 1"
            ));
            return true;
        }
        let Some(index) = self.find(step) else {
            return true;
        };
        if let Err(refusal) = self.tree.check_report(index, value) {
            self.complain(format!("A report on a step was ignored: {refusal}"));
            return true;
        }
        match self.numbers.get_mut(&index) {
            Some(waiting) => *waiting = waiting.max(value),
            None => {
                self.numbers.insert(index, value);
            }
        }
        true
    }

    /// Says what is wrong, once, and no more than a few such things: what differs with every call is the same
    /// mistake.
    pub(super) fn complain(&mut self, text: String) {
        if self.complained.len() < MAX_COMPLAINTS && self.complained.insert(text.clone()) {
            self.say(ReportItem::Message {
                level: Level::Warning,
                text: MessageText::cut(text),
                step: None,
                key: None,
            });
        }
    }

    /// What to carry next: messages and declarations in order, then the last numbers.
    pub(super) fn take(&mut self) -> Vec<ReportItem> {
        let mut items: Vec<_> = self.said.drain(..self.said.len().min(MAX_BATCH)).collect();
        self.waiting -= items.iter().map(weight).sum::<usize>();
        if self.said.is_empty() {
            if self.left_out > 0 {
                let left_out = std::mem::take(&mut self.left_out);
                let text = format!(
                    "{left_out} messages were left out here: they were said faster than they could be stored"
                );
                items.push(ReportItem::Message {
                    level: Level::Warning,
                    text: MessageText::cut(text),
                    step: None,
                    key: None,
                });
            }
            if let Some(value) = self.whole.take()
                && self.tree.is_empty()
            {
                items.push(ReportItem::Progress { step: None, value });
            }
            for (index, value) in std::mem::take(&mut self.numbers) {
                items.push(ReportItem::Progress { step: Some(self.tree.path(index)), value });
            }
        }
        items
    }

    /// Puts back what could not be carried: in front of what came since, newer numbers winning.
    pub(super) fn put_back(&mut self, items: Vec<ReportItem>) {
        for item in items.into_iter().rev() {
            match item {
                ReportItem::Progress { step: Some(path), value } => {
                    if let Ok(index) = self.tree.find(&path) {
                        let waiting = self.numbers.entry(index).or_insert(value);
                        *waiting = waiting.max(value);
                    }
                }
                ReportItem::Progress { step: None, value } => {
                    self.whole = Some(self.whole.map_or(value, |whole| whole.max(value)));
                }
                other => {
                    self.waiting += weight(&other);
                    self.said.push_front(other);
                }
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.said.is_empty() && self.numbers.is_empty() && self.whole.is_none()
    }

    /// Takes over the steps a job already has, under what was declared since.
    pub(super) fn adopt(&mut self, job: &Job) {
        if job.steps.is_empty() {
            return;
        }
        let declared: Vec<Vec<StepSpec>> = self
            .said
            .iter()
            .filter_map(|item| match item {
                ReportItem::Steps(steps) => Some(steps.clone()),
                _ => None,
            })
            .collect();
        let waiting: Vec<(String, f64)> =
            self.numbers.iter().map(|(index, value)| (self.tree.path(*index), *value)).collect();
        self.tree = (*job.steps).clone();
        for steps in declared {
            self.tree.declare(&steps, crate::model::Timestamp::default());
        }
        self.names.clear();
        self.numbers = waiting
            .into_iter()
            .filter_map(|(path, value)| Some((self.tree.find(&path).ok()?, value)))
            .collect();
    }
}

/// About what a message takes while it waits.
fn weight(item: &ReportItem) -> usize {
    match item {
        ReportItem::Message { text, .. } => text.as_str().len() + size_of::<ReportItem>(),
        _ => 0,
    }
}
