//! Providers. What can be said of one is what a file can say, by the same keys (docs/directory.md). Only owners say it: whoever
//! writes a provider decides who anybody is.
//!
//! A secret stays when none is given, but only for where it was given: with another issuer or `client_id`, whoever writes these
//! would be sent it.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::directory::apply::{File, Given, Kind, PLATFORM, Subject, provider_as_written};
use crate::directory::organization::Organization;
use crate::directory::people;
use crate::directory::provider::{self, Kind as Speaks, Provider};
use crate::postgres::PgConnection;
use crate::secrets::SecretText;
use crate::upstream::redirect_uri;

use super::Administration;
use super::administrator::Administrator;
use super::answer;
use super::body::Members;
use super::page::{List, Paged, Parameters};
use super::problem::Problem;
use super::provider_body;
use super::refusals;
use super::tag::{self, Precondition};

const SECRET: &str = "client_secret";

/// To whom the secret is sent, and as whose.
const BELONGS_TO: [&str; 4] = ["kind", "issuer", "api_url", "client_id"];

const LAST_WAY: &str = "No owner could sign in any more: let one of them sign in another way first.";

pub fn routes() -> OpenApiRouter<Administration> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(show, update, delete))
}

/// Lists providers.
#[utoipa::path(
    get,
    path = "/api/v1/organizations/{organization}/providers",
    operation_id = "list_providers",
    tag = "Providers",
    summary = "List providers",
    params(("organization" = String, Path, description = "Its slug"), Paged),
    responses((status = 200, description = "A page", body = List<provider_body::Provider>), refusals::OfLook)
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
    let found = provider::page(&mut conn, organization.id, page.after(), page.most()).await?;
    Ok(Json(page.of(found, |one| one.slug.clone(), |one| shown(&who, &organization, &one))))
}

/// Makes a provider.
#[utoipa::path(
    post,
    path = "/api/v1/organizations/{organization}/providers",
    operation_id = "create_provider",
    tag = "Providers",
    summary = "Make a provider (owners)",
    params(("organization" = String, Path, description = "Its slug")),
    request_body = provider_body::Provider,
    responses((status = 201, description = "It was made", body = provider_body::Provider), (status = 200, description = "It was there, just so", body = provider_body::Provider), refusals::OfDeed)
)]
async fn create(
    State(api): State<Administration>,
    who: Administrator,
    Path(organization): Path<String>,
    mut members: Members,
) -> Result<Response, Problem> {
    let mut tx = who.begin(&api).await?;
    let organization = who.reach.organization(&mut tx, &organization).await?;
    who.reach.as_owner()?;
    let secret = members.take_secret(SECRET)?;
    let Some(Value::String(slug)) = members.0.get("slug").cloned() else {
        return Err(Problem::invalid_field("slug", "slug is missing: the provider's name in addresses and files"));
    };
    let file = said(&organization, &members.0, secret.as_ref())?;
    if let Some(there) = provider::by_slug(&mut tx, organization.id, &slug).await? {
        return if who.is_so(&mut tx, &file).await? {
            Ok(answer::shown(StatusCode::OK, &shown(&who, &organization, &there)))
        } else {
            Err(Problem::conflict("There is a provider with this slug, and it is another one than this says."))
        };
    }
    who.write(&mut tx, &file).await?;
    let made = provider::by_slug(&mut tx, organization.id, &slug).await?.ok_or_else(Problem::fault)?;
    tx.commit().await?;
    Ok(answer::shown(StatusCode::CREATED, &shown(&who, &organization, &made)))
}

/// Shows a provider.
#[utoipa::path(
    get,
    path = "/api/v1/organizations/{organization}/providers/{provider}",
    operation_id = "show_provider",
    tag = "Providers",
    summary = "Show a provider",
    params(("organization" = String, Path, description = "Its slug"), ("provider" = String, Path, description = "Its slug")),
    responses((status = 200, description = "As it is", body = provider_body::Provider, headers(("ETag" = String))), refusals::OfLook)
)]
async fn show(
    State(api): State<Administration>,
    who: Administrator,
    Path((organization, provider)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let mut conn = api.installation.pool.acquire().await?;
    let organization = who.reach.organization(&mut conn, &organization).await?;
    let found = find(&mut conn, &organization, &provider).await?;
    Ok(answer::shown(StatusCode::OK, &shown(&who, &organization, &found)))
}

/// Changes a provider.
#[utoipa::path(
    patch,
    path = "/api/v1/organizations/{organization}/providers/{provider}",
    operation_id = "update_provider",
    tag = "Providers",
    summary = "Change a provider: what isn't named stays, and `null` is as by default; another `kind` or `issuer` unlinks accounts (owners)",
    params(("organization" = String, Path, description = "Its slug"), ("provider" = String, Path, description = "Its slug"), Precondition),
    request_body = provider_body::Provider,
    responses((status = 200, description = "As it is now", body = provider_body::Provider, headers(("ETag" = String))), refusals::OfChange)
)]
async fn update(
    State(api): State<Administration>,
    who: Administrator,
    Path((organization, provider)): Path<(String, String)>,
    mut members: Members,
) -> Result<Response, Problem> {
    let mut tx = who.begin(&api).await?;
    let (organization, found) = find_to_change(&mut tx, &who, &organization, &provider).await?;
    let forgotten = members.0.get(SECRET) == Some(&Value::Null);
    let given = members.take_secret(SECRET)?;
    let before = provider_as_written(&found);
    let merged = members.merged_into(before.clone());
    if merged.get("slug") != before.get("slug") {
        return Err(Problem::invalid_field("slug", "a slug never changes"));
    }
    let secret = match given {
        None if !forgotten => kept(&who, &found, &before, &merged)?,
        given => given,
    };
    let had_owner = people::has_owner(&mut tx, organization.id).await?;
    who.write(&mut tx, &said(&organization, &merged, secret.as_ref())?).await?;
    keep_an_owner(&mut tx, &who, &organization, had_owner).await?;
    let now = find(&mut tx, &organization, &provider).await?;
    tx.commit().await?;
    Ok(answer::shown(StatusCode::OK, &shown(&who, &organization, &now)))
}

