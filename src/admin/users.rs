//! Users. An owner is changed by owners only, nobody gives a role above their own, and an organization that has an owner who
//! can sign in keeps one.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::audit;
use crate::directory::apply::{File, Given, Kind, Subject};
use crate::directory::organization::Organization;
use crate::directory::people::{self, Person, Which};
use crate::directory::user::{Role, Status};
use crate::ids::UserId;
use crate::postgres::PgConnection;

use super::Administration;
use super::administrator::Administrator;
use super::answer;
use super::body::Members;
use super::page::{List, Paged, Parameters};
use super::problem::Problem;
use super::refusals;
use super::tag::{self, Precondition};

const LAST_OWNER: &str = "This is the last owner who can sign in: make somebody else an owner first.";

/// A person.
#[derive(Serialize, ToSchema)]
#[schema(as = User)]
pub struct Shown {
    /// Their id: `sub` of their tokens.
    id: UserId,
    /// The slug of their organization.
    organization: String,
    /// In lower case; `null` when no provider verified one.
    email: Option<String>,
    /// Whether somebody has verified it.
    email_verified: bool,
    /// As they are called; may be empty.
    name: String,
    /// `member`, `admin` or `owner`.
    role: &'static str,
    /// `invited`, `active` or `locked`.
    status: &'static str,
    /// Whether they have a password here.
    has_password: bool,
    /// Whether they have an authenticator.
    has_authenticator: bool,
    /// The slugs of the providers where an account of theirs is known.
    providers: Vec<String>,
    /// When they were invited, or came.
    created_at: DateTime<Utc>,
}

/// What can be said of a user.
#[derive(Serialize, ToSchema)]
#[schema(as = UserBody)]
pub struct Said {
    /// When they are invited, and not later.
    #[schema(required = false, example = "ada@acme.example")]
    email: String,
    /// As they are called; `null`: nothing.
    #[schema(required = false, nullable)]
    name: String,
    /// `member`, `admin` or `owner`: not above the role of who gives it; `null`: `member`.
    #[schema(required = false, nullable)]
    role: String,
    /// A first password, where the organization has a provider of kind `password`: with that one alone, nobody signs in who was
    /// given none. When they are invited, and not later.
    #[schema(required = false, write_only)]
    password: String,
    /// When they are invited, and not later: `true` if they are to get a mail that says where they sign in, or not be invited;
    /// `false` if they are to get none. Otherwise they get one if this server sends mails and not too many were sent.
    #[schema(required = false, write_only)]
    mail: bool,
}

impl Shown {
    pub(super) fn of(organization: &Organization, person: &Person) -> Self {
        let person = person.clone();
        Self {
            id: person.id,
            organization: organization.slug.clone(),
            email: person.email,
            email_verified: person.email_verified,
            name: person.name,
            role: person.role.as_str(),
            status: person.status.as_str(),
            has_password: person.has_password,
            has_authenticator: person.enrolled,
            providers: person.providers,
            created_at: person.created_at,
        }
    }
}

pub fn routes() -> OpenApiRouter<Administration> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show, update, delete))
}

/// Lists people.
#[utoipa::path(
    get,
    path = "/api/v1/organizations/{organization}/users",
    operation_id = "list_users",
    tag = "Users",
    summary = "List users",
    params(("organization" = String, Path, description = "Its slug"), ("email" = Option<String>, Query, description = "Only whoever has this address"), Paged),
    responses((status = 200, description = "A page", body = List<Shown>), refusals::OfLook)
)]
async fn list(
    State(api): State<Administration>,
    who: Administrator,
    Path(organization): Path<String>,
    parameters: Parameters,
) -> Result<Json<List<Shown>>, Problem> {
    let page = parameters.page(&["email"])?;
    let after = page.after_id()?;
    let mut conn = api.installation.pool.acquire().await?;
    let organization = who.reach.organization(&mut conn, &organization).await?;
    let which = match parameters.get("email") {
        Some(email) if email.contains('\0') => return Err(Problem::invalid_field("email", "it is an e-mail address")),
        Some(email) => Which::Email(email),
        None => Which::Page(after, page.most()),
    };
    let found = people::find(&mut conn, organization.id, which).await?;
    Ok(Json(page.of(found, |one| one.id.to_string(), |one| Shown::of(&organization, &one))))
}

