//! What a server says of the person: the claims of an id token or of userinfo (OpenID Connect Core §2, §5.3).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::printable::printable;
use super::secret::Secret;

/// Names that people know themselves by, the best one first.
const ACCOUNT: [&str; 4] = ["email", "preferred_username", "name", "sub"];

/// Claims about one person, safe to print.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// Reads a JSON object.
    pub(crate) fn read(json: &[u8]) -> Option<Self> {
        match serde_json::from_slice(json).ok()? {
            Value::Object(claims) => {
                Some(Self(claims.into_iter().map(|(name, value)| (printable(&name), safe(value))).collect()))
            }
            _ => None,
        }
    }

    /// The claims of an id token, its signature not checked: it came over this client's own connection to the token
    /// endpoint (OpenID Connect Core §3.1.3.7, step 6), and it opens nothing here.
    pub(crate) fn of_id_token(token: &Secret) -> Option<Self> {
        Self::read(&URL_SAFE_NO_PAD.decode(token.expose().split('.').nth(1)?).ok()?)
    }

    /// A claim that is a text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.0.get(name)?.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned)
    }

    /// Who it is, in the words that the person knows best.
    #[must_use]
    pub fn account(&self) -> Option<String> {
        ACCOUNT.iter().find_map(|name| self.text(name))
    }

    /// All of them.
    #[must_use]
    pub const fn all(&self) -> &Map<String, Value> {
        &self.0
    }

    /// These, and what only `older` says.
    pub(crate) fn over(self, older: Self) -> Self {
        let mut claims = older.0;
        claims.extend(self.0);
        Self(claims)
    }
}

fn safe(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(printable(&text)),
        Value::Array(values) => values.into_iter().map(safe).collect(),
        Value::Object(members) => members.into_iter().map(|(name, value)| (printable(&name), safe(value))).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_token(claims: &str) -> Secret {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)).into()
    }

    #[test]
    fn an_id_token_names_the_account() {
        let claims =
            Claims::of_id_token(&id_token(r#"{"sub":"u1","email":"ada@acme.example\u001b[2J","amr":["otp"]}"#));
        let claims = claims.unwrap();
        assert_eq!(claims.account().as_deref(), Some("ada@acme.example[2J"));
        assert_eq!(claims.text("sub").as_deref(), Some("u1"));
        assert_eq!(Claims::of_id_token(&id_token(r#"{"sub":"u1"}"#)).unwrap().account().as_deref(), Some("u1"));
    }

    #[test]
    fn what_is_no_id_token_names_nobody() {
        for text in ["", "opaque", "a.b.c", "e30.W10.x"] {
            assert_eq!(Claims::of_id_token(&text.to_owned().into()), None, "{text}");
        }
    }
}
