//! The REST API, a file a resource. Handlers read the request, call `service/`, and write the answer; what
//! they share beyond [`http`](crate::http) is how a job looks ([`job_dto`]).

mod accounts;
mod document;
mod events;
mod given;
mod health;
mod job_dto;
mod jobs;
mod log_text;
mod messages;
mod progress;
mod recovery;
mod run;

use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt as _};
use utoipa_axum::routes;

use crate::http::{AppState, PLAIN_COOKIE, messages_limit};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Longhaul",
        description = "Track, rescue and run long admin jobs.\n\n\
            Times are RFC 3339, UTC, with milliseconds. A refusal is `{\"error\", \"code\", \"details\"?}`: \
            the sentence is for people, the code is stable.\n\n\
            **Epochs.** A run has an epoch, answered by `start`. Send it with every report. When somebody \
            force-fails the job, the epoch rises, and reports of the old one are answered 409 `stale_epoch`: \
            stop the work then.\n\n\
            **Sending again.** `start` honours `Idempotency-Key`. A message may carry a `key`, a number that \
            rises with each message; one that was recorded before is skipped. Numbers never fall. So after a \
            lost answer everything may be sent again."
    ),
    tags(
        (name = "jobs", description = "Start jobs and look at them"),
        (name = "reporting", description = "What a runner says about its job"),
        (name = "recovery", description = "Get a job, or all of them, out of trouble"),
        (name = "system", description = "Health and live changes"),
        (name = "accounts", description = "Users and tokens"),
    ),
    servers((url = "/", description = "The server this description comes from")),
    security(("bearer" = []), ("session" = []))
)]
struct Document;

/// Everything under `/api`, and its description.
pub fn routes() -> (axum::Router<AppState>, utoipa::openapi::OpenApi) {
    let (router, mut document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::start))
        .routes(routes!(run::run))
        .routes(routes!(progress::get, progress::post))
        .routes(routes!(messages::get))
        .routes(routes!(log_text::get))
        .routes(routes!(messages::post).layer(messages_limit()))
        .routes(routes!(progress::heartbeat))
        .routes(routes!(progress::complete))
        .routes(routes!(progress::fail))
        .routes(routes!(progress::aborted))
        .routes(routes!(recovery::abort))
        .routes(routes!(recovery::more_time))
        .routes(routes!(recovery::force_fail))
        .routes(routes!(recovery::pin))
        .routes(routes!(recovery::unpin))
        .routes(routes!(recovery::emergency_cleanup))
        .routes(routes!(recovery::cleanup))
        .routes(routes!(recovery::accept_clock))
        .routes(routes!(health::health))
        .routes(routes!(events::events))
        .routes(routes!(accounts::users, accounts::add_user))
        .routes(routes!(accounts::remove_user))
        .routes(routes!(accounts::tokens, accounts::add_token))
        .routes(routes!(accounts::remove_token))
        .split_for_parts();
    document::complete(&mut document);
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(
        "bearer",
        SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()),
    );
    components.add_security_scheme(
        "session",
        SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(PLAIN_COOKIE))),
    );
    (router, document)
}
