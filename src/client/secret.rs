//! Strings that open doors: device codes and tokens.

use std::fmt;

use serde::Deserialize;
use zeroize::Zeroizing;

/// A token or device code. Its `Debug` says nothing, it has no `Display`, and its memory is wiped when it is dropped.
#[derive(Clone, Deserialize)]
#[serde(from = "String")]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The secret itself: for the request or the file that needs it, never for a screen or a log.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(Zeroizing::new(value))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_does_not_hold_the_secret() {
        assert_eq!(format!("{:?}", Secret::from("csd_abc".to_owned())), "Secret(…)");
    }
}
