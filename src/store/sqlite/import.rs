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
            self.count(job.spec.feature.as_str(), None, Some(job.status));
            if let Some(ended) = job.ended_at {
                self.count_ended(ended, job.status);
            }
            self.imported.push((n, Arc::clone(&job)));
        }
        Ok(count)
    }
}
