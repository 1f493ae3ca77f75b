//! Declaring steps: what may be declared, and what it adds.

use std::collections::HashSet;

use super::{Siblings, Step, StepTree};
use crate::model::refusal::Refusal;
use crate::model::step_spec::{StepSpec, Weight, check_id};
use crate::model::text::{Invalid, Title};
use crate::model::time::Timestamp;

fn invalid(problem: impl Into<String>) -> Refusal {
    Refusal::Invalid(Invalid::new("steps", problem))
}

fn too_many() -> Refusal {
    invalid(format!("may be {} in one job at most", StepTree::MAX_STEPS))
}

fn too_deep() -> Refusal {
    invalid(format!("may be nested {} deep at most", StepTree::MAX_DEPTH))
}

impl StepTree {
    /// Checks steps that come from elsewhere, in index order, as [`Self::check`] checks a declaration.
    pub fn check_stored(steps: &[Step]) -> Result<(), Refusal> {
        if steps.len() > Self::MAX_STEPS {
            return Err(too_many());
        }
        let mut depths: Vec<usize> = Vec::with_capacity(steps.len());
        let mut names = HashSet::with_capacity(steps.len());
        for (index, step) in steps.iter().enumerate() {
            check_id(&step.id)?;
            if let Some(title) = &step.title {
                Title::new(title.as_str())?;
            }
            if !(step.progress.is_finite() && (0.0..=1.0).contains(&step.progress)) {
                return Err(invalid("must have a progress between 0 and 1"));
            }
            let depth = match step.parent {
                None => 1,
                Some(parent) if parent < index => depths[parent] + 1,
                Some(_) => return Err(invalid("must come after the step they belong to")),
            };
            if depth > Self::MAX_DEPTH {
                return Err(too_deep());
            }
            depths.push(depth);
            if !names.insert((step.parent, step.id.as_str())) {
                return Err(Refusal::DuplicateStep { step: step.id.clone() });
            }
        }
        Ok(())
    }

    /// Checks a declaration against this tree, changing nothing.
    pub fn check(&self, specs: &[StepSpec]) -> Result<(), Refusal> {
        if specs.is_empty() {
            return Err(invalid("must name at least one step"));
        }
        let mut count = self.steps.len();
        self.check_level(specs, Some(None), 1, &mut count)
    }

    /// Checks steps that are declared below `parent`; `None` where that is not there yet.
    fn check_level(
        &self,
        specs: &[StepSpec],
        parent: Option<Option<usize>>,
        depth: usize,
        count: &mut usize,
    ) -> Result<(), Refusal> {
        if depth > Self::MAX_DEPTH {
            return Err(too_deep());
        }
        let mut seen = HashSet::with_capacity(specs.len());
        for spec in specs {
            spec.check()?;
            if !seen.insert(spec.id.as_str()) {
                return Err(Refusal::DuplicateStep { step: spec.id.clone() });
            }
            let existing = parent.and_then(|parent| self.child(parent, &spec.id));
            if existing.is_none() {
                *count += 1;
                if *count > Self::MAX_STEPS {
                    return Err(too_many());
                }
            }
            if !spec.steps.is_empty() {
                self.check_level(&spec.steps, existing.map(Some), depth + 1, count)?;
            }
        }
        Ok(())
    }

    /// Adds what [`Self::check`] accepted. Returns the indexes of all steps it added or changed.
    pub fn declare(&mut self, specs: &[StepSpec], at: Timestamp) -> Vec<usize> {
        let mut touched = Vec::new();
        let first = self.steps.len();
        self.declare_level(specs, None, first, &mut touched);
        self.names.add_from(first, &self.steps);
        touched.extend(self.mend_means(&touched, at));
        touched.sort_unstable();
        touched.dedup();
        touched
    }

    /// Adds steps below `parent`. Those from the index `first` on are new, and their names not known yet.
    fn declare_level(
        &mut self,
        specs: &[StepSpec],
        parent: Option<usize>,
        first: usize,
        touched: &mut Vec<usize>,
    ) {
        for spec in specs {
            let weight = spec.weight.and_then(|weight| Weight::new(weight).ok());
            let title = spec.title.clone().filter(|title| *title != spec.id);
            let known = parent.is_none_or(|parent| parent < first).then(|| self.child(parent, &spec.id));
            let index = match known.flatten() {
                Some(index) => {
                    let step = &self.steps[index];
                    let titled = spec.title.is_some() && step.title != title;
                    let weighed = weight.is_some_and(|weight| step.weight != weight);
                    if titled || weighed {
                        let step = self.steps.to_mut(index);
                        step.title = if titled { title } else { step.title.take() };
                        step.weight = weight.unwrap_or(step.weight);
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
                        children: Siblings::default(),
                        started_at: None,
                        ended_at: None,
                    });
                    match parent {
                        Some(parent) => self.steps.to_mut(parent).children.push(index),
                        None => self.top.push(index),
                    }
                    touched.push(index);
                    index
                }
            };
            self.declare_level(&spec.steps, Some(index), first, touched);
        }
    }
}
