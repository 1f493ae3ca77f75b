//! Managing users and tokens: by an admin through the server, or by whoever holds the database file
//! through the command line.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::sign_in::{hash_of, link_lasts, new_secret, password_hash};
use super::{Caller, Service, ServiceError};
use crate::model::{Author, Invalid, Permission, Role, Timestamp};
use crate::store::{AccountStore, TokenRecord, UserRecord};

/// A token to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// Unique; the name its actions are recorded under.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Whether it may name another author than itself.
    pub act_as: bool,
    /// How long it is good; `None` is until revoked.
    pub lasts: Option<Duration>,
}

/// A new token's secret. Shown once.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenSecret(pub String);

/// What a bearer token begins with, so that people and scanners recognise one.
const TOKEN_PREFIX: &str = "lh_";
/// The name of the token that the settings make, and remove.
const BOOTSTRAP: &str = "bootstrap";
/// How long a token may be good, where it ends at all: a second to ten years.
pub const TOKEN_LASTS: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3_653 * 86_400);

/// A name as a user or a token may have it. Nothing else can be a user's, so a sign-in asks no further.
pub(super) fn check_name(name: &str) -> Result<String, Invalid> {
    let name =
        Author::new(name).map_err(|invalid| Invalid { field: "name".to_owned(), ..invalid })?.into_string();
    if name.chars().any(char::is_control) {
        return Err(Invalid::new("name", "must not contain control characters"));
    }
    Ok(name)
}

/// Adds a user without a password. Refused where the name is taken.
pub async fn add_user(
    accounts: &dyn AccountStore,
    name: &str,
    role: Role,
    now: Timestamp,
) -> Result<UserRecord, ServiceError> {
    let name = check_name(name)?;
    if accounts.user(&name).await?.is_some() {
        return Err(ServiceError::Conflict(format!("There is a user `{name}` already.")));
    }
    let user = UserRecord { name, role, password: None, created_at: now };
    accounts.put_user(user.clone()).await?;
    Ok(user)
}

async fn known_user(accounts: &dyn AccountStore, name: &str) -> Result<UserRecord, ServiceError> {
    accounts.user(name).await?.ok_or_else(|| ServiceError::NotFound(format!("There is no user `{name}`.")))
}

/// Gives a user another role.
pub async fn set_role(accounts: &dyn AccountStore, name: &str, role: Role) -> Result<(), ServiceError> {
    let user = known_user(accounts, name).await?;
    Ok(accounts.put_user(UserRecord { role, ..user }).await?)
}

/// Sets a user's password and ends the user's sessions.
pub async fn set_password(
    accounts: &dyn AccountStore,
    name: &str,
    password: String,
) -> Result<(), ServiceError> {
    let user = known_user(accounts, name).await?;
    let password = Some(password_hash(password).await?);
    accounts.put_user(UserRecord { password, ..user }).await?;
    Ok(accounts.remove_sessions_of(name).await?)
}

/// Removes a user. Refused for the last admin, or nobody could sign in any more.
pub async fn remove_user(accounts: &dyn AccountStore, name: &str) -> Result<(), ServiceError> {
    let user = known_user(accounts, name).await?;
    let admins = accounts.users().await?.into_iter().filter(|user| user.role == Role::Admin).count();
    if user.role == Role::Admin && admins == 1 {
        return Err(ServiceError::Conflict(format!("`{name}` is the only admin. Make another one first.")));
    }
    accounts.remove_user(name).await?;
    Ok(())
}

/// Makes a one-time sign-in link for a user. Returns its secret.
pub async fn make_link(
    accounts: &dyn AccountStore,
    name: &str,
    now: Timestamp,
) -> Result<String, ServiceError> {
    let user = known_user(accounts, name).await?;
    let secret = new_secret();
    accounts.add_link(hash_of(&secret), &user.name, now.plus(link_lasts())).await?;
    Ok(secret)
}

/// Whether it is the token that the settings make. One of that name that is different in kind was made by
/// hand before the name was kept for it.
pub(super) fn is_bootstrap(token: &TokenRecord) -> bool {
    token.name == BOOTSTRAP && token.role == Role::Admin && token.act_as && token.expires_at.is_none()
}

/// Makes a token. Refused where the name is taken.
pub async fn add_token(
    accounts: &dyn AccountStore,
    new: NewToken,
    now: Timestamp,
) -> Result<TokenSecret, ServiceError> {
    if new.name.trim() == BOOTSTRAP {
        return Err(Invalid::new("name", "must not be `bootstrap`: the settings make that token").into());
    }
    if new.lasts.is_some_and(|lasts| !TOKEN_LASTS.contains(&lasts)) {
        return Err(Invalid::new("expiresIn", "must be between 1 second and 10 years").into());
    }
    let secret = format!("{TOKEN_PREFIX}{}", new_secret());
    put_token(accounts, new, &secret, now).await?;
    Ok(TokenSecret(secret))
}

