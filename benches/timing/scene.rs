//! What is measured: a server on loopback, its database, and people and devices that set the stage.

use chrono::TimeDelta;
use countersign::cli::apply::{AS_WRITTEN, apply_and_audit};
use countersign::clock::Clock;
use countersign::config::PublicUrl;
use countersign::device::codes::ALPHABET;
use countersign::directory::apply::File;
use countersign::http::client_address::TrustedProxies;
use countersign::installation::{Installation, Parts};
use countersign::secrets::{InstallationSecret, Keyring, Passwords, Random};
use countersign::server::{Server, Settings};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::client::{Caller, Client};
use super::database;

/// How many people have a password, and how many have none.
pub const PEOPLE: usize = 50;

/// The password of those who have one.
pub const PASSWORD: &str = "the password of everybody here";

const ACME: &str = r#"
[[organization]]
slug = "acme"
name = "Acme"
mfa = "off"

[[organization.service]]
slug = "cli"
name = "Acme CLI"
client_id = "acme-cli"
device_login = true
scopes = { read = "Read your projects" }
default_scopes = ["read"]

[[organization.provider]]
slug = "password"
kind = "password"
"#;

/// The server and everybody around it. Its time stands still but for [`Scene::pass`].
pub struct Scene {
    pub client: Client,
    clock: Clock,
    random: Random,
    callers: u32,
    _runtime: Runtime,
}

impl Scene {
    pub fn set_up() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (clock, random) = (Clock::manual(Clock::system().now()), Random::system());
        let address = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let issuer = format!("http://localhost:{}", address.port());
            let installation = Installation::from(Parts {
                pool: database::database().await,
                clock: clock.clone(),
                keyring: Keyring::new(&[InstallationSecret::generate(&random)]).unwrap(),
                passwords: Passwords::new(random.clone(), 1),
                random: random.clone(),
                public_url: PublicUrl::parse(&issuer).unwrap(),
                outbound: countersign::outbound::Outbound::default(),
                dev_mode: false,
            });
            let texts = [("acme.toml".to_owned(), directory())];
            let file = File::read(&texts, &|_| Ok(PASSWORD.into())).unwrap();
            apply_and_audit(&installation, &file, AS_WRITTEN).await.unwrap();
            // Everybody has an address of their own, as behind a proxy.
            let proxies = TrustedProxies::from(vec!["127.0.0.0/8".parse().unwrap()]);
            let server = Server::new(installation, Settings { proxies, ..Settings::default() }).await.unwrap();
            tokio::spawn(server.serve(listener, std::future::pending()));
            address
        });
        Self { client: Client::of(address), clock, random, callers: 0, _runtime: runtime }
    }

    /// Lets time pass, so that codes expire and budgets are full again.
    pub fn pass(&self, time: TimeDelta) {
        self.clock.advance(time);
    }

    /// Somebody new.
    pub fn caller(&mut self) -> Caller {
        self.callers += 1;
        Caller::new(self.callers)
    }

    /// The user code of a device that asks now.
    pub fn user_code(&mut self) -> String {
        let device = self.caller();
        let answer = self.client.post("/auth/device/code", &device, &[("client_id", "acme-cli")]);
        answer.member("user_code")
    }

    /// A code that no device has, as long as this one.
    pub fn nobodys_code(&self, like: &str) -> String {
        let letter = |_| char::from(ALPHABET[self.below(ALPHABET.len())]);
        like.chars().map(|c| if c == '-' { c } else { letter(c) }).collect()
    }

    /// Enters a code in a browser, which has it from then on.
    pub fn claim(&mut self, code: &str) -> Caller {
        let mut browser = self.caller();
        browser.open(&mut self.client, "/activate");
        let answer = browser.submit(&mut self.client, "/activate", &[("user_code", code)]);
        assert_eq!(answer.header("location"), Some("/activate/sign-in"), "{}", answer.body);
        browser
    }

    /// Enters a code, signs in and denies it.
    pub fn deny(&mut self, code: &str, person: usize) {
        let mut browser = self.claim(code);
        browser.open(&mut self.client, "/activate/sign-in");
        let fields = [("email", &*address_of(person)), ("password", PASSWORD)];
        let answer = browser.submit(&mut self.client, "/activate/sign-in", &fields);
        assert_eq!(answer.status, 303, "{}", answer.body);
        browser.open(&mut self.client, "/activate/confirm");
        let answer = browser.submit(&mut self.client, "/activate/confirm", &[("decision", "deny")]);
        assert_eq!(answer.header("location"), Some("/activate/done"), "{}", answer.body);
    }

    /// A random number below another.
    pub fn below(&self, limit: usize) -> usize {
        usize::from_le_bytes(self.random.bytes()) % limit
    }

    /// Puts things into a random order.
    pub fn shuffle<T>(&self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            things.swap(last, self.below(last + 1));
        }
    }
}

/// The address of somebody with a password.
pub fn address_of(person: usize) -> String {
    format!("person-{person:03}@acme.example")
}

/// The address of somebody who was invited and has none.
pub fn address_of_invited(person: usize) -> String {
    format!("invite-{person:03}@acme.example")
}

fn directory() -> String {
    let user = |email: String, more: &str| format!("[[organization.user]]\nemail = \"{email}\"\n{more}\n");
    let known = (0..PEOPLE).map(|person| user(address_of(person), "password = { env = \"PASSWORD\" }"));
    let invited = (0..PEOPLE).map(|person| user(address_of_invited(person), ""));
    [ACME.to_owned()].into_iter().chain(known).chain(invited).collect()
}
