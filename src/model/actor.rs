//! Who did something: taken from the credential, never from a request's body (ARCHITECTURE decision 7).

use std::fmt;

use serde::{Deserialize, Serialize};

/// The sort of credential or component that acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A person signed in to the dashboard.
    User,
    /// A program with a bearer token.
    Token,
    /// Code in this process: a built-in job or a `JobLogger`.
    Runner,
    /// Longhaul itself: the sweep, the restart.
    System,
}

/// Who acted, as the log records it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Actor {
    /// What sort of actor.
    pub kind: ActorKind,
    /// The user's name, the token's name, or the component's.
    pub name: String,
}

impl Actor {
    /// A signed-in person.
    pub fn user(name: impl Into<String>) -> Self {
        Self { kind: ActorKind::User, name: name.into() }
    }

    /// The holder of a bearer token.
    pub fn token(name: impl Into<String>) -> Self {
        Self { kind: ActorKind::Token, name: name.into() }
    }

    /// Code running in this process.
    pub fn runner() -> Self {
        Self { kind: ActorKind::Runner, name: "runner".to_owned() }
    }

    /// Longhaul itself.
    pub fn system(component: &str) -> Self {
        Self { kind: ActorKind::System, name: component.to_owned() }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ActorKind::User => f.write_str(&self.name),
            ActorKind::Token => write!(f, "token {}", self.name),
            ActorKind::Runner => f.write_str("the runner"),
            ActorKind::System => write!(f, "Longhaul ({})", self.name),
        }
    }
}
