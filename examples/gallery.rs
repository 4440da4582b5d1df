//! Renders every state of every page to `target/gallery/*.html`, to be looked at and checked without a server:
//! `cargo run --example gallery`.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use askama::Template;
use countersign::account::pages::{
    Device, DevicePage, Devices, End, EndOthers, Notice, OrganizationLink, Password, PasswordErrors, RenewCodes,
    Security, Start,
};
use countersign::activation::pages::{
    Code, CodeEntry, Confirm, Done, Network, NoReport, Outcome, Report, Reported, ReportedDevice, RequestingDevice,
    ScopeChoice, Warning,
};
use countersign::device::verification::Number;
use countersign::pages::factor::{Enrol, Mfa, MfaError, Occasion, RecoveryCodes, svg_element};
use countersign::pages::frame::{Door, Frame, ICON, STYLESHEET};
use countersign::pages::message::{Distance, Message, Trouble};
use countersign::pages::sign_in::{PasswordForm, ProviderLink, SignIn};
use countersign::setup::pages::{self as first, NoGood, SignUp, Why};
use qrcode::{QrCode, render::svg};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const SECRET: &str = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";
const OTPAUTH: &str = "otpauth://totp/Acme:ada@acme.example?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Acme";

fn main() -> Result {
    let gallery = Gallery::create(Path::new(env!("CARGO_MANIFEST_DIR")).join("target/gallery"))?;
    code(&gallery)?;
    sign_in(&gallery)?;
    mfa(&gallery)?;
    enrol(&gallery)?;
    confirm(&gallery)?;
    done(&gallery)?;
    report(&gallery)?;
    troubles(&gallery)?;
    setup(&gallery)?;
    account(&gallery)
}

/// The directory that the pages are written to, with the files that they link to.
struct Gallery(PathBuf);

impl Gallery {
    fn create(directory: PathBuf) -> Result<Self> {
        fs::create_dir_all(directory.join("static"))?;
        fs::write(directory.join("static/countersign.css"), STYLESHEET)?;
        fs::write(directory.join("static/countersign.svg"), ICON)?;
        Ok(Self(directory))
    }

    fn add(&self, name: &str, page: &impl Template) -> Result {
        Ok(fs::write(self.0.join(name).with_extension("html"), page.render()?)?)
    }
}

/// Nothing is known yet. With `.` as its base path a page finds its stylesheet from the file system too.
const NEUTRAL: Frame<'_> = Frame {
    door: Door::Activation,
    base: ".",
    host: "login.acme.example",
    organization: None,
    service: None,
    account: None,
    csrf_token: "token",
    request_id: None,
};

const CLAIMED: Frame<'_> = Frame { organization: Some("Acme"), service: Some("Acme CLI"), ..NEUTRAL };

const SIGNED_IN: Frame<'_> = Frame { account: Some("ada@acme.example"), ..CLAIMED };

fn code(gallery: &Gallery) -> Result {
    let refused = CodeEntry::Refused {
        typed: "wdjb-mjhh",
        error: "This code is not known. Check it on your device, or start again there for a new one.",
    };
    gallery.add("1-code", &Code { frame: NEUTRAL, entry: CodeEntry::Empty })?;
    gallery.add("1-code-prefilled", &Code { frame: CLAIMED, entry: CodeEntry::Prefilled("WDJB-MJHT") })?;
    gallery.add("1-code-error", &Code { frame: NEUTRAL, entry: refused })
}

