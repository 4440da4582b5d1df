//! Organizations. Those who administer one see it and name it; the installation's owners make, suspend and delete them.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::directory::apply::{File, Given, Kind, PLATFORM, Subject, organization_as_written};
use crate::directory::organization::{self, MfaPolicy, Organization, Status};
use crate::ids::OrganizationId;

use super::Administration;
use super::administrator::Administrator;
use super::answer;
use super::body::Members;
use super::page::{List, Paged, Parameters};
use super::problem::Problem;
use super::refusals;
use super::tag::{self, Precondition};

const MEMBERS: [&str; 3] = ["slug", "name", "mfa"];

/// A tenant.
#[derive(Serialize, ToSchema)]
#[schema(as = Organization)]
pub struct Shown {
    /// Its id.
    #[schema(read_only)]
    id: OrganizationId,
    /// Its name in addresses and files. It never changes.
    #[schema(example = "acme")]
    slug: String,
    /// Its name to people; its slug unless it is given.
    name: String,
    /// `active` or `suspended`.
    #[schema(read_only)]
    status: &'static str,
    /// Whether a second factor is asked: `required`, `if_enrolled` or `off`.
    mfa: &'static str,
}

impl From<Organization> for Shown {
    fn from(Organization { id, slug, name, status, mfa }: Organization) -> Self {
        Self { id, slug, name, status: status.as_str(), mfa: mfa.as_str() }
    }
}

/// What can be said of an organization.
#[derive(Serialize, ToSchema)]
#[schema(as = OrganizationBody)]
pub struct Said {
    /// When it is made, and not later.
    #[schema(required = false)]
    slug: String,
    /// Its name to people.
    #[schema(required = false)]
    name: String,
    /// `required`, `if_enrolled` or `off`.
    #[schema(required = false)]
    mfa: String,
}

pub fn routes() -> OpenApiRouter<Administration> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, update, delete))
        .routes(routes!(suspend))
        .routes(routes!(activate))
}

/// Lists the organizations that there are for who asks.
#[utoipa::path(
    get,
    path = "/api/v1/organizations",
    operation_id = "list_organizations",
    tag = "Organizations",
    summary = "List organizations",
    params(Paged),
    responses((status = 200, description = "A page", body = List<Shown>), refusals::OfLook)
)]
async fn list(
    State(api): State<Administration>,
    who: Administrator,
    parameters: Parameters,
) -> Result<Json<List<Shown>>, Problem> {
    let page = parameters.page(&[])?;
    let mut conn = api.installation.pool.acquire().await?;
    let found = organization::page(&mut conn, who.reach.only(), page.after(), page.most()).await?;
    Ok(Json(page.of(found, |one| one.slug.clone(), Shown::from)))
}

/// Makes an organization.
#[utoipa::path(
    post,
    path = "/api/v1/organizations",
    operation_id = "create_organization",
    tag = "Organizations",
    summary = "Make an organization (owners of platform)",
    request_body = Said,
    responses((status = 201, description = "It was made, with its service admin-cli", body = Shown), (status = 200, description = "It was there, just so", body = Shown), refusals::OfDeed)
)]
async fn create(State(api): State<Administration>, who: Administrator, members: Members) -> Result<Response, Problem> {
    who.reach.as_platform_owner()?;
    members.only(&MEMBERS)?;
    let Some(Value::String(slug)) = members.0.get("slug").cloned() else {
        return Err(Problem::invalid_field("slug", "slug is missing: the organization's name in addresses and files"));
    };
    let file = said(None, &members.0)?;
    let mut tx = who.begin(&api).await?;
    let there = organization::by_slug(&mut tx, &slug).await?;
    if let Some(there) = there {
        let so = who.is_so(&mut tx, &file).await?;
        return if so { Ok(answer::shown(StatusCode::OK, &Shown::from(there))) } else { Err(is_there()) };
    }
    who.write(&mut tx, &file).await?;
    let made = organization::by_slug(&mut tx, &slug).await?.ok_or_else(Problem::fault)?;
    tx.commit().await?;
    Ok(answer::shown(StatusCode::CREATED, &Shown::from(made)))
}

fn is_there() -> Problem {
    Problem::conflict("There is an organization with this slug, and it is another one than this says.")
}

/// Shows an organization.
#[utoipa::path(
    get,
    path = "/api/v1/organizations/{organization}",
    operation_id = "show_organization",
    tag = "Organizations",
    summary = "Show an organization",
    params(("organization" = String, Path, description = "Its slug")),
    responses((status = 200, description = "As it is", body = Shown, headers(("ETag" = String))), refusals::OfLook)
)]
async fn show(
    State(api): State<Administration>,
    who: Administrator,
    Path(slug): Path<String>,
) -> Result<Response, Problem> {
    let mut conn = api.installation.pool.acquire().await?;
    let found = who.reach.organization(&mut conn, &slug).await?;
    Ok(answer::shown(StatusCode::OK, &Shown::from(found)))
}

