//! Managing users and tokens: by an admin through the server, or by whoever holds the database file
//! through the command line.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::sign_in::{AttemptFrom, hash_of, new_link, new_secret, password_hash, plausible_name, whose_is};
use super::{Caller, Service, ServiceError, audit};
use crate::model::{Invalid, Permission, Role, Timestamp};
use crate::store::{
    AccountChange, AccountRefusal, AccountStore, By, ChangeError, Grounds, TokenRecord, UserRecord,
    check_account_name,
};

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

/// Who makes a change: the holder of a credential, or whoever holds the database.
type Maker<'a> = Option<&'a Caller>;

fn by(maker: Maker<'_>, now: Timestamp) -> By {
    maker.map_or(By::Owner, |caller| By::Holder { hash: caller.credential, now })
}

/// Adds a user without a password. Refused where the name is taken, or looks like one that is.
pub async fn add_user(
    accounts: &dyn AccountStore,
    name: &str,
    role: Role,
    now: Timestamp,
) -> Result<UserRecord, ServiceError> {
    add_user_by(accounts, None, name, role, now).await
}

async fn add_user_by(
    accounts: &dyn AccountStore,
    maker: Maker<'_>,
    name: &str,
    role: Role,
    now: Timestamp,
) -> Result<UserRecord, ServiceError> {
    let user = UserRecord::new(check_account_name(name)?, role, now);
    accounts.change(AccountChange::AddUser(user.clone()), by(maker, now)).await?;
    audit::user_added(maker, &user.name, role);
    Ok(user)
}

async fn known_user(accounts: &dyn AccountStore, name: &str) -> Result<UserRecord, ServiceError> {
    let found = match plausible_name(name) {
        Some(plausible) => accounts.user(&plausible).await?,
        None => None,
    };
    found.ok_or_else(|| ServiceError::NotFound(format!("There is no user `{name}`.")))
}

/// Gives a user another role. Refused for the last admin.
pub async fn set_role(
    accounts: &dyn AccountStore,
    name: &str,
    role: Role,
    now: Timestamp,
) -> Result<(), ServiceError> {
    let user = known_user(accounts, name).await?;
    accounts.change(AccountChange::SetRole { account: user.id, role }, by(None, now)).await?;
    audit::role_changed(None, &user.name, user.role, role);
    Ok(())
}

/// Sets a user's password and ends the user's sessions and links.
pub async fn set_password(
    accounts: &dyn AccountStore,
    name: &str,
    password: String,
) -> Result<(), ServiceError> {
    let user = known_user(accounts, name).await?;
    let password = password_hash(password, AttemptFrom::Unknown).await?;
    // The user may have been removed while it was hashed; another of the same name is not meant.
    let set = accounts.set_password(password, Grounds::Owner { account: user.id }).await?;
    if set.is_none() {
        return Err(ServiceError::NotFound(format!("There is no user `{name}` any more.")));
    }
    audit::password_set(&user.name, None, "by the owner of the database");
    Ok(())
}

/// Removes a user. Refused for the last admin, or nobody could sign in any more.
pub async fn remove_user(
    accounts: &dyn AccountStore,
    name: &str,
    now: Timestamp,
) -> Result<(), ServiceError> {
    remove_user_by(accounts, None, name, now).await
}

async fn remove_user_by(
    accounts: &dyn AccountStore,
    maker: Maker<'_>,
    name: &str,
    now: Timestamp,
) -> Result<(), ServiceError> {
    let user = known_user(accounts, name).await?;
    accounts.change(AccountChange::RemoveUser { account: user.id }, by(maker, now)).await?;
    audit::user_removed(maker, &user.name);
    Ok(())
}

/// Makes a one-time sign-in link for a user, in the place of any other. Returns its secret.
pub async fn make_link(
    accounts: &dyn AccountStore,
    name: &str,
    now: Timestamp,
) -> Result<String, ServiceError> {
    make_link_by(accounts, None, name, now).await
}

async fn make_link_by(
    accounts: &dyn AccountStore,
    maker: Maker<'_>,
    name: &str,
    now: Timestamp,
) -> Result<String, ServiceError> {
    let user = known_user(accounts, name).await?;
    let (link, secret) = new_link(user.id, now);
    accounts.change(AccountChange::PutLink(link), by(maker, now)).await?;
    audit::link_made(maker, &user.name);
    Ok(secret)
}

/// Whether it is the token that the settings make. One of that name that is different in kind was made by
/// hand before the name was kept for it.
pub(super) fn is_bootstrap(token: &TokenRecord) -> bool {
    token.name == BOOTSTRAP && token.role == Role::Admin && token.act_as && token.expires_at.is_none()
}

/// Makes a token. Refused where the name is taken, or looks like one that is.
pub async fn add_token(
    accounts: &dyn AccountStore,
    new: NewToken,
    now: Timestamp,
) -> Result<TokenSecret, ServiceError> {
    add_token_by(accounts, None, new, now).await
}

async fn add_token_by(
    accounts: &dyn AccountStore,
    maker: Maker<'_>,
    new: NewToken,
    now: Timestamp,
) -> Result<TokenSecret, ServiceError> {
    if new.name.trim() == BOOTSTRAP {
        return Err(ServiceError::Conflict(format!(
            "The name `{BOOTSTRAP}` is kept for the token of the settings."
        )));
    }
    if new.lasts.is_some_and(|lasts| !TOKEN_LASTS.contains(&lasts)) {
        return Err(Invalid::new("expiresIn", "must be between 1 second and 10 years").into());
    }
    let secret = format!("{TOKEN_PREFIX}{}", new_secret());
    put_token(accounts, maker, new, &secret, now).await?;
    Ok(TokenSecret(secret))
}

