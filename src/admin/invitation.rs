//! Inviting somebody, and the mail that tells them where they sign in.
//!
//! Whoever may invite may have this server send mails to whom they like. So mails are paid for before ([`budget`]): so many an hour
//! for an organization, few of them to one address, and not endlessly many to one address by all organizations. What was not sent is given back.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::audit;
use crate::budget::{self, Charge, Exhausted, Receipt};
use crate::directory::apply::{File, Given, Kind};
use crate::directory::organization::Organization;
use crate::directory::people::Person;
use crate::directory::user::{self, Role, Status};
use crate::notice::told::{self, Invitation};
use crate::postgres::PgConnection;
use crate::secrets::{Purpose, base64url};

use super::Administration;
use super::administrator::Administrator;
use super::body::Members;
use super::problem::Problem;
use super::refusals;
use super::tag;
use super::users::{Said, Shown, role_of, who_has};

const PASSWORD: &str = "password";
const MAIL: &str = "mail";

/// How many invitations an organization mails within an hour.
const OF_ORGANIZATION: i64 = 100;

/// How many of them to one address.
const TO_ADDRESS: i64 = 3;

/// How many are mailed to one address by all organizations together. Much more than one of them can use up: none keeps another from
/// inviting somebody.
const BY_ANYBODY: i64 = 20;

/// Somebody who is invited.
#[derive(Serialize, ToSchema)]
#[schema(as = InvitedUser)]
pub struct Invited {
    #[serde(flatten)]
    user: Shown,
    /// Whether they are sent a mail that says where they sign in.
    mail_queued: bool,
}

pub fn routes() -> OpenApiRouter<Administration> {
    OpenApiRouter::new().routes(routes!(invite))
}

/// Invites somebody.
#[utoipa::path(
    post,
    path = "/api/v1/organizations/{organization}/users",
    operation_id = "invite_user",
    tag = "Users",
    summary = "Invite somebody: they are let in with this address, or with the password",
    params(("organization" = String, Path, description = "Its slug")),
    request_body = Said,
    responses((status = 201, description = "They are invited", body = Invited, headers(("ETag" = String))), (status = 200, description = "They were, just so; never with a password. Who has not signed in yet may get another mail", body = Invited, headers(("ETag" = String))), refusals::OfDeed)
)]
async fn invite(
    State(api): State<Administration>,
    who: Administrator,
    Path(organization): Path<String>,
    mut members: Members,
) -> Result<Response, Problem> {
    let mut conn = api.installation.pool.acquire().await?;
    let organization = who.reach.organization(&mut conn, &organization).await?;
    members.only(&["email", "name", "role", PASSWORD, MAIL])?;
    let wanted = members.take_bool(MAIL)?;
    let postage = pay(&mut conn, &api, (&organization, email_of(&members)), wanted).await?;
    // The connection isn't held while others write.
    drop(conn);
    let added = add(&api, &who, &organization.slug, members, postage.is_some()).await;
    if added.as_ref().is_ok_and(|(_, invited)| invited.mail_queued) {
        api.notices.wake();
    } else if let Some(receipt) = postage {
        // Where this fails, a mail less is sent within the hour.
        if let Err(error) = give_back(&api, receipt).await {
            tracing::debug!(%error, "what a mail would have cost can't be given back");
        }
    }
    let (status, invited) = added?;
    Ok((status, [(header::ETAG, tag::of(&invited.user))], Json(invited)).into_response())
}

async fn give_back(api: &Administration, receipt: Receipt) -> Result<(), sqlx::Error> {
    budget::give_back(&mut *api.installation.pool.acquire().await?, receipt).await
}

fn email_of(members: &Members) -> &str {
    members.0.get("email").and_then(Value::as_str).unwrap_or_default()
}

