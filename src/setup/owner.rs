//! An owner of `platform`, whole: account, password, authenticator and recovery codes come in one transaction, or nothing does.
//!
//! The database decides who is first (`make_owner` in the migrations): of however many that come at once, one is.

use serde_json::json;
use zeroize::Zeroizing;

use crate::audit::{Event, Kind};
use crate::http::client_address::Caller;
use crate::ids::{OrganizationId, ProviderId, SetupLinkId, UserId};
use crate::installation::Installation;
use crate::mfa::recovery::NewCodes;
use crate::mfa::totp::{self, TotpError};
use crate::postgres::PgConnection;
use crate::secrets::SecretText;

/// Somebody who is to become an owner.
pub struct NewOwner {
    /// Their id, drawn before they are stored.
    pub id: UserId,
    /// Their e-mail address, in lower case.
    pub email: String,
    /// As they are called; may be empty.
    pub name: String,
    /// argon2id, PHC form.
    pub password_hash: String,
    /// What their authenticator holds.
    pub secret: Zeroizing<Vec<u8>>,
    /// The time step of its code that they proved, which is spent; 0: none.
    pub step: i64,
}

/// By which way somebody becomes an owner.
#[derive(Clone, Copy, Debug)]
pub enum Way<'a> {
    /// By the link that the server printed, from there.
    Link(SetupLinkId, &'a Caller),
    /// By `countersign setup`.
    Command {
        /// Whether it doesn't matter that there are others.
        another: bool,
    },
}

/// What came of it.
pub enum Made {
    /// They are an owner, and these are their recovery codes: shown once, for only their hashes are kept.
    Owner(Vec<SecretText>),
    /// There was an owner already.
    Owned,
    /// The link is used, replaced or expired.
    Ended,
    /// Somebody of `platform` has this address.
    Taken,
}

/// The organization that administers the installation.
pub async fn platform(conn: &mut PgConnection) -> Result<OrganizationId, sqlx::Error> {
    let id = sqlx::query_scalar!("SELECT id FROM organization WHERE slug = 'platform'").fetch_one(conn).await?;
    Ok(id.into())
}

/// Makes somebody an owner, if the way is still open to them.
pub async fn make(
    installation: &Installation,
    owner: &NewOwner,
    codes: NewCodes,
    way: Way<'_>,
) -> Result<Made, TotpError> {
    let (now, random) = (installation.clock.now(), &installation.random);
    let (link, another) = match way {
        Way::Link(link, _) => (Some(link.0), false),
        Way::Command { another } => (None, another),
    };
    let mut tx = installation.pool.begin().await?;
    let outcome = sqlx::query_scalar!(
        r#"SELECT make_owner($1, $2, $3, $4, $5, $6, $7, $8) AS "outcome!""#,
        owner.id.0,
        owner.email,
        owner.name,
        owner.password_hash,
        ProviderId::new(now, &random.bytes()).0,
        now,
        link,
        another,
    );
    match outcome.fetch_one(&mut *tx).await?.as_str() {
        "made" => {}
        "owned" => return Ok(Made::Owned),
        "taken" => return Ok(Made::Taken),
        _ => return Ok(Made::Ended),
    }
    totp::set_factor(&mut tx, &installation.keyring, owner.id, &owner.secret, owner.step, now).await?;
    let codes = codes.give(&mut tx, owner.id).await?;
    let platform = platform(&mut tx).await?;
    let event = |kind| {
        let event = Event::new(kind, &installation.clock, random).of(platform).user(owner.id);
        match way {
            Way::Link(_, caller) => event.caller(caller),
            Way::Command { .. } => event,
        }
    };
    let by = if link.is_some() { "setup link" } else { "countersign setup" };
    event(Kind::OwnerMade).detail(json!({ "by": by })).append(&mut tx).await?;
    event(Kind::Enrolled).detail(json!({ "method": "totp", "at": "setup" })).append(&mut tx).await?;
    tx.commit().await?;
    Ok(Made::Owner(codes))
}
