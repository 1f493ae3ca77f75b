//! Progress as a weighted tree of steps, of any depth (ARCHITECTURE decision 6).
//!
//! A leaf holds a number between 0 and 1 that never falls; a parent is the weighted mean of its children
//! and holds no number of its own. Steps can be declared up front, late, or while the work runs: naming a
//! step that exists adds to it. The tree itself may therefore move back when scope grows; a job's overall
//! bar does not, because the job keeps the highest value it has shown, but where all its numbers are guesses.
//!
//! Ideas borrowed: weights and two levels from the requirement's pipelines, late scope from Argo's `N/M`,
//! with the bar that moves back left out. Given up: setting a parent's number directly. Two sources for
//! one number is how the original's progress stood still while its sub-steps finished.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::escapes::without_escapes;
use super::refusal::Refusal;
use super::text::{Invalid, Title};
use super::time::Timestamp;

/// How much a step counts among its siblings: finite, 0 to 1 000 000 000. Zero is honoured: such a step
/// is shown and tracked, and moves nothing.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Weight(f64);

impl Weight {
    /// The greatest weight: high enough for any ratio, low enough that sums stay exact.
    pub const MAX: f64 = 1e9;
    /// What a step weighs where nothing is said.
    pub const ONE: Self = Self(1.0);

    /// Checks a weight.
    pub fn new(weight: f64) -> Result<Self, Invalid> {
        if weight.is_finite() && (0.0..=Self::MAX).contains(&weight) {
            Ok(Self(weight))
        } else {
            Err(Invalid::new("weight", "must be a number between 0 and 1000000000"))
        }
    }
}

impl TryFrom<f64> for Weight {
    type Error = Invalid;

    fn try_from(weight: f64) -> Result<Self, Invalid> {
        Self::new(weight)
    }
}

impl From<Weight> for f64 {
    fn from(weight: Weight) -> Self {
        weight.0
    }
}

/// A step as its reporter declares it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepSpec {
    /// Names the step among its siblings: 1 to 200 characters, without `/`. Terminal escapes are no part of it.
    pub id: String,
    /// What people read; the id where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// See [`Weight`]; 1 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// The steps it is made of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepSpec>,
}

impl StepSpec {
    /// A leaf of weight 1.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), title: None, weight: None, steps: Vec::new() }
    }

    /// The same step with another weight.
    #[must_use]
    pub fn weight(mut self, weight: f64) -> Self {
        self.weight = Some(weight);
        self
    }

    /// The same step with a title.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// The same step, made of others.
    #[must_use]
    pub fn steps(mut self, steps: impl IntoIterator<Item = Self>) -> Self {
        self.steps.extend(steps);
        self
    }

    /// Takes terminal escapes out of its names, and of those below it.
    pub(crate) fn drop_escapes(&mut self) {
        for name in [Some(&mut self.id), self.title.as_mut()].into_iter().flatten() {
            if let Cow::Owned(plain) = without_escapes(name) {
                *name = plain;
            }
        }
        self.steps.iter_mut().for_each(Self::drop_escapes);
    }
}

/// One step of a job's tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Names it among its siblings.
    pub id: String,
    /// What people read, where it differs from the id.
    pub title: Option<String>,
    /// How much it counts among its siblings.
    pub weight: Weight,
    /// 0..=1. Reported for a leaf, the weighted mean of its children for a parent.
    pub progress: f64,
    /// The step it belongs to; `None` at the top.
    pub parent: Option<usize>,
    /// The steps it is made of, in the order they were declared.
    pub children: Vec<usize>,
    /// When it, or a step within it, was first reported on.
    pub started_at: Option<Timestamp>,
    /// When it reached 1; empty again if it grew afterwards.
    pub ended_at: Option<Timestamp>,
}

impl Step {
    /// What people read.
    pub fn label(&self) -> &str {
        self.title.as_deref().unwrap_or(&self.id)
    }

