//! Step 4: the decision.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use sqlx::Connection as _;
use url::Url;

use crate::audit;
use crate::browser::csrf;
use crate::device::nearness::Nearness;
use crate::device::store::{self, Consent};
use crate::device::verification::Number;
use crate::device::{codes, phishing};
use crate::http::client_address::Caller;
use crate::http::fields::Fields;
use crate::http::page_headers::FormMayEndAt;
use crate::notice::told::Approval;
use crate::pages::answer::{self, Form, PageError};
use crate::pages::message::{Distance, Trouble};
use crate::pages::{Pages, words};
use crate::postgres::PgConnection;

use super::circumstances::Circumstances;
use super::pages::{Confirm, Outcome, RequestingDevice, ScopeChoice};
use super::walk::{self, Step, Walk};

const NOT_TICKED: &str = "Tick this box if the device is yours. If it isn't, choose Deny.";
const NO_DECISION: &str = "Choose Approve or Deny.";
const LOOK_AGAIN: &str = "There is a new warning on this page. Read it, then decide again.";
const CHANGED: &str = "What is asked for here was changed at this moment. Look at it again, then decide.";

/// Shows what is asked for, by what, and to act as whom.
pub async fn show(State(pages): State<Pages>, caller: Caller, headers: HeaderMap) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let walk = Walk::resume(&mut conn, &pages, &headers).await?.at(&pages, Step::Confirm)?;
    let at = Circumstances::of(&mut conn, &pages, &walk, &caller).await?;
    if let Some(distance) = at.refusal() {
        return too_far(&mut conn, &pages, &walk, &caller, (distance, &at)).await;
    }
    note_suspicion(&mut conn, &pages, &walk, &caller, &at).await?;
    page(&pages, &walk, &at, StatusCode::OK, &walk.grant.scopes, None)
}

/// Takes the decision: one, whatever comes at once.
pub async fn submit(
    State(pages): State<Pages>,
    caller: Caller,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, PageError> {
    let mut tx = pages.installation.pool.begin().await?;
    let walk = decidable(Walk::resume(&mut tx, &pages, &headers).await?, &pages, &form)?;
    let fields = form.of(&pages, &walk.visitor, walk.about())?;
    let (grant, browser, user) = (walk.grant.id, walk.browser.id, walk.account()?.user.id);
    let now = pages.installation.clock.now();
    let decided = if fields.get("decision") == Some("deny") {
        let denied = store::deny(&mut tx, grant, browser, Some(user), now).await?;
        denied.then(|| (Some(Outcome::Denied), walk.event_by(&pages, audit::Kind::Denied, &caller)))
    } else {
        let at = Circumstances::of(&mut tx, &pages, &walk, &caller).await?;
        if let Some(answer) = objection(&mut tx, &pages, &walk, &caller, (&at, fields)).await? {
            tx.commit().await?;
            return Ok(answer);
        }
        let granted = granted_scopes(&walk, fields);
        let number = Number::draw(&pages.installation.random);
        let consent =
            Consent { scopes: &granted, nearness: at.nearness, number, service_version: &walk.service.version };
        let approved = store::approve(&mut tx, grant, browser, user, &consent, now).await?;
        if approved.is_some() {
            tell(&mut tx, &pages, &walk, &caller, (&granted, at.nearness)).await?;
        } else {
            pages.services.compare(&mut tx, &walk.service).await?;
        }
        let detail = serde_json::json!({
            "asked": walk.grant.scopes, "granted": granted, "nearness": at.nearness.as_str(),
        });
        let event = walk.event_by(&pages, audit::Kind::Approved, &caller).detail(detail);
        approved.map(|grant| (walk::outcome(&grant.state), event))
    };
    // Not decided here: another tab was faster, the time ran out, or the account may not any more. The walk knows.
    let Some((outcome, event)) = decided else { return Ok(pages.lead_to("/activate/confirm")) };
    let outcome = outcome.ok_or_else(|| PageError::Fault("a decided grant is not decided".into()))?;
    event.append(&mut tx).await?;
    tx.commit().await?;
    // Other nodes hear of it; this one may be asked before it would.
    pages.waiting.decided(grant);
    pages.notices.wake();
    Ok(match return_href(&walk, outcome) {
        // The number is on our page, whatever page comes after.
        Some(href) if !matches!(outcome, Outcome::Number(_)) => Redirect::to(&href).into_response(),
        _ => pages.lead_to(Step::Done(outcome).path()),
    })
}

/// Lets on who may decide; others are led to what is missing. To say no, nothing has to be proven again: a sign-in that
/// grew too old in front of the page is good enough for that.
fn decidable(walk: Walk, pages: &Pages, form: &Form) -> Result<Walk, PageError> {
    let denies =
        || form.of(pages, &walk.visitor, walk.about()).is_ok_and(|fields| fields.get("decision") == Some("deny"));
    if walk.account.is_some() && matches!(walk.step, Step::SignIn | Step::Mfa) && denies() {
        return Ok(walk);
    }
    walk.at(pages, Step::Confirm)
}

/// Puts what is told of this approval into the outbox.
async fn tell(
    conn: &mut PgConnection,
    pages: &Pages,
    walk: &Walk,
    caller: &Caller,
    consent: (&[String], Nearness),
) -> Result<(), PageError> {
    let (person, now) = (&walk.account()?.user, pages.installation.clock.now());
    let approval = Approval::of((&walk.grant, &walk.service, person), consent, caller, &pages.places, now);
    let email = person.email.as_deref().filter(|_| person.email_verified);
    Ok(pages.notices.approved(conn, &pages.installation, &approval, email).await?)
}

/// What stands against an approval: where it comes from, a warning that the page did not have yet, or a form that was not
/// filled in. `None`: nothing.
async fn objection(
    conn: &mut PgConnection,
    pages: &Pages,
    walk: &Walk,
    caller: &Caller,
    (at, fields): (&Circumstances, &Fields),
) -> Result<Option<Response>, PageError> {
    if let Some(distance) = at.refusal() {
        return Ok(Some(too_far(conn, pages, walk, caller, (distance, at)).await?));
    }
    note_suspicion(conn, pages, walk, caller, at).await?;
    let shown = fields.get("csrf_token").and_then(csrf::shown).and_then(Shown::read);
    let (status, error) = if at.suspicion.is_some() && !shown.is_some_and(|shown| shown.warned) {
        (StatusCode::CONFLICT, LOOK_AGAIN)
    } else if shown.is_none_or(|shown| shown.version != walk.service.version) {
        (StatusCode::CONFLICT, CHANGED)
    } else if fields.get("decision") != Some("approve") {
        (StatusCode::BAD_REQUEST, NO_DECISION)
    } else if fields.get("mine").is_none() {
        (StatusCode::BAD_REQUEST, NOT_TICKED)
    } else {
        return Ok(None);
    };
    page(pages, walk, at, status, &granted_scopes(walk, fields), Some(error)).map(Some)
}

/// What stood on the page when its form was made, as far as it may not have changed by an approval: nobody approves what they
/// didn't see. The device and its network are the grant's, and the form is about that.
#[derive(Clone, Copy)]
struct Shown<'a> {
    /// The service with its scopes, of [`Service::version`](crate::directory::service::Service::version).
    version: &'a str,
    /// Whether it warned of phishing.
    warned: bool,
}

