//! What open pages poll. Each answers from the live board where it can, in a compact form: what reads it is the
//! page, and is downloaded with it. What programs use is the REST API.

use leptos::prelude::*;
use leptos::server_fn::codec::{GetUrl, Postcard};
use serde::{Deserialize, Serialize};

use super::RpcError;
use crate::model::{JobId, LineKind, LogFilter, Status};
use crate::view::{BoardAnswer, JobAnswer, LogAnswer, PastRow};

/// Which ended jobs a page shows: its address, as it came in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastFilter {
    /// The feature.
    pub feature: Option<String>,
    /// The outcome.
    pub status: Option<Status>,
    /// The author.
    pub author: Option<String>,
    /// A text.
    pub text: Option<String>,
    /// Where the page begins.
    pub cursor: Option<String>,
}

impl PastFilter {
    /// Whether anything is left out.
    pub fn is_narrowed(&self) -> bool {
        self.feature.is_some() || self.status.is_some() || self.author.is_some() || self.text.is_some()
    }
}

/// A page of ended jobs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PastPage {
    /// The jobs, last ended first.
    pub rows: Vec<PastRow>,
    /// Where the next page begins.
    pub next: Option<String>,
}

/// Which part of a log a page shows: its address, as it came in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogView {
    /// Only lines of this kind.
    pub kind: Option<LineKind>,
    /// Only lines of this step or one within it.
    pub step: Option<String>,
    /// Only lines that contain this.
    pub text: Option<String>,
}

impl From<LogView> for LogFilter {
    fn from(view: LogView) -> Self {
        Self { kinds: view.kind.into_iter().collect(), step: view.step, text: view.text }
    }
}

/// What changed on the overview.
#[server(prefix = "/rpc", endpoint = "board/poll", input = GetUrl, output = Postcard)]
pub async fn poll_board(boot: String, build: String, since: u64) -> Result<BoardAnswer, RpcError> {
    use super::form::{page_of_build, refuse};
    let (service, caller) = page_of_build(&build)?;
    service.board_poll(&caller, &boot, &build, since).map_err(|error| refuse(&error))
}

/// A page of ended jobs.
#[server(prefix = "/rpc", endpoint = "jobs/past", input = GetUrl, output = Postcard)]
pub async fn list_past(
    build: String,
    feature: Option<String>,
    status: Option<Status>,
    author: Option<String>,
    text: Option<String>,
    cursor: Option<String>,
) -> Result<PastPage, RpcError> {
    use super::form::{page_of_build, refuse};
    let (service, caller) = page_of_build(&build)?;
    let filter = PastFilter { feature, status, author, text, cursor };
    read_past(&service, &caller, filter).await.map_err(|error| refuse(&error))
}

/// A page of ended jobs, for the server function and for the page that is rendered with it.
#[cfg(feature = "ssr")]
pub async fn read_past(
    service: &crate::service::Service,
    caller: &crate::service::Caller,
    filter: PastFilter,
) -> Result<PastPage, crate::service::ServiceError> {
    use crate::model::{JobFilter, PageSize};
    let size = PageSize::new(Some(25))?;
    let after = filter.cursor.map(|cursor| cursor.parse()).transpose()?;
    let filter = JobFilter {
        only_past: true,
        only_open: false,
        feature: filter.feature,
        status: filter.status,
        author: filter.author,
        tag: None,
        text: filter.text,
    };
    let page = service.list_jobs(caller, filter, after, size).await?;
    let rows = page.jobs.iter().map(|job| PastRow::from(&**job)).collect();
    Ok(PastPage { rows, next: page.next.map(|cursor| cursor.to_string()) })
}

/// What changed of a job.
#[server(prefix = "/rpc", endpoint = "jobs/poll", input = GetUrl, output = Postcard)]
pub async fn poll_job(build: String, id: JobId, since: u64, unfolded: bool) -> Result<JobAnswer, RpcError> {
    use super::form::{page_of_build, refuse};
    let (service, caller) = page_of_build(&build)?;
    service.job_poll(&caller, id, since, unfolded).await.map_err(|error| refuse(&error))
}

/// What came to a job's log after one of its entries; of much the newest, for a page that only follows.
#[server(prefix = "/rpc", endpoint = "jobs/log", input = GetUrl, output = Postcard)]
pub async fn poll_log(
    build: String,
    id: JobId,
    after: u64,
    #[server(default)] follows: bool,
    kind: Option<LineKind>,
    step: Option<String>,
    text: Option<String>,
) -> Result<LogAnswer, RpcError> {
    use super::form::{page_of_build, refuse};
    let (service, caller) = page_of_build(&build)?;
    let filter = LogFilter::from(LogView { kind, step, text });
    service.log_poll(&caller, id, after, follows, filter).await.map_err(|error| refuse(&error))
}
