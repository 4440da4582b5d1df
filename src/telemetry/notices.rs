//! The words with which attempts to tell somebody are counted.

/// How somebody is told of an approval or an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// By mail.
    Mail,
    /// By a message to a program.
    Webhook,
}

/// What became of a notice in an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeOutcome {
    /// It arrived.
    Delivered,
    /// It did not, and is tried again.
    Failed,
    /// It did not, and isn't.
    GivenUp,
}

impl Channel {
    /// Each of them.
    pub(super) const ALL: [Self; 2] = [Self::Mail, Self::Webhook];

    /// As the label has it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Webhook => "webhook",
        }
    }
}

impl NoticeOutcome {
    /// Each of them.
    pub(super) const ALL: [Self; 3] = [Self::Delivered, Self::Failed, Self::GivenUp];

    /// As the label has it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::GivenUp => "given_up",
        }
    }
}
