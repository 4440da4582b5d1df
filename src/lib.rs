//! Countersign: a self-hosted authorization server for device login.

pub mod cli;
pub mod client;
pub mod clock;
