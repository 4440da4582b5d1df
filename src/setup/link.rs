//! The setup link: a token that only this installation's start prints, and that its database keeps a hash of.

use chrono::TimeDelta;
use serde_json::json;

use crate::audit::{Event, Kind};
use crate::ids::{OrganizationId, SetupLinkId};
use crate::installation::Installation;
use crate::postgres::PgConnection;
use crate::secrets::{Purpose, SecretText, base64url, from_base64url};

/// Where it leads, beneath the public URL. The token is in the query: Countersign logs paths and no queries.
pub const PATH: &str = "/setup";

/// What its token begins with, so that a secret scanner knows one.
const PREFIX: &str = "csu_";

/// How long a link is good.
pub const LIFE: TimeDelta = TimeDelta::minutes(30);

/// What a token is to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Somebody may become the first owner by it.
    Good(Good),
    /// There is an owner.
    Owned,
    /// Its half hour is over.
    Expired,
    /// A later start of a server printed another.
    Replaced,
    /// It is none: mistyped, cut off, made up.
    Unknown,
}

/// A link by which somebody may become the first owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Good {
    /// Its id.
    pub id: SetupLinkId,
    /// The organization `platform`.
    pub platform: OrganizationId,
}

/// Makes a new link, which ends those before; `None`: there is an owner, and nobody needs one.
pub async fn issue(installation: &Installation) -> Result<Option<SecretText>, sqlx::Error> {
    let (now, random) = (installation.clock.now(), &installation.random);
    let token = SecretText::from(format!("{PREFIX}{}", base64url(&random.bytes::<32>())));
    let until = now + LIFE;
    let mut tx = installation.pool.begin().await?;
    let platform = sqlx::query_scalar!(
        "SELECT print_setup_link($1, $2, $3, $4)",
        SetupLinkId::new(now, &random.bytes()).0,
        &installation.keyring.mac(Purpose::SetupLink, &[token.expose().as_bytes()]),
        now,
        until,
    );
    let Some(platform) = platform.fetch_one(&mut *tx).await? else { return Ok(None) };
    Event::new(Kind::Administered, &installation.clock, random)
        .of(OrganizationId(platform))
        .detail(json!({ "setup_link": "printed", "until": until }))
        .append(&mut tx)
        .await?;
    tx.commit().await?;
    let url = installation.public_url.join(&format!("{PATH}?token={}", token.expose()));
    Ok(Some(SecretText::from(url)))
}

/// Whether a text could be a token: whoever sends anything else guesses nothing.
#[must_use]
pub fn could_be_one(token: &str) -> bool {
    let drawn = token.strip_prefix(PREFIX).and_then(from_base64url);
    drawn.is_some_and(|bytes| bytes.len() == 32)
}

/// Looks a token up. It uses nothing up.
pub async fn find(conn: &mut PgConnection, installation: &Installation, token: &str) -> Result<Link, sqlx::Error> {
    let macs = installation.keyring.macs(Purpose::SetupLink, &[token.as_bytes()]);
    let row = sqlx::query!(
        r#"SELECT l.id, l.expires_at, l.replaced_at, l.used_at, o.id AS platform, platform_has_owner() AS "owned!"
           FROM setup_link l JOIN organization o ON o.slug = 'platform' WHERE l.token_mac = ANY($1)"#,
        &macs,
    );
    let Some(row) = row.fetch_optional(conn).await? else { return Ok(Link::Unknown) };
    Ok(if row.owned || row.used_at.is_some() {
        Link::Owned
    } else if row.replaced_at.is_some() {
        Link::Replaced
    } else if row.expires_at <= installation.clock.now() {
        Link::Expired
    } else {
        Link::Good(Good { id: row.id.into(), platform: row.platform.into() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_drawn_could_be_a_token() {
        let token = format!("{PREFIX}{}", base64url(&[7; 32]));
        assert!(could_be_one(&token));
        let short = format!("{PREFIX}{}", base64url(&[7; 31]));
        for other in
            ["", PREFIX, token.trim_start_matches('c'), &short, &format!("{token}A"), &token.replace("csu_", "csn_")]
        {
            assert!(!could_be_one(other), "{other}");
        }
    }
}
