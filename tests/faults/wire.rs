//! Requests, each to the next server in turn, as a balancer without memory sends them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::{HOST, HeaderMap};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;

use super::ledger::Ledger;
use super::node::{History, Node};

/// Longer than anything may take.
const PATIENCE: Duration = Duration::from_secs(25);

/// What speaks HTTP for one device or one person. Cheap to clone.
#[derive(Clone)]
pub struct Wire {
    client: Client,
    nodes: Vec<Arc<Node>>,
    turn: usize,
    host: String,
    ledger: Arc<Ledger>,
}

/// A request and what became of it.
#[derive(Debug)]
pub struct Exchange {
    /// For people: what was asked, and of which server.
    pub what: String,
    /// When.
    pub sent: Instant,
    /// How long it took.
    pub took: Duration,
    /// The answer, or how it was lost.
    pub answer: Result<Answer, String>,
    /// What had been done to the server when the request was sent, …
    before: History,
    /// … and when it was answered.
    after: History,
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    /// A text of a JSON answer; empty when there is none.
    pub fn text(&self, member: &str) -> String {
        let value: Value = serde_json::from_str(&self.body).unwrap_or_default();
        value[member].as_str().unwrap_or_default().to_owned()
    }
}

impl Exchange {
    /// Whether the server was killed meanwhile.
    pub fn excuses_loss(&self) -> bool {
        self.before.excuses_loss(self.after)
    }

    /// Whether the server was killed or suspended meanwhile.
    pub fn excuses_delay(&self) -> bool {
        self.before.excuses_delay(self.after)
    }

    /// Since when nothing was wrong with the server that answered.
    pub fn sound_since(&self) -> Instant {
        self.after.sound_since
    }

    /// When it was answered.
    pub fn answered(&self) -> Instant {
        self.sent + self.took
    }
}

impl Wire {
    /// To all of these servers, under the name of their public URL.
    pub fn new(nodes: &[Arc<Node>], host: &str, ledger: &Arc<Ledger>) -> Self {
        let client = Client::builder().redirect(Policy::none()).timeout(PATIENCE).build().unwrap();
        Self { client, nodes: nodes.to_vec(), turn: 0, host: host.to_owned(), ledger: ledger.clone() }
    }

    /// The same, its first request to another server.
    pub fn beginning_at(&self, turn: usize) -> Self {
        Self { turn, ..self.clone() }
    }

    /// To one of the servers only.
    pub fn to(&self, node: usize) -> Self {
        Self { nodes: vec![self.nodes[node].clone()], ..self.clone() }
    }

    /// Sends a form that no poll is.
    pub async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Exchange {
        let exchange = self.send(path, |client, url| client.post(url).form(form)).await;
        self.ledger.other(&exchange);
        exchange
    }

    /// Sends a request that no poll is.
    pub async fn other(&mut self, path: &str, build: impl Fn(&Client, String) -> RequestBuilder) -> Exchange {
        let exchange = self.send(path, build).await;
        self.ledger.other(&exchange);
        exchange
    }

    /// Sends a request. One that a server refuses to take goes to the next: that is a balancer's doing.
    pub async fn send(&mut self, path: &str, build: impl Fn(&Client, String) -> RequestBuilder) -> Exchange {
        let mut refused = 0;
        loop {
            let node = &self.nodes[self.turn % self.nodes.len()];
            self.turn += 1;
            let (before, sent) = (node.history(), Instant::now());
            let request = build(&self.client, format!("{}{path}", node.url)).header(HOST, &self.host);
            let answer = read(request).await;
            let was_refused = answer.as_ref().is_err_and(reqwest::Error::is_connect);
            let exchange = Exchange {
                what: format!("{path} at server {}", node.number),
                sent,
                took: sent.elapsed(),
                answer: answer.map_err(|error| words(&error)),
                before,
                after: node.history(),
            };
            refused += 1;
            if was_refused && exchange.excuses_loss() && refused < self.nodes.len() {
                continue;
            }
            return exchange;
        }
    }
}

async fn read(request: RequestBuilder) -> Result<Answer, reqwest::Error> {
    let response = request.send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    Ok(Answer { status, headers, body: response.text().await? })
}

/// An error with its causes, which reqwest keeps to itself.
fn words(error: &reqwest::Error) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}
