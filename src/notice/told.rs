//! What is told: the facts as they were when it happened. They are kept with the notice, since names and addresses change.
//!
//! This is also the `data` of a webhook's message (docs/endpoints.md): a new member is fine, a changed one is not.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::device::grant::{self, Grant};
use crate::device::nearness::Nearness;
use crate::directory::service::Service;
use crate::directory::user::User;
use crate::geo::{Place, Places};
use crate::http::client_address::Caller;
use crate::ids::{GrantId, OrganizationId, SessionId, UserId};
use crate::words;

/// An approval.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Approval {
    /// Whose service it is.
    pub organization: Organization,
    /// What may act as the person.
    pub service: Client,
    /// Who approved.
    pub user: Person,
    /// The device login.
    pub grant: GrantId,
    /// When it was approved.
    pub approved_at: DateTime<Utc>,
    /// What was granted.
    pub scopes: Vec<Scope>,
    /// For which APIs (RFC 8707).
    pub resources: Vec<String>,
    /// How near the device was, as the audit says it.
    pub nearness: String,
    /// What asked.
    pub device: Device,
    /// The browser in which it was approved.
    pub approver: Browser,
}

/// A report that an approval wasn't the person's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Whose service it is.
    pub organization: Organization,
    /// What acted as the person.
    pub service: Client,
    /// Whose account it is.
    pub user: Person,
    /// The device login.
    pub grant: GrantId,
    /// When it had been approved.
    pub approved_at: DateTime<Utc>,
    /// When it was reported.
    pub reported_at: DateTime<Utc>,
    /// What asked.
    pub device: Device,
    /// The browser in which it was reported.
    pub reporter: Browser,
    /// What was ended.
    pub ended: Ended,
}

/// An invitation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Invitation {
    /// Where somebody is invited to.
    pub organization: Organization,
    /// Who is invited.
    pub user: UserId,
    /// What they may administer: `member`, `admin` or `owner`.
    pub role: String,
    /// Whether who invites gave them a first password.
    pub with_password: bool,
    /// Who invites.
    pub by: Person,
}

/// An organization.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Organization {
    /// Its id.
    pub id: OrganizationId,
    /// Its slug.
    pub slug: String,
    /// Its name to people.
    pub name: String,
}

/// A service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Client {
    /// Its slug.
    pub slug: String,
    /// Its name in OAuth requests.
    pub client_id: String,
    /// Its name to people.
    pub name: String,
}

/// A person.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Person {
    /// `sub` of every token.
    pub id: UserId,
    /// Their address, if one is known.
    pub email: Option<String>,
    /// As they are called; may be empty.
    pub name: String,
}

/// A scope and what it means.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scope {
    /// As tokens have it.
    pub name: String,
    /// As the person read it.
    pub description: String,
}

/// A device. Name and user agent are what it says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Device {
    /// Its name.
    pub name: Option<String>,
    /// Its program.
    pub user_agent: Option<String>,
    /// Where it asked from.
    pub ip: IpAddr,
    /// Where that is, in words, as far as it is known.
    pub place: Option<String>,
}

/// A person's browser.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Browser {
    /// What it says that it is.
    pub user_agent: Option<String>,
    /// Its address; `None` where a proxy hides it.
    pub ip: Option<IpAddr>,
    /// Where that is, in words, as far as it is known.
    pub place: Option<String>,
}

/// What a report ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The session that the approval became; `None` if there was none, or it had ended.
    pub session: Option<SessionId>,
    /// How many codes and approvals were denied.
    pub codes: usize,
    /// In how many browsers the person was signed out.
    pub browsers: usize,
}

impl Approval {
    /// What there is to tell of a grant that `user` approves now.
    #[must_use]
    pub fn of(
        (grant, service, user): (&Grant, &Service, &User),
        (granted, nearness): (&[String], Nearness),
        caller: &Caller,
        places: &Places,
        now: DateTime<Utc>,
    ) -> Self {
        let scope = |name: &String| Scope {
            name: name.clone(),
            description: service.describe_scope(name).unwrap_or(name).to_owned(),
        };
        Self {
            organization: Organization {
                id: service.organization_id,
                slug: service.organization_slug.clone(),
                name: service.organization_name.clone(),
            },
            service: Client {
                slug: service.slug.clone(),
                client_id: service.client_id.clone(),
                name: service.name.clone(),
            },
            user: Person { id: user.id, email: user.email.clone(), name: user.name.clone() },
            grant: grant.id,
            approved_at: now,
            scopes: granted.iter().map(scope).collect(),
            resources: grant.resources.clone(),
            nearness: nearness.as_str().to_owned(),
            device: Device::of(&grant.device, places),
            approver: Browser::of(caller, places),
        }
    }
}

impl Device {
    /// What there is to tell of a device.
    #[must_use]
    pub fn of(device: &grant::Device, places: &Places) -> Self {
        Self {
            name: device.name.clone(),
            user_agent: device.user_agent.clone(),
            ip: device.ip,
            place: place(places, device.ip),
        }
    }
}

impl Browser {
    /// What there is to tell of whoever sent a request.
    #[must_use]
    pub fn of(caller: &Caller, places: &Places) -> Self {
        let ip = (!caller.may_be_proxy).then_some(caller.ip);
        Self { user_agent: caller.user_agent.clone(), ip, place: ip.and_then(|ip| place(places, ip)) }
    }
}

/// Where an address is, in words; `None` where nobody knows.
fn place(places: &Places, ip: IpAddr) -> Option<String> {
    places.of(ip).filter(|place| !matches!(place, Place::Unknown)).map(|place| words::place(&place))
}

/// As it is kept.
pub(super) fn as_json(told: &impl Serialize) -> Result<serde_json::Value, sqlx::Error> {
    serde_json::to_value(told).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}
