//! Another password, for accounts of Countersign's own.

use axum::http::StatusCode;
use axum::response::Response;

use crate::audit;
use crate::browser;
use crate::directory::provider::{self, Kind};
use crate::directory::user::{self, LONGEST_PASSWORD, SHORTEST_PASSWORD};
use crate::http::fields::Fields;
use crate::pages::Pages;
use crate::pages::answer::{self, Form, PageError};
use crate::postgres::PgConnection;
use crate::secrets::SecretText;

use super::pages::{Notice, Password, PasswordErrors};
use super::visit::{Arrival, Guarded, Guest, Visit, nowhere};

const NO_OLD: &str = "Enter the password that you have now.";
const WRONG_OLD: &str = "This is not the password that you have now.";
const TOO_SHORT: &str = "A password has at least 8 characters.";
const TOO_LONG: &str = "A password has at most 200 characters.";
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
    let (user, old_hash) = (visit.account()?.user.id, visit.account()?.user.password_hash.clone());
    let passwords = &pages.installation.passwords;
    if !passwords.verify(&typed.old, old_hash.as_deref()).await {
        let mut conn = pages.installation.pool.acquire().await?;
        visit
            .event(&pages, audit::Kind::Refused, &caller)
            .detail(serde_json::json!({ "because": "wrong password", "at": "account password" }))
            .append(&mut conn)
            .await?;
        return page(&pages, &visit, PasswordErrors { old: Some(WRONG_OLD), ..PasswordErrors::default() });
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
    Ok(pages.with_cookie(&visit.visitor, answer))
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
        let length = new.chars().count();
        let of_new = if length < SHORTEST_PASSWORD {
            Some(TOO_SHORT)
        } else if length > LONGEST_PASSWORD {
            Some(TOO_LONG)
        } else {
            None
        };
        let errors = PasswordErrors {
            old: old.is_empty().then_some(NO_OLD),
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
    let csrf_token = visit.csrf_token(pages, visit.about());
    let email = visit.account()?.user.email.as_deref().unwrap_or_default();
    let status = if errors.first().is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    Ok(answer::render(status, &Password { frame: visit.frame(pages, &csrf_token), email, errors }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(new: &str, again: &str) -> Option<(&'static str, &'static str)> {
        let form = serde_urlencoded::to_string([
            ("current_password", "old"),
            ("new_password", new),
            ("new_password_again", again),
        ]);
        let fields = Fields::from_form(form.unwrap().as_bytes()).unwrap();
        Typed::read(&fields).err().and_then(|errors| errors.first())
    }

    #[test]
    fn a_new_password_has_8_to_200_characters_and_is_typed_twice() {
        assert_eq!(read("ünïcödé!", "ünïcödé!"), None);
        assert_eq!(read(&"a".repeat(200), &"a".repeat(200)), None);
        assert_eq!(read("seven77", "seven77"), Some(("new_password", TOO_SHORT)));
        assert_eq!(read(&"a".repeat(201), &"a".repeat(201)), Some(("new_password", TOO_LONG)));
        assert_eq!(read("long enough", "long enough "), Some(("new_password_again", DIFFERENT)));
    }
}
