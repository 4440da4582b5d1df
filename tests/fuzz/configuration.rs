//! `countersign.toml` and the environment: errors give no secret away, and what is accepted keeps its promises.
//!
//! Lines that begin with `COUNTERSIGN_` are the environment, the others are the file.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use countersign::config::Config;
use countersign::config::settings::SETTINGS;
use tempfile::TempDir;

use crate::{target, with_another_secret};

const WORDS: &[&str] = &[
    "public_url = \"https://auth.acme.example\"\n",
    "listen = \"127.0.0.1:8080\"\n",
    "secrets = [\"",
    "[database]\n",
    "url = \"postgres://u:pass-word-1@db/x\"\n",
    "listen_url = \"postgres://u:pass-word-3@db/x\"\n",
    "max_connections = 10\n",
    "[keys]\nrotation = \"90d\"\n",
    "[phishing]\nwithin = \"1h\"\n",
    "[log]\nformat = \"json\"\n",
    "trusted_proxies = [\"10.0.0.0/8\"]\n",
    "\nCOUNTERSIGN_PUBLIC_URL=https://auth.acme.example\n",
    "\nCOUNTERSIGN_DATABASE_URL=postgres://u:pass-word-2@db/x\n",
    "\nCOUNTERSIGN_SECRETS=",
    "\nCOUNTERSIGN_LOG_FORMAT=text\n",
    "http://",
    "https://",
    "localhost",
    "127.0.0.1",
    "[::1]",
    "@",
    "?",
    "#",
    "\"\"\"",
    "1d",
    "-1",
    "[]",
    "{}",
    "true",
    "99999999999999999999d",
    ".url",
    "/login",
];

#[test]
fn configuration() {
    target("configuration", Vec::new(), WORDS, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let input = Input::of(&text);
        let told = input.told();
        for secret in input.secrets() {
            let once = text.matches(&*secret).count() == 1;
            if secret.len() >= 6 && once && told.contains(&*secret) {
                let example = SETTINGS.iter().any(|setting| setting.in_environment().contains(&*secret));
                let of_another = || Input::of(&with_another_secret(&text, &secret)).told();
                assert!(example || of_another().contains(&*secret), "{secret:?} is given away: {told}");
            }
        }
    });
}

/// What the fuzzer's text stands for.
struct Input {
    environment: Vec<(String, String)>,
    file: String,
}

impl Input {
    fn of(text: &str) -> Self {
        let (environment, file): (Vec<&str>, Vec<&str>) =
            text.split('\n').partition(|line| line.starts_with("COUNTERSIGN_"));
        let pairs = environment.iter().filter_map(|line| line.split_once('='));
        // Other files of this machine are none of the input.
        let pairs = pairs.filter(|(name, _)| !name.ends_with("_FILE"));
        let environment = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { environment, file: file.join("\n") }
    }

    /// All that Countersign says of it, be it in an error or in a log.
    fn told(&self) -> String {
        let path = written(&self.file);
        let told = match Config::load(Some(&path), self.environment.iter().cloned()) {
            Ok(config) => {
                let broken = config.installation_secrets().err().map(|error| error.to_string());
                keeps_its_promises(&config);
                format!("{config:?} {broken:?}")
            }
            Err(error) => format!("{error} {error:?}"),
        };
        std::fs::remove_file(path).unwrap();
        told
    }

    /// What nobody else should know of it.
    fn secrets(&self) -> Vec<String> {
        let mut secrets: Vec<String> = self
            .environment
            .iter()
            .filter(|(name, _)| OF_THE_ENVIRONMENT.contains(&&**name))
            .map(|(_, value)| value.clone())
            .collect();
        let Ok(table) = self.file.parse::<toml::Table>() else { return secrets };
        let listed = table.get("secrets").and_then(toml::Value::as_array).into_iter().flatten();
        let within = |part: &str, key: &str| table.get(part).and_then(|part| part.get(key));
        let urls = ["url", "owner_url", "listen_url"].map(|url| within("database", url));
        let named = [table.get("secrets"), within("mail", "smtp")].into_iter().chain(urls);
        secrets.extend(listed.chain(named.flatten()).filter_map(toml::Value::as_str).map(str::to_owned));
        secrets
    }
}

/// A file of its own for each input: targets run side by side.
fn written(text: &str) -> PathBuf {
    static DIRECTORY: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let path = DIRECTORY.path().join(format!("countersign-{}.toml", COUNT.fetch_add(1, Ordering::Relaxed)));
    std::fs::write(&path, text).unwrap();
    path
}

/// The variables that hold secrets.
const OF_THE_ENVIRONMENT: [&str; 5] = [
    "COUNTERSIGN_SECRETS",
    "COUNTERSIGN_DATABASE_URL",
    "COUNTERSIGN_DATABASE_OWNER_URL",
    "COUNTERSIGN_DATABASE_LISTEN_URL",
    "COUNTERSIGN_MAIL_SMTP",
];

fn keeps_its_promises(config: &Config) {
    let issuer = config.public_url.issuer();
    let url = url::Url::parse(issuer).unwrap();
    let loopback = match url.host().unwrap() {
        url::Host::Domain(name) => name == "localhost",
        url::Host::Ipv4(ip) => ip.is_loopback(),
        url::Host::Ipv6(ip) => ip.is_loopback(),
    };
    assert!(url.scheme() == "https" || (url.scheme() == "http" && loopback), "{issuer}");
    assert!(!issuer.ends_with('/') && url.query().is_none() && url.fragment().is_none(), "{issuer}");
    assert!(url.username().is_empty() && url.password().is_none());
    let day = Duration::from_hours(24);
    assert!(config.keys.rotation >= day);
    assert!((Duration::from_mins(1)..=day).contains(&config.phishing.within));
}