async fn put_token(
    accounts: &dyn AccountStore,
    maker: Maker<'_>,
    new: NewToken,
    secret: &str,
    now: Timestamp,
) -> Result<(), ServiceError> {
    let token = TokenRecord {
        name: check_account_name(&new.name)?,
        hash: hash_of(secret),
        role: new.role,
        act_as: new.act_as,
        created_at: now,
        expires_at: new.lasts.map(|lasts| now.plus(lasts)),
    };
    let name = token.name.clone();
    accounts.change(AccountChange::AddToken(token), by(maker, now)).await?;
    audit::token_made(maker, &name, new.role, new.act_as);
    Ok(())
}

/// Revokes a token.
pub async fn remove_token(
    accounts: &dyn AccountStore,
    name: &str,
    now: Timestamp,
) -> Result<(), ServiceError> {
    remove_token_by(accounts, None, name, now).await
}

async fn remove_token_by(
    accounts: &dyn AccountStore,
    maker: Maker<'_>,
    name: &str,
    now: Timestamp,
) -> Result<(), ServiceError> {
    let tokens = accounts.tokens().await?;
    let token = tokens.into_iter().find(|token| token.name == name);
    let token = token.ok_or_else(|| ServiceError::NotFound(format!("There is no token `{name}`.")))?;
    accounts.change(AccountChange::RemoveToken { hash: token.hash }, by(maker, now)).await?;
    audit::token_revoked(maker, name);
    Ok(())
}

/// A secret of the settings without what an editor, a file or a shell put around it.
fn trimmed(setting: &str, secret: &str) -> Result<String, Invalid> {
    let secret = secret.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    if secret.chars().any(char::is_control) {
        return Err(Invalid::new(setting, "must be one line, without control characters"));
    }
    Ok(secret.to_owned())
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
        let user = add_user_by(&*self.accounts, Some(caller), name, role, self.now()).await?;
        make_link_by(&*self.accounts, Some(caller), &user.name, self.now()).await
    }

    /// Removes a user.
    pub async fn remove_user(&self, caller: &Caller, name: &str) -> Result<(), ServiceError> {
        caller.must(Permission::ManageAccounts)?;
        self.must_be_open()?;
        remove_user_by(&*self.accounts, Some(caller), name, self.now()).await?;
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
        add_token_by(&*self.accounts, Some(caller), new, self.now()).await
    }

    /// Revokes a token.
    pub async fn remove_token(&self, caller: &Caller, name: &str) -> Result<(), ServiceError> {
        caller.must(Permission::ManageAccounts)?;
        self.must_be_open()?;
        remove_token_by(&*self.accounts, Some(caller), name, self.now()).await?;
        self.credentials.forget();
        Ok(())
    }

    /// Sets the first credentials of an unattended installation. Run at every start: it brings the
    /// password of `admin` and the bootstrap token to what the settings say. A bootstrap token that
    /// is no longer in them is revoked: that is what an operator means who takes it out.
    pub async fn set_first_credentials(
        &self,
        admin_password: Option<String>,
        bootstrap_token: Option<String>,
    ) -> Result<(), ServiceError> {
        let accounts = &*self.accounts;
        if let Some(password) = admin_password {
            let password = trimmed("LONGHAUL_ADMIN_PASSWORD", &password)?;
            if accounts.user("admin").await?.is_none() {
                let added = add_user(accounts, "admin", Role::Admin, self.now()).await;
                // Another server of the same database may have been faster.
                if accounts.user("admin").await?.is_none() {
                    added?;
                }
            }
            // Setting it anew would end everybody's sessions at each restart.
            let admin = accounts.user("admin").await?;
            if whose_is(admin, password.clone(), AttemptFrom::Unknown).await?.is_none() {
                set_password(accounts, "admin", password).await?;
            }
        }
        let current = accounts.tokens().await?.into_iter().filter(is_bootstrap);
        let Some(secret) = bootstrap_token else {
            for token in current {
                self.revoke(token.hash).await?;
                tracing::info!("The bootstrap token is not in the settings any more, and is revoked");
            }
            return Ok(());
        };
        let secret = trimmed("LONGHAUL_BOOTSTRAP_TOKEN", &secret)?;
        if secret.len() < 16 {
            return Err(Invalid::new("LONGHAUL_BOOTSTRAP_TOKEN", "must have at least 16 characters").into());
        }
        if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            let problem = "must consist of ASCII letters, digits and signs: no other fits a header";
            return Err(Invalid::new("LONGHAUL_BOOTSTRAP_TOKEN", problem).into());
        }
        let known = accounts.token(&hash_of(&secret)).await?;
        if !known.as_ref().is_some_and(is_bootstrap) {
            // One of that name that was made by hand goes too.
            for token in accounts.tokens().await?.into_iter().filter(|token| token.name == BOOTSTRAP) {
                self.revoke(token.hash).await?;
            }
            let new = NewToken { name: BOOTSTRAP.to_owned(), role: Role::Admin, act_as: true, lasts: None };
            let made = put_token(accounts, None, new, &secret, self.now()).await;
            self.credentials.forget();
            if !accounts.token(&hash_of(&secret)).await?.as_ref().is_some_and(is_bootstrap) {
                made?;
            }
        }
        Ok(())
    }

    async fn revoke(&self, hash: [u8; 32]) -> Result<(), ServiceError> {
        let removed = self.accounts.change(AccountChange::RemoveToken { hash }, By::Owner).await;
        self.credentials.forget();
        match removed {
            Ok(()) => audit::token_revoked(None, BOOTSTRAP),
            // Another server of the same database was faster.
            Err(ChangeError::Refused(AccountRefusal::Missing { .. })) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
