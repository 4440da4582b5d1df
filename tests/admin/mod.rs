//! The administration API: who may do what, and what it does.

mod apply;
mod audit;
mod command;
mod directory;
mod frame;
mod invitations;
mod keys;
mod login;
mod matrix;
mod people;
mod providers;
mod sessions;
mod webhooks;

use axum::body::Body;
use axum::http::{Method, Request, header};
use serde_json::Value;

use crate::support::app::{ADA_PASSWORD, Answer};
use crate::support::{App, Browser, Device};

/// Two organizations and `platform`, with a person of each role in each. All have Ada's password.
async fn app() -> App {
    App::with(&directory_of_all()).await
}

fn directory_of_all() -> String {
    let organization = |slug: &str| {
        let person = |role: &str, who: &str| {
            format!(
                "[[organization.user]]\nemail = \"{who}@{slug}.example\"\nname = \"{who}\"\nrole = \"{role}\"\n\
                 password = {{ env = \"ADA_PASSWORD\" }}\n"
            )
        };
        let people = [person("owner", "owner"), person("admin", "admin"), person("member", "member")].concat();
        format!(
            "[[organization]]\nslug = \"{slug}\"\nmfa = \"off\"\n\
             [[organization.service]]\nslug = \"cli\"\ndevice_login = true\nscopes = {{ read = \"Read\" }}\n\
             default_scopes = [\"read\"]\n\
             [[organization.service]]\nslug = \"spare\"\n\
             [[organization.provider]]\nslug = \"password\"\nkind = \"password\"\n{people}"
        )
    };
    let mut toml = ["acme", "other"].map(organization).concat();
    toml += &organization("platform");
    // Somebody to be changed.
    toml += "[[organization.user]]\nemail = \"target@platform.example\"\npassword = { env = \"ADA_PASSWORD\" }\n";
    toml = toml.replacen(
        "[[organization]]\nslug = \"other\"",
        "[[organization.user]]\nemail = \"target@acme.example\"\npassword = { env = \"ADA_PASSWORD\" }\n\
         [[organization]]\nslug = \"other\"",
        1,
    );
    toml
}

/// Logs somebody in with a service of their organization.
async fn token_of(app: &App, email: &str, service: &str, scope: &str) -> String {
    let organization = email.split_once('@').unwrap().1.strip_suffix(".example").unwrap();
    let device = Device::ask_as(app, &format!("{organization}-{service}"), scope).await;
    let mut browser = Browser::new(app);
    let page = browser.enter(&device.user_code).await;
    let confirm = browser.sign_in(&page, email, ADA_PASSWORD).await;
    browser.approve(&confirm).await;
    let tokens = device.poll().await;
    assert_eq!(tokens.status, 200, "{}", tokens.body);
    tokens.text("access_token")
}

/// Somebody who administers, with both scopes.
struct Admin<'a> {
    app: &'a App,
    token: String,
}

impl<'a> Admin<'a> {
    async fn log_in(app: &'a App, email: &str) -> Self {
        let token = token_of(app, email, "admin-cli", "admin:read admin:write").await;
        Self { app, token }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None, None).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body), None).await
    }

    /// A deed that takes no body.
    async fn act(&self, path: &str) -> Answer {
        self.send(Method::POST, path, None, None).await
    }

    async fn patch(&self, path: &str, tag: &str, body: Value) -> Answer {
        self.send(Method::PATCH, path, Some(body), Some(tag)).await
    }

    async fn delete(&self, path: &str, tag: &str) -> Answer {
        self.send(Method::DELETE, path, None, Some(tag)).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>, tag: Option<&str>) -> Answer {
        self.app.send(request(method, path, Some(&self.token), body, tag)).await
    }

    /// The id of somebody.
    async fn id_of(&self, email: &str) -> String {
        let organization = email.split_once('@').unwrap().1.strip_suffix(".example").unwrap();
        let found = self.get(&format!("/api/v1/organizations/{organization}/users?email={email}")).await;
        found.json()["items"][0]["id"].as_str().unwrap().to_owned()
    }
}

/// A request to the API.
fn request(method: Method, path: &str, token: Option<&str>, body: Option<Value>, tag: Option<&str>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    if let Some(tag) = tag {
        request = request.header(header::IF_MATCH, tag);
    }
    match body {
        Some(body) => {
            request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string())).unwrap()
        }
        None => request.body(Body::empty()).unwrap(),
    }
}

/// The kind of a problem, after everything that holds of each was checked.
#[track_caller]
fn problem(answer: &Answer) -> String {
    let body = answer.json();
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{body}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(body["status"], answer.status.as_u16());
    assert!(["title", "detail"].iter().all(|member| !body[*member].as_str().unwrap().is_empty()), "{body}");
    let (start, kind) = body["type"].as_str().unwrap().split_once("/api/v1#").unwrap();
    assert_eq!(start, "https://auth.acme.example");
    kind.to_owned()
}

/// The members that a problem names.
#[track_caller]
fn fields(answer: &Answer) -> Vec<String> {
    assert_eq!(problem(answer), "invalid", "{}", answer.body);
    let errors = answer.json()["errors"].as_array().unwrap().clone();
    errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
}
