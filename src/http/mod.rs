//! What every endpoint and page shares of HTTP: fields, the client's address, the request's number, OAuth's errors,
//! headers of pages.

pub mod asked_host;
pub mod client_address;
pub mod fields;
pub mod oauth_error;
pub mod page_headers;
pub mod parameters;
pub mod preference;
pub mod request_number;
