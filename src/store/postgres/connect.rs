//! The way to a PostgreSQL database: its address, TLS, how long to wait, its schema.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::{ClientWrapper, Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod};
use rustls_platform_verifier::BuilderVerifierExt as _;
use thiserror::Error;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Connection, SimpleQueryMessage, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::AbortOnDropHandle;

use crate::store::StoreError;

mod embedded {
    refinery::embed_migrations!("src/store/migrations/postgres");
}

/// Who waits for a connection is told within this time that there is none.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long one of several servers is tried.
const TRIED_FOR: Duration = Duration::from_secs(2);
/// A connection whose other end has gone silent is given up after about this time.
const SILENT_FOR: Duration = Duration::from_secs(10);
/// The other end of an idle connection is asked whether it is there this many times before it is given up,
/// and this far apart. TCP gives up unacknowledged data by itself; who waits for an answer has sent all.
const ASKED: u32 = 3;
const ASKED_EVERY: Duration = Duration::from_secs(2);
/// How long the database may take to answer, its waits for locks included. One that stands still with its
/// connections open is alive as far as TCP can tell.
pub(super) const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// The same for whoever only reads: looking through long logs takes its time.
pub(super) const READS_WITHIN: Duration = Duration::from_secs(60);
/// A connection that was not used for this long is asked whether it is good before it is used again.
const IDLE_FOR: Duration = Duration::from_secs(1);
/// Whether connections have sessions of their own is found out within this time.
const SESSIONS_WITHIN: Duration = Duration::from_secs(8);
/// Who waits for another server to bring the schema up to date says so after a while, and gives up at last.
const LOCK_TOLD_AFTER: Duration = Duration::from_secs(10);
const LOCK_WITHIN: Duration = Duration::from_secs(60);
/// Held while the schema is brought up to date, so that nodes that start together do it once. "LHmi".
const MIGRATION_LOCK: i64 = 0x4c48_6d69;

/// Why a PostgreSQL database cannot be used.
#[derive(Debug, Error)]
pub enum PostgresError {
    /// The address makes no sense.
    #[error("the database's address cannot be understood: {0}")]
    Address(String),
    /// The database does not answer, or not to us.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// It holds something else, or something newer.
    #[error("{0}")]
    NotOurs(String),
}

impl PostgresError {
    pub(super) fn unreachable(error: StoreError) -> Self {
        Self::Unreachable(match error {
            StoreError::Unavailable(reason) => reason,
            error => error.to_string(),
        })
    }
}

/// A connection's own end, which must be polled.
pub(super) type Wire = Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// Where a database is, and how to get there.
#[derive(Clone)]
pub(super) struct DatabaseAddress {
    config: Config,
    tls: MakeRustlsConnect,
    /// How long it may take until one of the servers has answered.
    answers_within: Duration,
}

/// What the driver and the server say, as one sentence: the driver's own text hides the cause.
pub(super) fn sentence(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        return format!("{} ({})", db.message(), db.code().code());
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(super) fn unavailable(error: tokio_postgres::Error) -> StoreError {
    StoreError::Unavailable(sentence(&error))
}

/// Why there is no connection. A pooler answers with a protocol violation where it does not pass a parameter on;
/// the database itself knows all that are sent.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn not_connected(error: tokio_postgres::Error) -> StoreError {
    let help = match error.code() {
        Some(&SqlState::PROTOCOL_VIOLATION) => {
            ". A pooler such as PgBouncer seems to stand before the database: name the database itself, or tell the pooler \
             `ignore_startup_parameters = options` and `pool_mode = session`"
        }
        _ => "",
    };
    StoreError::Unavailable(format!("{}{help}", sentence(&error)))
}

/// What comes within a time, or word that the database stands still.
pub(super) async fn answered_within<T, E: From<StoreError>>(
    limit: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer,
        Err(_) => {
            let said = format!("the database has not answered for {} seconds", limit.as_secs());
            Err(StoreError::Unavailable(said).into())
        }
    }
}

/// Why something in a transaction failed, and whether the transaction would perhaps succeed if it were
/// tried again as a whole.
#[derive(Debug)]
pub(super) struct DbError {
    pub(super) told: StoreError,
    pub(super) again: bool,
    /// The database refuses a value, which only the operation that brought it is to blame for.
    pub(super) for_a_value: bool,
}

/// Whether the database refuses a value: it cannot be converted (class 22), goes against a rule of a table (23), or is
/// too large for what it is for (54).
fn is_for_a_value(code: &SqlState) -> bool {
    ["22", "23", "54"].iter().any(|class| code.code().starts_with(class))
}

