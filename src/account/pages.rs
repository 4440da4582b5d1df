//! What the account pages show, besides what they share with the activation page ([`crate::pages`]).

use std::borrow::Cow;

use askama::Template;

use crate::pages::frame::Frame;

/// `/account`: which organization?
#[derive(Debug, Template)]
#[template(path = "account/start.html")]
pub struct Start<'a> {
    /// What surrounds the page.
    pub frame: Frame<'a>,
    /// Where this browser is signed in.
    pub organizations: Vec<OrganizationLink<'a>>,
    /// What was typed into the field `organization`.
    pub typed: &'a str,
    /// Message beside the field.
    pub error: Option<&'a str>,
}

/// An organization that can be chosen.
#[derive(Debug, Clone, Copy)]
pub struct OrganizationLink<'a> {
    /// Its name in the address.
    pub slug: &'a str,
    /// Its name to people.
    pub name: &'a str,
}

/// `/account/{organization}`: the list of devices.
#[derive(Debug, Template)]
#[template(path = "account/devices.html")]
pub struct Devices<'a> {
    /// What surrounds the page.
    pub frame: Frame<'a>,
    /// The devices, the one seen last at first.
    pub devices: Vec<Device>,
    /// What has just been done.
    pub notice: Option<Notice>,
}

/// A signed-in device in words.
#[derive(Debug, Clone)]
pub struct Device {
    /// The last segment of its page's address.
    pub id: String,
    /// What the person calls it, or what it called itself.
    pub name: String,
    /// The service's name.
    pub service: String,
    /// The user agent in words.
    pub program: String,
    /// What it may do, in words.
    pub scopes: Vec<String>,
    /// When it was signed in: "3 November 2026, 14:05 UTC".
    pub first_seen: String,
    /// Where it was signed in.
    pub first_address: String,
    /// When it was seen last: "2 hours ago".
    pub last_seen: String,
    /// Where it was seen last.
    pub last_address: String,
    /// Whether that is where this browser is.
    pub here: bool,
}

/// `/account/{organization}/devices/{device}`: one device, to be renamed or ended.
#[derive(Debug, Template)]
#[template(path = "account/device.html")]
pub struct DevicePage<'a> {
    /// What surrounds the page.
    pub frame: Frame<'a>,
    /// The device.
    pub device: Device,
    /// The token of the form that renames this device and no other.
    pub device_token: &'a str,
    /// What the field `name` holds.
    pub typed: &'a str,
    /// Message beside the field.
    pub error: Option<&'a str>,
    /// What has just been done.
    pub notice: Option<Notice>,
}

/// `/account/{organization}/devices/{device}/end`: asked once more.
#[derive(Debug, Template)]
#[template(path = "account/end.html")]
pub struct End<'a> {
    /// What surrounds the page.
    pub frame: Frame<'a>,
    /// The device.
    pub device: Device,
    /// The token of the form that ends this device and no other.
    pub device_token: &'a str,
    /// How many minutes its last access token can still be good.
    pub minutes: u64,
}

/// `/account/{organization}/end-others`: all but one, or all.
#[derive(Debug, Template)]
#[template(path = "account/end_others.html")]
pub struct EndOthers<'a> {
    /// What surrounds the page.
    pub frame: Frame<'a>,
    /// The devices, one of which can be kept.
    pub devices: Vec<Device>,
    /// The one that is chosen.
    pub keep: &'a str,
    /// How many minutes their last access tokens can still be good.
    pub minutes: u64,
    /// Message beside the choice.
    pub error: Option<&'a str>,
}

/// `/account/{organization}/security`: what the person proves themself with.
#[derive(Debug, Template)]
#[template(path = "account/security.html")]
pub struct Security<'a> {
    /// What surrounds the page.
    pub frame: Frame<'a>,
    /// When the authenticator was set up; `None` without one.
    pub authenticator: Option<&'a str>,
    /// How many recovery codes are left.
    pub recovery_codes: i64,
    /// Whether they sign in with a password of Countersign's own.
    pub password: bool,
    /// What has just been done.
    pub notice: Option<Notice>,
}

/// `/account/{organization}/recovery-codes`: asked once more.
#[derive(Debug, Template)]
#[template(path = "account/renew_codes.html")]
pub struct RenewCodes<'a> {
    /// What surrounds the page.
    pub frame: Frame<'a>,
    /// How many of the old ones are left.
    pub left: i64,
}

/// `/account/{organization}/password`.
#[derive(Debug, Template)]
#[template(path = "account/password.html")]
pub struct Password<'a> {
    /// What surrounds the page.
    pub frame: Frame<'a>,
    /// For password managers: whose password it is.
    pub email: &'a str,
    /// Messages beside the fields.
    pub errors: PasswordErrors,
}

/// Messages beside the fields of the password page.
#[derive(Debug, Clone, Default)]
pub struct PasswordErrors {
    /// Beside `current_password`.
    pub old: Option<Cow<'static, str>>,
    /// Beside `new_password`.
    pub new: Option<&'static str>,
    /// Beside `new_password_again`.
    pub again: Option<&'static str>,
}

impl PasswordErrors {
    /// The first field with a message, and the message.
    #[must_use]
    pub fn first(&self) -> Option<(&'static str, &str)> {
        let old = self.old.as_deref();
        let named = [("current_password", old), ("new_password", self.new), ("new_password_again", self.again)];
        named.into_iter().find_map(|(field, error)| Some((field, error?)))
    }
}

/// What has just been done, as the address of the page after it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A device has another name.
    Renamed,
    /// A device was ended.
    Ended,
    /// All others were ended.
    OthersEnded,
    /// All were ended.
    AllEnded,
    /// There is another authenticator.
    Replaced,
    /// There is another password.
    PasswordChanged,
}

impl Notice {
    const ALL: [Self; 6] =
        [Self::Renamed, Self::Ended, Self::OthersEnded, Self::AllEnded, Self::Replaced, Self::PasswordChanged];

    /// The value of the parameter `done`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Renamed => "renamed",
            Self::Ended => "ended",
            Self::OthersEnded => "others-ended",
            Self::AllEnded => "all-ended",
            Self::Replaced => "replaced",
            Self::PasswordChanged => "password",
        }
    }

    /// Reads the parameter `done`. A link can say nothing else than these.
    #[must_use]
    pub fn read(done: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|notice| notice.as_str() == done)
    }

    /// As a sentence.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Renamed => "The new name is saved.",
            Self::Ended => "The device is signed out.",
            Self::OthersEnded => "All other devices are signed out.",
            Self::AllEnded => "All devices are signed out.",
            Self::Replaced => "Your new authenticator is set up. The old one is not asked for any more.",
            Self::PasswordChanged => "Your password is changed, and every other browser is signed out.",
        }
    }
}
