//! `POST /auth/device/code`: a device asks for its codes (RFC 8628 §3.1, §3.2).

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use chrono::TimeDelta;
use serde::Serialize;

use crate::device::codes::{self, UserCode};
use crate::device::grant::Device;
use crate::device::intake::{self, NewGrant};
use crate::device::name;
use crate::device::waiting::Open;
use crate::directory::organization::Status;
use crate::directory::service::Service;
use crate::dpop::Proof;
use crate::http::client_address::{Caller, subscriber};
use crate::http::oauth_error::OAuthError;
use crate::http::parameters::Parameters;
use crate::ids::{EventId, GrantId};

use super::client_auth::Credentials;
use super::openapi::{refusals, requests};
use super::possession::{self, Possession};
use super::resources;
use super::{Endpoints, limits};

/// How often a user code is drawn again that somebody has: with a million live codes, once in 25,000 requests at all.
const DRAWS: usize = 8;

/// The device authorization response (RFC 8628 §3.2).
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = DeviceAuthorization)]
pub struct Answer {
    /// For polls.
    device_code: String,
    /// For the person to type.
    #[schema(example = "WDJB-MJHT")]
    user_code: String,
    /// Where to type it.
    #[schema(format = "uri")]
    verification_uri: String,
    /// The same with the code, where the service lets links carry it.
    #[schema(nullable = false, format = "uri")]
    #[serde(skip_serializing_if = "Option::is_none")]
    verification_uri_complete: Option<String>,
    /// Seconds.
    expires_in: u64,
    /// Seconds.
    #[schema(minimum = 1)]
    interval: u8,
}