impl From<tokio_postgres::Error> for DbError {
    fn from(error: tokio_postgres::Error) -> Self {
        let code = error.code();
        let again = error.is_closed()
            || [
                &SqlState::T_R_DEADLOCK_DETECTED,
                &SqlState::T_R_SERIALIZATION_FAILURE,
                &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
                &SqlState::ADMIN_SHUTDOWN,
                &SqlState::CRASH_SHUTDOWN,
            ]
            .iter()
            .any(|known| code == Some(known));
        let for_a_value = code.is_some_and(is_for_a_value);
        Self { told: unavailable(error), again, for_a_value }
    }
}

impl From<StoreError> for DbError {
    fn from(told: StoreError) -> Self {
        Self { told, again: false, for_a_value: false }
    }
}

impl DatabaseAddress {
    /// Reads an address: `postgres://user:password@host:5432/name?sslmode=require`, with the options of
    /// libpq that the driver knows. Where a server offers TLS it is used, and its certificate must be one
    /// the system trusts; `sslmode=require` insists on it. Of several servers the one that takes writes is
    /// used, unless `target_session_attrs` says otherwise.
    pub(super) fn new(address: &str) -> Result<Self, PostgresError> {
        let mut config: Config = address
            .parse()
            .map_err(|error: tokio_postgres::Error| PostgresError::Address(sentence(&error)))?;
        if config.get_application_name().is_none() {
            config.application_name("longhaul");
        }
        // They are tried one after the other, each under the two addresses that a name may have; one that is
        // gone must not use up the time of the others.
        let servers = u32::try_from(config.get_hosts().len()).unwrap_or(u32::MAX).clamp(1, 100);
        let (each, all) = match servers {
            1 => (CONNECT_WITHIN, CONNECT_WITHIN * 2),
            several => (TRIED_FOR, TRIED_FOR * (2 * several + 1)),
        };
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(each);
        }
        if config.get_options().is_none() {
            // Compiling a statement takes longer than any of ours runs.
            config.options("-c jit=off");
        }
        if !address.contains("target_session_attrs") {
            // A standby answers too, and knows nothing of a commit that has not reached it yet. Where the
            // address names several servers, the one that is the primary now is taken.
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        config
            .keepalives_idle(SILENT_FOR - ASKED_EVERY * ASKED)
            .keepalives_interval(ASKED_EVERY)
            .keepalives_retries(ASKED)
            .tcp_user_timeout(SILENT_FOR);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_platform_verifier())
            .map_err(|error| PostgresError::Address(format!("TLS cannot be set up: {error}")))?
            .with_no_client_auth();
        Ok(Self { config, tls: MakeRustlsConnect::new(tls), answers_within: all })
    }

    /// A connection, and what must be driven for it to work.
    pub(super) async fn connect(&self) -> Result<(Client, Wire), StoreError> {
        // The driver's own limit ends with the socket; a server that accepts and says nothing is out there too.
        match tokio::time::timeout(self.answers_within, self.config.connect(self.tls.clone())).await {
            Ok(connected) => connected.map_err(not_connected),
            Err(_) => {
                Err(StoreError::Unavailable("the database accepts connections and says nothing".to_owned()))
            }
        }
    }

    /// A connection that is driven by a task of its own. It ends with the task: left alone, the task would
    /// wait for the answers that are due, and the server would keep what the connection has locked.
    pub(super) async fn client(&self) -> Result<(Client, AbortOnDropHandle<()>), StoreError> {
        let (client, wire) = self.connect().await?;
        let driver = tokio::spawn(async move {
            if let Err(error) = wire.await {
                tracing::debug!(error = %sentence(&error), "A connection to the database ended");
            }
        });
        Ok((client, AbortOnDropHandle::new(driver)))
    }

    /// How a connection is made safe, for whoever asks that what goes on on another be cancelled.
    pub(super) fn tls(&self) -> MakeRustlsConnect {
        self.tls.clone()
    }

    /// A pool of at most `size` connections, for those who only read.
    pub(super) fn pool(&self, size: usize) -> Result<Pool, PostgresError> {
        let manager = Manager::from_config(
            self.config.clone(),
            self.tls.clone(),
            ManagerConfig { recycling_method: RecyclingMethod::Fast },
        );
        // One on which an answer is still due, because whoever waited for it has given up, would make the
        // next one wait too.
        let is_good = Hook::async_fn(|client: &mut ClientWrapper, metrics| {
            Box::pin(async move {
                if metrics.last_used() < IDLE_FOR {
                    return Ok(());
                }
                let answer = async { client.simple_query("").await.map_err(unavailable) };
                let good = answered_within(CONNECT_WITHIN, answer).await;
                good.map(drop).map_err(|error| HookError::message(error.to_string()))
            })
        });
        Pool::builder(manager)
            .pre_recycle(is_good)
            .max_size(size.max(1))
            .runtime(deadpool_postgres::Runtime::Tokio1)
            .wait_timeout(Some(CONNECT_WITHIN))
            .create_timeout(Some(self.answers_within))
            .build()
            .map_err(|error| PostgresError::Address(error.to_string()))
    }

    /// Brings the schema to this version's; a newer one's, or somebody else's, is left untouched.
    pub(super) async fn migrate(&self) -> Result<(), PostgresError> {
        let (mut client, _driver) = self.client().await.map_err(PostgresError::unreachable)?;
        self.keeps_sessions(&client).await?;
        let encoding = one(&client, "select current_setting('server_encoding')").await?;
        if encoding != "UTF8" {
            return Err(PostgresError::NotOurs(format!(
                "the database's encoding is {encoding}, which cannot hold every text. Make another: create database \
                 longhaul encoding 'UTF8' template template0"
            )));
        }
        lock_migrations(&client).await?;
        let has = |table: &str| format!("to_regclass('{table}') is not null");
        let tables = format!("select ({})::text || ({})::text", has("refinery_schema_history"), has("job"));
        let (ours, taken) = match one(&client, &tables).await?.as_str() {
            "truetrue" => (true, true),
            "truefalse" => (true, false),
            "falsetrue" => (false, true),
            _ => (false, false),
        };
        if !ours && taken {
            return Err(PostgresError::NotOurs(
                "the database holds another program's tables. Make one for Longhaul: create database longhaul".to_owned(),
            ));
        }
        let known = embedded::migrations::runner()
            .get_migrations()
            .iter()
            .map(|migration| i64::from(migration.version()))
            .max()
            .unwrap_or(0);
        let found = match ours {
            true => {
                one(&client, "select coalesce(max(version), 0)::text from refinery_schema_history").await?
            }
            false => "0".to_owned(),
        };
        let found: i64 = found.parse().unwrap_or(0);
        if found > known {
            return Err(PostgresError::NotOurs(format!(
                "the database was written by a newer version of Longhaul (schema {found}, this version knows \
                 up to {known}). Start that version. Nothing was touched."
            )));
        }
        // A role that may not make tables can work with those that are there.
        if found < known {
            may_make_tables(&client).await?;
            embedded::migrations::runner().run_async(&mut client).await.map_err(|error| {
                PostgresError::NotOurs(format!("the schema cannot be brought up to date: {}", causes(&error)))
            })?;
        }
        Ok(())
    }

    /// Refuses an address behind which connections share the database's sessions, as they do with a pooler that lends
    /// one out for a transaction: locks, prepared statements and notices are a session's, and would be lost or left
    /// behind. Two connections that are open at the same time never have the same session otherwise.
    async fn keeps_sessions(&self, client: &Client) -> Result<(), PostgresError> {
        const LOOKS: u32 = 3;
        let shared = || {
            PostgresError::NotOurs(
                "a pooler stands before the database and shares its sessions between connections (as PgBouncer does with \
                 pool_mode = transaction), which locks and notices do not survive. Name the database itself, or set \
                 pool_mode = session"
                    .to_owned(),
            )
        };
        let looked = async {
            let (other, _driver) = self.client().await.map_err(PostgresError::unreachable)?;
            let (mut ours, mut theirs) = (BTreeSet::new(), BTreeSet::new());
            for _ in 0..LOOKS {
                ours.insert(one(client, "select pg_backend_pid()::text").await?);
                theirs.insert(one(&other, "select pg_backend_pid()::text").await?);
            }
            if ours.len() > 1 || theirs.len() > 1 || !ours.is_disjoint(&theirs) {
                Err(shared())
            } else {
                Ok(())
            }
        };
        // A pool of one session has none for the second connection as long as the first is in use.
        tokio::time::timeout(SESSIONS_WITHIN, looked).await.unwrap_or_else(|_| {
            Err(PostgresError::Unreachable(
                "a second connection was not served; Longhaul needs several".to_owned(),
            ))
        })
    }
}

