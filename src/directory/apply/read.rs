//! From a table of the file to what it means: which keys there are, and what must hold between them.
//!
//! `docs/directory.md` is the reference of the same keys.

use std::collections::HashSet;

use crate::directory::fresh_proof::FreshProof;
use crate::directory::provider::{Admission, Kind};
use crate::directory::service::{COMMON_SCOPES, Scope};
use crate::directory::user::Status as UserStatus;

use super::check;
use super::check::LONGEST;
use super::fault::did_you_mean;
use super::file::{Organization, Taken, User, WithSecret};
use super::reader::{Document, Entry, Reader};
use super::settings::administration;
use super::settings::{OrganizationSettings, ProviderSettings, ServiceSettings, UserSettings, WebhookSettings};
use super::{OWN_CLIENT, OWN_SERVICE, PLATFORM};

/// Names of other routes under /auth (SPEC §2), which a provider's slug would hide.
const RESERVED_PROVIDER_SLUGS: [&str; 6] = ["device", "token", "revoke", "introspect", "userinfo", "admin"];

/// Reads an organization and what it owns. `None` without a good slug, since nothing can be said of it then.
pub(super) fn organization<'a>(
    document: &'a Document<'a>,
    mut reader: Reader<'a>,
    taken: &mut Taken,
) -> Option<Organization> {
    let slug = reader.require("slug", check::slug);
    if let Some(slug) = &slug {
        reader.set_place(&format!("organization {slug:?}"));
        if taken.take("organization", slug, reader.place()).is_some() {
            reader.fault("slug", " is given twice");
        }
    }
    let mut settings = OrganizationSettings::of(slug.clone().unwrap_or_default());
    set(&mut settings.name, reader.get("name", check::name));
    set(&mut settings.mfa, reader.get("mfa", Ok));
    let status = reader.get("status", |status: crate::directory::organization::Status| {
        let off = settings.slug == PLATFORM && status.as_str() == "suspended";
        if off { Err("the organization that administers the others can't be suspended".into()) } else { Ok(status) }
    });
    let inner = |reader: &mut Reader<'a>, kind: &'static str| -> Vec<Reader<'a>> {
        let tables = reader.tables(kind).into_iter().enumerate();
        let place = |index| format!("{}, {kind} {}", reader.place(), index + 1);
        tables.map(|(index, (at, table))| Reader::new(document, table, at, place(index))).collect()
    };
    let [services, providers, users, webhooks] =
        ["service", "provider", "user", "webhook"].map(|kind| inner(&mut reader, kind));
    let place = reader.place().to_owned();
    let organization = Organization {
        services: services.into_iter().filter_map(|reader| service(reader, &place, &settings.slug, taken)).collect(),
        providers: providers.into_iter().filter_map(|reader| provider(reader, &place, taken)).collect(),
        users: users.into_iter().filter_map(|reader| user(reader, &place, taken)).collect(),
        webhooks: webhooks.into_iter().filter_map(|reader| webhook(reader, &place, taken)).collect(),
        settings,
        status,
    };
    reader.end();
    slug.map(|_| organization)
}

