//! Accounts in the same file. Few rows, seldom written: one connection behind a mutex is plenty.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{OpenError, SqliteStore, blocking, open, unavailable};
use crate::model::{Role, Timestamp};
use crate::store::StoreError;
use crate::store::accounts::{AccountStore, SessionRecord, TokenRecord, UserRecord};

/// The accounts of a database file, without its jobs: what the command line manages beside a server.
pub struct SqliteAccounts {
    db: Arc<Mutex<Connection>>,
}

impl SqliteAccounts {
    /// Opens the accounts of a file, which a server may have open at the same time.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Ok(Self { db: Arc::new(Mutex::new(open::open_accounts(path)?)) })
    }
}

/// Whatever has a connection for accounts.
trait HasAccounts: Send + Sync + 'static {
    fn connection(&self) -> &Arc<Mutex<Connection>>;
}

impl HasAccounts for SqliteStore {
    fn connection(&self) -> &Arc<Mutex<Connection>> {
        &self.accounts
    }
}

impl HasAccounts for SqliteAccounts {
    fn connection(&self) -> &Arc<Mutex<Connection>> {
        &self.db
    }
}

async fn with<T: Send + 'static>(
    store: &impl HasAccounts,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let db = Arc::clone(store.connection());
    blocking(move || work(&db.lock().unwrap_or_else(PoisonError::into_inner)).map_err(unavailable)).await
}

fn role(text: &str) -> rusqlite::Result<Role> {
    // A role this version does not know may do the least.
    Ok(text.parse().unwrap_or(Role::Viewer))
}

fn user(row: &Row<'_>) -> rusqlite::Result<UserRecord> {
    Ok(UserRecord {
        name: row.get("name")?,
        role: role(&row.get::<_, String>("role")?)?,
        password: row.get("password")?,
        created_at: Timestamp(row.get("created_at")?),
    })
}

fn token(row: &Row<'_>) -> rusqlite::Result<TokenRecord> {
    Ok(TokenRecord {
        name: row.get("name")?,
        hash: row.get("hash")?,
        role: role(&row.get::<_, String>("role")?)?,
        act_as: row.get("act_as")?,
        created_at: Timestamp(row.get("created_at")?),
        expires_at: row.get::<_, Option<i64>>("expires_at")?.map(Timestamp),
    })
}

#[async_trait]
impl<S: HasAccounts> AccountStore for S {
    async fn user(&self, name: &str) -> Result<Option<UserRecord>, StoreError> {
        let name = name.to_owned();
        with(self, move |db| db.query_row("select * from account where name = ?1", [name], user).optional())
            .await
    }

    async fn users(&self) -> Result<Vec<UserRecord>, StoreError> {
        with(self, |db| db.prepare("select * from account order by name")?.query_map([], user)?.collect())
            .await
    }

    async fn put_user(&self, user: UserRecord) -> Result<(), StoreError> {
        with(self, move |db| {
            db.execute(
                "insert or replace into account (name, role, password, created_at) values (?1, ?2, ?3, ?4)",
                params![user.name, user.role.name(), user.password, user.created_at.0],
            )
            .map(drop)
        })
        .await
    }

    async fn remove_user(&self, name: &str) -> Result<bool, StoreError> {
        let name = name.to_owned();
        with(self, move |db| {
            db.execute("delete from session where account = ?1", [&name])?;
            db.execute("delete from sign_in_link where account = ?1", [&name])?;
            Ok(db.execute("delete from account where name = ?1", [&name])? > 0)
        })
        .await
    }

    async fn forget_sessions(&self, before: Timestamp) -> Result<(), StoreError> {
        with(self, move |db| db.execute("delete from session where expires_at < ?1", [before.0]).map(drop))
            .await
    }

    async fn add_session(&self, session: SessionRecord) -> Result<(), StoreError> {
        with(self, move |db| {
            db.execute(
                "insert into session (hash, account, created_at, expires_at) values (?1, ?2, ?3, ?4)",
                params![session.hash, session.user, session.created_at.0, session.expires_at.0],
            )
            .map(drop)
        })
        .await
    }

    async fn session(&self, hash: &[u8; 32]) -> Result<Option<(SessionRecord, UserRecord)>, StoreError> {
        let hash = *hash;
        with(self, move |db| {
            db.query_row(
                "select session.created_at as since, expires_at, account.* from session \
                 join account on account.name = session.account where hash = ?1",
                [hash],
                |row| {
                    let user = user(row)?;
                    let session = SessionRecord {
                        hash,
                        user: user.name.clone(),
                        created_at: Timestamp(row.get("since")?),
                        expires_at: Timestamp(row.get("expires_at")?),
                    };
                    Ok((session, user))
                },
            )
            .optional()
        })
        .await
    }

    async fn remove_session(&self, hash: &[u8; 32]) -> Result<(), StoreError> {
        let hash = *hash;
        with(self, move |db| db.execute("delete from session where hash = ?1", [hash]).map(drop)).await
    }

    async fn remove_sessions_of(&self, user: &str) -> Result<(), StoreError> {
        let user = user.to_owned();
        with(self, move |db| db.execute("delete from session where account = ?1", [user]).map(drop)).await
    }

    async fn add_token(&self, token: TokenRecord) -> Result<bool, StoreError> {
        with(self, move |db| {
            let added = db.execute(
                "insert into token (name, hash, role, act_as, created_at, expires_at) \
                 values (?1, ?2, ?3, ?4, ?5, ?6) on conflict do nothing",
                params![
                    token.name,
                    token.hash,
                    token.role.name(),
                    token.act_as,
                    token.created_at.0,
                    token.expires_at.map(|at| at.0)
                ],
            )?;
            Ok(added > 0)
        })
        .await
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        with(self, |db| db.prepare("select * from token order by name")?.query_map([], token)?.collect())
            .await
    }

    async fn token(&self, hash: &[u8; 32]) -> Result<Option<TokenRecord>, StoreError> {
        let hash = *hash;
        with(self, move |db| db.query_row("select * from token where hash = ?1", [hash], token).optional())
            .await
    }

    async fn remove_token(&self, name: &str) -> Result<bool, StoreError> {
        let name = name.to_owned();
        with(self, move |db| Ok(db.execute("delete from token where name = ?1", [name])? > 0)).await
    }

    async fn add_link(&self, hash: [u8; 32], user: &str, expires_at: Timestamp) -> Result<(), StoreError> {
        let user = user.to_owned();
        with(self, move |db| {
            db.execute(
                "insert into sign_in_link (hash, account, expires_at) values (?1, ?2, ?3)",
                params![hash, user, expires_at.0],
            )
            .map(drop)
        })
        .await
    }

    async fn link(&self, hash: &[u8; 32], now: Timestamp) -> Result<Option<String>, StoreError> {
        let hash = *hash;
        with(self, move |db| {
            db.query_row(
                "select account from sign_in_link where hash = ?1 and expires_at > ?2",
                params![hash, now.0],
                |row| row.get(0),
            )
            .optional()
        })
        .await
    }

    async fn take_link(&self, hash: &[u8; 32], now: Timestamp) -> Result<Option<String>, StoreError> {
        let hash = *hash;
        with(self, move |db| {
            db.query_row(
                "delete from sign_in_link where hash = ?1 returning case when expires_at > ?2 then account end",
                params![hash, now.0],
                |row| row.get(0),
            )
            .optional()
            .map(Option::flatten)
        })
        .await
    }
}
