//! A job's messages.

use std::fmt;

use axum::Json;
use axum::extract::State;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::openapi::{ArrayBuilder, OneOfBuilder, Ref, RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::document::NOT_RECORDED;
use super::given::Moment;
use crate::http::{Allowed, ApiError, AppState, Body, ErrorBody, JobPath, Params, ReportOwn, SignedIn};
use crate::model::{Invalid, Level, LineKind, LogFilter, MessageText, Report, ReportItem};
use crate::store::{LogFrom, LogQuery};
use crate::view::iso;

/// The most messages in one list.
const MAX_LIST: usize = 10_000;
/// The most lines of a page.
const MAX_PAGE: u32 = 1_000;
/// The greatest number of a message: what a signed number of 64 bits holds, here, in the stores and in the
/// languages that clients are made in.
const MAX_NUMBER: u64 = i64::MAX.unsigned_abs();

/// A message.
#[derive(Debug, Deserialize, ToSchema)]
pub struct MessageBody {
    /// `info`, `warning` or `error`.
    #[schema(value_type = Level)]
    #[serde(rename = "type")]
    kind: Option<String>,
    /// What it says: 1 byte to 64 KiB. Terminal escapes, such as colours and links, are taken out, as they are out
    /// of titles, steps and errors; every other character is kept as it came.
    #[schema(value_type = String, min_length = 1, max_length = 65536, example = "1 200 rows read")]
    message: Option<String>,
    /// The step it belongs to, by path, or by id where that is unique. It must have been declared.
    #[schema(min_length = 1)]
    step: Option<String>,
    /// The epoch that `start` answered. In a list, that of the first message that has one.
    epoch: Option<u32>,
    /// A number that rises with each message the runner sends, from 1 to 2^63 - 1. One that was recorded before
    /// is skipped, so a list may be sent again after a lost answer.
    #[schema(minimum = 1)]
    key: Option<u64>,
    /// When it was said, by the runner's clock. Believed where it lies between the job's beginning and now.
    #[schema(value_type = Option<String>, format = DateTime, min_length = 20)]
    #[serde(skip_serializing)]
    at: Option<Moment>,
}

/// One message, or a list of them. A list is recorded whole or not at all.
#[derive(Debug)]
pub enum MessagesBody {
    /// A list: up to 10 000.
    Many(Vec<MessageBody>),
    /// One.
    One(MessageBody),
}

impl PartialSchema for MessagesBody {
    fn schema() -> RefOr<Schema> {
        let one = Ref::from_schema_name(MessageBody::name());
        let many = ArrayBuilder::new().items(one.clone()).min_items(Some(1)).max_items(Some(MAX_LIST));
        let either = OneOfBuilder::new().item(one).item(many);
        either
            .description(Some(
                "One message, or a list of up to 10 000, which is recorded whole or not at all.",
            ))
            .into()
    }
}

impl ToSchema for MessagesBody {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((MessageBody::name().into_owned(), MessageBody::schema()));
        MessageBody::schemas(schemas);
    }
}

/// By hand rather than `untagged`: whatever is wrong inside is then said, instead of "did not match any
/// variant", and a long list is read once.
impl<'de> Deserialize<'de> for MessagesBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = MessagesBody;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a message or a list of messages")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<MessagesBody, A::Error> {
                MessageBody::deserialize(MapAccessDeserializer::new(map)).map(MessagesBody::One)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<MessagesBody, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(MessagesBody::Many)
            }
        }

        deserializer.deserialize_any(OneOrMany)
    }
}

/// Messages were recorded.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageRecorded {
    /// The last message's place in the job's log.
    seq: u64,
    /// Somebody asked the job to stop.
    abort_requested: bool,
    /// What happened, in a sentence.
    message: String,
}

fn items(body: MessageBody) -> Result<impl Iterator<Item = ReportItem>, Invalid> {
    let level = match body.kind.as_deref() {
        Some("info") => Level::Info,
        Some("warning") => Level::Warning,
        Some("error") => Level::Error,
        Some(_) => return Err(Invalid::new("type", "must be info, warning or error")),
        None => return Err(Invalid::new("type", "is required: info, warning or error")),
    };
    let text = MessageText::new(body.message.unwrap_or_default())?;
    if body.key.is_some_and(|key| !(1..=MAX_NUMBER).contains(&key)) {
        return Err(Invalid::new("key", format!("must be a number from 1 to {MAX_NUMBER}")));
    }
    let at = body.at.map(|Moment(at)| ReportItem::At(at));
    let message = ReportItem::Message { level, text, step: body.step, key: body.key };
    Ok(at.into_iter().chain([message]))
}

