//! Ending devices: one, or all others. Each is asked once more on a page of its own; nothing is ended by GET.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use crate::audit;
use crate::http::client_address::Caller;
use crate::pages::Pages;
use crate::pages::answer::{self, Form, PageError};
use crate::postgres::PgConnection;
use crate::session::devices::{self as sessions, Which};

use super::devices::{describe, find, services_of};
use super::pages::{End, EndOthers, Notice};
use super::visit::{Arrival, Visit};

/// What a device's next refresh says: "This device was signed out: …".
const BECAUSE: &str = "it was ended in the account's list of devices";

/// The value of `keep` for none.
const NONE: &str = "none";

/// What the page reads of its address. Other parameters are ignored.
#[derive(Deserialize)]
pub struct Parameters {
    keep: Option<String>,
}

/// Asks whether to end this device.
pub async fn show(
    Arrival { pages, caller, guest }: Arrival,
    Path((_, device)): Path<(String, String)>,
) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let visit = guest.at_home(&mut conn, &pages).await?;
    let (device, service) = find(&mut conn, &pages, &visit, &device).await?;
    let sign_out_token = visit.csrf_token(&pages, visit.about());
    let device_token = visit.csrf_token(&pages, visit.about_device(device.id));
    let page = End {
        frame: visit.frame(&pages, &sign_out_token),
        device: describe(&device, &service, &caller, &pages),
        device_token: &device_token,
        minutes: service.access_token_lifetime.as_secs().div_ceil(60),
    };
    Ok(answer::render(StatusCode::OK, &page))
}

/// Ends this device.
pub async fn submit(
    Arrival { pages, caller, guest }: Arrival,
    Path((_, device)): Path<(String, String)>,
    form: Form,
) -> Result<Response, PageError> {
    let mut tx = pages.installation.pool.begin().await?;
    let visit = guest.at_home(&mut tx, &pages).await?;
    let (device, _) = find(&mut tx, &pages, &visit, &device).await?;
    form.of(&pages, &visit.visitor, visit.about_device(device.id))?;
    end(&mut tx, &pages, &caller, &visit, Which::One(device.id)).await?;
    tx.commit().await?;
    Ok(visit.lead_to(&pages, &format!("?done={}", Notice::Ended.as_str())))
}

/// Asks which device to keep.
pub async fn show_others(
    Arrival { pages, caller, guest }: Arrival,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let visit = guest.at_home(&mut conn, &pages).await?;
    let keep = parameters.ok().and_then(|Query(parameters)| parameters.keep);
    page_of_others(&mut conn, &pages, &caller, &visit, keep.as_deref(), None).await
}

/// Ends all others.
pub async fn submit_others(Arrival { pages, caller, guest }: Arrival, form: Form) -> Result<Response, PageError> {
    let mut tx = pages.installation.pool.begin().await?;
    let visit = guest.at_home(&mut tx, &pages).await?;
    let fields = form.of(&pages, &visit.visitor, visit.about())?;
    let which = match fields.get("keep") {
        Some(NONE) => Which::All,
        Some(keep) => Which::AllBut(find(&mut tx, &pages, &visit, keep).await?.0.id),
        None => {
            let error = Some("Choose which device stays signed in.");
            return page_of_others(&mut tx, &pages, &caller, &visit, None, error).await;
        }
    };
    end(&mut tx, &pages, &caller, &visit, which).await?;
    tx.commit().await?;
    let notice = if which == Which::All { Notice::AllEnded } else { Notice::OthersEnded };
    Ok(visit.lead_to(&pages, &format!("?done={}", notice.as_str())))
}

async fn page_of_others(
    conn: &mut PgConnection,
    pages: &Pages,
    caller: &Caller,
    visit: &Visit,
    keep: Option<&str>,
    error: Option<&str>,
) -> Result<Response, PageError> {
    let found = sessions::of_user(conn, visit.account()?.user.id, pages.installation.clock.now()).await?;
    let services = services_of(conn, &found).await?;
    let choices = found.iter().filter_map(|device| {
        let service = services.get(&device.service_id)?;
        Some(describe(device, service, caller, pages))
    });
    let longest = services.values().map(|service| service.access_token_lifetime.as_secs().div_ceil(60)).max();
    let csrf_token = visit.csrf_token(pages, visit.about());
    let page = EndOthers {
        frame: visit.frame(pages, &csrf_token),
        devices: choices.collect(),
        keep: keep.unwrap_or_default(),
        minutes: longest.unwrap_or_default(),
        error,
    };
    let status = if error.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    Ok(answer::render(status, &page))
}

/// Ends sessions and says so in the audit, one event each.
async fn end(
    conn: &mut PgConnection,
    pages: &Pages,
    caller: &Caller,
    visit: &Visit,
    which: Which,
) -> Result<(), PageError> {
    let (user, now) = (visit.account()?.user.id, pages.installation.clock.now());
    for ended in sessions::end(conn, user, which, BECAUSE, now).await? {
        visit
            .event(pages, audit::Kind::Revoked, caller)
            .service(ended.service_id)
            .grant(ended.grant_id)
            .session(ended.id)
            .detail(serde_json::json!({ "by": "the person", "at": "account" }))
            .append(conn)
            .await?;
    }
    Ok(())
}
