//! A machine that asks for codes which many people elsewhere approve: the signature of a phishing kit.

use std::time::Duration;

use axum::http::StatusCode;
use countersign::config::Phishing;
use countersign::server::Settings;

use crate::support::app::{ACME, ADA_PASSWORD, Event};
use crate::support::{App, Browser, Device, Page};

/// Where the machine is.
const KIT: &str = "203.0.113.66";

/// [`ACME`] with so many people besides Ada, who have her password; `cli` is verified and has this line too.
fn crowd(people: usize, line: &str) -> String {
    let acme = ACME.replacen("device_login = true", &format!("device_login = true\nverified = true\n{line}"), 1);
    let person =
        |n| format!("[[organization.user]]\nemail = \"p{n}@acme.example\"\npassword = {{ env = \"ADA_PASSWORD\" }}\n");
    (1..=people).fold(acme, |toml, n| toml + &person(n))
}

/// Somebody at an address comes as far as the confirm page of a device at another address.
async fn confirm<'a>(app: &'a App, device: &str, who: &str, at: &str) -> (Device<'a>, Browser<'a>, Page) {
    let device = Device::ask_from(app, device).await;
    let mut browser = Browser::behind_proxy(app, at);
    let page = browser.enter(&device.user_code).await;
    let page = browser.sign_in(&page, &format!("{who}@acme.example"), ADA_PASSWORD).await;
    assert_eq!((page.path.as_str(), page.status), ("/activate/confirm", StatusCode::OK), "{}", page.text());
    (device, browser, page)
}

/// So many people, each at home, approve codes of a device.
async fn victims(app: &App, device: &str, people: std::ops::RangeInclusive<usize>) {
    for n in people {
        let (_, mut browser, page) = confirm(app, device, &format!("p{n}"), &format!("198.51.{n}.7")).await;
        assert_eq!(browser.approve(&page).await.path, "/activate/done");
    }
}

/// The warnings that Ada, at home, sees for a device.
async fn warnings(app: &App, device: &str) -> Vec<String> {
    confirm(app, device, "ada", "192.0.2.7").await.2.says(".warnings li strong")
}

fn flagged(people: usize) -> String {
    format!(
        "{people} other people approved a code from this same device address in the last hour, and none of them was near it."
    )
}

async fn suspicions(app: &App) -> Vec<Event> {
    app.events().await.into_iter().filter(|event| event.kind == "suspected_phishing").collect()
}

const AFAR: &str = "On another network than you.";

#[tokio::test]
async fn whoever_comes_after_many_others_is_warned_before_anything_else() {
    let app = App::with(&crowd(6, "")).await;
    victims(&app, KIT, 1..=4).await;
    assert_eq!(warnings(&app, KIT).await, [AFAR], "four are few");
    assert!(suspicions(&app).await.is_empty());
    victims(&app, KIT, 5..=5).await;
    let (device, mut browser, page) = confirm(&app, KIT, "ada", "192.0.2.7").await;
    assert_eq!(page.says(".warnings li strong"), [flagged(5), AFAR.to_owned()]);
    assert_eq!(page.says(".note-danger.warnings").len(), 1, "in the colour of danger: {}", page.html);

    // Once for each login, however often it is looked at.
    browser.open("/activate/confirm").await;
    let [event] = suspicions(&app).await.try_into().unwrap();
    assert!(event.grant_id.is_some() && event.user_id.is_some(), "{event:?}");
    assert_eq!(event.ip.unwrap().addr().to_string(), "192.0.2.7");
    assert_eq!(event.detail, serde_json::json!({ "people": 5, "within_seconds": 3600, "device_ip": KIT }));

    assert_eq!(app.metric("suspected_phishing_total").await, Some(1.0));

    // It is a warning: the person decides.
    assert_eq!(browser.approve(&page).await.path, "/activate/done");
    assert_eq!(device.poll().await.status, StatusCode::OK);
    // Ada counts for the next one, and redeemed logins as well.
    let (_, _, page) = confirm(&app, KIT, "p6", "192.0.2.99").await;
    assert_eq!(page.says(".warnings li strong"), [flagged(6), AFAR.to_owned()]);
}

#[tokio::test]
async fn an_hour_later_nobody_is_warned() {
    let app = App::with(&crowd(5, "")).await;
    victims(&app, KIT, 1..=5).await;
    app.advance(3599);
    assert_eq!(warnings(&app, KIT).await, [flagged(5), AFAR.to_owned()]);
    app.advance(1);
    assert_eq!(warnings(&app, KIT).await, [AFAR]);
}

#[tokio::test]
async fn people_are_counted_and_only_those_who_approved() {
    let app = App::with(&crowd(6, "")).await;
    for _ in 0..3 {
        victims(&app, KIT, 1..=2).await;
    }
    for n in 3..=6 {
        let (_, mut browser, page) = confirm(&app, KIT, &format!("p{n}"), &format!("198.51.{n}.7")).await;
        browser.decide(&page, "deny").await;
    }
    assert_eq!(warnings(&app, KIT).await, [AFAR]);
}

