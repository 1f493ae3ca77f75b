//! Users and tokens. For admins only.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::{ApiError, AppState, Body, ErrorBody, SignedIn};
use crate::model::{Invalid, Role};
use crate::service::NewToken;
use crate::view::iso;

fn role(text: Option<&str>) -> Result<Role, Invalid> {
    text.unwrap_or("viewer")
        .parse()
        .map_err(|problem: String| Invalid::new("role", format!("is wrong: {problem}")))
}

/// A user.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserDto {
    /// As typed at sign-in.
    name: String,
    /// `viewer`, `reporter`, `operator` or `admin`.
    role: &'static str,
    /// Whether the user has chosen a password.
    has_password: bool,
    /// Since when.
    #[schema(format = DateTime)]
    created_at: String,
}

/// List users
#[utoipa::path(get, path = "/api/admin/users", tag = "accounts", responses((status = 200, body = Vec<UserDto>)))]
pub async fn users(
    State(app): State<AppState>,
    SignedIn(caller): SignedIn,
) -> Result<Json<Vec<UserDto>>, ApiError> {
    let users = app.service.users(&caller).await?;
    let dto = users.into_iter().map(|user| UserDto {
        name: user.name,
        role: user.role.name(),
        has_password: user.password.is_some(),
        created_at: iso(user.created_at),
    });
    Ok(Json(dto.collect()))
}

/// A user to add.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewUserBody {
    /// As typed at sign-in.
    name: String,
    /// `viewer` (where absent), `reporter`, `operator` or `admin`.
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
    tag = "accounts",
    request_body = NewUserBody,
    responses((status = 201, body = UserAdded), (status = 400, body = ErrorBody), (status = 409, body = ErrorBody))
)]
pub async fn add_user(
    State(app): State<AppState>,
    SignedIn(caller): SignedIn,
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
    tag = "accounts",
    params(("name" = String, Path)),
    responses((status = 204), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody))
)]
pub async fn remove_user(
    State(app): State<AppState>,
    SignedIn(caller): SignedIn,
    Path(name): Path<String>,
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
    /// `viewer`, `reporter`, `operator` or `admin`.
    role: &'static str,
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
#[utoipa::path(get, path = "/api/admin/tokens", tag = "accounts", responses((status = 200, body = Vec<TokenDto>)))]
pub async fn tokens(
    State(app): State<AppState>,
    SignedIn(caller): SignedIn,
) -> Result<Json<Vec<TokenDto>>, ApiError> {
    let tokens = app.service.tokens(&caller).await?;
    let dto = tokens.into_iter().map(|token| TokenDto {
        name: token.name,
        role: token.role.name(),
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
    name: String,
    /// `viewer` (where absent), `reporter`, `operator` or `admin`.
    role: Option<String>,
    /// Whether it may name another author than itself.
    #[serde(default)]
    act_as: bool,
    /// Seconds it is good for; until revoked where absent.
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
    tag = "accounts",
    request_body = NewTokenBody,
    responses((status = 201, body = TokenAdded), (status = 400, body = ErrorBody), (status = 409, body = ErrorBody))
)]
pub async fn add_token(
    State(app): State<AppState>,
    SignedIn(caller): SignedIn,
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
    tag = "accounts",
    params(("name" = String, Path)),
    responses((status = 204), (status = 404, body = ErrorBody))
)]
pub async fn remove_token(
    State(app): State<AppState>,
    SignedIn(caller): SignedIn,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    app.service.remove_token(&caller, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
