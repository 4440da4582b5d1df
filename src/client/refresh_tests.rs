//! Refreshes against a scripted server, in time that jumps.

use std::collections::VecDeque;
use std::sync::Mutex;

use url::Url;

use super::*;
use crate::client::http::Answer;
use crate::client::possession::Key;
use crate::clock::Clock;

/// What the server does, after how many seconds; and when it was asked.
struct Script {
    start: Instant,
    answers: Mutex<VecDeque<(u64, Result<Answer, NoAnswer>)>>,
    asked_at: Mutex<Vec<u64>>,
}

impl Transport for Script {
    async fn get(&self, _: &Url, _: Option<&Secret>, _: Option<&str>) -> Result<Answer, NoAnswer> {
        unreachable!("the endpoints are known")
    }

    async fn post_form(
        &self,
        _: &Url,
        parameters: &[(&str, &str)],
        _: Option<&str>,
        _: Option<Duration>,
    ) -> Result<Answer, NoAnswer> {
        assert_eq!(parameters[1], ("refresh_token", "csr_1"));
        self.asked_at.lock().unwrap().push(self.start.elapsed().as_secs());
        let (seconds, answer) = self.answers.lock().unwrap().pop_front().expect("one more attempt than scripted");
        sleep(Duration::from_secs(seconds)).await;
        answer
    }
}

async fn refresh_with(
    answers: impl IntoIterator<Item = (u64, Result<Answer, NoAnswer>)>,
) -> (Result<Tokens, RefreshError>, Vec<u64>) {
    refresh_proving(answers, None).await
}

async fn refresh_proving(
    answers: impl IntoIterator<Item = (u64, Result<Answer, NoAnswer>)>,
    key: Option<Key>,
) -> (Result<Tokens, RefreshError>, Vec<u64>) {
    let script = Script {
        start: Instant::now(),
        answers: Mutex::new(answers.into_iter().collect()),
        asked_at: Mutex::default(),
    };
    let url = |path| Url::parse(&format!("https://acme.example/{path}")).unwrap();
    let endpoints = Endpoints {
        device_authorization: url("code"),
        token: url("token"),
        revocation: None,
        userinfo: None,
        dpop: false,
        poll_wait: None,
    };
    let result =
        refresh(&script, &endpoints, &Possession::of(key, Clock::system()), "acme-cli", &"csr_1".to_owned().into())
            .await;
    (result, script.asked_at.into_inner().unwrap())
}

#[expect(clippy::unnecessary_wraps, reason = "a script is made of answers and of what came in their place")]
fn answer(status: u16, body: &str) -> Result<Answer, NoAnswer> {
    Ok(Answer { status, body: body.as_bytes().to_vec(), ..Answer::default() })
}

fn tokens() -> Result<Answer, NoAnswer> {
    answer(200, r#"{"access_token":"at-2","token_type":"Bearer","expires_in":900,"refresh_token":"csr_2"}"#)
}

fn no_answer(sent: bool) -> Result<Answer, NoAnswer> {
    Err(NoAnswer { reason: "connection closed".to_owned(), sent })
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_again_at_once() {
    let (result, asked_at) = refresh_with([(0, no_answer(true)), (0, answer(502, "<html>")), (0, tokens())]).await;
    assert_eq!(result.unwrap().access_token.expose(), "at-2");
    assert_eq!(asked_at, [0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn no_attempt_comes_when_the_token_would_look_stolen() {
    for seconds in [1, 5, 60] {
        let answers = (0..ATTEMPTS).map(|_| (seconds, no_answer(true)));
        let (result, asked_at) = refresh_with(answers).await;
        assert!(matches!(result, Err(RefreshError::Server(LoginError::Unreachable { .. }))));
        assert!(asked_at.len() > 1 && *asked_at.last().unwrap() <= 15, "{asked_at:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_connection_nothing_is_tried_again() {
    let (result, asked_at) = refresh_with([(0, no_answer(false))]).await;
    assert!(matches!(result, Err(RefreshError::Server(LoginError::Unreachable { .. }))));
    assert_eq!(asked_at.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn only_invalid_grant_ends_the_login() {
    let (result, _) = refresh_with([(0, answer(400, r#"{"error":"invalid_grant"}"#))]).await;
    assert!(matches!(result, Err(RefreshError::Ended(_))));
    for (status, body) in [
        (401, r#"{"error":"invalid_client"}"#),
        (400, r#"{"error":"invalid_scope"}"#),
        (404, "nothing here"),
        (429, ""),
        (200, "<html>Welcome to the hotel</html>"),
        (400, r#"{"error":"authorization_pending"}"#),
    ] {
        let (result, asked_at) = refresh_with([(0, answer(status, body))]).await;
        assert!(matches!(result, Err(RefreshError::Server(_))), "{status} {body}");
        assert_eq!(asked_at.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_bound_login_takes_no_token_that_anybody_could_use() {
    let key = || Some(Key::generate().unwrap());
    let bound = r#"{"access_token":"at-2","token_type":"DPoP","expires_in":900,"refresh_token":"csr_2"}"#;
    assert!(refresh_proving([(0, answer(200, bound))], key()).await.0.unwrap().is_bound());
    let (result, asked_at) = refresh_proving([(0, tokens())], key()).await;
    assert!(matches!(result, Err(RefreshError::Server(LoginError::NotUnderstood { .. }))));
    assert_eq!(asked_at.len(), 1);
}
