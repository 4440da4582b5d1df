//! What is read, what is refused, and that no error repeats a value.

use super::*;

fn environment(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>().into_iter()
}

#[test]
fn the_environment_alone_is_enough() {
    let config = Config::load(
        None,
        environment(&[
            ("COUNTERSIGN_PUBLIC_URL", "https://auth.acme.example/"),
            ("COUNTERSIGN_DATABASE_URL", "postgres://db/countersign"),
            ("COUNTERSIGN_DATABASE_MAX_CONNECTIONS", "20"),
            ("COUNTERSIGN_TRUSTED_PROXIES", "10.0.0.0/8, fd00::/8"),
            ("HOME", "/nowhere"),
        ]),
    )
    .unwrap();
    assert_eq!(config.public_url.issuer(), "https://auth.acme.example");
    assert_eq!(config.database.max_connections, 20);
    assert_eq!(config.trusted_proxies.len(), 2);
    assert_eq!((config.phishing.people, config.phishing.within), (5, Duration::from_hours(1)));
}

#[test]
fn what_looks_like_phishing_can_be_set_within_bounds() {
    let load = |people, within| {
        let settings = [
            ("COUNTERSIGN_PUBLIC_URL", "https://auth.acme.example"),
            ("COUNTERSIGN_GEO_DATABASE", "/var/lib/GeoIP/GeoLite2-City.mmdb"),
            ("COUNTERSIGN_PHISHING_PEOPLE", people),
            ("COUNTERSIGN_PHISHING_WITHIN", within),
        ];
        Config::load(None, environment(&settings))
    };
    let config = load("20", "30m").unwrap();
    assert_eq!((config.phishing.people, config.phishing.within), (20, Duration::from_mins(30)));
    assert_eq!(config.geo.database.unwrap(), Path::new("/var/lib/GeoIP/GeoLite2-City.mmdb"));
    for (people, within) in [("-1", "1h"), ("many", "1h"), ("5", "59s"), ("5", "25h"), ("5", "long")] {
        assert!(load(people, within).is_err(), "{people} {within}");
    }
}

#[test]
fn telemetry_is_told_nowhere_unless_asked_and_never_in_public() {
    let load = |listen, telemetry: Option<&str>| {
        let mut settings =
            vec![("COUNTERSIGN_PUBLIC_URL", "https://auth.acme.example"), ("COUNTERSIGN_LISTEN", listen)];
        settings.extend(telemetry.map(|address| ("COUNTERSIGN_TELEMETRY_LISTEN", address)));
        Config::load(None, environment(&settings)).map(|config| config.telemetry.listen)
    };
    assert_eq!(load("0.0.0.0:8080", None).unwrap(), None);
    let elsewhere = load("0.0.0.0:8080", Some("127.0.0.1:9090")).unwrap();
    assert_eq!(elsewhere, Some("127.0.0.1:9090".parse().unwrap()));
    assert!(load("203.0.113.7:8080", Some("127.0.0.1:8080")).is_ok());
    for (listen, telemetry) in
        [("127.0.0.1:8080", "127.0.0.1:8080"), ("0.0.0.0:80", "127.0.0.1:80"), ("[::1]:80", "[::]:80")]
    {
        let error = load(listen, Some(telemetry)).unwrap_err().to_string();
        assert!(error.contains("telemetry.listen"), "{listen} {telemetry}: {error}");
    }
}

#[test]
fn limits_are_numbers_of_which_0_is_none() {
    let load = |name, value| {
        let settings = [("COUNTERSIGN_PUBLIC_URL", "https://auth.acme.example"), (name, value)];
        Config::load(None, environment(&settings))
    };
    let limits = load("COUNTERSIGN_LIMITS_REQUESTS_PER_ADDRESS", "0").unwrap().limits;
    assert_eq!((limits.requests_per_address, limits.requests_per_client), (0, 10_000));
    let limits = load("COUNTERSIGN_LIMITS_REQUESTS_PER_CLIENT", "7").unwrap().limits;
    assert_eq!((limits.requests_per_address, limits.requests_per_client), (300, 7));
    let limits = load("COUNTERSIGN_LIMITS_LIVE_CODES_PER_ADDRESS", "7").unwrap().limits;
    assert_eq!((limits.live_codes_per_address, limits.live_codes_per_client), (7, 100_000));
    let limits = load("COUNTERSIGN_LIMITS_LIVE_CODES_PER_CLIENT", "7").unwrap().limits;
    assert_eq!((limits.live_codes_per_address, limits.live_codes_per_client), (500, 7));
    for value in ["-1", "many", "1.5"] {
        assert!(load("COUNTERSIGN_LIMITS_LIVE_CODES_PER_CLIENT", value).is_err(), "{value}");
    }
}