/// The one text that a query answers with. Not prepared: a pooler may not know of what is prepared.
async fn one(client: &Client, sql: &str) -> Result<String, PostgresError> {
    let answer = async { client.simple_query(sql).await.map_err(unavailable) };
    let rows = answered_within(CONNECT_WITHIN, answer).await.map_err(PostgresError::unreachable)?;
    let text = rows.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    text.ok_or_else(|| PostgresError::Unreachable("the database answered too little".to_owned()))
}

/// Takes the lock of whoever brings the schema up to date; it goes with the connection.
async fn lock_migrations(client: &Client) -> Result<(), PostgresError> {
    let begun = Instant::now();
    let mut told = false;
    loop {
        if one(client, &format!("select pg_try_advisory_lock({MIGRATION_LOCK})::text")).await? == "true" {
            return Ok(());
        }
        if begun.elapsed() >= LOCK_WITHIN {
            let who = "select coalesce((select 'process ' || pid || coalesce(' of ' || nullif(application_name, ''), '') \
                       from pg_locks join pg_stat_activity using (pid) where locktype = 'advisory' and granted \
                       and ((classid::bigint << 32) | objid::bigint) = $lock$ limit 1), 'another process')";
            let who = one(client, &who.replace("$lock$", &MIGRATION_LOCK.to_string())).await?;
            return Err(PostgresError::Unreachable(format!(
                "another server has been bringing the schema up to date for {} seconds ({who} in pg_stat_activity). \
                 Wait for it, or end it",
                LOCK_WITHIN.as_secs()
            )));
        }
        if !told && begun.elapsed() >= LOCK_TOLD_AFTER {
            told = true;
            tracing::warn!("Waiting for another server, which brings the schema up to date");
            eprintln!("longhaul: waiting for another server, which brings the database's schema up to date");
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Refuses, in words that help, where this role may not make what is missing.
async fn may_make_tables(client: &Client) -> Result<(), PostgresError> {
    let asked = "select case when current_schema() is null then 'none' \
                 when has_schema_privilege(current_schema(), 'create') then 'yes' \
                 else 'grant create on schema ' || quote_ident(current_schema()) || ' to ' || quote_ident(current_user) end";
    match one(client, asked).await?.as_str() {
        "yes" => Ok(()),
        "none" => Err(PostgresError::NotOurs(
            "permission denied: this role has no schema to make tables in. Make one: create schema longhaul authorization \
             the role, or set its search_path"
                .to_owned(),
        )),
        grant => Err(PostgresError::NotOurs(format!(
            "permission denied: this role may not make the tables that are missing. As the database's owner: {grant}"
        ))),
    }
}

/// An error with what is behind it: the outer ones say only that there was one.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = Some(error);
    while let Some(error) = next {
        let cause = match error.downcast_ref::<tokio_postgres::Error>() {
            Some(error) => sentence(error),
            None => error.to_string(),
        };
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_primary_is_looked_for_unless_the_address_says_otherwise_and_silence_is_noticed() {
        let config = |address: &str| DatabaseAddress::new(address).unwrap().config;
        let usual = config("postgres://longhaul@a,b/longhaul?sslmode=require");
        assert_eq!(usual.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        let any = config("postgres://longhaul@a/longhaul?target_session_attrs=any");
        assert_eq!(any.get_target_session_attrs(), TargetSessionAttrs::Any);

        let (every, times) = (usual.get_keepalives_interval(), usual.get_keepalives_retries());
        let (Some(every), Some(times)) = (every, times) else { panic!("left to the system: {usual:?}") };
        assert_eq!(usual.get_keepalives_idle() + every * times, SILENT_FOR);
    }

    #[tokio::test]
    async fn a_pooler_that_refuses_a_parameter_is_named_with_what_helps() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let pooler = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address =
            format!("postgres://longhaul@{}/longhaul?sslmode=disable", pooler.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut caller, _) = pooler.accept().await.unwrap();
            let _ = caller.read(&mut [0; 1024]).await;
            let fields = b"SFATAL\0C08P01\0Munsupported startup parameter: options\0\0";
            let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
            caller.write_all(&[b"E", length.as_slice(), fields].concat()).await.unwrap();
        });
        let told = DatabaseAddress::new(&address).unwrap().client().await.err().unwrap().to_string();
        assert!(told.contains("unsupported startup parameter: options (08P01)"), "{told}");
        assert!(told.contains("ignore_startup_parameters = options"), "{told}");
    }
}
