//! A job's log as a text, all of it.
//!
//! It is read a page at a time, as its reader takes it: any log takes the memory of one page. Where a later
//! page cannot be read, the answer breaks off, and its reader sees that it is not whole.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures::stream;

use super::messages::LineParams;
use crate::http::{ApiError, AppState, JobPath, Params, SignedIn};
use crate::model::{JobId, LineKind, LogFilter};
use crate::service::{Caller, ServiceError};
use crate::store::{LogFrom, LogPage, LogQuery};
use crate::view::{iso, text_line};

/// So many lines are read at once.
const PAGE: usize = 1_000;

/// Take a job's log away as text
///
/// A line for each entry, oldest first: its time, its level, its step in brackets, and what it says. Further
/// lines of an entry are indented. The log of a job that still runs ends with what is there.
#[utoipa::path(
    get,
    path = "/api/admin/jobs/{id}/log.txt",
    operation_id = "readLog",
    tag = "jobs",
    params(("id" = uuid::Uuid, Path, description = "The job"), LineParams),
    responses((status = 200, body = String, content_type = "text/plain", description = "The log"))
)]
pub async fn get(
    State(app): State<AppState>,
    SignedIn(caller): SignedIn,
    JobPath(id): JobPath,
    Params(lines): Params<LineParams>,
) -> Result<Response, ApiError> {
    let filter = lines.filter(&LineKind::SHOWN)?;
    let reading = Reading { app, caller, id, filter };
    // Before anything is answered, so that a refusal still can be.
    let first = reading.page(0).await?;
    let pages = stream::try_unfold(Some((reading, Next::Page(first))), |state| async move {
        let Some((reading, next)) = state else { return Ok(None) };
        let page = match next {
            Next::Page(page) => page,
            Next::After(seq) => reading.page(seq).await?,
        };
        let text = text_of(&page);
        let after = page.lines.last().filter(|_| page.more).map(|line| line.seq);
        Ok::<_, ServiceError>(Some((text, after.map(|seq| (reading, Next::After(seq))))))
    });
    let headers = [
        (CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{id}.log.txt\"")),
    ];
    Ok((headers, Body::from_stream(pages)).into_response())
}

enum Next {
    Page(LogPage),
    After(u64),
}

struct Reading {
    app: AppState,
    caller: Caller,
    id: JobId,
    filter: LogFilter,
}

impl Reading {
    async fn page(&self, after: u64) -> Result<LogPage, ServiceError> {
        let query =
            LogQuery { filter: self.filter.clone(), from: LogFrom::After(after), limit: PAGE, count: false };
        self.app.service.read_log(&self.caller, self.id, query).await
    }
}

fn text_of(page: &LogPage) -> Bytes {
    let mut text = String::new();
    for line in &page.lines {
        text.push_str(&text_line(&iso(line.at), line.kind.name(), line.step.as_deref(), &line.text));
        text.push('\n');
    }
    text.into()
}