/// Add messages
#[utoipa::path(
    post,
    path = "/api/admin/jobs/{id}/message",
    operation_id = "addMessages",
    tag = "reporting",
    params(("id" = uuid::Uuid, Path, description = "The job")),
    request_body = MessagesBody,
    responses(
        (status = 200, body = MessageRecorded, description = "Recorded"),
        (status = 409, body = ErrorBody, description = NOT_RECORDED),
    )
)]
pub async fn post(
    State(app): State<AppState>,
    Allowed(caller, _): Allowed<ReportOwn>,
    JobPath(id): JobPath,
    Body(body): Body<MessagesBody>,
) -> Result<Json<MessageRecorded>, ApiError> {
    let messages = match body {
        MessagesBody::One(message) => vec![message],
        MessagesBody::Many(messages) if messages.is_empty() => {
            return Err(Invalid::new("messages", "must be at least one").into());
        }
        MessagesBody::Many(messages) if messages.len() > MAX_LIST => {
            return Err(Invalid::new("messages", format!("may be {MAX_LIST} in one list at most")).into());
        }
        MessagesBody::Many(messages) => messages,
    };
    let epoch = messages.iter().find_map(|message| message.epoch);
    if messages.iter().any(|message| message.epoch.is_some() && message.epoch != epoch) {
        return Err(Invalid::new("epoch", "must be the same for all messages of a list").into());
    }
    let mut said = Vec::with_capacity(messages.len());
    for (place, message) in messages.into_iter().enumerate() {
        said.extend(items(message).map_err(|invalid| Invalid {
            problem: format!("{} (message {})", invalid.problem, place + 1),
            ..invalid
        })?);
    }
    let job = app.service.report(&caller, id, Report { epoch, items: said }).await?;
    Ok(Json(MessageRecorded {
        seq: job.seq,
        abort_requested: job.abort.is_some(),
        message: "Message added successfully".to_owned(),
    }))
}

/// Which lines of a log.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LineParams {
    /// `info`, `warning`, `error`, `system`, `operator`, or several with commas; `all` for all of them. Where absent,
    /// the messages of a page, and all lines of a text.
    #[param(
        pattern = "^((info|warning|error|system|operator)(,(info|warning|error|system|operator))*|all)?$"
    )]
    level: Option<String>,
    /// Of this step or one within it, by path.
    #[param(max_length = 3216)]
    step: Option<String>,
    /// That contain this text; ASCII letters match either case. 200 characters at most.
    #[param(max_length = 200)]
    q: Option<String>,
}

impl LineParams {
    /// The filter they say. `unsaid`: the lines of which kinds, where nothing is said.
    pub fn filter(self, unsaid: &[LineKind]) -> Result<LogFilter, Invalid> {
        let kinds = match self.level.as_deref() {
            None | Some("") => unsaid.to_vec(),
            Some("all") => LineKind::SHOWN.to_vec(),
            Some(list) => {
                let unknown =
                    || Invalid::new("level", "must be info, warning, error, system, operator or all");
                let kind = |name: &str| LineKind::from_name(name.trim()).ok_or_else(unknown);
                list.split(',').map(kind).collect::<Result<_, _>>()?
            }
        };
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        Ok(LogFilter { kinds, step: given(self.step), text: given(self.q) })
    }
}

/// Which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// After this place in the log: 0 to 2^63 - 1.
    after: Option<u64>,
    /// The most messages, 1 to 1000; 100 where absent.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// A message as it was recorded.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecordedMessage {
    /// Its place in the job's log.
    seq: u64,
    /// When the server recorded it.
    #[schema(format = DateTime)]
    timestamp: String,
    /// `info`, `warning` or `error`; `system` or `operator` where those were asked for.
    #[schema(value_type = LineKind)]
    #[serde(rename = "type")]
    kind: &'static str,
    /// What it says.
    message: String,
    /// The path of the step it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
}

/// A page of messages.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessagePage {
    /// The messages, oldest first.
    messages: Vec<RecordedMessage>,
    /// How many match in all.
    total: u64,
    /// Ask for what is after this; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_after: Option<u64>,
}

/// Read a job's messages
#[utoipa::path(
    get,
    path = "/api/admin/jobs/{id}/messages",
    operation_id = "listMessages",
    tag = "jobs",
    params(("id" = uuid::Uuid, Path, description = "The job"), LineParams, PageParams),
    responses((status = 200, body = MessagePage, description = "A page of messages"))
)]
pub async fn get(
    State(app): State<AppState>,
    SignedIn(caller): SignedIn,
    JobPath(id): JobPath,
    Params(lines): Params<LineParams>,
    Params(page): Params<PageParams>,
) -> Result<Json<MessagePage>, ApiError> {
    let limit = page.limit.unwrap_or(100);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Invalid::new("limit", "must be a whole number between 1 and 1000").into());
    }
    let filter = lines.filter(&[LineKind::Info, LineKind::Warning, LineKind::Error])?;
    let after = page.after.unwrap_or(0);
    if after > MAX_NUMBER {
        return Err(Invalid::new("after", format!("must be a number from 0 to {MAX_NUMBER}")).into());
    }
    let from = LogFrom::After(after);
    let query = LogQuery { filter, from, limit: limit as usize, count: true };
    let page = app.service.read_log(&caller, id, query).await?;
    let next_after = page.lines.last().filter(|_| page.more).map(|line| line.seq);
    let messages = page
        .lines
        .into_iter()
        .map(|line| RecordedMessage {
            seq: line.seq,
            timestamp: iso(line.at),
            kind: line.kind.name(),
            message: line.text,
            step: line.step,
        })
        .collect();
    Ok(Json(MessagePage { messages, total: page.total.unwrap_or(0), next_after }))
}
