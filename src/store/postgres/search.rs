//! Searches: few at once, on connections of their own, given up in time and when nobody waits any more.
//!
//! A statement goes on in the database when its client has gone, and its connection with it: eight of them over a large
//! log had all connections, and nobody could even sign in. So a search has none of the others', uses one core of the
//! database, and is cancelled there when it is given up here.

use std::time::Duration;

use deadpool_postgres::{Object, Pool, Transaction};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connect::{DatabaseAddress, PostgresError, unavailable};
use super::{connection, snapshot};
use crate::model::Refusal;
use crate::store::StoreError;
use crate::store::bounds::{SEARCH_LASTS, SEARCHES_ELSEWHERE, Searches};

/// Where the way to the database is lost, the database itself gives a search up.
const AT_LAST: Duration = Duration::from_secs(12);
/// How long it may take to have a search cancelled.
const CANCELLED_WITHIN: Duration = Duration::from_secs(5);

/// The way to search.
pub(super) struct Search {
    pool: Pool,
    turns: Searches,
    tls: MakeRustlsConnect,
}

impl Search {
    pub(super) fn new(place: &DatabaseAddress) -> Result<Self, PostgresError> {
        let (pool, turns) = (place.pool(SEARCHES_ELSEWHERE)?, Searches::new(SEARCHES_ELSEWHERE));
        Ok(Self { pool, turns, tls: place.tls() })
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }

    /// Looks for something in one moment of the database.
    pub(super) async fn look<T>(
        &self,
        work: impl AsyncFnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let _turn = self.turns.turn().await?;
        let db = connection(&self.pool).await?;
        let mut going_on = GoingOn { db: Some(db), tls: self.tls.clone() };
        let Some(db) = &mut going_on.db else {
            return Err(StoreError::Unavailable("the connection for searching is gone".to_owned()));
        };
        let looked = async {
            let moment = snapshot(db).await?;
            let limits = format!(
                "set local statement_timeout = {}; set local max_parallel_workers_per_gather = 0",
                AT_LAST.as_millis()
            );
            moment.batch_execute(&limits).await.map_err(unavailable)?;
            let found = work(&moment).await?;
            moment.commit().await.map_err(unavailable)?;
            Ok(found)
        };
        match tokio::time::timeout(SEARCH_LASTS, looked).await {
            Ok(found) => {
                going_on.end();
                found
            }
            Err(_) => Err(Refusal::SearchTooLong { seconds: SEARCH_LASTS.as_secs() }.into()),
        }
    }
}

/// A search that goes on in the database. Dropped before it is over, it is cancelled there.
struct GoingOn {
    db: Option<Object>,
    tls: MakeRustlsConnect,
}

impl GoingOn {
    fn end(mut self) {
        self.db = None;
    }
}

impl Drop for GoingOn {
    fn drop(&mut self) {
        let (Some(db), Ok(runtime)) = (self.db.take(), tokio::runtime::Handle::try_current()) else { return };
        let (cancel, tls) = (db.cancel_token(), self.tls.clone());
        // It goes back to nobody: an answer is still due on it.
        let client = Object::take(db);
        runtime.spawn(async move {
            if tokio::time::timeout(CANCELLED_WITHIN, cancel.cancel_query(tls)).await.is_err() {
                tracing::debug!("A search could not be cancelled; the database gives it up by itself");
            }
            drop(client);
        });
    }
}
