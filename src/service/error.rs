//! Why something was not done, for whoever asked.

use serde_json::{Value, json};
use thiserror::Error;

use crate::model::{Invalid, Permission, Refusal, Role};
use crate::store::{AccountRefusal, ChangeError, StoreError};

/// Why something was not done. Nothing changed.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ServiceError {
    /// The rules refuse it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nobody is signed in, and no valid token came.
    #[error("Sign in, or send a token in the Authorization header: `Authorization: Bearer …`.")]
    Unauthenticated,
    /// The name or the password is wrong. It does not say which.
    #[error("That name and password do not go together.")]
    WrongPassword,
    /// The one-time link was used, or is too old.
    #[error("This sign-in link was already used or has expired. Ask for a new one.")]
    LinkExpired,
    /// The caller may not do it.
    #[error("Your role ({role}) may not do this; it takes {}.", needed(*permission))]
    Forbidden {
        /// What the caller is.
        role: Role,
        /// What it would take.
        permission: Permission,
    },
    /// A reporter may report on its own jobs only.
    #[error("This job was started by {owner}. A reporter may report only on the jobs it started itself.")]
    NotYours {
        /// Who started it.
        owner: String,
    },
    /// The body names an author and the token may not.
    #[error(
        "This credential may not start jobs in the name of {author}. Leave `author` out, or use a token made with --act-as."
    )]
    MayNotActAs {
        /// The author named.
        author: String,
    },
    /// Too many wrong passwords.
    #[error(
        "Too many wrong passwords for this name from here. Try again in {}. A browser that was signed in before \
         is let in; or make a one-time link on the server with `longhaul user link NAME`.",
        minutes(*seconds)
    )]
    TooManyAttempts {
        /// When to come again.
        seconds: u64,
    },
    /// Too many are signing in at this moment.
    #[error("Too many people are signing in at this moment. Try again in {seconds} seconds.")]
    Busy {
        /// When to come again.
        seconds: u64,
    },
    /// What was confirmed is not what was asked for.
    #[error("{0}")]
    NotConfirmed(String),
    /// There is no such thing, other than a job.
    #[error("{0}")]
    NotFound(String),
    /// It is there already.
    #[error("{0}")]
    Conflict(String),
    /// The server takes no more work.
    #[error("The server is stopping. Try again in a moment.")]
    Stopping,
    /// What is stored of this makes no sense; all else may be in order.
    #[error("{0} `longhaul check` says what is wrong.")]
    Unreadable(String),
    /// The store cannot be used.
    #[error("{0}")]
    Unavailable(String),
}

fn needed(permission: Permission) -> &'static str {
    Role::ALL.into_iter().find(|role| role.may(permission)).map_or("no role", Role::name)
}

fn minutes(seconds: u64) -> String {
    match seconds.div_ceil(60) {
        0 | 1 => "a minute".to_owned(),
        minutes => format!("{minutes} minutes"),
    }
}

impl ServiceError {
    /// The stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Unauthenticated => "not_signed_in",
            Self::WrongPassword => "wrong_password",
            Self::LinkExpired => "link_expired",
            Self::Forbidden { .. } => "forbidden",
            Self::NotYours { .. } => "not_your_job",
            Self::MayNotActAs { .. } => "may_not_act_as",
            Self::TooManyAttempts { .. } => "too_many_attempts",
            Self::Busy { .. } => "sign_in_busy",
            Self::NotConfirmed(_) => "not_confirmed",
            Self::NotFound(_) => "not_found",
            Self::Conflict(_) => "conflict",
            Self::Stopping => "stopping",
            Self::Unreadable(_) => "unreadable",
            Self::Unavailable(_) => "store_unavailable",
        }
    }

    /// What a program may want to know beside the sentence.
    pub fn details(&self) -> Option<Value> {
        match self {
            Self::Refused(refusal) => refusal.details(),
            Self::Forbidden { role, permission } => Some(json!({"role": role, "permission": permission})),
            _ => None,
        }
    }

    /// Seconds after which trying again makes sense.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Refused(
                Refusal::ActiveLimit { .. } | Refusal::ActiveShare { .. } | Refusal::TooManySearches,
            ) => Some(5),
            Self::TooManyAttempts { seconds } | Self::Busy { seconds } => Some(*seconds),
            Self::Stopping | Self::Unavailable(_) => Some(2),
            _ => None,
        }
    }
}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(refusal) => Self::Refused(refusal),
            unread @ StoreError::Corrupt(_) => Self::Unreadable(unread.to_string()),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<Invalid> for ServiceError {
    fn from(invalid: Invalid) -> Self {
        Self::Refused(invalid.into())
    }
}

impl From<ChangeError> for ServiceError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Store(error) => error.into(),
            ChangeError::Refused(AccountRefusal::NoAuthority { holder: None }) => Self::Unauthenticated,
            ChangeError::Refused(AccountRefusal::NoAuthority { holder: Some(role) }) => {
                Self::Forbidden { role, permission: Permission::ManageAccounts }
            }
            ChangeError::Refused(refusal @ AccountRefusal::Missing { .. }) => {
                Self::NotFound(refusal.to_string())
            }
            ChangeError::Refused(refusal) => Self::Conflict(refusal.to_string()),
        }
    }
}
