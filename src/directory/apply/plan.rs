//! The difference between file and database: what would have to be written, and how it is told.

use crate::directory::organization::Status as OrganizationStatus;
use crate::directory::provider::{self, Admission};
use crate::directory::service;
use crate::directory::user::Status as UserStatus;
use crate::directory::webhook;
use crate::ids::{OrganizationId, ProviderId, ServiceId, UserId, WebhookId};
use crate::postgres::PgConnection;
use crate::secrets::{Keyring, Purpose, Sealed, SecretText};

use super::change::{Action, Change, Field, Subject, fields_of_new, fields_that_differ};
use super::fault::{Fault, Faults};
use super::file::{File, Organization, User, WithSecret};
use super::settings::{OrganizationSettings, ProviderSettings, ServiceSettings, UserSettings, WebhookSettings};
use super::stored::{self, Stored, StoredProvider, StoredService, StoredUser, StoredWebhook};
use super::{ApplyError, Mode, OWN_SERVICE, PLATFORM, TakenClientId, Tools};

/// One difference, and how it is done away with.
pub(super) struct Step {
    pub change: Change,
    pub work: Work,
}

/// What is written. Something with an id that is stored is made so; otherwise it is added.
pub(super) enum Work {
    Organization(OrganizationId, OrganizationSettings),
    Service {
        id: ServiceId,
        settings: ServiceSettings,
        secret_mac: Secret<Vec<u8>>,
        new_client_id: bool,
    },
    /// `unlink`: the subjects that are known are those of another issuer.
    Provider {
        id: ProviderId,
        settings: ProviderSettings,
        secret: Secret<Sealed>,
        unlink: bool,
        public_only: bool,
    },
    User {
        id: UserId,
        settings: UserSettings,
        password: Secret<SecretText>,
    },
    Webhook {
        id: WebhookId,
        settings: WebhookSettings,
        secret: Secret<Sealed>,
        public_only: bool,
    },
    DeleteService(ServiceId),
    DeleteProvider(ProviderId),
    DeleteUser(UserId),
    DeleteWebhook(WebhookId),
}

/// What becomes of a stored secret.
pub(super) enum Secret<T> {
    Keep,
    Remove,
    Put(T),
}

/// Compares everything that the file names, organization by organization.
pub(super) async fn plan(
    conn: &mut PgConnection,
    tools: &Tools<'_>,
    file: &File,
    mode: Mode,
) -> Result<Vec<Step>, ApplyError> {
    let (mut steps, mut not_public) = (Vec::new(), Vec::new());
    for wanted in &file.organizations {
        // An incomplete file must not lock everybody out of the organization that administers the others.
        let prune = mode.prune && wanted.settings.slug != PLATFORM;
        let stored = stored::load(conn, wanted, prune).await?;
        let id = stored.as_ref().map_or_else(|| OrganizationId(tools.new_id()), |stored| stored.id);
        let slug = &wanted.settings.slug;
        let (steps, not_public) = (&mut steps, &mut not_public);
        let mut planning = Planning { tools, id, slug, mode, steps, not_public, lost: Vec::new() };
        planning.organization(stored.as_ref(), wanted);
        let none = Stored::none(id, wanted.settings.clone());
        let stored = stored.as_ref().unwrap_or(&none);
        for service in &wanted.services {
            planning.service(stored.services.iter().find(|s| s.settings.slug == service.settings.slug), service);
        }
        for provider in &wanted.providers {
            planning.provider(stored.providers.iter().find(|p| p.settings.slug == provider.settings.slug), provider)?;
        }
        if prune {
            planning.prune_services_and_providers(stored, wanted);
        }
        for user in &wanted.users {
            planning.user(stored.users.iter().find(|u| u.settings.email == user.settings.email), user).await;
        }
        if prune {
            planning.prune_users(stored, wanted);
        }
        for webhook in &wanted.webhooks {
            planning.webhook(stored.webhooks.iter().find(|w| w.settings.url == webhook.settings.url), webhook)?;
        }
        if prune {
            planning.prune_webhooks(stored, wanted);
        }
    }
    if !not_public.is_empty() {
        return Err(ApplyError::NotPublic(Faults(not_public)));
    }
    refuse_taken_client_ids(conn, &steps).await?;
    Ok(steps)
}

impl Stored {
    fn none(id: OrganizationId, settings: OrganizationSettings) -> Self {
        Self { id, settings, services: Vec::new(), providers: Vec::new(), users: Vec::new(), webhooks: Vec::new() }
    }
}

