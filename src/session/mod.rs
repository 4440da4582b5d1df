//! Signed-in devices: what a redeemed grant becomes, and the tokens that it is given.

pub mod access_token;
pub mod devices;
pub mod listed;
pub mod over;
pub mod refresh_token;
pub mod signing_keys;
pub mod store;
pub mod tokens;

use chrono::{DateTime, Utc};
use std::net::IpAddr;

use crate::ids::{GrantId, OrganizationId, ServiceId, SessionId, UserId};

/// A signed-in device.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its id: `sid` of its tokens.
    pub id: SessionId,
    /// Whose.
    pub organization_id: OrganizationId,
    /// What acts as the person.
    pub service_id: ServiceId,
    /// As whom it acts.
    pub user_id: UserId,
    /// What it was.
    pub grant_id: GrantId,
    /// What it may do.
    pub scopes: Vec<String>,
    /// RFC 8707.
    pub resources: Vec<String>,
    /// RFC 9449.
    pub dpop_jkt: Option<String>,
    /// When the person signed in.
    pub auth_time: DateTime<Utc>,
    /// How (RFC 8176).
    pub amr: Vec<String>,
    /// What the person's list of devices calls it.
    pub name: String,
    /// What its program calls itself.
    pub user_agent: Option<String>,
    /// Where it was.
    pub ip: IpAddr,
    /// Which refresh token is the current one.
    pub generation: i32,
    /// When it ends if it isn't used.
    pub idle_expires_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}
