//! The form: who the first owner is.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use crate::directory::apply::email as is_address;
use crate::http::client_address::Caller;
use crate::http::fields::Fields;
use crate::pages::Pages;
use crate::pages::answer::{self, Form, PageError};
use crate::pages::frame::{Door, Frame};
use crate::pages::password;
use crate::secrets::SecretText;

use super::authenticator;
use super::candidate::Candidate;
use super::no_good;
use super::pages::{Errors, SignUp};

const NO_EMAIL: &str = "Enter your email address, as in ada@acme.example.";
const BAD_NAME: &str = "A name has at most 100 characters, all on one line.";
const DIFFERENT: &str = "The two are not the same. Type the password once more.";
/// Said beside the address when the organization has somebody with it.
pub const TAKEN: &str = "The organization has somebody with this address already. Take another one.";

/// The most characters of a name.
const LONGEST_NAME: usize = 100;

/// What the page reads of its address. Other parameters, which mail programs like to add, are ignored.
#[derive(Deserialize)]
pub struct Parameters {
    token: Option<String>,
}

/// Shows the form, as often as anybody likes.
pub async fn show(
    State(pages): State<Pages>,
    caller: Caller,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, PageError> {
    let token = parameters.ok().and_then(|Query(parameters)| parameters.token).unwrap_or_default();
    let token = SecretText::from(token.trim());
    no_good::find(&pages, &caller, token.expose()).await?;
    Ok(page(&pages, &token, ("", ""), Errors::default()))
}

/// Takes it, and shows the authenticator that is to be set up.
pub async fn submit(State(pages): State<Pages>, caller: Caller, form: Form) -> Result<Response, PageError> {
    let fields = form.of_this_site(&pages)?;
    let token = SecretText::from(fields.get("token").unwrap_or_default());
    let link = no_good::find(&pages, &caller, token.expose()).await?;
    let (email, name) = (field(fields, "email").trim(), field(fields, "name").trim());
    let typed = match read(fields) {
        Ok(typed) => typed,
        Err(errors) => return Ok(page(&pages, &token, (email, name), errors)),
    };
    let passwords = &pages.installation.passwords;
    let _place = passwords.place()?;
    let password_hash = passwords.hash(&typed.password).await;
    if password_hash.is_empty() {
        return Err(PageError::Fault("a password could not be hashed".into()));
    }
    let candidate = Candidate::new(&pages.installation, typed.email, name.to_owned(), password_hash);
    authenticator::page(&pages, link, &token, &candidate, None).await
}

/// What the form holds, as far as it isn't kept as typed.
struct Typed {
    email: String,
    password: SecretText,
}

fn field<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.get(name).unwrap_or_default()
}

fn read(fields: &Fields) -> Result<Typed, Errors> {
    let email = is_address(field(fields, "email").trim().to_owned());
    let (name, password) = (field(fields, "name").trim(), field(fields, "password"));
    let unfit = password::unfit(password);
    let errors = Errors {
        email: email.is_err().then_some(NO_EMAIL),
        name: (!is_name(name)).then_some(BAD_NAME),
        password: unfit,
        again: (unfit.is_none() && field(fields, "password_again") != password).then_some(DIFFERENT),
    };
    match email {
        Ok(email) if errors.first().is_none() => Ok(Typed { email, password: SecretText::from(password) }),
        _ => Err(errors),
    }
}

/// Whether somebody can be called so.
#[must_use]
pub fn is_name(name: &str) -> bool {
    name.chars().count() <= LONGEST_NAME && !name.chars().any(char::is_control)
}

/// The form.
pub fn page(pages: &Pages, token: &SecretText, (email, name): (&str, &str), errors: Errors) -> Response {
    let url = &pages.installation.public_url;
    let host = url.host();
    let frame = Frame { door: Door::Setup, base: url.base_path(), host: &host, ..Frame::default() };
    let status = if errors.first().is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    answer::render(status, &SignUp { frame, token: token.expose(), email, name, errors })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(changed: (&str, &str)) -> Option<(&'static str, &'static str)> {
        let fields = [("email", "ada@acme.example"), ("name", "Ada"), ("password", "correct horse")];
        let mut form: Vec<(&str, &str)> = fields.into_iter().chain([("password_again", "correct horse")]).collect();
        form.retain(|(name, _)| *name != changed.0);
        form.push(changed);
        let fields = Fields::from_form(serde_urlencoded::to_string(form).unwrap().as_bytes()).unwrap();
        read(&fields).err()?.first()
    }

    #[test]
    fn what_is_wrong_is_said_beside_its_field() {
        assert_eq!(wrong(("name", "")), None, "a name is not asked for");
        assert_eq!(wrong(("email", " Ada@Acme.Example ")), None);
        for none in ["", "ada", "ada@", "a b@acme.example"] {
            assert_eq!(wrong(("email", none)), Some(("email", NO_EMAIL)), "{none}");
        }
        assert_eq!(wrong(("name", &"a".repeat(101))), Some(("name", BAD_NAME)));
        assert_eq!(wrong(("password", "seven77")).unwrap().0, "password");
        assert_eq!(wrong(("password_again", "correct house")), Some(("password_again", DIFFERENT)));
    }
}
