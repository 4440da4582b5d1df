//! How much there is in an organization.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::device::in_progress;
use crate::directory::people;
use crate::session::listed;

use super::Administration;
use super::administrator::Administrator;
use super::page::Parameters;
use super::problem::Problem;
use super::refusals;

/// How much there is at this moment.
#[derive(Serialize, ToSchema)]
pub struct Statistics {
    users: Users,
    /// Devices that are signed in.
    sessions: i64,
    /// Device logins in progress.
    grants: i64,
}

/// How many people there are.
#[derive(Serialize, ToSchema)]
#[schema(as = UserStatistics)]
struct Users {
    /// Who never signed in.
    invited: i64,
    /// Who can sign in.
    active: i64,
    /// Who can't.
    locked: i64,
    /// Who of all of them has an authenticator.
    with_authenticator: i64,
}

pub fn routes() -> OpenApiRouter<Administration> {
    OpenApiRouter::new().routes(routes!(show))
}

/// Counts.
#[utoipa::path(
    get,
    path = "/api/v1/organizations/{organization}/statistics",
    operation_id = "show_statistics",
    tag = "Statistics",
    summary = "Show how many users, signed-in devices and logins in progress there are",
    params(("organization" = String, Path, description = "Its slug")),
    responses((status = 200, description = "As it is now", body = Statistics), refusals::OfLook)
)]
async fn show(
    State(api): State<Administration>,
    who: Administrator,
    Path(organization): Path<String>,
    parameters: Parameters,
) -> Result<Json<Statistics>, Problem> {
    parameters.none()?;
    let mut conn = api.installation.pool.acquire().await?;
    let organization = who.reach.organization(&mut conn, &organization).await?;
    let now = api.installation.clock.now();
    let people::Counted { invited, active, locked, enrolled } = people::count(&mut conn, organization.id).await?;
    Ok(Json(Statistics {
        users: Users { invited, active, locked, with_authenticator: enrolled },
        sessions: listed::count(&mut conn, organization.id, now).await?,
        grants: in_progress::count(&mut conn, organization.id, now).await?,
    }))
}
