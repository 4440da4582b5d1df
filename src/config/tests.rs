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
    ] {
        assert!(!told(text).contains("hunter2") && !told(text).contains("1234567"), "{}", told(text));
    }
    assert!(told("public_url = 'https://a.example'\nlisten = [").contains("countersign.toml:2"));
}

#[test]
fn unknown_keys_and_variables_are_errors() {
    let error = Config::load(None, environment(&[("COUNTERSIGN_PUBLIC_ULR", "https://a.example")])).unwrap_err();
    assert_eq!(error.to_string(), "the environment variable COUNTERSIGN_PUBLIC_ULR names no setting");
}
