//! Device logins in progress: never their codes, which nobody could give who wanted to.

use std::net::IpAddr;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::audit;
use crate::browser::store::signed_in;
use crate::device::in_progress::{self, InProgress, Select};
use crate::device::store;
use crate::directory::organization::Organization;
use crate::directory::user::{self, Role};
use crate::ids::{GrantId, UserId};
use crate::postgres::PgConnection;

use super::Administration;
use super::administrator::Administrator;
use super::answer;
use super::page::{List, Paged, Parameters};
use super::problem::Problem;
use super::refusals;

/// A device login that waits for somebody.
#[derive(Serialize, ToSchema)]
#[schema(as = Grant)]
pub struct Shown {
    /// Its id.
    id: GrantId,
    /// The slug of what wants to act as a person.
    service: String,
    /// `pending`: for a browser; `claimed`: for a decision; `approved`: for its device.
    state: String,
    /// Who approved it.
    user: Option<UserId>,
    /// What was asked for.
    scopes: Vec<String>,
    /// What the device calls itself: a claim.
    device_name: Option<String>,
    /// What its program calls itself: a claim.
    user_agent: Option<String>,
    /// Where it is.
    #[schema(value_type = String)]
    ip: IpAddr,
    /// When it was asked for.
    created_at: DateTime<Utc>,
    /// When it ends.
    expires_at: DateTime<Utc>,
}

impl From<InProgress> for Shown {
    fn from(grant: InProgress) -> Self {
        Self {
            id: grant.id,
            service: grant.service,
            state: grant.state,
            user: grant.user_id,
            scopes: grant.scopes,
            device_name: grant.device_name,
            user_agent: grant.user_agent,
            ip: grant.ip,
            created_at: grant.created_at,
            expires_at: grant.expires_at,
        }
    }
}

pub fn routes() -> OpenApiRouter<Administration> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(deny))
}

/// Lists device logins in progress.
#[utoipa::path(
    get,
    path = "/api/v1/organizations/{organization}/grants",
    operation_id = "list_grants",
    tag = "Grants",
    summary = "List device logins in progress, without their codes",
    params(("organization" = String, Path, description = "Its slug"), Paged),
    responses((status = 200, description = "A page", body = List<Shown>), refusals::OfLook)
)]
async fn list(
    State(api): State<Administration>,
    who: Administrator,
    Path(organization): Path<String>,
    parameters: Parameters,
) -> Result<Json<List<Shown>>, Problem> {
    let page = parameters.page(&[])?;
    let select = Select { only: None, after: page.after_id()?, most: Some(page.most()) };
    let mut conn = api.installation.pool.acquire().await?;
    let organization = who.reach.organization(&mut conn, &organization).await?;
    let found = in_progress::find(&mut conn, organization.id, select, api.installation.clock.now()).await?;
    Ok(Json(page.of(found, |one| one.id.to_string(), Shown::from)))
}

/// Denies a device login.
#[utoipa::path(
    post,
    path = "/api/v1/organizations/{organization}/grants/{grant}/deny",
    operation_id = "deny_grant",
    tag = "Grants",
    summary = "Deny a device login in progress: its device is told so; an owner's is denied by owners only",
    params(("organization" = String, Path, description = "Its slug"), ("grant" = String, Path, description = "Its id")),
    responses((status = 204, description = "It is denied"), refusals::OfDeed)
)]
async fn deny(
    State(api): State<Administration>,
    who: Administrator,
    Path((organization, grant)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let mut tx = api.installation.pool.begin().await?;
    let organization = who.reach.organization(&mut tx, &organization).await?;
    let id: uuid::Uuid = grant.parse().map_err(|_| Problem::not_found())?;
    let now = api.installation.clock.now();
    let select = Select { only: Some(id.into()), ..Select::default() };
    let found = in_progress::find(&mut tx, organization.id, select, now).await?.pop().ok_or_else(Problem::not_found)?;
    // Between the two somebody may have decided: it isn't in progress any more.
    if !in_progress::deny(&mut tx, organization.id, found.id, now).await? {
        return Err(Problem::not_found());
    }
    // Nobody can decide on it any more: an owner who was as fast as this is still found, and it comes to nothing.
    who.reach.over(role_of_holder(&mut tx, &organization, &found).await?)?;
    let event = who.event(audit::Kind::Denied).of(organization.id).service(found.service_id).grant(found.id);
    event.detail(json!({ "by": who.by() })).append(&mut tx).await?;
    tx.commit().await?;
    Ok(answer::done())
}

/// The role of whoever has this login in hand: who approved it, or is signed in to the browser that claimed it. One that nobody
/// has is as anybody's.
async fn role_of_holder(
    conn: &mut PgConnection,
    organization: &Organization,
    grant: &InProgress,
) -> Result<Role, sqlx::Error> {
    let holder = match grant.user_id {
        Some(user) => user::by_id(conn, user).await?,
        None => match store::by_id(conn, grant.id).await?.and_then(|grant| grant.claimed_by) {
            Some(browser) => signed_in(conn, browser, organization.id).await?.map(|(user, ..)| user),
            None => None,
        },
    };
    Ok(holder.map_or(Role::Member, |holder| holder.role))
}
