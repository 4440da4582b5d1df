//! Webhooks over the API: what they are told, with which secret, and where they may be.

use std::time::Duration;

use axum::http::StatusCode;
use countersign::installation::Parts;
use countersign::outbound::Outbound;
use serde_json::{Value, json};

use super::{Admin, app, directory_of_all, fields, problem};
use crate::support::app::{ADA_PASSWORD, HOOK_SECRET};
use crate::support::hook::{Hook, Reply};
use crate::support::{App, Browser, Device, database};

const WEBHOOKS: &str = "/api/v1/organizations/acme/webhooks";

/// An installation whose configuration allows this machine.
async fn app_that_allows_loopback() -> App {
    let parts = App::parts(database::database().await, "https://auth.acme.example");
    let app = App::of(Parts { outbound: Outbound::with_loopback(), ..parts }).await;
    app.apply(&directory_of_all()).await;
    app
}

fn path_of(made: &Value) -> String {
    format!("{WEBHOOKS}/{}", made["id"].as_str().unwrap())
}

async fn approve_a_login(app: &App) {
    let device = Device::ask_as(app, "acme-cli", "read").await;
    let mut browser = Browser::new(app);
    let page = browser.enter(&device.user_code).await;
    let confirm = browser.sign_in(&page, "member@acme.example", ADA_PASSWORD).await;
    assert_eq!(browser.approve(&confirm).await.path, "/activate/done");
}