fn service(
    mut reader: Reader<'_>,
    organization_place: &str,
    organization: &str,
    taken: &mut Taken,
) -> Option<WithSecret<ServiceSettings>> {
    let slug = named(&mut reader, organization_place, "service", "slug", check::slug, taken);
    let mut settings = ServiceSettings::of(organization, slug.clone().unwrap_or_default());
    set(&mut settings.name, reader.get("name", check::name));
    set(&mut settings.client_id, reader.get("client_id", check::client_id));
    if slug.is_some() || reader.has("client_id") {
        note(&reader, "client_id", own_client(organization, &settings));
        let before = taken.take("client_id", &settings.client_id, reader.place());
        // The same place twice is a slug given twice, which is told already.
        if let Some(before) = before.filter(|before| before != reader.place()) {
            reader.fault("client_id", &format!(" {:?} is that of {before} already", settings.client_id));
        }
    }
    let secret = reader.secret("client_secret", check::client_secret);
    set(&mut settings.device_login, reader.get("device_login", Ok));
    if settings.slug == OWN_SERVICE {
        own_scopes(&mut reader, &mut settings);
    } else {
        scopes(&mut reader, &mut settings);
    }
    set(&mut settings.code_lifetime, reader.get("code_lifetime", check::lifetime(60..=3600)));
    set(&mut settings.interval, reader.get("interval", check::interval));
    set(&mut settings.access_token_lifetime, reader.get("access_token_lifetime", check::lifetime(60..=86400)));
    set(&mut settings.refresh, reader.get("refresh", Ok));
    set(&mut settings.refresh_idle, reader.get("refresh_idle", check::lifetime(1..=LONGEST)));
    set(&mut settings.refresh_absolute, reader.get("refresh_absolute", check::lifetime(1..=LONGEST)));
    if settings.refresh_idle > settings.refresh_absolute {
        reader.fault("refresh_idle", " is longer than refresh_absolute, after which a session has ended anyway");
    }
    set(&mut settings.prefill, reader.get("prefill", Ok));
    set(&mut settings.resource_server, reader.get("resource_server", Ok));
    set(&mut settings.dpop, reader.get("dpop", Ok));
    set(&mut settings.resources, reader.get("resources", check::resources));
    set(&mut settings.proximity, reader.get("proximity", Ok));
    set(&mut settings.verification, reader.get("verification", Ok));
    set(&mut settings.trusted_networks, reader.get("trusted_networks", check::networks));
    set(&mut settings.verified, reader.get("verified", Ok));
    settings.mfa = reader.get("mfa", Ok);
    settings.mfa_max_age = reader.get("mfa_max_age", check::lifetime(1..=LONGEST));
    settings.fresh_proof = fresh_proof(&mut reader);
    set(&mut settings.id_token_algorithm, reader.get("id_token_algorithm", Ok));
    settings.activation_uri = reader.get("activation_uri", check::url);
    let stands = reader.stands();
    reader.end();
    slug.map(|_| WithSecret { settings, secret, stands })
}

/// Countersign's own command-line tool keeps its client id, and nobody else has it.
fn own_client(organization: &str, settings: &ServiceSettings) -> Result<(), String> {
    let own = organization == PLATFORM && settings.slug == OWN_SERVICE;
    if own == (settings.client_id == OWN_CLIENT) {
        return Ok(());
    }
    Err(format!(" {OWN_CLIENT:?} is that of service {OWN_SERVICE:?} of organization {PLATFORM:?}, always and only"))
}

/// What Countersign's own command-line tool may be given means the same in each organization, and is asked for in the same
/// words: whoever wrote other words could have an owner grant more than they read.
fn own_scopes(reader: &mut Reader<'_>, settings: &mut ServiceSettings) {
    let defaults = std::mem::take(&mut settings.default_scopes);
    if reader.has("scopes") {
        settings.scopes.clear();
    }
    let (plain, given) = (administration(), reader.has("default_scopes"));
    scopes(reader, settings);
    if !given {
        settings.default_scopes = defaults;
    }
    let asked = |scope: &Scope| Scope { fresh_proof: FreshProof::default(), ..scope.clone() };
    if settings.scopes.iter().map(asked).ne(plain) {
        reader.fault("scopes", &format!(" are always those of the administration: leave them out of {OWN_SERVICE:?}"));
    }
}

