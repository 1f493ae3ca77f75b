//! Accounts in the same database. Few rows, seldom written; every node asks each time, so that who was
//! shut out on one is shut out on all.

use async_trait::async_trait;
use deadpool_postgres::{Object, Pool};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::connect::{Place, PostgresError, unavailable};
use super::connection;
use super::reader::ask;
use super::rows::get;
use crate::model::{Role, Timestamp};
use crate::store::StoreError;
use crate::store::accounts::{AccountStore, SessionRecord, TokenRecord, UserRecord};

/// The accounts of a database.
pub struct PostgresAccounts {
    pool: Pool,
}

impl PostgresAccounts {
    /// Connects, for the accounts alone, and brings the database to this version's schema.
    pub async fn open(address: &str) -> Result<Self, PostgresError> {
        let place = Place::new(address)?;
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

const USER: &str = "account.name, account.role, account.password, account.created_at";

fn user(row: &Row) -> Result<UserRecord, StoreError> {
    Ok(UserRecord {
        name: get(row, 0)?,
        role: role(row, 1)?,
        password: get(row, 2)?,
        created_at: Timestamp(get(row, 3)?),
    })
}

const TOKEN: &str = "name, hash, role, act_as, created_at, expires_at";

fn token(row: &Row) -> Result<TokenRecord, StoreError> {
    let hash: &[u8] = get(row, 1)?;
    Ok(TokenRecord {
        name: get(row, 0)?,
        hash: hash
            .try_into()
            .map_err(|_| StoreError::Corrupt("a token's hash has another length".to_owned()))?,
        role: role(row, 2)?,
        act_as: get(row, 3)?,
        created_at: Timestamp(get(row, 4)?),
        expires_at: get::<Option<i64>>(row, 5)?.map(Timestamp),
    })
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

    async fn put_user(&self, user: UserRecord) -> Result<(), StoreError> {
        change(
            self,
            "insert into account (name, role, password, created_at) values ($1, $2, $3, $4) \
             on conflict (name) do update set role = excluded.role, password = excluded.password, \
             created_at = excluded.created_at",
            &[&user.name, &user.role.name(), &user.password, &user.created_at.0],
        )
        .await
        .map(drop)
    }

    async fn remove_user(&self, name: &str) -> Result<bool, StoreError> {
        // One statement, so that all of it happens or nothing.
        let sql = "with sessions as (delete from session where account = $1), \
             links as (delete from sign_in_link where account = $1) \
             delete from account where name = $1";
        Ok(change(self, sql, &[&name]).await? > 0)
    }

    async fn forget_sessions(&self, before: Timestamp) -> Result<(), StoreError> {
        change(self, "delete from session where expires_at < $1", &[&before.0]).await.map(drop)
    }

    async fn add_session(&self, session: SessionRecord) -> Result<(), StoreError> {
        change(
            self,
            "insert into session (hash, account, created_at, expires_at) values ($1, $2, $3, $4)",
            &[&&session.hash[..], &session.user, &session.created_at.0, &session.expires_at.0],
        )
        .await
        .map(drop)
    }

    async fn session(&self, hash: &[u8; 32]) -> Result<Option<(SessionRecord, UserRecord)>, StoreError> {
        let sql = format!(
            "select {USER}, session.created_at, session.expires_at from session \
             join account on account.name = session.account where hash = $1"
        );
        let found = rows(self, &sql, &[&&hash[..]]).await?;
        let Some(row) = found.first() else { return Ok(None) };
        let user = user(row)?;
        let session = SessionRecord {
            hash: *hash,
            user: user.name.clone(),
            created_at: Timestamp(get(row, 4)?),
            expires_at: Timestamp(get(row, 5)?),
        };
        Ok(Some((session, user)))
    }

    async fn remove_session(&self, hash: &[u8; 32]) -> Result<(), StoreError> {
        change(self, "delete from session where hash = $1", &[&&hash[..]]).await.map(drop)
    }

    async fn remove_sessions_of(&self, user: &str) -> Result<(), StoreError> {
        change(self, "delete from session where account = $1", &[&user]).await.map(drop)
    }

    async fn add_token(&self, token: TokenRecord) -> Result<bool, StoreError> {
        let added = change(
            self,
            "insert into token (name, hash, role, act_as, created_at, expires_at) \
             values ($1, $2, $3, $4, $5, $6) on conflict do nothing",
            &[
                &token.name,
                &&token.hash[..],
                &token.role.name(),
                &token.act_as,
                &token.created_at.0,
                &token.expires_at.map(|at| at.0),
            ],
        )
        .await?;
        Ok(added > 0)
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        let sql = format!("select {TOKEN} from token order by name collate \"C\"");
        rows(self, &sql, &[]).await?.iter().map(token).collect()
    }

    async fn token(&self, hash: &[u8; 32]) -> Result<Option<TokenRecord>, StoreError> {
        let found = rows(self, &format!("select {TOKEN} from token where hash = $1"), &[&&hash[..]]).await?;
        found.first().map(token).transpose()
    }

    async fn remove_token(&self, name: &str) -> Result<bool, StoreError> {
        Ok(change(self, "delete from token where name = $1", &[&name]).await? > 0)
    }

    async fn add_link(&self, hash: [u8; 32], user: &str, expires_at: Timestamp) -> Result<(), StoreError> {
        change(
            self,
            "insert into sign_in_link (hash, account, expires_at) values ($1, $2, $3)",
            &[&&hash[..], &user, &expires_at.0],
        )
        .await
        .map(drop)
    }

    async fn link(&self, hash: &[u8; 32], now: Timestamp) -> Result<Option<String>, StoreError> {
        let sql = "select account from sign_in_link where hash = $1 and expires_at > $2";
        rows(self, sql, &[&&hash[..], &now.0]).await?.first().map(|row| get(row, 0)).transpose()
    }

    async fn take_link(&self, hash: &[u8; 32], now: Timestamp) -> Result<Option<String>, StoreError> {
        let sql = "delete from sign_in_link where hash = $1 \
             returning case when expires_at > $2 then account end";
        let found = rows(self, sql, &[&&hash[..], &now.0]).await?;
        Ok(found.first().map(|row| get::<Option<String>>(row, 0)).transpose()?.flatten())
    }
}
