//! The way to a provider and back: `state`, nonce and PKCE verifier.
//!
//! Only the state is drawn. Nonce and verifier are MACs of it under keys of the installation, and the database holds a
//! third one: it knows neither of the three, and a state from elsewhere leads to nothing. When the installation's
//! secret is rotated while somebody is on the way, the key that made the state's MAC also made the other two.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::directory::provider::Provider;
use crate::ids::{BrowserSessionId, GrantId, OrganizationId, ProviderId, UpstreamSignInId};
use crate::installation::Installation;
use crate::postgres::PgConnection;
use crate::secrets::{Keyring, Purpose, SecretText, base64url};

/// How long the person may take at the provider.
const LIFETIME: TimeDelta = TimeDelta::minutes(10);

/// How far a provider's clock may be behind ours for a sign-in to count as one of this round trip. It says whole seconds.
const LEEWAY: TimeDelta = TimeDelta::seconds(60);

/// The values that travel to a provider and back. `Debug` shows none of them.
#[derive(Clone, Debug)]
pub struct RoundTrip {
    state: SecretText,
    nonce: SecretText,
    pkce_verifier: SecretText,
    pub(super) wanted: Wanted,
}

/// How fresh the sign-in over there is to be (OpenID Connect Core §3.1.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `max_age`: how old it may be.
    pub max_age: Option<Duration>,
    /// `prompt=login`: whether the person is to sign in although they are.
    pub login: bool,
}

/// A round trip that came back.
#[derive(Clone, Debug)]
pub struct Finished {
    /// What [`super::Upstream::identity`] needs to verify the answer.
    pub round_trip: RoundTrip,
    /// The provider that the browser had left for.
    pub provider_id: ProviderId,
    /// The device grant that it was about.
    pub grant_id: Option<GrantId>,
    started_at: DateTime<Utc>,
}

impl Finished {
    /// When the person proved who they are, by the `auth_time` that their provider says; `None` if it says none, since
    /// they may have been signed in over there for days. What happened on this round trip happened after its start,
    /// whatever the provider's clock says.
    #[must_use]
    pub fn proven_at(&self, auth_time: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let auth_time = auth_time?;
        let of_this_trip = auth_time >= self.started_at - LEEWAY;
        Some(if of_this_trip { auth_time.max(self.started_at) } else { auth_time }.min(now))
    }
}

impl RoundTrip {
    /// The same, asking the provider for a fresh sign-in.
    #[must_use]
    pub fn wanting(self, wanted: Wanted) -> Self {
        Self { wanted, ..self }
    }

    /// OAuth's `state` (RFC 6749 §4.1.1).
    #[must_use]
    pub fn state(&self) -> &str {
        self.state.expose()
    }

    /// OpenID Connect's nonce (Core §3.1.2.1).
    pub(super) fn nonce(&self) -> &str {
        self.nonce.expose()
    }

    /// PKCE's verifier (RFC 7636 §4.1): 43 characters, 256 bits.
    pub(super) fn pkce_verifier(&self) -> &str {
        self.pkce_verifier.expose()
    }

    /// The round trip of a state, with the keys of one of the installation's secrets: the current one is number 0.
    fn derive(keyring: &Keyring, secret: usize, state: SecretText) -> Option<Self> {
        let derived = |purpose| {
            let macs = keyring.macs(purpose, &[state.expose().as_bytes()]);
            macs.get(secret).map(|mac| SecretText::from(base64url(mac)))
        };
        let (nonce, pkce_verifier) = (derived(Purpose::UpstreamNonce)?, derived(Purpose::UpstreamPkce)?);
        Some(Self { state, nonce, pkce_verifier, wanted: Wanted::default() })
    }
}

