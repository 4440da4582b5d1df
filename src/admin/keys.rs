//! The keys that sign tokens, of the whole installation: for the owners of `platform` alone.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::audit;
use crate::postgres::PgConnection;
use crate::session::signing_keys::{SigningKeysError, life};

use super::Administration;
use super::administrator::Administrator;
use super::answer;
use super::page::{List, Parameters};
use super::problem::Problem;
use super::refusals;

/// A key. Its public half stands at `/.well-known/jwks.json`, its private one nowhere.
#[derive(Serialize, ToSchema)]
#[schema(as = Key)]
pub struct Shown {
    /// Its name, `kid` of tokens.
    kid: String,
    /// What it signs with: `RS256`, `ES256` or `EdDSA`.
    algorithm: String,
    /// `published`, `signing`, `verifying` or `retired`.
    stage: &'static str,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// From when it signs.
    active_from: DateTime<Utc>,
    /// When it was taken out by hand.
    retired_at: Option<DateTime<Utc>>,
}

impl From<life::Listed> for Shown {
    fn from(key: life::Listed) -> Self {
        Self {
            kid: key.kid,
            algorithm: key.algorithm,
            stage: key.stage,
            created_at: key.created_at,
            active_from: key.active_from,
            retired_at: key.retired_at,
        }
    }
}

pub fn routes() -> OpenApiRouter<Administration> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(rotate)).routes(routes!(retire))
}

/// Lists keys.
#[utoipa::path(
    get,
    path = "/api/v1/keys",
    operation_id = "list_keys",
    tag = "Keys",
    summary = "List the keys that sign tokens, on one page (owners of platform)",
    responses((status = 200, description = "All of them", body = List<Shown>), refusals::OfLook)
)]
async fn list(
    State(api): State<Administration>,
    who: Administrator,
    parameters: Parameters,
) -> Result<Json<List<Shown>>, Problem> {
    who.reach.as_platform_owner()?;
    parameters.none()?;
    let mut conn = api.installation.pool.acquire().await?;
    let keys = life::list(&mut conn, api.installation.clock.now()).await?;
    Ok(Json(List::until(keys.into_iter().map(Shown::from).collect(), None)))
}

/// Makes successors.
#[utoipa::path(
    post,
    path = "/api/v1/keys/rotate",
    operation_id = "rotate_keys",
    tag = "Keys",
    summary = "Make a new key of each algorithm, which signs in ten minutes, when everybody knows it (owners of platform)",
    responses((status = 201, description = "All keys, the new ones among them", body = List<Shown>), refusals::OfDeed)
)]
async fn rotate(State(api): State<Administration>, who: Administrator) -> Result<Response, Problem> {
    who.reach.as_platform_owner()?;
    let now = api.installation.clock.now();
    let mut tx = api.installation.pool.begin().await?;
    life::lock(&mut tx).await?;
    // Every key makes the set longer that others read: whoever repeats the request is told of the ones they made.
    if life::list(&mut tx, now).await?.iter().any(|key| key.stage == "published") {
        return Err(Problem::conflict("There are new keys already, which don't sign yet: wait until they do."));
    }
    let made = life::rotate(&mut tx, &api.installation, now + life::PUBLISHED_BEFORE).await?;
    note(&mut tx, &who, json!({ "keys": "rotated", "kid": made, "by": who.by() })).await?;
    let keys = life::list(&mut tx, now).await?;
    tx.commit().await?;
    read_again(&api).await;
    let list = List::until(keys.into_iter().map(Shown::from).collect(), None);
    Ok((StatusCode::CREATED, Json(list)).into_response())
}

/// Takes a key out.
#[utoipa::path(
    post,
    path = "/api/v1/keys/{kid}/retire",
    operation_id = "retire_key",
    tag = "Keys",
    summary = "Take a key out at once: every token that it signed is refused, this request's may be among them (owners of platform)",
    params(("kid" = String, Path, description = "Its name")),
    responses((status = 204, description = "It is taken out; other servers notice within a minute"), refusals::OfDeed)
)]
async fn retire(
    State(api): State<Administration>,
    who: Administrator,
    Path(kid): Path<String>,
) -> Result<Response, Problem> {
    who.reach.as_platform_owner()?;
    let mut tx = api.installation.pool.begin().await?;
    if kid.contains('\0') || !life::retire(&mut tx, &api.installation, &kid).await? {
        return Err(Problem::not_found());
    }
    note(&mut tx, &who, json!({ "keys": "retired", "kid": kid, "by": who.by() })).await?;
    tx.commit().await?;
    read_again(&api).await;
    Ok(answer::done())
}

async fn note(conn: &mut PgConnection, who: &Administrator, detail: Value) -> Result<(), Problem> {
    Ok(who.event(audit::Kind::Administered).detail(detail).append(conn).await?)
}

/// This server knows at once. If it can't read them now, it will within a minute, as the others do.
async fn read_again(api: &Administration) {
    if let Err(error) = api.signing_keys.reload(&api.installation).await {
        tracing::warn!(%error, "the signing keys could not be read again after an administrator changed them");
    }
}

impl From<SigningKeysError> for Problem {
    fn from(error: SigningKeysError) -> Self {
        match error {
            SigningKeysError::Database(error) => error.into(),
            error => {
                tracing::error!(%error, "a signing key could not be made for an administrator");
                Self::fault()
            }
        }
    }
}