#[tokio::test]
async fn a_webhook_is_made_changed_and_deleted_with_an_event_each() {
    let app = app().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    let body = json!({ "url": "https://hooks.acme.example/countersign" });
    let made = owner.post(WEBHOOKS, body.clone()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let (first, path) = (made.text("secret"), path_of(&made.json()));
    assert!(countersign::directory::webhook::signing_key(&first).is_some_and(|key| key.len() == 32), "{first}");
    let shown = owner.get(&path).await;
    assert_eq!(
        (made.header("etag"), &shown.json()["events"]),
        (shown.header("etag"), &json!(["approved", "reported"]))
    );
    let again = owner.post(WEBHOOKS, body).await;
    assert_eq!((again.status, &again.body), (StatusCode::OK, &shown.body));
    let other = json!({ "url": "https://hooks.acme.example/countersign", "events": ["reported"] });
    assert_eq!(problem(&owner.post(WEBHOOKS, other).await), "conflict");
    let given = json!({ "url": "https://hooks.acme.example/countersign", "secret": HOOK_SECRET });
    assert_eq!(problem(&owner.post(WEBHOOKS, given).await), "conflict", "it has another secret");

    let changed = owner.patch(&path, shown.header("etag").unwrap(), json!({ "events": ["reported"] })).await;
    assert_eq!(changed.json()["events"], json!(["reported"]), "{}", changed.body);
    assert_eq!(problem(&owner.patch(&path, shown.header("etag").unwrap(), json!({})).await), "stale");
    assert_eq!(fields(&owner.patch(&path, "*", json!({ "url": "https://other.example" })).await), ["url"]);
    let second = owner.act(&format!("{path}/secret")).await.text("secret");
    assert_ne!(first, second);
    let listed = owner.get(WEBHOOKS).await;
    assert_eq!(listed.json(), json!({ "items": [changed.json()], "next": null }));
    assert_eq!(owner.delete(&path, changed.header("etag").unwrap()).await.status, StatusCode::NO_CONTENT);
    assert_eq!(owner.get(&path).await.status, StatusCode::NOT_FOUND);

    let told: Vec<Value> = sqlx::query_scalar(
        "SELECT detail FROM audit_event WHERE kind = 'administered' AND detail->>'what' = 'webhook' ORDER BY sequence",
    )
    .fetch_all(&app.installation.pool)
    .await
    .unwrap();
    let actions: Vec<&str> = told.iter().map(|event| event["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["created", "changed", "changed", "deleted"]);
    assert_eq!(told[2]["fields"], json!({ "secret": { "to": "changed" } }));
    let words = [serde_json::to_string(&told).unwrap(), listed.body, changed.body, shown.body];
    assert!(words.iter().all(|words| !words.contains("whsec_")), "{words:?}");
}

#[tokio::test]
async fn what_is_wrong_with_a_webhook_is_told_by_its_member() {
    let app = app().await;
    let (owner, admin) =
        (Admin::log_in(&app, "owner@acme.example").await, Admin::log_in(&app, "admin@acme.example").await);
    let long = format!("https://hooks.acme.example/{}", "x".repeat(3000));
    for (body, field) in [
        (json!({}), "url"),
        (json!({ "url": 7 }), "url"),
        (json!({ "url": "http://hooks.acme.example" }), "url"),
        (json!({ "url": long }), "url"),
        (json!({ "url": "https://a.example/\u{0}" }), "url"),
        (json!({ "url": "https://10.0.0.5/hook" }), "url"),
        (json!({ "url": "http://localhost:9/hook" }), "url"),
        (json!({ "url": "https://a.example", "events": [] }), "events"),
        (json!({ "url": "https://a.example", "events": ["everything"] }), "events"),
        (json!({ "url": "https://a.example", "secret": "short" }), "secret"),
        (json!({ "url": "https://a.example", "public_only": false }), "public_only"),
    ] {
        let answer = owner.post(WEBHOOKS, body).await;
        assert_eq!(fields(&answer), [field], "{}", answer.body);
    }
    let refused = admin.post(WEBHOOKS, json!({ "url": "https://a.example" })).await;
    assert_eq!((refused.status, problem(&refused)), (StatusCode::FORBIDDEN, "forbidden".into()));
    assert_eq!(admin.get(WEBHOOKS).await.json()["items"], json!([]));
}

#[tokio::test]
async fn messages_are_signed_with_the_secret_that_the_api_was_given() {
    let (app, hook) = (app_that_allows_loopback().await, Hook::start().await);
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    let body = json!({ "url": hook.url, "secret": HOOK_SECRET, "events": ["approved"] });
    let made = owner.post(WEBHOOKS, body).await;
    assert_eq!((made.status, made.body.contains("whsec_")), (StatusCode::CREATED, false), "{}", made.body);
    assert_eq!(made.json()["public_only"], true);
    approve_a_login(&app).await;
    let [message] = hook.first(1).await.try_into().unwrap();
    assert_eq!(message.verified()["type"], "device_login.approved");
}

#[tokio::test]
async fn a_webhook_is_tried_and_says_how_it_went() {
    let (app, hook) = (app_that_allows_loopback().await, Hook::start().await);
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    let made = owner.post(WEBHOOKS, json!({ "url": hook.url, "secret": HOOK_SECRET })).await;
    let path = format!("{}/test", path_of(&made.json()));
    hook.next([Reply::Status(204), Reply::Status(418), Reply::Redirect]);
    assert_eq!(owner.act(&path).await.json(), json!({ "delivered": true, "trouble": null }));
    let message = hook.messages().pop().unwrap().verified();
    assert_eq!((&message["type"], &message["data"]["organization"]["slug"]), (&json!("webhook.test"), &json!("acme")));
    for status in ["418", "307"] {
        let tried = owner.act(&path).await.json();
        assert_eq!((&tried["delivered"], tried["trouble"].as_str().unwrap().ends_with(status)), (&json!(false), true));
    }
    assert_eq!(hook.messages().len(), 3, "no redirect was followed");
    // Each is a request to somebody else.
    let mut last = owner.act(&path).await;
    for _ in 0..10 {
        last = owner.act(&path).await;
    }
    assert_eq!(problem(&last), "too-many-requests");
    assert!(hook.messages().len() <= 10, "{}", hook.messages().len());
}

#[tokio::test]
async fn a_webhook_inside_the_network_is_not_told_and_says_why() {
    let (mut app, hook) = (app_that_allows_loopback().await, Hook::start().await);
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    let made = owner.post(WEBHOOKS, json!({ "url": hook.url, "secret": HOOK_SECRET })).await.json();
    let token = owner.token;
    app.kill_tasks().await;
    // As after somebody took the network out of outbound.allow.
    let strict = app.another_node().await;
    approve_a_login(&strict).await;
    let trouble = async || {
        let trouble: Option<String> =
            sqlx::query_scalar("SELECT trouble FROM notice").fetch_one(&app.installation.pool).await.unwrap();
        trouble
    };
    for _ in 0..600 {
        if trouble().await.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let trouble = trouble().await.unwrap();
    assert!(trouble.contains("is not public") && trouble.contains("outbound.allow"), "{trouble}");
    let strict_owner = Admin { app: &strict, token };
    let tried = strict_owner.act(&format!("{}/test", path_of(&made))).await.json();
    assert_eq!((&tried["delivered"], &tried["trouble"]), (&json!(false), &json!(trouble)));
    assert!(hook.messages().is_empty(), "{:?}", hook.messages());
    // What a file says may be anywhere.
    let toml = format!(
        "[[organization]]\nslug = \"acme\"\nmfa = \"off\"\n[[organization.webhook]]\nurl = \"{}\"\n\
         secret = {{ env = \"HOOK_SECRET\" }}\n",
        hook.url
    );
    strict.apply(&toml).await;
    let tried = strict_owner.act(&format!("{}/test", path_of(&made))).await.json();
    assert_eq!(tried, json!({ "delivered": true, "trouble": null }));
    assert_eq!(hook.messages().len(), 1);
}
