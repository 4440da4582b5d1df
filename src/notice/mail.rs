//! Mails: how they are sent, and what an approval's one says ([`invitation`] has the other one).
//!
//! Its reader may be in a hurry and on a phone, and its sender's name is what phishing mails borrow. So it says first what
//! happened and what to do, asks for no sign-in, loads nothing, and has one link. What the device calls itself, which its
//! owner chooses, can't become another one.

use std::fmt;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use askama::Template;
use chrono::{DateTime, Utc};
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use url::Url;

use crate::config::PublicUrl;
use crate::installation::Installation;
use crate::secrets::SecretText;
use crate::words;

use super::delivery::Failure;
use super::invitation;
use super::link;
use super::outbox::{About, Due};
use super::told::Approval;

/// How long a mail server has for one command, and for one mail.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(15);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);

/// How mails are sent. Cheap to clone.
#[derive(Clone, Default)]
pub enum Mailer {
    /// They aren't.
    #[default]
    None,
    /// To a mail server.
    Smtp {
        /// The server.
        transport: Box<AsyncSmtpTransport<Tokio1Executor>>,
        /// Whom they are from.
        from: Mailbox,
    },
    /// Into a directory, one file each, to be looked at: `countersign dev`.
    Directory {
        /// The directory.
        path: PathBuf,
        /// Whom they are from.
        from: Mailbox,
    },
}

/// Why mails can't be sent as configured. Repeats no value: one may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailerError {
    /// Not a URL of a mail server.
    #[error("mail.smtp is no URL of a mail server, such as smtps://user:password@mail.acme.example")]
    NotAUrl,
    /// Another scheme.
    #[error("mail.smtp begins with smtps:// (TLS) or smtp:// (STARTTLS, or nothing on this machine)")]
    Scheme,
    /// IPv6 in brackets.
    #[error("mail.smtp names its server by name, or by an address of IPv4")]
    Bracketed,
    /// A path, a query or a fragment.
    #[error("mail.smtp ends after the server's name and port")]
    TooMuch,
    /// A user without a password or the other way round.
    #[error("mail.smtp names a user and a password, or neither; signs like @ : / in them are written as %40 %3A %2F")]
    HalfACredential,
    /// One of the two settings is missing.
    #[error("mail needs both smtp and from")]
    HalfConfigured,
    /// Not an address.
    #[error("mail.from is no address, such as login@acme.example or \"Acme sign-in <login@acme.example>\"")]
    From,
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "Mailer::None",
            Self::Smtp { .. } => "Mailer::Smtp(…)",
            Self::Directory { .. } => "Mailer::Directory(…)",
        })
    }
}

impl Mailer {
    /// As `[mail]` says.
    pub fn configured(smtp: Option<&SecretText>, from: Option<&str>) -> Result<Self, MailerError> {
        let (smtp, from) = match (smtp, from) {
            (None, None) => return Ok(Self::None),
            (Some(smtp), Some(from)) => (smtp, from),
            _ => return Err(MailerError::HalfConfigured),
        };
        let from = from.parse().map_err(|_| MailerError::From)?;
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(checked(smtp)?.as_str());
        let transport = transport.map_err(|_| MailerError::NotAUrl)?.timeout(Some(COMMAND_TIMEOUT)).build();
        Ok(Self::Smtp { transport: Box::new(transport), from })
    }

