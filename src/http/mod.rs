//! What every endpoint and page shares of HTTP: fields, the client's address, OAuth's errors, headers of pages.

pub mod asked_host;
pub mod client_address;
pub mod fields;
pub mod oauth_error;
pub mod page_headers;
pub mod parameters;