/// The plan of one organization as it grows.
struct Planning<'a> {
    tools: &'a Tools<'a>,
    id: OrganizationId,
    slug: &'a str,
    /// Which secrets stay.
    mode: Mode,
    steps: &'a mut Vec<Step>,
    /// Addresses that may not be written.
    not_public: &'a mut Vec<Fault>,
    /// Providers through which nobody will have signed in any more.
    lost: Vec<ProviderId>,
}

impl Planning<'_> {
    fn organization(&mut self, stored: Option<&Stored>, wanted: &Organization) {
        let mut settings = wanted.settings.clone();
        // Who suspended it is not undone by a file that doesn't speak of it.
        settings.status =
            wanted.status.or(stored.map(|stored| stored.settings.status)).unwrap_or(OrganizationStatus::Active);
        let action = action(
            stored.map(|stored| fields_that_differ(&stored.settings, &settings)),
            || fields_of_new(&OrganizationSettings::of(settings.slug.clone()), &settings),
            None,
        );
        self.push(Subject::Organization, settings.slug.clone(), action, Work::Organization(self.id, settings));
    }

    fn service(&mut self, stored: Option<&StoredService>, wanted: &WithSecret<ServiceSettings>) {
        let settings = wanted.settings.clone();
        let id = stored.map_or_else(|| ServiceId(self.tools.new_id()), |stored| stored.id);
        let keyring = self.tools.keyring;
        let stored_mac = stored.and_then(|stored| stored.secret_mac.as_deref());
        let new_client_id = stored.is_some_and(|stored| stored.settings.client_id != settings.client_id);
        let mut renewed = false;
        let (same, secret_mac) = match &wanted.secret {
            None if self.mode.keep_secrets => (true, Secret::Keep),
            None => (false, Secret::Remove),
            Some(secret) => {
                let stored_id = stored.map_or(settings.client_id.as_str(), |stored| stored.settings.client_id.as_str());
                let same = stored_mac.is_some_and(|mac| is_mac_of(keyring, stored_id, secret, mac));
                // So that the older secret of the installation can be taken away.
                renewed = same && !stored_mac.is_some_and(|mac| is_current_mac_of(keyring, stored_id, secret, mac));
                // The MAC covers the client id: under a new one, even the same secret has another.
                let keep = same && !new_client_id && !renewed;
                let mac = || service::client_secret_mac(keyring, &settings.client_id, secret);
                (same, if keep { Secret::Keep } else { Secret::Put(mac()) })
            }
        };
        let action = action(
            stored.map(|stored| fields_that_differ(&stored.settings, &settings)),
            || fields_of_new(&ServiceSettings::of(self.slug, settings.slug.clone()), &settings),
            Field::of_secret(
                "client_secret",
                stored_mac.is_some(),
                self.is_there(wanted.secret.as_ref(), stored_mac),
                same,
            )
            .or_else(|| renewed.then(|| Field::of_renewed_secret("client_secret"))),
        );
        let work = Work::Service { id, settings, secret_mac, new_client_id };
        self.push(Subject::Service(id), wanted.settings.slug.clone(), action, work);
    }

    fn provider(
        &mut self,
        stored: Option<&StoredProvider>,
        wanted: &WithSecret<ProviderSettings>,
    ) -> Result<(), ApplyError> {
        let settings = wanted.settings.clone();
        let id = stored.map_or_else(|| ProviderId(self.tools.new_id()), |stored| stored.provider.id);
        let keyring = self.tools.keyring;
        let sealed = stored.and_then(|stored| stored.provider.client_secret.as_ref());
        let (same, secret) = match &wanted.secret {
            None => (false, Secret::Remove),
            Some(secret) => {
                // What can't be opened any more is sealed anew.
                let opened = stored.and_then(|stored| stored.provider.open_client_secret(keyring).ok().flatten());
                if opened.is_some_and(|opened| opened.expose() == secret.expose()) {
                    (true, Secret::Keep)
                } else {
                    (false, Secret::Put(provider::seal_client_secret(keyring, id, secret)?))
                }
            }
        };
        let unlink = stored.is_some_and(|stored| !stored.settings.knows_the_same_people_as(&settings));
        let mut extra =
            Vec::from_iter(Field::of_secret("client_secret", sealed.is_some(), wanted.secret.is_some(), same));
        let marked = stored.map(|stored| stored.provider.public_only);
        let stayed = marked.filter(|_| stored.is_some_and(|stored| stored.settings.leads_where(&settings)));
        let (public_only, faults) = self.tools.addresses.judge(&settings.addresses(), stayed, &wanted.stands);
        self.not_public.extend(faults);
        extra.extend(Field::of_mark(marked, public_only));
        if unlink {
            self.lost.push(id);
            extra.extend(stored.map(|stored| Field {
                key: "linked accounts",
                from: Some(stored.linked.to_string()),
                to: "none, since a subject of another issuer is another person".to_owned(),
                is_default: stored.linked == 0,
            }));
        }
        let defaults = || ProviderSettings::of(settings.slug.clone(), settings.kind, settings.issuer.clone());
        let action = action(
            stored.map(|stored| fields_that_differ(&stored.settings, &settings)),
            || fields_of_new(&defaults(), &settings),
            extra,
        );
        let work = Work::Provider { id, settings, secret, unlink, public_only };
        self.push(Subject::Provider(id), wanted.settings.slug.clone(), action, work);
        Ok(())
    }

    async fn user(&mut self, stored: Option<&StoredUser>, wanted: &User) {
        let id = stored.map_or_else(|| UserId(self.tools.new_id()), |stored| stored.id);
        let hash = stored.and_then(|stored| stored.password_hash.as_deref());
        let (same, password) = match (&wanted.password, hash) {
            (_, Some(_)) if self.mode.keep_passwords => (true, Secret::Keep),
            (None, _) if self.mode.keep_secrets => (true, Secret::Keep),
            (None, _) => (false, Secret::Remove),
            (Some(given), Some(hash)) if self.tools.passwords.verify(given, Some(hash)).await => (true, Secret::Keep),
            (Some(given), _) => (false, Secret::Put(given.clone())),
        };
        let keeps = self.mode.keep_passwords && hash.is_some();
        let has_password = keeps || self.is_there(wanted.password.as_ref(), hash);
        let linked = stored.is_some_and(|stored| stored.linked.iter().any(|provider| !self.lost.contains(provider)));
        let status = status(wanted.status, stored.map(|stored| stored.settings.status), has_password || linked);
        let settings = UserSettings { status, ..wanted.settings.clone() };
        let action = action(
            stored.map(|stored| fields_that_differ(&stored.settings, &settings)),
            || fields_of_new(&UserSettings::of(settings.email.clone()), &settings),
            Field::of_secret("password", hash.is_some(), has_password, same),
        );
        self.push(Subject::User(id), wanted.settings.email.clone(), action, Work::User { id, settings, password });
    }

    fn webhook(
        &mut self,
        stored: Option<&StoredWebhook>,
        wanted: &WithSecret<WebhookSettings>,
    ) -> Result<(), ApplyError> {
        let settings = wanted.settings.clone();
        let id = stored.map_or_else(|| WebhookId(self.tools.new_id()), |stored| stored.webhook.id);
        let keyring = self.tools.keyring;
        // What can't be opened any more is sealed anew.
        let opened = stored.and_then(|stored| webhook::open_secret(keyring, id, &stored.webhook.secret).ok());
        let (same, secret) = match &wanted.secret {
            Some(secret) if opened.is_none_or(|opened| opened.expose() != secret.expose()) => {
                (false, Secret::Put(webhook::seal_secret(keyring, id, secret)?))
            }
            // A file without it has a fault and is not applied.
            _ => (true, Secret::Keep),
        };
        let marked = stored.map(|stored| stored.webhook.public_only);
        let (public_only, faults) = self.tools.addresses.judge(&[("url", &settings.url)], marked, &wanted.stands);
        self.not_public.extend(faults);
        let secret_changes = Field::of_secret("secret", stored.is_some(), true, same);
        let action = action(
            stored.map(|stored| fields_that_differ(&stored.settings, &settings)),
            || fields_of_new(&WebhookSettings::of(settings.url.clone()), &settings),
            secret_changes.into_iter().chain(Field::of_mark(marked, public_only)),
        );
        let work = Work::Webhook { id, settings, secret, public_only };
        self.push(Subject::Webhook(id), wanted.settings.url.clone(), action, work);
        Ok(())
    }

    /// Whether there is to be a secret: one that is given, or one that stays.
    fn is_there<T: ?Sized>(&self, given: Option<&SecretText>, stored: Option<&T>) -> bool {
        given.is_some() || (self.mode.keep_secrets && stored.is_some())
    }

    fn prune_webhooks(&mut self, stored: &Stored, wanted: &Organization) {
        for StoredWebhook { webhook, settings } in &stored.webhooks {
            if wanted.webhooks.iter().all(|wanted| wanted.settings.url != settings.url) {
                let work = Work::DeleteWebhook(webhook.id);
                self.push(Subject::Webhook(webhook.id), settings.url.clone(), Action::Deleted, work);
            }
        }
    }

    fn prune_services_and_providers(&mut self, stored: &Stored, wanted: &Organization) {
        for StoredService { id, settings, .. } in &stored.services {
            // Without its own command-line tool nobody could administer the organization any more.
            let named = wanted.services.iter().any(|service| service.settings.slug == settings.slug);
            if !named && settings.slug != OWN_SERVICE {
                self.push(Subject::Service(*id), settings.slug.clone(), Action::Deleted, Work::DeleteService(*id));
            }
        }
        for StoredProvider { provider, .. } in &stored.providers {
            if wanted.providers.iter().all(|wanted| wanted.settings.slug != provider.slug) {
                let subject = Subject::Provider(provider.id);
                self.push(subject, provider.slug.clone(), Action::Deleted, Work::DeleteProvider(provider.id));
                self.lost.push(provider.id);
            }
        }
    }

    /// Deletes users whom the file doesn't name, but for those whom a provider lets in by itself: of them the provider
    /// keeps the list.
    fn prune_users(&mut self, stored: &Stored, wanted: &Organization) {
        let admits = |provider: &&StoredProvider| {
            let wanted = wanted.providers.iter().find(|wanted| wanted.settings.slug == provider.settings.slug);
            wanted.is_some_and(|wanted| wanted.settings.admit != Admission::Invited)
        };
        let admitting: Vec<ProviderId> =
            stored.providers.iter().filter(admits).map(|stored| stored.provider.id).collect();
        for StoredUser { id, settings, linked, .. } in &stored.users {
            let named = wanted.users.iter().any(|user| user.settings.email == settings.email);
            if named || linked.iter().any(|provider| admitting.contains(provider)) {
                continue;
            }
            let name = if settings.email.is_empty() { id.to_string() } else { settings.email.clone() };
            self.push(Subject::User(*id), name, Action::Deleted, Work::DeleteUser(*id));
        }
    }

    /// Adds a step, unless nothing would change.
    fn push(&mut self, subject: Subject, name: String, action: Action, work: Work) {
        if matches!(&action, Action::Changed(fields) if fields.is_empty()) {
            return;
        }
        let organization_slug = self.slug.to_owned();
        let change = Change { organization_id: self.id, organization_slug, subject, name, action };
        self.steps.push(Step { change, work });
    }
}

