//! Services. What can be said of one is what a file can say, by the same keys (docs/directory.md).

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::directory::apply::{File, Given, Kind, OWN_SERVICE, Select, Subject, WrittenService, services_as_written};
use crate::directory::organization::Organization;
use crate::postgres::PgConnection;
use crate::secrets::{SecretText, base64url};

use super::Administration;
use super::administrator::Administrator;
use super::answer;
use super::body::Members;
use super::page::{List, Paged, Parameters};
use super::problem::Problem;
use super::refusals;
use super::service_body::{NewSecret, Service, ServiceChange};
use super::tag::{self, Precondition};

const SECRET: &str = "client_secret";
const CONFIDENTIAL: &str = "confidential";

/// What is told of [`CONFIDENTIAL`] where a service is changed.
const NOT_LATER: &str = "it is said when a service is made, and not later: a client_secret makes it confidential, and null in the \
                         place of one public";

/// What a version of a service shows, and can't be said of one.
const READ_ONLY: [&str; 3] = ["id", "organization", "created_at"];

pub fn routes() -> OpenApiRouter<Administration> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, update, delete))
        .routes(routes!(rotate_secret))
}

/// Lists services.
#[utoipa::path(
    get,
    path = "/api/v1/organizations/{organization}/services",
    operation_id = "list_services",
    tag = "Services",
    summary = "List services",
    params(("organization" = String, Path, description = "Its slug"), Paged),
    responses((status = 200, description = "A page", body = List<Service>), refusals::OfLook)
)]
async fn list(
    State(api): State<Administration>,
    who: Administrator,
    Path(organization): Path<String>,
    parameters: Parameters,
) -> Result<Json<List<Value>>, Problem> {
    let page = parameters.page(&[])?;
    let mut conn = api.installation.pool.acquire().await?;
    let organization = who.reach.organization(&mut conn, &organization).await?;
    let select = Select { only: None, after: page.after(), most: Some(page.most()) };
    let found = services_as_written(&mut conn, organization.id, select).await?;
    Ok(Json(page.of(found, |one| one.slug.clone(), |one| shown(&organization, one))))
}

/// Makes a service.
#[utoipa::path(
    post,
    path = "/api/v1/organizations/{organization}/services",
    operation_id = "create_service",
    tag = "Services",
    summary = "Make a service; `confidential: true` gives it a secret, which is told this once",
    params(("organization" = String, Path, description = "Its slug")),
    request_body = Service,
    responses((status = 201, description = "It was made", body = Service), (status = 200, description = "It was there, just so; its secret is not told again", body = Service), refusals::OfDeed)
)]
async fn create(
    State(api): State<Administration>,
    who: Administrator,
    Path(organization): Path<String>,
    mut members: Members,
) -> Result<Response, Problem> {
    let mut tx = who.begin(&api).await?;
    let organization = who.reach.organization(&mut tx, &organization).await?;
    let given = members.take_secret(SECRET)?;
    let confidential = members.take_bool(CONFIDENTIAL)?;
    if confidential == Some(false) && given.is_some() {
        return Err(Problem::invalid_field(CONFIDENTIAL, "a service with a secret is confidential"));
    }
    let Some(Value::String(slug)) = members.0.get("slug").cloned() else {
        return Err(Problem::invalid_field("slug", "slug is missing: the service's name in addresses and files"));
    };
    may_change(&who, &slug)?;
    if let Some(there) = find(&mut tx, &organization, &slug).await? {
        let file = said(&organization, &members.0, given.as_ref())?;
        let so = confidential.is_none_or(|confidential| confidential == there.confidential);
        return if so && who.is_so(&mut tx, &file).await? {
            Ok(answer::shown(StatusCode::OK, &shown(&organization, there)))
        } else {
            Err(Problem::conflict("There is a service with this slug, and it is another one than this says."))
        };
    }
    let client_id = members.0.get("client_id").and_then(Value::as_str);
    keep_own_names(&organization, &slug, client_id.unwrap_or(&format!("{}-{slug}", organization.slug)))?;
    let drawn = (confidential == Some(true) && given.is_none()).then(|| draw(&who));
    let file = said(&organization, &members.0, given.as_ref().or(drawn.as_ref()))?;
    who.write(&mut tx, &file).await?;
    let made = find(&mut tx, &organization, &slug).await?.ok_or_else(Problem::fault)?;
    tx.commit().await?;
    let made = shown(&organization, made);
    let mut told = made.clone();
    if let (Some(secret), Some(members)) = (drawn, told.as_object_mut()) {
        members.insert(SECRET.to_owned(), json!(secret.expose()));
    }
    let etag = [(axum::http::header::ETAG, tag::of(&made))];
    Ok((StatusCode::CREATED, etag, Json(told)).into_response())
}