    /// Into a directory, which is made.
    pub fn directory(path: PathBuf) -> io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        let from = "Countersign <countersign@localhost>".parse().map_err(io::Error::other)?;
        Ok(Self::Directory { path, from })
    }

    /// Connects, says who it is, encrypts and logs in as for a mail, and sends none. An error says what of it may be said.
    pub async fn greet(&self) -> Result<(), String> {
        let Self::Smtp { transport, .. } = self else { return Ok(()) };
        match tokio::time::timeout(TOTAL_TIMEOUT, transport.test_connection()).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err("the mail server closed the connection".to_owned()),
            Ok(Err(error)) => Err(why(&error)),
            Err(_) => Err("the mail server did not answer in time".to_owned()),
        }
    }

    /// Sends a mail that says that mails arrive. An error says what of it may be said.
    pub async fn send_test(&self, public_url: &PublicUrl, now: DateTime<Utc>, address: &str) -> Result<(), String> {
        let Self::Smtp { transport, from } = self else { return Err("mails are not sent from here".to_owned()) };
        let to: Mailbox = address.parse().map_err(|_| "that is no address".to_owned())?;
        let host = public_url.host();
        let message = Message::builder()
            .from(from.clone())
            .to(to)
            .subject(format!("Mails of {host} arrive"))
            .date(now.into())
            .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()))
            .body(format!(
                "Somebody who runs {host} sent this to see whether its mails arrive. There is nothing to do.\n"
            ));
        let message = message.map_err(|_| "the mail can't be written".to_owned())?;
        match tokio::time::timeout(TOTAL_TIMEOUT, transport.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(why(&error)),
            Err(_) => Err("the mail server did not answer in time".to_owned()),
        }
    }

    pub(super) async fn send(&self, installation: &Installation, due: &Due, address: &str) -> Result<(), Failure> {
        match self {
            Self::None => Err(Failure::passing("mails are not sent from here")),
            Self::Smtp { transport, from } => {
                let message = compose(installation, due, from, address)?;
                match tokio::time::timeout(TOTAL_TIMEOUT, transport.send(message)).await {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(error)) => Err(Failure::passing(why(&error))),
                    Err(_) => Err(Failure::passing("the mail server did not answer in time")),
                }
            }
            Self::Directory { path, from } => {
                let mail = compose(installation, due, from, address)?.formatted();
                let written = write(path, &format!("{}.eml", due.id), &mail).await;
                written.map_err(|error| Failure::passing(format!("the mail can't be written: {error}")))
            }
        }
    }
}

/// A URL of a mail server to which a mail goes encrypted, unless the server is this machine.
fn checked(smtp: &SecretText) -> Result<Url, MailerError> {
    let mut url = Url::parse(smtp.expose()).map_err(|_| MailerError::NotAUrl)?;
    if !matches!(url.scheme(), "smtp" | "smtps") {
        return Err(MailerError::Scheme);
    }
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(MailerError::NotAUrl)?.to_owned();
    if host.starts_with('[') {
        return Err(MailerError::Bracketed);
    }
    if url.query().is_some() || url.fragment().is_some() || !matches!(url.path(), "" | "/") {
        return Err(MailerError::TooMuch);
    }
    if url.username().is_empty() != url.password().is_none_or(str::is_empty) {
        return Err(MailerError::HalfACredential);
    }
    // To a library, these schemes are no special ones, and an address is a name like any other.
    let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if url.scheme() == "smtp" && !loopback {
        url.set_query(Some("tls=required"));
    }
    Ok(url)
}

/// What of an error may be said: a server's words may repeat what it was sent.
fn why(error: &lettre::transport::smtp::Error) -> String {
    match error.status() {
        Some(code) => format!("the mail server answered {code}"),
        None if error.is_timeout() => "the mail server did not answer in time".to_owned(),
        None if error.is_tls() || is_of_tls(error) => "the mail server's TLS can't be trusted".to_owned(),
        None if error.is_response() => "the mail server's answer can't be understood".to_owned(),
        None if error.is_client() => "the mail server offers no way to send what is configured".to_owned(),
        None => "the mail server can't be reached".to_owned(),
    }
}

/// Whether a handshake failed, which the library calls a failed connection.
fn is_of_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        error.is::<rustls::Error>() || inner.is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
    })
}

/// Writes a file that only its owner can read, whole or not at all.
async fn write(directory: &Path, name: &str, mail: &[u8]) -> io::Result<()> {
    let (path, beside) = (directory.join(name), directory.join(format!(".{name}")));
    let mut options = tokio::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside).await?;
    file.write_all(mail).await?;
    file.sync_all().await?;
    tokio::fs::rename(beside, path).await
}

/// What both halves of a mail say.
#[derive(Clone, Debug)]
struct Said {
    host: String,
    organization: String,
    service: String,
    account: String,
    approved: String,
    scopes: Vec<String>,
    resources: Vec<String>,
    device_name: Option<String>,
    device: Where,
    approver: Where,
    link: String,
    devices: String,
}