fn scopes(reader: &mut Reader<'_>, settings: &mut ServiceSettings) {
    const EXAMPLE: &str = "{ read = \"Read your projects\" }";
    for (name, entry) in reader.entries("scopes", "scope", EXAMPLE) {
        if COMMON_SCOPES.iter().any(|(common, _)| *common == name) {
            reader.fault("scopes", &format!(" names {name:?}, which every service has, and always means the same"));
        }
        note(reader, "scopes", check::scope_token(&name).map_err(|message| format!(": {message}")));
        settings.scopes.push(scope(reader, name, entry));
    }
    for key in ["default_scopes", "required_scopes"] {
        let named: Vec<String> = reader.get(key, check::without_repetition).unwrap_or_default();
        let known =
            || settings.scopes.iter().map(|scope| scope.name.as_str()).chain(COMMON_SCOPES.map(|(name, _)| name));
        let all: HashSet<&str> = known().collect();
        for scope in named.iter().filter(|scope| !all.contains(scope.as_str())) {
            if reader.is_full() {
                break;
            }
            let hint = did_you_mean(scope, known());
            reader.fault(key, &format!(" names {scope:?}, which is not one of its scopes{hint}"));
        }
        if key == "default_scopes" {
            settings.default_scopes = named;
        } else {
            settings.required_scopes = named;
        }
    }
}

/// A scope: its words, or a table that has them and what has to be proven for it.
fn scope(service: &Reader<'_>, name: String, entry: Entry<'_>) -> Scope {
    match entry {
        Entry::Words(text) => {
            let checked = check::name(text.clone()).map(drop);
            note(service, "scopes", checked.map_err(|message| format!(": the words for {name:?}: {message}")));
            Scope { name, text, fresh_proof: FreshProof::default() }
        }
        Entry::Table(mut reader) => {
            let text = reader.require("text", check::name).unwrap_or_default();
            let fresh_proof = fresh_proof(&mut reader);
            reader.end();
            Scope { name, text, fresh_proof }
        }
    }
}

/// What has to be proven for every login of a service, or for a scope.
fn fresh_proof(reader: &mut Reader<'_>) -> FreshProof {
    FreshProof { max_age: reader.get("max_age", check::max_age), factor: reader.get("factor", Ok) }
}

fn provider(
    mut reader: Reader<'_>,
    organization_place: &str,
    taken: &mut Taken,
) -> Option<WithSecret<ProviderSettings>> {
    let slug = named(&mut reader, organization_place, "provider", "slug", check::slug, taken);
    if let Some(slug) = slug.as_deref().filter(|slug| RESERVED_PROVIDER_SLUGS.contains(slug)) {
        reader.fault("slug", &format!(" {slug:?} is taken by the address /auth/{slug}"));
    }
    let kind = reader.require("kind", Ok);
    let issuer = reader.get("issuer", check::base_url);
    let mut settings = ProviderSettings::of(slug.clone().unwrap_or_default(), kind.unwrap_or(Kind::Oidc), issuer);
    set(&mut settings.name, reader.get("name", check::name));
    settings.api_url = reader.get("api_url", check::base_url);
    settings.client_id = reader.get("client_id", check::client_id);
    let secret = reader.secret("client_secret", check::upstream_secret);
    set(&mut settings.extra_scopes, reader.get("extra_scopes", check::scope_tokens));
    set(&mut settings.admit, reader.get("admit", admission));
    set(&mut settings.groups_claim, reader.get("groups_claim", check::name));
    set(&mut settings.trust_mfa, reader.get("trust_mfa", Ok));
    if let Some(kind) = kind {
        keys_of_kind(&reader, kind, &settings.admit);
    }
    let stands = reader.stands();
    reader.end();
    (slug.is_some() && kind.is_some()).then_some(WithSecret { settings, secret, stands })
}

/// Which keys a kind of provider needs, and that there are none which mean nothing to it.
fn keys_of_kind(reader: &Reader<'_>, kind: Kind, admit: &Admission) {
    let needed: &[&str] = match kind {
        Kind::Password => &[],
        // Microsoft's issuer is that of one tenant: there is none that is right for everybody.
        Kind::Oidc | Kind::Microsoft => &["issuer", "client_id"],
        Kind::Github | Kind::Google => &["client_id", "client_secret"],
        Kind::Gitlab => &["client_id"],
    };
    let kind_name = kind.as_str();
    for key in needed.iter().filter(|key| !reader.has(key)) {
        reader.fault(key, &format!(" is missing: a provider of kind {kind_name:?} needs it"));
    }
    for key in meaningless(kind).iter().filter(|key| reader.has(key)) {
        reader.fault(key, &format!(" means nothing to a provider of kind {kind_name:?}"));
    }
    if kind == Kind::Google && matches!(admit, Admission::Groups(_)) {
        reader.fault("admit", ": Google tells no groups; admit by domains");
    }
}

