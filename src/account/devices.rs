//! The devices that act as the person: the list, and one of them under its name.

use std::collections::HashMap;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use uuid::Uuid;

use crate::audit;
use crate::device::name::{self, TooLong};
use crate::directory::service::{self, Service};
use crate::http::client_address::Caller;
use crate::ids::{ServiceId, SessionId};
use crate::pages::answer::{self, Form, PageError};
use crate::pages::message::Trouble;
use crate::pages::{Pages, words};
use crate::postgres::PgConnection;
use crate::session::devices::{self, Device};

use super::pages::{self as shown, DevicePage, Devices, Notice};
use super::visit::{Arrival, Visit, nowhere};

const NO_NAME: &str = "Enter a name, so that you know the device again.";
const TOO_LONG: &str = "A name has at most 64 characters.";

/// What the pages read of their address. Other parameters are ignored.
#[derive(Deserialize)]
pub struct Parameters {
    done: Option<String>,
}

/// What has just been done, if the address says so.
pub fn notice(parameters: Result<Query<Parameters>, QueryRejection>) -> Option<Notice> {
    Notice::read(&parameters.ok()?.0.done?)
}

/// Shows the list.
pub async fn list(
    Arrival { pages, caller, guest }: Arrival,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let visit = guest.at_home(&mut conn, &pages).await?;
    let now = pages.installation.clock.now();
    let found = devices::of_user(&mut conn, visit.account()?.user.id, now).await?;
    let services = services_of(&mut conn, &found).await?;
    let lines = found.iter().filter_map(|device| {
        let service = services.get(&device.service_id)?;
        Some(describe(device, service, &caller, &pages))
    });
    let csrf_token = visit.csrf_token(&pages, visit.about());
    let page =
        Devices { frame: visit.frame(&pages, &csrf_token), devices: lines.collect(), notice: notice(parameters) };
    Ok(answer::render(StatusCode::OK, &page))
}

/// Shows one device.
pub async fn show(
    Arrival { pages, caller, guest }: Arrival,
    Path((_, device)): Path<(String, String)>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let visit = guest.at_home(&mut conn, &pages).await?;
    let found = find(&mut conn, &pages, &visit, &device).await?;
    Ok(page(&pages, &caller, &visit, &found, &found.0.name, None, notice(parameters)))
}

/// Gives a device another name.
pub async fn rename(
    Arrival { pages, caller, guest }: Arrival,
    Path((_, device)): Path<(String, String)>,
    form: Form,
) -> Result<Response, PageError> {
    let mut tx = pages.installation.pool.begin().await?;
    let visit = guest.at_home(&mut tx, &pages).await?;
    let found = find(&mut tx, &pages, &visit, &device).await?;
    let (device, service) = (&found.0, &found.1);
    let fields = form.of(&pages, &visit.visitor, visit.about_device(device.id))?;
    let typed = fields.get("name").unwrap_or_default();
    let name = match name::read(typed).map_err(|TooLong| TOO_LONG).and_then(|name| name.ok_or(NO_NAME)) {
        Ok(name) => name,
        Err(error) => return Ok(page(&pages, &caller, &visit, &found, typed, Some(error), None)),
    };
    let user = visit.account()?.user.id;
    if name != device.name && devices::rename(&mut tx, user, device.id, &name).await? {
        visit
            .event(&pages, audit::Kind::Administered, &caller)
            .service(service.id)
            .session(device.id)
            .detail(serde_json::json!({ "changed": "device name", "from": device.name, "to": name }))
            .append(&mut tx)
            .await?;
    }
    tx.commit().await?;
    Ok(visit.lead_to(&pages, &format!("/devices/{}?done={}", device.id, Notice::Renamed.as_str())))
}

/// The device with this id, if it is the person's and acts for them.
pub async fn find(
    conn: &mut PgConnection,
    pages: &Pages,
    visit: &Visit,
    id: &str,
) -> Result<(Device, Service), PageError> {
    let missing = || PageError::from(visit.trouble(pages, StatusCode::NOT_FOUND, Trouble::NotFound));
    let id = Uuid::parse_str(id).map(SessionId).map_err(|_| missing())?;
    let now = pages.installation.clock.now();
    let device = devices::one(conn, visit.account()?.user.id, id, now).await?.ok_or_else(missing)?;
    let service = service::by_id(conn, device.service_id).await?.ok_or_else(nowhere)?;
    Ok((device, service))
}

/// The services that some devices belong to.
pub async fn services_of(
    conn: &mut PgConnection,
    devices: &[Device],
) -> Result<HashMap<ServiceId, Service>, sqlx::Error> {
    let mut services = HashMap::new();
    for device in devices {
        if services.contains_key(&device.service_id) {
            continue;
        }
        if let Some(service) = service::by_id(conn, device.service_id).await? {
            services.insert(device.service_id, service);
        }
    }
    Ok(services)
}

/// A device in words.
pub fn describe(device: &Device, service: &Service, caller: &Caller, pages: &Pages) -> shown::Device {
    let now = pages.installation.clock.now();
    let in_words = |scope: &String| service.describe_scope(scope).unwrap_or(scope).to_owned();
    shown::Device {
        id: device.id.to_string(),
        name: device.name.clone(),
        service: service.name.clone(),
        program: words::program(device.user_agent.as_deref()),
        scopes: device.scopes.iter().map(in_words).collect(),
        first_seen: words::date(device.first_seen_at),
        first_address: device.first_ip.to_string(),
        last_seen: words::how_long_ago(now - device.last_seen_at),
        last_address: device.last_ip.to_string(),
        here: device.last_ip == caller.ip,
    }
}

fn page(
    pages: &Pages,
    caller: &Caller,
    visit: &Visit,
    (device, service): &(Device, Service),
    typed: &str,
    error: Option<&str>,
    notice: Option<Notice>,
) -> Response {
    let sign_out_token = visit.csrf_token(pages, visit.about());
    let device_token = visit.csrf_token(pages, visit.about_device(device.id));
    let page = DevicePage {
        frame: visit.frame(pages, &sign_out_token),
        device: describe(device, service, caller, pages),
        device_token: &device_token,
        typed,
        error,
        notice,
    };
    let status = if error.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    answer::render(status, &page)
}
