//! Accounts in the same file. Few rows, seldom written: one connection behind a mutex is plenty.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use uuid::Uuid;

use super::database_file::DatabaseFile;
use super::{OpenError, SqliteStore, blocking, open, unavailable};
use crate::model::{Role, Timestamp};
use crate::store::StoreError;
use crate::store::accounts::{
    AccountChange, AccountStore, By, ChangeError, Grounds, LinkRecord, MOST_DEVICES, SessionRecord, Standing,
    TokenRecord, UserRecord, decide,
};

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

    /// The file, where it is held open for long.
    fn file(&self) -> Option<Arc<DatabaseFile>> {
        None
    }
}

impl HasAccounts for SqliteStore {
    fn connection(&self) -> &Arc<Mutex<Connection>> {
        &self.accounts
    }

    fn file(&self) -> Option<Arc<DatabaseFile>> {
        self.place.clone()
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

/// The same for what is written, in one transaction, in which nobody else writes: neither here nor in another process.
/// Refused where the file's name leads elsewhere by now: it would be lost with the end of the server.
async fn within<T: Send + 'static>(
    store: &impl HasAccounts,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let (db, file) = (Arc::clone(store.connection()), store.file());
    blocking(move || {
        let db = db.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lost) = file.and_then(|file| file.lost()) {
            return Err(StoreError::Unavailable(lost));
        }
        let written = || {
            let transaction = Transaction::new_unchecked(&db, TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        written().map_err(unavailable)
    })
    .await
}

fn role(text: &str) -> Role {
    // A role this version does not know may do the least.
    text.parse().unwrap_or(Role::Viewer)
}

fn user(row: &Row<'_>) -> rusqlite::Result<UserRecord> {
    Ok(UserRecord {
        id: row.get("id")?,
        name: row.get("name")?,
        role: role(&row.get::<_, String>("role")?),
        password: row.get("password")?,
        password_number: row.get("password_number")?,
        created_at: Timestamp(row.get("created_at")?),
    })
}

fn token(row: &Row<'_>) -> rusqlite::Result<TokenRecord> {
    Ok(TokenRecord {
        name: row.get("name")?,
        hash: row.get("hash")?,
        role: role(&row.get::<_, String>("role")?),
        act_as: row.get("act_as")?,
        created_at: Timestamp(row.get("created_at")?),
        expires_at: row.get::<_, Option<i64>>("expires_at")?.map(Timestamp),
    })
}

fn session(row: &Row<'_>) -> rusqlite::Result<SessionRecord> {
    Ok(SessionRecord {
        hash: row.get("hash")?,
        account: row.get("account")?,
        password_number: row.get("password_number")?,
        created_at: Timestamp(row.get("since")?),
        expires_at: Timestamp(row.get("expires_at")?),
        address: row.get("address")?,
        agent: row.get("agent")?,
    })
}

fn all_users(db: &Connection) -> rusqlite::Result<Vec<UserRecord>> {
    db.prepare("select * from account order by name")?.query_map([], user)?.collect()
}

fn all_tokens(db: &Connection) -> rusqlite::Result<Vec<TokenRecord>> {
    db.prepare("select * from token order by name")?.query_map([], token)?.collect()
}

/// A session that its user's password still bears, with its user.
fn good_session(db: &Connection, hash: [u8; 32]) -> rusqlite::Result<Option<(SessionRecord, UserRecord)>> {
    db.query_row(
        "select session.created_at as since, hash, account, expires_at, address, agent, account.* \
         from session join account on account.id = session.account \
         and account.password_number = session.password_number where hash = ?1",
        [hash],
        |row| Ok((session(row)?, user(row)?)),
    )
    .optional()
}

/// The role of whoever shows a credential, where it is good.
fn holder(db: &Connection, by: By) -> rusqlite::Result<Option<Role>> {
    let By::Holder { hash, now } = by else { return Ok(None) };
    if let Some((session, user)) = good_session(db, hash)? {
        return Ok(Some(user.role).filter(|_| session.is_good(now)));
    }
    let found = db.query_row("select * from token where hash = ?1", [hash], token).optional()?;
    Ok(found.filter(|token| token.is_good(now)).map(|token| token.role))
}

/// Writes down a change that was decided.
fn apply(db: &Connection, change: &AccountChange) -> rusqlite::Result<()> {
    match change {
        AccountChange::AddUser(user) => db.execute(
            "insert into account (id, name, role, password, password_number, created_at) \
             values (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                user.id,
                user.name,
                user.role.name(),
                user.password,
                user.password_number,
                user.created_at.0
            ],
        ),
        AccountChange::SetRole { account, role } => {
            db.execute("update account set role = ?2 where id = ?1", params![account, role.name()])
        }
        AccountChange::RemoveUser { account } => {
            db.execute("delete from session where account = ?1", [account])?;
            db.execute("delete from sign_in_link where account = ?1", [account])?;
            db.execute("delete from device where account = ?1", [account])?;
            db.execute("delete from account where id = ?1", [account])
        }
        AccountChange::AddToken(token) => db.execute(
            "insert into token (name, hash, role, act_as, created_at, expires_at) \
             values (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                token.name,
                token.hash,
                token.role.name(),
                token.act_as,
                token.created_at.0,
                token.expires_at.map(|at| at.0)
            ],
        ),
        AccountChange::RemoveToken { hash } => db.execute("delete from token where hash = ?1", [hash]),
        AccountChange::PutLink(link) => db.execute(
            "insert or replace into sign_in_link (account, hash, password_number, expires_at) \
             select id, ?2, password_number, ?3 from account where id = ?1",
            params![link.account, link.hash, link.expires_at.0],
        ),
    }
    .map(drop)
}

