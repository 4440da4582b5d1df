//! A TOML file for `countersign apply`: its faults give no secret away; one without faults can be applied, and then
//! changes nothing.

use std::sync::LazyLock;

use countersign::clock::Clock;
use countersign::directory::apply::{Addresses, ApplyError, Fault, File, Mode, SecretSource, Tools, apply_in};
use countersign::postgres::PgPool;
use countersign::secrets::{Passwords, Random, SecretText};
use sqlx::{Postgres, Transaction};

use crate::{KEYRING, RUNTIME, corpus, database, target, with_another_secret};

const WORDS: &[&str] = &[
    "[[organization]]\n",
    "[[organization.service]]\n",
    "[[organization.provider]]\n",
    "[[organization.user]]\n",
    "slug = \"acme\"\n",
    "slug = \"cli\"\n",
    "name = \"Acme\"\n",
    "mfa = \"off\"\n",
    "client_id = \"acme-cli\"\n",
    "client_secret = { env = \"AGENT_SECRET\" }\n",
    "device_login = true\n",
    "code_lifetime = \"15m\"\n",
    "interval = 5\n",
    "default_scopes = [\"read\"]\n",
    "kind = \"password\"\n",
    "kind = \"oidc\"\n",
    "kind = \"github\"\n",
    "issuer = \"https://login.acme.example\"\n",
    "admit = \"anyone\"\n",
    "admit = { domains = [\"acme.example\"] }\n",
    "role = \"owner\"\n",
    "status = \"locked\"\n",
    "refresh = \"always\"\n",
    "proximity = \"block\"\n",
    "verification = \"number\"\n",
    "verified = true\n",
    "trusted_networks = [\"192.0.2.0/24\"]\n",
    "\"platform\"",
    "\"password\"",
    "\"callback\"",
    "\"\"\"",
    "\"\\u0000\"",
    "\"\u{202e}\"",
    "true",
    "-1",
    "9223372036854775807",
    "0x7f",
    "1e400",
    "1979-05-27",
    "[]",
    "{}",
    "\"9999999h\"",
    "\"0s\"",
    "{ file = \"secret\" }",
    "#",
];

/// What the environment and other files hold, the one in the other. Nothing in the corpus looks like it.
const SHORT: &str = "zq9xk7w";
const LONG_ENOUGH: &str = "zq9xk7w and then some more of it, long enough";

/// What is secret, wherever a file names it.
fn secret(source: &SecretSource) -> Result<SecretText, String> {
    match source {
        SecretSource::Env(name) if name.starts_with("UNSET") => Err("it is not set".into()),
        SecretSource::Env(name) if name.starts_with("SHORT") => Ok(SHORT.into()),
        SecretSource::Env(_) | SecretSource::File(_) => Ok(LONG_ENOUGH.into()),
    }
}

#[test]
fn directory() {
    // Whatever its luck below, every known file is applied.
    for bytes in corpus("directory") {
        if let Ok(file) = read(&String::from_utf8_lossy(&bytes)) {
            RUNTIME.block_on(can_be_applied_once(&file));
        }
    }
    target("directory", Vec::new(), WORDS, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        match read(&text) {
            Ok(file) => {
                assert!(!format!("{file:?}").contains(SHORT));
                // Passwords are hashed and a database is asked: a few of them are enough.
                if bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)) % 64 == 0 {
                    RUNTIME.block_on(can_be_applied_once(&file));
                }
            }
            Err(faults) => are_told_properly(&faults, &text),
        }
    });
}

fn read(text: &str) -> Result<File, Vec<Fault>> {
    File::read(&[("acme.toml".to_owned(), text.to_owned())], &secret).map_err(|faults| {
        assert!(!faults.0.is_empty());
        faults.0
    })
}

fn are_told_properly(faults: &[Fault], text: &str) {
    let mut all_told = String::new();
    for fault in faults {
        let told = fault.to_string();
        assert!(!fault.message.is_empty());
        assert!((1..=1 + text.matches('\n').count()).contains(&fault.line), "{told}");
        assert!(!told.contains(SHORT) || text.contains(SHORT), "{told}");
        all_told.push_str(&told);
    }
    let Ok(table) = text.parse::<toml::Table>() else { return };
    let mut given_away = Vec::new();
    secrets_in(&toml::Value::Table(table), &mut given_away);
    for value in given_away {
        // Where else it stands, it is no secret.
        if value.len() >= 6 && text.matches(&*value).count() == 1 && all_told.contains(&*value) {
            let of_another = read(&with_another_secret(text, &value)).err().unwrap_or_default();
            let said_anyway = of_another.iter().any(|fault| fault.to_string().contains(&*value));
            assert!(said_anyway, "{value:?} is given away: {all_told}");
        }
    }
}

/// What people write right into the file though they must not.
fn secrets_in(value: &toml::Value, found: &mut Vec<String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                match value {
                    toml::Value::String(text) if matches!(&**key, "client_secret" | "password") => {
                        found.push(text.clone());
                    }
                    other => secrets_in(other, found),
                }
            }
        }
        toml::Value::Array(list) => list.iter().for_each(|value| secrets_in(value, found)),
        _ => {}
    }
}

static POOL: LazyLock<PgPool> =
    LazyLock::new(|| std::thread::spawn(|| RUNTIME.block_on(database::database())).join().unwrap());

/// The server gives up on a connection after two seconds. Here a disk may be busy for longer with what other tests left.
async fn begin() -> Transaction<'static, Postgres> {
    for _ in 0..30 {
        match POOL.begin().await {
            Err(sqlx::Error::PoolTimedOut) => {}
            begun => return begun.unwrap(),
        }
    }
    panic!("PostgreSQL does not answer");
}

/// A file without faults meets no other in the database, and applied again it has nothing to change.
async fn can_be_applied_once(file: &File) {
    static PASSWORDS: LazyLock<Passwords> = LazyLock::new(|| Passwords::new(Random::system(), 2));
    let (clock, random) = (Clock::system(), Random::system());
    let addresses = Addresses::Any;
    let tools = Tools { keyring: &KEYRING, passwords: &PASSWORDS, clock: &clock, random: &random, addresses };
    let mut tx = begin().await;
    match apply_in(&mut tx, &tools, file, Mode::default()).await {
        Ok(_) => {
            let again = apply_in(&mut tx, &tools, file, Mode::default()).await.unwrap();
            assert!(again.is_empty(), "it is not as the file says: {again:?}");
            let pruned = apply_in(&mut tx, &tools, file, Mode { prune: true, ..Mode::default() }).await.unwrap();
            assert!(pruned.is_empty(), "what the file names would be deleted: {pruned:?}");
        }
        // Countersign's own.
        Err(ApplyError::ClientIdsTaken(_)) => {}
        Err(error) => panic!("a file without faults can't be applied: {error}"),
    }
    tx.rollback().await.unwrap();
}