/// A program and where it is, in words.
#[derive(Clone, Debug)]
struct Where {
    program: String,
    address: String,
    place: Option<String>,
}

#[derive(Template)]
#[template(path = "mail/approved.txt", escape = "none")]
struct Text<'a> {
    said: &'a Said,
}

#[derive(Template)]
#[template(path = "mail/approved.html")]
struct Html<'a> {
    said: &'a Said,
}

/// What a mail says.
pub(super) struct Words {
    pub subject: String,
    pub text: String,
    pub html: String,
}

/// What is to be told, as it was put.
pub(super) fn told<T: DeserializeOwned>(content: &Value) -> Result<T, Failure> {
    T::deserialize(content).map_err(|_| Failure::hopeless("what is to be told can't be understood"))
}

/// A text or a page.
pub(super) fn written(template: &impl Template) -> Result<String, Failure> {
    template.render().map_err(|_| Failure::hopeless("the mail can't be written"))
}

fn of_approval(installation: &Installation, content: &Value, address: &str) -> Result<Words, Failure> {
    let said = Said::of(installation, &told(content)?, address);
    Ok(Words {
        subject: format!("{} may act as you now", said.service),
        text: written(&Text { said: &said })?,
        html: written(&Html { said: &said })?,
    })
}

fn compose(installation: &Installation, due: &Due, from: &Mailbox, address: &str) -> Result<Message, Failure> {
    let to: Address = address.parse().map_err(|_| Failure::hopeless("the person's address is none"))?;
    let words = match due.notice.about {
        About::Login(..) => of_approval(installation, &due.notice.content, address),
        About::Invitation(_) => invitation::words(installation, &due.notice.content, address),
    };
    let Words { subject, text, html } = words?;
    Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to))
        .subject(subject)
        .date(due.created_at.into())
        // The same at every attempt: mail programs show one of two.
        .message_id(Some(format!("<{}@{}>", due.id, from.email.domain())))
        // Nobody's out-of-office note answers (RFC 3834).
        .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()))
        .multipart(MultiPart::alternative_plain_html(text, html))
        .map_err(|_| Failure::hopeless("the mail can't be put together"))
}

impl Said {
    fn of(installation: &Installation, approval: &Approval, address: &str) -> Self {
        let (device, approver) = (&approval.device, &approval.approver);
        let devices = format!("/account/{}", approval.organization.slug);
        Self {
            host: installation.public_url.host(),
            organization: in_one_line(&approval.organization.name),
            service: in_one_line(&approval.service.name),
            account: in_one_line(address),
            approved: words::date(approval.approved_at),
            scopes: approval.scopes.iter().map(|scope| in_one_line(&scope.description)).collect(),
            resources: approval.resources.clone(),
            device_name: device.name.as_deref().map(without_links),
            device: Where {
                program: without_links(&words::program(device.user_agent.as_deref())),
                address: device.ip.to_string(),
                place: device.place.clone(),
            },
            approver: Where {
                program: without_links(&words::program(approver.user_agent.as_deref())),
                address: approver.ip.map_or_else(|| "hidden by a proxy".to_owned(), |ip| ip.to_string()),
                place: approver.place.clone(),
            },
            link: link::url(&installation.keyring, &installation.public_url, approval.grant).expose().to_owned(),
            devices: installation.public_url.join(&devices),
        }
    }

    /// A name whose letters run in any direction, in a text that has no other means (UAX #9, isolates).
    #[expect(clippy::unused_self, reason = "templates call what belongs to what they show")]
    fn isolated(&self, name: &str) -> String {
        format!("\u{2068}{name}\u{2069}")
    }
}

/// Without anything that could begin another line, or another header.
pub(super) fn in_one_line(text: &str) -> String {
    text.chars().map(|sign| if sign.is_control() { ' ' } else { sign }).collect()
}