const OF_LINK: &str = "select account.* from sign_in_link join account on account.id = sign_in_link.account \
    and account.password_number = sign_in_link.password_number where hash = ?1 and expires_at > ?2 \
    and expires_at <= ?3";

#[async_trait]
impl<S: HasAccounts> AccountStore for S {
    async fn user(&self, name: &str) -> Result<Option<UserRecord>, StoreError> {
        let name = name.to_owned();
        with(self, move |db| db.query_row("select * from account where name = ?1", [name], user).optional())
            .await
    }

    async fn users(&self) -> Result<Vec<UserRecord>, StoreError> {
        with(self, all_users).await
    }

    async fn change(&self, change: AccountChange, by: By) -> Result<(), ChangeError> {
        let decided = within(self, move |db| {
            let standing =
                Standing { users: all_users(db)?, tokens: all_tokens(db)?, holder: holder(db, by)? };
            match decide(&change, by, &standing) {
                Ok(()) => apply(db, &change).map(Ok),
                Err(refusal) => Ok(Err(refusal)),
            }
        });
        decided.await?.map_err(ChangeError::Refused)
    }

    async fn set_password(
        &self,
        password: String,
        grounds: Grounds,
    ) -> Result<Option<UserRecord>, StoreError> {
        within(self, move |db| {
            let by_id = |account: Uuid| {
                db.query_row("select * from account where id = ?1", [account], user).optional()
            };
            let before = match grounds {
                Grounds::Owner { account } => by_id(account)?,
                Grounds::Current { account, password_number } => {
                    by_id(account)?.filter(|user| user.password_number == password_number)
                }
                Grounds::Link { hash, now } => db
                    .query_row(OF_LINK, params![hash, now.0, LinkRecord::latest_end(now).0], user)
                    .optional()?,
            };
            let Some(before) = before else { return Ok(None) };
            let number = before.password_number + 1;
            db.execute(
                "update account set password = ?2, password_number = ?3 where id = ?1",
                params![before.id, password, number],
            )?;
            db.execute("delete from session where account = ?1", [before.id])?;
            db.execute("delete from sign_in_link where account = ?1", [before.id])?;
            Ok(Some(UserRecord { password: Some(password), password_number: number, ..before }))
        })
        .await
    }

    async fn add_session(&self, session: SessionRecord) -> Result<bool, StoreError> {
        within(self, move |db| {
            let added = db.execute(
                "insert into session (hash, account, password_number, created_at, expires_at, address, agent) \
                 select ?1, id, password_number, ?4, ?5, ?6, ?7 from account \
                 where id = ?2 and password_number = ?3",
                params![
                    session.hash,
                    session.account,
                    session.password_number,
                    session.created_at.0,
                    session.expires_at.0,
                    session.address,
                    session.agent
                ],
            )?;
            Ok(added > 0)
        })
        .await
    }

    async fn forget_sessions(&self, before: Timestamp) -> Result<(), StoreError> {
        within(self, move |db| db.execute("delete from session where expires_at < ?1", [before.0]).map(drop))
            .await
    }

    async fn session(&self, hash: &[u8; 32]) -> Result<Option<(SessionRecord, UserRecord)>, StoreError> {
        let hash = *hash;
        with(self, move |db| good_session(db, hash)).await
    }

    async fn sessions_of(&self, account: Uuid) -> Result<Vec<SessionRecord>, StoreError> {
        with(self, move |db| {
            db.prepare(
                "select session.created_at as since, session.* from session join account \
                 on account.id = session.account and account.password_number = session.password_number \
                 where account.id = ?1 order by session.created_at desc, hash",
            )?
            .query_map([account], session)?
            .collect()
        })
        .await
    }

    async fn remove_session(&self, hash: &[u8; 32]) -> Result<(), StoreError> {
        let hash = *hash;
        within(self, move |db| db.execute("delete from session where hash = ?1", [hash]).map(drop)).await
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        with(self, all_tokens).await
    }

    async fn token(&self, hash: &[u8; 32]) -> Result<Option<TokenRecord>, StoreError> {
        let hash = *hash;
        with(self, move |db| db.query_row("select * from token where hash = ?1", [hash], token).optional())
            .await
    }

    async fn link(&self, hash: &[u8; 32], now: Timestamp) -> Result<Option<UserRecord>, StoreError> {
        let hash = *hash;
        let latest = LinkRecord::latest_end(now).0;
        with(self, move |db| db.query_row(OF_LINK, params![hash, now.0, latest], user).optional()).await
    }

    async fn put_device(&self, hash: [u8; 32], account: Uuid, now: Timestamp) -> Result<(), StoreError> {
        within(self, move |db| {
            db.execute(
                "insert or replace into device (hash, account, seen_at) \
                 select ?1, id, ?3 from account where id = ?2",
                params![hash, account, now.0],
            )?;
            db.execute(
                "delete from device where account = ?1 and hash not in (select hash from device \
                 where account = ?1 order by seen_at > ?3, seen_at desc, hash limit ?2)",
                params![account, MOST_DEVICES, now.0],
            )
            .map(drop)
        })
        .await
    }

    async fn has_device(&self, hash: &[u8; 32], account: Uuid) -> Result<bool, StoreError> {
        let hash = *hash;
        with(self, move |db| {
            db.prepare("select 1 from device where hash = ?1 and account = ?2")?
                .exists(params![hash, account])
        })
        .await
    }
}
