//! `POST /auth/device/verify`: an organization's own activation page asks what a user code needs (SPEC §2.4).

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::audit;
use crate::device::codes::UserCode;
use crate::device::guessing::{self, Guesser};
use crate::device::store;
use crate::directory::{provider, service};
use crate::http::client_address::Caller;
use crate::http::oauth_error::OAuthError;
use crate::http::parameters::Parameters;

use super::Endpoints;
use super::device_authorization::may_log_in;
use super::limits::no_more_guesses;
use super::openapi::{refusals, requests};

/// What a page needs to know to begin a sign-in.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = DeviceVerification)]
pub struct Answer {
    /// Of the organization.
    org_slug: String,
    /// Of the service that asks.
    service_slug: String,
    /// For people.
    service_name: String,
    /// Slugs, each for `GET /auth/{provider}`.
    available_providers: Vec<String>,
    /// Seconds.
    expires_in: i64,
}

/// Handles a look at a user code. All codes that can't be used get one and the same answer. It is a guess of whoever has this
/// address: an organization's server that asks for its visitors says theirs, as a trusted proxy, or lets their browsers ask,
/// which pages of other sites do as well: theirs are counted apart from those at `/activate`.
#[utoipa::path(
    post,
    path = "/auth/device/verify",
    operation_id = "device_verification",
    tag = "Device login",
    summary = "An organization's own activation page asks what a user code needs",
    request_body(content(
        (requests::DeviceVerificationRequest = "application/x-www-form-urlencoded"),
        (requests::DeviceVerificationRequest = "application/json")
    )),
    responses((status = 200, description = "How to begin a sign-in", body = Answer), refusals::OfLimited)
)]
pub async fn handle(
    State(endpoints): State<Endpoints>,
    caller: Caller,
    parameters: Parameters,
) -> Result<Json<Answer>, OAuthError> {
    let installation = &endpoints.installation;
    let typed = parameters.required("user_code")?;
    let now = installation.clock.now();
    let mut conn = installation.pool.acquire().await?;
    let code = UserCode::parse(typed);
    let guesser = Guesser { browser: None, session: None, accounts: Vec::new(), caller: &caller };
    let tried = guessing::try_code(&mut conn, installation, &endpoints.live, &guesser, code.as_ref()).await?;
    tried.map_err(no_more_guesses)?;
    // What is no code at all is looked up like any other, so that it takes as long.
    let macs = code.map(|code| code.macs(&installation.keyring)).unwrap_or_default();
    let found = match store::by_user_code(&mut conn, &macs, None, now).await? {
        Some(grant) => service::by_id(&mut conn, grant.service_id).await?.map(|service| (grant, service)),
        None => None,
    };
    let Some((grant, service)) = found.filter(|(_, service)| may_log_in(service).is_ok()) else {
        audit::Event::new(audit::Kind::GuessRefused, &installation.clock, &installation.random)
            .caller(&caller)
            .append(&mut conn)
            .await?;
        return Err(OAuthError::invalid_grant(
            "This code is not valid: it may be mistyped, expired, or used already. Ask the device for a new one.",
        ));
    };
    let providers = provider::of_organization(&mut conn, grant.organization_id).await?;
    Ok(Json(Answer {
        org_slug: service.organization_slug,
        service_slug: service.slug,
        service_name: service.name,
        available_providers: providers.into_iter().map(|provider| provider.slug).collect(),
        expires_in: (grant.expires_at - now).num_seconds(),
    }))
}
