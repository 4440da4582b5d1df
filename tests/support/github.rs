//! A stand-in for GitHub: its OAuth and the endpoints that say who somebody is, as a GitHub Enterprise Server has them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use openidconnect::{PkceCodeChallenge, PkceCodeVerifier};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

/// The OAuth app that it knows.
pub const CLIENT_ID: &str = "Iv1.c0ffee";
/// That app's secret.
pub const CLIENT_SECRET: &str = "github-secret-of-the-tests";

/// The running stand-in. It ends with the runtime that it was started in.
#[derive(Clone)]
pub struct GitHub {
    base: String,
    world: Arc<Mutex<World>>,
}

/// What the next person who authorizes is, and what goes wrong.
#[derive(Clone)]
pub struct World {
    /// The answer of `/user`.
    pub account: Value,
    /// The answer of `/user/emails`.
    pub emails: Value,
    /// Logins that `/user/orgs` lists, page by page.
    pub organizations: Vec<String>,
    /// What is broken.
    pub fault: Option<Fault>,
    /// What the last authorization request asked for.
    pub asked_scope: String,
    codes: HashMap<String, Code>,
    tokens: HashMap<String, String>,
}

/// What can be broken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The person presses "Cancel".
    Cancelled,
    /// The token endpoint answers an error, with status 200 as GitHub does.
    TokenError(&'static str),
    /// The API answers this status.
    Api(u16),
    /// The API answers 403 and says that the rate limit is spent.
    RateLimited,
    /// `/user` answers with two mebibytes.
    Flood,
}

#[derive(Clone)]
struct Code {
    redirect_uri: String,
    challenge: String,
    scope: String,
}

/// Starts it on a loopback port, with Ada, who is in one organization.
pub async fn start() -> GitHub {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let world = World {
        account: json!({ "id": 583_231, "login": "ada", "name": "Ada Lovelace" }),
        emails: json!([
            { "email": "ada@home.example", "primary": false, "verified": true },
            { "email": "Ada@Acme.Example", "primary": true, "verified": true },
        ]),
        organizations: vec!["Acme-Inc".into()],
        fault: None,
        asked_scope: String::new(),
        codes: HashMap::new(),
        tokens: HashMap::new(),
    };
    let github = GitHub { base, world: Arc::new(Mutex::new(world)) };
    let router = Router::new()
        .route("/login/oauth/authorize", get(authorize))
        .route("/login/oauth/access_token", post(access_token))
        .route("/api/v3/user", get(user))
        .route("/api/v3/user/emails", get(emails))
        .route("/api/v3/user/orgs", get(organizations))
        .with_state(github.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    github
}

impl GitHub {
    /// Its base URL: `http://127.0.0.1:PORT`.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Changes who comes next, or what is broken.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// The person of an API request, unless something is broken. Every scope must have been asked for.
    fn permit(&self, headers: &HeaderMap, scope: &str) -> Result<World, Refusal> {
        let world = self.world().clone();
        match world.fault {
            Some(Fault::Api(status)) => return Err(refusal(status, "42")),
            Some(Fault::RateLimited) => return Err(refusal(403, "0")),
            _ => {}
        }
        let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let granted = token.and_then(|token| world.tokens.get(token)).ok_or(refusal(401, "42"))?;
        // GitHub refuses who doesn't say who they are.
        let may = headers.contains_key(header::USER_AGENT) && granted.split(' ').any(|granted| granted == scope);
        if may { Ok(world) } else { Err(refusal(403, "42")) }
    }
}

/// A status, and how much of the rate limit is left.
type Refusal = (StatusCode, [(&'static str, &'static str); 1]);

fn refusal(status: u16, remaining: &'static str) -> Refusal {
    (StatusCode::from_u16(status).unwrap(), [("x-ratelimit-remaining", remaining)])
}

type Parameters = HashMap<String, String>;

async fn authorize(State(github): State<GitHub>, Query(query): Query<Parameters>) -> Response {
    if query.get("client_id").map(String::as_str) != Some(CLIENT_ID) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let mut back = Url::parse(&query["redirect_uri"]).unwrap();
    let mut world = github.world();
    world.asked_scope.clone_from(&query["scope"]);
    if world.fault == Some(Fault::Cancelled) {
        back.query_pairs_mut().append_pair("error", "access_denied");
    } else {
        assert_eq!(query["code_challenge_method"], "S256");
        let code = format!("code-{}", world.codes.len());
        back.query_pairs_mut().append_pair("code", &code);
        let [redirect_uri, challenge, scope] = ["redirect_uri", "code_challenge", "scope"].map(|it| query[it].clone());
        world.codes.insert(code, Code { redirect_uri, challenge, scope });
    }
    back.query_pairs_mut().append_pair("state", &query["state"]);
    Redirect::to(back.as_str()).into_response()
}

async fn access_token(State(github): State<GitHub>, Form(form): Form<Parameters>) -> Response {
    let mut world = github.world();
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    if let Some(Fault::TokenError(error)) = world.fault {
        return Json(json!({ "error": error, "error_description": "as the test wants it" })).into_response();
    }
    if (field("client_id"), field("client_secret")) != (CLIENT_ID, CLIENT_SECRET) {
        return Json(json!({ "error": "incorrect_client_credentials" })).into_response();
    }
    let challenge = PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(field("code_verifier").into()));
    let code = world.codes.remove(field("code"));
    let code = code.filter(|code| code.challenge == challenge.as_str() && code.redirect_uri == field("redirect_uri"));
    let Some(code) = code else {
        return Json(json!({ "error": "bad_verification_code" })).into_response();
    };
    let token = format!("gho_{}", world.tokens.len());
    world.tokens.insert(token.clone(), code.scope.clone());
    Json(json!({ "access_token": token, "token_type": "bearer", "scope": code.scope.replace(' ', ",") }))
        .into_response()
}

async fn user(State(github): State<GitHub>, headers: HeaderMap) -> Result<Json<Value>, Refusal> {
    let world = github.permit(&headers, "read:user")?;
    if world.fault == Some(Fault::Flood) { Ok(Json(json!("a".repeat(2 << 20)))) } else { Ok(Json(world.account)) }
}

async fn emails(State(github): State<GitHub>, headers: HeaderMap) -> Result<Json<Value>, Refusal> {
    Ok(Json(github.permit(&headers, "user:email")?.emails))
}

async fn organizations(
    State(github): State<GitHub>,
    Query(query): Query<HashMap<String, usize>>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let world = github.permit(&headers, "read:org")?;
    let (size, page) = (query["per_page"].min(100), query["page"]);
    let listed = world.organizations.iter().skip((page - 1) * size).take(size);
    Ok(Json(listed.map(|login| json!({ "login": login })).collect()))
}
