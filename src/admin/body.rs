//! Bodies: a JSON object, read whole up to a limit and strictly.

use axum::body::Body as HttpBody;
use axum::extract::{FromRequest, Request};
use axum::http::header;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Map, Value};

use crate::http::fields::{BODY_LIMIT, BODY_TIME};
use crate::secrets::SecretText;

use super::Administration;
use super::problem::{FieldError, Kind, Problem};

/// The members of a body, which has so many bytes at most.
pub struct Members<const MOST: usize = BODY_LIMIT>(pub Map<String, Value>);

impl<const MOST: usize> FromRequest<Administration> for Members<MOST> {
    type Rejection = Problem;

    async fn from_request(request: Request, _api: &Administration) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let bytes = read(body, MOST).await?;
        if bytes.is_empty() && content_type.is_none() {
            return Ok(Self(Map::new()));
        }
        let known = ["application/json", "application/merge-patch+json"];
        if !known.iter().any(|known| known.eq_ignore_ascii_case(media_type)) {
            return Err(Problem::of_body(Kind::UnsupportedMediaType, MOST));
        }
        // What the parser says may quote what was sent, and there may be a secret in it.
        let members: Map<String, Value> = serde_json::from_slice(&bytes).map_err(|error| {
            Problem::malformed(format!("The body is no JSON object: line {}, column {}.", error.line(), error.column()))
        })?;
        Ok(Self(members))
    }
}

async fn read(body: HttpBody, most: usize) -> Result<axum::body::Bytes, Problem> {
    let whole = tokio::time::timeout(BODY_TIME, Limited::new(body, most).collect()).await;
    match whole.map_err(|_| Problem::of_body(Kind::TooSlow, most))? {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::of_body(Kind::TooLarge, most)),
        Err(_) => Err(Problem::malformed("The body ended before its length was reached.")),
    }
}

impl<const MOST: usize> Members<MOST> {
    /// Goes on when each member is one of these.
    pub fn only(&self, known: &[&str]) -> Result<(), Problem> {
        let unknown = self.0.keys().filter(|name| !known.contains(&name.as_str()));
        let error = |name: &String| FieldError { field: name.clone(), message: format!("unknown member {name:?}") };
        let errors: Vec<FieldError> = unknown.map(error).collect();
        if errors.is_empty() { Ok(()) } else { Err(Problem::invalid(errors)) }
    }

    /// Takes a text out; `null` is as good as absent.
    pub fn take_text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Problem::invalid_field(name, "it is a text")),
        }
    }

    /// Takes a secret out.
    pub fn take_secret(&mut self, name: &str) -> Result<Option<SecretText>, Problem> {
        Ok(self.take_text(name)?.map(SecretText::from))
    }

    /// Takes a switch out.
    pub fn take_bool(&mut self, name: &str) -> Result<Option<bool>, Problem> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(_) => Err(Problem::invalid_field(name, "it is true or false")),
        }
    }

    /// What these members make of what is there (RFC 7396): `null` takes a key away, which then has its default.
    pub fn merged_into(self, mut target: Map<String, Value>) -> Map<String, Value> {
        for (name, value) in self.0 {
            if value.is_null() {
                target.remove(&name);
            } else {
                target.insert(name, value);
            }
        }
        target
    }
}
