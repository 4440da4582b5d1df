//! Organizations and services.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Admin, app, fields, problem};
use crate::support::Device;

const SERVICES: &str = "/api/v1/organizations/acme/services";

#[tokio::test]
async fn a_platform_owner_makes_an_organization_that_its_own_owner_administers() {
    let app = app().await;
    let platform = Admin::log_in(&app, "owner@platform.example").await;
    let body = json!({ "slug": "new", "name": "New", "mfa": "off" });
    let made = platform.post("/api/v1/organizations", body.clone()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let again = platform.post("/api/v1/organizations", body).await;
    assert_eq!((again.status, again.body), (StatusCode::OK, made.body));
    let other = platform.post("/api/v1/organizations", json!({ "slug": "new", "name": "Newer" })).await;
    assert_eq!((other.status, problem(&other)), (StatusCode::CONFLICT, "conflict".into()));
    let services = platform.get("/api/v1/organizations/new/services").await.json();
    assert_eq!(services["items"][0]["client_id"], "new-admin-cli");
    assert_eq!(services["items"][0]["scopes"][1]["name"], "admin:write");
    let gone = platform.delete("/api/v1/organizations/new", "*").await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{}", gone.body);
    assert_eq!(platform.get("/api/v1/organizations/new").await.status, StatusCode::NOT_FOUND);
    let full = platform.delete("/api/v1/organizations/acme", "*").await;
    assert_eq!((full.status, problem(&full)), (StatusCode::CONFLICT, "conflict".into()));
    let own = platform.act("/api/v1/organizations/platform/suspend").await;
    assert_eq!((own.status, problem(&own)), (StatusCode::CONFLICT, "conflict".into()));
}

#[tokio::test]
async fn a_suspended_organization_is_nobodys_but_the_platforms() {
    let app = app().await;
    let platform = Admin::log_in(&app, "owner@platform.example").await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    let suspended = platform.act("/api/v1/organizations/acme/suspend").await;
    assert_eq!(suspended.json()["status"], "suspended", "{}", suspended.body);
    assert_eq!(owner.get("/api/v1/organizations/acme").await.status, StatusCode::UNAUTHORIZED);
    let active = platform.act("/api/v1/organizations/acme/activate").await;
    assert_eq!(active.json()["status"], "active");
    // Its sessions had ended.
    assert_eq!(owner.get("/api/v1/organizations/acme").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_service_is_made_changed_and_deleted_with_an_event_each() {
    let app = app().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    let body = json!({
        "slug": "tool",
        "device_login": true,
        "scopes": [
            { "name": "run", "text": "Run jobs" },
            { "name": "admin", "text": "Do anything", "max_age": "5m", "factor": "mfa" },
        ],
        "default_scopes": ["run"],
        "code_lifetime": "10m",
    });
    let made = owner.post(SERVICES, body.clone()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let shown = owner.get(&format!("{SERVICES}/tool")).await;
    assert_eq!(shown.json()["scopes"], body["scopes"], "in the order in which people are asked");
    assert_eq!((shown.json()["client_id"].as_str(), shown.json()["interval"].as_i64()), (Some("acme-tool"), Some(5)));
    assert_eq!(made.header("etag"), shown.header("etag"));
    assert_eq!(owner.post(SERVICES, body).await.status, StatusCode::OK, "nothing to do the second time");

    let tag = shown.header("etag").unwrap().to_owned();
    let path = format!("{SERVICES}/tool");
    let changed = owner.patch(&path, &tag, json!({ "interval": 10, "code_lifetime": null })).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.body);
    assert_eq!((&changed.json()["interval"], &changed.json()["code_lifetime"]), (&json!(10), &json!("15m")));
    assert_eq!(changed.json()["scopes"], shown.json()["scopes"], "what isn't named stays");
    let stale = owner.patch(&path, &tag, json!({ "interval": 20 })).await;
    assert_eq!((stale.status, problem(&stale)), (StatusCode::PRECONDITION_FAILED, "stale".into()));
    let untold = owner.send(axum::http::Method::DELETE, &path, None, None).await;
    assert_eq!((untold.status, problem(&untold)), (StatusCode::PRECONDITION_REQUIRED, "precondition-required".into()));
    // What a device is told at once.
    let device = Device::ask_as(&app, "acme-tool", "run").await;
    assert_eq!(device.poll().await.error(), "authorization_pending");
    let gone = owner.delete(&path, changed.header("etag").unwrap()).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{}", gone.body);
    assert_eq!(owner.get(&path).await.status, StatusCode::NOT_FOUND);

    let events: Vec<Value> = sqlx::query_scalar(
        "SELECT detail FROM audit_event WHERE kind = 'administered' AND detail->>'name' = 'tool' ORDER BY sequence",
    )
    .fetch_all(&app.installation.pool)
    .await
    .unwrap();
    let actions: Vec<&str> = events.iter().map(|event| event["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["created", "changed", "deleted"]);
    let by = owner.id_of("owner@acme.example").await;
    assert!(events.iter().all(|event| event["by"]["user"] == by.as_str()), "{events:?}");
    assert_eq!(events[1]["fields"]["interval"], json!({ "from": "5", "to": "10" }));
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_service_is_told_by_its_member() {
    let app = app().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    let wrong = owner
        .post(SERVICES, json!({ "slug": "x", "interval": 0, "code_lifetime": "1s", "colour": "red", "scopes": [] }))
        .await;
    let mut named = fields(&wrong);
    named.sort();
    assert_eq!(named, ["code_lifetime", "colour", "interval"]);
    assert_eq!(fields(&owner.post(SERVICES, json!({ "slug": "x", "scopes": { "a": "b" } })).await), ["scopes"]);
    assert_eq!(fields(&owner.post(SERVICES, json!({ "slug": "-" })).await), ["slug"]);
    assert_eq!(fields(&owner.post(SERVICES, json!({})).await), ["slug"]);
    // A secret is given as text: where files of this machine are is nothing to ask of a server.
    let file = json!({ "slug": "x", "client_secret": { "file": "/etc/passwd" } });
    assert_eq!(fields(&owner.post(SERVICES, file).await), ["client_secret"]);
    let taken = owner.post(SERVICES, json!({ "slug": "x", "client_id": "other-cli" })).await;
    assert_eq!((taken.status, problem(&taken)), (StatusCode::CONFLICT, "conflict".into()));
    assert!(!taken.body.contains("organization \\\"other"), "{}", taken.body);
}

#[tokio::test]
async fn a_secret_is_told_once_and_rotated() {
    let app = app().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    let body = json!({ "slug": "agent", "device_login": true, "confidential": true });
    let made = owner.post(SERVICES, body.clone()).await;
    let first = made.text("client_secret");
    let may = async |secret: &str| {
        let form = [("client_id", "acme-agent"), ("client_secret", secret)];
        let answer = app.post("/auth/device/code", &form).await;
        answer.status == StatusCode::OK
    };
    assert!(may(&first).await && !may("another").await);
    let path = format!("{SERVICES}/agent");
    for answer in [owner.post(SERVICES, body).await, owner.get(&path).await, owner.get(SERVICES).await] {
        assert_eq!(answer.status, StatusCode::OK);
        assert!(!answer.body.contains("client_secret") && !answer.body.contains(&first));
    }
    // What doesn't speak of it leaves it as it is.
    owner.patch(&path, "*", json!({ "name": "Agent" })).await;
    assert!(may(&first).await);
    let renamed = owner.patch(&path, "*", json!({ "client_id": "acme-runner" })).await;
    assert_eq!(fields(&renamed), ["client_id"]);
    let second = owner.act(&format!("{path}/secret")).await.text("client_secret");
    app.execute("SELECT 1").await;
    assert!(may(&second).await && !may(&first).await);
    let dump: String = sqlx::query_scalar("SELECT string_agg(detail::text, ' ') FROM audit_event")
        .fetch_one(&app.installation.pool)
        .await
        .unwrap();
    assert!(!dump.contains(&first) && !dump.contains(&second));
}

#[tokio::test]
async fn null_takes_a_secret_away_and_the_service_is_public() {
    let app = app().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    let made = owner.post(SERVICES, json!({ "slug": "agent", "device_login": true, "confidential": true })).await;
    let secret = made.text("client_secret");
    let path = format!("{SERVICES}/agent");
    let asked = async |form: &[(&str, &str)]| app.post("/auth/device/code", form).await.status;
    assert_eq!(asked(&[("client_id", "acme-agent")]).await, StatusCode::BAD_REQUEST);
    // It is said of a new one only.
    for confidential in [true, false] {
        assert_eq!(fields(&owner.patch(&path, "*", json!({ "confidential": confidential })).await), ["confidential"]);
    }
    // Its secret doesn't stand against another client_id when it goes.
    let public = owner.patch(&path, "*", json!({ "client_secret": null, "client_id": "acme-runner" })).await;
    assert_eq!((public.status, &public.json()["confidential"]), (StatusCode::OK, &json!(false)), "{}", public.body);
    app.execute("SELECT 1").await;
    assert_eq!(asked(&[("client_id", "acme-runner")]).await, StatusCode::OK);
    let again = owner.patch(&path, "*", json!({ "client_secret": null })).await;
    assert_eq!((again.status, again.body), (StatusCode::OK, public.body), "there is none to go");
    let told: Vec<Value> = sqlx::query_scalar(
        "SELECT detail FROM audit_event WHERE kind = 'administered' AND detail->>'name' = 'agent' ORDER BY sequence",
    )
    .fetch_all(&app.installation.pool)
    .await
    .unwrap();
    assert_eq!(told.len(), 2, "made, and made public: {told:?}");
    assert!(told[1]["fields"]["client_secret"].is_object() && !told[1].to_string().contains(&secret), "{told:?}");
    // A secret makes it confidential again.
    let given = "a-secret-that-somebody-chose-for-it";
    let back = owner.patch(&path, "*", json!({ "client_secret": given })).await;
    assert_eq!(back.json()["confidential"], true, "{}", back.body);
}

#[tokio::test]
async fn the_document_says_what_a_change_of_a_service_takes() {
    let app = app().await;
    let document = app.get("/api/v1/openapi.json").await.json();
    let update = &document["paths"]["/api/v1/organizations/{organization}/services/{service}"]["patch"];
    let body = &update["requestBody"]["content"]["application/json"]["schema"]["$ref"];
    assert_eq!(body, "#/components/schemas/ServiceChange");
    let members = document["components"]["schemas"]["ServiceChange"]["properties"].as_object().unwrap();
    assert!(!members.contains_key("confidential"), "a change of it is refused");
    assert_eq!(members["client_secret"]["type"], json!(["string", "null"]));
    let user = &document["components"]["schemas"]["UserBody"]["properties"];
    for member in ["role", "name"] {
        assert_eq!(user[member]["type"], json!(["string", "null"]), "{member}");
    }
}

#[tokio::test]
async fn the_service_that_administers_keeps_its_words_and_stays() {
    let app = app().await;
    let (owner, admin) =
        (Admin::log_in(&app, "owner@acme.example").await, Admin::log_in(&app, "admin@acme.example").await);
    let path = format!("{SERVICES}/admin-cli");
    let read = json!({ "name": "admin:read", "text": "See everything that you may administer" });
    let words = json!({ "scopes": [read, { "name": "admin:write", "text": "See your name" }] });
    assert_eq!(fields(&owner.patch(&path, "*", words).await), ["scopes"]);
    let refused = admin.patch(&path, "*", json!({ "name": "Mine" })).await;
    assert_eq!((refused.status, problem(&refused)), (StatusCode::FORBIDDEN, "forbidden".into()));
    // Neither does making it again tell an admin anything, such as whether a secret is its.
    let again = admin.post(SERVICES, json!({ "slug": "admin-cli" })).await;
    assert_eq!((again.status, problem(&again)), (StatusCode::FORBIDDEN, "forbidden".into()));
    assert_eq!(problem(&owner.delete(&path, "*").await), "conflict");
    let longer = owner.patch(&path, "*", json!({ "access_token_lifetime": "5m" })).await;
    assert_eq!(longer.status, StatusCode::OK, "{}", longer.body);
}

#[tokio::test]
async fn lists_come_in_pages() {
    let app = app().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    for number in 0..3 {
        owner.post(SERVICES, json!({ "slug": format!("s{number}") })).await;
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    for _ in 0..4 {
        let page = owner.get(&format!("{SERVICES}?limit=2{after}")).await.json();
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["slug"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(seen, ["admin-cli", "cli", "s0", "s1", "s2", "spare"]);
    for (query, field) in [("limit=0", "limit"), ("limit=201", "limit"), ("after=%00", "after"), ("page=2", "page")] {
        assert_eq!(fields(&owner.get(&format!("{SERVICES}?{query}")).await), [field]);
    }
}

#[tokio::test]
async fn nobody_takes_the_name_by_which_another_organization_will_be_administered() {
    let app = app().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    for body in [json!({ "slug": "x", "client_id": "later-admin-cli" }), json!({ "slug": "later-admin-cli" })] {
        assert_eq!(fields(&owner.post(SERVICES, body).await), ["client_id"]);
    }
    for path in [format!("{SERVICES}/spare"), format!("{SERVICES}/admin-cli")] {
        assert_eq!(fields(&owner.patch(&path, "*", json!({ "client_id": "later-admin-cli" })).await), ["client_id"]);
    }
    let platform = Admin::log_in(&app, "owner@platform.example").await;
    platform.post("/api/v1/organizations", json!({ "slug": "later" })).await;
    let services = platform.get("/api/v1/organizations/later/services").await.json();
    assert_eq!(services["items"][0]["client_id"], "later-admin-cli");
}

#[tokio::test]
async fn what_is_written_in_a_suspended_organization_leaves_it_suspended() {
    let app = app().await;
    let platform = Admin::log_in(&app, "owner@platform.example").await;
    platform.act("/api/v1/organizations/acme/suspend").await;
    assert_eq!(platform.post(SERVICES, json!({ "slug": "tool" })).await.status, StatusCode::CREATED);
    let renamed = platform.patch("/api/v1/organizations/acme", "*", json!({ "name": "Acme" })).await;
    assert_eq!((renamed.text("name"), renamed.text("status")), ("Acme".into(), "suspended".into()));
    let activated = platform.patch("/api/v1/organizations/acme", "*", json!({ "status": "active" })).await;
    assert_eq!(fields(&activated), ["status"]);
}

#[tokio::test]
async fn of_two_who_change_the_same_version_one_is_told_that_it_is_stale() {
    let app = app().await;
    let (owner, admin) =
        (Admin::log_in(&app, "owner@acme.example").await, Admin::log_in(&app, "admin@acme.example").await);
    let path = format!("{SERVICES}/spare");
    let tag = owner.get(&path).await.header("etag").unwrap().to_owned();
    let (one, other) = tokio::join!(
        owner.patch(&path, &tag, json!({ "interval": 10 })),
        admin.patch(&path, &tag, json!({ "interval": 20 })),
    );
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
}
