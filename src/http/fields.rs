//! The fields of a body: form or JSON, read whole up to a limit.

use std::collections::HashSet;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// The most that a body may hold, in bytes.
pub const BODY_LIMIT: usize = 64 * 1024;

/// How long a body may take. It comes with its header as a rule, and has 64 KiB at most.
pub const BODY_TIME: Duration = Duration::from_secs(10);

/// The most fields that a body may hold: no request here has a dozen.
const MOST_FIELDS: usize = 100;

/// Name and value, in order, repeated ones included, blank ones left out.
#[derive(Clone, Default)]
pub struct Fields(Vec<(String, String)>);

/// Why a body has no fields.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldsError {
    /// More than [`BODY_LIMIT`].
    #[error("the body is larger than 64 KiB")]
    TooLarge,
    /// Not there after [`BODY_TIME`].
    #[error("the body took longer than 10 seconds")]
    TooSlow,
    /// Neither a form nor JSON.
    #[error("the body must be application/x-www-form-urlencoded or application/json")]
    UnsupportedMediaType,
    /// Not what its Content-Type says.
    #[error("{0}")]
    Malformed(&'static str),
}

impl Fields {
    /// Reads a body by its Content-Type; without one it counts as a form, as the standard's only type (RFC 6749 §B).
    pub async fn read(headers: &HeaderMap, body: Body) -> Result<Self, FieldsError> {
        let content_type =
            headers.get(header::CONTENT_TYPE).map_or(Ok("application/x-www-form-urlencoded"), |value| {
                value.to_str().map_err(|_| FieldsError::UnsupportedMediaType)
            })?;
        let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let whole = tokio::time::timeout(BODY_TIME, Limited::new(body, BODY_LIMIT).collect()).await;
        let bytes = match whole.map_err(|_| FieldsError::TooSlow)? {
            Ok(collected) => collected.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Err(FieldsError::TooLarge),
            Err(_) => {
                return Err(FieldsError::Malformed("the body ended before its length was reached"));
            }
        };
        let fields = match media_type.as_str() {
            "application/x-www-form-urlencoded" => Self::from_form(&bytes),
            "application/json" => Self::from_json(&bytes),
            _ => Err(FieldsError::UnsupportedMediaType),
        }?;
        fields.plausible()
    }

    /// Reads `a=1&b=2`.
    pub fn from_form(bytes: &[u8]) -> Result<Self, FieldsError> {
        let text = std::str::from_utf8(bytes).map_err(|_| FieldsError::Malformed("the form is not UTF-8"))?;
        let pairs: Vec<(String, String)> =
            serde_urlencoded::from_str(text).map_err(|_| FieldsError::Malformed("the form is malformed"))?;
        Ok(Self(pairs).without_blanks())
    }

    /// Reads a JSON object of strings; a list of strings is a repeated field.
    pub fn from_json(bytes: &[u8]) -> Result<Self, FieldsError> {
        let object: JsonObject = serde_json::from_slice(bytes)
            .map_err(|_| FieldsError::Malformed("the body is not a JSON object of strings"))?;
        Ok(Self(object.0).without_blanks())
    }

    /// The values of a field.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first value of a field.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The name of a field that stands more than once, apart from those in `may_repeat`.
    #[must_use]
    pub fn repeated(&self, may_repeat: &[&str]) -> Option<&str> {
        let mut seen = HashSet::with_capacity(self.0.len());
        let mut names = self.0.iter().map(|(name, _)| name.as_str());
        names.find(|name| !seen.insert(*name) && !may_repeat.contains(name))
    }

    fn without_blanks(mut self) -> Self {
        self.0.retain(|(_, value)| !value.is_empty());
        self
    }

    fn plausible(self) -> Result<Self, FieldsError> {
        if self.0.len() > MOST_FIELDS {
            return Err(FieldsError::Malformed("there are more than 100 fields"));
        }
        // PostgreSQL stores no NUL, and nobody types one.
        if self.0.iter().any(|(_, value)| value.contains('\0')) {
            return Err(FieldsError::Malformed("a value contains a NUL character"));
        }
        Ok(self)
    }
}

/// A JSON object of which repeated members are kept, unlike in serde's maps: they must be noticed.
struct JsonObject(Vec<(String, String)>);

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum JsonValue {
    Text(String),
    List(Vec<String>),
    Null(()),
}

impl<'de> Deserialize<'de> for JsonObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = JsonObject;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonObject, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, JsonValue>()? {
                    match value {
                        JsonValue::Text(text) => members.push((name, text)),
                        JsonValue::List(list) => members.extend(list.into_iter().map(|text| (name.clone(), text))),
                        JsonValue::Null(()) => {}
                    }
                }
                Ok(JsonObject(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_and_json_read_alike() {
        for fields in [
            Fields::from_form(b"client_id=demo-cli&scope=read+write&empty=&resource=a&resource=b"),
            Fields::from_json(
                br#"{"client_id":"demo-cli","scope":"read write","empty":"","none":null,"resource":["a","b"]}"#,
            ),
        ] {
            let fields = fields.unwrap();
            assert_eq!(fields.get("scope"), Some("read write"));
            assert_eq!(fields.get("empty"), None);
            assert_eq!(fields.all("resource").collect::<Vec<_>>(), ["a", "b"]);
            assert_eq!(fields.repeated(&["resource"]), None);
        }
    }

    #[test]
    fn a_repeated_member_is_noticed_in_json_too() {
        assert_eq!(Fields::from_json(br#"{"a":"1","a":"2"}"#).unwrap().repeated(&[]), Some("a"));
        assert_eq!(Fields::from_form(b"a=1&b=2&a=3").unwrap().repeated(&[]), Some("a"));
    }

    #[test]
    fn other_json_is_malformed() {
        for body in [&b"[]"[..], b"{\"a\":1}", b"{\"a\":{\"b\":\"c\"}}", b"{", b"", b"\"a\"", b"\xff"] {
            assert!(Fields::from_json(body).is_err(), "{body:?}");
        }
    }
}
