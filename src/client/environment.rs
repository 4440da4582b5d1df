//! What the client asks the machine it runs on: who is there, and what their terminal can show.

use std::env;
use std::io::{self, IsTerminal};
use std::path::PathBuf;

/// Longest device name that a server takes, in characters.
const LONGEST_DEVICE_NAME: usize = 64;

/// A terminal that understands escape sequences.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    /// Width in characters.
    pub columns: u16,
    /// Height in lines.
    pub rows: u16,
    /// Whether its locale is UTF-8, so that block elements arrive as such.
    pub unicode: bool,
}

impl Terminal {
    /// The terminal that standard output is, if it is one (`TERM=dumb` is none).
    #[must_use]
    pub fn of_stdout() -> Option<Self> {
        let stdout = io::stdout();
        let dumb = variable("TERM").is_none_or(|term| term == "dumb");
        if dumb || !stdout.is_terminal() {
            return None;
        }
        let size = rustix::termios::tcgetwinsize(&stdout).ok()?;
        Some(Self { columns: size.ws_col, rows: size.ws_row, unicode: locale_is_utf8() })
    }
}

/// `user@host`, as far as both are known: what the approver is told about this device unless it is named otherwise.
#[must_use]
pub fn device_name() -> Option<String> {
    let user = variable("USER").or_else(|| variable("LOGNAME"));
    let host = rustix::system::uname().nodename().to_str().ok().map(str::to_owned).filter(|host| !host.is_empty());
    let name = match (user, host) {
        (Some(user), Some(host)) => format!("{user}@{host}"),
        (user, host) => user.or(host)?,
    };
    Some(name.chars().take(LONGEST_DEVICE_NAME).collect())
}

/// The user's directory for configuration: `$XDG_CONFIG_HOME` where it is absolute, otherwise `~/.config`.
#[must_use]
pub fn configuration_directory() -> Option<PathBuf> {
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))
}

/// Whether this session has a display, on which a person can be asked something.
#[must_use]
pub fn has_display() -> bool {
    ["DISPLAY", "WAYLAND_DISPLAY"].into_iter().any(|name| variable(name).is_some())
}

/// Whether nothing is to be coloured or set in bold (<https://no-color.org>).
#[must_use]
pub fn wants_no_colour() -> bool {
    variable("NO_COLOR").is_some()
}

/// Whether a browser can be expected on this very machine: a display, or macOS, and nobody who sits elsewhere.
#[must_use]
pub fn is_desktop() -> bool {
    let from_elsewhere = ["SSH_CONNECTION", "SSH_TTY"].into_iter().any(|name| variable(name).is_some());
    (has_display() || cfg!(target_os = "macos")) && !from_elsewhere
}

/// The first one set decides (POSIX).
fn locale_is_utf8() -> bool {
    ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(variable)
        .is_some_and(|locale| locale.to_ascii_lowercase().replace('-', "").contains("utf8"))
}

/// A variable that is set to something.
#[expect(clippy::disallowed_methods, reason = "the one place where the client asks its surroundings")]
fn variable(name: &str) -> Option<String> {
    env::var_os(name)?.into_string().ok().filter(|value| !value.is_empty())
}
