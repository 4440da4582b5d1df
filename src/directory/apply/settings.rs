//! What can be set, the same for what a file says and for what the database holds: comparing the two is comparing
//! their facts.

use std::time::Duration;

use ipnet::IpNet;

use crate::directory::fresh_proof::{Factor, FreshProof};
use crate::directory::organization::{MfaPolicy, Status as OrganizationStatus};
use crate::directory::provider::{Admission, Kind};
use crate::directory::service::{Dpop, Proximity, Refresh, Scope, Verification};
use crate::directory::user::{Role, Status as UserStatus};
use crate::directory::webhook::Event;

use super::{ADMIN_SCOPES, OWN_SERVICE};

const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);

/// A key of the file and its value in words. Two values are the same if and only if their words are.
pub(super) type Fact = (&'static str, String);

/// Something that can be set up.
pub(super) trait Settings {
    /// Every key but the one that names the thing, and but for secrets.
    fn facts(&self) -> Vec<Fact>;
}

/// An organization but for what it owns.
#[derive(Clone, Debug)]
pub(super) struct OrganizationSettings {
    pub slug: String,
    pub name: String,
    pub status: OrganizationStatus,
    pub mfa: MfaPolicy,
}

impl OrganizationSettings {
    /// Without any key but its slug.
    pub(super) fn of(slug: String) -> Self {
        Self { name: slug.clone(), slug, status: OrganizationStatus::Active, mfa: MfaPolicy::Required }
    }
}

impl Settings for OrganizationSettings {
    fn facts(&self) -> Vec<Fact> {
        vec![
            ("name", quoted(&self.name)),
            ("status", self.status.as_str().to_owned()),
            ("mfa", self.mfa.as_str().to_owned()),
        ]
    }
}

/// A service but for its secret.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "switches that have nothing to do with each other")]
pub(super) struct ServiceSettings {
    pub slug: String,
    pub name: String,
    pub client_id: String,
    pub device_login: bool,
    pub scopes: Vec<Scope>,
    pub default_scopes: Vec<String>,
    pub required_scopes: Vec<String>,
    pub code_lifetime: Duration,
    pub interval: u8,
    pub access_token_lifetime: Duration,
    pub refresh: Refresh,
    pub refresh_idle: Duration,
    pub refresh_absolute: Duration,
    pub prefill: bool,
    pub proximity: Proximity,
    pub verification: Verification,
    pub trusted_networks: Vec<IpNet>,
    pub verified: bool,
    pub mfa: Option<MfaPolicy>,
    pub mfa_max_age: Option<Duration>,
    pub fresh_proof: FreshProof,
    pub id_token_algorithm: IdTokenAlgorithm,
    pub activation_uri: Option<String>,
    pub resource_server: bool,
    pub dpop: Dpop,
    pub resources: Vec<String>,
}

impl ServiceSettings {
    /// Without any key but its slug.
    pub(super) fn of(organization: &str, slug: String) -> Self {
        let own = slug == OWN_SERVICE;
        Self {
            name: if own { OWN_NAME.to_owned() } else { slug.clone() },
            client_id: format!("{organization}-{slug}"),
            // Its makers vouch for Countersign's own.
            verified: own,
            slug,
            device_login: own,
            scopes: if own { administration() } else { Vec::new() },
            default_scopes: if own { vec![ADMIN_SCOPES[0].0.to_owned()] } else { Vec::new() },
            required_scopes: Vec::new(),
            code_lifetime: 15 * MINUTE,
            interval: 5,
            access_token_lifetime: 15 * MINUTE,
            refresh: Refresh::OfflineAccess,
            refresh_idle: 30 * DAY,
            refresh_absolute: 90 * DAY,
            prefill: true,
            proximity: Proximity::Warn,
            verification: Verification::Off,
            trusted_networks: Vec::new(),
            mfa: None,
            mfa_max_age: None,
            fresh_proof: FreshProof::default(),
            id_token_algorithm: IdTokenAlgorithm::Rs256,
            activation_uri: None,
            resource_server: false,
            dpop: Dpop::Optional,
            resources: Vec::new(),
        }
    }
}

impl Settings for ServiceSettings {
    fn facts(&self) -> Vec<Fact> {
        let scopes = self.scopes.iter().map(|scope| format!("{} = {}", quoted(&scope.name), described(scope)));
        vec![
            ("name", quoted(&self.name)),
            ("client_id", quoted(&self.client_id)),
            ("device_login", self.device_login.to_string()),
            ("scopes", format!("{{{}}}", scopes.collect::<Vec<_>>().join(", "))),
            ("default_scopes", list(&self.default_scopes)),
            ("required_scopes", list(&self.required_scopes)),
            ("code_lifetime", duration(self.code_lifetime)),
            ("interval", self.interval.to_string()),
            ("access_token_lifetime", duration(self.access_token_lifetime)),
            ("refresh", self.refresh.as_str().to_owned()),
            ("refresh_idle", duration(self.refresh_idle)),
            ("refresh_absolute", duration(self.refresh_absolute)),
            ("prefill", self.prefill.to_string()),
            ("proximity", self.proximity.as_str().to_owned()),
            ("verification", self.verification.as_str().to_owned()),
            ("trusted_networks", list(&self.trusted_networks.iter().map(IpNet::to_string).collect::<Vec<_>>())),
            ("verified", self.verified.to_string()),
            ("mfa", self.mfa.map_or("as the organization", MfaPolicy::as_str).to_owned()),
            ("mfa_max_age", self.mfa_max_age.map_or_else(none, duration)),
            ("max_age", self.fresh_proof.max_age.map_or_else(none, duration)),
            ("factor", self.fresh_proof.factor.map_or(NONE, Factor::as_str).to_owned()),
            ("id_token_algorithm", self.id_token_algorithm.as_str().to_owned()),
            ("activation_uri", optional(self.activation_uri.as_deref())),
            ("resource_server", self.resource_server.to_string()),
            ("dpop", self.dpop.as_str().to_owned()),
            ("resources", list(&self.resources)),
        ]
    }
}

/// What Countersign's own command-line tool is called.
const OWN_NAME: &str = "Countersign administration";

/// The scopes of Countersign's own command-line tool.
pub(super) fn administration() -> Vec<Scope> {
    let scope = |(name, text): (&str, &str)| Scope {
        name: name.to_owned(),
        text: text.to_owned(),
        fresh_proof: FreshProof::default(),
    };
    ADMIN_SCOPES.into_iter().map(scope).collect()
}

/// A scope's words, and what it asks for, as files write it.
fn described(scope: &Scope) -> String {
    let FreshProof { max_age, factor } = scope.fresh_proof;
    if scope.fresh_proof.is_nothing() {
        return quoted(&scope.text);
    }
    let max_age = max_age.map(|age| format!(", max_age = {}", quoted(&duration(age))));
    let factor = factor.map(|factor| format!(", factor = {}", quoted(factor.as_str())));
    let asked = [max_age, factor].map(Option::unwrap_or_default).concat();
    format!("{{text = {}{asked}}}", quoted(&scope.text))
}

/// What signs a service's ID tokens (RFC 7518 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdTokenAlgorithm {
    Rs256,
    Es256,
    EdDsa,
}
crate::directory::stored_as_text!("signature algorithm", IdTokenAlgorithm {
    Rs256 = "RS256",
    Es256 = "ES256",
    EdDsa = "EdDSA",
});