/// Shows somebody.
#[utoipa::path(
    get,
    path = "/api/v1/organizations/{organization}/users/{user}",
    operation_id = "show_user",
    tag = "Users",
    summary = "Show a user",
    params(("organization" = String, Path, description = "Its slug"), ("user" = String, Path, description = "Their id")),
    responses((status = 200, description = "As they are", body = Shown, headers(("ETag" = String))), refusals::OfLook)
)]
async fn show(
    State(api): State<Administration>,
    who: Administrator,
    Path((organization, user)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let mut conn = api.installation.pool.acquire().await?;
    let (organization, person) = find(&mut conn, &who, &organization, &user).await?;
    Ok(answer::shown(StatusCode::OK, &Shown::of(&organization, &person)))
}

/// Changes somebody's name or role.
#[utoipa::path(
    patch,
    path = "/api/v1/organizations/{organization}/users/{user}",
    operation_id = "update_user",
    tag = "Users",
    summary = "Change a user's name or role: what isn't named stays, and `null` is as by default",
    params(("organization" = String, Path, description = "Its slug"), ("user" = String, Path, description = "Their id"), Precondition),
    request_body = Said,
    responses((status = 200, description = "As they are now", body = Shown, headers(("ETag" = String))), refusals::OfChange)
)]
async fn update(
    State(api): State<Administration>,
    who: Administrator,
    Path((organization, user)): Path<(String, String)>,
    members: Members,
) -> Result<Response, Problem> {
    let mut tx = who.begin(&api).await?;
    let (organization, person) = find_to_change(&mut tx, &who, &organization, &user).await?;
    members.only(&["name", "role"])?;
    tag::check(who.precondition.as_deref(), &Shown::of(&organization, &person))?;
    // The rules for a name and a role are those of files; whose they are doesn't matter to them.
    let mut as_said = members.0;
    as_said.insert("email".to_owned(), "somebody@example.com".into());
    File::of_one(&organization, &Given { kind: Kind::User, members: &as_said, secret: None })?;
    let role = if as_said.contains_key("role") { role_of(&as_said)?.unwrap_or(Role::Member) } else { person.role };
    who.reach.over(role)?;
    if role != Role::Owner {
        keep_an_owner(&mut tx, &organization, &person).await?;
    }
    let name = as_said.get("name").map_or(&*person.name, |name| name.as_str().unwrap_or_default());
    if name != person.name || role != person.role {
        people::change(&mut tx, person.id, name, role).await?;
        let fields = json!({
            "name": { "from": person.name, "to": name },
            "role": { "from": person.role.as_str(), "to": role.as_str() },
        });
        note(&mut tx, &who, &organization, &person, &fields).await?;
    }
    let now = people::find(&mut tx, organization.id, Which::One(person.id)).await?.pop().ok_or_else(Problem::fault)?;
    tx.commit().await?;
    Ok(answer::shown(StatusCode::OK, &Shown::of(&organization, &now)))
}

/// Deletes somebody.
#[utoipa::path(
    delete,
    path = "/api/v1/organizations/{organization}/users/{user}",
    operation_id = "delete_user",
    tag = "Users",
    summary = "Delete a user, their sessions and factors",
    params(("organization" = String, Path, description = "Its slug"), ("user" = String, Path, description = "Their id"), Precondition),
    responses((status = 204, description = "They are gone"), refusals::OfChange)
)]
async fn delete(
    State(api): State<Administration>,
    who: Administrator,
    Path((organization, user)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let mut tx = who.begin(&api).await?;
    let (organization, person) = find_to_change(&mut tx, &who, &organization, &user).await?;
    tag::check(who.precondition.as_deref(), &Shown::of(&organization, &person))?;
    keep_an_owner(&mut tx, &organization, &person).await?;
    let name = person.email.clone().unwrap_or_else(|| person.id.to_string());
    who.delete(&mut tx, &organization, Subject::User(person.id), &name).await?;
    tx.commit().await?;
    Ok(answer::done())
}

/// Who has this address, in whatever case: as `apply` folds it, which would change them, or as the database does.
pub(super) async fn who_has(
    conn: &mut PgConnection,
    organization: &Organization,
    email: &str,
) -> Result<Option<Person>, sqlx::Error> {
    let folded = email.to_lowercase();
    for spelling in [&*folded, email] {
        if let Some(person) = people::find(conn, organization.id, Which::Email(spelling)).await?.pop() {
            return Ok(Some(person));
        }
    }
    Ok(None)
}

async fn find(
    conn: &mut PgConnection,
    who: &Administrator,
    organization: &str,
    user: &str,
) -> Result<(Organization, Person), Problem> {
    let organization = who.reach.organization(conn, organization).await?;
    let id: uuid::Uuid = user.parse().map_err(|_| Problem::not_found())?;
    let found = people::find(conn, organization.id, Which::One(id.into())).await?.pop();
    Ok((organization, found.ok_or_else(Problem::not_found)?))
}

/// The same, of somebody whom who asks may change.
pub(super) async fn find_to_change(
    conn: &mut PgConnection,
    who: &Administrator,
    organization: &str,
    user: &str,
) -> Result<(Organization, Person), Problem> {
    let (organization, person) = find(conn, who, organization, user).await?;
    who.reach.over(person.role)?;
    Ok((organization, person))
}

/// Goes on when there will be an owner who can sign in besides this person, or wasn't one even with them.
pub(super) async fn keep_an_owner(
    conn: &mut PgConnection,
    organization: &Organization,
    person: &Person,
) -> Result<(), Problem> {
    let may_be_one = person.role == Role::Owner && person.status == Status::Active;
    if !may_be_one || people::has_other_owner(conn, organization.id, person.id).await? {
        return Ok(());
    }
    // Without anybody else, it is this person if it is anybody: who can't sign in is nobody's way in, and may go.
    if people::has_owner(conn, organization.id).await? { Err(Problem::conflict(LAST_OWNER)) } else { Ok(()) }
}

/// The role that is given, if one is: `null` is none.
pub(super) fn role_of(members: &Map<String, Value>) -> Result<Option<Role>, Problem> {
    let role = members.get("role").and_then(Value::as_str);
    role.map(|role| role.parse().map_err(|_| Problem::invalid_field("role", "it is member, admin or owner")))
        .transpose()
}

pub(super) async fn note(
    conn: &mut PgConnection,
    who: &Administrator,
    organization: &Organization,
    person: &Person,
    fields: &Value,
) -> Result<(), Problem> {
    let name = person.email.clone().unwrap_or_else(|| person.id.to_string());
    let detail = json!({ "by": who.by(), "action": "changed", "what": "user", "name": name, "fields": fields });
    let event = who.event(audit::Kind::Administered).of(organization.id).user(person.id).detail(detail);
    Ok(event.append(conn).await?)
}