/// The keys that mean nothing to a kind of provider.
pub(super) const fn meaningless(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Password => {
            &["issuer", "api_url", "client_id", "client_secret", "extra_scopes", "admit", "groups_claim", "trust_mfa"]
        }
        Kind::Oidc | Kind::Microsoft | Kind::Gitlab => &["api_url"],
        Kind::Github => &["groups_claim", "trust_mfa"],
        Kind::Google => &["api_url", "groups_claim"],
    }
}

/// `"invited"`, `"anyone"`, `{ domains = […] }` or `{ groups = […] }`.
fn admission(value: toml::Value) -> Result<Admission, String> {
    const FORMS: &str = "\"invited\", \"anyone\", { domains = [\"acme.example\"] } or { groups = [\"staff\"] }";
    let unclear = || format!("it is one of {FORMS}");
    match value {
        toml::Value::String(word) if word == "invited" => Ok(Admission::Invited),
        toml::Value::String(word) if word == "anyone" => Ok(Admission::Anyone),
        toml::Value::Table(table) if table.len() == 1 => {
            let (key, list) = table.into_iter().next().ok_or_else(unclear)?;
            let list: Vec<String> = list.try_into().map_err(|_| unclear())?;
            match key.as_str() {
                "domains" => Ok(Admission::Domains(check::domains(list)?)),
                "groups" => Ok(Admission::Groups(check::groups(list)?)),
                _ => Err(unclear()),
            }
        }
        _ => Err(unclear()),
    }
}

fn user(mut reader: Reader<'_>, organization_place: &str, taken: &mut Taken) -> Option<User> {
    let email = named(&mut reader, organization_place, "user", "email", check::email, taken);
    let mut settings = UserSettings::of(email.clone().unwrap_or_default());
    set(&mut settings.name, reader.get("name", check::label));
    set(&mut settings.role, reader.get("role", Ok));
    let password = reader.secret("password", check::password);
    let status = reader.get("status", Ok);
    if status == Some(UserStatus::Invited) && reader.has("password") {
        reader.fault("status", ": a user with a password is not invited but can sign in: leave status or password out");
    }
    reader.end();
    email.map(|_| User { settings, status, password })
}

fn webhook(mut reader: Reader<'_>, organization_place: &str, taken: &mut Taken) -> Option<WithSecret<WebhookSettings>> {
    let url = named(&mut reader, organization_place, "webhook", "url", check::url, taken);
    let mut settings = WebhookSettings::of(url.clone().unwrap_or_default());
    if !reader.has("secret") {
        reader.fault("secret", " is missing: without it nobody could tell who sent a message");
    }
    let secret = reader.secret("secret", check::webhook_secret);
    set(&mut settings.events, reader.get("events", check::events));
    let stands = reader.stands();
    reader.end();
    url.map(|_| WithSecret { settings, secret, stands })
}

/// Reads the key that names a thing in its organization, and says from then on what the place is.
fn named(
    reader: &mut Reader<'_>,
    organization_place: &str,
    kind: &'static str,
    key: &'static str,
    check: impl FnOnce(String) -> Result<String, String>,
    taken: &mut Taken,
) -> Option<String> {
    let name = reader.require(key, check)?;
    reader.set_place(&format!("{organization_place}, {kind} {name:?}"));
    // The place is the name in full: no other organization has the same.
    let place = reader.place().to_owned();
    if taken.take(kind, &place, &place).is_some() {
        reader.fault(key, " is given twice");
    }
    Some(name)
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// Notes what is wrong with a key; the message goes on after it.
fn note(reader: &Reader<'_>, key: &str, checked: Result<(), String>) {
    if let Err(message) = checked {
        reader.fault(key, &message);
    }
}
