//! The server as its users meet it, in one binary: `api` mirrors the URLs, `flows` holds whole logins, `attacks`
//! what must not succeed, `audit` reads the audit's chains, `dump` tries what a copy of the database is worth.

#![expect(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod account;
mod admin;
mod api;
mod attacks;
mod audit;
mod dump;
mod flows;
mod sessions;
mod support;
