//! The endpoints; the modules mirror the URLs.

mod auth;
