//! The request-initiation check: after the approval the page shows a number, and only the device that sends it gets tokens.

use std::process::Stdio;

use axum::body::Body;
use axum::http::Request;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use super::commands::{Running, countersign, directory};
use crate::support::app::{ACME, Answer, form_request};
use crate::support::{App, Browser, Device};

async fn app() -> App {
    App::with(&ACME.replace("client_id = \"acme-cli\"", "client_id = \"acme-cli\"\nverification = \"number\"")).await
}

fn poll(device: &Device<'_>, number: Option<u8>) -> Request<Body> {
    let grant_type = ("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
    let number = number.map(|number| number.to_string());
    let mut form = vec![grant_type, ("device_code", &device.device_code), ("client_id", "acme-cli")];
    form.extend(number.as_deref().map(|number| ("verification_number", number)));
    form_request("/auth/token", &form)
}

/// Lets Ada approve, and gives the number that the page shows her.
async fn approve(browser: &mut Browser<'_>, device: &Device<'_>) -> u8 {
    let confirm = browser.enter_and_sign_in(&device.user_code).await;
    let done = browser.approve(&confirm).await;
    assert_eq!(done.path, "/activate/done");
    assert_eq!(done.says("h1"), ["One more step on your device"]);
    done.says(".code [aria-hidden]")[0].parse().unwrap()
}

/// Numbers that are not this one.
fn others(number: u8) -> impl Iterator<Item = u8> {
    (10..=99).filter(move |other| *other != number)
}

fn told(answer: &Answer) -> (String, Value, Value) {
    let body = answer.json();
    (answer.error(), body["verification"].clone(), body["tries_left"].clone())
}

fn wanted(tries: u8) -> (String, Value, Value) {
    ("authorization_pending".to_owned(), json!("number"), json!(tries))
}

#[tokio::test]
async fn tokens_come_for_the_number_that_the_page_shows() {
    let app = app().await;
    let (device, mut browser) = (Device::ask(&app, "read").await, Browser::new(&app));
    // Guessed before there is one, it counts for nothing.
    assert_eq!(
        told(&app.send(poll(&device, Some(10))).await),
        ("authorization_pending".into(), json!(null), json!(null))
    );
    let number = approve(&mut browser, &device).await;

    let missing = app.send(poll(&device, None)).await;
    assert_eq!(told(&missing), wanted(3));
    assert!(missing.text("error_description").contains("verification_number"), "{}", missing.body);
    let wrong = app.send(poll(&device, others(number).next())).await;
    assert_eq!(told(&wrong), wanted(2));
    assert_eq!(browser.open("/activate/done").await.says(".code [aria-hidden]"), [number.to_string()], "still there");

    let right = app.send(poll(&device, Some(number))).await;
    assert_eq!(right.status, 200, "{}", right.body);
    assert_eq!(browser.open("/activate/done").await.says("h1"), ["Approved"]);
    assert_eq!(app.send(poll(&device, Some(number))).await.error(), "invalid_grant");
    let audit = app.audit().await;
    assert_eq!((audit.get("guess_refused"), audit.get("redeemed")), (Some(&1), Some(&1)));
}

#[tokio::test]
async fn three_wrong_numbers_deny_the_login() {
    let app = app().await;
    let (device, mut browser) = (Device::ask(&app, "read").await, Browser::new(&app));
    let number = approve(&mut browser, &device).await;
    let mut wrong = others(number);
    for left in [2, 1] {
        assert_eq!(told(&app.send(poll(&device, wrong.next())).await), wanted(left));
    }
    assert_eq!(app.send(poll(&device, wrong.next())).await.error(), "access_denied");
    assert_eq!(app.send(poll(&device, Some(number))).await.error(), "access_denied", "for good");
    let page = browser.open("/activate/done").await;
    assert_eq!(page.says("h1"), ["Not signed in"]);
    assert!(page.says(".code").is_empty());
    assert_eq!(app.audit().await.get("denied"), Some(&1));
}

#[tokio::test]
async fn what_is_no_number_is_no_guess() {
    let app = app().await;
    let (device, mut browser) = (Device::ask(&app, "read").await, Browser::new(&app));
    approve(&mut browser, &device).await;
    let grant_type = ("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
    for garbage in ["4", "447", "ab", "-9"] {
        let code = ("device_code", device.device_code.as_str());
        let form = [grant_type, code, ("client_id", "acme-cli"), ("verification_number", garbage)];
        assert_eq!(told(&app.post("/auth/token", &form).await), wanted(3), "{garbage}");
    }
}

#[tokio::test]
async fn however_many_guesses_come_at_once_three_count() {
    let app = app().await;
    let (device, mut browser) = (Device::ask(&app, "read").await, Browser::new(&app));
    let number = approve(&mut browser, &device).await;
    let guesses = others(number).take(64).map(|guess| app.send(poll(&device, Some(guess))));
    let answers = join_all(guesses).await;
    assert!(answers.iter().all(|answer| answer.status == 400));
    assert_eq!(app.audit().await.get("guess_refused"), Some(&3));
    assert_eq!(app.send(poll(&device, Some(number))).await.error(), "access_denied");
}

#[tokio::test]
async fn however_many_right_numbers_come_at_once_one_gets_tokens() {
    let app = app().await;
    let (device, mut browser) = (Device::ask(&app, "read").await, Browser::new(&app));
    let number = approve(&mut browser, &device).await;
    let answers = join_all((0..32).map(|_| app.send(poll(&device, Some(number))))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
}

#[tokio::test]
async fn there_is_time_to_go_and_type_it() {
    let app = app().await;
    let (device, mut browser) = (Device::ask(&app, "read").await, Browser::new(&app));
    let confirm = browser.enter_and_sign_in(&device.user_code).await;
    app.advance(898);
    let done = browser.approve(&confirm).await;
    let number = done.says(".code [aria-hidden]")[0].parse().unwrap();
    app.advance(115);
    assert_eq!(app.send(poll(&device, Some(number))).await.status, 200);
}

#[tokio::test]
async fn the_reference_client_asks_for_it() {
    let toml =
        ACME.replace("client_id = \"acme-cli\"", "client_id = \"acme-cli\"\ninterval = 1\nverification = \"number\"");
    let (app, scene) = (App::listening(&toml).await, directory());
    let mut command = countersign(scene.path(), &["login", app.issuer(), "--client-id", "acme-cli", "--json"]);
    command.stdin(Stdio::piped());
    let mut login = Running::start(command);
    let code: Value = serde_json::from_str(&login.says(r#""event":"code""#).await).unwrap();
    let mut browser = Browser::new(&app);
    let confirm = browser.enter_and_sign_in(code["user_code"].as_str().unwrap()).await;
    let done = browser.approve(&confirm).await;
    let number: u8 = done.says(".code [aria-hidden]")[0].parse().unwrap();
    let mut keyboard = login.process.stdin.take().unwrap();
    assert!(login.says(r#""event":"number""#).await.contains("\"tries_left\":3"));
    keyboard.write_all(format!("{}\n", others(number).next().unwrap()).as_bytes()).await.unwrap();
    assert!(login.says(r#""event":"number""#).await.contains("\"tries_left\":2"));
    keyboard.write_all(format!("{number}\n").as_bytes()).await.unwrap();
    login.says(r#""event":"done""#).await;
}
