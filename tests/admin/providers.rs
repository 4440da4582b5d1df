//! Providers over the API, and to which addresses they may lead.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Admin, app, fields, problem};
use crate::support::App;
use crate::support::app::SECRETS;

const PROVIDERS: &str = "/api/v1/organizations/acme/providers";
const SSO: &str = "/api/v1/organizations/acme/providers/sso";

fn sso() -> Value {
    json!({
        "slug": "sso",
        "kind": "oidc",
        "issuer": "https://sso.acme.example",
        "client_id": "countersign",
        "client_secret": "first-secret-at-the-provider",
        "admit": { "domains": ["acme.example"] },
    })
}

/// What the file of the organization says of a provider inside the network.
fn file_with(issuer: &str) -> String {
    format!(
        "[[organization]]\nslug = \"acme\"\nmfa = \"off\"\n\
         [[organization.provider]]\nslug = \"sso\"\nkind = \"oidc\"\nissuer = \"{issuer}\"\nclient_id = \"countersign\"\n\
         client_secret = {{ env = \"SSO_SECRET\" }}\n"
    )
}

/// Everything that the audit says of providers.
async fn told(app: &App) -> Vec<Value> {
    sqlx::query_scalar(
        "SELECT detail FROM audit_event WHERE kind = 'administered' AND detail->>'what' = 'provider'
             AND detail->>'name' = 'sso' ORDER BY sequence",
    )
    .fetch_all(&app.installation.pool)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_provider_is_made_changed_and_deleted_with_an_event_each() {
    let app = app().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    let made = owner.post(PROVIDERS, sso()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let shown = owner.get(SSO).await;
    assert_eq!((made.body, made.headers.get("etag")), (shown.body.clone(), shown.headers.get("etag")));
    let json = shown.json();
    assert_eq!(json["redirect_uri"], "https://auth.acme.example/auth/sso/callback");
    assert_eq!(
        (&json["name"], &json["has_secret"], &json["public_only"]),
        (&json!("sso.acme.example"), &json!(true), &json!(true))
    );
    assert_eq!((&json["admit"], &json["api_url"]), (&json!({ "domains": ["acme.example"] }), &Value::Null));
    assert_eq!(owner.post(PROVIDERS, sso()).await.status, StatusCode::OK, "nothing to do the second time");
    let other = owner
        .post(PROVIDERS, json!({ "slug": "sso", "kind": "oidc", "issuer": "https://x.example", "client_id": "y" }));
    assert_eq!(problem(&other.await), "conflict");

    let changed = owner.patch(SSO, shown.header("etag").unwrap(), json!({ "name": "Acme SSO", "admit": null })).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.body);
    let json = changed.json();
    assert_eq!(
        (&json["name"], &json["admit"], &json["has_secret"]),
        (&json!("Acme SSO"), &json!("invited"), &json!(true))
    );
    assert_eq!(problem(&owner.patch(SSO, shown.header("etag").unwrap(), json!({ "name": "X" })).await), "stale");
    assert_eq!(fields(&owner.patch(SSO, "*", json!({ "slug": "other" })).await), ["slug"]);
    let listed = owner.get(&format!("{PROVIDERS}?limit=1")).await.json();
    assert_eq!((&listed["items"][0]["slug"], listed["next"].is_string()), (&json!("password"), true));
    let next = format!("{PROVIDERS}?after={}", listed["next"].as_str().unwrap());
    assert_eq!(owner.get(&next).await.json()["items"][0], json);
    assert_eq!(owner.delete(SSO, changed.header("etag").unwrap()).await.status, StatusCode::NO_CONTENT);
    assert_eq!(owner.get(SSO).await.status, StatusCode::NOT_FOUND);

    let told = told(&app).await;
    let actions: Vec<&str> = told.iter().map(|event| event["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["created", "changed", "deleted"]);
    assert_eq!(told[0]["fields"]["public_only"], json!({ "to": "true" }));
    assert_eq!(told[0]["fields"]["client_secret"], json!({ "to": "set" }));
    assert_eq!(told[1]["fields"]["name"], json!({ "from": "\"sso.acme.example\"", "to": "\"Acme SSO\"" }));
}

#[tokio::test]
async fn a_secret_is_never_told_and_stays_where_it_was_given_for() {
    let app = app().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    owner.post(PROVIDERS, sso()).await;
    // Whoever leads it elsewhere has to know it.
    for elsewhere in [
        json!({ "issuer": "https://evil.example" }),
        json!({ "client_id": "another" }),
        json!({ "kind": "microsoft", "issuer": "https://login.microsoftonline.com/tenant/v2.0" }),
    ] {
        assert_eq!(fields(&owner.patch(SSO, "*", elsewhere).await), ["client_secret"]);
    }
    let secret = "second-secret-at-the-provider";
    let moved = owner.patch(SSO, "*", json!({ "issuer": "https://new.acme.example", "client_secret": secret })).await;
    assert_eq!((moved.status, &moved.json()["has_secret"]), (StatusCode::OK, &json!(true)), "{}", moved.body);
    let without = owner.patch(SSO, "*", json!({ "client_secret": null })).await;
    assert_eq!(without.json()["has_secret"], false, "{}", without.body);
    assert_eq!(owner.patch(SSO, "*", json!({ "client_id": "another" })).await.status, StatusCode::OK);
    let told = serde_json::to_string(&told(&app).await).unwrap();
    let answers = [moved.body, without.body, owner.get(PROVIDERS).await.body, told];
    assert!(answers.iter().all(|text| !text.contains("secret-at-the-provider")), "{answers:?}");
    // GitHub needs one, so that there is none to be taken away.
    let github = json!({ "slug": "github", "kind": "github", "client_id": "x", "client_secret": secret });
    assert_eq!(
        owner.post(PROVIDERS, github).await.json()["public_only"],
        false,
        "its address is nobody's but GitHub's"
    );
    let github = format!("{PROVIDERS}/github");
    assert_eq!(owner.patch(&github, "*", json!({ "trust_mfa": null, "name": "Hub" })).await.status, StatusCode::OK);
    assert_eq!(fields(&owner.patch(&github, "*", json!({ "client_secret": null })).await), ["client_secret"]);
}

#[tokio::test]
async fn admins_see_providers_and_owners_write_them() {
    let app = app().await;
    let admin = Admin::log_in(&app, "admin@acme.example").await;
    assert_eq!(admin.get(&format!("{PROVIDERS}/password")).await.json()["redirect_uri"], Value::Null);
    for refused in [
        admin.post(PROVIDERS, sso()).await,
        admin.patch(&format!("{PROVIDERS}/password"), "*", json!({ "name": "Mine" })).await,
        admin.delete(&format!("{PROVIDERS}/password"), "*").await,
    ] {
        assert_eq!((refused.status, problem(&refused)), (StatusCode::FORBIDDEN, "forbidden".into()));
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_provider_is_told_by_its_member() {
    let app = app().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    let with = |member: &str, value: Value| {
        let mut body = sso();
        body[member] = value;
        owner.post(PROVIDERS, body)
    };
    for (member, value) in [
        ("slug", "token".into()),
        ("kind", "saml".into()),
        ("issuer", Value::Null),
        ("issuer", "http://sso.acme.example".into()),
        ("admit", json!({ "domains": [] })),
        ("client_secret", json!({ "file": "/etc/passwd" })),
        ("public_only", false.into()),
        ("has_secret", true.into()),
    ] {
        let answer = with(member, value).await;
        assert_eq!(fields(&answer), [member], "{}", answer.body);
    }
    assert_eq!(fields(&owner.post(PROVIDERS, json!({})).await), ["slug"]);
}

#[tokio::test]
async fn an_address_that_leads_inside_is_refused_as_it_is_written() {
    let app = app().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    let platform = Admin::log_in(&app, "owner@platform.example").await;
    for address in [
        "https://10.0.0.5",
        "https://169.254.169.254",
        "https://[::ffff:127.0.0.1]:8080",
        "https://2130706433",
        "https://[fd00:ec2::254]",
        "https://[64:ff9b::10.0.0.5]",
        "https://localhost:8443",
        "http://127.0.0.1:8080",
        "http://localhost:8080",
    ] {
        let mut body = sso();
        body["issuer"] = address.into();
        for who in [&owner, &platform] {
            let refused = who.post(PROVIDERS, body.clone()).await;
            assert_eq!(fields(&refused), ["issuer"], "{address}");
            let words = refused.json()["errors"][0]["message"].as_str().unwrap().to_owned();
            assert!(words.contains("not public") && words.contains("outbound.allow"), "{words}");
        }
    }
    let mut github = json!({ "slug": "hub", "kind": "github", "client_id": "x", "client_secret": "y" });
    github["api_url"] = "https://192.168.1.1/api/v3".into();
    assert_eq!(fields(&owner.post(PROVIDERS, github).await), ["api_url"]);
    assert_eq!(owner.get(PROVIDERS).await.json()["items"].as_array().unwrap().len(), 1, "nothing was written");
}

#[tokio::test]
async fn the_mark_says_who_wrote_the_address_that_is_there() {
    let app = app().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    app.apply(&file_with("http://127.0.0.1:1")).await;
    assert_eq!(owner.get(SSO).await.json()["public_only"], false);
    // What stays as the file wrote it is still the file's.
    let renamed = owner.patch(SSO, "*", json!({ "name": "Inside" })).await;
    assert_eq!((renamed.status, &renamed.json()["public_only"]), (StatusCode::OK, &json!(false)), "{}", renamed.body);
    let secret = SECRETS.iter().find(|(name, _)| *name == "SSO_SECRET").unwrap().1;
    let moved = json!({ "issuer": "http://127.0.0.1:2", "client_secret": secret });
    assert_eq!(fields(&owner.patch(SSO, "*", moved).await), ["issuer"]);
    // The same address, but another kind asks for other paths of it.
    let kind = json!({ "kind": "github", "client_secret": secret, "groups_claim": null, "trust_mfa": null });
    assert_eq!(fields(&owner.patch(SSO, "*", kind).await), ["issuer"]);
    let out = json!({ "issuer": "https://sso.acme.example", "client_secret": secret });
    assert_eq!(owner.patch(SSO, "*", out).await.json()["public_only"], true);
    // A file that says the same takes responsibility for it.
    app.apply(&file_with("https://sso.acme.example")).await;
    assert_eq!(owner.get(SSO).await.json()["public_only"], false);
    let last = told(&app).await.pop().unwrap();
    assert_eq!(
        (&last["by"], &last["fields"]["public_only"]),
        (&json!("apply"), &json!({ "from": "true", "to": "false" }))
    );
    // Another provider of the same address is another's word.
    let mut body = sso();
    body["slug"] = "twin".into();
    assert_eq!(owner.post(PROVIDERS, body).await.json()["public_only"], true);
}

#[tokio::test]
async fn an_owner_who_can_sign_in_is_kept() {
    let app = app().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    let platform = Admin::log_in(&app, "owner@platform.example").await;
    let password = format!("{PROVIDERS}/password");
    assert_eq!(problem(&owner.delete(&password, "*").await), "conflict");
    let other = json!({ "kind": "oidc", "issuer": "https://sso.acme.example", "client_id": "countersign" });
    assert_eq!(problem(&owner.patch(&password, "*", other).await), "conflict");
    let own = "/api/v1/organizations/platform/providers/password";
    assert_eq!(problem(&platform.delete(own, "*").await), "conflict");
    // Who lets owners in again may lock them out.
    assert_eq!(platform.delete(&password, "*").await.status, StatusCode::NO_CONTENT);
}
