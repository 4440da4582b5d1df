//! What surrounds every page, and the files that it links to.

use std::fmt;

/// The one stylesheet, served at `{base}/static/countersign.css`.
pub const STYLESHEET: &str = include_str!("../../static/countersign.css");

/// The mark that browsers show in a tab, served as `image/svg+xml` at `{base}/static/countersign.svg`.
pub const ICON: &str = include_str!("../../static/countersign.svg");

/// Changes with every change of [`STYLESHEET`] or [`ICON`]: both may be cached for ever under `?v=` this number.
pub const ASSET_VERSION: u32 = fnv1a(ICON.as_bytes(), fnv1a(STYLESHEET.as_bytes(), 0x811c_9dc5));

/// FNV-1a over `bytes`, continued from `hash`. It names a version and protects nothing.
const fn fnv1a(mut bytes: &[u8], mut hash: u32) -> u32 {
    while let [byte, rest @ ..] = bytes {
        hash = (hash ^ *byte as u32).wrapping_mul(0x0100_0193);
        bytes = rest;
    }
    hash
}

/// Which door a page belongs to. It is displayed as what the door's addresses begin with, after the base path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Door<'a> {
    /// A device is waiting: `/activate`.
    #[default]
    Activation,
    /// It wasn't them: `/activate/report`.
    Report,
    /// The installation gets its first owner: `/setup`.
    Setup,
    /// A person looks after their own: `/account`, or `/account/{organization}` once the organization is known.
    Account(Option<&'a str>),
}

impl Door<'_> {
    /// What the page is called where no organization is known.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Activation => "Device sign-in",
            Self::Setup => "Setting up",
            Self::Report | Self::Account(_) => "Your account",
        }
    }

    /// Whether a device is waiting for the person.
    pub(crate) fn is_activation(&self) -> bool {
        *self == Self::Activation
    }

    /// Whether the installation gets its first owner.
    pub(crate) fn is_setup(&self) -> bool {
        *self == Self::Setup
    }

    /// Whether the person came to say that it wasn't them.
    pub(crate) fn is_report(&self) -> bool {
        *self == Self::Report
    }
}

impl fmt::Display for Door<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Activation => f.write_str("/activate"),
            Self::Report => f.write_str("/activate/report"),
            Self::Setup => f.write_str("/setup"),
            Self::Account(None) => f.write_str("/account"),
            Self::Account(Some(organization)) => write!(f, "/account/{organization}"),
        }
    }
}

/// What surrounds every page.
#[derive(Debug, Clone, Copy, Default)]
pub struct Frame<'a> {
    /// Which door the page belongs to.
    pub door: Door<'a>,
    /// Path of the public URL without a trailing slash: empty, or `/login`. Every link and form begins with it.
    pub base: &'a str,
    /// Host (and port, unless it is the scheme's own) of the public URL: what the person should see in the address bar.
    pub host: &'a str,
    /// Name of the organization, once the code has told it.
    pub organization: Option<&'a str>,
    /// Name of the service, once the code has told it.
    pub service: Option<&'a str>,
    /// Whom the browser session is signed in as, shown with "Not you?" (`POST …/sign-out` of the door).
    pub account: Option<&'a str>,
    /// The browser session's token for the hidden field `csrf_token`. Pages that hold no form ignore it.
    pub csrf_token: &'a str,
    /// What to quote to the people who run the server; shown small below the page.
    pub request_id: Option<&'a str>,
}

impl Frame<'_> {
    /// What the tab says after the page's own title: the service, or the host while no service is known.
    pub(crate) fn site(&self) -> &str {
        self.service.or(self.organization).unwrap_or(self.host)
    }

    /// Where the door begins, base path included.
    pub(crate) fn home(&self) -> String {
        format!("{}{}", self.base, self.door)
    }

    /// First letter of the organization, for the mark beside its name.
    pub(crate) fn initial(&self) -> String {
        let first = self.organization.and_then(|name| name.chars().find(|c| c.is_alphanumeric()));
        first.map(|letter| letter.to_uppercase().collect()).unwrap_or_default()
    }

    /// The organization in a sentence: its name, or "your organization".
    pub(crate) fn organization_or_yours(&self) -> &str {
        self.organization.unwrap_or("your organization")
    }

    /// The service in a sentence: its name, or "the service".
    pub(crate) fn service_or_the(&self) -> &str {
        self.service.unwrap_or("the service")
    }
}