async fn put_token(
    accounts: &dyn AccountStore,
    new: NewToken,
    secret: &str,
    now: Timestamp,
) -> Result<(), ServiceError> {
    let name = check_name(&new.name)?;
    let token = TokenRecord {
        name: name.clone(),
        hash: hash_of(secret),
        role: new.role,
        act_as: new.act_as,
        created_at: now,
        expires_at: new.lasts.map(|lasts| now.plus(lasts)),
    };
    if accounts.add_token(token).await? {
        Ok(())
    } else {
        Err(ServiceError::Conflict(format!("There is a token `{name}` already. Revoke it first.")))
    }
}

/// Revokes a token.
pub async fn remove_token(accounts: &dyn AccountStore, name: &str) -> Result<(), ServiceError> {
    if accounts.remove_token(name).await? {
        Ok(())
    } else {
        Err(ServiceError::NotFound(format!("There is no token `{name}`.")))
    }
}

impl Service {
    /// All users.
    pub async fn users(&self, caller: &Caller) -> Result<Vec<UserRecord>, ServiceError> {
        caller.must(Permission::ManageAccounts)?;
        Ok(self.accounts.users().await?)
    }

    /// Adds a user and makes its sign-in link.
    pub async fn add_user(&self, caller: &Caller, name: &str, role: Role) -> Result<String, ServiceError> {
        caller.must(Permission::ManageAccounts)?;
        self.must_be_open()?;
        let user = add_user(&*self.accounts, name, role, self.now()).await?;
        make_link(&*self.accounts, &user.name, self.now()).await
    }

    /// Removes a user.
    pub async fn remove_user(&self, caller: &Caller, name: &str) -> Result<(), ServiceError> {
        caller.must(Permission::ManageAccounts)?;
        self.must_be_open()?;
        remove_user(&*self.accounts, name).await?;
        self.credentials.forget();
        Ok(())
    }

    /// All tokens, without their secrets.
    pub async fn tokens(&self, caller: &Caller) -> Result<Vec<TokenRecord>, ServiceError> {
        caller.must(Permission::ManageAccounts)?;
        Ok(self.accounts.tokens().await?)
    }

    /// Makes a token.
    pub async fn add_token(&self, caller: &Caller, new: NewToken) -> Result<TokenSecret, ServiceError> {
        caller.must(Permission::ManageAccounts)?;
        self.must_be_open()?;
        add_token(&*self.accounts, new, self.now()).await
    }

    /// Revokes a token.
    pub async fn remove_token(&self, caller: &Caller, name: &str) -> Result<(), ServiceError> {
        caller.must(Permission::ManageAccounts)?;
        self.must_be_open()?;
        remove_token(&*self.accounts, name).await?;
        self.credentials.forget();
        Ok(())
    }

    /// Sets the first credentials of an unattended installation. Run at every start: it brings the
    /// password of `admin` and the bootstrap token to what the settings say. A bootstrap token they no
    /// longer say anything of is removed: who took it out means it to be worth nothing.
    pub async fn set_first_credentials(
        &self,
        admin_password: Option<String>,
        bootstrap_token: Option<String>,
    ) -> Result<(), ServiceError> {
        let accounts = &*self.accounts;
        if let Some(password) = admin_password {
            if accounts.user("admin").await?.is_none() {
                add_user(accounts, "admin", Role::Admin, self.now()).await?;
            }
            // Setting it anew would end everybody's sessions at each restart.
            let admin = accounts.user("admin").await?;
            if super::sign_in::whose_is(admin, password.clone()).await?.is_none() {
                set_password(accounts, "admin", password).await?;
            }
        }
        let Some(secret) = bootstrap_token else {
            if accounts.tokens().await?.iter().any(is_bootstrap) {
                accounts.remove_token(BOOTSTRAP).await?;
                self.credentials.forget();
                tracing::info!("The bootstrap token is not in the settings any more, and is revoked");
            }
            return Ok(());
        };
        if secret.len() < 16 {
            return Err(Invalid::new("LONGHAUL_BOOTSTRAP_TOKEN", "must have at least 16 characters").into());
        }
        let current = accounts.token(&hash_of(&secret)).await?;
        if !current.as_ref().is_some_and(is_bootstrap) {
            accounts.remove_token(BOOTSTRAP).await?;
            let new = NewToken { name: BOOTSTRAP.to_owned(), role: Role::Admin, act_as: true, lasts: None };
            put_token(accounts, new, &secret, self.now()).await?;
            self.credentials.forget();
        }
        Ok(())
    }
}
