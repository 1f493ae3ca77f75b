//! Whole jobs from elsewhere, with their logs, in the transaction that was begun for them.

use std::collections::HashSet;
use std::sync::Arc;

use super::batch::Batch;
use super::{entries, rows, unavailable};
use crate::model::Refusal;
use crate::store::{ImportedJob, StoreError};

impl Batch<'_> {
    /// Adds jobs with their logs. Refused, before anything is written, where one is there already.
    pub(super) fn import(&mut self, jobs: Vec<ImportedJob>) -> Result<u64, StoreError> {
        let mut seen = HashSet::with_capacity(jobs.len());
        for ImportedJob { job, .. } in &jobs {
            self.must_be_new(job.id)?;
            if !seen.insert(job.id) {
                return Err(Refusal::Exists { id: job.id }.into());
            }
        }
        let count = jobs.len() as u64;
        let mut put_event = self.db.prepare_cached(entries::PUT_EVENT).map_err(unavailable)?;
        let mut put_step = self.db.prepare_cached(rows::PUT_STEP).map_err(unavailable)?;
        for ImportedJob { job, log } in jobs {
            let n = rows::insert_job(self.db, self.interned, &job)?;
            for event in &log {
                entries::put_event(&mut put_event, n, event)?;
            }
            for (index, step) in job.steps.steps().iter().enumerate() {
                rows::put_step(&mut put_step, n, index, step).map_err(unavailable)?;
            }
            self.tally.count(job.spec.feature.as_str(), None, &job);
            self.imported.push((n, Arc::clone(&job)));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;
    use uuid::Uuid;

    use super::*;
    use crate::library::Jobs;
    use crate::model::{Actor, Command, Context, Job, JobId, NewJob, Status, Timestamp};
    use crate::store::{JobStore, SqliteStore};

    /// Memory must have what the command left, as the disk does, and not what was imported.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_job_that_is_imported_and_ended_in_one_transaction_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.db");
        let store = Arc::new(SqliteStore::open(&path).unwrap());
        let jobs = Jobs::new(Arc::clone(&store) as Arc<dyn JobStore>);
        let model = jobs.create_job("import", "anna").await.unwrap();
        let spec = (*store.get(model).await.unwrap().unwrap().spec).clone();
        let context = || Context { actor: Actor::user("anna"), at: Timestamp(1_000) };
        let id = JobId(Uuid::from_u128(7 << 64));
        let new = NewJob { id, spec, enqueue: false, run_at: None };
        let (job, created) = Job::create(new, &context()).unwrap();
        let imported = ImportedJob { job: Arc::new(job), log: vec![created] };

        // While another process writes, what is asked for waits and is then done in one go.
        let other = Connection::open(&path).unwrap();
        other.execute_batch("begin immediate").unwrap();
        let complete = Command::Complete { epoch: Some(1), output: None };
        let (count, ended, ()) =
            tokio::join!(store.import(vec![imported]), store.transact(id, complete, context()), async {
                other.execute_batch("rollback").unwrap();
            });
        assert_eq!((count.unwrap(), ended.unwrap().status), (1, Status::Completed));
        assert_eq!(store.get(id).await.unwrap().unwrap().status, Status::Completed);
        let active = store.active().await.unwrap();
        assert_eq!(active.iter().map(|job| job.id).collect::<Vec<_>>(), [model]);
        let report = store.check(Box::new(|_, _| true)).await.unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
    }
}
