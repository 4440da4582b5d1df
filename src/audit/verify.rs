//! Whether a chain is as it was made: link by link, as they are read.

use std::fmt;

use uuid::Uuid;

use super::chain::Link;
use super::line::{self, BEGINNING, Hash, hex};
use crate::secrets::Keyring;

/// A place in a chain and its hash, which stands for everything up to it. Kept elsewhere, it shows later that nothing of
/// that was cut off or rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// From 1.
    pub position: i64,
    /// Of the event there.
    pub hash: Hash,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.position, hex(&self.hash))
    }
}

impl std::str::FromStr for Head {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (position, hash) = text.split_once(':')?;
            Some(Self {
                position: position.parse().ok().filter(|position| *position > 0)?,
                hash: line::from_hex(hash)?,
            })
        };
        parse().ok_or("it is POSITION:HASH, as countersign audit verify prints it")
    }
}

/// What is wrong at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The event isn't what was hashed.
    Altered,
    /// The place is there, its event isn't.
    EventMissing,
    /// The place isn't there, later ones are.
    LinkMissing,
    /// It doesn't follow from the place before.
    Broken,
    /// The hash is right, but nobody who has one of the installation's secrets made it.
    Unsealed,
}

impl Fault {
    /// One word for programs. Never change one.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Altered => "altered_event",
            Self::EventMissing => "missing_event",
            Self::LinkMissing => "missing_link",
            Self::Broken => "broken_link",
            Self::Unsealed => "wrong_seal",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Altered => "the event was altered",
            Self::EventMissing => "the event is missing",
            Self::LinkMissing => "event and link are missing",
            Self::Broken => "it doesn't follow from the one before",
            Self::Unsealed => "its seal is of none of the installation's secrets",
        })
    }
}

/// The first place at which a chain isn't as it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Where.
    pub position: i64,
    /// Which event has this place, if it has one.
    pub event_id: Option<Uuid>,
    /// How.
    pub fault: Fault,
}

/// What was found of one chain.
#[derive(Clone, Debug)]
pub struct Report {
    /// The organization; the nil UUID for the events of none.
    pub chain: Uuid,
    /// How many events have a place.
    pub events: u64,
    /// The first position that is there.
    pub begins_at: i64,
    /// The last good one.
    pub head: Option<Head>,
    /// Where it isn't as it was made.
    pub broken: Option<Broken>,
}

/// What is asked of chains.
#[derive(Debug)]
pub struct Verifier<'a> {
    keyring: Option<&'a Keyring>,
    may_begin_later: bool,
    /// Heads that were kept elsewhere and were not come by yet.
    heads: Vec<Head>,
    reports: Vec<Report>,
}

impl<'a> Verifier<'a> {
    /// With a keyring it looks at seals too. `may_begin_later`: a chain need not begin at position 1.
    #[must_use]
    pub fn new(keyring: Option<&'a Keyring>, heads: Vec<Head>, may_begin_later: bool) -> Self {
        Self { keyring, may_begin_later, heads, reports: vec![] }
    }

    /// Looks at the next link. Those of one chain come one after the other, in order.
    pub fn next(&mut self, link: &Link) {
        let same = self.reports.last().is_some_and(|report| report.chain == link.chain);
        if !same {
            let report = Report { chain: link.chain, events: 0, begins_at: link.position, head: None, broken: None };
            self.reports.push(report);
        }
        let (keyring, may_begin_later) = (self.keyring, self.may_begin_later);
        let Some(report) = self.reports.last_mut() else { return };
        report.events += 1;
        if report.broken.is_some() {
            return;
        }
        report.broken = broken(report.head, link, keyring, may_begin_later);
        if report.broken.is_none() {
            let here = Head { position: link.position, hash: link.hash };
            let before = Head { position: link.position - 1, hash: link.previous_hash };
            self.heads.retain(|head| *head != here && *head != before);
            report.head = Some(here);
        }
    }

    /// What was found, and the heads that no chain has.
    #[must_use]
    pub fn finish(self) -> (Vec<Report>, Vec<Head>) {
        (self.reports, self.heads)
    }
}

/// What is wrong with a link after `head`.
fn broken(head: Option<Head>, link: &Link, keyring: Option<&Keyring>, may_begin_later: bool) -> Option<Broken> {
    let at = |fault| Some(Broken { position: link.position, event_id: Some(link.event_id), fault });
    let beginning = Head { position: 0, hash: BEGINNING };
    let somewhere = Head { position: link.position - 1, hash: link.previous_hash };
    let before = head.unwrap_or(if may_begin_later && link.position > 1 { somewhere } else { beginning });
    if link.position != before.position + 1 {
        return Some(Broken { position: before.position + 1, event_id: None, fault: Fault::LinkMissing });
    }
    let Some(body) = &link.body else { return at(Fault::EventMissing) };
    if link.previous_hash != before.hash {
        return at(Fault::Broken);
    }
    if !link.of_chain || line::hash(body) != link.hash {
        return at(Fault::Altered);
    }
    match (keyring, &link.seal) {
        (Some(keyring), Some(seal)) if !line::is_sealed(keyring, &link.hash, seal) => at(Fault::Unsealed),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_is_printed() {
        let head = Head { position: 12, hash: line::hash("x") };
        assert_eq!(head.to_string().parse(), Ok(head));
        for wrong in
            ["", "12", "12:", "0:00", "x:00", &format!("0:{}", hex(&head.hash)), &format!("12:{:?}", head.hash)]
        {
            assert!(wrong.parse::<Head>().is_err(), "{wrong}");
        }
    }
}
