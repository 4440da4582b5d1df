//! The reference client against an authorization server that does what each test tells it: as a library, and as the
//! command that people type.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod command;
mod library;
mod stand_in;