/// A provider but for its secret.
#[derive(Clone, Debug)]
pub(super) struct ProviderSettings {
    pub slug: String,
    pub kind: Kind,
    pub name: String,
    pub issuer: Option<String>,
    pub api_url: Option<String>,
    pub client_id: Option<String>,
    pub extra_scopes: Vec<String>,
    pub admit: Admission,
    pub groups_claim: String,
    pub trust_mfa: bool,
}

impl ProviderSettings {
    /// Without any key but these. A person who chooses among several must tell them apart, so an issuer without a name
    /// is called by its host.
    pub(super) fn of(slug: String, kind: Kind, issuer: Option<String>) -> Self {
        let host = || {
            let url = issuer.as_deref().and_then(|issuer| url::Url::parse(issuer).ok());
            url.and_then(|url| url.host_str().map(str::to_owned))
        };
        let name = match kind {
            Kind::Github => "GitHub".to_owned(),
            Kind::Google => "Google".to_owned(),
            Kind::Microsoft => "Microsoft".to_owned(),
            Kind::Gitlab => "GitLab".to_owned(),
            Kind::Password => "Password".to_owned(),
            Kind::Oidc => host().unwrap_or_else(|| slug.clone()),
        };
        Self {
            slug,
            kind,
            name,
            issuer,
            api_url: None,
            client_id: None,
            extra_scopes: Vec::new(),
            admit: Admission::Invited,
            groups_claim: "groups".to_owned(),
            trust_mfa: false,
        }
    }

