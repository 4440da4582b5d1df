//! A webhook's receiver on loopback, which keeps what it is sent, and answers as it is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::net::TcpListener;

use super::app::HOOK_SECRET;

/// What is answered.
#[derive(Clone, Copy, Debug)]
pub enum Reply {
    /// This status.
    Status(u16),
    /// A redirect to the receiver itself.
    Redirect,
    /// 200 and a body without an end.
    Endless,
    /// Nothing for longer than anybody waits.
    Never,
}

/// A message as it came.
#[derive(Clone, Debug)]
pub struct Message {
    pub headers: HeaderMap,
    pub body: String,
}

#[derive(Clone)]
pub struct Hook {
    pub url: String,
    messages: Arc<Mutex<Vec<Message>>>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
}

impl Hook {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let hook = Self { url, messages: Arc::default(), replies: Arc::default() };
        let router = Router::new().fallback(receive).with_state(hook.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        hook
    }

    /// An organization's lines for it, told of everything.
    pub fn toml(&self) -> String {
        format!("\n[[organization.webhook]]\nurl = \"{}\"\nsecret = {{ env = \"HOOK_SECRET\" }}\n", self.url)
    }

    /// What is answered to the next messages; then 204.
    pub fn next(&self, replies: impl IntoIterator<Item = Reply>) {
        self.replies.lock().unwrap().extend(replies);
    }

    /// What came so far.
    pub fn messages(&self) -> Vec<Message> {
        self.messages.lock().unwrap().clone()
    }

    /// The first so many messages, once they are there.
    pub async fn first(&self, count: usize) -> Vec<Message> {
        for _ in 0..600 {
            let messages = self.messages();
            if messages.len() >= count {
                return messages;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no {count} messages came: {:?}", self.messages());
    }
}

async fn receive(State(hook): State<Hook>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let body = String::from_utf8(body.to_vec()).unwrap();
    hook.messages.lock().unwrap().push(Message { headers, body });
    let reply = hook.replies.lock().unwrap().pop_front().unwrap_or(Reply::Status(204));
    let status = |status| Response::builder().status(StatusCode::from_u16(status).unwrap());
    match reply {
        Reply::Status(code) => status(code).body(Body::empty()).unwrap(),
        Reply::Redirect => status(307).header("location", &hook.url).body(Body::empty()).unwrap(),
        Reply::Endless => {
            let more = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 4096])));
            status(200).body(Body::from_stream(more)).unwrap()
        }
        Reply::Never => std::future::pending().await,
    }
}

impl Message {
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// The body, if its signature is right.
    #[track_caller]
    pub fn verified(&self) -> serde_json::Value {
        let key = STANDARD.decode(HOOK_SECRET.strip_prefix("whsec_").unwrap()).unwrap();
        let signed = format!("{}.{}.{}", self.header("webhook-id"), self.header("webhook-timestamp"), self.body);
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), signed.as_bytes());
        assert_eq!(self.header("webhook-signature"), format!("v1,{}", STANDARD.encode(mac)));
        serde_json::from_str(&self.body).unwrap()
    }
}
