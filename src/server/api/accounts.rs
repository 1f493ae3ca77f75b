//! Users and tokens. For admins only.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use crate::http::{Allowed, ApiError, AppState, Body, ErrorBody, ManageAccounts, NamePath};
use crate::model::{Author, Invalid, Role};
use crate::service::NewToken;
use crate::store::ACCOUNT_NAME_PATTERN;
use crate::view::iso;

fn role(text: Option<&str>) -> Result<Role, Invalid> {
    text.unwrap_or("viewer")
        .parse()
        .map_err(|problem: String| Invalid::new("role", format!("is wrong: {problem}")))
}

/// The schema of a new account's name, after the rules for one.
fn account_name(what: &str, example: &str) -> Object {
    let description = format!(
        "{what}: 1 to {} letters and digits of any living script, with single spaces and . _ - @ + : / ' between \
         them; it begins with a letter or a digit, and looks like no other that there is.",
        Author::MAX_CHARS
    );
    ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(Author::MAX_CHARS))
        .pattern(Some(ACCOUNT_NAME_PATTERN))
        .description(Some(description))
        .examples([example])
        .build()
}

fn user_name() -> Object {
    account_name("As typed at sign-in", "anna")
}

fn token_name() -> Object {
    account_name(
        "The name its actions are recorded under, but `bootstrap`, which is kept for the token of the settings",
        "nightly-import",
    )
}

/// A user.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserDto {
    /// As typed at sign-in.
    name: String,
    /// What the user may do.
    role: Role,
    /// Whether the user has chosen a password.
    has_password: bool,
    /// Since when.
    #[schema(format = DateTime)]
    created_at: String,
}

/// List users
#[utoipa::path(
    get,
    path = "/api/admin/users",
    operation_id = "listUsers",
    tag = "accounts",
    responses((status = 200, body = Vec<UserDto>, description = "The users"))
)]
pub async fn users(
    State(app): State<AppState>,
    Allowed(caller, _): Allowed<ManageAccounts>,
) -> Result<Json<Vec<UserDto>>, ApiError> {
    let users = app.service.users(&caller).await?;
    let dto = users.into_iter().map(|user| UserDto {
        name: user.name,
        role: user.role,
        has_password: user.password.is_some(),
        created_at: iso(user.created_at),
    });
    Ok(Json(dto.collect()))
}

/// A user to add.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewUserBody {
    /// As typed at sign-in.
    #[schema(schema_with = user_name)]
    name: String,
    /// What the user may do; `viewer` where absent.
    #[schema(value_type = Option<Role>)]
    role: Option<String>,
}

/// A new user's way in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserAdded {
    /// The user.
    name: String,
    /// A page that lets the user choose a password, once, within 24 hours.
    sign_in_link: String,
}

/// Add a user
#[utoipa::path(
    post,
    path = "/api/admin/users",
    operation_id = "addUser",
    tag = "accounts",
    request_body = NewUserBody,
    responses(
        (status = 201, body = UserAdded, description = "The user was added"),
        (status = 409, body = ErrorBody, description = "`conflict`: there is a user of that name"),
    )
)]
pub async fn add_user(
    State(app): State<AppState>,
    Allowed(caller, _): Allowed<ManageAccounts>,
    Body(body): Body<NewUserBody>,
) -> Result<(StatusCode, Json<UserAdded>), ApiError> {
    let link = app.service.add_user(&caller, &body.name, role(body.role.as_deref())?).await?;
    let sign_in_link = format!("{}/login?link={link}", app.settings.public_url());
    Ok((StatusCode::CREATED, Json(UserAdded { name: body.name, sign_in_link })))
}

/// Remove a user
#[utoipa::path(
    delete,
    path = "/api/admin/users/{name}",
    operation_id = "removeUser",
    tag = "accounts",
    params(("name" = String, Path, description = "The user")),
    responses(
        (status = 204, description = "The user is gone, with all sessions"),
        (status = 404, body = ErrorBody, description = "`not_found`: there is no such user"),
        (status = 409, body = ErrorBody, description = "`conflict`: it is the only admin"),
    )
)]
pub async fn remove_user(
    State(app): State<AppState>,
    Allowed(caller, _): Allowed<ManageAccounts>,
    NamePath(name): NamePath,
) -> Result<StatusCode, ApiError> {
    app.service.remove_user(&caller, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A token, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenDto {
    /// The name its actions are recorded under.
    name: String,
    /// What it may do.
    role: Role,
    /// Whether it may name another author than itself.
    act_as: bool,
    /// Since when.
    #[schema(format = DateTime)]
    created_at: String,
    /// Until when; absent for until revoked.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

/// List tokens
#[utoipa::path(
    get,
    path = "/api/admin/tokens",
    operation_id = "listTokens",
    tag = "accounts",
    responses((status = 200, body = Vec<TokenDto>, description = "The tokens, without their secrets"))
)]
pub async fn tokens(
    State(app): State<AppState>,
    Allowed(caller, _): Allowed<ManageAccounts>,
) -> Result<Json<Vec<TokenDto>>, ApiError> {
    let tokens = app.service.tokens(&caller).await?;
    let dto = tokens.into_iter().map(|token| TokenDto {
        name: token.name,
        role: token.role,
        act_as: token.act_as,
        created_at: iso(token.created_at),
        expires_at: token.expires_at.map(iso),
    });
    Ok(Json(dto.collect()))
}

/// A token to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewTokenBody {
    /// The name its actions are recorded under.
    #[schema(schema_with = token_name)]
    name: String,
    /// What it may do; `viewer` where absent.
    #[schema(value_type = Option<Role>)]
    role: Option<String>,
    /// Whether it may name another author than itself.
    #[serde(default)]
    act_as: bool,
    /// Seconds it is good for, up to ten years; until revoked where absent.
    #[schema(minimum = 1, maximum = 315619200)]
    expires_in: Option<u64>,
}

/// A new token.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenAdded {
    /// The name its actions are recorded under.
    name: String,
    /// The token. It is not shown again.
    token: String,
}

/// Make a token
#[utoipa::path(
    post,
    path = "/api/admin/tokens",
    operation_id = "addToken",
    tag = "accounts",
    request_body = NewTokenBody,
    responses(
        (status = 201, body = TokenAdded, description = "The token was made"),
        (status = 409, body = ErrorBody, description = "`conflict`: there is a token of that name, or it is `bootstrap`, which the settings make"),
    )
)]
pub async fn add_token(
    State(app): State<AppState>,
    Allowed(caller, _): Allowed<ManageAccounts>,
    Body(body): Body<NewTokenBody>,
) -> Result<(StatusCode, Json<TokenAdded>), ApiError> {
    let new = NewToken {
        name: body.name.clone(),
        role: role(body.role.as_deref())?,
        act_as: body.act_as,
        lasts: body.expires_in.map(Duration::from_secs),
    };
    let secret = app.service.add_token(&caller, new).await?;
    Ok((StatusCode::CREATED, Json(TokenAdded { name: body.name, token: secret.0 })))
}

/// Revoke a token
#[utoipa::path(
    delete,
    path = "/api/admin/tokens/{name}",
    operation_id = "revokeToken",
    tag = "accounts",
    params(("name" = String, Path, description = "The token")),
    responses(
        (status = 204, description = "The token is not good any more"),
        (status = 404, body = ErrorBody, description = "`not_found`: there is no such token"),
    )
)]
pub async fn remove_token(
    State(app): State<AppState>,
    Allowed(caller, _): Allowed<ManageAccounts>,
    NamePath(name): NamePath,
) -> Result<StatusCode, ApiError> {
    app.service.remove_token(&caller, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
