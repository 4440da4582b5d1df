//! Webhooks. Admins see them, and only owners write them: a message holds the link by which its reader can sign out whoever
//! approved, owners too, which no admin may; and without a webhook nobody hears of what an admin approves.
//!
//! A webhook is known by its address, which stands in no path, since a path may be logged: it has an id. Another address is
//! another webhook, as in files.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::audit;
use crate::directory::apply::{File, Given, Kind, Subject};
use crate::directory::organization::Organization;
use crate::directory::webhook::{self, Webhook};
use crate::ids::WebhookId;
use crate::postgres::PgConnection;
use crate::secrets::SecretText;

use super::Administration;
use super::administrator::Administrator;
use super::answer;
use super::body::Members;
use super::page::{List, Paged, Parameters};
use super::problem::Problem;
use super::refusals;
use super::tag::{self, Precondition};

const SECRET: &str = "secret";

/// How many messages a minute one person may have sent to try webhooks: each is a request to somebody else.
const TRIALS: u32 = 10;

/// A program of the organization's own that is told what happens.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhook)]
pub struct Shown {
    /// Its id.
    id: WebhookId,
    /// The slug of its organization.
    organization: String,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// Where messages are posted.
    #[schema(example = "https://hooks.acme.example/countersign")]
    url: String,
    /// What it is told of: `approved`, `reported`.
    events: Vec<&'static str>,
    /// Whether its address was written over this API: then it has to be public, or in `outbound.allow`.
    public_only: bool,
}

/// What can be said of a webhook.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookBody)]
pub struct Said {
    /// When it is made, and not later.
    #[schema(required = false, example = "https://hooks.acme.example/countersign")]
    url: String,
    /// What it is told of; everything unless it is given.
    #[schema(required = false)]
    events: Vec<String>,
    /// What messages are signed with: `whsec_` and base64 of 24 to 64 bytes. One is drawn unless it is given.
    #[schema(required = false, write_only)]
    secret: String,
}

/// A webhook that was made, with the secret that was drawn for it, told this once.
#[derive(Serialize, ToSchema)]
#[schema(as = NewWebhook)]
pub struct Made {
    #[serde(flatten)]
    webhook: Shown,
    /// What messages are signed with; absent if it was given.
    #[schema(required = false)]
    secret: String,
}

/// A secret, told once.
#[derive(Serialize, ToSchema)]
#[schema(as = NewWebhookSecret)]
pub struct NewSecret {
    /// What messages are signed with from now on.
    secret: String,
}

/// How a try went.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookTrial)]
pub struct Trial {
    /// Whether it was taken.
    delivered: bool,
    /// Why not, in words.
    trouble: Option<String>,
}

impl Shown {
    fn of(organization: &Organization, webhook: &Webhook) -> Self {
        Self {
            id: webhook.id,
            organization: organization.slug.clone(),
            created_at: webhook.created_at,
            url: webhook.url.clone(),
            events: webhook.events.iter().map(|event| event.as_str()).collect(),
            public_only: webhook.public_only,
        }
    }
}

pub fn routes() -> OpenApiRouter<Administration> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, update, delete))
        .routes(routes!(rotate_secret))
        .routes(routes!(test))
}

/// Lists webhooks.
#[utoipa::path(
    get,
    path = "/api/v1/organizations/{organization}/webhooks",
    operation_id = "list_webhooks",
    tag = "Webhooks",
    summary = "List webhooks",
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
    let mut conn = api.installation.pool.acquire().await?;
    let organization = who.reach.organization(&mut conn, &organization).await?;
    let found = webhook::page(&mut conn, organization.id, page.after(), page.most()).await?;
    Ok(Json(page.of(found, |one| one.url.clone(), |one| Shown::of(&organization, &one))))
}