#[test]
fn secrets_that_everybody_can_read_are_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, mode: u32, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let plain = write("plain.toml", 0o644, "public_url = 'https://a.example'");
    let (open, private) = (write("open", 0o644, "postgres://db/x"), write("private", 0o640, "postgres://db/x"));
    let exposed = |file: &Path, url: &Path| {
        let variable = ("COUNTERSIGN_DATABASE_URL_FILE", url.to_str().unwrap());
        Config::load(Some(file), environment(&[variable])).unwrap().exposed_files
    };
    assert_eq!(exposed(&plain, &private), Vec::<PathBuf>::new());
    assert_eq!(exposed(&plain, &open), std::slice::from_ref(&open));
    for key in ["url", "owner_url", "listen_url"] {
        let text = format!("public_url = 'https://a.example'\ndatabase.{key} = 'postgres://u:p@db/x'");
        let secret = write(key, 0o644, &text);
        assert_eq!(exposed(&secret, &private), [secret], "{key}");
    }
}

#[test]
fn no_error_repeats_a_value() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("countersign.toml");
    let told = |text: &str| {
        std::fs::write(&file, text).unwrap();
        Config::load(Some(&file), environment(&[])).unwrap_err().to_string()
    };
    for text in [
        "public_url = 'https://a.example'\nsecrets = \"hunter2\"",
        "public_url = 'https://a.example'\n[database]\nurl = \"postgres://u:hunter2@db/x",
        "public_url = 'https://a.example'\n[database]\nurl = [\"hunter2\"]",
        "public_url = 'https://a.example'\n[database]\nmax_connections = \"hunter2\"",
        "public_url = 'https://a.example'\nsecrets = 1234567",
        "public_url = 'https://a.example'\nsecrets = [\"hunter2\"]",
        "public_url = 'https://a.example'\nlog.format = \"hunter2\"",
        "public_url = 'https://a.example'\nkeys.rotation = \"9 hunter2\"",
        "public_url = 'https://hunter2@a.example'",
        "public_url = 'https://a.example'\ndatabase = \"hunter2\"",
        "public_url = 'https://a.example'\ntrusted_proxies = [\"hunter2\", 1]",
        "public_url = 'https://a.example'\ndatabase.url = \"mysql://hunter2:5432:\"",
    ] {
        assert!(!told(text).contains("hunter2") && !told(text).contains("1234567"), "{}", told(text));
    }
    assert!(told("public_url = 'https://a.example'\nlisten = [").contains("countersign.toml:2"));
}

#[test]
fn unknown_keys_and_variables_are_errors() {
    let error = Config::load(None, environment(&[("COUNTERSIGN_PUBLIC_ULR", "https://a.example")])).unwrap_err();
    let told: Vec<String> = error.faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        told[0],
        "COUNTERSIGN_PUBLIC_ULR: this environment variable names no setting; did you mean COUNTERSIGN_PUBLIC_URL?"
    );
    assert!(told.len() == 2 && told[1].starts_with("public_url: it is needed"), "{told:?}");
}

/// What the program makes of a file, without secrets.
fn made_of(text: &str) -> Result<String, String> {
    let table: toml::Table = text.parse().map_err(|error| format!("{error}"))?;
    Config::deserialize(table).map(|config| format!("{config:?}")).map_err(|error| error.message().to_owned())
}

const SHORTEST: &str = "public_url = 'https://a.example'\n";

