//! The Secret Service, six calls over the session's D-Bus (freedesktop.org, Secret Service API 0.2).
//!
//! 1. Connect to the session's bus. Its socket is `$DBUS_SESSION_BUS_ADDRESS`, or `$XDG_RUNTIME_DIR/bus`.
//! 2. `OpenSession("plain")`: the socket is its owner's alone, and whoever can listen there can ask for the secret, too.
//! 3. `ReadAlias("default")`: the collection that is opened with the person's login. Locked, it is unlocked by a prompt that
//!    the keyring shows, if there is somebody to see it.
//! 4. `SearchItems`, `GetSecret`, `CreateItem` with replacement, `Delete`: by issuer, client and subject.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use zbus::Connection;
use zbus::zvariant::{ObjectPath, OwnedObjectPath, OwnedValue, Type, Value};
use zeroize::Zeroizing;

use super::{KeyringError, LoginKey};

/// For the bus, the service's start and each call. On a machine without either there is nothing to connect to, and
/// nothing is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// For a person who types a password.
const PROMPT_PATIENCE: Duration = Duration::from_mins(1);
/// The path that says "no object", or "no prompt is needed".
const NONE: &str = "/";

/// A secret on its way (§ Secret of the API).
#[derive(Serialize, Deserialize, Type)]
struct Secret {
    session: OwnedObjectPath,
    parameters: Vec<u8>,
    value: Vec<u8>,
    content_type: String,
}

