//! What the API's description says of all operations alike.
//!
//! The annotation of an operation says what is its own: what it takes, what it answers, and what its own
//! rules refuse. What any request may be refused for is added here to every operation, so that a new one
//! cannot leave it out: no credential, a role that may not do it, a body that is not JSON or is too large, a
//! store that is away. Here also stand the words that a status, a role or a level may be, taken from the
//! model's own lists.

use std::borrow::Cow;

use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::response::Response;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};

use crate::model::{Cause, HealthStatus, Level, LineKind, ProgressSource, Role, Status};

/// A refusal that many operations share.
struct CommonRefusal {
    status: &'static str,
    /// Its name among the document's components.
    name: &'static str,
    description: &'static str,
    /// A header it carries, and what that says.
    header: Option<(&'static str, &'static str)>,
}

/// Why a report is refused with 409.
pub const NOT_RECORDED: &str = "`job_finished`: the job has ended. `stale_epoch`: the run was fenced off; stop the work. Nothing was recorded.";

const SHARED: [CommonRefusal; 11] = [
    CommonRefusal {
        status: "400",
        name: "NotAcceptable",
        description: "The request cannot be read, or a value in it is not acceptable. `error` says which, `details.field` names it.",
        header: None,
    },
    CommonRefusal {
        status: "401",
        name: "NotSignedIn",
        description: "`not_signed_in`: no token and no session came, or one that is not good, or not any more.",
        header: Some(("WWW-Authenticate", "`Bearer`")),
    },
    CommonRefusal {
        status: "403",
        name: "Forbidden",
        description: "`forbidden`: the credential's role may not do this. `cross_site`: a page of another site sent the request.",
        header: None,
    },
    CommonRefusal {
        status: "404",
        name: "NoSuchJob",
        description: "`job_not_found`: there is no such job.",
        header: None,
    },
    CommonRefusal {
        status: "408",
        name: "TooSlow",
        description: "`request_too_slow`: the request did not arrive in time. Send it again.",
        header: None,
    },
    CommonRefusal {
        status: "413",
        name: "TooLarge",
        description: "`body_too_large`: more than 1 MiB, or than 8 MiB in a list of messages.",
        header: None,
    },
    CommonRefusal {
        status: "415",
        name: "NotJson",
        description: "`not_json`: the body is declared as something other than JSON.",
        header: None,
    },
    CommonRefusal {
        status: "429",
        name: "TooManyConnections",
        description: "`too_many_connections`: as many connections are open with this credential as one may have. Close some, or send one request after another on each. `too_many_searches`, where something is looked for: as many searches go on as may; try again.",
        header: Some(("Retry-After", "Seconds after which to try again")),
    },
    CommonRefusal {
        status: "431",
        name: "HeadTooLong",
        description: "The address and the headers together are longer than 32 KiB. The answer has no body.",
        header: None,
    },
    CommonRefusal {
        status: "500",
        name: "InternalError",
        description: "`internal_error`: a fault of the server. Its log says what happened.",
        header: None,
    },
    CommonRefusal {
        status: "503",
        name: "Unavailable",
        description: "`stopping`, `store_unavailable` or `too_much_at_once`: the server takes no work at the moment. Send the request again.",
        header: Some(("Retry-After", "Seconds after which to try again")),
    },
];

impl CommonRefusal {
    /// Whether a request of that operation can be refused so.
    fn concerns(&self, path: &str, operation: &Operation) -> bool {
        let has_body = operation.request_body.is_some();
        // A job's id that cannot be read is one that is not there.
        let has_parameter = operation
            .parameters
            .iter()
            .flatten()
            .any(|parameter| matches!(parameter, RefOr::T(parameter) if parameter.name != "id"));
        match self.status {
            "400" => has_body || has_parameter,
            "404" => path.contains("{id}"),
            "408" | "413" | "415" => has_body,
            _ => true,
        }
    }

    fn response(&self) -> Response {
        let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody"))).build();
        let response = ResponseBuilder::new().description(self.description);
        // This one is given before anything of ours has seen the request.
        let response =
            if self.status == "431" { response } else { response.content("application/json", body) };
        match self.header {
            None => response.build(),
            Some((name, description)) => {
                let text = ObjectBuilder::new().schema_type(Type::String);
                let header = HeaderBuilder::new().schema(Some(text)).description(Some(description)).build();
                response.header(name, header).build()
            }
        }
    }
}

/// A body that may be left out is described as what it is when it is there. That `null` is taken for none, too, is no
/// help to whoever makes a client: some send the word for "left out" then, and cannot.
fn without_null(body: &mut RequestBody) {
    for content in body.content.values_mut() {
        let RefOr::T(content) = content else { continue };
        let Some(RefOr::T(Schema::OneOf(alternatives))) = &mut content.schema else { continue };
        let is_null = |item: &RefOr<Schema>| matches!(item, RefOr::T(Schema::Object(object)) if object.schema_type == SchemaType::Type(Type::Null));
        alternatives.items.retain(|item| !is_null(item));
        if let [only] = &alternatives.items[..] {
            content.schema = Some(only.clone());
        }
    }
}

/// Adds to every operation the refusals it shares with others.
pub fn complete(document: &mut OpenApi) {
    for (path, item) in &mut document.paths.paths {
        let operations =
            [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch, &mut item.head];
        for operation in operations.into_iter().flatten() {
            if let Some(RefOr::T(body)) = &mut operation.request_body {
                without_null(body);
            }
            for shared in SHARED.iter().filter(|shared| shared.concerns(path, operation)).collect::<Vec<_>>()
            {
                let responses = &mut operation.responses.responses;
                responses
                    .entry(shared.status.to_owned())
                    .or_insert_with(|| Ref::from_response_name(shared.name).into());
            }
        }
    }
    let components = document.components.get_or_insert_default();
    for shared in &SHARED {
        components.responses.insert(shared.name.to_owned(), shared.response().into());
    }
}

/// The schema of a type that is one of several words in JSON.
macro_rules! words {
    ($($type:ident, $description:literal, $words:expr;)*) => {$(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .description(Some($description))
                    .enum_values(Some($words))
                    .into()
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                stringify!($type).into()
            }
        }
    )*};
}

words! {
    Status, "Where a job stands.", Status::ALL.map(Status::name);
    Role, "What a credential may do; each may what the one before it may.", Role::ALL.map(Role::name);
    Level, "How grave a message is.", [Level::Info, Level::Warning, Level::Error].map(|level| LineKind::from(level).name());
    LineKind, "What a line of a log is: a message, or what the system or a person did.", LineKind::SHOWN.map(LineKind::name);
    ProgressSource, "Where a job's numbers are from.", [ProgressSource::Reported, ProgressSource::Guessed].map(ProgressSource::name);
    Cause, "Why a run ended.", Cause::ALL.map(Cause::name);
    HealthStatus, "The system's condition.", [HealthStatus::Healthy, HealthStatus::Degraded, HealthStatus::Critical].map(HealthStatus::name);
}
