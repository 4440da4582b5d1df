//! The keyring: a Secret Service of a few lines on a bus of its own, and buses that lead nowhere.

#![expect(
    clippy::unused_self,
    clippy::needless_pass_by_value,
    reason = "the bus calls these methods, with values of its own"
)]

use std::collections::HashMap;
use std::os::unix::net::UnixListener;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use zbus::object_server::SignalEmitter;
use zbus::zvariant::{ObjectPath, OwnedObjectPath, OwnedValue, Type, Value};
use zbus::{Connection, ObjectServer, interface};

use crate::kept::{Machine, generation, told};
use crate::stand_in::{StandIn, a_code, tokens};

const COLLECTION: &str = "/org/freedesktop/secrets/collection/login";
const PROMPT: &str = "/org/freedesktop/secrets/prompt/1";

#[derive(Clone, Serialize, Deserialize, Type)]
struct Secret {
    session: OwnedObjectPath,
    parameters: Vec<u8>,
    value: Vec<u8>,
    content_type: String,
}

type Attributes = HashMap<String, String>;

/// What is in the collection, by item number, and whether it is locked.
#[derive(Default)]
struct Contents {
    items: HashMap<u32, (Attributes, Vec<u8>)>,
    made: u32,
    locked: bool,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Contents>>);

impl Shared {
    fn secrets(&self) -> Vec<Json> {
        let contents = self.0.lock().unwrap();
        contents.items.values().map(|(_, value)| serde_json::from_slice(value).unwrap()).collect()
    }

    fn find(&self, wanted: &Attributes) -> Option<u32> {
        let contents = self.0.lock().unwrap();
        let matches = |has: &Attributes| wanted.iter().all(|(name, value)| has.get(name) == Some(value));
        contents.items.iter().find(|(_, (has, _))| matches(has)).map(|(number, _)| *number)
    }
}

fn path(text: &str) -> OwnedObjectPath {
    ObjectPath::try_from(text.to_owned()).unwrap().into()
}

fn item_path(number: u32) -> OwnedObjectPath {
    path(&format!("{COLLECTION}/{number}"))
}

struct Service;

#[interface(name = "org.freedesktop.Secret.Service")]
impl Service {
    fn open_session(&self, algorithm: &str, input: Value<'_>) -> (OwnedValue, OwnedObjectPath) {
        assert_eq!((algorithm, input), ("plain", Value::from("")));
        (Value::from("").try_into().unwrap(), path("/org/freedesktop/secrets/session/1"))
    }

    fn read_alias(&self, name: &str) -> OwnedObjectPath {
        path(if name == "default" { COLLECTION } else { "/" })
    }

    fn unlock(&self, objects: Vec<OwnedObjectPath>) -> (Vec<OwnedObjectPath>, OwnedObjectPath) {
        assert_eq!(objects, [path(COLLECTION)]);
        (Vec::new(), path(PROMPT))
    }
}

struct Collection(Shared);

#[interface(name = "org.freedesktop.Secret.Collection")]
impl Collection {
    #[zbus(property)]
    fn locked(&self) -> bool {
        self.0.0.lock().unwrap().locked
    }

    fn search_items(&self, attributes: Attributes) -> Vec<OwnedObjectPath> {
        self.0.find(&attributes).into_iter().map(item_path).collect()
    }

    async fn create_item(
        &self,
        properties: HashMap<String, OwnedValue>,
        secret: Secret,
        replace: bool,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> (OwnedObjectPath, OwnedObjectPath) {
        assert!(replace);
        let attributes = properties["org.freedesktop.Secret.Item.Attributes"].clone();
        let attributes: Attributes = attributes.try_into().unwrap();
        let number = self.0.find(&attributes).unwrap_or_else(|| {
            let mut contents = self.0.0.lock().unwrap();
            contents.made += 1;
            contents.made
        });
        self.0.0.lock().unwrap().items.insert(number, (attributes, secret.value));
        server.at(item_path(number), Item(self.0.clone(), number)).await.unwrap();
        (item_path(number), path("/"))
    }
}

struct Item(Shared, u32);

#[interface(name = "org.freedesktop.Secret.Item")]
impl Item {
    fn get_secret(&self, session: OwnedObjectPath) -> (Secret,) {
        let value = self.0.0.lock().unwrap().items[&self.1].1.clone();
        (Secret { session, parameters: Vec::new(), value, content_type: "application/json".to_owned() },)
    }

    fn delete(&self) -> OwnedObjectPath {
        self.0.0.lock().unwrap().items.remove(&self.1);
        path("/")
    }
}

struct Prompt(Shared);

#[interface(name = "org.freedesktop.Secret.Prompt")]
impl Prompt {
    async fn prompt(&self, window_id: &str, #[zbus(signal_emitter)] emitter: SignalEmitter<'_>) {
        assert_eq!(window_id, "");
        self.0.0.lock().unwrap().locked = false;
        Self::completed(&emitter, false, Value::from("")).await.unwrap();
    }

    #[zbus(signal)]
    async fn completed(emitter: &SignalEmitter<'_>, dismissed: bool, result: Value<'_>) -> zbus::Result<()>;
}

/// A session with a keyring. It ends with its value.
struct Desktop {
    address: String,
    keyring: Shared,
    service: Connection,
    _directory: TempDir,
    _bus: Child,
}

impl Desktop {
    /// `None` where no message bus is installed.
    async fn start() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let address = format!("unix:path={}", directory.path().join("bus").display());
        let mut command = Command::new("dbus-daemon");
        command.args(["--session", "--nofork", "--print-address=1", "--address", &address]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut bus = command.spawn().ok()?;
        BufReader::new(bus.stdout.take().unwrap()).lines().next_line().await.unwrap().expect("the bus is ready");
        let keyring = Shared::default();
        let service = zbus::connection::Builder::address(address.as_str())
            .unwrap()
            .serve_at("/org/freedesktop/secrets", Service)
            .unwrap()
            .serve_at(COLLECTION, Collection(keyring.clone()))
            .unwrap()
            .serve_at(PROMPT, Prompt(keyring.clone()))
            .unwrap()
            .name("org.freedesktop.secrets")
            .unwrap()
            .build()
            .await
            .unwrap();
        Some(Self { address, keyring, service, _directory: directory, _bus: bus })
    }

