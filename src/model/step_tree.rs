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

mod declare;
mod steps;

use std::borrow::Cow;
use std::collections::BTreeSet;

use self::steps::Names;
pub use self::steps::{Siblings, Steps};
use super::escapes::without_escapes;
use super::refusal::Refusal;
use super::step_spec::Weight;
use super::time::Timestamp;

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
    pub children: Siblings,
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

/// All steps of a job. A step's index never changes, and a parent's is always lower than its children's. Copies
/// share what neither has changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepTree {
    steps: Steps,
    top: Siblings,
    names: Names,
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
        let mut top = Siblings::default();
        for index in 0..steps.len() {
            // A parent comes before its children, or is none.
            steps[index].parent = steps[index].parent.filter(|&parent| parent < index);
            match steps[index].parent {
                Some(parent) => steps[parent].children.push(index),
                None => top.push(index),
            }
        }
        let mut tree = Self { steps: steps.into_iter().collect(), top, names: Names::default() };
        tree.names.add_from(0, &tree.steps);
        for index in (0..tree.steps.len()).rev() {
            if !tree.steps[index].children.is_empty() {
                let mut children = std::mem::take(&mut tree.steps.to_mut(index).children);
                (0..children.blocks()).for_each(|block| children.sum_up(block, &tree.steps));
                let step = tree.steps.to_mut(index);
                (step.progress, step.children) = (children.mean(), children);
            }
        }
        (0..tree.top.blocks()).for_each(|block| tree.top.sum_up(block, &tree.steps));
        tree
    }

    /// Moves every time there is. Returns the indexes of the steps that have one.
    pub fn move_times(&mut self, moved: impl Fn(Timestamp) -> Timestamp) -> Vec<usize> {
        let mut touched = Vec::new();
        for index in 0..self.steps.len() {
            let Step { started_at, ended_at, .. } = self.steps[index];
            if started_at.is_some() || ended_at.is_some() {
                let step = self.steps.to_mut(index);
                step.started_at = started_at.map(&moved);
                step.ended_at = ended_at.map(&moved);
                touched.push(index);
            }
        }
        touched
    }

    /// All steps, in index order.
    pub fn steps(&self) -> &Steps {
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
        self.top.mean()
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
        match self.names.find_anywhere(name, &self.steps) {
            (Some(index), None) => Ok(index),
            (Some(_), Some(_)) => Err(Refusal::AmbiguousStep { step: name.to_owned() }),
            (None, _) => Err(Refusal::UnknownStep {
                step: name.to_owned(),
                known: (0..self.steps.len().min(10)).map(|index| self.path(index)).collect(),
            }),
        }
    }

    fn find_path(&self, path: &str) -> Option<usize> {
        path.split('/').try_fold(None, |parent, id| self.child(parent, id).map(Some)).flatten()
    }

    /// The step of that name at the top, or below that step.
    fn child(&self, parent: Option<usize>, id: &str) -> Option<usize> {
        self.names.find(id, parent, &self.steps)
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
            let mut todo = self.steps[index].children.to_vec();
            while let Some(next) = todo.pop() {
                if self.steps[next].children.is_empty() {
                    self.set_leaf(next, 1.0, at, &mut touched);
                } else {
                    todo.extend_from_slice(&self.steps[next].children);
                }
            }
        }
        for parent in self.mend_means(&touched, at) {
            self.steps.to_mut(parent).started_at.get_or_insert(at);
            touched.push(parent);
        }
        touched.sort_unstable();
        touched.dedup();
        touched
    }

    fn set_leaf(&mut self, index: usize, value: f64, at: Timestamp, touched: &mut Vec<usize>) {
        if value <= self.steps[index].progress && self.steps[index].started_at.is_some() {
            return;
        }
        let step = self.steps.to_mut(index);
        step.started_at.get_or_insert(at);
        step.progress = step.progress.max(value);
        if step.is_done() {
            step.ended_at.get_or_insert(at);
        }
        touched.push(index);
    }

    /// Works out again what the steps above these are, whose numbers, weights or places are new. Returns their
    /// indexes.
    fn mend_means(&mut self, changed: &[usize], at: Timestamp) -> Vec<usize> {
        let mut mended = Vec::new();
        // Deepest first: a parent's index is lower than its children's, so one pass mends all means.
        let mut blocks: BTreeSet<(Option<usize>, usize)> =
            changed.iter().map(|&index| self.block_of(index)).collect();
        while let Some((parent, block)) = blocks.pop_last() {
            let Some(parent) = parent else {
                self.top.sum_up(block, &self.steps);
                continue;
            };
            let mut children = std::mem::take(&mut self.steps.to_mut(parent).children);
            children.sum_up(block, &self.steps);
            let is_last = blocks.last().is_none_or(|(other, _)| *other != Some(parent));
            let step = self.steps.to_mut(parent);
            if is_last {
                step.progress = children.mean();
                // A finished step that got more to do is not finished; one whose weights now add up is.
                step.ended_at = step.is_done().then(|| step.ended_at.unwrap_or(at));
                mended.push(parent);
            }
            step.children = children;
            if is_last {
                blocks.insert(self.block_of(parent));
            }
        }
        mended
    }

    /// Whose child a step is, and the block of siblings it is in.
    fn block_of(&self, index: usize) -> (Option<usize>, usize) {
        let parent = self.steps[index].parent;
        let siblings = parent.map_or(&self.top, |parent| &self.steps[parent].children);
        (parent, siblings.block_of(index))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::StepSpec;

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
                        prop_assert!((step.progress - mean(&tree, &step.children)).abs() < 1e-9);
                        prop_assert_eq!(step.is_done(), mean(&tree, &step.children) == 1.0);
                    }
                }
                prop_assert!(tree.progress() >= before.progress());
                prop_assert_eq!(&StepTree::restore(stored(&before)), &before, "what it was copied from is as it was");
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

    /// What a report costs is what it touches: the blocks of the step, of those above it and of their sums.
    #[test]
    fn of_a_large_tree_a_report_copies_a_small_part() {
        let specs: Vec<_> = (0..100)
            .map(|n| StepSpec::new(format!("p{n}")).steps((0..99).map(|m| StepSpec::new(format!("s{m}")))))
            .collect();
        let before = tree(&specs);
        let mut after = before.clone();
        assert_eq!(before.steps().blocks_not_shared_with(after.steps()), 0);
        assert_eq!(after.steps().len(), 9_900 + 100);
        report(&mut after, "p50/s50", 0.5);
        assert_eq!(before.steps().blocks_not_shared_with(after.steps()), 2, "its own, and its parent's");
        assert_eq!((before.progress(), before.steps()[before.find("p50/s50").unwrap()].progress), (0.0, 0.0));
        assert_eq!(after, StepTree::restore(stored(&after)));
        // To declare what is there, and to say what is known, copies nothing.
        let same = after.clone();
        assert_eq!(after.declare(&specs, AT), [0_usize; 0]);
        report(&mut after, "p50/s50", 0.4);
        assert_eq!(same.steps().blocks_not_shared_with(after.steps()), 0);
    }

    /// A level of this size is summed up in several blocks.
    #[test]
    fn a_wide_level_has_the_mean_of_all_its_steps() {
        let specs: Vec<_> =
            (0..100_u8).map(|n| StepSpec::new(format!("s{n}")).weight(f64::from(n % 7))).collect();
        let mut tree = tree(&specs);
        for n in (0..100_u8).rev() {
            report(&mut tree, &format!("s{n}"), f64::from(n) / 99.0);
            assert!((tree.progress() - mean(&tree, tree.top())).abs() < 1e-12, "{n}");
        }
        tree.declare(&[StepSpec::new("s7").weight(900.0), StepSpec::new("late").weight(0.0)], AT);
        assert!((tree.progress() - mean(&tree, tree.top())).abs() < 1e-12);
        for n in 0..100 {
            report(&mut tree, &format!("s{n}"), 1.0);
        }
        assert_eq!(tree.progress(), 1.0, "what weighs nothing is not waited for");
        assert_eq!(tree, StepTree::restore(stored(&tree)));
    }

    #[test]
    fn stored_steps_that_name_no_parent_before_them_are_at_the_top() {
        let specs = [StepSpec::new("a"), StepSpec::new("b")];
        let mut steps = stored(&tree(&specs));
        (steps[0].parent, steps[1].parent) = (Some(0), Some(7));
        let mut tree = StepTree::restore(steps);
        assert_eq!((tree.top(), tree.path(1).as_str()), (&[0, 1][..], "b"));
        report(&mut tree, "a", 1.0);
        assert_eq!(tree.progress(), 0.5);
    }

    fn mean(tree: &StepTree, level: &[usize]) -> f64 {
        let steps = || level.iter().map(|&index| &tree.steps()[index]);
        let weight: f64 = steps().map(|step| f64::from(step.weight)).sum();
        if steps().filter(|step| weight == 0.0 || f64::from(step.weight) > 0.0).all(Step::is_done) {
            return 1.0;
        }
        let done: f64 = steps().map(|step| f64::from(step.weight) * step.progress).sum();
        if weight == 0.0 { 0.0 } else { (done / weight).min(1.0 - f64::EPSILON) }
    }

    /// The tree's steps as a store keeps them: without what is derived.
    fn stored(tree: &StepTree) -> Vec<Step> {
        tree.steps().iter().map(|step| Step { children: Siblings::default(), ..step.clone() }).collect()
    }
}
