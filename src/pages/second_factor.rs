//! Second factors, at whatever door they are asked for.

use axum::http::StatusCode;
use axum::response::Response;
use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};

use crate::directory::user::User;
use crate::ids::UserId;
use crate::installation::Installation;
use crate::mfa::{recovery, totp};
use crate::postgres::PgConnection;
use crate::secrets::SecretText;

use super::answer::{self, PageError};
use super::factor::{Enrol, Mfa, MfaError, Occasion, RecoveryCodes, svg_element};
use super::frame::Frame;

/// Said beside an empty field.
pub const EMPTY: &str = "Enter the six-digit code that your authenticator app shows.";
/// Said to who types a recovery code where nothing but an authenticator will do.
pub const NO_RECOVERY_CODE: &str =
    "A recovery code is not enough here: type the six-digit code that your authenticator app shows.";
const WRONG_TOTP: &str =
    "This code is not right, or was used before. Wait for the next one and check the time on your phone.";
const WRONG_RECOVERY: &str = "This is not one of your recovery codes, or it was used before.";
const WRONG_FIRST: &str =
    "This code is not right. Add the key again if your app shows another account, and check the time on your phone.";

/// Which of their factors a person used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// An authenticator's code.
    Totp,
    /// A recovery code.
    Recovery,
}

impl Method {
    /// As the audit names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::Recovery => "recovery",
        }
    }

    /// How it proves who the person is (RFC 8176): that there were two factors, and of which kind if there is a word for
    /// it. A recovery code is no one-time password in the sense of RFC 6238.
    #[must_use]
    pub fn amr(self) -> Vec<String> {
        let methods: &[&str] = match self {
            Self::Totp => &["otp", "mfa"],
            Self::Recovery => &["mfa"],
        };
        methods.iter().map(|method| (*method).to_owned()).collect()
    }

    /// What to say beside the form that a wrong code came from.
    #[must_use]
    pub const fn refusal(self) -> MfaError<'static> {
        match self {
            Self::Totp => MfaError::Totp(WRONG_TOTP),
            Self::Recovery => MfaError::Recovery(WRONG_RECOVERY),
        }
    }
}

/// What a person typed, made ready to be spent.
pub enum Typed {
    /// An authenticator's code.
    Totp(String),
    /// A recovery code's hash; `None` when it can be none of theirs.
    Recovery(Option<recovery::Typed>),
}

impl Typed {
    /// Makes what was typed ready. Call it without a connection in hand: a recovery code is hashed.
    pub async fn read(installation: &Installation, user: UserId, typed: &str) -> Result<Self, sqlx::Error> {
        if matches!(MfaError::beside(typed, ""), MfaError::Recovery(_)) {
            return Ok(Self::Recovery(recovery::hash(installation, user, typed).await?));
        }
        Ok(Self::Totp(typed.to_owned()))
    }

    /// Of which kind it is.
    #[must_use]
    pub const fn method(&self) -> Method {
        match self {
            Self::Totp(_) => Method::Totp,
            Self::Recovery(_) => Method::Recovery,
        }
    }

    /// Spends it, and says whether it was right.
    pub async fn spend(
        &self,
        conn: &mut PgConnection,
        installation: &Installation,
        user: UserId,
    ) -> Result<bool, PageError> {
        let now = installation.clock.now();
        let again = if installation.dev_mode { totp::Reuse::Allowed } else { totp::Reuse::Refused };
        Ok(match self {
            Self::Totp(code) => totp::spend(conn, &installation.keyring, user, code, again, now).await?,
            Self::Recovery(Some(code)) => recovery::spend(conn, user, code, now).await?,
            Self::Recovery(None) => false,
        })
    }
}

/// The page that asks for a code. In dev mode it shows the one that is right.
pub async fn challenge(
    conn: &mut PgConnection,
    installation: &Installation,
    user: UserId,
    page: Mfa<'_>,
    status: StatusCode,
) -> Result<Response, PageError> {
    let code = if installation.dev_mode {
        totp::current_code(conn, &installation.keyring, user, installation.clock.now()).await?
    } else {
        None
    };
    Ok(answer::render(status, &Mfa { development_code: code.as_deref(), ..page }))
}

/// Why the first code of a new factor was refused.
#[must_use]
pub fn first_refused(typed: &str) -> &'static str {
    if typed.is_empty() { EMPTY } else { WRONG_FIRST }
}

/// The page that sets up an authenticator.
pub fn enrolment(
    installation: &Installation,
    frame: Frame<'_>,
    user: &User,
    shown: &totp::Enrolment,
    occasion: Occasion,
    error: Option<&str>,
) -> Result<Response, PageError> {
    let (uri, secret) = (shown.uri()?, shown.secret());
    let qr = QrCode::with_error_correction_level(uri.as_bytes(), EcLevel::M)
        .map_err(|error| PageError::Fault(format!("no QR code: {error}")))?
        .render::<svg::Color<'_>>()
        .quiet_zone(false)
        .build();
    let development_code = installation.dev_mode.then(|| shown.code_at(installation.clock.now()));
    let page = Enrol {
        frame,
        occasion,
        qr_svg: svg_element(&qr),
        otpauth_url: &uri,
        account_name: user.label(),
        secret: &secret,
        error,
        development_code: development_code.as_deref(),
    };
    let status = if error.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    Ok(answer::render(status, &page))
}

/// The page that shows new recovery codes, once. `then` is where it leads on.
#[must_use]
pub fn recovery_codes(frame: Frame<'_>, codes: &[SecretText], occasion: Occasion, then: &str) -> Response {
    let codes: Vec<&str> = codes.iter().map(SecretText::expose).collect();
    answer::render(StatusCode::OK, &RecoveryCodes { frame, occasion, codes: &codes, then })
}
