//! Where a device is, by a database of places.

use std::fs;
use std::path::{Path, PathBuf};

use countersign::geo::{Place, Places};
use countersign::server::Settings;
use tempfile::TempDir;

use crate::support::app::ACME;
use crate::support::mmdb::{self, Value};
use crate::support::{App, Browser, Device, Page};

/// Of the networks that are for documentation (RFC 5737, RFC 3849).
fn places() -> Vec<u8> {
    mmdb::cities(&[
        ("192.0.2.0/25", Some("Berlin"), "DE", "Germany"),
        ("192.0.2.128/25", Some("Hamburg"), "DE", "Germany"),
        ("198.51.100.0/24", Some("Hamburg"), "DE", "Germany"),
        ("203.0.113.0/24", None, "FR", "France"),
        ("2001:db8:1::/48", Some("Lyon"), "FR", "France"),
    ])
}

fn file(bytes: &[u8]) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("places.mmdb");
    fs::write(&path, bytes).unwrap();
    (directory, path)
}

/// The page about a device at one address, for Ada at another, and her browser.
async fn confirm<'a>(app: &'a App, device: &str, ada: &str) -> (Browser<'a>, Page) {
    let device = Device::ask_from(app, device).await;
    let mut browser = Browser::behind_proxy(app, ada);
    let page = browser.enter_and_sign_in(&device.user_code).await;
    (browser, page)
}

/// What the page says of places, and its warnings.
fn told(page: &Page) -> (String, Vec<String>) {
    let facts = page.says(".facts > div");
    let place = facts.iter().find_map(|fact| fact.strip_prefix("Place"));
    let place = place.map(|place| place.strip_suffix(" estimated by IP address").unwrap().to_owned());
    (place.unwrap_or_default(), page.says(".warnings li strong"))
}

async fn app(path: &Path, proximity: &str) -> App {
    let lines = format!("device_login = true\nverified = true\nproximity = {proximity:?}");
    let toml = ACME.replacen("device_login = true", &lines, 1);
    App::with_settings(&toml, Settings { places: Places::open(path).unwrap(), ..Settings::default() }).await
}

#[tokio::test]
async fn the_page_says_where_both_are() {
    let (_directory, path) = file(&places());
    let app = app(&path, "warn").await;
    let (other, abroad) = ("On another network than you.", "In another country than you");
    for (device, ada, place, warnings) in [
        ("192.0.2.7", "198.51.100.7", "Berlin, Germany — you: Hamburg, Germany", vec![other]),
        ("198.51.100.9", "198.51.100.7", "Hamburg, Germany — you too", vec![]),
        ("203.0.113.7", "198.51.100.7", "France — you: Hamburg, Germany", vec![abroad]),
        ("2001:db8:1::7", "198.51.100.7", "Lyon, France — you: Hamburg, Germany", vec![abroad]),
        // Not known is no other country.
        ("8.8.8.8", "198.51.100.7", "Not known — you: Hamburg, Germany", vec![other]),
        ("8.8.8.8", "9.9.9.9", "", vec![other]),
        ("198.51.100.9", "192.168.0.7", "Hamburg, Germany — you: a private network", vec![other]),
        ("192.168.0.7", "192.168.0.9", "Your own network", vec![]),
    ] {
        let (_, page) = confirm(&app, device, ada).await;
        assert_eq!(
            told(&page),
            (place.to_owned(), warnings.into_iter().map(str::to_owned).collect()),
            "{device} {ada}"
        );
    }
    let (mut browser, page) = confirm(&app, "203.0.113.7", "198.51.100.7").await;
    assert!(page.says(".note-danger.warnings")[0].contains("(France; you: Hamburg, Germany)"), "{}", page.html);
    assert_eq!(browser.approve(&page).await.path, "/activate/done", "said, and not forbidden");
}

#[tokio::test]
async fn off_tells_the_place_of_the_device_and_compares_nothing() {
    let (_directory, path) = file(&places());
    let app = app(&path, "off").await;
    let (_, page) = confirm(&app, "203.0.113.7", "198.51.100.7").await;
    assert_eq!(told(&page), ("France".to_owned(), vec![]));
}

#[tokio::test]
async fn a_place_makes_nothing_near_that_isnt() {
    let (_directory, path) = file(&places());
    let app = app(&path, "block").await;
    // The same town, by two providers.
    let (_, page) = confirm(&app, "192.0.2.200", "198.51.100.7").await;
    assert_eq!(page.status, 403, "{}", page.text());
}

#[tokio::test]
async fn without_a_database_nothing_is_said_of_places() {
    let app = App::acme().await;
    let (_, page) = confirm(&app, "203.0.113.7", "198.51.100.7").await;
    assert_eq!(told(&page).0, "");
}

#[test]
fn a_file_that_changes_is_read_again_and_a_bad_one_is_not() {
    let (_directory, path) = file(&places());
    let places = Places::open(&path).unwrap();
    let country = || match places.of([203, 0, 113, 7].into()) {
        Some(Place::In { country, .. }) => country,
        other => panic!("{other:?}"),
    };
    assert_eq!((country().as_str(), places.refresh().unwrap()), ("France", false));

    fs::write(&path, b"half of a fi").unwrap();
    let error = places.refresh().unwrap_err().to_string();
    assert!(error.contains("places.mmdb is no MaxMind database"), "{error}");
    assert!(!places.refresh().unwrap(), "it is complained of once");
    fs::remove_file(&path).unwrap();
    let error = places.refresh().unwrap_err().to_string();
    assert!(error.contains("places.mmdb can't be read"), "{error}");
    assert_eq!(country(), "France", "the one before stays in use");

    // Beside and then over it, as such files are brought up to date.
    let beside = path.with_extension("new");
    fs::write(&beside, mmdb::cities(&[("203.0.113.0/24", None, "ES", "Spain")])).unwrap();
    fs::rename(&beside, &path).unwrap();
    assert!(places.refresh().unwrap());
    assert_eq!(country(), "Spain");
}

#[test]
fn a_file_that_tells_no_countries_is_refused() {
    let asn = Value::Map(vec![("autonomous_system_number", Value::Number(64_496))]);
    let systems = mmdb::database("Test-ASN", [("203.0.113.0/24".parse().unwrap(), asn)]);
    for (bytes, complaint) in [
        (systems, "is a \"Test-ASN\" database, which tells no countries"),
        (places()[..200].to_vec(), "is no MaxMind database"),
        (vec![], "is no MaxMind database"),
        (mmdb::cities(&[]), "tells no countries"),
    ] {
        let (_directory, path) = file(&bytes);
        let error = Places::open(&path).unwrap_err().to_string();
        assert!(error.contains(complaint), "{error}");
    }
}
