//! Providers: the ways to sign in.

use chrono::{DateTime, Utc};
use sqlx::Connection as _;

use crate::ids::{OrganizationId, ProviderId};
use crate::postgres::PgConnection;
use crate::secrets::resealing::{self, Resealed};
use crate::secrets::{Keyring, SealError, Sealed, SecretText};

use super::{stored_as_text, word};

/// A way to sign in to an organization.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its id.
    pub id: ProviderId,
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Its name in URLs and files.
    pub slug: String,
    /// What it speaks.
    pub kind: Kind,
    /// Its name to people.
    pub name: String,
    /// The OpenID Connect issuer, or the base URL of GitHub or GitLab; none is the public one.
    pub issuer: Option<String>,
    /// GitHub's API, where it isn't at the usual place beside the base URL.
    pub api_url: Option<String>,
    /// Countersign's name at the provider.
    pub client_id: Option<String>,
    /// Countersign's secret at the provider.
    pub client_secret: Option<Sealed>,
    /// Scopes to ask for besides those that are needed.
    pub extra_scopes: Vec<String>,
    /// Who is let in.
    pub admission: Admission,
    /// The claim in which an OpenID Connect provider lists groups.
    pub groups_claim: String,
    /// Whether a second factor that the provider saw counts.
    pub trust_mfa: bool,
    /// Whether its addresses were written over the network: then it is asked at public ones only ([`crate::outbound`]).
    pub public_only: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// What a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// GitHub's OAuth, github.com or GitHub Enterprise Server.
    Github,
    /// OpenID Connect at Google.
    Google,
    /// OpenID Connect at Microsoft.
    Microsoft,
    /// OpenID Connect at GitLab, gitlab.com or self-managed.
    Gitlab,
    /// OpenID Connect at any issuer.
    Oidc,
    /// Accounts of Countersign's own.
    Password,
}
stored_as_text!("provider kind", Kind {
    Github = "github",
    Google = "google",
    Microsoft = "microsoft",
    Gitlab = "gitlab",
    Oidc = "oidc",
    Password = "password",
});

impl Kind {
    /// Whether one of this kind says when somebody signed in, if that is asked (`auth_time`, OpenID Connect Core §2). GitHub
    /// never does, Google doesn't, and Microsoft does where its administrators set the claim up.
    #[must_use]
    pub const fn dates_sign_ins(self) -> bool {
        match self {
            Self::Github | Self::Google | Self::Microsoft => false,
            Self::Gitlab | Self::Oidc | Self::Password => true,
        }
    }
}

/// Who is let in when an identity is seen for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Whom somebody invited, by verified address.
    Invited,
    /// Whoever has a verified address in one of these domains.
    Domains(Vec<String>),
    /// Whoever is in one of these groups (an OIDC claim, or GitHub organizations).
    Groups(Vec<String>),
    /// Anyone whom the provider knows.
    Anyone,
}

impl Admission {
    /// The word and the list under which it is stored.
    #[must_use]
    pub fn stored(&self) -> (&'static str, &[String]) {
        match self {
            Self::Invited => ("invited", &[]),
            Self::Domains(domains) => ("domains", domains),
            Self::Groups(groups) => ("groups", groups),
            Self::Anyone => ("anyone", &[]),
        }
    }

    fn read(word: &str, list: Vec<String>) -> Result<Self, sqlx::Error> {
        match word {
            "invited" => Ok(Self::Invited),
            "domains" => Ok(Self::Domains(list)),
            "groups" => Ok(Self::Groups(list)),
            "anyone" => Ok(Self::Anyone),
            _ => Err(sqlx::Error::Decode(format!("unknown admission {word:?}").into())),
        }
    }
}

impl Provider {
    /// Countersign's secret at the provider; `None` when it has none.
    pub fn open_client_secret(&self, keyring: &Keyring) -> Result<Option<SecretText>, SealError> {
        let Some(sealed) = &self.client_secret else {
            return Ok(None);
        };
        let opened = keyring.open(&[SECRET_TABLE, self.id.0.as_bytes()], sealed)?;
        let text = String::from_utf8(opened.to_vec()).map_err(|_| SealError)?;
        Ok(Some(SecretText::from(text)))
    }
}

