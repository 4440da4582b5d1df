//! Whatever a file says, applying it twice changes nothing the second time, and so does applying it over any other.

use countersign::directory::apply::{Addresses, Mode, Tools, apply_in};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::database::with_database;
use super::{Database, read, told};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applying_twice_is_applying_once() {
    with_database(async |db| {
        tokio::task::block_in_place(|| {
            let mut runner = TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
            runner.run(&(file(), file(), any::<bool>()), |(first, second, prune)| {
                let runtime = tokio::runtime::Handle::current();
                runtime.block_on(repeat(&db, &first, &second, Mode { prune, ..Mode::default() }))
            })
        })
        .unwrap();
    })
    .await;
}

/// In a transaction that is rolled back, so that every case begins with an empty directory.
async fn repeat(db: &Database, first: &str, second: &str, mode: Mode) -> Result<(), TestCaseError> {
    let installation = &db.installation;
    let tools = Tools {
        keyring: &installation.keyring,
        passwords: &installation.passwords,
        clock: &installation.clock,
        random: &installation.random,
        addresses: Addresses::Any,
    };
    let mut transaction = installation.pool.begin().await.unwrap();
    for text in [first, second] {
        let file = read(text).map_err(|faults| TestCaseError::fail(format!("{faults}\n{text}")))?;
        let dry = apply_in(&mut transaction, &tools, &file, Mode { dry_run: true, ..mode }).await.unwrap();
        let done = apply_in(&mut transaction, &tools, &file, mode).await.unwrap();
        prop_assert_eq!(told(&dry), told(&done));
        let again = apply_in(&mut transaction, &tools, &file, mode).await.unwrap();
        prop_assert_eq!(told(&again), "");
    }
    transaction.rollback().await.unwrap();
    Ok(())
}

/// A file without faults: one organization with up to three of each kind.
fn file() -> impl Strategy<Value = String> {
    let parts = |kind: &'static str, part: BoxedStrategy<String>| {
        prop::collection::vec(part, 0..3).prop_map(move |parts| {
            let numbered = parts.iter().enumerate();
            numbered
                .map(|(n, part)| format!("[[organization.{kind}]]\n{}\n", part.replace('#', &n.to_string())))
                .collect::<Vec<_>>()
                .concat()
        })
    };
    let organization =
        keys(&["name = \"Acmé \\\"x\\\"\"", "mfa = \"off\"", "mfa = \"if_enrolled\"", "status = \"suspended\""]);
    (organization, parts("service", service()), parts("provider", provider()), parts("user", user())).prop_map(
        |(keys, services, providers, users)| {
            format!("[[organization]]\nslug = \"acme\"\n{keys}\n{services}{providers}{users}")
        },
    )
}

fn service() -> BoxedStrategy<String> {
    keys(&[
        "name = \"Tool\"",
        "client_id = \"tool-#\"",
        "client_id = \"x#/y\"",
        "client_secret = { env = \"S#\" }",
        "device_login = true",
        "scopes = { z = \"Last\", a = \"First: \\\"x\\\"\" }\nrequired_scopes = [\"z\"]",
        "default_scopes = [\"openid\", \"email\"]",
        "code_lifetime = \"1h\"",
        "interval = 255",
        "access_token_lifetime = \"24h\"",
        "refresh = \"never\"",
        "refresh_idle = \"1h 1s\"",
        "refresh_absolute = \"365d\"",
        "prefill = false",
        "proximity = \"off\"",
        "trusted_networks = [\"2001:db8::/32\", \"192.0.2.7\"]",
        "verified = true",
        "mfa = \"off\"",
        "mfa_max_age = \"8h\"",
        "max_age = \"0s\"",
        "factor = \"otp\"",
        "scopes = { z = { text = \"Last\", factor = \"mfa\" }, a = { text = \"First\", max_age = \"90m\" } }",
        "id_token_algorithm = \"ES256\"",
        "activation_uri = \"https://acme.example/device?x=1\"",
        "dpop = \"required\"",
        "resources = [\"https://api.acme.example\", \"urn:acme:x\"]",
    ])
    .prop_map(|keys| format!("slug = \"s#\"\n{keys}"))
    .boxed()
}

fn provider() -> BoxedStrategy<String> {
    let oidc = keys(&[
        "name = \"Staff\"",
        "client_secret = { env = \"P#\" }",
        "extra_scopes = [\"groups\", \"x:y\"]",
        "admit = \"anyone\"",
        "admit = \"invited\"",
        "admit = { domains = [\"Acme.example\", \"b.example\"] }",
        "admit = { groups = [\"staff, all\", \"it\"] }",
        "groups_claim = \"roles\"",
        "trust_mfa = true",
    ]);
    let github = keys(&["issuer = \"https://git.acme.example\"", "api_url = \"https://git.acme.example/api/v3\""]);
    prop_oneof![
        Just("kind = \"password\"".to_owned()),
        oidc.prop_map(|keys| format!("kind = \"oidc\"\nissuer = \"https://#.example/\"\nclient_id = \"c\"\n{keys}")),
        github.prop_map(|keys| format!(
            "kind = \"github\"\nclient_id = \"c\"\nclient_secret = {{ env = \"G\" }}\n{keys}"
        )),
    ]
    .prop_map(|keys| format!("slug = \"p#\"\n{keys}"))
    .boxed()
}

fn user() -> BoxedStrategy<String> {
    keys(&[
        "name = \"Ada\"",
        "role = \"owner\"",
        "role = \"admin\"",
        "status = \"locked\"",
        "status = \"active\"",
        "password = { env = \"U#\" }",
    ])
    .prop_map(|keys| format!("email = \"U#@Acme.example\"\n{keys}"))
    .boxed()
}

/// Some of the given lines, but no key twice.
fn keys(lines: &'static [&'static str]) -> impl Strategy<Value = String> + use<> {
    prop::sample::subsequence(lines, 0..=lines.len()).prop_map(|lines| {
        let mut seen = Vec::new();
        let mut text = String::new();
        for line in lines {
            let key = line.split(' ').next().unwrap_or_default();
            if !seen.contains(&key) {
                seen.push(key);
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    })
}