/// Handles a device authorization request.
#[utoipa::path(
    post,
    path = "/auth/device/code",
    operation_id = "device_authorization",
    tag = "Device login",
    summary = "A device asks for its codes (RFC 8628 §3.1)",
    params(("DPoP" = Option<String>, Header, nullable = false, description = "A proof that the sender holds its key (RFC 9449)")),
    request_body(content(
        (requests::DeviceAuthorizationRequest = "application/x-www-form-urlencoded"),
        (requests::DeviceAuthorizationRequest = "application/json")
    )),
    responses((status = 200, description = "The codes", body = Answer), refusals::OfLimited),
    security((), ("client" = []))
)]
pub async fn handle(
    State(endpoints): State<Endpoints>,
    caller: Caller,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Json<Answer>, OAuthError> {
    let installation = &endpoints.installation;
    let now = installation.clock.now();
    let address = subscriber(caller.ip);
    endpoints.requests.by_address(&caller, now)?;
    let credentials = Credentials::read(&headers, &parameters)?;
    let service = endpoints.client(&credentials).await?;
    may_log_in(&service)?;
    // No connection is held while others write: those who wait would take them from those for whom they wait.
    let length = limits::admit(&endpoints, service.id, address, now).await?;
    is_named(&service, &parameters)?;
    let scopes = scopes(&service, parameters.get("scope"))?;
    let resources = resources::asked(&parameters, &service.resources)?;
    // With a proof the login is bound to this key from here on: polls and refreshes have to prove it again.
    let possession = Possession::of_post(installation, &headers, "/auth/device/code");
    let proof = possession.early_proof(&service)?;
    let device = Device {
        name: device_name(parameters.get("device_name"))?,
        user_agent: caller.user_agent.clone(),
        ip: caller.ip,
    };
    let lifetime = TimeDelta::from_std(service.code_lifetime).unwrap_or(TimeDelta::minutes(15));
    for _ in 0..DRAWS {
        let id = GrantId::new(now, &installation.random.bytes());
        let user_code = UserCode::draw(&installation.keyring, id, length);
        let grant = NewGrant {
            id,
            event: EventId::new(now, &installation.random.bytes()),
            organization: service.organization_id,
            service: service.id,
            user_code_mac: user_code.mac(&installation.keyring),
            user_code_length: length,
            scopes: scopes.clone(),
            resources: resources.clone(),
            dpop_jkt: proof.map(|proof| proof.jkt.clone()),
            poll_interval: service.poll_interval,
            device: device.clone(),
            created_at: now,
            expires_at: now + lifetime,
        };
        let (since, open) = (endpoints.waiting.glimpse(id), Open::from(&grant));
        if write(&endpoints, grant, proof).await? {
            // From here on the grant is committed, and its device code is nobody's until it is answered.
            endpoints.waiting.remember(id, since, open);
            endpoints.live.made(length, service.id, address);
            endpoints.keep_secret(&credentials, &service);
            return Ok(Json(answer(&endpoints, &service, id, &user_code)));
        }
    }
    tracing::error!("no free user code in {DRAWS} draws");
    Err(OAuthError::temporarily_unavailable())
}

/// Writes a grant and its event, and returns after the commit; `false`: its user code is somebody's. With others, but for one
/// that a proof binds: the proof is used up if the grant is written, and only then.
async fn write(endpoints: &Endpoints, grant: NewGrant, proof: Option<&Proof>) -> Result<bool, OAuthError> {
    let installation = &endpoints.installation;
    let Some(proof) = proof else { return endpoints.intake.write(grant).await.map_err(super::undone) };
    let mut tx = installation.pool.begin().await?;
    possession::spend(&mut tx, installation, proof).await?;
    let written = intake::insert(&mut tx, std::slice::from_ref(&grant)).await?.contains(&true);
    if written {
        tx.commit().await?;
    }
    Ok(written)
}

/// Whether anybody can log in to the service, and where to change it if not.
pub fn may_log_in(service: &Service) -> Result<(), OAuthError> {
    if service.organization_status == Status::Suspended {
        return Err(OAuthError::unauthorized_client(
            "The organization of this service is suspended; whoever runs this server can activate it again.",
        ));
    }
    if !service.device_login {
        return Err(OAuthError::unauthorized_client(
            "Device login is not switched on for this service; an administrator sets device_login = true for it.",
        ));
    }
    Ok(())
}

/// `org` and `service`, when they are given, must be the client's own.
fn is_named(service: &Service, parameters: &Parameters) -> Result<(), OAuthError> {
    let agrees = |name, own: &str| parameters.get(name).is_none_or(|given| given == own);
    if agrees("org", &service.organization_slug) && agrees("service", &service.slug) {
        Ok(())
    } else {
        Err(OAuthError::invalid_request("org and service don't name this client's own; leave them out."))
    }
}

/// The scopes that are asked for, each once, all of which the service may ask for; none asked are the default ones.
fn scopes(service: &Service, asked: Option<&str>) -> Result<Vec<String>, OAuthError> {
    let mut scopes: Vec<String> = Vec::new();
    for scope in asked.unwrap_or_default().split_ascii_whitespace() {
        if service.describe_scope(scope).is_none() {
            let shown: String = scope.chars().filter(char::is_ascii_graphic).take(40).collect();
            return Err(OAuthError::invalid_scope(format!("This service can't ask for the scope {shown}.")));
        }
        if !scopes.iter().any(|known| known == scope) {
            scopes.push(scope.to_owned());
        }
    }
    if scopes.is_empty() {
        scopes.clone_from(&service.default_scopes);
    }
    Ok(scopes)
}

/// The name that the device gives itself.
fn device_name(name: Option<&str>) -> Result<Option<String>, OAuthError> {
    let too_long = |_| OAuthError::invalid_request("device_name has more than 64 characters.");
    name::read(name.unwrap_or_default()).map_err(too_long)
}

fn answer(endpoints: &Endpoints, service: &Service, grant: GrantId, user_code: &UserCode) -> Answer {
    let installation = &endpoints.installation;
    let verification_uri = service.activation_uri.clone().unwrap_or_else(|| installation.public_url.join("/activate"));
    let verification_uri_complete = service.prefill.then(|| {
        let joint = if verification_uri.contains('?') { '&' } else { '?' };
        format!("{verification_uri}{joint}user_code={user_code}")
    });
    Answer {
        device_code: codes::device_code(&installation.keyring, grant, &service.client_id).expose().to_owned(),
        user_code: user_code.to_string(),
        verification_uri,
        verification_uri_complete,
        expires_in: service.code_lifetime.as_secs(),
        interval: service.poll_interval,
    }
}