/// Shows a service.
#[utoipa::path(
    get,
    path = "/api/v1/organizations/{organization}/services/{service}",
    operation_id = "show_service",
    tag = "Services",
    summary = "Show a service",
    params(("organization" = String, Path, description = "Its slug"), ("service" = String, Path, description = "Its slug")),
    responses((status = 200, description = "As it is", body = Service, headers(("ETag" = String))), refusals::OfLook)
)]
async fn show(
    State(api): State<Administration>,
    who: Administrator,
    Path((organization, service)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let mut conn = api.installation.pool.acquire().await?;
    let organization = who.reach.organization(&mut conn, &organization).await?;
    let found = find(&mut conn, &organization, &service).await?.ok_or_else(Problem::not_found)?;
    Ok(answer::shown(StatusCode::OK, &shown(&organization, found)))
}

/// Changes a service.
#[utoipa::path(
    patch,
    path = "/api/v1/organizations/{organization}/services/{service}",
    operation_id = "update_service",
    tag = "Services",
    summary = "Change a service: what isn't named stays, and `null` is as by default; without its `client_secret` it is public",
    params(("organization" = String, Path, description = "Its slug"), ("service" = String, Path, description = "Its slug"), Precondition),
    request_body = ServiceChange,
    responses((status = 200, description = "As it is now", body = Service, headers(("ETag" = String))), refusals::OfChange)
)]
async fn update(
    State(api): State<Administration>,
    who: Administrator,
    Path((organization, service)): Path<(String, String)>,
    mut members: Members,
) -> Result<Response, Problem> {
    let mut tx = who.begin(&api).await?;
    let organization = who.reach.organization(&mut tx, &organization).await?;
    let found = find(&mut tx, &organization, &service).await?.ok_or_else(Problem::not_found)?;
    may_change(&who, &found.slug)?;
    tag::check(who.precondition.as_deref(), &shown(&organization, found.clone()))?;
    if members.0.contains_key(CONFIDENTIAL) {
        return Err(Problem::invalid_field(CONFIDENTIAL, NOT_LATER));
    }
    let forgotten = members.0.get(SECRET) == Some(&Value::Null);
    let secret = members.take_secret(SECRET)?;
    let merged = members.merged_into(found.members.clone());
    if merged.get("slug") != found.members.get("slug") {
        return Err(Problem::invalid_field("slug", "a slug never changes"));
    }
    if let Some(client_id) = merged.get("client_id").filter(|id| Some(*id) != found.members.get("client_id")) {
        keep_own_names(&organization, &found.slug, client_id.as_str().unwrap_or_default())?;
    }
    let kept = found.confidential && secret.is_none() && !forgotten;
    if kept && merged.get("client_id") != found.members.get("client_id") {
        return Err(Problem::invalid_field(
            "client_id",
            "the secret belongs to the client_id: give another one with it",
        ));
    }
    let file = said(&organization, &merged, secret.as_ref())?;
    if forgotten {
        // As a file that gives it none.
        who.apply(&mut tx, &file, false).await?;
    } else {
        who.write(&mut tx, &file).await?;
    }
    let now = find(&mut tx, &organization, &service).await?.ok_or_else(Problem::fault)?;
    tx.commit().await?;
    Ok(answer::shown(StatusCode::OK, &shown(&organization, now)))
}

