//! Another password, for accounts of Countersign's own.

use std::borrow::Cow;

use axum::http::StatusCode;
use axum::response::Response;

use crate::attempts::{self, Reservation, Subject};
use crate::audit;
use crate::browser;
use crate::browser::known::{self, Proof};
use crate::directory::provider::{self, Kind};
use crate::directory::user::{self, LONGEST_TYPED};
use crate::http::fields::Fields;
use crate::ids::UserId;
use crate::installation::Installation;
use crate::pages::Pages;
use crate::pages::answer::{self, Form, PageError};
use crate::pages::password::unfit;
use crate::pages::refusal::Refusal;
use crate::postgres::PgConnection;
use crate::secrets::SecretText;

use super::pages::{Notice, Password, PasswordErrors};
use super::visit::{Arrival, Guarded, Guest, Visit, nowhere};

const NO_OLD: &str = "Enter the password that you have now.";
const WRONG_OLD: &str = "This is not the password that you have now.";
const DIFFERENT: &str = "The two are not the same. Type the new password once more.";

/// Whether the person signs in with a password here.
pub async fn has_one(conn: &mut PgConnection, visit: &Visit) -> Result<bool, PageError> {
    if visit.account()?.user.password_hash.is_none() {
        return Ok(false);
    }
    let providers = provider::of_organization(conn, visit.organization.id).await?;
    Ok(providers.iter().any(|provider| provider.kind == Kind::Password))
}

/// Shows the form.
pub async fn show(Arrival { pages, guest, .. }: Arrival) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let visit = enter(&mut conn, &pages, &guest).await?;
    page(&pages, &visit, PasswordErrors::default())
}

/// Changes the password, and signs the person out in every other browser.
pub async fn submit(Arrival { pages, caller, guest }: Arrival, form: Form) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let mut visit = enter(&mut conn, &pages, &guest).await?;
    let fields = form.of(&pages, &visit.visitor, visit.about())?;
    // Hashing takes long: not with a connection in hand.
    drop(conn);
    let typed = match Typed::read(fields) {
        Ok(typed) => typed,
        Err(errors) => return page(&pages, &visit, errors),
    };
    let passwords = &pages.installation.passwords;
    let _place = passwords.place()?;
    let (user, old_hash) = (visit.account()?.user.id, visit.account()?.user.password_hash.clone());
    if let Some(refusal) = old_is_wrong(&pages.installation, user, &typed.old, old_hash.as_deref()).await? {
        let event = visit.event(&pages, audit::Kind::Refused, &caller);
        let detail = serde_json::json!({ "because": "wrong password", "at": "account password" });
        refusal.note(&pages.installation, event, detail).await?;
        let errors = PasswordErrors { old: Some(refusal.message(WRONG_OLD)), ..PasswordErrors::default() };
        return Ok(refusal.answer(page_of(&pages, &visit, refusal.status(), errors)?));
    }
    let new_hash = passwords.hash(&typed.new).await;
    if new_hash.is_empty() {
        return Err(PageError::Fault("a password could not be hashed".into()));
    }
    let mut tx = pages.installation.pool.begin().await?;
    if !user::change_password(&mut tx, user, old_hash.as_deref().unwrap_or_default(), &new_hash).await? {
        // Changed in another browser, which has signed this one out.
        return Ok(visit.lead_on(&pages));
    }
    let browsers = browser::store::sign_out_elsewhere(&mut tx, visit.browser()?.id, user).await?;
    visit.visitor.renew(&mut tx, &pages.installation).await?;
    visit
        .event(&pages, audit::Kind::Administered, &caller)
        .detail(serde_json::json!({ "changed": "password", "by": "the person", "browsers signed out": browsers }))
        .append(&mut tx)
        .await?;
    tx.commit().await?;
    let answer = visit.lead_to(&pages, &format!("/security?done={}", Notice::PasswordChanged.as_str()));
    let mut answer = pages.with_cookie(&visit.visitor, answer);
    known::remember(&pages.installation, answer.headers_mut(), user, Proof::Password(&new_hash), None);
    Ok(answer)
}

