//! Every route × every kind of caller, from the document: a route without a row here fails, and so does a row without a route.

use std::collections::BTreeSet;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Admin, app, problem, request, token_of};
use crate::support::app::Answer;
use crate::support::{App, Device};

/// Who at least may do something in an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Needs {
    Admin,
    Owner,
    Platform,
}
use Needs::{Admin as AnAdmin, Owner, Platform};

/// Each operation, and who may. One that is missing here was forgotten.
const ROWS: [(&str, Needs); 43] = [
    ("list_organizations", AnAdmin),
    ("create_organization", Platform),
    ("show_organization", AnAdmin),
    ("update_organization", Owner),
    ("suspend_organization", Platform),
    ("activate_organization", Platform),
    ("delete_organization", Platform),
    ("list_services", AnAdmin),
    ("create_service", AnAdmin),
    ("show_service", AnAdmin),
    ("update_service", AnAdmin),
    ("delete_service", AnAdmin),
    ("rotate_service_secret", AnAdmin),
    ("list_providers", AnAdmin),
    ("create_provider", Owner),
    ("show_provider", AnAdmin),
    ("update_provider", Owner),
    ("delete_provider", Owner),
    ("list_webhooks", AnAdmin),
    ("create_webhook", Owner),
    ("show_webhook", AnAdmin),
    ("update_webhook", Owner),
    ("delete_webhook", Owner),
    ("rotate_webhook_secret", Owner),
    ("test_webhook", Owner),
    ("list_users", AnAdmin),
    ("invite_user", AnAdmin),
    ("show_user", AnAdmin),
    ("update_user", AnAdmin),
    ("delete_user", AnAdmin),
    ("lock_user", AnAdmin),
    ("unlock_user", AnAdmin),
    ("reset_mfa", AnAdmin),
    ("list_sessions", AnAdmin),
    ("revoke_session", AnAdmin),
    ("list_grants", AnAdmin),
    ("deny_grant", AnAdmin),
    ("list_events", AnAdmin),
    ("show_statistics", AnAdmin),
    ("list_keys", Platform),
    ("rotate_keys", Platform),
    ("retire_key", Platform),
    ("apply_files", Owner),
];

/// A webhook that nobody listens at.
const HOOK: &str = "[[organization]]\nslug = \"acme\"\nmfa = \"off\"\n[[organization.webhook]]\nurl = \"http://127.0.0.1:1\"\n\
                    secret = { env = \"HOOK_SECRET\" }\n";

/// Who asks, about the organization `acme`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// Without a token, or with one that is none, of another service, or whose session has ended.
    Nobody,
    /// A member of `acme`, or an owner whose token has no scope for this.
    Powerless,
    /// Of `acme`.
    Admin,
    /// Of `acme`.
    Owner,
    /// Somebody who administers another organization, `platform` as its admin among them.
    Stranger,
    /// An owner of `platform`.
    Platform,
}

struct Operation {
    id: String,
    method: Method,
    path: String,
    needs: Needs,
}

/// What the document says there is, each with its row.
async fn operations(app: &App) -> Vec<Operation> {
    let document = app.get("/api/v1/openapi.json").await;
    let mut rows: BTreeSet<&str> = ROWS.iter().map(|(id, _)| *id).collect();
    let mut operations = Vec::new();
    for (path, item) in document.json()["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            let row = ROWS.iter().find(|(row, _)| *row == id);
            let (_, needs) = row.unwrap_or_else(|| panic!("{id} has no row: say who may do it"));
            rows.remove(&*id);
            let method = method.to_uppercase().parse().unwrap();
            operations.push(Operation { id, method, path: path.clone(), needs: *needs });
        }
    }
    assert!(rows.is_empty(), "there is no {rows:?} any more");
    // What takes the ground from under others comes last.
    operations.sort_by_key(|operation| operation.id == "suspend_organization");
    operations
}

/// The path of an operation with what it stands for.
async fn filled(app: &App, platform: &Admin<'_>, path: &str, target: &str) -> String {
    let mut filled = path.replace("{organization}", "acme").replace("{service}", "spare").replace("{user}", target);
    filled = filled.replace("{provider}", "password");
    if path.contains("{webhook}") {
        let found = platform.get("/api/v1/organizations/acme/webhooks").await;
        filled = filled.replace("{webhook}", found.json()["items"][0]["id"].as_str().unwrap());
    }
    if path.contains("{session}") {
        token_of(app, "member@acme.example", "cli", "read").await;
        let member = platform.id_of("member@acme.example").await;
        let found = platform.get(&format!("/api/v1/organizations/acme/sessions?user={member}")).await;
        let items = found.json()["items"].as_array().unwrap().clone();
        let of_cli = items.iter().find(|session| session["service"] == "cli").unwrap();
        filled = filled.replace("{session}", of_cli["id"].as_str().unwrap());
    }
    if path.contains("{grant}") {
        Device::ask_as(app, "acme-cli", "read").await;
        let found = platform.get("/api/v1/organizations/acme/grants").await;
        filled = filled.replace("{grant}", found.json()["items"][0]["id"].as_str().unwrap());
    }
    if path.contains("{kid}") {
        // One that signs nothing yet.
        let keys = platform.get("/api/v1/keys").await.json()["items"].as_array().unwrap().clone();
        let published = keys.iter().find(|key| key["stage"] == "published").unwrap();
        filled = filled.replace("{kid}", published["kid"].as_str().unwrap());
    }
    assert!(!filled.contains('{'), "say what {filled} stands for");
    filled
}

