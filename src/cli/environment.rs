//! The process's environment, for commands that are told to look there.

/// The value of a variable, if it is set and is text.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    crate::config::process_environment().find(|(variable, _)| variable == name).map(|(_, value)| value)
}
