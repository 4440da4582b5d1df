//! The activation page, where a person approves a device login.

pub mod pages;
