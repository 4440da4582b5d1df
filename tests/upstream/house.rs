//! An installation with one organization, and a browser in it.

use chrono::TimeDelta;
use countersign::clock::Clock;
use countersign::config::PublicUrl;
use countersign::directory::provider::{self, Provider};
use countersign::ids::{BrowserSessionId, OrganizationId, ProviderId, UserId};
use countersign::installation::{Installation, Parts};
use countersign::outbound::Outbound;
use countersign::postgres::PgPool;
use countersign::secrets::{InstallationSecret, Keyring, Passwords, Random, SecretText};
use countersign::upstream::round_trip::{self, Finished, RoundTrip};
use countersign::upstream::{Callback, Identity, Upstream, UpstreamError};
use url::Url;

use crate::{database, log, oidc_provider};

pub const REDIRECT_URI: &str = "http://localhost:8080/auth/sso/callback";

/// An installation whose clock the test owns.
pub struct House {
    pub installation: Installation,
    pub upstream: Upstream,
    pub organization: OrganizationId,
    pub browser: BrowserSessionId,
}

/// A provider to be written.
pub struct Settings<'a> {
    pub slug: &'a str,
    pub kind: &'a str,
    pub issuer: &'a str,
    pub client_id: &'a str,
    pub client_secret: Option<&'a str>,
    pub admission: &'a str,
    pub admitted: &'a [&'a str],
    pub extra_scopes: &'a [&'a str],
}

impl Settings<'_> {
    /// The real issuer's confidential client, for invited people.
    pub fn sso(issuer: &str) -> Settings<'_> {
        Settings {
            slug: "sso",
            kind: "oidc",
            issuer,
            client_id: oidc_provider::CLIENT_ID,
            client_secret: Some(oidc_provider::CLIENT_SECRET),
            admission: "invited",
            admitted: &[],
            extra_scopes: &[],
        }
    }
}

/// Builds the house with one secret.
pub async fn house() -> House {
    log::start();
    let pool = database::database().await;
    let secrets = [InstallationSecret::generate(&Random::system())];
    let installation = installation(pool, &secrets, Clock::manual(Clock::system().now()));
    let (organization, browser) = (OrganizationId(random_uuid()), BrowserSessionId(random_uuid()));
    let house = House { installation, upstream: Upstream::new(Outbound::default()).unwrap(), organization, browser };
    sqlx::query("INSERT INTO organization (id, slug, name, created_at) VALUES ($1, 'acme', 'Acme', now())")
        .bind(organization)
        .execute(&house.installation.pool)
        .await
        .unwrap();
    house.add_browser(browser).await;
    house
}

/// An installation on this database, with these secrets.
pub fn installation(pool: PgPool, secrets: &[InstallationSecret], clock: Clock) -> Installation {
    let random = Random::system();
    Installation::from(Parts {
        pool,
        clock,
        passwords: Passwords::new(random.clone(), 1),
        random,
        keyring: Keyring::new(secrets).unwrap(),
        public_url: PublicUrl::parse("http://localhost:8080").unwrap(),
        outbound: Outbound::default(),
        dev_mode: false,
    })
}

pub fn random_uuid() -> uuid::Uuid {
    uuid::Uuid::from_bytes(Random::system().bytes())
}

impl House {
    pub async fn add_browser(&self, id: BrowserSessionId) {
        sqlx::query(
            "INSERT INTO browser_session (id, token_mac, created_at, last_seen_at, expires_at)
             VALUES ($1, $2, now(), now(), now() + interval '1 day')",
        )
        .bind(id)
        .bind(id.0.as_bytes().to_vec())
        .execute(&self.installation.pool)
        .await
        .unwrap();
    }

    pub async fn add_provider(&self, settings: &Settings<'_>) -> Provider {
        let id = ProviderId(random_uuid());
        let seal =
            |secret| provider::seal_client_secret(&self.installation.keyring, id, &SecretText::from(secret)).unwrap();
        sqlx::query(
            "INSERT INTO provider (id, organization_id, slug, kind, name, issuer, client_id, client_secret_sealed,
                                   admission, admitted, extra_scopes, created_at)
             VALUES ($1, $2, $3, $4, 'Acme SSO', $5, $6, $7, $8, $9, $10, now())",
        )
        .bind(id)
        .bind(self.organization)
        .bind(settings.slug)
        .bind(settings.kind)
        .bind(settings.issuer)
        .bind(settings.client_id)
        .bind(settings.client_secret.map(|secret| seal(secret).as_bytes().to_vec()))
        .bind(settings.admission)
        .bind(settings.admitted)
        .bind(settings.extra_scopes)
        .execute(&self.installation.pool)
        .await
        .unwrap();
        provider::by_id(&mut self.installation.pool.acquire().await.unwrap(), id).await.unwrap().unwrap()
    }

    pub async fn add_user(&self, email: &str, status: &str, email_verified: bool) -> UserId {
        let id = UserId(random_uuid());
        sqlx::query(
            "INSERT INTO app_user (id, organization_id, email, email_verified, status, created_at)
             VALUES ($1, $2, $3, $4, $5, now())",
        )
        .bind(id)
        .bind(self.organization)
        .bind(email)
        .bind(email_verified)
        .bind(status)
        .execute(&self.installation.pool)
        .await
        .unwrap();
        id
    }

    pub fn advance(&self, by: TimeDelta) {
        self.installation.clock.advance(by);
    }

    pub async fn start(&self, provider: &Provider) -> RoundTrip {
        let mut conn = self.installation.pool.acquire().await.unwrap();
        round_trip::start(&mut conn, &self.installation, self.browser, provider, None).await.unwrap()
    }

    pub async fn finish(&self, provider_slug: &str, state: &str) -> Option<Finished> {
        let mut conn = self.installation.pool.acquire().await.unwrap();
        round_trip::finish(&mut conn, &self.installation, self.browser, provider_slug, state).await.unwrap()
    }

    /// Begins a round trip and says where the browser is sent.
    pub async fn leave(&self, provider: &Provider) -> Result<Url, UpstreamError> {
        let round_trip = self.start(provider).await;
        self.upstream.authorization_url(&self.installation, provider, &round_trip).await
    }

    /// Ends the round trip of the URL to which the browser was sent back.
    pub async fn come_back(&self, provider: &Provider, url: &Url) -> Result<Identity, UpstreamError> {
        assert_eq!(url.path(), format!("/auth/{}/callback", provider.slug));
        let callback = callback(url);
        let finished = self.finish(&provider.slug, callback.state.as_ref().unwrap().expose()).await.unwrap();
        assert_eq!(finished.provider_id, provider.id);
        self.upstream.identity(&self.installation, provider, &finished.round_trip, &callback).await
    }
}

/// The query of a callback, read as an endpoint reads it.
pub fn callback(url: &Url) -> Callback {
    serde_urlencoded::from_str(url.query().unwrap()).unwrap()
}

/// `url` with one parameter of its query replaced, or taken away.
pub fn with_parameter(url: &Url, name: &str, value: Option<&str>) -> Url {
    let mut changed = url.clone();
    let others = url.query_pairs().filter(|(other, _)| other != name);
    changed.query_pairs_mut().clear().extend_pairs(others).extend_pairs(value.map(|value| (name, value)));
    changed
}
