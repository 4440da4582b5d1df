//! The protocol against a scripted server, in time that jumps from one event to the next.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroU32;

use serde_json::{Value, json};

use super::*;
use crate::client::http::Answer;
use crate::client::possession::Key;
use crate::clock::Clock;

use script::{Script, answer, code, dropped, error, tokens};

#[path = "device_login_script.rs"]
mod script;

/// Runs the script with at most `max_codes` codes; gives the outcome and what was told besides the countdown.
async fn run_script(script: &Script, max_codes: u32) -> (Result<Tokens, LoginError>, Vec<String>) {
    run_proving(script, max_codes, None).await
}

/// The same with proofs of this key.
async fn run_proving(script: &Script, max_codes: u32, key: Option<Key>) -> (Result<Tokens, LoginError>, Vec<String>) {
    run_at(script, max_codes, key, None).await
}

/// One code, at a server that holds polls for so many seconds.
async fn run_waiting(script: &Script, poll_wait: u64) -> (Result<Tokens, LoginError>, Vec<String>) {
    run_at(script, 1, None, Some(Duration::from_secs(poll_wait))).await
}

async fn run_at(
    script: &Script,
    max_codes: u32,
    key: Option<Key>,
    poll_wait: Option<Duration>,
) -> (Result<Tokens, LoginError>, Vec<String>) {
    let endpoints = Endpoints {
        device_authorization: "https://acme.example/code".parse().unwrap(),
        token: "https://acme.example/token".parse().unwrap(),
        revocation: None,
        userinfo: None,
        dpop: true,
        poll_wait,
    };
    let options = Options {
        scope: Some("read write".to_owned()),
        device_name: Some("ada@laptop".to_owned()),
        max_codes: NonZeroU32::new(max_codes).unwrap(),
        ..Options::new("https://acme.example".parse().unwrap(), "acme-cli".to_owned())
    };
    let mut told = Vec::new();
    let mut reporter = |event: &Event<'_>| -> io::Result<()> {
        match event {
            Event::Code(code) => told.push(format!("code {}", code.user_code)),
            Event::Retrying { after, .. } => told.push(format!("retrying in {}", after.as_secs())),
            Event::Expired => told.push("expired".to_owned()),
            _ => {}
        }
        Ok(())
    };
    let result = run(script, &endpoints, &Possession::of(key, Clock::system()), &options, &mut reporter).await;
    (result, told)
}

#[tokio::test(start_paused = true)]
async fn a_server_that_holds_polls_is_asked_at_once_and_as_seldom_as_others() {
    let polls = [error("authorization_pending"), error("authorization_pending"), error("slow_down"), tokens()];
    let script = Script::new([code("A", 100, 5)], polls).held_for([30, 2, 0, 12]);
    let (result, _) = run_waiting(&script, 30).await;
    assert!(result.is_ok());
    // Held for longer than the interval, for less, and then slowed down by five seconds.
    assert_eq!(script.polled_at(), [0, 30, 35, 45]);
    assert_eq!(script.waits(), [Some(30), Some(30), Some(30), Some(30)]);
}

#[tokio::test(start_paused = true)]
async fn a_poll_is_not_held_far_beyond_the_codes_life() {
    let script = Script::new([code("A", 40, 5)], [error("authorization_pending"), error("expired_token")]);
    let script = script.held_for([30, 10]);
    let (result, _) = run_waiting(&script, 30).await;
    assert!(matches!(result, Err(LoginError::Expired)));
    assert_eq!(script.waits(), [Some(30), Some(10)]);
}

#[tokio::test(start_paused = true)]
async fn where_a_held_poll_fails_the_next_ones_are_not_held() {
    let script = Script::new([code("A", 900, 5)], [dropped(), error("authorization_pending"), tokens()]);
    let script = script.held_for([20]);
    let (result, told) = run_waiting(&script, 30).await;
    assert!(result.is_ok());
    assert_eq!(told, ["code A", "retrying in 10"]);
    assert_eq!(script.polled_at(), [0, 30, 35]);
    assert_eq!(script.waits(), [Some(30), None, None]);
}

