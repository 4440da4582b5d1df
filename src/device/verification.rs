//! The request-initiation check: whoever approved has to be at the device as well.
//!
//! A phished person approves on the genuine page what somebody else's machine asked for (RFC 8628 §5.4). So, where a
//! service wants it, the approval isn't the end:
//!
//! 1. The approving page shows a number of two digits. Until then nobody knows it, the requesting machine least of all.
//! 2. The person types it into the tool, and the tool sends it with its next poll as `verification_number`.
//! 3. The right one is answered with tokens. Three wrong ones deny the login for good.
//!
//! Somebody who never sat at the tool can't complete it, unless they also pass the number on. Guessing gains 3 in 90.

use std::fmt;

use crate::secrets::Random;

/// How many wrong numbers deny a login.
pub const TRIES: i16 = 3;

/// A number of two digits that doesn't begin with 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number(i16);

impl Number {
    /// Draws one, uniformly.
    #[must_use]
    pub fn draw(random: &Random) -> Self {
        loop {
            // 180 is a multiple of 90, so that no number is likelier than another.
            let [byte] = random.bytes::<1>();
            if byte < 180 {
                return Self(10 + i16::from(byte % 90));
            }
        }
    }

    /// Reads what somebody typed, spaces around it and between its digits dropped.
    #[must_use]
    pub fn parse(typed: &str) -> Option<Self> {
        let digits: String = typed.chars().filter(|sign| !sign.is_whitespace()).collect();
        let number =
            digits.parse().ok().filter(|_| digits.len() == 2 && digits.bytes().all(|sign| sign.is_ascii_digit()));
        number.and_then(Self::stored)
    }

    /// Reads what is stored.
    #[must_use]
    pub fn stored(number: i16) -> Option<Self> {
        (10..=99).contains(&number).then_some(Self(number))
    }

    /// As it is stored.
    #[must_use]
    pub const fn get(self) -> i16 {
        self.0
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_drawn_and_nothing_else() {
        let random = Random::system();
        let drawn: std::collections::BTreeSet<i16> = (0..5000).map(|_| Number::draw(&random).get()).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), (10..=99).collect::<Vec<_>>());
    }

    #[test]
    fn what_people_type_is_read() {
        for typed in ["47", " 47 ", "4 7", "47\n"] {
            assert_eq!(Number::parse(typed).map(Number::get), Some(47), "{typed:?}");
        }
        for typed in ["", "7", "07", "147", "4a", "-7", "+47", "４７"] {
            assert_eq!(Number::parse(typed), None, "{typed:?}");
        }
    }
}