    /// Whether it has reached 1.
    pub fn is_done(&self) -> bool {
        self.progress >= 1.0
    }
}

/// All steps of a job. A step's index never changes, and a parent's is always lower than its children's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepTree {
    steps: Vec<Step>,
    top: Vec<usize>,
}

/// What a report on a leaf did to the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// It was the step's first report.
    pub started: bool,
    /// It brought the step to 1.
    pub ended: bool,
    /// Any number in the tree is another than before.
    pub changed: bool,
}

impl StepTree {
    /// The most steps one job may have.
    pub const MAX_STEPS: usize = 10_000;
    /// The deepest a step may lie; the top is 1.
    pub const MAX_DEPTH: usize = 16;
    /// The most characters of an id.
    pub const MAX_ID_CHARS: usize = 200;

    /// Puts a tree together again from stored steps, in index order. Parents' numbers are worked out anew.
    pub fn restore(mut steps: Vec<Step>) -> Self {
        let mut top = Vec::new();
        for index in 0..steps.len() {
            match steps[index].parent {
                Some(parent) if parent < index => steps[parent].children.push(index),
                _ => top.push(index),
            }
        }
        let mut tree = Self { steps, top };
        tree.recompute();
        tree
    }

    /// Checks steps that come from elsewhere, in index order, as [`Self::check`] checks a declaration.
    pub fn check_stored(steps: &[Step]) -> Result<(), Refusal> {
        let invalid = |problem: String| Err(Refusal::Invalid(Invalid::new("steps", problem)));
        if steps.len() > Self::MAX_STEPS {
            return invalid(format!("may be {} in one job at most", Self::MAX_STEPS));
        }
        let mut depths: Vec<usize> = Vec::with_capacity(steps.len());
        let mut names = std::collections::HashSet::with_capacity(steps.len());
        for (index, step) in steps.iter().enumerate() {
            check_id(&step.id)?;
            if let Some(title) = &step.title {
                Title::new(title.as_str())?;
            }
            if !(step.progress.is_finite() && (0.0..=1.0).contains(&step.progress)) {
                return invalid("must have a progress between 0 and 1".to_owned());
            }
            let depth = match step.parent {
                None => 1,
                Some(parent) if parent < index => depths[parent] + 1,
                Some(_) => return invalid("must come after the step they belong to".to_owned()),
            };
            if depth > Self::MAX_DEPTH {
                return invalid(format!("may be nested {} deep at most", Self::MAX_DEPTH));
            }
            depths.push(depth);
            if !names.insert((step.parent, step.id.as_str())) {
                return Err(Refusal::DuplicateStep { step: step.id.clone() });
            }
        }
        Ok(())
    }

    /// Moves every time there is. Returns the indexes of the steps that have one.
    pub fn move_times(&mut self, moved: impl Fn(Timestamp) -> Timestamp) -> Vec<usize> {
        let mut touched = Vec::new();
        for (index, step) in self.steps.iter_mut().enumerate() {
            if step.started_at.is_some() || step.ended_at.is_some() {
                step.started_at = step.started_at.map(&moved);
                step.ended_at = step.ended_at.map(&moved);
                touched.push(index);
            }
        }
        touched
    }

    /// All steps, in index order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The indexes of the steps at the top.
    pub fn top(&self) -> &[usize] {
        &self.top
    }

    /// Whether no step was declared.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The weighted mean of the top steps: 0..=1, and 0 for an empty tree.
    pub fn progress(&self) -> f64 {
        self.mean(&self.top)
    }

    /// A step's path, such as `load/parse`.
    pub fn path(&self, index: usize) -> String {
        let mut names = vec![self.steps[index].id.as_str()];
        let mut at = index;
        while let Some(parent) = self.steps[at].parent {
            names.push(self.steps[parent].id.as_str());
            at = parent;
        }
        names.reverse();
        names.join("/")
    }

