//! Step 4: the decision.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use url::Url;

use crate::audit;
use crate::device::codes;
use crate::device::store;
use crate::device::verification::Number;
use crate::directory::service::Proximity;
use crate::http::client_address::{Caller, same_network};
use crate::http::fields::Fields;
use crate::http::page_headers::FormMayEndAt;
use crate::pages::answer::{self, Form, PageError};
use crate::pages::message::Trouble;
use crate::pages::{Pages, words};
use crate::postgres::PgConnection;

use super::pages::{Confirm, Network, Outcome, RequestingDevice, ScopeChoice};
use super::walk::{Step, Walk};

const NOT_TICKED: &str = "Tick this box if the device is yours. If it isn't, choose Deny.";
const NO_DECISION: &str = "Choose Approve or Deny.";

/// Shows what is asked for, by what, and to act as whom.
pub async fn show(State(pages): State<Pages>, caller: Caller, headers: HeaderMap) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let walk = Walk::resume(&mut conn, &pages, &headers).await?.at(&pages, Step::Confirm)?;
    if is_too_far(&walk, &caller) {
        return too_far(&mut conn, &pages, &walk, &caller).await;
    }
    page(&pages, &caller, &walk, StatusCode::OK, &walk.grant.scopes, None)
}

/// Takes the decision: one, whatever comes at once.
pub async fn submit(
    State(pages): State<Pages>,
    caller: Caller,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, PageError> {
    let mut tx = pages.installation.pool.begin().await?;
    let walk = Walk::resume(&mut tx, &pages, &headers).await?.at(&pages, Step::Confirm)?;
    let fields = form.of(&pages, &walk.visitor, walk.about())?;
    let granted = granted_scopes(&walk, fields);
    let mine = fields.get("mine").is_some();
    let now = pages.installation.clock.now();
    let (grant, browser, user) = (walk.grant.id, walk.browser.id, walk.account()?.user.id);
    let decided = match fields.get("decision") {
        Some("deny") => {
            let denied = store::deny(&mut tx, grant, browser, Some(user), now).await?;
            denied.then(|| walk.event_by(&pages, audit::Kind::Denied, &caller))
        }
        Some("approve") if is_too_far(&walk, &caller) => {
            let refused = too_far(&mut tx, &pages, &walk, &caller).await;
            tx.commit().await?;
            return refused;
        }
        Some("approve") if !mine => {
            return page(&pages, &caller, &walk, StatusCode::BAD_REQUEST, &granted, Some(NOT_TICKED));
        }
        Some("approve") => {
            let number = Number::draw(&pages.installation.random);
            let approved = store::approve(&mut tx, grant, browser, user, &granted, number, now).await?;
            let detail = serde_json::json!({ "asked": walk.grant.scopes, "granted": granted });
            approved.map(|_| walk.event_by(&pages, audit::Kind::Approved, &caller).detail(detail))
        }
        _ => return page(&pages, &caller, &walk, StatusCode::BAD_REQUEST, &granted, Some(NO_DECISION)),
    };
    // Not decided here: another tab was faster, the time ran out, or the account may not any more. The walk knows.
    let Some(event) = decided else { return Ok(pages.lead_to("/activate/confirm")) };
    event.append(&mut tx).await?;
    let walk = Walk::of(&mut tx, &pages, walk.visitor).await?;
    tx.commit().await?;
    let Step::Done(outcome) = walk.step else {
        return Err(PageError::Fault("a decided grant is not done".into()));
    };
    Ok(match return_href(&walk, outcome) {
        // The number is on our page, whatever page comes after.
        Some(href) if !matches!(outcome, Outcome::Number(_)) => Redirect::to(&href).into_response(),
        _ => pages.lead_to(Step::Done(outcome).path()),
    })
}

/// Where an organization's own activation page is returned to.
pub fn return_href(walk: &Walk, outcome: Outcome) -> Option<String> {
    let mut url = own_page(walk)?;
    let status = match outcome {
        Outcome::Approved | Outcome::Number(_) => "success",
        Outcome::Denied | Outcome::WrongNumbers => "denied",
    };
    url.query_pairs_mut().append_pair("device_flow_status", status);
    Some(url.into())
}

fn own_page(walk: &Walk) -> Option<Url> {
    Url::parse(walk.service.activation_uri.as_deref()?).ok()
}

/// What was left ticked, with what can't be unticked, in the order in which it was asked.
fn granted_scopes(walk: &Walk, fields: &Fields) -> Vec<String> {
    let ticked = |scope: &str| fields.all("scope").any(|ticked| ticked == scope);
    let asked = walk.grant.scopes.iter();
    asked.filter(|scope| ticked(scope) || is_required(walk, scope)).cloned().collect()
}

fn is_required(walk: &Walk, scope: &str) -> bool {
    walk.service.required_scopes.iter().any(|required| required == scope)
}

/// Whether the service lets only those approve who are on the device's network, and this browser isn't.
fn is_too_far(walk: &Walk, caller: &Caller) -> bool {
    walk.service.proximity == Proximity::Block
        && (caller.may_be_proxy || !same_network(walk.grant.device.ip, caller.ip))
}

async fn too_far(conn: &mut PgConnection, pages: &Pages, walk: &Walk, caller: &Caller) -> Result<Response, PageError> {
    let because = serde_json::json!({ "because": "the approver is on another network than the device" });
    walk.event_by(pages, audit::Kind::Refused, caller).detail(because).append(conn).await?;
    Ok(walk.trouble(pages, StatusCode::FORBIDDEN, Trouble::OtherNetwork))
}

fn page(
    pages: &Pages,
    caller: &Caller,
    walk: &Walk,
    status: StatusCode,
    ticked: &[String],
    mine_error: Option<&str>,
) -> Result<Response, PageError> {
    let installation = &pages.installation;
    let (grant, device) = (&walk.grant, &walk.grant.device);
    let user_code =
        codes::redraw(&installation.keyring, grant.id, grant.user_code_length, grant.user_code_mac.as_deref())
            .ok_or_else(|| PageError::Fault("a user code can't be drawn again: was its secret taken away?".into()))?;
    let (program, address) = (words::program(device.user_agent.as_deref()), device.ip.to_string());
    let network = match walk.service.proximity {
        Proximity::Off => Network::Unknown,
        _ if caller.may_be_proxy => Network::Unknown,
        _ if same_network(device.ip, caller.ip) => Network::Same,
        _ => Network::Other,
    };
    let scopes = grant.scopes.iter().map(|scope| ScopeChoice {
        name: scope,
        label: walk.service.describe_scope(scope).unwrap_or(scope),
        required: is_required(walk, scope),
        checked: ticked.contains(scope),
    });
    let csrf_token = walk.csrf_token(pages);
    let page = Confirm {
        frame: walk.frame(pages, &csrf_token),
        user_code: &user_code.to_string(),
        device: RequestingDevice {
            claimed_name: device.name.as_deref(),
            program: &program,
            address: &address,
            asked: &words::how_long_ago(installation.clock.now() - grant.created_at),
            network,
        },
        scopes: scopes.collect(),
        resources: &grant.resources,
        mine: false,
        mine_error,
    };
    let mut response = answer::render(status, &page);
    if let Some(url) = own_page(walk) {
        response.extensions_mut().insert(FormMayEndAt(url.origin().ascii_serialization()));
    }
    Ok(response)
}