/// Seals Countersign's secret at a provider.
pub fn seal_client_secret(keyring: &Keyring, id: ProviderId, secret: &SecretText) -> Result<Sealed, SealError> {
    keyring.seal(&[SECRET_TABLE, id.0.as_bytes()], secret.expose().as_bytes())
}

/// Seals again, under the current secret, Countersign's secrets at providers that an older one sealed.
pub async fn reseal(conn: &mut PgConnection, keyring: &Keyring) -> Result<Resealed, sqlx::Error> {
    let (mut done, mut after) = (Resealed::default(), uuid::Uuid::nil());
    loop {
        let mut tx = conn.begin().await?;
        let rows = sqlx::query!(
            "SELECT id, client_secret_sealed AS \"sealed!\" FROM provider
             WHERE id > $1 AND substring(client_secret_sealed FROM 2 FOR 4) <> $2 ORDER BY id LIMIT $3 FOR UPDATE",
            after,
            keyring.current_id(),
            resealing::BATCH,
        )
        .fetch_all(&mut *tx)
        .await?;
        let Some(last) = rows.last() else { return Ok(done) };
        after = last.id;
        let rows = rows.into_iter().map(|row| (row.id, row.sealed));
        let (ids, sealed) = done.seal(keyring, SECRET_TABLE, rows);
        sqlx::query!(
            "UPDATE provider SET client_secret_sealed = new.sealed
             FROM unnest($1::uuid[], $2::bytea[]) AS new (id, sealed) WHERE provider.id = new.id",
            &ids,
            &sealed,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
    }
}

/// What a sealed client secret is bound to.
const SECRET_TABLE: &[u8] = b"provider.client_secret";

/// The organization's providers, in the order of their slugs.
pub async fn of_organization(
    conn: &mut PgConnection,
    organization: OrganizationId,
) -> Result<Vec<Provider>, sqlx::Error> {
    select(conn, Which { organization: Some(organization), ..Which::default() }).await
}

/// So many of the organization's providers, in the order of their slugs, from the one after this slug.
pub async fn page(
    conn: &mut PgConnection,
    organization: OrganizationId,
    after: Option<&str>,
    most: i64,
) -> Result<Vec<Provider>, sqlx::Error> {
    select(conn, Which { organization: Some(organization), after, most: Some(most), ..Which::default() }).await
}

/// The organization's provider with this slug.
pub async fn by_slug(
    conn: &mut PgConnection,
    organization: OrganizationId,
    slug: &str,
) -> Result<Option<Provider>, sqlx::Error> {
    let which = Which { organization: Some(organization), slug: Some(slug), ..Which::default() };
    Ok(select(conn, which).await?.pop())
}

/// Finds a provider by id.
pub async fn by_id(conn: &mut PgConnection, id: ProviderId) -> Result<Option<Provider>, sqlx::Error> {
    Ok(select(conn, Which { id: Some(id), ..Which::default() }).await?.pop())
}

/// Which providers; none of it: all.
#[derive(Default)]
struct Which<'a> {
    id: Option<ProviderId>,
    organization: Option<OrganizationId>,
    slug: Option<&'a str>,
    after: Option<&'a str>,
    most: Option<i64>,
}

async fn select(conn: &mut PgConnection, which: Which<'_>) -> Result<Vec<Provider>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT * FROM provider
         WHERE ($1::uuid IS NULL OR id = $1)
           AND ($2::uuid IS NULL OR organization_id = $2)
           AND ($3::text IS NULL OR slug = $3)
           AND ($4::text IS NULL OR slug > $4)
         ORDER BY slug LIMIT $5",
        which.id.map(|id| id.0),
        which.organization.map(|id| id.0),
        which.slug,
        which.after,
        which.most,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Provider {
                id: row.id.into(),
                organization_id: row.organization_id.into(),
                slug: row.slug,
                kind: word(&row.kind)?,
                name: row.name,
                issuer: row.issuer,
                api_url: row.api_url,
                client_id: row.client_id,
                client_secret: row.client_secret_sealed.map(Sealed::from),
                extra_scopes: row.extra_scopes,
                admission: Admission::read(&row.admission, row.admitted)?,
                groups_claim: row.groups_claim,
                trust_mfa: row.trust_mfa,
                public_only: row.public_only,
                created_at: row.created_at,
            })
        })
        .collect()
}
