//! What the pages of the activation walk show.
//!
//! One struct per page, in the order a person meets them, each rendered by the template of the same name. They hold
//! plain text and know nothing of grants, users or providers: a handler decides, a page says. Signing in and second
//! factors are in [`crate::pages`], for every door.

use std::fmt;

use askama::Template;

use crate::device::verification::Number;
use crate::pages::frame::Frame;

/// Step 1, `/activate`: the code that the device shows.
#[derive(Debug, Template)]
#[template(path = "activation/code.html")]
pub struct Code<'a> {
    /// What surrounds the page.
    pub frame: Frame<'a>,
    /// What the field `user_code` holds.
    pub entry: CodeEntry<'a>,
}

/// What the code page knows already.
#[derive(Debug, Clone, Copy)]
pub enum CodeEntry<'a> {
    /// Nothing: an empty field.
    Empty,
    /// A code from the link, in the form that devices show. The person is asked to compare it.
    Prefilled(&'a str),
    /// A code that was refused: kept in the field as it was typed, with the reason beside it.
    Refused {
        /// As it was typed.
        typed: &'a str,
        /// One sentence that says what to do.
        error: &'a str,
    },
}

/// Step 4, `/activate/confirm`: everything a person needs to tell their own device from somebody else's.
#[derive(Debug, Template)]
#[template(path = "activation/confirm.html")]
pub struct Confirm<'a> {
    /// What surrounds the page; organization, service and account are known here.
    pub frame: Frame<'a>,
    /// The code in the form that devices show.
    pub user_code: &'a str,
    /// Who asked.
    pub device: RequestingDevice<'a>,
    /// What speaks against it, the gravest first.
    pub warnings: Vec<Warning<'a>>,
    /// What it may do.
    pub scopes: Vec<ScopeChoice<'a>>,
    /// The APIs at which it may do that; none unless it asked for some (RFC 8707).
    pub resources: &'a [String],
    /// Whether the box `mine` is ticked.
    pub mine: bool,
    /// Message beside the box `mine`.
    pub mine_error: Option<&'a str>,
}

/// What is known of the device that asked for the code.
#[derive(Debug, Clone, Copy)]
pub struct RequestingDevice<'a> {
    /// The name that it gave itself. Shown as a claim.
    pub claimed_name: Option<&'a str>,
    /// The user agent in words, such as "curl on Linux", or that it did not say.
    pub program: &'a str,
    /// Address it asked from.
    pub address: &'a str,
    /// How long ago it asked: "2 minutes ago".
    pub asked: &'a str,
    /// How its network compares with the one of this browser.
    pub network: Network,
    /// Where its address is, and where this browser's: "Berlin, Germany – you: Hamburg, Germany".
    pub place: Option<&'a str>,
}

/// The requesting device's network, seen from the approving browser's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Comparing is switched off.
    Unsaid,
    /// Both come from the same network.
    Same,
    /// The device's is one that the service trusts.
    Trusted,
    /// They come from different ones, as far as can be told: a [`Warning`] says so.
    Other,
    /// The browser's is hidden.
    Hidden,
}

/// Something that speaks against a device, or against what it asks for. In order of gravity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Warning<'a> {
    /// So many others elsewhere approved codes of this address that somebody may collect them.
    ManyApprovals {
        /// How many people.
        people: i64,
        /// Within which time: "the last hour".
        last: &'a str,
    },
    /// Its address is of another country.
    OtherCountry {
        /// Where the device is.
        device: &'a str,
        /// Where this browser is.
        you: &'a str,
    },
    /// It is on another network.
    OtherNetwork,
    /// Its address and the browser's are of different kinds, so that it may be on another network.
    PerhapsOtherNetwork,
    /// Nobody responsible has looked at the service.
    Unverified,
}

/// How loud a page's warnings are, which is how loud the gravest of them is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tone {
    Danger,
    Caution,
    Plain,
}

impl Warning<'_> {
    fn tone(self) -> Tone {
        match self {
            Self::ManyApprovals { .. } | Self::OtherCountry { .. } => Tone::Danger,
            Self::OtherNetwork | Self::PerhapsOtherNetwork => Tone::Caution,
            Self::Unverified => Tone::Plain,
        }
    }
}