/// Changed, when there were fields to differ from; otherwise created.
fn action(
    differing: Option<Vec<Field>>,
    new: impl FnOnce() -> Vec<Field>,
    extra: impl IntoIterator<Item = Field>,
) -> Action {
    match differing {
        Some(fields) => Action::Changed(fields.into_iter().chain(extra).collect()),
        None => Action::Created(new().into_iter().chain(extra).collect()),
    }
}

fn is_mac_of(keyring: &Keyring, client_id: &str, secret: &SecretText, mac: &[u8]) -> bool {
    keyring.verify(Purpose::ClientSecret, &[client_id.as_bytes(), secret.expose().as_bytes()], mac)
}

fn is_current_mac_of(keyring: &Keyring, client_id: &str, secret: &SecretText, mac: &[u8]) -> bool {
    keyring.verify_current(Purpose::ClientSecret, &[client_id.as_bytes(), secret.expose().as_bytes()], mac)
}

/// What a user is to be. Somebody who has no way to sign in yet is invited, whatever the file calls it: the first
/// sign-in at a provider makes them active. A lock stays until a file says otherwise.
fn status(wanted: Option<UserStatus>, stored: Option<UserStatus>, can_sign_in: bool) -> UserStatus {
    match wanted.or(stored) {
        Some(UserStatus::Locked) => UserStatus::Locked,
        _ if can_sign_in => UserStatus::Active,
        _ => UserStatus::Invited,
    }
}

/// Says which client ids belong to services that the file leaves as they are: their name space is the installation's.
async fn refuse_taken_client_ids(conn: &mut PgConnection, steps: &[Step]) -> Result<(), ApplyError> {
    let wanted: Vec<String> = steps
        .iter()
        .filter_map(|step| match &step.work {
            Work::Service { settings, .. } => Some(settings.client_id.clone()),
            _ => None,
        })
        .collect();
    let holders = sqlx::query!(
        "SELECT s.id, s.client_id, s.slug, o.slug AS organization
         FROM service s JOIN organization o ON o.id = s.organization_id
         WHERE s.client_id = ANY($1) ORDER BY s.client_id",
        &wanted,
    )
    .fetch_all(conn)
    .await?;
    // A step on the holder itself either keeps the id there or frees it.
    let settled = |holder: ServiceId| steps.iter().any(|step| step.change.service_id() == Some(holder));
    let taken: Vec<TakenClientId> = holders
        .into_iter()
        .filter(|row| !settled(row.id.into()))
        .map(|row| TakenClientId { client_id: row.client_id, service: row.slug, organization: row.organization })
        .collect();
    if taken.is_empty() { Ok(()) } else { Err(ApplyError::ClientIdsTaken(taken)) }
}
