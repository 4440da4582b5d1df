//! The parameters of an OAuth request (RFC 6749 §3.2): each at most once, blank ones absent, unknown ones ignored.

use axum::extract::{FromRequest, Request};

use super::fields::{Fields, FieldsError};
use super::oauth_error::OAuthError;

/// The parameters that may stand more than once (RFC 8707 §2).
const MAY_REPEAT: [&str; 2] = ["resource", "audience"];

/// Checked parameters of a form or JSON body.
pub struct Parameters(Fields);

impl Parameters {
    /// The value of a parameter, absent when blank.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)
    }

    /// The value of a parameter without which the request makes no sense.
    pub fn required(&self, name: &'static str) -> Result<&str, OAuthError> {
        self.get(name).ok_or_else(|| OAuthError::invalid_request(format!("The parameter {name} is missing.")))
    }

    /// The values of a parameter that may be repeated.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.all(name)
    }
}

impl TryFrom<Fields> for Parameters {
    type Error = OAuthError;

    fn try_from(fields: Fields) -> Result<Self, OAuthError> {
        match fields.repeated(&MAY_REPEAT) {
            Some(name) => {
                // What may stand in a description (RFC 6749 §5.2).
                let plain = |c: &char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
                let name: String = name.chars().filter(plain).take(40).collect();
                Err(OAuthError::invalid_request(format!("The parameter {name} must stand only once.")))
            }
            None => Ok(Self(fields)),
        }
    }
}

impl<S: Sync> FromRequest<S> for Parameters {
    type Rejection = OAuthError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, OAuthError> {
        let (parts, body) = request.into_parts();
        Fields::read(&parts.headers, body).await?.try_into()
    }
}

impl From<FieldsError> for OAuthError {
    fn from(error: FieldsError) -> Self {
        let sentence = format!("The request can't be read: {error}.");
        match error {
            FieldsError::TooSlow => Self::invalid_request(sentence).with_status(408),
            FieldsError::TooLarge => Self::invalid_request(sentence).with_status(413),
            FieldsError::UnsupportedMediaType => Self::invalid_request(sentence).with_status(415),
            FieldsError::Malformed(_) => Self::invalid_request(sentence),
        }
    }
}