    /// A step's path as people read it: labels, with ` › ` between.
    pub fn label_path(&self, index: usize) -> String {
        let mut names = vec![self.steps[index].label()];
        let mut at = index;
        while let Some(parent) = self.steps[at].parent {
            names.push(self.steps[parent].label());
            at = parent;
        }
        names.reverse();
        names.join(" › ")
    }

    /// Finds a step by its path, or by its id alone where that is unique in the job. `name` is what the
    /// reporter wrote; terminal escapes in it are no part of the name.
    pub fn find(&self, name: &str) -> Result<usize, Refusal> {
        match (self.find_exact(name), without_escapes(name)) {
            (Err(Refusal::UnknownStep { .. }), Cow::Owned(plain)) => self.find_exact(&plain),
            (found, _) => found,
        }
    }

    fn find_exact(&self, name: &str) -> Result<usize, Refusal> {
        if let Some(index) = self.find_path(name) {
            return Ok(index);
        }
        let mut same = self.steps.iter().enumerate().filter(|(_, step)| step.id == name);
        match (same.next(), same.next()) {
            (Some((index, _)), None) => Ok(index),
            (Some(_), Some(_)) => Err(Refusal::AmbiguousStep { step: name.to_owned() }),
            (None, _) => Err(Refusal::UnknownStep {
                step: name.to_owned(),
                known: (0..self.steps.len().min(10)).map(|index| self.path(index)).collect(),
            }),
        }
    }

    fn find_path(&self, path: &str) -> Option<usize> {
        let mut level = &self.top;
        let mut found = None;
        for name in path.split('/') {
            let index = *level.iter().find(|&&index| self.steps[index].id == name)?;
            found = Some(index);
            level = &self.steps[index].children;
        }
        found
    }

    /// The step that is being worked on: the deepest one that was started last and has not ended.
    pub fn current(&self) -> Option<usize> {
        self.steps
            .iter()
            .enumerate()
            .filter(|(_, step)| step.children.is_empty() && step.started_at.is_some() && !step.is_done())
            .max_by_key(|(index, step)| (step.started_at, *index))
            .map(|(index, _)| index)
    }

    /// Checks a declaration against this tree, changing nothing.
    pub fn check(&self, specs: &[StepSpec]) -> Result<(), Refusal> {
        if specs.is_empty() {
            return Err(Refusal::Invalid(Invalid::new("steps", "must name at least one step")));
        }
        let mut count = self.steps.len();
        self.check_level(specs, Some(&self.top), 1, &mut count)
    }

    fn check_level(
        &self,
        specs: &[StepSpec],
        level: Option<&[usize]>,
        depth: usize,
        count: &mut usize,
    ) -> Result<(), Refusal> {
        if depth > Self::MAX_DEPTH {
            return Err(Refusal::Invalid(Invalid::new(
                "steps",
                format!("may be nested {} deep at most", Self::MAX_DEPTH),
            )));
        }
        let mut seen = std::collections::HashSet::with_capacity(specs.len());
        let known: std::collections::HashMap<&str, usize> =
            level.unwrap_or_default().iter().map(|&index| (self.steps[index].id.as_str(), index)).collect();
        for spec in specs {
            check_id(&spec.id)?;
            if !seen.insert(spec.id.as_str()) {
                return Err(Refusal::DuplicateStep { step: spec.id.clone() });
            }
            if let Some(title) = &spec.title {
                Title::new(title.as_str())?;
            }
            if let Some(weight) = spec.weight {
                Weight::new(weight)?;
            }
            let existing = known.get(spec.id.as_str()).copied();
            if existing.is_none() {
                *count += 1;
                if *count > Self::MAX_STEPS {
                    return Err(Refusal::Invalid(Invalid::new(
                        "steps",
                        format!("may be {} in one job at most", Self::MAX_STEPS),
                    )));
                }
            }
            let below = existing.map(|index| self.steps[index].children.as_slice());
            self.check_level(&spec.steps, below, depth + 1, count)?;
        }
        Ok(())
    }