/// Pays for a mail, if one is to be sent. Who insists on one is refused where there can't be any.
async fn pay(
    conn: &mut PgConnection,
    api: &Administration,
    (organization, email): (&Organization, &str),
    wanted: Option<bool>,
) -> Result<Option<Receipt>, Problem> {
    let insists = wanted == Some(true);
    if wanted == Some(false) {
        return Ok(None);
    }
    if !api.notices.sends_mail() {
        let why = "this server sends no mails, unless [mail] is set";
        return if insists { Err(Problem::invalid_field(MAIL, why)) } else { Ok(None) };
    }
    let installation = &api.installation;
    let email = email.to_lowercase();
    let address = |of: &[u8]| base64url(&installation.keyring.mac(Purpose::InvitedAddress, &[of, email.as_bytes()]));
    let charge = |purpose, subject, limit| Charge { purpose, subject, cost: 1, limit };
    let charges = vec![
        charge(budget::Purpose::InvitingOrganization, organization.id.to_string(), OF_ORGANIZATION),
        charge(budget::Purpose::InvitedAddress, address(organization.id.0.as_bytes()), TO_ADDRESS),
        charge(budget::Purpose::InvitedByAnybody, address(b""), BY_ANYBODY),
    ];
    let paid = budget::spend(conn, charges, installation.clock.now()).await?;
    if let Err(Exhausted { purpose, is_news: true, .. }) = paid {
        let (exhausted, organization) = (purpose.whose(), &organization.slug);
        tracing::warn!(organization, exhausted, "invitations are not mailed: too many were within an hour");
    }
    match paid {
        Ok(receipt) => Ok(Some(receipt)),
        // When others invited somebody is nobody's business.
        Err(Exhausted { purpose: budget::Purpose::InvitedByAnybody, .. }) if insists => {
            Err(Problem::too_many_mails(budget::WINDOW.num_seconds().unsigned_abs()))
        }
        Err(exhausted) if insists => Err(Problem::too_many_mails(exhausted.wait.num_seconds().unsigned_abs() + 1)),
        Err(_) => Ok(None),
    }
}

/// Adds somebody, or finds them just so, and puts the mail if it is paid for and they have not signed in yet.
async fn add(
    api: &Administration,
    who: &Administrator,
    organization: &str,
    mut members: Members,
    by_mail: bool,
) -> Result<(StatusCode, Invited), Problem> {
    let mut tx = who.begin(api).await?;
    // Again: it may have been deleted since.
    let organization = who.reach.organization(&mut tx, organization).await?;
    let password = members.take_secret(PASSWORD)?;
    let secret = password.as_ref().map(|password| (PASSWORD, password));
    let file = File::of_one(&organization, &Given { kind: Kind::User, members: &members.0, secret })?;
    // Read by the same rules: what it says is an address and a role.
    let email = email_of(&members);
    who.reach.over(role_of(&members.0)?.unwrap_or(Role::Member))?;
    let (status, person) = if let Some(there) = who_has(&mut tx, &organization, email).await? {
        who.reach.over(there.role)?;
        // Whether a password is theirs is asked at the sign-in page alone, where tries are counted.
        if password.is_some() || !who.is_so(&mut tx, &file).await? {
            return Err(Problem::conflict("There is a user with this address, and it is another one than this says."));
        }
        (StatusCode::OK, there)
    } else {
        who.write(&mut tx, &file).await?;
        let made = who_has(&mut tx, &organization, email).await?.ok_or_else(Problem::fault)?;
        (StatusCode::CREATED, made)
    };
    let is_new = status == StatusCode::CREATED || person.status == Status::Invited;
    let to = person.email.as_deref().filter(|_| by_mail && is_new);
    if let Some(to) = to {
        mail(&mut tx, api, who, (&organization, &person), to).await?;
    }
    let mail_queued = to.is_some();
    tx.commit().await?;
    Ok((status, Invited { user: Shown::of(&organization, &person), mail_queued }))
}

/// Puts the mail, and notes it.
async fn mail(
    conn: &mut PgConnection,
    api: &Administration,
    who: &Administrator,
    (organization, person): (&Organization, &Person),
    to: &str,
) -> Result<(), Problem> {
    let by = user::by_id(conn, who.user).await?.ok_or_else(Problem::fault)?;
    let invitation = Invitation {
        organization: told::Organization {
            id: organization.id,
            slug: organization.slug.clone(),
            name: organization.name.clone(),
        },
        user: person.id,
        role: person.role.as_str().to_owned(),
        with_password: person.has_password,
        by: told::Person { id: by.id, email: by.email.filter(|_| by.email_verified), name: by.name },
    };
    api.notices.invited(conn, &api.installation, &invitation, to).await?;
    let detail = json!({ "by": who.by(), "action": "mailed", "what": "user", "name": to });
    let event = who.event(audit::Kind::Administered).of(organization.id).user(person.id).detail(detail);
    Ok(event.append(conn).await?)
}