/// Deletes a service.
#[utoipa::path(
    delete,
    path = "/api/v1/organizations/{organization}/services/{service}",
    operation_id = "delete_service",
    tag = "Services",
    summary = "Delete a service and its sessions",
    params(("organization" = String, Path, description = "Its slug"), ("service" = String, Path, description = "Its slug"), Precondition),
    responses((status = 204, description = "It is gone"), refusals::OfChange)
)]
async fn delete(
    State(api): State<Administration>,
    who: Administrator,
    Path((organization, service)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let mut tx = who.begin(&api).await?;
    let organization = who.reach.organization(&mut tx, &organization).await?;
    let found = find(&mut tx, &organization, &service).await?.ok_or_else(Problem::not_found)?;
    tag::check(who.precondition.as_deref(), &shown(&organization, found.clone()))?;
    if found.slug == OWN_SERVICE {
        return Err(Problem::conflict("The organization is administered with this service: it can't be deleted."));
    }
    who.delete(&mut tx, &organization, Subject::Service(found.id), &found.slug).await?;
    tx.commit().await?;
    Ok(answer::done())
}

/// Gives a service another secret.
#[utoipa::path(
    post,
    path = "/api/v1/organizations/{organization}/services/{service}/secret",
    operation_id = "rotate_service_secret",
    tag = "Services",
    summary = "Give a service another secret, which is told this once; the old one is worth nothing from now on",
    params(("organization" = String, Path, description = "Its slug"), ("service" = String, Path, description = "Its slug")),
    responses((status = 200, description = "The secret", body = NewSecret), refusals::OfDeed)
)]
async fn rotate_secret(
    State(api): State<Administration>,
    who: Administrator,
    Path((organization, service)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let mut tx = who.begin(&api).await?;
    let organization = who.reach.organization(&mut tx, &organization).await?;
    let found = find(&mut tx, &organization, &service).await?.ok_or_else(Problem::not_found)?;
    may_change(&who, &found.slug)?;
    let secret = draw(&who);
    who.write(&mut tx, &said(&organization, &found.members, Some(&secret))?).await?;
    tx.commit().await?;
    Ok(Json(json!({ SECRET: secret.expose() })))
}

/// By the service of its own, owners say how people get hold of the organization.
fn may_change(who: &Administrator, slug: &str) -> Result<(), Problem> {
    if slug == OWN_SERVICE { who.reach.as_owner() } else { Ok(()) }
}

/// An organization that is yet to be made will want `{its slug}-admin-cli`, and nobody of another may have taken it.
fn keep_own_names(organization: &Organization, slug: &str, client_id: &str) -> Result<(), Problem> {
    if is_name_of_another(&organization.slug, slug, client_id) {
        let words = format!("names that end in -{OWN_SERVICE} are those of organizations' own services");
        return Err(Problem::invalid_field("client_id", words));
    }
    Ok(())
}

/// Whether a client id is kept for the own service of an organization, and not this service of this one.
pub(super) fn is_name_of_another(organization: &str, slug: &str, client_id: &str) -> bool {
    let of_some_organization = client_id.strip_suffix(OWN_SERVICE).is_some_and(|start| start.ends_with('-'));
    of_some_organization && (slug != OWN_SERVICE || client_id != format!("{organization}-{OWN_SERVICE}"))
}

/// 256 bits.
fn draw(who: &Administrator) -> SecretText {
    base64url(&who.installation.random.bytes::<32>()).into()
}

async fn find(
    conn: &mut PgConnection,
    organization: &Organization,
    slug: &str,
) -> Result<Option<WrittenService>, Problem> {
    if slug.contains('\0') {
        return Ok(None);
    }
    let select = Select { only: Some(slug), ..Select::default() };
    Ok(services_as_written(conn, organization.id, select).await?.pop())
}

fn said(
    organization: &Organization,
    members: &Map<String, Value>,
    secret: Option<&SecretText>,
) -> Result<File, Problem> {
    let given = Given { kind: Kind::Service, members, secret: secret.map(|secret| (SECRET, secret)) };
    Ok(File::of_one(organization, &given)?)
}

fn shown(organization: &Organization, service: WrittenService) -> Value {
    let [id, of, created_at] = READ_ONLY;
    let mut members = service.members;
    members.insert(id.to_owned(), json!(service.id));
    members.insert(of.to_owned(), json!(organization.slug));
    members.insert(created_at.to_owned(), json!(service.created_at));
    members.insert(CONFIDENTIAL.to_owned(), json!(service.confidential));
    members.into()
}
