//! Where a tree's steps are kept: in blocks that its copies share, so that a copy costs little and a change costs
//! what it touches.
//!
//! A writer decides on a copy and gives it up where the disk refuses it; that copy is made for every report. Of a
//! tree of 10 000 steps a report copies the blocks of the steps it moves, and a number's mean is put together
//! from sums over so many siblings. They are always added up in the same order: a tree that is read back has
//! the same numbers to the last bit.

use std::ops::{Deref, Index};
use std::sync::Arc;

use super::Step;

/// So many steps are copied together, and so many siblings summed up together.
const BLOCK: usize = 32;

/// Steps in index order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Steps(Vec<Arc<Vec<Step>>>);

impl Steps {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.last().map_or(0, |last| (self.0.len() - 1) * BLOCK + last.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The step with this index.
    pub fn get(&self, index: usize) -> Option<&Step> {
        self.0.get(index / BLOCK)?.get(index % BLOCK)
    }

    /// All of them.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Step> + Clone {
        self.0.iter().flat_map(|block| block.iter())
    }

    /// The step with this index, to be changed. Its block is copied where another tree has it too.
    pub(super) fn to_mut(&mut self, index: usize) -> &mut Step {
        &mut Arc::make_mut(&mut self.0[index / BLOCK])[index % BLOCK]
    }

    /// How many blocks are another's than `other`'s.
    #[cfg(test)]
    pub(super) fn blocks_not_shared_with(&self, other: &Self) -> usize {
        self.0.iter().zip(&other.0).filter(|(one, other)| !Arc::ptr_eq(one, other)).count()
    }

    pub(super) fn push(&mut self, step: Step) {
        match self.0.last_mut().filter(|last| last.len() < BLOCK) {
            Some(last) => Arc::make_mut(last).push(step),
            None => self.0.push(Arc::new(vec![step])),
        }
    }
}

impl Index<usize> for Steps {
    type Output = Step;

    fn index(&self, index: usize) -> &Step {
        &self.0[index / BLOCK][index % BLOCK]
    }
}

impl FromIterator<Step> for Steps {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Self {
        let mut all = Self::default();
        steps.into_iter().for_each(|step| all.push(step));
        all
    }
}

/// The steps a step is made of, or those at the top, in the order they were declared: that of their indexes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Siblings(Option<Arc<Level>>);

#[derive(Clone, Debug, Default, PartialEq)]
struct Level {
    members: Arc<Vec<usize>>,
    /// One for each block of members.
    sums: Vec<Sum>,
}

/// What a mean needs to know of a few siblings.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sum {
    /// Of their weights.
    weight: f64,
    /// Of their weights, each times its progress.
    done: f64,
    /// One of them is not done.
    is_open: bool,
    /// One of them that weighs anything is not done.
    is_open_work: bool,
}

impl Deref for Siblings {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        self.0.as_ref().map_or(&[], |level| level.members.as_slice())
    }
}

impl Siblings {
    /// Adds a step, whose index is above theirs. Its block is to be summed up again.
    pub(super) fn push(&mut self, index: usize) {
        Arc::make_mut(&mut Arc::make_mut(self.0.get_or_insert_default()).members).push(index);
    }

    /// The block a member is in.
    pub(super) fn block_of(&self, index: usize) -> usize {
        self.binary_search(&index).unwrap_or_else(|place| place) / BLOCK
    }

    /// How many blocks there are.
    pub(super) fn blocks(&self) -> usize {
        self.len().div_ceil(BLOCK)
    }

    /// Sums up a block again, whose steps have changed.
    pub(super) fn sum_up(&mut self, block: usize, steps: &Steps) {
        let Some(level) = &mut self.0 else { return };
        let mut sum = Sum::default();
        for &index in level.members.iter().skip(block * BLOCK).take(BLOCK) {
            let step = &steps[index];
            let (weight, done) = (f64::from(step.weight), step.is_done());
            sum.weight += weight;
            sum.done += weight * step.progress;
            sum.is_open |= !done;
            sum.is_open_work |= !done && weight != 0.0;
        }
        let level = Arc::make_mut(level);
        level.sums.resize(level.members.len().div_ceil(BLOCK), Sum::default());
        if let Some(known) = level.sums.get_mut(block) {
            *known = sum;
        }
    }

    /// Their weighted mean, 0..=1; 0 where there are none.
    pub(super) fn mean(&self) -> f64 {
        let Some(level) = &self.0 else { return 0.0 };
        let mut all = Sum::default();
        for sum in &level.sums {
            all.weight += sum.weight;
            all.done += sum.done;
            all.is_open |= sum.is_open;
            all.is_open_work |= sum.is_open_work;
        }
        if all.weight == 0.0 {
            // Nothing weighs anything: there is no mean, only done or not done.
            return if all.is_open { 0.0 } else { 1.0 };
        }
        if !all.is_open_work {
            return 1.0;
        }
        // Rounding must not finish what is not finished.
        (all.done / all.weight).min(1.0 - f64::EPSILON)
    }
}

/// The steps by their names, for looking them up.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Names(Arc<Vec<u32>>);

impl Names {
    /// So many new ones are put into their places one by one; more are sorted in.
    const FEW: usize = 16;

    /// Adds the steps from this index on.
    pub(super) fn add_from(&mut self, first: usize, steps: &Steps) {
        if first >= steps.len() {
            return;
        }
        let name = |index: u32| {
            let step = &steps[index as usize];
            (step.id.as_str(), step.parent)
        };
        let new = first as u32..steps.len() as u32;
        let names = Arc::make_mut(&mut self.0);
        if new.len() <= Self::FEW {
            for index in new {
                let place = names.partition_point(|&other| name(other) < name(index));
                names.insert(place, index);
            }
        } else {
            names.extend(new);
            names.sort_by(|a, b| name(*a).cmp(&name(*b)));
        }
    }

    /// The step of that name below that parent.
    pub(super) fn find(&self, id: &str, parent: Option<usize>, steps: &Steps) -> Option<usize> {
        let place = self.0.binary_search_by(|&index| {
            let step = &steps[index as usize];
            (step.id.as_str(), step.parent).cmp(&(id, parent))
        });
        place.ok().map(|place| self.0[place] as usize)
    }

    /// The first two steps of that name, wherever they are.
    pub(super) fn find_anywhere(&self, id: &str, steps: &Steps) -> (Option<usize>, Option<usize>) {
        let first = self.0.partition_point(|&index| steps[index as usize].id.as_str() < id);
        let mut same = self.0[first..].iter().map(|&index| index as usize);
        let mut next = || same.next().filter(|&index| steps[index].id == id);
        (next(), next())
    }
}