    /// Adds what [`Self::check`] accepted. Returns the indexes of all steps it added or changed.
    pub fn declare(&mut self, specs: &[StepSpec], at: Timestamp) -> Vec<usize> {
        let mut touched = Vec::new();
        self.declare_level(specs, None, &mut touched);
        self.recompute();
        // A finished step that got more to do is not finished; one whose weights now add up is.
        for (index, step) in self.steps.iter_mut().enumerate() {
            let was = step.ended_at;
            step.ended_at = step.is_done().then(|| was.unwrap_or(at));
            if step.ended_at != was {
                touched.push(index);
            }
        }
        touched.sort_unstable();
        touched.dedup();
        touched
    }

    fn declare_level(&mut self, specs: &[StepSpec], parent: Option<usize>, touched: &mut Vec<usize>) {
        let known: std::collections::HashMap<String, usize> =
            self.level(parent).iter().map(|&index| (self.steps[index].id.clone(), index)).collect();
        for spec in specs {
            let weight = spec.weight.and_then(|weight| Weight::new(weight).ok());
            let title = spec.title.clone().filter(|title| *title != spec.id);
            let index = match known.get(&spec.id) {
                Some(&index) => {
                    let step = &mut self.steps[index];
                    let titled = spec.title.is_some() && step.title != title;
                    let weighed = weight.is_some_and(|weight| step.weight != weight);
                    if titled {
                        step.title = title;
                    }
                    if let Some(weight) = weight {
                        step.weight = weight;
                    }
                    if titled || weighed {
                        touched.push(index);
                    }
                    index
                }
                None => {
                    let index = self.steps.len();
                    self.steps.push(Step {
                        id: spec.id.clone(),
                        title,
                        weight: weight.unwrap_or(Weight::ONE),
                        progress: 0.0,
                        parent,
                        children: Vec::new(),
                        started_at: None,
                        ended_at: None,
                    });
                    match parent {
                        Some(parent) => self.steps[parent].children.push(index),
                        None => self.top.push(index),
                    }
                    touched.push(index);
                    index
                }
            };
            let before = touched.len();
            self.declare_level(&spec.steps, Some(index), touched);
            if touched.len() > before {
                // Its number is the mean of what is below it.
                touched.push(index);
            }
        }
    }

    fn level(&self, parent: Option<usize>) -> &[usize] {
        match parent {
            Some(parent) => &self.steps[parent].children,
            None => &self.top,
        }
    }

    /// Checks a report on the step at `index`, changing nothing. On a step made of others only 1 is
    /// accepted: it says that all of it is done.
    pub fn check_report(&self, index: usize, value: f64) -> Result<Moved, Refusal> {
        let step = &self.steps[index];
        if !step.children.is_empty() && value < 1.0 {
            return Err(Refusal::StepHasParts { step: self.path(index) });
        }
        Ok(Moved {
            started: step.started_at.is_none(),
            ended: value >= 1.0 && !step.is_done(),
            changed: value > step.progress || step.started_at.is_none(),
        })
    }

    /// Records a checked report. Returns the indexes of all steps it changed.
    pub fn report(&mut self, index: usize, value: f64, at: Timestamp) -> Vec<usize> {
        let mut touched = Vec::new();
        if self.steps[index].children.is_empty() {
            self.set_leaf(index, value, at, &mut touched);
        } else {
            let mut todo = self.steps[index].children.clone();
            while let Some(next) = todo.pop() {
                if self.steps[next].children.is_empty() {
                    self.set_leaf(next, 1.0, at, &mut touched);
                } else {
                    todo.extend_from_slice(&self.steps[next].children);
                }
            }
        }
        // Deepest first: a parent's index is lower than its children's, so one pass mends all means.
        let mut parents: std::collections::BTreeSet<usize> =
            touched.iter().filter_map(|&index| self.steps[index].parent).collect();
        while let Some(parent) = parents.pop_last() {
            let mean = self.mean(&self.steps[parent].children);
            let step = &mut self.steps[parent];
            step.progress = mean;
            step.started_at.get_or_insert(at);
            if step.is_done() {
                step.ended_at.get_or_insert(at);
            }
            parents.extend(step.parent);
            touched.push(parent);
        }
        touched.sort_unstable();
        touched.dedup();
        touched
    }