#[zbus::proxy(
    interface = "org.freedesktop.Secret.Service",
    default_service = "org.freedesktop.secrets",
    default_path = "/org/freedesktop/secrets"
)]
trait Service {
    fn open_session(&self, algorithm: &str, input: Value<'_>) -> zbus::Result<(OwnedValue, OwnedObjectPath)>;
    fn read_alias(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    fn unlock(&self, objects: &[ObjectPath<'_>]) -> zbus::Result<(Vec<OwnedObjectPath>, OwnedObjectPath)>;
}

#[zbus::proxy(interface = "org.freedesktop.Secret.Collection", default_service = "org.freedesktop.secrets")]
trait Collection {
    fn search_items(&self, attributes: HashMap<&str, &str>) -> zbus::Result<Vec<OwnedObjectPath>>;
    fn create_item(
        &self,
        properties: HashMap<&str, Value<'_>>,
        secret: &Secret,
        replace: bool,
    ) -> zbus::Result<(OwnedObjectPath, OwnedObjectPath)>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn locked(&self) -> zbus::Result<bool>;
}

#[zbus::proxy(interface = "org.freedesktop.Secret.Item", default_service = "org.freedesktop.secrets")]
trait Item {
    fn get_secret(&self, session: &ObjectPath<'_>) -> zbus::Result<Secret>;
    fn delete(&self) -> zbus::Result<OwnedObjectPath>;
}

#[zbus::proxy(interface = "org.freedesktop.Secret.Prompt", default_service = "org.freedesktop.secrets")]
trait Prompt {
    fn prompt(&self, window_id: &str) -> zbus::Result<()>;
    #[zbus(signal)]
    fn completed(&self, dismissed: bool, result: Value<'_>) -> zbus::Result<()>;
}

pub(super) async fn get(key: &LoginKey, may_prompt: bool) -> Result<Option<Zeroizing<Vec<u8>>>, KeyringError> {
    let keyring = Open::new(may_prompt).await?;
    let Some(path) = keyring.items(key).await?.into_iter().next() else { return Ok(None) };
    let item = in_time(ItemProxy::new(&keyring.bus, path)).await?;
    let secret = in_time(item.get_secret(&keyring.session)).await?;
    Ok(Some(Zeroizing::new(secret.value)))
}

pub(super) async fn set(key: &LoginKey, text: &[u8], may_prompt: bool) -> Result<(), KeyringError> {
    let keyring = Open::new(may_prompt).await?;
    let label = format!("countersign: {} ({})", key.issuer, key.client_id);
    let properties = HashMap::from([
        ("org.freedesktop.Secret.Item.Label", Value::from(label)),
        ("org.freedesktop.Secret.Item.Attributes", Value::from(attributes(key))),
    ]);
    let secret = Secret {
        session: keyring.session.clone(),
        parameters: Vec::new(),
        value: text.to_vec(),
        content_type: "application/json".to_owned(),
    };
    let (item, prompt) = in_time(keyring.collection.create_item(properties, &secret, true)).await?;
    drop(Zeroizing::new(secret.value));
    if item.as_str() == NONE { keyring.ask(prompt).await } else { Ok(()) }
}

pub(super) async fn delete(key: &LoginKey, may_prompt: bool) -> Result<(), KeyringError> {
    let keyring = Open::new(may_prompt).await?;
    for path in keyring.items(key).await? {
        let item = in_time(ItemProxy::new(&keyring.bus, path)).await?;
        let prompt = in_time(item.delete()).await?;
        keyring.ask(prompt).await?;
    }
    Ok(())
}

/// By these an item is found again.
fn attributes(key: &LoginKey) -> HashMap<&str, &str> {
    HashMap::from([
        ("application", "countersign"),
        ("issuer", key.issuer.as_str()),
        ("client_id", key.client_id.as_str()),
        ("subject", key.subject.as_deref().unwrap_or_default()),
    ])
}

/// The default collection, unlocked.
struct Open {
    bus: Connection,
    session: OwnedObjectPath,
    collection: CollectionProxy<'static>,
    may_prompt: bool,
}

impl Open {
    async fn new(may_prompt: bool) -> Result<Self, KeyringError> {
        let bus = in_time(Connection::session()).await?;
        let service = in_time(ServiceProxy::new(&bus)).await?;
        let (_, session) = in_time(service.open_session("plain", Value::from(""))).await?;
        let path = in_time(service.read_alias("default")).await?;
        if path.as_str() == NONE {
            return Err(KeyringError::Unavailable("it has no default collection".to_owned()));
        }
        let collection = in_time(CollectionProxy::new(&bus, path.clone())).await?;
        let open = Self { bus: bus.clone(), session, collection, may_prompt };
        if in_time(open.collection.locked()).await? {
            let (_, prompt) = in_time(service.unlock(&[path.as_ref()])).await?;
            open.ask(prompt).await?;
            if in_time(open.collection.locked()).await? {
                return Err(KeyringError::Locked);
            }
        }
        Ok(open)
    }

    async fn items(&self, key: &LoginKey) -> Result<Vec<OwnedObjectPath>, KeyringError> {
        in_time(self.collection.search_items(attributes(key))).await
    }

    /// Has the keyring ask the person, if it says that it has to.
    async fn ask(&self, prompt: OwnedObjectPath) -> Result<(), KeyringError> {
        if prompt.as_str() == NONE {
            return Ok(());
        }
        if !self.may_prompt {
            return Err(KeyringError::Locked);
        }
        let prompt = in_time(PromptProxy::new(&self.bus, prompt)).await?;
        let mut completed = in_time(prompt.receive_completed()).await?;
        in_time(prompt.prompt("")).await?;
        let answer = timeout(PROMPT_PATIENCE, completed.next()).await.map_err(|_| KeyringError::Locked)?;
        let answer = answer.ok_or_else(|| KeyringError::Unavailable("it went away".to_owned()))?;
        if answer.args().is_ok_and(|args| !args.dismissed) { Ok(()) } else { Err(KeyringError::Locked) }
    }
}

/// One step, or the word that there is no keyring.
async fn in_time<T>(step: impl Future<Output = zbus::Result<T>>) -> Result<T, KeyringError> {
    match timeout(PATIENCE, step).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(told(&error)),
        Err(_) => Err(KeyringError::Unavailable(format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}

fn told(error: &zbus::Error) -> KeyringError {
    match error {
        zbus::Error::InputOutput(_) | zbus::Error::Address(_) => {
            KeyringError::Unavailable("there is no session bus".to_owned())
        }
        zbus::Error::MethodError(name, ..) if name.as_str() == "org.freedesktop.DBus.Error.ServiceUnknown" => {
            KeyringError::Unavailable("no Secret Service is running".to_owned())
        }
        zbus::Error::MethodError(name, ..) if name.as_str() == "org.freedesktop.Secret.Error.IsLocked" => {
            KeyringError::Locked
        }
        other => KeyringError::Failed(crate::client::printable::printable(&other.to_string())),
    }
}
