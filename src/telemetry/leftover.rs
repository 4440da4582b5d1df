//! What is deleted when its time is over.

/// A kind of row, called after its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// Device logins, with what was reported of them.
    Grants,
    /// Signed-in devices.
    Sessions,
    /// Browsers, with who was signed in there.
    BrowserSessions,
    /// Ways to a provider and back.
    UpstreamSignIns,
    /// What was spent within the last hour.
    Budgets,
    /// Wrong tries.
    Attempts,
    /// Proofs that were used.
    Proofs,
    /// Messages.
    Notices,
    /// Events of the audit, with their links.
    Events,
}

impl Leftover {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Grants,
        Self::Sessions,
        Self::BrowserSessions,
        Self::UpstreamSignIns,
        Self::Budgets,
        Self::Attempts,
        Self::Proofs,
        Self::Notices,
        Self::Events,
    ];

    /// Its table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grants => "device_grant",
            Self::Sessions => "session",
            Self::BrowserSessions => "browser_session",
            Self::UpstreamSignIns => "upstream_sign_in",
            Self::Budgets => "budget",
            Self::Attempts => "attempt",
            Self::Proofs => "dpop_proof",
            Self::Notices => "notice",
            Self::Events => "audit_event",
        }
    }
}