#[tokio::test(start_paused = true)]
async fn it_keeps_to_the_interval_and_slows_down_for_good() {
    let polls = [error("authorization_pending"), error("slow_down"), error("authorization_pending"), tokens()];
    let script = Script::new([code("A", 900, 5)], polls);
    let (result, told) = run_script(&script, 1).await;
    assert_eq!(result.unwrap().access_token.expose(), "at-1");
    assert_eq!(script.polled_at(), [5, 10, 20, 30]);
    assert_eq!(told, ["code A"]);
}

#[tokio::test(start_paused = true)]
async fn it_sends_what_the_standard_names() {
    let script = Script::new([error("invalid_scope")], []);
    let (result, _) = run_script(&script, 1).await;
    assert!(matches!(result, Err(LoginError::Refused { error, description: Some(_) }) if error == "invalid_scope"));
    let sent = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        script.form(),
        [sent("client_id", "acme-cli"), sent("scope", "read write"), sent("device_name", "ada@laptop")]
    );

    let script = Script::new([code("A", 900, 5)], [tokens()]);
    run_script(&script, 1).await.0.unwrap();
    assert_eq!(
        script.form(),
        [sent("grant_type", GRANT_TYPE), sent("device_code", "csd_A"), sent("client_id", "acme-cli")]
    );
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_it_asks_ever_more_rarely_and_recovers() {
    let unavailable = answer(503, &json!("down"));
    let polls = [dropped(), unavailable, dropped(), error("authorization_pending"), tokens()];
    let script = Script::new([code("A", 900, 5)], polls);
    let (result, told) = run_script(&script, 1).await;
    result.unwrap();
    assert_eq!(script.polled_at(), [5, 15, 35, 75, 80]);
    assert_eq!(told, ["code A", "retrying in 10", "retrying in 20", "retrying in 40"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_away_until_the_end_is_told_as_such() {
    let script = Script::new([code("A", 30, 5)], [dropped(), dropped(), dropped()]);
    let (result, _) = run_script(&script, 3).await;
    assert!(matches!(result, Err(LoginError::Unreachable { .. })), "{result:?}");
    assert_eq!(script.polled_at(), [5, 15, 30], "the last attempt is due when the code expires, not long after");
}

#[tokio::test(start_paused = true)]
async fn a_denial_is_final() {
    let script = Script::new([code("A", 900, 5)], [error("authorization_pending"), error("access_denied")]);
    let (result, told) = run_script(&script, 3).await;
    assert!(matches!(result, Err(LoginError::Denied)));
    assert_eq!(told, ["code A"]);
}

#[tokio::test(start_paused = true)]
async fn an_expired_code_is_followed_by_a_new_one_with_its_own_pace() {
    let polls = [error("slow_down"), error("expired_token"), error("authorization_pending"), tokens()];
    let script = Script::new([code("A", 900, 5), code("B", 900, 2)], polls);
    let (result, told) = run_script(&script, 3).await;
    result.unwrap();
    assert_eq!(script.polled_at(), [5, 15, 17, 19]);
    assert_eq!(told, ["code A", "expired", "code B"]);
}

#[tokio::test(start_paused = true)]
async fn it_does_not_ask_for_codes_forever() {
    let codes = [code("A", 900, 5), code("B", 900, 5), code("C", 900, 5)];
    let script = Script::new(codes, (0..3).map(|_| error("expired_token")));
    let (result, told) = run_script(&script, 3).await;
    assert!(matches!(result, Err(LoginError::Expired)));
    assert_eq!(told, ["code A", "expired", "code B", "expired", "code C"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_says_expired_is_not_waited_for_either() {
    let script = Script::new([code("A", 12, 5)], (0..3).map(|_| error("authorization_pending")));
    let (result, _) = run_script(&script, 1).await;
    assert!(matches!(result, Err(LoginError::Expired)));
    assert_eq!(script.polled_at(), [5, 10, 15]);
}

#[tokio::test(start_paused = true)]
async fn an_approval_in_the_last_second_is_not_lost() {
    let script = Script::new([code("A", 12, 5)], [error("authorization_pending"), error("slow_down"), tokens()]);
    run_script(&script, 1).await.0.unwrap();
    assert_eq!(script.polled_at(), [5, 10, 20]);
}

#[tokio::test(start_paused = true)]
async fn invalid_grant_means_expired_only_once_it_can() {
    let script = Script::new([code("A", 900, 5)], [error("invalid_grant")]);
    let (result, _) = run_script(&script, 1).await;
    assert!(matches!(result, Err(LoginError::Refused { .. })));

    let script = Script::new([code("A", 5, 5)], [error("invalid_grant")]);
    let (result, _) = run_script(&script, 1).await;
    assert!(matches!(result, Err(LoginError::Expired)));
}

#[tokio::test(start_paused = true)]
async fn the_time_left_counts_down_by_the_second() {
    let script = Script::new([code("A", 900, 3)], [tokens()]);
    let endpoints = Endpoints {
        device_authorization: "https://acme.example/code".parse().unwrap(),
        token: "https://acme.example/token".parse().unwrap(),
        revocation: None,
        userinfo: None,
        dpop: true,
        poll_wait: None,
    };
    let options = Options::new("https://acme.example".parse().unwrap(), "acme-cli".to_owned());
    let mut left = Vec::new();
    let mut reporter = |event: &Event<'_>| -> io::Result<()> {
        if let Event::Waiting { left: time } = event {
            left.push(time.as_secs());
        }
        Ok(())
    };
    run(&script, &endpoints, &Possession::of(None, Clock::system()), &options, &mut reporter).await.unwrap();
    assert_eq!(left, [900, 899, 898]);
}

#[tokio::test(start_paused = true)]
async fn a_code_that_nobody_can_see_ends_the_login() {
    let script = Script::new([code("A", 900, 5)], []);
    let endpoints = Endpoints {
        device_authorization: "https://acme.example/code".parse().unwrap(),
        token: "https://acme.example/token".parse().unwrap(),
        revocation: None,
        userinfo: None,
        dpop: false,
        poll_wait: None,
    };
    let options = Options::new("https://acme.example".parse().unwrap(), "acme-cli".to_owned());
    let mut reporter = |_: &Event<'_>| -> io::Result<()> { Err(io::ErrorKind::BrokenPipe.into()) };
    let result = run(&script, &endpoints, &Possession::of(None, Clock::system()), &options, &mut reporter).await;
    assert!(matches!(result, Err(LoginError::Output(_))));
    assert!(script.polled_at().is_empty());
}

/// What a proof claims.
fn claims(proof: Option<&str>) -> Value {
    let proof = proof.expect("a proof");
    serde_json::from_slice(&crate::secrets::from_base64url(proof.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

fn with_nonce(answer: Result<Answer, NoAnswer>, nonce: &str) -> Result<Answer, NoAnswer> {
    answer.map(|answer| Answer { dpop_nonce: Some(nonce.to_owned()), ..answer })
}

fn bound_tokens() -> Result<Answer, NoAnswer> {
    answer(200, &json!({ "access_token": "at-1", "token_type": "DPoP", "expires_in": 900 }))
}

#[tokio::test(start_paused = true)]
async fn every_request_proves_the_key_with_the_newest_nonce() {
    let codes = [with_nonce(error("use_dpop_nonce"), "n-1"), code("A", 900, 5)];
    let polls = [
        with_nonce(error("authorization_pending"), "n-2"),
        with_nonce(error("use_dpop_nonce"), "n-3"),
        error("authorization_pending"),
        bound_tokens(),
    ];
    let script = Script::new(codes, polls);
    let (result, _) = run_proving(&script, 1, Some(Key::generate().unwrap())).await;
    assert!(result.unwrap().is_bound());
    // Asked again at once, and the pace is kept all the same.
    assert_eq!(script.polled_at(), [5, 10, 10, 15]);
    let proofs: Vec<Value> = script.proofs.lock().unwrap().iter().map(|proof| claims(proof.as_deref())).collect();
    let nonces: Vec<Option<&str>> = proofs.iter().map(|claims| claims["nonce"].as_str()).collect();
    assert_eq!(nonces, [None, Some("n-1"), Some("n-1"), Some("n-2"), Some("n-3"), Some("n-3")]);
    assert_eq!(proofs[1]["htu"], "https://acme.example/code");
    assert_eq!(proofs[2]["htu"], "https://acme.example/token");
    let ids: std::collections::HashSet<&str> = proofs.iter().map(|claims| claims["jti"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), proofs.len(), "each proof is a new one");
}

#[tokio::test(start_paused = true)]
async fn a_nonce_that_does_not_help_is_asked_for_once() {
    let codes = [with_nonce(error("use_dpop_nonce"), "n-1"), with_nonce(error("use_dpop_nonce"), "n-2")];
    let (result, _) = run_proving(&Script::new(codes, []), 1, Some(Key::generate().unwrap())).await;
    assert!(matches!(result, Err(LoginError::Refused { error, .. }) if error == "use_dpop_nonce"));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_bind_is_logged_in_to_all_the_same() {
    let script = Script::new([code("A", 900, 5)], [tokens()]);
    let (result, _) = run_proving(&script, 1, Some(Key::generate().unwrap())).await;
    assert!(!result.unwrap().is_bound());
}

#[tokio::test(start_paused = true)]
async fn without_a_key_nothing_is_proven_and_nothing_bound_is_taken() {
    let script = Script::new([code("A", 900, 5)], [bound_tokens()]);
    let (result, _) = run_script(&script, 1).await;
    assert!(matches!(result, Err(LoginError::NotUnderstood { .. })));
    assert!(script.proofs.lock().unwrap().iter().all(Option::is_none));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_behind_is_made_up_for_by_a_nonce() {
    let codes = [with_nonce(error("invalid_dpop_proof"), "n-1"), code("A", 900, 5)];
    let script = Script::new(codes, [bound_tokens()]);
    let (result, _) = run_proving(&script, 1, Some(Key::generate().unwrap())).await;
    assert!(result.unwrap().is_bound());
    let refused = [with_nonce(error("invalid_dpop_proof"), "n-1"), with_nonce(error("invalid_dpop_proof"), "n-1")];
    let (result, _) = run_proving(&Script::new(refused, []), 1, Some(Key::generate().unwrap())).await;
    assert!(matches!(result, Err(LoginError::Refused { error, .. }) if error == "invalid_dpop_proof"));
}

/// Somebody who types these lines.
struct Typist(VecDeque<&'static str>, Vec<String>);

impl Reporter for Typist {
    fn report(&mut self, event: &Event<'_>) -> io::Result<()> {
        match event {
            Event::NumberWanted { tries_left } => self.1.push(format!("number, {tries_left:?}")),
            Event::NoNumber => self.1.push("no number".to_owned()),
            _ => {}
        }
        Ok(())
    }

    fn number(&mut self) -> impl Future<Output = io::Result<Option<String>>> {
        std::future::ready(Ok(self.0.pop_front().map(str::to_owned)))
    }
}

async fn run_typing(script: &Script, lines: &[&'static str]) -> (Result<Tokens, LoginError>, Vec<String>) {
    let endpoints = Endpoints {
        device_authorization: "https://acme.example/code".parse().unwrap(),
        token: "https://acme.example/token".parse().unwrap(),
        revocation: None,
        userinfo: None,
        dpop: false,
        poll_wait: None,
    };
    let options = Options::new("https://acme.example".parse().unwrap(), "acme-cli".to_owned());
    let mut typist = Typist(lines.iter().copied().collect(), Vec::new());
    let result = run(script, &endpoints, &Possession::of(None, Clock::system()), &options, &mut typist).await;
    (result, typist.1)
}

fn number_wanted(tries_left: u8) -> Result<Answer, NoAnswer> {
    answer(400, &json!({ "error": "authorization_pending", "verification": "number", "tries_left": tries_left }))
}

#[tokio::test(start_paused = true)]
async fn the_number_on_the_page_is_asked_for_and_sent() {
    let script = Script::new([code("A", 900, 5)], [number_wanted(3), number_wanted(2), tokens()]);
    let (result, told) = run_typing(&script, &["47x\n", " 4 6\n", "47"]).await;
    assert!(result.is_ok());
    assert_eq!(told, ["number, Some(3)", "no number", "number, Some(2)"]);
    assert!(script.form().contains(&("verification_number".to_owned(), "47".to_owned())));
    // Nobody waits for an interval: the person just typed.
    assert_eq!(script.polled_at(), [5, 5, 5]);
}

#[tokio::test(start_paused = true)]
async fn without_anybody_to_type_the_login_ends() {
    let script = Script::new([code("A", 900, 5)], [number_wanted(3)]);
    let (result, _) = run_typing(&script, &[]).await;
    assert!(matches!(result, Err(LoginError::NumberWanted)));
}
