//! Steps as a reporter declares them.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::escapes::without_escapes;
use super::refusal::Refusal;
use super::step_tree::StepTree;
use super::text::{Invalid, Title};

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

    /// Checks its own names and weight, not the steps it is made of.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        check_id(&self.id)?;
        if let Some(title) = &self.title {
            Title::new(title.as_str())?;
        }
        if let Some(weight) = self.weight {
            Weight::new(weight)?;
        }
        Ok(())
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

/// Checks the name of a step.
pub(super) fn check_id(id: &str) -> Result<(), Refusal> {
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