    fn set_leaf(&mut self, index: usize, value: f64, at: Timestamp, touched: &mut Vec<usize>) {
        let step = &mut self.steps[index];
        if value <= step.progress && step.started_at.is_some() {
            return;
        }
        step.started_at.get_or_insert(at);
        step.progress = step.progress.max(value);
        if step.is_done() {
            step.ended_at.get_or_insert(at);
        }
        touched.push(index);
    }

    fn recompute(&mut self) {
        for index in (0..self.steps.len()).rev() {
            if !self.steps[index].children.is_empty() {
                self.steps[index].progress = self.mean(&self.steps[index].children);
            }
        }
    }

    fn mean(&self, level: &[usize]) -> f64 {
        if level.is_empty() {
            return 0.0;
        }
        let (mut total, mut sum, mut done) = (0.0, 0.0, true);
        let mut all_done = true;
        for &index in level {
            let step = &self.steps[index];
            total += step.weight.0;
            sum += step.weight.0 * step.progress;
            all_done &= step.is_done();
            done &= step.is_done() || step.weight.0 == 0.0;
        }
        if total == 0.0 {
            // Nothing weighs anything: there is no mean, only done or not done.
            return if all_done { 1.0 } else { 0.0 };
        }
        if done {
            return 1.0;
        }
        // Rounding must not finish what is not finished.
        (sum / total).min(1.0 - f64::EPSILON)
    }
}

