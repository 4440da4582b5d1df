//! What is done to users besides changing them: locked, unlocked, and their second factors taken away.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::audit;
use crate::directory::people::{self, Which};
use crate::mfa;

use super::Administration;
use super::administrator::Administrator;
use super::answer;
use super::problem::Problem;
use super::refusals;
use super::users::{Shown, find_to_change, keep_an_owner, note};

/// What a reset ended.
#[derive(Serialize, ToSchema)]
pub struct MfaReset {
    /// Whether they had an authenticator.
    was_enrolled: bool,
    /// How many devices were signed out.
    sessions_ended: usize,
}

pub fn routes() -> OpenApiRouter<Administration> {
    OpenApiRouter::new().routes(routes!(lock)).routes(routes!(unlock)).routes(routes!(reset_mfa))
}

/// Locks somebody.
#[utoipa::path(
    post,
    path = "/api/v1/organizations/{organization}/users/{user}/lock",
    operation_id = "lock_user",
    tag = "Users",
    summary = "Lock a user: they can't log in, and everything they are signed in to ends",
    params(("organization" = String, Path, description = "Its slug"), ("user" = String, Path, description = "Their id")),
    responses((status = 200, description = "As they are now", body = Shown, headers(("ETag" = String))), refusals::OfDeed)
)]
async fn lock(
    State(api): State<Administration>,
    who: Administrator,
    Path((organization, user)): Path<(String, String)>,
) -> Result<Response, Problem> {
    set_locked(&api, &who, &organization, &user, true).await
}

/// Unlocks somebody.
#[utoipa::path(
    post,
    path = "/api/v1/organizations/{organization}/users/{user}/unlock",
    operation_id = "unlock_user",
    tag = "Users",
    summary = "Let a user log in again",
    params(("organization" = String, Path, description = "Its slug"), ("user" = String, Path, description = "Their id")),
    responses((status = 200, description = "As they are now", body = Shown, headers(("ETag" = String))), refusals::OfDeed)
)]
async fn unlock(
    State(api): State<Administration>,
    who: Administrator,
    Path((organization, user)): Path<(String, String)>,
) -> Result<Response, Problem> {
    set_locked(&api, &who, &organization, &user, false).await
}

/// Takes somebody's second factors away.
#[utoipa::path(
    post,
    path = "/api/v1/organizations/{organization}/users/{user}/reset-mfa",
    operation_id = "reset_mfa",
    tag = "Users",
    summary = "Take a user's second factors away and sign them out everywhere",
    params(("organization" = String, Path, description = "Its slug"), ("user" = String, Path, description = "Their id")),
    responses((status = 200, description = "What that ended", body = MfaReset), refusals::OfDeed)
)]
async fn reset_mfa(
    State(api): State<Administration>,
    who: Administrator,
    Path((organization, user)): Path<(String, String)>,
) -> Result<Json<MfaReset>, Problem> {
    let mut tx = who.begin(&api).await?;
    let (organization, person) = find_to_change(&mut tx, &who, &organization, &user).await?;
    let sessions = mfa::reset(&mut tx, person.id, api.installation.clock.now()).await?;
    let about = |kind| who.event(kind).of(organization.id).user(person.id);
    about(audit::Kind::Administered).detail(json!({ "mfa": "reset", "by": who.by() })).append(&mut tx).await?;
    for session in &sessions {
        let because = json!({ "because": "the second factor was reset", "by": who.by() });
        about(audit::Kind::Revoked).session(*session).detail(because).append(&mut tx).await?;
    }
    tx.commit().await?;
    Ok(Json(MfaReset { was_enrolled: person.enrolled, sessions_ended: sessions.len() }))
}

async fn set_locked(
    api: &Administration,
    who: &Administrator,
    organization: &str,
    user: &str,
    locked: bool,
) -> Result<Response, Problem> {
    let mut tx = who.begin(api).await?;
    let (organization, person) = find_to_change(&mut tx, who, organization, user).await?;
    if locked {
        keep_an_owner(&mut tx, &organization, &person).await?;
    }
    let done = if locked {
        people::set_locked(&mut tx, person.id).await?
    } else {
        people::set_unlocked(&mut tx, person.id).await?
    };
    let now = people::find(&mut tx, organization.id, Which::One(person.id)).await?.pop().ok_or_else(Problem::fault)?;
    if done {
        let fields = json!({ "status": { "from": person.status.as_str(), "to": now.status.as_str() } });
        note(&mut tx, who, &organization, &person, &fields).await?;
    }
    tx.commit().await?;
    Ok(answer::shown(StatusCode::OK, &Shown::of(&organization, &now)))
}