/// Makes a webhook.
#[utoipa::path(
    post,
    path = "/api/v1/organizations/{organization}/webhooks",
    operation_id = "create_webhook",
    tag = "Webhooks",
    summary = "Make a webhook; unless a secret is given one is drawn, which is told this once (owners)",
    params(("organization" = String, Path, description = "Its slug")),
    request_body = Said,
    responses((status = 201, description = "It was made", body = Made), (status = 200, description = "It was there, just so; its secret is not told again", body = Shown), refusals::OfDeed)
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
    let given = members.take_secret(SECRET)?;
    let Some(Value::String(url)) = members.0.get("url").cloned() else {
        return Err(Problem::invalid_field("url", "url is missing: where messages are posted"));
    };
    let drawn = draw(&who);
    // By the same rules whatever the secret is: from here on it is a URL.
    let file = said(&organization, &members.0, given.as_ref().unwrap_or(&drawn))?;
    if let Some(there) = webhook::by_url(&mut tx, organization.id, &url).await? {
        let secret = given.map_or_else(|| opened(&who, &there), Ok)?;
        return if who.is_so(&mut tx, &said(&organization, &members.0, &secret)?).await? {
            Ok(answer::shown(StatusCode::OK, &Shown::of(&organization, &there)))
        } else {
            Err(Problem::conflict("There is a webhook at this address, and it is another one than this says."))
        };
    }
    who.write(&mut tx, &file).await?;
    let made = webhook::by_url(&mut tx, organization.id, &url).await?.ok_or_else(Problem::fault)?;
    tx.commit().await?;
    let webhook = Shown::of(&organization, &made);
    if given.is_some() {
        return Ok(answer::shown(StatusCode::CREATED, &webhook));
    }
    let etag = [(axum::http::header::ETAG, tag::of(&webhook))];
    let made = Made { webhook, secret: drawn.expose().to_owned() };
    Ok((StatusCode::CREATED, etag, Json(made)).into_response())
}

/// Shows a webhook.
#[utoipa::path(
    get,
    path = "/api/v1/organizations/{organization}/webhooks/{webhook}",
    operation_id = "show_webhook",
    tag = "Webhooks",
    summary = "Show a webhook",
    params(("organization" = String, Path, description = "Its slug"), ("webhook" = String, Path, description = "Its id")),
    responses((status = 200, description = "As it is", body = Shown, headers(("ETag" = String))), refusals::OfLook)
)]
async fn show(
    State(api): State<Administration>,
    who: Administrator,
    Path((organization, webhook)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let mut conn = api.installation.pool.acquire().await?;
    let organization = who.reach.organization(&mut conn, &organization).await?;
    let found = find(&mut conn, &organization, &webhook).await?;
    Ok(answer::shown(StatusCode::OK, &Shown::of(&organization, &found)))
}

/// Changes a webhook.
#[utoipa::path(
    patch,
    path = "/api/v1/organizations/{organization}/webhooks/{webhook}",
    operation_id = "update_webhook",
    tag = "Webhooks",
    summary = "Change what a webhook is told of, or give it another secret of one's own (owners)",
    params(("organization" = String, Path, description = "Its slug"), ("webhook" = String, Path, description = "Its id"), Precondition),
    request_body = Said,
    responses((status = 200, description = "As it is now", body = Shown, headers(("ETag" = String))), refusals::OfChange)
)]
async fn update(
    State(api): State<Administration>,
    who: Administrator,
    Path((organization, webhook)): Path<(String, String)>,
    mut members: Members,
) -> Result<Response, Problem> {
    let mut tx = who.begin(&api).await?;
    let (organization, found) = find_to_change(&mut tx, &who, &organization, &webhook).await?;
    tag::check(who.precondition.as_deref(), &Shown::of(&organization, &found))?;
    let given = members.take_secret(SECRET)?;
    let merged = members.merged_into(as_written(&found));
    if merged.get("url") != Some(&json!(found.url)) {
        return Err(Problem::invalid_field(
            "url",
            "another address is another webhook: make that one, and delete this one",
        ));
    }
    let secret = given.map_or_else(|| opened(&who, &found), Ok)?;
    who.write(&mut tx, &said(&organization, &merged, &secret)?).await?;
    let now = find(&mut tx, &organization, &webhook).await?;
    tx.commit().await?;
    Ok(answer::shown(StatusCode::OK, &Shown::of(&organization, &now)))
}