fn check_id(id: &str) -> Result<(), Refusal> {
    let problem = if id.trim().is_empty() {
        "is required for each step and must not be blank"
    } else if id.contains('/') {
        "must not contain `/`, which separates the names of a path"
    } else if id.chars().count() > StepTree::MAX_ID_CHARS {
        "must have at most 200 characters"
    } else {
        return Ok(());
    };
    Err(Refusal::Invalid(Invalid::new("id", problem)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AT: Timestamp = Timestamp(1_000);

    fn tree(specs: &[StepSpec]) -> StepTree {
        let mut tree = StepTree::default();
        tree.check(specs).unwrap();
        tree.declare(specs, AT);
        tree
    }

    fn report(tree: &mut StepTree, step: &str, value: f64) {
        let index = tree.find(step).unwrap();
        tree.check_report(index, value).unwrap();
        tree.report(index, value, AT);
    }

    /// In the original: the documented sub-step update never moved anything.
    #[test]
    fn flaw_7_updating_a_sub_step_moves_its_parent_and_the_whole() {
        let mut tree = tree(&[
            StepSpec::new("data-loading"),
            StepSpec::new("questions").weight(3.0).steps([StepSpec::new("q1"), StepSpec::new("q2")]),
        ]);
        report(&mut tree, "q1", 1.0);
        assert_eq!(tree.steps()[1].progress, 0.5);
        assert_eq!(tree.progress(), 0.375);
    }

    /// In the original: a weight of 0 became 1.
    #[test]
    fn flaw_weight_zero_is_zero_not_one() {
        let mut tree = tree(&[StepSpec::new("note").weight(0.0), StepSpec::new("work")]);
        report(&mut tree, "note", 1.0);
        assert_eq!(tree.progress(), 0.0);
        report(&mut tree, "work", 1.0);
        assert_eq!(tree.progress(), 1.0);
    }

    #[test]
    fn steps_that_all_weigh_nothing_are_done_when_all_are_done() {
        let mut tree = tree(&[StepSpec::new("a").weight(0.0), StepSpec::new("b").weight(0.0)]);
        report(&mut tree, "a", 1.0);
        assert_eq!(tree.progress(), 0.0);
        report(&mut tree, "b", 1.0);
        assert_eq!(tree.progress(), 1.0);
    }

    /// In the original: an update to a step that was not the current one was dropped.
    #[test]
    fn flaw_steps_may_be_reported_in_any_order() {
        let mut tree = tree(&[StepSpec::new("a"), StepSpec::new("b"), StepSpec::new("c")]);
        report(&mut tree, "c", 1.0);
        report(&mut tree, "a", 0.5);
        assert_eq!(tree.progress(), 0.5);
    }

    #[test]
    fn a_step_is_found_by_path_or_by_a_unique_id() {
        let tree = tree(&[
            StepSpec::new("load").steps([StepSpec::new("parse"), StepSpec::new("check")]),
            StepSpec::new("save").steps([StepSpec::new("check")]),
        ]);
        assert_eq!(tree.find("load/parse").unwrap(), 1);
        assert_eq!(tree.find("parse").unwrap(), 1);
        assert_eq!(tree.find("save/check").unwrap(), 4);
        assert!(matches!(tree.find("check"), Err(Refusal::AmbiguousStep { .. })));
        assert!(matches!(tree.find("nope"), Err(Refusal::UnknownStep { .. })));
    }

    #[test]
    fn terminal_escapes_are_no_part_of_a_step_s_names() {
        let mut declared =
            [StepSpec::new("\u{1b}[1mload\u{1b}[0m").title("\u{9b}31mLoad").steps([StepSpec::new("a")])];
        declared.iter_mut().for_each(StepSpec::drop_escapes);
        let tree = tree(&declared);
        assert_eq!((tree.path(1), tree.label_path(1)), ("load/a".to_owned(), "Load › a".to_owned()));
        assert_eq!(tree.find("\u{1b}[1mload\u{1b}[0m/a").unwrap(), 1);
        assert!(tree.find("\u{1b}[1mloa").is_err());
    }

    #[test]
    fn naming_a_step_again_adds_to_it_and_keeps_its_progress() {
        let mut tree = tree(&[StepSpec::new("load"), StepSpec::new("save")]);
        report(&mut tree, "load", 1.0);
        let more = [StepSpec::new("save").steps([StepSpec::new("rows"), StepSpec::new("index")])];
        tree.check(&more).unwrap();
        tree.declare(&more, AT);
        assert_eq!(tree.steps().len(), 4);
        assert_eq!(tree.progress(), 0.5);
        report(&mut tree, "save/rows", 1.0);
        assert_eq!(tree.progress(), 0.75);
    }

    #[test]
    fn duplicate_slashed_and_blank_ids_are_refused() {
        let tree = StepTree::default();
        assert!(matches!(
            tree.check(&[StepSpec::new("a"), StepSpec::new("a")]),
            Err(Refusal::DuplicateStep { .. })
        ));
        assert!(tree.check(&[StepSpec::new("a/b")]).is_err());
        assert!(tree.check(&[StepSpec::new(" ")]).is_err());
        assert!(tree.check(&[]).is_err());
        for weight in [f64::NAN, f64::INFINITY, -1.0, 2e9] {
            assert!(tree.check(&[StepSpec::new("a").weight(weight)]).is_err(), "{weight}");
        }
    }

    #[test]
    fn a_parent_takes_no_number_but_one() {
        let mut tree = tree(&[StepSpec::new("p").steps([StepSpec::new("a"), StepSpec::new("b")])]);
        assert!(matches!(tree.check_report(0, 0.5), Err(Refusal::StepHasParts { .. })));
        report(&mut tree, "p", 1.0);
        assert!(tree.steps().iter().all(Step::is_done));
    }

    fn specs(depth: u32) -> impl Strategy<Value = Vec<StepSpec>> {
        let leaf =
            (0..4_u8, 0.0..5.0_f64).prop_map(|(id, weight)| StepSpec::new(format!("s{id}")).weight(weight));
        let step = leaf.prop_recursive(depth, 40, 4, |inner| {
            (0..4_u8, 0.0..5.0_f64, prop::collection::vec(inner, 0..4)).prop_map(|(id, weight, steps)| {
                StepSpec::new(format!("s{id}")).weight(weight).steps(dedup(steps))
            })
        });
        prop::collection::vec(step, 1..4).prop_map(dedup)
    }

    fn dedup(steps: Vec<StepSpec>) -> Vec<StepSpec> {
        let mut seen = std::collections::HashSet::new();
        steps.into_iter().filter(|step| seen.insert(step.id.clone())).collect()
    }

    proptest! {
        #[test]
        fn any_reports_in_any_order_keep_every_number_in_range_and_every_parent_a_mean(
            first in specs(3),
            later in specs(2),
            reports in prop::collection::vec((any::<prop::sample::Index>(), 0.0..=1.0_f64), 0..60),
            grow_at in 0..60_usize,
        ) {
            let mut tree = tree(&first);
            for (turn, (which, value)) in reports.iter().enumerate() {
                if turn == grow_at && tree.check(&later).is_ok() {
                    tree.declare(&later, AT);
                }
                let leaves: Vec<usize> = (0..tree.steps().len())
                    .filter(|&index| tree.steps()[index].children.is_empty())
                    .collect();
                let leaf = leaves[which.index(leaves.len())];
                let (before, parent) = (tree.clone(), tree.steps()[leaf].parent);
                tree.check_report(leaf, *value).unwrap();
                tree.report(leaf, *value, AT);
                let moved = tree.steps()[leaf].progress > before.steps()[leaf].progress;
                if let Some(parent) = parent {
                    // A sub-step's update always moves its parent, unless it weighs nothing.
                    if moved && f64::from(tree.steps()[leaf].weight) > 1e-6 && *value - before.steps()[leaf].progress > 1e-6 {
                        prop_assert!(tree.steps()[parent].progress > before.steps()[parent].progress);
                    }
                }
                for (index, step) in tree.steps().iter().enumerate() {
                    prop_assert!((0.0..=1.0).contains(&step.progress));
                    prop_assert!(step.progress >= before.steps()[index].progress);
                    if !step.children.is_empty() {
                        prop_assert_eq!(step.progress, tree.mean(&step.children));
                    }
                }
                prop_assert!(tree.progress() >= before.progress());
                prop_assert_eq!(&StepTree::restore(stored(&tree)), &tree);
            }
            for index in 0..tree.steps().len() {
                tree.report(index, 1.0, AT);
            }
            prop_assert_eq!(tree.progress(), 1.0);
        }

        #[test]
        fn parallel_reporters_reach_the_same_tree_in_any_order(
            declared in specs(3),
            mut reports in prop::collection::vec((any::<prop::sample::Index>(), 0.0..=1.0_f64), 0..30),
        ) {
            let run = |reports: &[(prop::sample::Index, f64)]| {
                let mut tree = tree(&declared);
                let leaves: Vec<usize> = (0..tree.steps().len())
                    .filter(|&index| tree.steps()[index].children.is_empty())
                    .collect();
                for (which, value) in reports {
                    tree.report(leaves[which.index(leaves.len())], *value, AT);
                }
                tree
            };
            let one = run(&reports);
            reports.reverse();
            prop_assert_eq!(one, run(&reports));
        }
    }

    /// The tree's steps as a store keeps them: without what is derived.
    fn stored(tree: &StepTree) -> Vec<Step> {
        tree.steps().iter().map(|step| Step { children: Vec::new(), ..step.clone() }).collect()
    }
}
