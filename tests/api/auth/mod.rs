//! `/auth/…`

mod token;
