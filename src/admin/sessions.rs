//! Sessions: who is signed in where, and the end of it.

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
use crate::ids::{GrantId, SessionId, UserId};
use crate::session::listed::{self, Listed, Select};
use crate::session::store;

use super::Administration;
use super::administrator::Administrator;
use super::answer;
use super::page::{List, Paged, Parameters};
use super::problem::Problem;
use super::refusals;

/// What the device's next refresh says: "This device was signed out: …".
const BECAUSE: &str = "an administrator ended it";

/// A signed-in device.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub struct Shown {
    /// Its id: `sid` of its tokens.
    id: SessionId,
    /// The device login that it came from.
    grant: GrantId,
    /// As whom it acts.
    user: UserId,
    /// Their address.
    email: Option<String>,
    /// The slug of what acts as them.
    service: String,
    /// What they call the device.
    name: String,
    /// What it may do.
    scopes: Vec<String>,
    /// What its program calls itself.
    user_agent: Option<String>,
    /// Whether its tokens are bound to a key of the device.
    bound: bool,
    /// Where it was signed in.
    #[schema(value_type = String)]
    first_ip: IpAddr,
    /// When.
    created_at: DateTime<Utc>,
    /// Where it was last.
    #[schema(value_type = String)]
    last_ip: IpAddr,
    /// When it was there.
    last_seen_at: DateTime<Utc>,
    /// When it ends if it isn't used.
    idle_expires_at: DateTime<Utc>,
    /// When it ends.
    expires_at: DateTime<Utc>,
}

impl From<Listed> for Shown {
    fn from(session: Listed) -> Self {
        Self {
            id: session.id,
            grant: session.grant_id,
            user: session.user_id,
            email: session.email,
            service: session.service,
            name: session.name,
            scopes: session.scopes,
            user_agent: session.user_agent,
            bound: session.bound,
            first_ip: session.first_ip,
            created_at: session.created_at,
            last_ip: session.last_ip,
            last_seen_at: session.last_seen_at,
            idle_expires_at: session.idle_expires_at,
            expires_at: session.expires_at,
        }
    }
}

pub fn routes() -> OpenApiRouter<Administration> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(revoke))
}

/// Lists sessions.
#[utoipa::path(
    get,
    path = "/api/v1/organizations/{organization}/sessions",
    operation_id = "list_sessions",
    tag = "Sessions",
    summary = "List the devices that are signed in",
    params(("organization" = String, Path, description = "Its slug"), ("user" = Option<String>, Query, description = "Only of the user with this id"), Paged),
    responses((status = 200, description = "A page", body = List<Shown>), refusals::OfLook)
)]
async fn list(
    State(api): State<Administration>,
    who: Administrator,
    Path(organization): Path<String>,
    parameters: Parameters,
) -> Result<Json<List<Shown>>, Problem> {
    let page = parameters.page(&["user"])?;
    let user = parameters.id("user")?.map(UserId);
    let select = Select { only: None, user, after: page.after_id()?, most: Some(page.most()) };
    let mut conn = api.installation.pool.acquire().await?;
    let organization = who.reach.organization(&mut conn, &organization).await?;
    let found = listed::find(&mut conn, organization.id, select, api.installation.clock.now()).await?;
    Ok(Json(page.of(found, |one| one.id.to_string(), Shown::from)))
}

/// Ends a session.
#[utoipa::path(
    delete,
    path = "/api/v1/organizations/{organization}/sessions/{session}",
    operation_id = "revoke_session",
    tag = "Sessions",
    summary = "Sign a device out",
    params(("organization" = String, Path, description = "Its slug"), ("session" = String, Path, description = "Its id")),
    responses((status = 204, description = "It is signed out"), refusals::OfDeed)
)]
async fn revoke(
    State(api): State<Administration>,
    who: Administrator,
    Path((organization, session)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let mut tx = api.installation.pool.begin().await?;
    let organization = who.reach.organization(&mut tx, &organization).await?;
    let id: uuid::Uuid = session.parse().map_err(|_| Problem::not_found())?;
    let now = api.installation.clock.now();
    let select = Select { only: Some(id.into()), ..Select::default() };
    let found = listed::find(&mut tx, organization.id, select, now).await?.pop().ok_or_else(Problem::not_found)?;
    who.reach.over(found.role)?;
    if store::revoke(&mut tx, found.id, BECAUSE, now).await? {
        let event = who.event(audit::Kind::Revoked).of(organization.id).service(found.service_id);
        let event = event.grant(found.grant_id).session(found.id).user(found.user_id);
        event.detail(json!({ "by": who.by() })).append(&mut tx).await?;
    }
    tx.commit().await?;
    Ok(answer::done())
}