fn sign_in(gallery: &Gallery) -> Result {
    let providers = || {
        vec![
            ProviderLink { name: "GitHub".into(), href: "./auth/github".into() },
            ProviderLink { name: "Acme SSO".into(), href: "./auth/sso".into() },
        ]
    };
    let page = |password, providers| SignIn { frame: CLAIMED, password, providers, notice: None };
    let wrong = PasswordForm {
        email: "ada@acme.example",
        password_error: Some("The email address or the password is not right."),
        ..PasswordForm::default()
    };
    let missing = PasswordForm { email_error: Some("Enter your email address."), ..PasswordForm::default() };
    let cancelled = SignIn {
        notice: Some("The sign-in with GitHub was cancelled. Nothing was changed."),
        ..page(None, providers())
    };
    gallery.add("2-sign-in", &page(Some(PasswordForm::default()), providers()))?;
    gallery.add("2-sign-in-password", &page(Some(PasswordForm::default()), vec![]))?;
    gallery.add("2-sign-in-wrong", &page(Some(wrong), vec![]))?;
    gallery.add("2-sign-in-missing", &page(Some(missing), providers()))?;
    gallery.add("2-sign-in-none", &page(None, vec![]))?;
    gallery.add("2-sign-in-notice", &cancelled)
}

fn mfa(gallery: &Gallery) -> Result {
    let page = |error, development_code| Mfa {
        frame: SIGNED_IN,
        why: None,
        error,
        development_code,
        recovery: true,
        next: None,
    };
    let wrong = "This code is not right. Wait for the next one and type that.";
    let unknown = "This recovery code is not known, or it was used before.";
    gallery.add("3-mfa", &page(None, None))?;
    gallery.add("3-mfa-development", &page(None, Some("123456")))?;
    gallery.add("a-verify-again", &Mfa { frame: AT_HOME, next: Some("password"), ..page(None, None) })?;
    let why = Some("“Deploy to production” asks you to verify that it is you, for this device.");
    gallery.add("3-mfa-authenticator", &Mfa { why, recovery: false, ..page(None, None) })?;
    gallery.add("3-mfa-wrong", &page(Some(MfaError::beside("000000", wrong)), None))?;
    gallery.add("3-mfa-recovery", &page(Some(MfaError::beside("abcd-efgh-jkmn", unknown)), None))
}

fn enrol(gallery: &Gallery) -> Result {
    let svg = QrCode::new(OTPAUTH)?.render::<svg::Color<'_>>().quiet_zone(false).build();
    let page = |error, development_code| Enrol {
        carried: &[],
        frame: SIGNED_IN,
        occasion: Occasion::Required,
        qr_svg: svg_element(&svg),
        otpauth_url: OTPAUTH,
        account_name: "ada@acme.example",
        secret: SECRET,
        error,
        development_code,
    };
    let codes: Vec<String> = ('a'..='j').map(|c| format!("{c}7kq-x2md-p9tw-c8hv")).collect();
    let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
    gallery.add("3-enrol", &page(None, None))?;
    gallery.add("3-enrol-error", &page(Some("This code is not right. Wait for the next one."), Some("123456")))?;
    let at_home = |occasion| Enrol { frame: AT_HOME, occasion, ..page(None, None) };
    let first = Enrol { frame: SETTING_UP, occasion: Occasion::First, ..page(None, None) };
    gallery.add("s-authenticator", &first)?;
    gallery.add("a-authenticator", &at_home(Occasion::Chosen))?;
    gallery.add("a-authenticator-replace", &at_home(Occasion::Replacing))?;
    gallery.add(
        "3-recovery-codes",
        &RecoveryCodes { frame: SIGNED_IN, occasion: Occasion::Required, codes: &codes, then: "/confirm" },
    )
}

const SETTING_UP: Frame<'_> = Frame { door: Door::Setup, ..NEUTRAL };

fn setup(gallery: &Gallery) -> Result {
    let (frame, wait) = (SETTING_UP, "5 minutes");
    let page = |email, errors| SignUp { frame, token: "csu_token", email, name: "", errors };
    gallery.add("s-form", &page("", first::Errors::default()))?;
    let errors = first::Errors {
        email: Some("Enter your email address, as in ada@acme.example."),
        password: Some("A password has at least 8 characters."),
        ..first::Errors::default()
    };
    gallery.add("s-form-errors", &page("ada", errors))?;
    for (name, why) in [
        ("unknown", Why::Unknown),
        ("expired", Why::Expired),
        ("replaced", Why::Replaced),
        ("owned", Why::Owned),
        ("too-many", Why::TooMany { wait }),
    ] {
        gallery.add(&format!("s-{name}"), &NoGood { frame, why: &why })?;
    }
    gallery.add("s-done", &first::Done { frame, issuer: "https://login.acme.example" })
}

