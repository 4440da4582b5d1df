//! The list of devices, and ending them.

use axum::http::StatusCode;

use crate::support::app::BOB_PASSWORD;
use crate::support::{App, Browser, Device};

use super::{ADA, BOB, ada, audited, device, device_of, ended, send, sign_in, with_bob};

#[tokio::test]
async fn the_list_says_what_acts_as_the_person_and_from_where() {
    let app = App::acme().await;
    device(&app, "laptop").await;
    app.advance(2 * 3600);
    let mut browser = ada(&app).await;
    let page = browser.open("/account/acme").await;
    assert_eq!(page.says("ul.devices h2"), ["laptop"]);
    let facts = page.says("ul.devices dd");
    assert_eq!(facts[0], "Acme CLI");
    assert!(facts[1].contains("Read your projects") && facts[1].contains("Stay signed in"), "{facts:?}");
    assert!(facts[3].starts_with("2 hours ago from 127.0.0.1, where you are now"), "{facts:?}");
    assert!(facts[4].ends_with("from 127.0.0.1"), "{facts:?}");
}

#[tokio::test]
async fn the_page_after_an_approval_leads_to_the_list() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read offline_access").await;
    let mut browser = Browser::new(&app);
    let confirm = browser.enter_and_sign_in(&device.user_code).await;
    let done = browser.approve(&confirm).await;
    device.poll().await;
    let href = done.attribute("a[href^='/account']", "href").unwrap();
    // The same browser is signed in already.
    let list = browser.open(&href).await;
    assert_eq!((list.path.as_str(), list.says("ul.devices h2").len()), ("/account/acme", 1), "{}", list.text());
}

#[tokio::test]
async fn a_device_gets_another_name() {
    let app = App::acme().await;
    let id = device(&app, "laptop").await;
    let mut browser = ada(&app).await;
    let path = format!("/account/acme/devices/{id}");
    let page = browser.open(&path).await;
    let page = send(&mut browser, &page, &path, &[("name", "  The red\u{202e} one ")]).await;
    assert_eq!(page.says("h1"), ["The red one"]);
    assert_eq!(page.says("[role=status]"), ["The new name is saved."]);
    assert_eq!(audited(&app, "administered").await[0].1["to"], "The red one");
    let page = send(&mut browser, &page, &path, &[("name", &"x".repeat(65))]).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert_eq!(page.says("#name-error"), ["Error: A name has at most 64 characters."]);
    assert_eq!(browser.open("/account/acme").await.says("ul.devices h2"), ["The red one"]);
}

#[tokio::test]
async fn an_ended_device_is_told_so_at_its_next_refresh() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read offline_access").await;
    Browser::new(&app).approve_code(&device.user_code).await;
    let tokens = device.poll().await;
    let sid = tokens.claims("access_token")["sid"].as_str().unwrap().to_owned();
    let mut browser = ada(&app).await;
    let path = format!("/account/acme/devices/{sid}/end");
    let page = browser.open(&path).await;
    assert!(page.text().contains("within 15 minutes"), "{}", page.text());
    let list = send(&mut browser, &page, &path, &[]).await;
    assert_eq!(list.says("[role=status]"), ["The device is signed out."]);
    assert!(list.says("ul.devices").is_empty());
    let refresh =
        [("grant_type", "refresh_token"), ("refresh_token", &*tokens.text("refresh_token")), ("client_id", "acme-cli")];
    let refused = app.post("/auth/token", &refresh).await;
    assert_eq!(refused.error(), "invalid_grant");
    assert_eq!(
        refused.text("error_description"),
        "This device was signed out: it was ended in the account's list of devices. Log in again."
    );
    let events = audited(&app, "revoked").await;
    assert_eq!((events.len(), events[0].0.unwrap().to_string()), (1, sid));
    assert!(app.events().await.iter().all(|event| event.kind != "revoked" || event.grant_id.is_some()));
    // Sent again, from a page that was left open: it has ended, and no second event says so.
    assert_eq!(send(&mut browser, &page, &path, &[]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(audited(&app, "revoked").await.len(), 1);
}

#[tokio::test]
async fn all_others_are_ended_or_all() {
    let app = App::with(&with_bob()).await;
    let [one, two, three] = [device(&app, "one").await, device(&app, "two").await, device(&app, "three").await];
    let mut bob = Browser::new(&app);
    sign_in(&mut bob, BOB, BOB_PASSWORD).await;
    let of_bob = device_of(&app, &mut bob, "bob's").await;
    let mut browser = ada(&app).await;
    let path = "/account/acme/end-others";
    let page = browser.open(&format!("{path}?keep={two}")).await;
    assert_eq!(page.attribute("input[checked]", "value"), Some(two.to_string()));
    let undecided = send(&mut browser, &page, path, &[]).await;
    assert_eq!(undecided.status, StatusCode::BAD_REQUEST);
    let list = send(&mut browser, &page, path, &[("keep", &two.to_string())]).await;
    assert_eq!(
        (list.says("ul.devices h2"), list.says("[role=status]")),
        (vec!["two".to_owned()], vec!["All other devices are signed out.".to_owned()])
    );
    assert!(ended(&app, one).await.is_some() && ended(&app, three).await.is_some());
    assert_eq!(audited(&app, "revoked").await.len(), 2);
    // Keeping what is not one's own is no way to end all.
    let strange = send(&mut browser, &page, path, &[("keep", &of_bob.to_string())]).await;
    assert_eq!((strange.status, ended(&app, two).await), (StatusCode::NOT_FOUND, None));
    send(&mut browser, &page, path, &[("keep", "none")]).await;
    assert!(ended(&app, two).await.is_some());
    assert_eq!(ended(&app, of_bob).await, None);
}

#[tokio::test]
async fn nobody_reaches_a_device_of_somebody_else() {
    let app = App::with(&with_bob()).await;
    let id = device(&app, "ada's").await;
    let mut bob = Browser::new(&app);
    let list = sign_in(&mut bob, BOB, BOB_PASSWORD).await;
    assert!(list.text().contains("No device is signed in as you"), "{}", list.text());
    for path in [format!("/account/acme/devices/{id}"), format!("/account/acme/devices/{id}/end")] {
        let page = bob.open(&path).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND);
        assert!(!page.html.contains("ada's"));
        assert_eq!(send(&mut bob, &page, &path, &[("name", "bob's")]).await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(bob.open("/account/acme/devices/7").await.status, StatusCode::NOT_FOUND);
    assert_eq!(ended(&app, id).await, None);
    let mut browser = ada(&app).await;
    assert_eq!(browser.open("/account/acme").await.says("ul.devices h2"), ["ada's"], "{ADA}");
}

#[tokio::test]
async fn what_is_over_is_not_listed() {
    let app = App::acme().await;
    device(&app, "for months").await;
    let short = Device::ask(&app, "read").await;
    Browser::new(&app).approve_code(&short.user_code).await;
    short.poll().await;
    let mut browser = ada(&app).await;
    assert_eq!(browser.open("/account/acme").await.says("ul.devices h2").len(), 2);
    // Without a refresh token a device is over with its access token.
    app.advance(15 * 60 + 1);
    assert_eq!(browser.open("/account/acme").await.says("ul.devices h2"), ["for months"]);
    app.advance(31 * 24 * 3600);
    let mut browser = ada(&app).await;
    assert!(browser.open("/account/acme").await.says("ul.devices h2").is_empty());
}