impl<'a> Shown<'a> {
    fn of(walk: &'a Walk, at: &Circumstances) -> Self {
        Self { version: &walk.service.version, warned: at.suspicion.is_some() }
    }

    fn read(text: &'a str) -> Option<Self> {
        let (warned, version) = text.split_once('-')?;
        Some(Self { version, warned: warned == "warned" })
    }

    fn written(self) -> String {
        format!("{}-{}", if self.warned { "warned" } else { "calm" }, self.version)
    }
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
    let offered = offered_scopes(walk);
    offered.filter(|(scope, _)| ticked(scope) || is_required(walk, scope)).map(|(scope, _)| scope.clone()).collect()
}

/// What was asked and is still to be had, in words. A scope that the service was deprived of since then is nobody's to give.
fn offered_scopes(walk: &Walk) -> impl Iterator<Item = (&String, &str)> {
    walk.grant.scopes.iter().filter_map(|scope| Some((scope, walk.service.describe_scope(scope)?)))
}

fn is_required(walk: &Walk, scope: &str) -> bool {
    walk.service.required_scopes.iter().any(|required| required == scope)
}

async fn too_far(
    conn: &mut PgConnection,
    pages: &Pages,
    walk: &Walk,
    caller: &Caller,
    (distance, at): (Distance, &Circumstances),
) -> Result<Response, PageError> {
    let (device, you) = (walk.grant.device.ip.to_string(), caller.ip.to_string());
    let because = serde_json::json!({
        "because": "the approver is not known to be on the device's network",
        "nearness": at.nearness.as_str(),
        "device_ip": device,
    });
    walk.event_by(pages, audit::Kind::Refused, caller).detail(because).append(conn).await?;
    Ok(walk.trouble(pages, StatusCode::FORBIDDEN, Trouble::TooFar { distance, device: &device, you: &you }))
}

/// Notes that the person is being warned of phishing: once.
async fn note_suspicion(
    conn: &mut PgConnection,
    pages: &Pages,
    walk: &Walk,
    caller: &Caller,
    at: &Circumstances,
) -> Result<(), PageError> {
    let Some(suspicion) = at.suspicion else { return Ok(()) };
    let grant = &walk.grant;
    let mut tx = conn.begin().await?;
    if !phishing::note(&mut tx, grant.id, pages.installation.clock.now()).await? {
        return Ok(());
    }
    let (people, within) = (suspicion.people, suspicion.within.as_secs());
    let detail = serde_json::json!({ "people": people, "within_seconds": within, "device_ip": grant.device.ip });
    walk.event_by(pages, audit::Kind::SuspectedPhishing, caller).detail(detail).append(&mut tx).await?;
    tx.commit().await?;
    tracing::warn!(
        event = audit::Kind::SuspectedPhishing.as_str(),
        grant = %grant.id,
        client_id = walk.service.client_id,
        people,
        "many people elsewhere approve devices of one address",
    );
    Ok(())
}

fn page(
    pages: &Pages,
    walk: &Walk,
    at: &Circumstances,
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
    let scopes = offered_scopes(walk).map(|(scope, label)| ScopeChoice {
        name: scope,
        label,
        required: is_required(walk, scope),
        checked: ticked.contains(scope),
    });
    let (csrf_token, told) = (walk.csrf_token_of(pages, &Shown::of(walk, at).written()), at.told());
    let page = Confirm {
        frame: walk.frame(pages, &csrf_token),
        user_code: &user_code.to_string(),
        device: RequestingDevice {
            claimed_name: device.name.as_deref(),
            program: &program,
            address: &address,
            asked: &words::how_long_ago(installation.clock.now() - grant.created_at),
            network: at.network(),
            place: told.place.as_deref(),
        },
        warnings: at.warnings(&told),
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