fn confirm(gallery: &Gallery) -> Result {
    let device = RequestingDevice {
        claimed_name: Some("build-box"),
        program: "curl on Linux",
        address: "203.0.113.24",
        asked: "2 minutes ago",
        network: Network::Same,
        place: None,
    };
    let scope = |name, label, required, checked| ScopeChoice { name, label, required, checked };
    let scopes = |deploy| {
        vec![
            scope("openid", "Know who you are", true, true),
            scope("read", "Read your projects", false, true),
            scope("deploy", "Deploy to production", false, deploy),
            scope("offline_access", "Stay signed in until you revoke it", false, true),
        ]
    };
    let page = Confirm {
        frame: SIGNED_IN,
        user_code: "WDJB-MJHT",
        device,
        warnings: vec![],
        scopes: scopes(true),
        resources: &[],
        mine: false,
        mine_error: None,
    };
    gallery.add("4-confirm", &page)?;
    let other = RequestingDevice {
        claimed_name: None,
        program: "An unnamed program",
        address: "2001:db8:85a3:8d3:1319:8a2e:370:7348",
        network: Network::Other,
        ..device
    };
    let warnings = vec![Warning::OtherNetwork];
    let long = Frame {
        organization: Some("Gesellschaft für wissenschaftliche Datenverarbeitung"),
        service: Some("Hochleistungsrechner-Kommandozeile"),
        account: Some("maximiliane.mustermann-beispielhausen@data.example"),
        ..SIGNED_IN
    };
    gallery.add(
        "4-confirm-other-network",
        &Confirm { frame: long, user_code: "WDJB-MJHTX", device: other, warnings, scopes: vec![], ..page },
    )?;
    let resources = [
        "https://api.acme.example".to_owned(),
        "https://builds.acme.example/a/path/that/goes/on/and/on/without/any/place/to/break/a/line".to_owned(),
    ];
    let error = Confirm {
        frame: SIGNED_IN,
        user_code: "WDJB-MJHT",
        device,
        warnings: vec![],
        scopes: scopes(false),
        resources: &resources,
        mine: false,
        mine_error: Some("Tick this box to approve, or deny."),
    };
    gallery.add("4-confirm-error", &error)?;
    confirm_warnings(gallery, device)
}

