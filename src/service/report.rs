//! What a runner says about its job.

use std::sync::Arc;

use serde_json::Value;

use super::{Caller, Service, ServiceError};
use crate::model::{Command, Invalid, Job, JobId, MessageText, Permission, Report, Stopped, Timestamp};

impl Service {
    /// Whether the caller may report on the job: it is its own, or the caller may report on any.
    async fn must_report(&self, caller: &Caller, id: JobId) -> Result<(), ServiceError> {
        caller.must(Permission::ReportOwn)?;
        if caller.role.may(Permission::ReportAny) {
            return Ok(());
        }
        let job = self.job(id).await?;
        if job.spec.owner == caller.owner() {
            Ok(())
        } else {
            Err(ServiceError::NotYours { owner: job.spec.owner.clone() })
        }
    }

    /// Where `at` is given, it happened then by the runner's clock.
    async fn write(
        &self,
        caller: &Caller,
        id: JobId,
        command: Command,
        at: Option<Timestamp>,
    ) -> Result<Arc<Job>, ServiceError> {
        let command = match at {
            Some(at) => Command::Happened { at, what: Box::new(command) },
            None => command,
        };
        self.must_report(caller, id).await?;
        self.must_be_open()?;
        Ok(self.store.transact(id, command, self.context(caller)).await?)
    }

    /// Records steps, numbers and messages; with nothing in it, that the runner lives.
    pub async fn report(&self, caller: &Caller, id: JobId, report: Report) -> Result<Arc<Job>, ServiceError> {
        self.write(caller, id, Command::Report(report), None).await
    }

    /// The work is done.
    pub async fn complete(
        &self,
        caller: &Caller,
        id: JobId,
        epoch: Option<u32>,
        output: Option<Value>,
        at: Option<Timestamp>,
    ) -> Result<Arc<Job>, ServiceError> {
        let output = output.filter(|output| !output.is_null());
        self.write(caller, id, Command::Complete { epoch, output }, at).await
    }

    /// The work cannot be done.
    pub async fn fail(
        &self,
        caller: &Caller,
        id: JobId,
        epoch: Option<u32>,
        error: Option<String>,
        retryable: bool,
        at: Option<Timestamp>,
    ) -> Result<Arc<Job>, ServiceError> {
        // An empty text says as much as none.
        let error = error.filter(|text| !text.is_empty()).map(MessageText::new).transpose();
        let named = |invalid| Invalid { field: "errorMessage".to_owned(), ..invalid };
        let error = error.map_err(named)?.map(MessageText::into_string);
        self.write(caller, id, Command::Fail { epoch, error, retryable }, at).await
    }

    /// The work stopped because the job was asked to.
    pub async fn acknowledge_abort(
        &self,
        caller: &Caller,
        id: JobId,
        epoch: Option<u32>,
        how: Stopped,
        at: Option<Timestamp>,
    ) -> Result<Arc<Job>, ServiceError> {
        self.write(caller, id, Command::AcknowledgeAbort { epoch, how }, at).await
    }
}
