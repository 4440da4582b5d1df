//! The audit: what happened in an organization, the newest first.

use axum::Json;
use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::audit::Kind;
use crate::audit::listed::{self, Filter, Listed};
use crate::ids::{EventId, GrantId, ServiceId, SessionId, UserId};

use super::Administration;
use super::administrator::Administrator;
use super::page::{List, Paged, Parameters};
use super::problem::Problem;
use super::refusals;

/// An event. Names and kinds are those of exports (docs/audit.md).
#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
pub struct Shown {
    /// Its place in the organization's chain, from 1.
    position: i64,
    /// Its id.
    id: EventId,
    /// When it happened.
    at: DateTime<Utc>,
    /// What happened.
    #[schema(example = "approved")]
    kind: String,
    /// For which service.
    service_id: Option<ServiceId>,
    /// About which device login.
    grant_id: Option<GrantId>,
    /// About which signed-in device.
    session_id: Option<SessionId>,
    /// By whom, or about whom.
    user_id: Option<UserId>,
    /// From where.
    ip: Option<String>,
    /// As the caller said it.
    user_agent: Option<String>,
    /// What else there is to say of this kind.
    #[schema(value_type = Object)]
    detail: Value,
}

impl From<Listed> for Shown {
    fn from(event: Listed) -> Self {
        Self {
            position: event.position,
            id: event.id,
            at: event.at,
            kind: event.kind,
            service_id: event.service_id,
            grant_id: event.grant_id,
            session_id: event.session_id,
            user_id: event.user_id,
            ip: event.ip,
            user_agent: event.user_agent,
            detail: event.detail,
        }
    }
}

pub fn routes() -> OpenApiRouter<Administration> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Lists events.
#[utoipa::path(
    get,
    path = "/api/v1/organizations/{organization}/audit",
    operation_id = "list_events",
    tag = "Audit",
    summary = "List what happened, the newest first; a page may be empty and have a next one",
    params(
        ("organization" = String, Path, description = "Its slug"),
        ("kind" = Option<String>, Query, description = "Only events of this kind"),
        ("service" = Option<String>, Query, description = "Only for the service with this id"),
        ("grant" = Option<String>, Query, description = "Only about the device login with this id"),
        ("session" = Option<String>, Query, description = "Only about the signed-in device with this id"),
        ("user" = Option<String>, Query, description = "Only by or about the user with this id"),
        ("since" = Option<DateTime<Utc>>, Query, description = "Only from this time on"),
        ("until" = Option<DateTime<Utc>>, Query, description = "Only before this time"),
        Paged
    ),
    responses((status = 200, description = "A page", body = List<Shown>), refusals::OfLook)
)]
async fn list(
    State(api): State<Administration>,
    who: Administrator,
    Path(organization): Path<String>,
    parameters: Parameters,
) -> Result<Json<List<Shown>>, Problem> {
    let page = parameters.page(&["kind", "service", "grant", "session", "user", "since", "until"])?;
    let filter = Filter {
        kind: kind(&parameters)?,
        service: parameters.id("service")?.map(ServiceId),
        grant: parameters.id("grant")?.map(GrantId),
        session: parameters.id("session")?.map(SessionId),
        user: parameters.id("user")?.map(UserId),
        since: time(&parameters, "since")?,
        until: time(&parameters, "until")?,
    };
    let before = page.after_number()?;
    let mut conn = api.installation.pool.acquire().await?;
    let organization = who.reach.organization(&mut conn, &organization).await?;
    let found = listed::find(&mut conn, organization.id, filter, before, page.limit()).await?;
    let events = found.events.into_iter().map(Shown::from).collect();
    Ok(Json(List::until(events, found.before.map(|position| position.to_string()))))
}

fn kind(parameters: &Parameters) -> Result<Option<&'static str>, Problem> {
    let Some(given) = parameters.get("kind") else { return Ok(None) };
    let known = Kind::ALL.iter().map(|kind| kind.as_str()).find(|known| *known == given);
    known.map(Some).ok_or_else(|| Problem::invalid_field("kind", "there is no such kind of event"))
}

fn time(parameters: &Parameters, name: &str) -> Result<Option<DateTime<Utc>>, Problem> {
    let read = |text: &str| DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
    let time = parameters.get(name).map(read).transpose();
    time.map_err(|_| Problem::invalid_field(name, "it is a time, such as 2026-11-26T12:00:00Z"))
}
