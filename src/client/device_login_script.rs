//! A server that answers as it is written, for the protocol's tests.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use crate::client::http::{Answer, NoAnswer, Transport};
use crate::client::secret::Secret;

/// Answers in the order written, and notes when each poll came.
pub struct Script {
    start: Instant,
    codes: Mutex<VecDeque<Result<Answer, NoAnswer>>>,
    polls: Mutex<VecDeque<Result<Answer, NoAnswer>>>,
    polled_at: Mutex<Vec<u64>>,
    /// The waits that were asked for, and how long each poll is held.
    waits: Mutex<Vec<Option<u64>>>,
    held_for: Mutex<VecDeque<u64>>,
    last_form: Mutex<Vec<(String, String)>>,
    pub proofs: Mutex<Vec<Option<String>>>,
}

impl Script {
    pub fn new(
        codes: impl IntoIterator<Item = Result<Answer, NoAnswer>>,
        polls: impl IntoIterator<Item = Result<Answer, NoAnswer>>,
    ) -> Self {
        Self {
            start: Instant::now(),
            codes: Mutex::new(codes.into_iter().collect()),
            polls: Mutex::new(polls.into_iter().collect()),
            polled_at: Mutex::default(),
            waits: Mutex::default(),
            held_for: Mutex::default(),
            last_form: Mutex::default(),
            proofs: Mutex::default(),
        }
    }

    /// The same, which holds its polls for so many seconds.
    pub fn held_for(self, seconds: impl IntoIterator<Item = u64>) -> Self {
        Self { held_for: Mutex::new(seconds.into_iter().collect()), ..self }
    }

    pub fn waits(&self) -> Vec<Option<u64>> {
        self.waits.lock().unwrap().clone()
    }

    pub fn polled_at(&self) -> Vec<u64> {
        self.polled_at.lock().unwrap().clone()
    }

    pub fn form(&self) -> Vec<(String, String)> {
        self.last_form.lock().unwrap().clone()
    }
}

impl Transport for Script {
    async fn get(&self, _: &Url, _: Option<&Secret>, _: Option<&str>) -> Result<Answer, NoAnswer> {
        unreachable!("the endpoints are known")
    }

    async fn post_form(
        &self,
        url: &Url,
        parameters: &[(&str, &str)],
        proof: Option<&str>,
        wait: Option<Duration>,
    ) -> Result<Answer, NoAnswer> {
        *self.last_form.lock().unwrap() =
            parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.proofs.lock().unwrap().push(proof.map(str::to_owned));
        if url.path() == "/code" {
            return self.codes.lock().unwrap().pop_front().expect("one more code is asked than scripted");
        }
        self.polled_at.lock().unwrap().push(self.start.elapsed().as_secs());
        self.waits.lock().unwrap().push(wait.map(|wait| wait.as_secs()));
        let held_for = self.held_for.lock().unwrap().pop_front().unwrap_or_default();
        tokio::time::sleep(Duration::from_secs(held_for)).await;
        self.polls.lock().unwrap().pop_front().expect("one more poll comes than scripted")
    }
}

#[expect(clippy::unnecessary_wraps, reason = "stands in a list with `dropped`")]
pub fn answer(status: u16, body: &Value) -> Result<Answer, NoAnswer> {
    Ok(Answer { status, body: body.to_string().into_bytes(), ..Answer::default() })
}

pub fn code(user_code: &str, expires_in: u64, interval: u64) -> Result<Answer, NoAnswer> {
    let body = json!({
        "device_code": format!("csd_{user_code}"), "user_code": user_code,
        "verification_uri": "https://acme.example/activate", "expires_in": expires_in, "interval": interval,
    });
    answer(200, &body)
}

pub fn error(error: &str) -> Result<Answer, NoAnswer> {
    answer(400, &json!({ "error": error, "error_description": "said so" }))
}

pub fn tokens() -> Result<Answer, NoAnswer> {
    answer(200, &json!({ "access_token": "at-1", "token_type": "Bearer", "scope": "read" }))
}

pub fn dropped() -> Result<Answer, NoAnswer> {
    Err(NoAnswer { reason: "connection closed".to_owned(), sent: true })
}
