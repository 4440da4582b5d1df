//! `countersign logout` as a process.

use serde_json::json;

use crate::kept::{Machine, login};
use crate::ports::free_port;
use crate::stand_in::{Reply, StandIn, error};

fn done() -> Reply {
    Reply::Text(200, None, String::new())
}

#[tokio::test]
async fn it_revokes_and_forgets() {
    let server = StandIn::start([], []).await;
    server.will_answer("/revoke", [done()]);
    let machine = Machine::with(&[login(&server.issuer, "acme-cli", 600), login("https://b.example", "acme-cli", 600)]);
    let said = format!("Logged out of {} as acme-cli (ada@acme.example).\n", server.issuer);
    assert_eq!(machine.run(&["logout", &server.issuer]).await, (0, said, String::new()));
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!((requests[0].form["token"].as_str(), requests[0].form["client_id"].as_str()), ("csr_1", "acme-cli"));
    assert_eq!(requests[0].form["token_type_hint"], "refresh_token");
    let left = machine.logins();
    assert_eq!((left.len(), &left[0]["issuer"]), (1, &json!("https://b.example")));
    assert_eq!(machine.run(&["logout", &server.issuer]).await.0, 7);
}

#[tokio::test]
async fn a_server_that_cannot_be_told_is_named_and_the_tokens_go_all_the_same() {
    let machine = Machine::with(&[login(&format!("http://127.0.0.1:{}", free_port()), "acme-cli", 600)]);
    let (code, out, err) = machine.run(&["logout"]).await;
    assert_eq!(code, 5);
    assert!(out.starts_with("Logged out of ") && err.starts_with("The server could not be told: Can't reach"), "{err}");
    assert!(machine.logins().is_empty());

    let server = StandIn::start([], []).await;
    server.will_answer("/revoke", [error("unsupported_token_type")]);
    let machine = Machine::with(&[login(&server.issuer, "acme-cli", 600)]);
    let (code, told) = machine.run_json(&["logout"]).await;
    assert_eq!((code, &told["logged_out"][0]["revoked"]), (5, &json!(false)));
    assert!(told["logged_out"][0]["problem"].as_str().unwrap().contains("unsupported_token_type"), "{told}");
    assert!(machine.logins().is_empty());
}

#[tokio::test]
async fn all_means_all_and_may_be_none() {
    let server = StandIn::start([], []).await;
    server.will_answer("/revoke", [done(), done()]);
    let machine = Machine::with(&[login(&server.issuer, "a", 600), login(&server.issuer, "b", -600)]);
    assert_eq!(machine.run(&["logout"]).await.0, 2, "which one?");
    assert_eq!(machine.logins().len(), 2);
    let (code, told) = machine.run_json(&["logout", "--all"]).await;
    assert_eq!((code, told["logged_out"].as_array().unwrap().len()), (0, 2));
    assert!(machine.logins().is_empty());
    assert_eq!(machine.run_json(&["logout", "--all"]).await, (0, json!({ "logged_out": [] })));
}
