//! Time-based one-time passwords (RFC 6238): SHA-1, six digits, thirty seconds, as every authenticator app has them.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::Connection as _;
use totp_rs::{Builder, Secret, Totp};
use zeroize::Zeroizing;

use crate::ids::{BrowserSessionId, UserId};
use crate::installation::Installation;
use crate::postgres::PgConnection;
use crate::secrets::resealing::{self, Resealed};
use crate::secrets::{Keyring, SealError, Sealed};

/// What a sealed secret is bound to, beside its user.
const FACTOR: &[u8] = b"totp_factor.secret";
const ENROLMENT: &[u8] = b"totp_enrolment.secret";

/// How long a secret that was shown can become a factor.
const ENROLMENT_LIFE: TimeDelta = TimeDelta::minutes(15);

/// Why a factor can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TotpError {
    /// The database did not answer.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// The secret can't be opened.
    #[error(transparent)]
    Sealed(#[from] SealError),
    /// The secret is no secret.
    #[error("a TOTP secret is malformed")]
    Malformed,
}

/// A secret that a browser is being shown.
pub struct Enrolment {
    totp: Totp,
    secret: Secret,
}

impl Enrolment {
    /// Of a secret that is there already.
    pub fn of(secret: &[u8], account: &str, issuer: &str) -> Result<Self, TotpError> {
        let secret = Secret::from(secret);
        // A colon would end the issuer in the label of an otpauth URI.
        let (issuer, account) = (issuer.replace(':', " "), account.replace(':', " "));
        let totp = Builder::new()
            .with_secret(secret.clone())
            .with_account_name(account)
            .with_issuer(Some(issuer))
            .build()
            .map_err(|_| TotpError::Malformed)?;
        Ok(Self { totp, secret })
    }

    /// What the QR code says (the otpauth URI that authenticator apps read).
    pub fn uri(&self) -> Result<Zeroizing<String>, TotpError> {
        self.totp.to_url().map(Zeroizing::new).map_err(|_| TotpError::Malformed)
    }

    /// The secret in base32, for typing.
    #[must_use]
    pub fn secret(&self) -> Zeroizing<String> {
        Zeroizing::new(self.secret.to_base32())
    }

    /// The code of a moment, for the pages of dev mode only.
    #[must_use]
    pub fn code_at(&self, now: DateTime<Utc>) -> String {
        self.totp.generate(unix(now)).to_string()
    }

    /// The time step of a code that is right at `now`.
    #[must_use]
    pub fn step_of(&self, code: &str, now: DateTime<Utc>) -> Option<i64> {
        step_of(&self.totp, code, now)
    }
}

/// The secret that this browser is shown for this user: the one it was shown before, or a new one. It is bound to the
/// browser, so that nobody else's guess of it becomes the person's factor.
pub async fn enrolment(
    conn: &mut PgConnection,
    installation: &Installation,
    browser: BrowserSessionId,
    user: UserId,
    account: &str,
    issuer: &str,
) -> Result<Enrolment, TotpError> {
    let now = installation.clock.now();
    let fresh = Zeroizing::new(installation.random.bytes::<20>());
    let sealed = installation.keyring.seal(&[ENROLMENT, user.0.as_bytes()], &*fresh)?;
    let stored = sqlx::query_scalar!(
        "INSERT INTO totp_enrolment AS e (browser_session_id, user_id, secret_sealed, created_at)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (browser_session_id, user_id) DO UPDATE
             SET secret_sealed = CASE WHEN e.created_at > $5 THEN e.secret_sealed ELSE excluded.secret_sealed END,
                 created_at = CASE WHEN e.created_at > $5 THEN e.created_at ELSE excluded.created_at END
         RETURNING secret_sealed",
        browser.0,
        user.0,
        sealed.as_bytes(),
        now,
        now - ENROLMENT_LIFE,
    )
    .fetch_one(conn)
    .await?;
    let secret = installation.keyring.open(&[ENROLMENT, user.0.as_bytes()], &Sealed::from(stored))?;
    Enrolment::of(&secret, account, issuer)
}

/// Makes the enrolment the user's factor, its first code spent. `false` when the user has one by now.
pub async fn enrol(
    conn: &mut PgConnection,
    keyring: &Keyring,
    user: UserId,
    enrolment: &Enrolment,
    step: i64,
    now: DateTime<Utc>,
) -> Result<bool, TotpError> {
    set_factor(conn, keyring, user, enrolment.secret.as_ref(), step, now).await
}

