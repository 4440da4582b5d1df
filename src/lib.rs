//! Countersign: a self-hosted authorization server for device login.

pub mod postgres;
