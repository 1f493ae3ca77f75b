//! Accounts in the same database. Few rows, seldom written; every node asks each time, so that who was
//! shut out on one is shut out on all.

use async_trait::async_trait;
use deadpool_postgres::{Object, Pool, Transaction};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::connect::{DatabaseAddress, PostgresError, unavailable};
use super::connection;
use super::reader::ask;
use super::rows::get;
use crate::model::{Role, Timestamp};
use crate::store::StoreError;
use crate::store::accounts::{
    AccountChange, AccountRefusal, AccountStore, By, ChangeError, Grounds, LinkRecord, MOST_DEVICES,
    SessionRecord, Standing, TokenRecord, UserRecord, decide,
};

/// The accounts of a database.
pub struct PostgresAccounts {
    pool: Pool,
}

impl PostgresAccounts {
    /// Connects, for the accounts alone, and brings the database to this version's schema.
    pub async fn open(address: &str) -> Result<Self, PostgresError> {
        let place = DatabaseAddress::new(address)?;
        place.migrate().await?;
        Ok(Self { pool: place.pool(1)? })
    }

    /// Those of a store, over its connections.
    pub(super) fn of(pool: Pool) -> Self {
        Self { pool }
    }
}

async fn rows(
    store: &PostgresAccounts,
    sql: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, StoreError> {
    let db: Object = connection(&store.pool).await?;
    ask(&db, sql, values).await
}

/// How many rows a statement changed.
async fn change(
    store: &PostgresAccounts,
    sql: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<u64, StoreError> {
    let db: Object = connection(&store.pool).await?;
    let statement = db.prepare_cached(sql).await.map_err(unavailable)?;
    db.execute(&statement, values).await.map_err(unavailable)
}

/// A role this version does not know may do the least.
fn role(row: &Row, column: usize) -> Result<Role, StoreError> {
    Ok(get::<&str>(row, column)?.parse().unwrap_or(Role::Viewer))
}

const USER: &str = "account.id, account.name, account.role, account.password, account.password_number, \
    account.created_at";

fn user(row: &Row) -> Result<UserRecord, StoreError> {
    Ok(UserRecord {
        id: get(row, 0)?,
        name: get(row, 1)?,
        role: role(row, 2)?,
        password: get(row, 3)?,
        password_number: get(row, 4)?,
        created_at: Timestamp(get(row, 5)?),
    })
}

const TOKEN: &str = "name, hash, role, act_as, created_at, expires_at";

fn hash_at(row: &Row, column: usize) -> Result<[u8; 32], StoreError> {
    let hash: &[u8] = get(row, column)?;
    hash.try_into().map_err(|_| StoreError::Corrupt("a credential's hash has another length".to_owned()))
}

fn token(row: &Row) -> Result<TokenRecord, StoreError> {
    Ok(TokenRecord {
        name: get(row, 0)?,
        hash: hash_at(row, 1)?,
        role: role(row, 2)?,
        act_as: get(row, 3)?,
        created_at: Timestamp(get(row, 4)?),
        expires_at: get::<Option<i64>>(row, 5)?.map(Timestamp),
    })
}

/// A session's columns come behind those of its user, which it has for as long as the user has the password
/// that it was made under.
const SESSION: &str = "session.hash, session.created_at, session.expires_at, session.address, session.agent \
    from session join account on account.id = session.account \
    and account.password_number = session.password_number";

fn session(row: &Row) -> Result<(SessionRecord, UserRecord), StoreError> {
    let user = user(row)?;
    let session = SessionRecord {
        hash: hash_at(row, 6)?,
        account: user.id,
        password_number: user.password_number,
        created_at: Timestamp(get(row, 7)?),
        expires_at: Timestamp(get(row, 8)?),
        address: get(row, 9)?,
        agent: get(row, 10)?,
    };
    Ok((session, user))
}

const OF_LINK: &str = "from sign_in_link join account on account.id = sign_in_link.account \
    and account.password_number = sign_in_link.password_number where hash = $1 and expires_at > $2 \
    and expires_at <= $3";

/// What a transaction finds.
async fn found(
    transaction: &Transaction<'_>,
    sql: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, StoreError> {
    transaction.query(sql, values).await.map_err(unavailable)
}

/// The accounts as they stand for a change.
async fn standing(transaction: &Transaction<'_>, by: By) -> Result<Standing, StoreError> {
    let users = found(transaction, &format!("select {USER} from account"), &[]).await?;
    let tokens = found(transaction, &format!("select {TOKEN} from token"), &[]).await?;
    let tokens = tokens.iter().map(token).collect::<Result<Vec<_>, _>>()?;
    let holder = match by {
        By::Owner => None,
        By::Holder { hash, now } => {
            let sql = format!("select {USER}, {SESSION} where session.hash = $1");
            let sessions = found(transaction, &sql, &[&&hash[..]]).await?;
            match sessions.first().map(session).transpose()? {
                Some((session, user)) => Some(user.role).filter(|_| session.is_good(now)),
                None => tokens
                    .iter()
                    .find(|token| token.hash == hash && token.is_good(now))
                    .map(|token| token.role),
            }
        }
    };
    Ok(Standing { users: users.iter().map(user).collect::<Result<_, _>>()?, tokens, holder })
}

/// Writes down a change that was decided.
async fn apply(transaction: &Transaction<'_>, change: &AccountChange) -> Result<(), StoreError> {
    match change {
        AccountChange::AddUser(user) => {
            transaction
                .execute(
                    "insert into account (id, name, role, password, password_number, created_at) \
                     values ($1, $2, $3, $4, $5, $6)",
                    &[
                        &user.id,
                        &user.name,
                        &user.role.name(),
                        &user.password,
                        &user.password_number,
                        &user.created_at.0,
                    ],
                )
                .await
        }
        AccountChange::SetRole { account, role } => {
            let sql = "update account set role = $2 where id = $1";
            transaction.execute(sql, &[account, &role.name()]).await
        }
        AccountChange::RemoveUser { account } => {
            let sql = "with sessions as (delete from session where account = $1), \
                links as (delete from sign_in_link where account = $1), \
                devices as (delete from device where account = $1) \
                delete from account where id = $1";
            transaction.execute(sql, &[account]).await
        }
        AccountChange::AddToken(token) => {
            transaction
                .execute(
                    "insert into token (name, hash, role, act_as, created_at, expires_at) \
                     values ($1, $2, $3, $4, $5, $6)",
                    &[
                        &token.name,
                        &&token.hash[..],
                        &token.role.name(),
                        &token.act_as,
                        &token.created_at.0,
                        &token.expires_at.map(|at| at.0),
                    ],
                )
                .await
        }
        AccountChange::RemoveToken { hash } => {
            transaction.execute("delete from token where hash = $1", &[&&hash[..]]).await
        }
        AccountChange::PutLink(link) => {
            transaction
                .execute(
                    "insert into sign_in_link (account, hash, password_number, expires_at) \
                     select id, $2, password_number, $3 from account where id = $1 \
                     on conflict (account) do update set hash = excluded.hash, \
                     password_number = excluded.password_number, expires_at = excluded.expires_at",
                    &[&link.account, &&link.hash[..], &link.expires_at.0],
                )
                .await
        }
    }
    .map(drop)
    .map_err(unavailable)
}

impl PostgresAccounts {
    /// Decides and makes a change while nobody else changes users or tokens. Signing in goes on meanwhile.
    async fn decided(
        &self,
        change: &AccountChange,
        by: By,
    ) -> Result<Result<(), AccountRefusal>, StoreError> {
        let mut db: Object = connection(&self.pool).await?;
        let transaction = db.transaction().await.map_err(unavailable)?;
        transaction
            .batch_execute("lock table account in share row exclusive mode")
            .await
            .map_err(unavailable)?;
        let decided = decide(change, by, &standing(&transaction, by).await?);
        if decided.is_ok() {
            apply(&transaction, change).await?;
            transaction.commit().await.map_err(unavailable)?;
        }
        Ok(decided)
    }
}

#[async_trait]
impl AccountStore for PostgresAccounts {
    async fn user(&self, name: &str) -> Result<Option<UserRecord>, StoreError> {
        let found = rows(self, &format!("select {USER} from account where name = $1"), &[&name]).await?;
        found.first().map(user).transpose()
    }

    async fn users(&self) -> Result<Vec<UserRecord>, StoreError> {
        let sql = format!("select {USER} from account order by name collate \"C\"");
        rows(self, &sql, &[]).await?.iter().map(user).collect()
    }

    async fn change(&self, change: AccountChange, by: By) -> Result<(), ChangeError> {
        self.decided(&change, by).await?.map_err(ChangeError::Refused)
    }

    async fn set_password(
        &self,
        password: String,
        grounds: Grounds,
    ) -> Result<Option<UserRecord>, StoreError> {
        // One statement each. Of two at once the second waits for the row, looks at it again, and finds that
        // its grounds are gone with the number. Sessions and links that it does not see because they are
        // being made at this moment are void by their number.
        let clear = format!(
            "returning {USER}), sessions as (delete from session where account in (select id from changed)), \
             links as (delete from sign_in_link where account in (select id from changed)) \
             select * from changed"
        );
        let set = "with changed as (update account set password = $1, password_number = account.password_number + 1";
        let found = match grounds {
            Grounds::Owner { account } => {
                rows(self, &format!("{set} where account.id = $2 {clear}"), &[&password, &account]).await?
            }
            Grounds::Current { account, password_number } => {
                let sql = format!("{set} where account.id = $2 and account.password_number = $3 {clear}");
                rows(self, &sql, &[&password, &account, &password_number]).await?
            }
            Grounds::Link { hash, now } => {
                let sql = format!(
                    "{set} from sign_in_link as link where link.hash = $2 and link.expires_at > $3 \
                     and link.expires_at <= $4 and account.id = link.account and account.password_number = link.password_number {clear}"
                );
                let latest = LinkRecord::latest_end(now).0;
                rows(self, &sql, &[&password, &&hash[..], &now.0, &latest]).await?
            }
        };
        found.first().map(user).transpose()
    }

    async fn add_session(&self, session: SessionRecord) -> Result<bool, StoreError> {
        let added = change(
            self,
            "insert into session (hash, account, password_number, created_at, expires_at, address, agent) \
             select $1, id, password_number, $4, $5, $6, $7 from account \
             where id = $2 and password_number = $3",
            &[
                &&session.hash[..],
                &session.account,
                &session.password_number,
                &session.created_at.0,
                &session.expires_at.0,
                &session.address,
                &session.agent,
            ],
        )
        .await?;
        Ok(added > 0)
    }

    async fn forget_sessions(&self, before: Timestamp) -> Result<(), StoreError> {
        change(self, "delete from session where expires_at < $1", &[&before.0]).await.map(drop)
    }

    async fn session(&self, hash: &[u8; 32]) -> Result<Option<(SessionRecord, UserRecord)>, StoreError> {
        let sql = format!("select {USER}, {SESSION} where session.hash = $1");
        rows(self, &sql, &[&&hash[..]]).await?.first().map(session).transpose()
    }

    async fn sessions_of(&self, account: Uuid) -> Result<Vec<SessionRecord>, StoreError> {
        let sql = format!(
            "select {USER}, {SESSION} where account.id = $1 order by session.created_at desc, session.hash"
        );
        let found = rows(self, &sql, &[&account]).await?;
        found.iter().map(|row| session(row).map(|(session, _)| session)).collect()
    }

    async fn remove_session(&self, hash: &[u8; 32]) -> Result<(), StoreError> {
        change(self, "delete from session where hash = $1", &[&&hash[..]]).await.map(drop)
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        let sql = format!("select {TOKEN} from token order by name collate \"C\"");
        rows(self, &sql, &[]).await?.iter().map(token).collect()
    }

    async fn token(&self, hash: &[u8; 32]) -> Result<Option<TokenRecord>, StoreError> {
        let found = rows(self, &format!("select {TOKEN} from token where hash = $1"), &[&&hash[..]]).await?;
        found.first().map(token).transpose()
    }

    async fn link(&self, hash: &[u8; 32], now: Timestamp) -> Result<Option<UserRecord>, StoreError> {
        let sql = format!("select {USER} {OF_LINK}");
        let latest = LinkRecord::latest_end(now).0;
        rows(self, &sql, &[&&hash[..], &now.0, &latest]).await?.first().map(user).transpose()
    }

    async fn put_device(&self, hash: [u8; 32], account: Uuid, now: Timestamp) -> Result<(), StoreError> {
        change(
            self,
            "insert into device (hash, account, seen_at) select $1, id, $3 from account where id = $2 \
             on conflict (hash, account) do update set seen_at = excluded.seen_at",
            &[&&hash[..], &account, &now.0],
        )
        .await?;
        change(
            self,
            "delete from device where account = $1 and hash not in (select hash from device \
             where account = $1 order by seen_at > $3, seen_at desc, hash limit $2)",
            &[&account, &MOST_DEVICES, &now.0],
        )
        .await
        .map(drop)
    }

    async fn has_device(&self, hash: &[u8; 32], account: Uuid) -> Result<bool, StoreError> {
        let sql = "select 1 from device where hash = $1 and account = $2";
        Ok(!rows(self, sql, &[&&hash[..], &account]).await?.is_empty())
    }
}