/// What a device says of itself, so that no mail program makes a link of it: a sign that isn't seen, and that no address
/// can have, stands where addresses are joined, and between the digits of what could be a telephone number.
pub(super) fn without_links(claim: &str) -> String {
    const APART: char = '\u{200c}';
    let mut text = String::with_capacity(claim.len());
    // Whether there has been a digit, and since then no letter.
    let mut in_number = false;
    for sign in in_one_line(claim).chars() {
        let digit = sign.is_numeric();
        // Names have more dots than one (UTS #46, IDNA).
        if matches!(sign, '.' | '\u{3002}' | '\u{ff0e}' | '\u{ff61}') || (digit && in_number) {
            text.push(APART);
        }
        text.push(sign);
        if matches!(sign, ':' | '/' | '@' | '\u{ff1a}' | '\u{ff0f}' | '\u{ff20}') {
            text.push(APART);
        }
        in_number = digit || (in_number && !sign.is_alphabetic());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(smtp: &str, from: &str) -> Result<Mailer, MailerError> {
        Mailer::configured(Some(&smtp.into()), Some(from))
    }

    #[test]
    fn a_mail_server_is_named_by_a_url() {
        const FROM: &str = "Acme sign-in <login@acme.example>";
        for good in [
            "smtps://mail.acme.example",
            "smtps://login:pass%40word@mail.acme.example:4650",
            "smtp://login:password@mail.acme.example",
            "smtp://127.0.0.1:2525",
            "smtp://localhost/",
        ] {
            assert!(matches!(configured(good, FROM), Ok(Mailer::Smtp { .. })), "{good}");
        }
        for (bad, error) in [
            ("mail.acme.example", MailerError::NotAUrl),
            ("smtp://", MailerError::NotAUrl),
            ("https://mail.acme.example", MailerError::Scheme),
            ("smtp://[::1]:25", MailerError::Bracketed),
            ("smtps://mail.acme.example?tls=opportunistic", MailerError::TooMuch),
            ("smtps://mail.acme.example/me", MailerError::TooMuch),
            ("smtps://login@mail.acme.example", MailerError::HalfACredential),
            ("smtps://:password@mail.acme.example", MailerError::HalfACredential),
        ] {
            assert_eq!(configured(bad, FROM).unwrap_err(), error, "{bad}");
        }
        assert_eq!(configured("smtps://mail.acme.example", "Acme").unwrap_err(), MailerError::From);
        assert_eq!(Mailer::configured(None, Some(FROM)).unwrap_err(), MailerError::HalfConfigured);
        assert!(matches!(Mailer::configured(None, None), Ok(Mailer::None)));
    }

    #[test]
    fn a_password_leaves_this_machine_encrypted_only() {
        let url = |text: &str| checked(&text.into()).unwrap().to_string();
        assert_eq!(url("smtp://u:p@mail.acme.example"), "smtp://u:p@mail.acme.example?tls=required");
        assert_eq!(url("smtp://u:p@127.0.0.1.acme.example"), "smtp://u:p@127.0.0.1.acme.example?tls=required");
        assert_eq!(url("smtp://127.0.0.1:2525"), "smtp://127.0.0.1:2525");
        let mailer = configured("smtps://u:hunter2@mail.acme.example", "a@acme.example").unwrap();
        assert!(!format!("{mailer:?}").contains("hunter2"));
    }

    #[test]
    fn what_a_device_says_of_itself_makes_no_link_and_no_line() {
        assert_eq!(without_links("a.b"), "a\u{200c}.b");
        assert_eq!(without_links("https://x"), "https:\u{200c}/\u{200c}/\u{200c}x");
        assert_eq!(without_links("a\r\nBcc: eve@x"), "a  Bcc:\u{200c} eve@\u{200c}x");
        for dot in ['\u{3002}', '\u{ff0e}', '\u{ff61}'] {
            assert_eq!(without_links(&format!("evil{dot}example")), format!("evil\u{200c}{dot}example"));
        }
        for number in ["Call Acme +1 888 555 0199", "1-8-8-8-5-5-5-0-1-9-9", "(888) 555/0199", "１８８８５５５０１９９"]
        {
            let digits: Vec<String> = without_links(number)
                .split('\u{200c}')
                .map(|part| part.chars().filter(|c| c.is_numeric()).collect())
                .collect();
            assert!(digits.iter().all(|part| part.chars().count() <= 1), "{digits:?}");
        }
        assert_eq!(without_links("Ada’s laptop 2"), "Ada’s laptop 2");
    }
}