/// Gives a user a factor of a known secret, unless there is one. `step` and those before it are spent.
pub async fn set_factor(
    conn: &mut PgConnection,
    keyring: &Keyring,
    user: UserId,
    secret: &[u8],
    step: i64,
    now: DateTime<Utc>,
) -> Result<bool, TotpError> {
    let sealed = keyring.seal(&[FACTOR, user.0.as_bytes()], secret)?;
    let written = sqlx::query!(
        "INSERT INTO totp_factor (user_id, secret_sealed, last_step, created_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (user_id) DO NOTHING",
        user.0,
        sealed.as_bytes(),
        step,
        now,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!("DELETE FROM totp_enrolment WHERE user_id = $1", user.0).execute(conn).await?;
    Ok(written.rows_affected() == 1)
}

/// Puts the enrolment in the place of the user's factor, its first code spent. `false` when there is none to replace.
pub async fn replace(
    conn: &mut PgConnection,
    keyring: &Keyring,
    user: UserId,
    enrolment: &Enrolment,
    step: i64,
    now: DateTime<Utc>,
) -> Result<bool, TotpError> {
    let sealed = keyring.seal(&[FACTOR, user.0.as_bytes()], enrolment.secret.as_ref())?;
    let replaced = sqlx::query!(
        "UPDATE totp_factor SET secret_sealed = $2, last_step = $3, created_at = $4 WHERE user_id = $1",
        user.0,
        sealed.as_bytes(),
        step,
        now,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!("DELETE FROM totp_enrolment WHERE user_id = $1", user.0).execute(conn).await?;
    Ok(replaced.rows_affected() == 1)
}

/// When the user's factor was set up.
pub async fn set_up_at(conn: &mut PgConnection, user: UserId) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar!("SELECT created_at FROM totp_factor WHERE user_id = $1", user.0).fetch_optional(conn).await
}

/// Whether a code that was spent may come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Never (RFC 6238 §5.2).
    Refused,
    /// As often as it likes: in dev mode, whose page shows the code, there is nothing to protect.
    Allowed,
}

/// Spends a code: `true` once for each that is right, however many arrive at once.
pub async fn spend(
    conn: &mut PgConnection,
    keyring: &Keyring,
    user: UserId,
    code: &str,
    reuse: Reuse,
    now: DateTime<Utc>,
) -> Result<bool, TotpError> {
    let Some(totp) = factor(conn, keyring, user).await? else { return Ok(false) };
    let Some(step) = step_of(&totp, code, now) else { return Ok(false) };
    let spent = sqlx::query!(
        "UPDATE totp_factor SET last_step = $2 WHERE user_id = $1 AND (last_step < $2 OR $3)",
        user.0,
        step,
        reuse == Reuse::Allowed,
    )
    .execute(conn)
    .await?;
    Ok(spent.rows_affected() == 1)
}

/// The code of the moment, for the pages of dev mode only.
pub async fn current_code(
    conn: &mut PgConnection,
    keyring: &Keyring,
    user: UserId,
    now: DateTime<Utc>,
) -> Result<Option<String>, TotpError> {
    let totp = factor(conn, keyring, user).await?;
    Ok(totp.map(|totp| totp.generate(unix(now)).to_string()))
}

/// Reads a secret in base32, as authenticator apps take it.
pub fn read_secret(base32: &str) -> Result<Zeroizing<Vec<u8>>, TotpError> {
    let secret = Secret::try_from_base32(base32).map_err(|_| TotpError::Malformed)?;
    Ok(Zeroizing::new(secret.as_ref().to_vec()))
}

/// Seals again, under the current secret, the factors that an older one sealed.
pub async fn reseal(conn: &mut PgConnection, keyring: &Keyring) -> Result<Resealed, sqlx::Error> {
    let (mut done, mut after) = (Resealed::default(), uuid::Uuid::nil());
    loop {
        let mut tx = conn.begin().await?;
        let rows = sqlx::query!(
            "SELECT user_id, secret_sealed AS \"sealed!\" FROM totp_factor
             WHERE user_id > $1 AND substring(secret_sealed FROM 2 FOR 4) <> $2 ORDER BY user_id LIMIT $3 FOR UPDATE",
            after,
            keyring.current_id(),
            resealing::BATCH,
        )
        .fetch_all(&mut *tx)
        .await?;
        let Some(last) = rows.last() else { return Ok(done) };
        after = last.user_id;
        let rows = rows.into_iter().map(|row| (row.user_id, row.sealed));
        let (ids, sealed) = done.seal(keyring, FACTOR, rows);
        sqlx::query!(
            "UPDATE totp_factor SET secret_sealed = new.sealed
             FROM unnest($1::uuid[], $2::bytea[]) AS new (id, sealed) WHERE totp_factor.user_id = new.id",
            &ids,
            &sealed,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
    }
}

/// The code that an authenticator with this secret shows.
pub fn code_of(base32: &str, now: DateTime<Utc>) -> Result<String, TotpError> {
    let secret = read_secret(base32)?;
    let totp = Builder::new().with_secret(secret.as_slice()).build().map_err(|_| TotpError::Malformed)?;
    Ok(totp.generate(unix(now)).to_string())
}

async fn factor(conn: &mut PgConnection, keyring: &Keyring, user: UserId) -> Result<Option<Totp>, TotpError> {
    let sealed = sqlx::query_scalar!("SELECT secret_sealed FROM totp_factor WHERE user_id = $1", user.0)
        .fetch_optional(conn)
        .await?;
    let Some(sealed) = sealed else { return Ok(None) };
    let secret = keyring.open(&[FACTOR, user.0.as_bytes()], &Sealed::from(sealed))?;
    let totp = Builder::new().with_secret(secret.as_slice()).build().map_err(|_| TotpError::Malformed)?;
    Ok(Some(totp))
}

/// The time step of a code that is right now, one step earlier or one later (RFC 6238 §5.2).
fn step_of(totp: &Totp, code: &str, now: DateTime<Utc>) -> Option<i64> {
    let digits: String = code.chars().filter(char::is_ascii_digit).collect();
    totp.check(&digits, unix(now)).and_then(|step| i64::try_from(step).ok())
}

fn unix(now: DateTime<Utc>) -> u64 {
    u64::try_from(now.timestamp()).unwrap_or(0)
}