fn confirm_warnings(gallery: &Gallery, device: RequestingDevice<'_>) -> Result {
    let many = Warning::ManyApprovals { people: 7, last: "the last hour" };
    let abroad = Warning::OtherCountry { device: "Lyon, France", you: "Hamburg, Germany" };
    let (here, there) = ("Berlin, Germany — you: Hamburg, Germany", "Lyon, France — you: Hamburg, Germany");
    let all: [(&str, Network, Option<&str>, Vec<Warning<'_>>); 8] = [
        ("place", Network::Same, Some("Hamburg, Germany — you too"), vec![]),
        ("trusted", Network::Trusted, Some("A private network — you: Hamburg, Germany"), vec![]),
        ("hidden", Network::Hidden, Some("Hamburg, Germany"), vec![]),
        ("unverified", Network::Same, None, vec![Warning::Unverified]),
        ("far", Network::Other, Some(here), vec![Warning::OtherNetwork, Warning::Unverified]),
        ("incomparable", Network::Other, None, vec![Warning::PerhapsOtherNetwork]),
        ("abroad", Network::Other, Some(there), vec![abroad]),
        ("phishing", Network::Other, Some(there), vec![many, abroad, Warning::Unverified]),
    ];
    all.into_iter().try_for_each(|(name, network, place, warnings)| {
        let page = Confirm {
            frame: SIGNED_IN,
            user_code: "WDJB-MJHT",
            device: RequestingDevice { network, place, ..device },
            warnings,
            scopes: vec![ScopeChoice { name: "read", label: "Read your projects", required: false, checked: true }],
            resources: &[],
            mine: false,
            mine_error: None,
        };
        gallery.add(&format!("4-confirm-{name}"), &page)
    })
}

fn done(gallery: &Gallery) -> Result {
    let page = |outcome, return_href| Done { frame: SIGNED_IN, outcome, devices_href: Some("./account"), return_href };
    gallery.add("5-approved", &page(Outcome::Approved, None))?;
    gallery.add("5-approved-return", &page(Outcome::Approved, Some("https://acme.example/device")))?;
    if let Some(number) = Number::stored(47) {
        gallery.add("5-number", &page(Outcome::Number(number), None))?;
    }
    gallery.add("5-wrong-numbers", &page(Outcome::WrongNumbers, None))?;
    gallery.add("5-denied", &page(Outcome::Denied, None))
}

fn report(gallery: &Gallery) -> Result {
    let frame = Frame { door: Door::Report, ..CLAIMED };
    let device = ReportedDevice {
        claimed_name: Some("build-box"),
        program: "curl on Linux",
        address: "203.0.113.24",
        place: Some("Lyon, France"),
    };
    let page = |state| Report {
        frame,
        state,
        approved: "3 November 2026, 14:05 UTC",
        device,
        minutes: 15,
        devices_href: "./account/acme",
    };
    gallery.add("r-report", &page(&Reported::Not { token: "csn_token" }))?;
    gallery.add("r-reported", &page(&Reported::Now { session: true, codes: 2, browsers: 1 }))?;
    gallery.add("r-reported-nothing", &page(&Reported::Now { session: false, codes: 0, browsers: 0 }))?;
    let before = Reported::Before { at: "3 November 2026, 14:20 UTC".to_owned() };
    gallery.add("r-reported-before", &page(&before))?;
    let neutral = Frame { door: Door::Report, ..NEUTRAL };
    gallery.add("r-no-report", &NoReport { frame: neutral, too_old: false })?;
    gallery.add("r-no-report-too-old", &NoReport { frame: neutral, too_old: true })?;
    gallery.add("r-stale-form", &Message { frame: neutral, trouble: Trouble::StaleForm })?;
    gallery.add("r-server", &Message { frame: neutral, trouble: Trouble::Server })
}

fn troubles(gallery: &Gallery) -> Result {
    let (provider, retry_href) = ("Acme SSO", "./activate/sign-in");
    let asked = "a sign-in of the last 5 minutes";
    let not_fresh =
        Trouble::NotFresh { provider, asked, undated: false, retry_href, others_href: "./activate/sign-in" };
    let no_authenticator = Trouble::NoAuthenticator { asked, account_href: "./account/acme" };
    let refused = Trouble::Refused { provider, identity: Some("ada@other.example"), retry_href };
    let reference = Frame { request_id: Some("0198f2c4-7a1e-7d0b-9c55-2f6f0a9be311"), ..NEUTRAL };
    let (device, you) = ("2001:db8:85a3:8d3:1319:8a2e:370:7348", "203.0.113.24");
    let too_far = |distance, device| Trouble::TooFar { distance, device, you };
    let all = [
        ("x-expired", CLAIMED, Trouble::Expired),
        ("x-elsewhere", NEUTRAL, Trouble::Elsewhere),
        ("x-decided", SIGNED_IN, Trouble::Decided),
        ("x-stale-form", NEUTRAL, Trouble::StaleForm),
        ("x-refused", CLAIMED, refused),
        ("x-unreachable", CLAIMED, Trouble::Unreachable { provider, retry_href }),
        ("x-unusable", CLAIMED, Trouble::Unusable { provider, retry_href }),
        ("x-not-fresh", CLAIMED, not_fresh),
        ("x-no-authenticator", CLAIMED, no_authenticator),
        ("x-unavailable", CLAIMED, Trouble::Unavailable),
        ("x-other-network", CLAIMED, too_far(Distance::OtherNetwork, "198.51.100.7")),
        ("x-incomparable", CLAIMED, too_far(Distance::Incomparable, device)),
        ("x-hidden", CLAIMED, too_far(Distance::Hidden, "198.51.100.7")),
        ("x-other-host", NEUTRAL, Trouble::OtherHost),
        ("x-not-found", NEUTRAL, Trouble::NotFound),
        ("x-server", reference, Trouble::Server),
    ];
    all.into_iter().try_for_each(|(name, frame, trouble)| gallery.add(name, &Message { frame, trouble }))
}

const AT_HOME: Frame<'_> = Frame { door: Door::Account(Some("acme")), service: None, ..SIGNED_IN };

fn device(name: &str, last_seen: &str, here: bool) -> Device {
    Device {
        id: name.to_lowercase().replace(' ', "-"),
        name: name.to_owned(),
        service: "Acme CLI".to_owned(),
        program: "Countersign's command line on Linux".to_owned(),
        scopes: vec!["Read your projects".to_owned(), "Stay signed in until you end it".to_owned()],
        first_seen: "3 November 2026, 14:05 UTC".to_owned(),
        first_address: "203.0.113.24".to_owned(),
        last_seen: last_seen.to_owned(),
        last_address: "2001:db8:85a3:8d3:1319:8a2e:370:7348".to_owned(),
        here,
    }
}

fn account(gallery: &Gallery) -> Result {
    let devices = || vec![device("Laptop", "2 minutes ago", true), device("build-box", "12 days ago", false)];
    let nowhere = Frame { door: Door::Account(None), ..NEUTRAL };
    let organizations = vec![OrganizationLink { slug: "acme", name: "Acme" }];
    gallery.add("a-start", &Start { frame: nowhere, organizations: vec![], typed: "", error: None })?;
    let error = Some("There is no organization of this name here.");
    gallery.add("a-start-error", &Start { frame: nowhere, organizations, typed: "acmee", error })?;
    gallery.add("a-devices", &Devices { frame: AT_HOME, devices: devices(), notice: Some(Notice::Renamed) })?;
    gallery.add("a-devices-none", &Devices { frame: AT_HOME, devices: vec![], notice: None })?;
    let page = DevicePage {
        frame: AT_HOME,
        device: device("Laptop", "2 minutes ago", true),
        device_token: "token",
        typed: "Laptop",
        error: None,
        notice: None,
    };
    let error = Some("Enter a name, so that you know the device again.");
    gallery.add("a-device-error", &DevicePage { device: page.device.clone(), typed: "", error, ..page })?;
    gallery.add("a-device", &page)?;
    let end = End { frame: AT_HOME, device: page.device, device_token: "token", minutes: 15 };
    gallery.add("a-end", &end)?;
    let error = Some("Choose which device stays signed in.");
    let others = |keep, error| EndOthers { frame: AT_HOME, devices: devices(), keep, minutes: 15, error };
    gallery.add("a-end-others", &others("laptop", None))?;
    gallery.add("a-end-others-error", &others("", error))?;
    let security =
        |authenticator, notice| Security { frame: AT_HOME, authenticator, recovery_codes: 9, password: true, notice };
    gallery.add("a-security", &security(Some("3 November 2026, 14:05 UTC"), Some(Notice::Replaced)))?;
    gallery.add("a-security-none", &security(None, None))?;
    gallery.add("a-renew-codes", &RenewCodes { frame: AT_HOME, left: 9 })?;
    let wrong = PasswordErrors { new: Some("A password has at least 8 characters."), ..PasswordErrors::default() };
    gallery.add(
        "a-password",
        &Password { frame: AT_HOME, email: "ada@acme.example", errors: PasswordErrors::default() },
    )?;
    gallery.add("a-password-error", &Password { frame: AT_HOME, email: "ada@acme.example", errors: wrong })
}