/// Begins a round trip for this browser to this provider, ten minutes long.
pub async fn start(
    conn: &mut PgConnection,
    installation: &Installation,
    browser_session: BrowserSessionId,
    provider: &Provider,
    grant: Option<GrantId>,
) -> Result<RoundTrip, sqlx::Error> {
    let now = installation.clock.now();
    let state = SecretText::from(base64url(&installation.random.bytes::<32>()));
    let mac = installation.keyring.mac(Purpose::UpstreamState, &[state.expose().as_bytes()]);
    sqlx::query!(
        "INSERT INTO upstream_sign_in
             (id, state_mac, browser_session_id, provider_id, grant_id, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        UpstreamSignInId::new(now, &installation.random.bytes()).0,
        &mac[..],
        browser_session.0,
        provider.id.0,
        grant.map(|id| id.0),
        now,
        now + LIFETIME,
    )
    .execute(conn)
    .await?;
    RoundTrip::derive(&installation.keyring, 0, state).ok_or_else(no_secret)
}

/// Ends the round trip of `state`: once, in the browser that began it, for the provider with this slug, in time. `None`
/// for anything else; which of these it was is nobody's business.
///
/// It is one conditional UPDATE, so that of two callbacks with the same state one finds nothing. Commit it before the
/// code is exchanged: a failed exchange spends the state too.
pub async fn finish(
    conn: &mut PgConnection,
    installation: &Installation,
    browser_session: BrowserSessionId,
    provider_slug: &str,
    state: &str,
) -> Result<Option<Finished>, sqlx::Error> {
    let macs = installation.keyring.macs(Purpose::UpstreamState, &[state.as_bytes()]);
    let row = sqlx::query!(
        "UPDATE upstream_sign_in AS trip
         SET used_at = $4
         FROM provider
         WHERE provider.id = trip.provider_id
           AND provider.slug = $3
           AND trip.state_mac = ANY($1)
           AND trip.browser_session_id = $2
           AND trip.used_at IS NULL
           AND trip.expires_at > $4
         RETURNING trip.state_mac, trip.provider_id, trip.grant_id, trip.created_at",
        &macs,
        browser_session.0,
        provider_slug,
        installation.clock.now(),
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let secret = macs.iter().position(|mac| *mac == row.state_mac).ok_or_else(no_secret)?;
    let round_trip = RoundTrip::derive(&installation.keyring, secret, state.into()).ok_or_else(no_secret)?;
    Ok(Some(Finished {
        round_trip,
        provider_id: row.provider_id.into(),
        grant_id: row.grant_id.map(GrantId),
        started_at: row.created_at,
    }))
}

/// The organization that `state`'s round trip goes to, if it began in this browser and is about no device login.
/// Nothing is spent.
pub async fn organization_without_grant(
    conn: &mut PgConnection,
    installation: &Installation,
    browser_session: BrowserSessionId,
    state: &str,
) -> Result<Option<OrganizationId>, sqlx::Error> {
    let macs = installation.keyring.macs(Purpose::UpstreamState, &[state.as_bytes()]);
    let organization = sqlx::query_scalar!(
        "SELECT provider.organization_id
         FROM upstream_sign_in AS trip JOIN provider ON provider.id = trip.provider_id
         WHERE trip.state_mac = ANY($1) AND trip.browser_session_id = $2 AND trip.grant_id IS NULL",
        &macs,
        browser_session.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(organization.map(OrganizationId))
}

/// Deletes round trips whose time is over, at most so many, and says how many. Spent ones stay until then: a second
/// callback has to find its state spent.
pub async fn sweep(conn: &mut PgConnection, now: DateTime<Utc>, most: i64) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query!(
        "DELETE FROM upstream_sign_in WHERE id = ANY(ARRAY(
             SELECT id FROM upstream_sign_in WHERE expires_at <= $1
             ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))",
        now,
        most,
    )
    .execute(conn)
    .await?;
    Ok(deleted.rows_affected())
}

/// A keyring has at least one secret, and the one that found a row is in it.
fn no_secret() -> sqlx::Error {
    sqlx::Error::Decode("the keyring has no such secret".into())
}