/// Deletes a provider.
#[utoipa::path(
    delete,
    path = "/api/v1/organizations/{organization}/providers/{provider}",
    operation_id = "delete_provider",
    tag = "Providers",
    summary = "Delete a provider and its links to accounts (owners)",
    params(("organization" = String, Path, description = "Its slug"), ("provider" = String, Path, description = "Its slug"), Precondition),
    responses((status = 204, description = "It is gone"), refusals::OfChange)
)]
async fn delete(
    State(api): State<Administration>,
    who: Administrator,
    Path((organization, provider)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let mut tx = who.begin(&api).await?;
    let (organization, found) = find_to_change(&mut tx, &who, &organization, &provider).await?;
    let had_owner = people::has_owner(&mut tx, organization.id).await?;
    who.delete(&mut tx, &organization, Subject::Provider(found.id), &found.slug).await?;
    keep_an_owner(&mut tx, &who, &organization, had_owner).await?;
    tx.commit().await?;
    Ok(answer::done())
}

async fn find(conn: &mut PgConnection, organization: &Organization, slug: &str) -> Result<Provider, Problem> {
    if slug.contains('\0') {
        return Err(Problem::not_found());
    }
    provider::by_slug(conn, organization.id, slug).await?.ok_or_else(Problem::not_found)
}

/// The same for an owner who looked at this version.
async fn find_to_change(
    conn: &mut PgConnection,
    who: &Administrator,
    organization: &str,
    slug: &str,
) -> Result<(Organization, Provider), Problem> {
    let organization = who.reach.organization(conn, organization).await?;
    who.reach.as_owner()?;
    let found = find(conn, &organization, slug).await?;
    tag::check(who.precondition.as_deref(), &shown(who, &organization, &found))?;
    Ok((organization, found))
}

/// The secret that stays.
fn kept(
    who: &Administrator,
    found: &Provider,
    before: &Map<String, Value>,
    merged: &Map<String, Value>,
) -> Result<Option<SecretText>, Problem> {
    let of =
        |members: &Map<String, Value>| BELONGS_TO.map(|key| members.get(key).filter(|value| !value.is_null()).cloned());
    if found.client_secret.is_some() && of(before) != of(merged) {
        let words = "the secret belongs to kind, issuer, api_url and client_id: give it with another one of these";
        return Err(Problem::invalid_field(SECRET, words));
    }
    let again = |_| Problem::invalid_field(SECRET, "the one that is kept can't be opened any more: give it again");
    found.open_client_secret(&who.installation.keyring).map_err(again)
}

/// Goes on when an owner can still sign in, or none could. Who administers the installation can let somebody in again in any
/// other organization than their own.
async fn keep_an_owner(
    conn: &mut PgConnection,
    who: &Administrator,
    organization: &Organization,
    had_owner: bool,
) -> Result<(), Problem> {
    let from_outside = who.reach.is_everything() && organization.slug != PLATFORM;
    if had_owner && !from_outside && !people::has_owner(conn, organization.id).await? {
        return Err(Problem::conflict(LAST_WAY));
    }
    Ok(())
}

fn said(
    organization: &Organization,
    members: &Map<String, Value>,
    secret: Option<&SecretText>,
) -> Result<File, Problem> {
    let given = Given { kind: Kind::Provider, members, secret: secret.map(|secret| (SECRET, secret)) };
    Ok(File::of_one(organization, &given)?)
}

fn shown(who: &Administrator, organization: &Organization, provider: &Provider) -> Value {
    let redirect_uri = (provider.kind != Speaks::Password).then(|| redirect_uri(&who.installation, &provider.slug));
    let mut members = provider_as_written(provider);
    members.extend(
        [
            ("id", json!(provider.id)),
            ("organization", json!(organization.slug)),
            ("created_at", json!(provider.created_at)),
            ("has_secret", json!(provider.client_secret.is_some())),
            ("public_only", json!(provider.public_only)),
            ("redirect_uri", json!(redirect_uri)),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    members.into()
}