#[tokio::test]
async fn a_machine_that_changes_its_address_within_its_network_is_the_same() {
    let app = App::with(&crowd(5, "")).await;
    for n in 1..=5 {
        victims(&app, &format!("2001:db8:bad:1:{n}::{n}"), n..=n).await;
    }
    let first = |warnings: Vec<String>| warnings.into_iter().next().unwrap();
    assert_eq!(first(warnings(&app, "2001:db8:bad:1:ffff:ffff:ffff:ffff").await), flagged(5));
    assert_eq!(first(warnings(&app, "2001:db8:bad:2::1").await), "Perhaps on another network than you.");
}

#[tokio::test]
async fn other_addresses_and_other_services_are_not_suspected() {
    let app = App::with(&crowd(5, "")).await;
    victims(&app, KIT, 1..=5).await;
    assert_eq!(warnings(&app, "203.0.113.67").await, [AFAR]);
    // From now on the device asks for another service.
    app.execute("UPDATE service SET client_id = 'acme-other' WHERE slug = 'cli'").await;
    app.execute("UPDATE service SET client_id = 'acme-cli', client_secret_mac = NULL WHERE slug = 'agent'").await;
    assert_eq!(warnings(&app, KIT).await[0], AFAR);
}

#[tokio::test]
async fn an_office_that_shares_an_address_is_not_suspected() {
    let app = App::with(&crowd(6, "")).await;
    // The office's machines and browsers have one address, or several in one network.
    for n in 1..=6 {
        let at = if n < 4 { "203.0.113.66" } else { "203.0.113.67" };
        let (_, mut browser, page) = confirm(&app, KIT, &format!("p{n}"), at).await;
        assert_eq!(page.says(".warnings li strong"), Vec::<String>::new());
        browser.approve(&page).await;
    }
    let (_, _, page) = confirm(&app, KIT, "ada", KIT).await;
    assert_eq!(page.says(".warnings li strong"), Vec::<String>::new());
    // One of them approves by phone, which isn't in the office's network.
    assert_eq!(warnings(&app, KIT).await, [AFAR]);
    assert!(suspicions(&app).await.is_empty());
}

#[tokio::test]
async fn who_is_near_is_not_warned_of_those_who_are_not() {
    let app = App::with(&crowd(5, "")).await;
    victims(&app, KIT, 1..=5).await;
    let (_, _, page) = confirm(&app, KIT, "ada", "203.0.113.67").await;
    assert_eq!(page.says(".warnings li strong"), Vec::<String>::new());
}

#[tokio::test]
async fn a_trusted_jump_host_is_not_suspected() {
    let app = App::with(&crowd(6, "trusted_networks = [\"203.0.113.64/29\"]")).await;
    victims(&app, KIT, 1..=6).await;
    assert_eq!(warnings(&app, KIT).await, Vec::<String>::new());
    assert!(suspicions(&app).await.is_empty());
}

#[tokio::test]
async fn a_warning_that_the_page_did_not_have_is_shown_before_anything_is_approved() {
    let app = App::with(&crowd(5, "")).await;
    victims(&app, KIT, 1..=4).await;
    let (device, mut browser, page) = confirm(&app, KIT, "ada", "192.0.2.7").await;
    assert_eq!(page.says(".warnings li strong"), [AFAR]);
    victims(&app, KIT, 5..=5).await;
    // Somebody who clicks twice sees the second answer only.
    browser.approve(&page).await;
    let again = browser.approve(&page).await;
    assert_eq!((again.path.as_str(), again.status), ("/activate/confirm", StatusCode::CONFLICT));
    assert_eq!(again.says(".warnings li strong"), [flagged(5), AFAR.to_owned()]);
    assert!(again.says(".problem")[0].contains("new warning"), "{}", again.text());
    assert_eq!(device.poll().await.error(), "authorization_pending");
    assert_eq!(browser.approve(&again).await.path, "/activate/done");
    assert_eq!(suspicions(&app).await.len(), 1);
}

#[tokio::test]
async fn how_many_and_how_long_are_settings() {
    let with = async |people, within| {
        let settings = Settings { phishing: Phishing { people, within }, ..Settings::default() };
        App::with_settings(&crowd(3, ""), settings).await
    };
    let app = with(2, Duration::from_mins(10)).await;
    victims(&app, KIT, 1..=2).await;
    let expected = flagged(2).replace("the last hour", "the last 10 minutes");
    assert_eq!(warnings(&app, KIT).await[0], expected);
    let never = with(0, Duration::from_hours(1)).await;
    victims(&never, KIT, 1..=3).await;
    assert_eq!(warnings(&never, KIT).await, [AFAR]);
}