#[test]
fn every_setting_that_is_read_is_described_and_the_other_way_round() {
    // serde lists what it would have taken: `unknown field `?`, expected one of `a`, `b``.
    let fields = |section: &str| -> Vec<String> {
        let text = format!("{SHORTEST}{section}\n'?' = 1");
        let told = made_of(&text).unwrap_err();
        let (_, listed) = told.split_once(", expected ").unwrap_or_else(|| panic!("{told}"));
        listed.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let mut read = Vec::new();
    for field in fields("") {
        if made_of(&format!("{SHORTEST}[{field}]")).is_ok() {
            read.extend(fields(&format!("[{field}]")).iter().map(|inner| format!("{field}.{inner}")));
        } else {
            read.push(field);
        }
    }
    let described: Vec<&str> = settings::SETTINGS.iter().map(|setting| setting.key).collect();
    read.sort_by_key(|key| described.iter().position(|described| described == key));
    assert_eq!(read, described);
}

#[test]
fn each_default_is_what_the_program_has_without_it() {
    let unset = made_of(SHORTEST).unwrap();
    for setting in settings::SETTINGS {
        match setting.default {
            settings::Unset::Is(literal) => {
                assert_eq!(
                    made_of(&format!("{} = {literal}\n{SHORTEST}", setting.key)).unwrap(),
                    unset,
                    "{}",
                    setting.key
                );
            }
            settings::Unset::None(_) => {
                assert_ne!(made_of(&format!("{}\n{SHORTEST}", setting.in_file())).unwrap(), unset, "{}", setting.key);
            }
            settings::Unset::Needed => {
                assert!(made_of("").unwrap_err().contains(setting.key));
            }
        }
    }
}

#[test]
fn the_bounds_that_are_described_hold() {
    let with = |setting: &settings::Setting, value: &str| {
        let pairs = [
            ("COUNTERSIGN_PUBLIC_URL".to_owned(), "https://a.example".to_owned()),
            (setting.variable(), value.to_owned()),
        ];
        Config::load(None, pairs.into_iter())
    };
    let mut spans = 0;
    for setting in settings::SETTINGS {
        match setting.kind {
            kind::Kind::Span { least, most } => {
                spans += 1;
                assert!(with(setting, least).is_ok(), "{}", setting.key);
                assert!(least == "0s" || with(setting, "59s").is_err(), "{}", setting.key);
                assert!(with(setting, "soon").unwrap_err().to_string().contains("it must be a time span"));
                if let Some(most) = most {
                    assert!(with(setting, most).is_ok(), "{}", setting.key);
                    let told = with(setting, &format!("{most} 1s")).unwrap_err().to_string();
                    assert!(told.contains(&setting.in_environment()), "{told}");
                }
            }
            kind::Kind::Number { least } => {
                assert!(with(setting, &least.to_string()).is_ok() && with(setting, &u32::MAX.to_string()).is_ok());
                for wrong in [i64::from(least) - 1, i64::from(u32::MAX) + 1] {
                    assert!(with(setting, &wrong.to_string()).is_err(), "{} {wrong}", setting.key);
                }
            }
            _ => {}
        }
    }
    assert!(spans > 3);
}

#[test]
fn every_example_but_that_of_secrets_can_be_used_as_it_stands() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("countersign.toml");
    let usable = |setting: &&settings::Setting| setting.kind != kind::Kind::Secrets;
    let lines: Vec<String> = settings::SETTINGS.iter().filter(usable).map(settings::Setting::in_file).collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    Config::load(Some(&file), environment(&[])).unwrap();
    let variables = settings::SETTINGS.iter().filter(usable).map(|setting| {
        let line = setting.in_environment();
        line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap()
    });
    Config::load(None, variables.collect::<Vec<_>>().into_iter()).unwrap();
}

#[test]
fn the_schema_the_reference_and_the_files_in_docs_have_every_setting() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let document = std::fs::read_to_string(docs.join("configuration.md")).unwrap();
    assert!(reference::renewed(&document).unwrap() == document, "docs/configuration.md is stale: scripts/regenerate");
    let schema = schema::schema();
    let written: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(docs.join("countersign.schema.json")).unwrap()).unwrap();
    assert!(written == schema, "docs/countersign.schema.json is stale: scripts/regenerate");
    for setting in settings::SETTINGS {
        assert!(document.contains(&format!("| `{}` | ", setting.key)) && document.contains(&setting.variable()));
        let (section, name) = setting.place();
        let within = section.map_or(&schema, |section| &schema["properties"][section]);
        assert!(within["properties"][name]["description"].as_str().unwrap().contains(&setting.variable()));
        assert_eq!(within["additionalProperties"], false);
    }
    assert!(reference::renewed("nothing").unwrap_err().contains("generated: example"));
}