impl Confirm<'_> {
    /// How loud the warnings are; `None` where there is none.
    fn tone(&self) -> Option<Tone> {
        self.warnings.first().map(|gravest| gravest.tone())
    }
}

/// One permission as a check box.
#[derive(Debug, Clone, Copy)]
pub struct ScopeChoice<'a> {
    /// Value of the field `scope`.
    pub name: &'a str,
    /// The scope in words.
    pub label: &'a str,
    /// Can't be taken away: shown ticked and fixed, and sent all the same.
    pub required: bool,
    /// Ticked. All are at first; on a page shown again, those that the person left ticked.
    pub checked: bool,
}

/// Step 5, `/activate/done`.
#[derive(Debug, Template)]
#[template(path = "activation/done.html")]
pub struct Done<'a> {
    /// What surrounds the page.
    pub frame: Frame<'a>,
    /// What was decided.
    pub outcome: Outcome,
    /// Complete link to the person's device list.
    pub devices_href: Option<&'a str>,
    /// Complete link back to the service's own activation page, if it has one.
    pub return_href: Option<&'a str>,
}

/// What the person decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The device receives its tokens at its next poll.
    Approved,
    /// It receives them when it sends this number.
    Number(Number),
    /// It sent too many others, and receives nothing.
    WrongNumbers,
    /// The device receives nothing.
    Denied,
}

/// A code letter by letter, so that a screen reader does not try to pronounce it.
fn spelled(code: impl fmt::Display) -> String {
    let signs: Vec<String> =
        code.to_string().chars().map(|sign| if sign == '-' { "dash".to_owned() } else { sign.to_string() }).collect();
    signs.join(" ")
}

/// `/activate/report`: "This wasn't me".
#[derive(Debug, Template)]
#[template(path = "activation/report.html")]
pub struct Report<'a> {
    /// What surrounds the page.
    pub frame: Frame<'a>,
    /// Whether it is done.
    pub state: &'a Reported<'a>,
    /// When the device was approved: "3 November 2026, 14:05 UTC".
    pub approved: &'a str,
    /// What was approved.
    pub device: ReportedDevice<'a>,
    /// How many minutes its last access token can still be good.
    pub minutes: u64,
    /// Complete link to the person's devices.
    pub devices_href: &'a str,
}

/// Whether an approval was reported.
#[derive(Debug, Clone)]
pub enum Reported<'a> {
    /// Not yet.
    Not {
        /// What the button sends.
        token: &'a str,
    },
    /// Just now, and what that ended.
    Now {
        /// Whether the device was signed in.
        session: bool,
        /// How many codes and approvals.
        codes: usize,
        /// In how many browsers the person was signed in.
        browsers: usize,
    },
    /// Before.
    Before {
        /// When: "3 November 2026, 14:05 UTC".
        at: String,
    },
}

/// The device that was approved.
#[derive(Debug, Clone, Copy)]
pub struct ReportedDevice<'a> {
    /// What it calls itself.
    pub claimed_name: Option<&'a str>,
    /// Its user agent in words.
    pub program: &'a str,
    /// From where it asked.
    pub address: &'a str,
    /// Where that is, as far as it is known.
    pub place: Option<&'a str>,
}

/// `/activate/report` with a link that can't be used.
#[derive(Debug, Template)]
#[template(path = "activation/no_report.html")]
pub struct NoReport<'a> {
    /// What surrounds the page.
    pub frame: Frame<'a>,
    /// Whether it could be once.
    pub too_old: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_device_claims_stays_text() -> askama::Result<()> {
        let device = RequestingDevice {
            claimed_name: Some("<img src=x onerror=alert(1)>"),
            program: "\"><script>",
            address: "192.0.2.1",
            asked: "just now",
            network: Network::Other,
            place: Some("<b>"),
        };
        let frame = Frame { organization: Some("A&B"), ..Frame::default() };
        let page = Confirm {
            frame,
            user_code: "WDJB-MJHT",
            device,
            warnings: vec![Warning::OtherCountry { device: "<b>", you: "</p>" }],
            scopes: vec![],
            resources: &[],
            mine: false,
            mine_error: None,
        };
        let html = page.render()?;
        assert!(["<img", "<script", "<b>", "you: </p>"].iter().all(|raw| !html.contains(raw)), "{html}");
        assert!(html.contains("A&#38;B"), "{html}");
        Ok(())
    }
}
