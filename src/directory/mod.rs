//! Who may log in, to what, and how: organizations, services, providers and users; and who is told: webhooks.

pub mod apply;
pub mod fresh_proof;
pub mod kept_secret;
pub mod known;
pub mod organization;
pub mod people;
pub mod provider;
pub mod service;
pub mod user;
pub mod webhook;

/// A word of the database that this program doesn't know: the schema is newer than the binary.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the database holds the unknown {what} {word:?}")]
pub struct UnknownWord {
    what: &'static str,
    word: String,
}

/// Enums that are stored as text, with the one list of their words.
macro_rules! stored_as_text {
    ($what:literal, $name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $name {
            /// As it is stored and written in files.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::directory::UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::directory::UnknownWord { what: $what, word: word.to_owned() }),
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = <String as serde::Deserialize>::deserialize(deserializer)?;
                word.parse().map_err(|_| {
                    let words = [$($word),+].join(", ");
                    serde::de::Error::custom(format!("{word:?} is no {}; it is one of {words}", $what))
                })
            }
        }
    };
}
pub(crate) use stored_as_text;

/// Reads a stored word, or says as a database error that it is unknown.
pub(crate) fn word<T: std::str::FromStr<Err = UnknownWord>>(text: &str) -> Result<T, sqlx::Error> {
    text.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}