    /// The addresses that it names, by their keys.
    pub(super) fn addresses(&self) -> Vec<(&'static str, &str)> {
        let named = [("issuer", self.issuer.as_deref()), ("api_url", self.api_url.as_deref())];
        named.into_iter().filter_map(|(key, address)| Some((key, address?))).collect()
    }

    /// Whether `other` is asked at the same addresses.
    pub(super) fn leads_where(&self, other: &Self) -> bool {
        self.kind == other.kind && self.addresses() == other.addresses()
    }

    /// Whether `other` says who somebody is in the same words: a subject of one is the same person at the other.
    pub(super) fn knows_the_same_people_as(&self, other: &Self) -> bool {
        self.kind == other.kind && self.issuer == other.issuer
    }
}

impl Settings for ProviderSettings {
    fn facts(&self) -> Vec<Fact> {
        let admit = match &self.admit {
            Admission::Domains(domains) => format!("domains {}", list(domains)),
            Admission::Groups(groups) => format!("groups {}", list(groups)),
            Admission::Invited | Admission::Anyone => self.admit.stored().0.to_owned(),
        };
        vec![
            ("kind", self.kind.as_str().to_owned()),
            ("name", quoted(&self.name)),
            ("issuer", optional(self.issuer.as_deref())),
            ("api_url", optional(self.api_url.as_deref())),
            ("client_id", optional(self.client_id.as_deref())),
            ("extra_scopes", list(&self.extra_scopes)),
            ("admit", admit),
            ("groups_claim", quoted(&self.groups_claim)),
            ("trust_mfa", self.trust_mfa.to_string()),
        ]
    }
}

/// A user but for their password.
#[derive(Clone, Debug)]
pub(super) struct UserSettings {
    pub email: String,
    pub name: String,
    pub role: Role,
    pub status: UserStatus,
}

impl UserSettings {
    /// Without any key but the address.
    pub(super) fn of(email: String) -> Self {
        Self { email, name: String::new(), role: Role::Member, status: UserStatus::Invited }
    }
}

impl Settings for UserSettings {
    fn facts(&self) -> Vec<Fact> {
        vec![
            ("name", quoted(&self.name)),
            ("role", self.role.as_str().to_owned()),
            ("status", self.status.as_str().to_owned()),
        ]
    }
}

/// A webhook but for its secret.
#[derive(Clone, Debug)]
pub(super) struct WebhookSettings {
    pub url: String,
    pub events: Vec<Event>,
}

impl WebhookSettings {
    /// Without any key but the address: it is told of everything.
    pub(super) fn of(url: String) -> Self {
        Self { url, events: vec![Event::Approved, Event::Reported] }
    }
}

impl Settings for WebhookSettings {
    fn facts(&self) -> Vec<Fact> {
        let events: Vec<String> = self.events.iter().map(|event| event.as_str().to_owned()).collect();
        vec![("events", list(&events))]
    }
}

/// A time span as files write it, in the largest unit that measures it whole.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(24 * 60 * 60, "d"), (60 * 60, "h"), (60, "m")];
    let unit = units.into_iter().find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{seconds}s"), |(unit, letter)| format!("{}{letter}", seconds / unit))
}

/// In place of a value that isn't there.
pub(super) const NONE: &str = "none";

fn none() -> String {
    NONE.to_owned()
}

/// In quotes, so that nothing in it acts on a terminal.
fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn optional(text: Option<&str>) -> String {
    text.map_or_else(none, quoted)
}

fn list(items: &[String]) -> String {
    format!("{items:?}")
}
