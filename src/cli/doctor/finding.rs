//! What a check found.

use std::fmt;

use serde::Serialize;

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// It works, and may not for long, or not for everybody.
    Warning,
    /// It doesn't work.
    Failure,
    /// It could not be looked at, or there is nothing to look at.
    Skipped,
}

/// The outcome of one check, in words. Nothing secret is among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How it stands.
    pub outcome: Outcome,
    /// What was found, or why it was not looked for.
    pub says: String,
    /// What to do.
    pub mend: Option<String>,
}

/// A verdict and what it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which check; the same words in every version, for programs.
    pub check: &'static str,
    /// Of several things that are checked alike, which.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// How it stands.
    pub outcome: Outcome,
    /// What was found, or why it was not looked for.
    pub says: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Verdict {
    /// As it should be.
    #[must_use]
    pub fn ok(says: impl Into<String>) -> Self {
        Self { outcome: Outcome::Ok, says: says.into(), mend: None }
    }

    /// Not looked at.
    #[must_use]
    pub fn skipped(why: impl Into<String>) -> Self {
        Self { outcome: Outcome::Skipped, says: why.into(), mend: None }
    }

    /// It works for now.
    #[must_use]
    pub fn warning(says: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { outcome: Outcome::Warning, says: says.into(), mend: Some(mend.into()) }
    }

    /// It doesn't work.
    #[must_use]
    pub fn failure(says: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failure, says: says.into(), mend: Some(mend.into()) }
    }

    /// The verdict of this check.
    #[must_use]
    pub fn of(self, check: &'static str) -> Finding {
        let Self { outcome, says, mend } = self;
        Finding { check, subject: None, outcome, says, mend }
    }

    /// The verdict of this check on one of several things.
    #[must_use]
    pub fn about(self, check: &'static str, subject: impl Into<String>) -> Finding {
        Finding { subject: Some(subject.into()), ..self.of(check) }
    }
}

impl Outcome {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "FAILURE",
            Self::Skipped => "skipped",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8} {}", self.outcome.word(), self.check)?;
        if let Some(subject) = &self.subject {
            write!(f, " {subject}")?;
        }
        write!(f, ": {}", self.says)?;
        self.mend.as_ref().map_or(Ok(()), |mend| write!(f, "\n         → {mend}"))
    }
}