    fn command(&self, machine: &Machine, arguments: &[&str]) -> Command {
        let mut command = machine.command(arguments);
        command.env("COUNTERSIGN_KEYRING", "auto").env("DBUS_SESSION_BUS_ADDRESS", &self.address);
        command
    }

    async fn run(&self, machine: &Machine, arguments: &[&str]) -> (i32, String, String) {
        told(self.command(machine, arguments).output().await.unwrap())
    }
}

#[tokio::test]
async fn tokens_live_in_the_keyring_and_none_is_in_the_file() {
    let Some(desktop) = Desktop::start().await else { return };
    let server = StandIn::start([a_code()], [tokens("read"), generation(2, 900)]).await;
    let machine = Machine::with(&[]);
    let (code, out, err) = desktop.run(&machine, &["login", &server.issuer]).await;
    assert!(code == 0 && out.ends_with("The token is in the keyring\n"), "{out}{err}");
    assert_eq!(desktop.keyring.secrets()[0]["access_token"], "the-access-token");
    assert_eq!(machine.logins()[0]["client_id"], "demo-cli");
    assert_eq!(machine.logins()[0].get("tokens"), None);

    assert_eq!(desktop.run(&machine, &["token"]).await, (0, "the-access-token\n".to_owned(), String::new()));
    assert_eq!(desktop.run(&machine, &["token", "--min-valid", "1000"]).await.1, "at-2\n");
    assert_eq!(desktop.keyring.secrets().len(), 1);
    assert_eq!(desktop.keyring.secrets()[0]["refresh_token"], "csr_2");
    let (_, out, _) = desktop.run(&machine, &["status"]).await;
    assert!(out.contains("  refresh    yes\n  kept in    the keyring\n"), "{out}");

    let (code, told) = machine.run_json(&["token"]).await;
    assert_eq!((code, &told["error"]), (1, &json!("credentials")), "switched off");
    assert!(told["error_description"].as_str().unwrap().contains("switched off by --no-keyring"), "{told}");

    server.will_answer("/revoke", [crate::stand_in::Reply::Json(200, json!({}))]);
    assert_eq!(desktop.run(&machine, &["logout"]).await.0, 0);
    assert!(desktop.keyring.secrets().is_empty() && machine.logins().is_empty());
}

#[tokio::test]
async fn a_locked_keyring_is_unlocked_only_where_somebody_sees_the_question() {
    let Some(desktop) = Desktop::start().await else { return };
    desktop.keyring.0.lock().unwrap().locked = true;
    let server = StandIn::start([a_code(), a_code()], [tokens("read"), tokens("read")]).await;
    let machine = Machine::with(&[]);
    let (code, out, _) = desktop.run(&machine, &["login", &server.issuer]).await;
    assert!(code == 0 && out.ends_with("credentials.json\n"), "{out}");

    let output = desktop.command(&machine, &["login", &server.issuer]).env("DISPLAY", ":0").output().await.unwrap();
    let (code, out, _) = told(output);
    assert!(code == 0 && out.ends_with("The token is in the keyring\n"), "{out}");
    assert_eq!(machine.logins().len(), 1);
    assert_eq!(machine.logins()[0].get("tokens"), None, "no copy is left in the file");

    desktop.keyring.0.lock().unwrap().locked = true;
    let (code, _, err) = desktop.run(&machine, &["token"]).await;
    assert_eq!(code, 1);
    assert!(err.ends_with("are in the keyring, which can't be used: it is locked.\n"), "{err}");
    desktop.service.clone().close().await.unwrap();
    let (code, _, err) = desktop.run(&machine, &["token"]).await;
    assert!(code == 1 && err.ends_with("no Secret Service is running.\n"), "{err}");
}

#[tokio::test]
async fn where_there_is_no_keyring_the_file_takes_the_tokens_without_a_wait() {
    let directory = tempfile::tempdir().unwrap();
    let silent = directory.path().join("silent");
    let _listener = UnixListener::bind(&silent).unwrap();
    let nowhere = directory.path().join("nowhere");
    // Without a word on where the bus is, it would be looked for in the runtime directory.
    for (bus, most) in [(None, 5), (Some(&nowhere), 5), (Some(&silent), 12)] {
        let server = StandIn::start([a_code()], [tokens("read")]).await;
        let machine = Machine::with(&[]);
        let mut command = machine.command(&["login", &server.issuer]);
        command.env("COUNTERSIGN_KEYRING", "auto").env("XDG_RUNTIME_DIR", directory.path());
        if let Some(bus) = bus {
            command.env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}", bus.display()));
        }
        let start = Instant::now();
        let (code, out, err) = told(command.output().await.unwrap());
        // The poll itself comes after a second.
        assert!(start.elapsed() < Duration::from_secs(1 + most), "{bus:?}: {:?}", start.elapsed());
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(out.ends_with(&format!("The token is in {}\n", machine.file().display())), "{out}");
        assert_eq!(machine.logins()[0]["tokens"]["access_token"], "the-access-token");
    }
}
