//! What a credential may do.
//!
//! Four roles, each holding everything the one before it holds, because an admin tool's access list
//! should fit in one sentence. A permission is checked in `service/`, never by hiding a button.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A credential's role, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// May read everything.
    Viewer,
    /// May also start jobs, and report on the jobs it started.
    Reporter,
    /// May also abort, force-fail, retry and clean up any job.
    Operator,
    /// May also report on any job, and manage users and tokens.
    Admin,
}

/// One thing a person or program can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// See jobs, logs and health.
    Read,
    /// Start a job.
    Start,
    /// Report on a job one started oneself.
    ReportOwn,
    /// Report on a job somebody else started.
    ReportAny,
    /// Abort, force-fail, retry, sweep, emergency cleanup.
    Recover,
    /// Manage users and tokens.
    ManageAccounts,
}

impl Role {
    /// Every role, weakest first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Reporter, Self::Operator, Self::Admin];

    /// The one table of who may do what.
    pub fn may(self, permission: Permission) -> bool {
        let needed = match permission {
            Permission::Read => Self::Viewer,
            Permission::Start | Permission::ReportOwn => Self::Reporter,
            Permission::Recover => Self::Operator,
            Permission::ReportAny | Permission::ManageAccounts => Self::Admin,
        };
        self >= needed
    }

    /// The role's name, as it is written in settings and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Reporter => "reporter",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or_else(|| format!("`{text}` is not a role: write viewer, reporter, operator or admin"))
    }
}