/// Changes an organization.
#[utoipa::path(
    patch,
    path = "/api/v1/organizations/{organization}",
    operation_id = "update_organization",
    tag = "Organizations",
    summary = "Change an organization (owners)",
    params(("organization" = String, Path, description = "Its slug"), Precondition),
    request_body = Said,
    responses((status = 200, description = "As it is now", body = Shown, headers(("ETag" = String))), refusals::OfChange)
)]
async fn update(
    State(api): State<Administration>,
    who: Administrator,
    Path(slug): Path<String>,
    members: Members,
) -> Result<Response, Problem> {
    let mut tx = who.begin(&api).await?;
    let found = who.reach.organization(&mut tx, &slug).await?;
    who.reach.as_owner()?;
    members.only(&MEMBERS)?;
    tag::check(who.precondition.as_deref(), &Shown::from(found.clone()))?;
    let merged = members.merged_into(organization_as_written(&found));
    if merged.get("slug") != Some(&json!(found.slug)) {
        return Err(Problem::invalid_field("slug", "a slug never changes"));
    }
    who.write(&mut tx, &said(Some(&found), &merged)?).await?;
    let now = who.reach.organization(&mut tx, &slug).await?;
    tx.commit().await?;
    Ok(answer::shown(StatusCode::OK, &Shown::from(now)))
}

/// Suspends an organization.
#[utoipa::path(
    post,
    path = "/api/v1/organizations/{organization}/suspend",
    operation_id = "suspend_organization",
    tag = "Organizations",
    summary = "Suspend an organization: nobody logs in, and all its sessions end (owners of platform)",
    params(("organization" = String, Path, description = "Its slug")),
    responses((status = 200, description = "As it is now", body = Shown, headers(("ETag" = String))), refusals::OfDeed)
)]
async fn suspend(
    State(api): State<Administration>,
    who: Administrator,
    Path(slug): Path<String>,
) -> Result<Response, Problem> {
    set_status(&api, &who, &slug, Status::Suspended).await
}

/// Activates an organization.
#[utoipa::path(
    post,
    path = "/api/v1/organizations/{organization}/activate",
    operation_id = "activate_organization",
    tag = "Organizations",
    summary = "Let people log in again (owners of platform)",
    params(("organization" = String, Path, description = "Its slug")),
    responses((status = 200, description = "As it is now", body = Shown, headers(("ETag" = String))), refusals::OfDeed)
)]
async fn activate(
    State(api): State<Administration>,
    who: Administrator,
    Path(slug): Path<String>,
) -> Result<Response, Problem> {
    set_status(&api, &who, &slug, Status::Active).await
}

/// Deletes an organization.
#[utoipa::path(
    delete,
    path = "/api/v1/organizations/{organization}",
    operation_id = "delete_organization",
    tag = "Organizations",
    summary = "Delete an organization that owns nothing any more (owners of platform)",
    params(("organization" = String, Path, description = "Its slug"), Precondition),
    responses((status = 204, description = "It is gone"), refusals::OfChange)
)]
async fn delete(
    State(api): State<Administration>,
    who: Administrator,
    Path(slug): Path<String>,
) -> Result<Response, Problem> {
    let mut tx = who.begin(&api).await?;
    let found = who.reach.organization(&mut tx, &slug).await?;
    who.reach.as_platform_owner()?;
    tag::check(who.precondition.as_deref(), &Shown::from(found.clone()))?;
    if found.slug == PLATFORM {
        return Err(Problem::conflict("The organization that administers the others can't be deleted."));
    }
    if organization::owns_anything(&mut tx, found.id).await? {
        return Err(Problem::conflict(
            "It still has users, providers, webhooks, or services besides admin-cli: delete those first.",
        ));
    }
    who.delete(&mut tx, &found, Subject::Organization, &found.slug).await?;
    tx.commit().await?;
    Ok(answer::done())
}

async fn set_status(
    api: &Administration,
    who: &Administrator,
    slug: &str,
    status: Status,
) -> Result<Response, Problem> {
    let mut tx = who.begin(api).await?;
    let found = who.reach.organization(&mut tx, slug).await?;
    who.reach.as_platform_owner()?;
    if found.slug == PLATFORM && status == Status::Suspended {
        return Err(Problem::conflict("The organization that administers the others can't be suspended."));
    }
    let mut members = organization_as_written(&found);
    members.insert("status".to_owned(), json!(status.as_str()));
    who.write(&mut tx, &said(Some(&found), &members)?).await?;
    let now = who.reach.organization(&mut tx, slug).await?;
    tx.commit().await?;
    Ok(answer::shown(StatusCode::OK, &Shown::from(now)))
}

/// What is said of an organization, there or not.
fn said(there: Option<&Organization>, members: &Map<String, Value>) -> Result<File, Problem> {
    let nobody = Organization {
        id: OrganizationId(uuid::Uuid::nil()),
        slug: String::new(),
        name: String::new(),
        status: Status::Active,
        mfa: MfaPolicy::Required,
    };
    let given = Given { kind: Kind::Organization, members, secret: None };
    Ok(File::of_one(there.unwrap_or(&nobody), &given)?)
}
