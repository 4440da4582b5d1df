//! The reference client against an authorization server that does what each test tells it: as a library, and as the
//! command that people type.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod command;
mod kept;
#[cfg(target_os = "linux")]
mod keyring;
mod library;
mod logout;
#[path = "../support/ports.rs"]
mod ports;
mod stand_in;