/// Why the old password is not taken, if it isn't. Tries count for the person who is signed in, and for nobody else.
async fn old_is_wrong(
    installation: &Installation,
    user: UserId,
    old: &SecretText,
    hash: Option<&str>,
) -> Result<Option<Refusal>, PageError> {
    let attempt = match attempts::reserve(installation, &[Subject::OwnPassword(user)]).await? {
        Reservation::Granted(attempt) => attempt,
        Reservation::Closed(delay) => return Ok(Some(Refusal::Delayed(delay))),
    };
    if !installation.passwords.verify(old, hash).await {
        return Ok(Some(Refusal::wrong(&attempt)));
    }
    attempt.was_right(&mut *installation.pool.acquire().await?).await?;
    Ok(None)
}

/// Lets in who has a password and a fresh second factor.
async fn enter(conn: &mut PgConnection, pages: &Pages, guest: &Guest) -> Result<Visit, PageError> {
    let visit = guest.at_home(conn, pages).await?;
    if !has_one(conn, &visit).await? {
        return Err(nowhere());
    }
    visit.freshly_proven(pages, Guarded::Password)
}

/// What the form holds.
struct Typed {
    old: SecretText,
    new: SecretText,
}

impl Typed {
    fn read(fields: &Fields) -> Result<Self, PasswordErrors> {
        let field = |name| fields.get(name).unwrap_or_default();
        let (old, new) = (field("current_password"), field("new_password"));
        let of_new = unfit(new);
        let of_old =
            if old.is_empty() { Some(NO_OLD) } else { (old.chars().count() > LONGEST_TYPED).then_some(WRONG_OLD) };
        let errors = PasswordErrors {
            old: of_old.map(Cow::from),
            new: of_new,
            again: (of_new.is_none() && field("new_password_again") != new).then_some(DIFFERENT),
        };
        if errors.first().is_some() {
            return Err(errors);
        }
        Ok(Self { old: SecretText::from(old), new: SecretText::from(new) })
    }
}

fn page(pages: &Pages, visit: &Visit, errors: PasswordErrors) -> Result<Response, PageError> {
    let status = if errors.first().is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    page_of(pages, visit, status, errors)
}

fn page_of(pages: &Pages, visit: &Visit, status: StatusCode, errors: PasswordErrors) -> Result<Response, PageError> {
    let csrf_token = visit.csrf_token(pages, visit.about());
    let email = visit.account()?.user.email.as_deref().unwrap_or_default();
    Ok(answer::render(status, &Password { frame: visit.frame(pages, &csrf_token), email, errors }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::password::{TOO_LONG, TOO_SHORT};

    fn read(new: &str, again: &str) -> Option<(&'static str, String)> {
        let form = serde_urlencoded::to_string([
            ("current_password", "old"),
            ("new_password", new),
            ("new_password_again", again),
        ]);
        let fields = Fields::from_form(form.unwrap().as_bytes()).unwrap();
        let errors = Typed::read(&fields).err()?;
        errors.first().map(|(field, message)| (field, message.to_owned()))
    }

    #[test]
    fn a_new_password_has_8_to_200_characters_and_is_typed_twice() {
        assert_eq!(read("ünïcödé!", "ünïcödé!"), None);
        assert_eq!(read(&"a".repeat(200), &"a".repeat(200)), None);
        assert_eq!(read("seven77", "seven77"), Some(("new_password", TOO_SHORT.to_owned())));
        assert_eq!(read(&"a".repeat(201), &"a".repeat(201)), Some(("new_password", TOO_LONG.to_owned())));
        assert_eq!(read("long enough", "long enough "), Some(("new_password_again", DIFFERENT.to_owned())));
    }
}