/// Deletes a webhook.
#[utoipa::path(
    delete,
    path = "/api/v1/organizations/{organization}/webhooks/{webhook}",
    operation_id = "delete_webhook",
    tag = "Webhooks",
    summary = "Delete a webhook and what it has not been told yet (owners)",
    params(("organization" = String, Path, description = "Its slug"), ("webhook" = String, Path, description = "Its id"), Precondition),
    responses((status = 204, description = "It is gone"), refusals::OfChange)
)]
async fn delete(
    State(api): State<Administration>,
    who: Administrator,
    Path((organization, webhook)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let mut tx = who.begin(&api).await?;
    let (organization, found) = find_to_change(&mut tx, &who, &organization, &webhook).await?;
    tag::check(who.precondition.as_deref(), &Shown::of(&organization, &found))?;
    who.delete(&mut tx, &organization, Subject::Webhook(found.id), &found.url).await?;
    tx.commit().await?;
    Ok(answer::done())
}

/// Gives a webhook another secret.
#[utoipa::path(
    post,
    path = "/api/v1/organizations/{organization}/webhooks/{webhook}/secret",
    operation_id = "rotate_webhook_secret",
    tag = "Webhooks",
    summary = "Give a webhook another secret, which is told this once; messages are signed with it from now on (owners)",
    params(("organization" = String, Path, description = "Its slug"), ("webhook" = String, Path, description = "Its id")),
    responses((status = 200, description = "The secret", body = NewSecret), refusals::OfDeed)
)]
async fn rotate_secret(
    State(api): State<Administration>,
    who: Administrator,
    Path((organization, webhook)): Path<(String, String)>,
) -> Result<Json<NewSecret>, Problem> {
    let mut tx = who.begin(&api).await?;
    let (organization, found) = find_to_change(&mut tx, &who, &organization, &webhook).await?;
    let secret = draw(&who);
    who.write(&mut tx, &said(&organization, &as_written(&found), &secret)?).await?;
    tx.commit().await?;
    Ok(Json(NewSecret { secret: secret.expose().to_owned() }))
}

/// Tries a webhook.
#[utoipa::path(
    post,
    path = "/api/v1/organizations/{organization}/webhooks/{webhook}/test",
    operation_id = "test_webhook",
    tag = "Webhooks",
    summary = "Send a webhook a message of the type webhook.test now, and say whether it was taken (owners)",
    params(("organization" = String, Path, description = "Its slug"), ("webhook" = String, Path, description = "Its id")),
    responses((status = 200, description = "How it went", body = Trial), refusals::OfDeed)
)]
async fn test(
    State(api): State<Administration>,
    who: Administrator,
    Path((organization, webhook)): Path<(String, String)>,
) -> Result<Json<Trial>, Problem> {
    if !who.reach.may_name(&organization) {
        return Err(Problem::not_found());
    }
    who.reach.as_owner()?;
    api.trials
        .take(who.user, TRIALS, api.installation.clock.now())
        .map_err(|wait| Problem::too_many_requests(wait.as_secs() + 1))?;
    let mut tx = api.installation.pool.begin().await?;
    let (organization, found) = find_to_change(&mut tx, &who, &organization, &webhook).await?;
    let detail = json!({ "by": who.by(), "action": "tested", "what": "webhook", "name": found.url });
    who.event(audit::Kind::Administered).of(organization.id).detail(detail).append(&mut tx).await?;
    // Nobody waits for the receiver who wants to write the directory, or a connection.
    tx.commit().await?;
    let tried = api.notices.try_webhook(&api.installation, &organization, &found).await;
    let trouble = tried.err().map(|failure| failure.to_string());
    Ok(Json(Trial { delivered: trouble.is_none(), trouble }))
}

async fn find(conn: &mut PgConnection, organization: &Organization, id: &str) -> Result<Webhook, Problem> {
    let id: uuid::Uuid = id.parse().map_err(|_| Problem::not_found())?;
    webhook::by_id(conn, organization.id, id.into()).await?.ok_or_else(Problem::not_found)
}

/// The same for an owner.
async fn find_to_change(
    conn: &mut PgConnection,
    who: &Administrator,
    organization: &str,
    id: &str,
) -> Result<(Organization, Webhook), Problem> {
    let organization = who.reach.organization(conn, organization).await?;
    who.reach.as_owner()?;
    let found = find(conn, &organization, id).await?;
    Ok((organization, found))
}

/// 256 bits.
fn draw(who: &Administrator) -> SecretText {
    webhook::written_secret(&who.installation.random.bytes::<32>())
}

/// The secret that stays.
fn opened(who: &Administrator, webhook: &Webhook) -> Result<SecretText, Problem> {
    let again = |_| Problem::invalid_field(SECRET, "the one that is kept can't be opened any more: give another one");
    webhook::open_secret(&who.installation.keyring, webhook.id, &webhook.secret).map_err(again)
}

fn as_written(webhook: &Webhook) -> Map<String, Value> {
    let events: Vec<&str> = webhook.events.iter().map(|event| event.as_str()).collect();
    Map::from_iter([("url".to_owned(), json!(webhook.url)), ("events".to_owned(), json!(events))])
}

fn said(organization: &Organization, members: &Map<String, Value>, secret: &SecretText) -> Result<File, Problem> {
    let given = Given { kind: Kind::Webhook, members, secret: Some((SECRET, secret)) };
    Ok(File::of_one(organization, &given)?)
}
