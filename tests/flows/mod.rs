//! Whole logins over HTTP, from a device's request to its tokens.

mod password;
