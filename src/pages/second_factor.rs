//! Second factors, at whatever door they are asked for.

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chrono::{DateTime, Utc};
use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};

use crate::attempts::{self, Reservation, Subject};
use crate::audit::Event;
use crate::browser::known::{self, KnownBrowser, Proof};
use crate::ids::UserId;
use crate::installation::Installation;
use crate::mfa::{recovery, totp};
use crate::postgres::PgConnection;
use crate::secrets::SecretText;

use super::answer::{self, PageError};
use super::factor::{Enrol, Mfa, MfaError, Occasion, RecoveryCodes, svg_element};
use super::frame::Frame;
use super::refusal::Refusal;

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

    /// What a typed code is meant to be.
    fn of(typed: &str) -> Self {
        match MfaError::beside(typed, "") {
            MfaError::Totp(_) => Self::Totp,
            MfaError::Recovery(_) => Self::Recovery,
        }
    }

    /// What to say of a wrong code.
    const fn wrong(self) -> &'static str {
        match self {
            Self::Totp => WRONG_TOTP,
            Self::Recovery => WRONG_RECOVERY,
        }
    }

    /// Puts a message beside the form that the code came from.
    const fn beside(self, message: &str) -> MfaError<'_> {
        match self {
            Self::Totp => MfaError::Totp(message),
            Self::Recovery => MfaError::Recovery(message),
        }
    }
}

/// What a person typed, made ready to be spent.
enum Typed {
    /// An authenticator's code.
    Totp(String),
    /// A recovery code's hash; `None` when it can be none of theirs.
    Recovery(Option<recovery::Typed>),
}

/// A try at a person's second factor, counted before it is looked at.
pub struct Try {
    user: UserId,
    /// Of which kind it is.
    pub method: Method,
    typed: Typed,
    counted: attempts::Try,
    set_up: Option<DateTime<Utc>>,
    known: Option<KnownBrowser>,
}

/// A try that gained nothing.
pub struct Refused {
    /// Of which kind it was.
    pub method: Method,
    /// Why.
    pub why: Refusal,
}

impl Try {
    /// Makes a try, if one may be made now. Call it without a connection in hand: a recovery code is hashed.
    pub async fn begin(
        installation: &Installation,
        headers: &HeaderMap,
        user: UserId,
        typed: &str,
    ) -> Result<Result<Self, Refused>, PageError> {
        let method = Method::of(typed);
        let _place = if method == Method::Recovery { Some(installation.passwords.place()?) } else { None };
        let mut conn = installation.pool.acquire().await?;
        let set_up = totp::set_up_at(&mut conn, user).await?;
        drop(conn);
        let known = set_up.and_then(|at| known::recognize(installation, headers, user, Proof::SecondFactor(at)));
        let subject = match known {
            Some(known) => Subject::SecondFactorInKnownBrowser(known.id),
            None => Subject::SecondFactor(user),
        };
        let counted = match attempts::reserve(installation, &[subject]).await? {
            Reservation::Granted(counted) => counted,
            Reservation::Closed(delay) => return Ok(Err(Refused { method, why: Refusal::Delayed(delay) })),
        };
        let typed = match method {
            Method::Totp => Typed::Totp(typed.to_owned()),
            Method::Recovery => Typed::Recovery(recovery::hash(installation, user, typed).await?),
        };
        Ok(Ok(Self { user, method, typed, counted, set_up, known }))
    }

    /// Spends the code, and says whether it was right. The try is given back then.
    pub async fn spend(&self, conn: &mut PgConnection, installation: &Installation) -> Result<bool, PageError> {
        let now = installation.clock.now();
        let again = if installation.dev_mode { totp::Reuse::Allowed } else { totp::Reuse::Refused };
        let right = match &self.typed {
            Typed::Totp(code) => totp::spend(conn, &installation.keyring, self.user, code, again, now).await?,
            Typed::Recovery(Some(code)) => recovery::spend(conn, self.user, code, now).await?,
            Typed::Recovery(None) => false,
        };
        if right {
            self.counted.was_right(conn).await?;
        }
        Ok(right)
    }

    /// What to say when it was wrong.
    #[must_use]
    pub fn refused(&self) -> Refused {
        Refused { method: self.method, why: Refusal::wrong(&self.counted) }
    }

    /// The answer after a right one: from then on the browser has tries of its own.
    #[must_use]
    pub fn remembered(&self, installation: &Installation, mut answer: Response) -> Response {
        if let Some(set_up) = self.set_up {
            let proof = Proof::SecondFactor(set_up);
            known::remember(installation, answer.headers_mut(), self.user, proof, self.known);
        }
        answer
    }
}

impl Refused {
    /// Notes it; `at` is the door, where that isn't the activation page.
    pub async fn note(&self, installation: &Installation, event: Event, at: Option<&str>) -> Result<(), sqlx::Error> {
        let mut detail = serde_json::json!({ "method": self.method.as_str() });
        if let (Some(at), Some(members)) = (at, detail.as_object_mut()) {
            members.insert("at".to_owned(), at.into());
        }
        self.why.note(installation, event, detail).await
    }

    /// The challenge once more, which says so.
    pub async fn challenge(
        &self,
        conn: &mut PgConnection,
        installation: &Installation,
        user: UserId,
        page: Mfa<'_>,
    ) -> Result<Response, PageError> {
        let message = self.why.message(self.method.wrong());
        let page = Mfa { error: Some(self.method.beside(&message)), ..page };
        Ok(self.why.answer(challenge(conn, installation, user, page, self.why.status()).await?))
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

/// What the page says that sets up an authenticator, besides what the authenticator is told.
pub struct Setup<'a> {
    /// What surrounds the page.
    pub frame: Frame<'a>,
    /// What the account is called.
    pub account: &'a str,
    /// Why it is set up.
    pub occasion: Occasion,
    /// Hidden fields that the form carries on.
    pub carried: &'a [(&'a str, &'a str)],
    /// Message beside the field.
    pub error: Option<&'a str>,
}

/// The page that sets up an authenticator.
pub fn enrolment(
    installation: &Installation,
    Setup { frame, account, occasion, carried, error }: Setup<'_>,
    shown: &totp::Enrolment,
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
        account_name: account,
        secret: &secret,
        carried,
        error,
        development_code: development_code.as_deref(),
    };
    let status = if error.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    Ok(answer::render(status, &page))
}

/// Draws new recovery codes for a person, who has few in the making at a time. Call it without a connection in hand: hashing
/// takes long.
pub async fn draw_recovery_codes(installation: &Installation, user: UserId) -> Result<recovery::NewCodes, PageError> {
    let making = match attempts::reserve(installation, &[Subject::NewRecoveryCodes(user)]).await? {
        Reservation::Granted(making) => making,
        Reservation::Closed(_) => return Err(PageError::Busy),
    };
    let codes = recovery::NewCodes::draw(installation).await;
    making.was_right(&mut *installation.pool.acquire().await?).await?;
    Ok(codes?)
}

/// The page that shows new recovery codes, once. `then` is where it leads on.
#[must_use]
pub fn recovery_codes(frame: Frame<'_>, codes: &[SecretText], occasion: Occasion, then: &str) -> Response {
    let codes: Vec<&str> = codes.iter().map(SecretText::expose).collect();
    answer::render(StatusCode::OK, &RecoveryCodes { frame, occasion, codes: &codes, then })
}
