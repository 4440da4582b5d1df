//! An authorization server of a few lines that answers from a script.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Form;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, Uri};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What the server does with one request.
#[derive(Clone)]
pub enum Reply {
    /// Answers with this status and JSON.
    Json(u16, Value),
    /// Answers with this status, header and text.
    Text(u16, Option<(&'static str, &'static str)>, String),
    /// Closes the connection in the middle of an answer.
    Hangup,
    /// Answers after so many milliseconds.
    Late(u64, Box<Reply>),
}

/// A running server; it ends with its value.
pub struct StandIn {
    /// Its address, with the path it was given.
    pub issuer: String,
    state: Arc<Script>,
    task: JoinHandle<()>,
}

struct Script {
    metadata: HashMap<String, Reply>,
    codes: Mutex<VecDeque<Reply>>,
    polls: Mutex<VecDeque<Reply>>,
    others: Mutex<HashMap<String, VecDeque<Reply>>>,
    requests: Mutex<Vec<Received>>,
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Received {
    pub path: String,
    pub form: HashMap<String, String>,
    pub user_agent: String,
    pub authorization: Option<String>,
}

impl StandIn {
    /// A server with correct metadata at the first well-known address.
    pub async fn start(codes: impl IntoIterator<Item = Reply>, polls: impl IntoIterator<Item = Reply>) -> Self {
        Self::start_with(codes, polls, |issuer| {
            HashMap::from([("/.well-known/oauth-authorization-server".to_owned(), Reply::Json(200, metadata(issuer)))])
        })
        .await
    }

    /// A server whose metadata documents, by path, are made from its address.
    pub async fn start_with(
        codes: impl IntoIterator<Item = Reply>,
        polls: impl IntoIterator<Item = Reply>,
        documents: impl FnOnce(&str) -> HashMap<String, Reply>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Script {
            metadata: documents(&issuer),
            codes: Mutex::new(codes.into_iter().collect()),
            polls: Mutex::new(polls.into_iter().collect()),
            others: Mutex::default(),
            requests: Mutex::default(),
        });
        let router = Router::new()
            .route("/code", post(code))
            .route("/token", post(token))
            .route("/revoke", post(other))
            .route("/userinfo", get(other))
            .fallback(get(document))
            .with_state(Arc::clone(&state));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { issuer, state, task }
    }

    /// What `/revoke` or `/userinfo` will answer, once each.
    pub fn will_answer(&self, path: &str, replies: impl IntoIterator<Item = Reply>) {
        self.state.others.lock().unwrap().entry(path.to_owned()).or_default().extend(replies);
    }

    /// What the endpoints were sent, in order.
    pub fn requests(&self) -> Vec<Received> {
        self.state.requests.lock().unwrap().clone()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Script {
    fn receive(&self, path: &str, headers: &HeaderMap, form: HashMap<String, String>) {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        self.requests.lock().unwrap().push(Received {
            path: path.to_owned(),
            form,
            user_agent: text("user-agent").unwrap(),
            authorization: text("authorization"),
        });
    }
}

type Fields = Form<HashMap<String, String>>;

async fn code(State(script): State<Arc<Script>>, headers: HeaderMap, Form(form): Fields) -> Response<Body> {
    script.receive("/code", &headers, form);
    let reply = script.codes.lock().unwrap().pop_front().expect("one more code is asked than scripted");
    reply.into_response().await
}

async fn token(State(script): State<Arc<Script>>, headers: HeaderMap, Form(form): Fields) -> Response<Body> {
    script.receive("/token", &headers, form);
    let reply = script.polls.lock().unwrap().pop_front().expect("one more poll comes than scripted");
    reply.into_response().await
}

async fn other(State(script): State<Arc<Script>>, uri: Uri, headers: HeaderMap, body: String) -> Response<Body> {
    script.receive(uri.path(), &headers, serde_urlencoded::from_str(&body).unwrap());
    let reply = script.others.lock().unwrap().get_mut(uri.path()).and_then(VecDeque::pop_front);
    reply.expect("one more request comes than scripted").into_response().await
}

async fn document(State(script): State<Arc<Script>>, uri: Uri) -> Response<Body> {
    let none = Reply::Text(404, None, "nothing here".to_owned());
    script.metadata.get(uri.path()).cloned().unwrap_or(none).into_response().await
}

impl Reply {
    async fn into_response(self) -> Response<Body> {
        let reply = match self {
            Self::Late(milliseconds, reply) => {
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                *reply
            }
            reply => reply,
        };
        match reply {
            Self::Late(..) => panic!("late only once"),
            Self::Json(status, body) => Response::builder().status(status).body(Body::from(body.to_string())).unwrap(),
            Self::Text(status, header, body) => {
                let builder = header
                    .into_iter()
                    .fold(Response::builder().status(status), |builder, (name, value)| builder.header(name, value));
                builder.body(Body::from(body)).unwrap()
            }
            Self::Hangup => {
                let broken = futures_util::stream::iter([Ok("{"), Err(io::Error::other("hung up"))]);
                Response::new(Body::from_stream(broken))
            }
        }
    }
}

/// Metadata as RFC 8414 wants it.
pub fn metadata(issuer: &str) -> Value {
    json!({
        "issuer": issuer,
        "device_authorization_endpoint": format!("{issuer}/code"),
        "token_endpoint": format!("{issuer}/token"),
        "revocation_endpoint": format!("{issuer}/revoke"),
        "userinfo_endpoint": format!("{issuer}/userinfo"),
    })
}

/// A pair of codes that is good for a quarter of an hour and polled every second.
pub fn a_code() -> Reply {
    code_with(json!({}))
}

/// The same with other members.
pub fn code_with(members: Value) -> Reply {
    let mut body = json!({
        "device_code": "csd_device-code",
        "user_code": "WDJB-MJHT",
        "verification_uri": "http://localhost:8080/activate",
        "verification_uri_complete": "http://localhost:8080/activate?user_code=WDJB-MJHT",
        "expires_in": 900,
        "interval": 1,
    });
    let Value::Object(members) = members else { panic!("members are an object") };
    body.as_object_mut().unwrap().extend(members);
    Reply::Json(200, body)
}

pub fn error(error: &str) -> Reply {
    Reply::Json(400, json!({ "error": error, "error_description": "The stand-in says so." }))
}

pub fn pending() -> Reply {
    error("authorization_pending")
}

pub fn tokens(scope: &str) -> Reply {
    Reply::Json(
        200,
        json!({
            "access_token": "the-access-token", "token_type": "Bearer", "expires_in": 900,
            "refresh_token": "the-refresh-token", "scope": scope,
        }),
    )
}