/// What is sent changes nothing where that can be had: a body that says too little, and a tag of something else.
async fn ask(app: &App, operation: &Operation, path: &str, token: Option<&str>) -> Answer {
    let takes_body = ["create", "invite", "update"].iter().any(|word| operation.id.starts_with(word));
    let mut body = takes_body.then(|| json!({}));
    if operation.id == "apply_files" {
        // It says of which organization in its body.
        let text = "[[organization]]\nslug = \"acme\"\nmfa = \"off\"\n";
        body = Some(json!({ "files": [{ "name": "acme.toml", "text": text }], "dry_run": true }));
    }
    let with_tag = operation.method == Method::PATCH || operation.method == Method::DELETE;
    let tag = with_tag.then_some("\"another\"");
    app.send(request(operation.method.clone(), path, token, body, tag)).await
}

/// What can be told apart of an answer.
fn seen(answer: &Answer) -> (StatusCode, Vec<(String, String)>, String) {
    let mut headers: Vec<(String, String)> =
        answer.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    headers.retain(|(name, _)| name != "x-request-id");
    headers.sort();
    (answer.status, headers, answer.body.clone())
}

async fn callers(app: &App, platform: &Admin<'_>) -> Vec<(&'static str, Who, Option<String>)> {
    let both = "admin:read admin:write openid";
    let of = async |email: &str, service: &str, scope: &str| Some(token_of(app, email, service, scope).await);
    let revoked = token_of(app, "owner@acme.example", "admin-cli", both).await;
    let owner = platform.id_of("owner@acme.example").await;
    let sessions = platform.get(&format!("/api/v1/organizations/acme/sessions?user={owner}")).await;
    let session = sessions.json()["items"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/organizations/acme/sessions/{session}");
    assert_eq!(platform.delete(&path, "*").await.status, StatusCode::NO_CONTENT);
    vec![
        ("nobody", Who::Nobody, None),
        ("no token", Who::Nobody, Some("none".to_owned())),
        ("a token of another service", Who::Nobody, of("owner@acme.example", "cli", "read openid").await),
        ("a token whose session was revoked", Who::Nobody, Some(revoked)),
        ("a token without an admin scope", Who::Powerless, of("owner@acme.example", "admin-cli", "openid").await),
        ("a member", Who::Powerless, of("member@acme.example", "admin-cli", both).await),
        ("a member of another organization", Who::Powerless, of("member@other.example", "admin-cli", both).await),
        ("an admin of another organization", Who::Stranger, of("admin@other.example", "admin-cli", both).await),
        ("an owner of another organization", Who::Stranger, of("owner@other.example", "admin-cli", both).await),
        ("an admin of platform", Who::Stranger, of("admin@platform.example", "admin-cli", both).await),
        ("an admin", Who::Admin, of("admin@acme.example", "admin-cli", both).await),
        ("an owner", Who::Owner, of("owner@acme.example", "admin-cli", both).await),
        ("an owner of platform", Who::Platform, Some(platform.token.clone())),
    ]
}

#[tokio::test]
async fn every_route_knows_every_kind_of_caller() {
    let app = app().await;
    app.apply(HOOK).await;
    let platform = Admin::log_in(&app, "owner@platform.example").await;
    let (operations, target) = (operations(&app).await, platform.id_of("target@acme.example").await);
    for (name, who, token) in callers(&app, &platform).await {
        for operation in &operations {
            let what = format!("{name}: {}", operation.id);
            let in_one = operation.path.contains("{organization}");
            let may = match who {
                Who::Nobody | Who::Powerless => false,
                Who::Stranger => !in_one && operation.needs == AnAdmin,
                Who::Admin => operation.needs == AnAdmin,
                Who::Owner => operation.needs <= Owner,
                Who::Platform => true,
            };
            // Only who may act is given something of its own to act on.
            let path = if may || (who == Who::Stranger && in_one) {
                filled(&app, &platform, &operation.path, &target).await
            } else {
                let id = uuid::Uuid::nil().to_string();
                let path = operation.path.replace("{organization}", "acme").replace("{service}", "spare");
                path.replace("{user}", &target)
                    .replace("{provider}", "password")
                    .replace("{webhook}", &id)
                    .replace("{session}", &id)
                    .replace("{grant}", &id)
                    .replace("{kid}", "none")
            };
            let answer = ask(&app, operation, &path, token.as_deref()).await;
            let status = answer.status.as_u16();
            if may {
                assert!(![401, 403, 404, 405, 500].contains(&status), "{what}: {status} {}", answer.body);
                continue;
            }
            match who {
                Who::Nobody => assert_eq!(problem(&answer), "invalid-token", "{what}"),
                Who::Stranger if in_one => {
                    assert_eq!(problem(&answer), "not-found", "{what}: {}", answer.body);
                    // Not even its existence: the same as of an organization that isn't there.
                    let nowhere = path.replace("/acme", "/nowhere");
                    let of_none = ask(&app, operation, &nowhere, token.as_deref()).await;
                    assert_eq!(seen(&answer), seen(&of_none), "{what}");
                }
                _ => assert_eq!(status, 403, "{what}: {}", answer.body),
            }
        }
    }
}

#[tokio::test]
async fn every_operation_says_how_it_refuses() {
    let app = app().await;
    let document = app.get("/api/v1/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    for item in document["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            let responses = operation["responses"].as_object().unwrap();
            for status in ["401", "403", "404", "405", "422", "429", "500", "503"] {
                let body = &responses[status]["content"]["application/problem+json"];
                assert_ne!(*body, Value::Null, "{}: {status}", operation["operationId"]);
            }
        }
    }
}
