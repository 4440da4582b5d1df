//! `Authorization: Basic` of a client (RFC 6749 §2.3.1: form-encoded; many clients send it raw).

use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use countersign::http::fields::Fields;
use countersign::http::parameters::Parameters;
use countersign::oauth::client_auth::Credentials;
use countersign::secrets::SecretText;

use crate::parameters::is_told_properly;
use crate::target;

const WORDS: &[&str] = &[
    "Basic ",
    "basic ",
    "Bearer ",
    "DPoP ",
    "acme-agent",
    ":",
    "%3A",
    "%2B",
    "+",
    "%",
    "%00",
    "%FF",
    "&",
    "=",
    "v=",
    "secret",
    "YWNtZS1jbGk6",
    "OnNlY3JldA==",
    "Og==",
    "Og",
    "===",
    "\u{fffd}",
    "\u{e9}",
];

type Pair = (String, Option<String>);

#[test]
fn basic() {
    target("basic", Vec::new(), WORDS, |bytes| {
        // As the header itself, with and without a body that says more.
        for body in ["", "client_id=acme-agent", "client_id=acme-agent&client_secret=secret"] {
            let _either = read(bytes, body);
        }
        if let Ok(pair) = std::str::from_utf8(bytes) {
            as_a_pair(pair);
        }
    });
}

/// As what is encoded in it.
fn as_a_pair(pair: &str) {
    for (scheme, encoded) in [("Basic", STANDARD.encode(pair)), ("bAsIC ", STANDARD_NO_PAD.encode(pair))] {
        let outcome = read(format!("{scheme} {encoded}").as_bytes(), "");
        let raw = pair.split_once(':').filter(|(id, _)| !id.is_empty() && !pair.contains('\0'));
        let Some((id, secret)) = raw else {
            assert!(outcome.is_none(), "a malformed pair is read");
            continue;
        };
        let candidates = outcome.expect("a well-formed pair is refused");
        assert!((1..=2).contains(&candidates.len()));
        assert!(candidates.contains(&of(id, secret)), "taken raw it is not among them");
        // And what a client that keeps to the RFC sends is understood first.
        let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        if secret.contains('\u{fffd}') || id.contains('\u{fffd}') {
            continue;
        }
        let proper = STANDARD.encode(format!("{}:{}", encode(id), encode(secret)));
        let candidates = read(format!("{scheme} {proper}").as_bytes(), "").expect("a proper pair is refused");
        assert_eq!(candidates.first(), Some(&of(id, secret)));
    }
}

fn of(id: &str, secret: &str) -> Pair {
    (id.to_owned(), (!secret.is_empty()).then(|| secret.to_owned()))
}

/// Who the client may be, if the request says so at all.
fn read(authorization: &[u8], body: &str) -> Option<Vec<Pair>> {
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, HeaderValue::from_bytes(authorization).ok()?);
    let parameters = Parameters::try_from(Fields::from_form(body.as_bytes()).unwrap()).ok().unwrap();
    let credentials = Credentials::read(&headers, &parameters).inspect_err(is_told_properly).ok()?;
    let candidates: Vec<Pair> = credentials
        .candidates()
        .map(|(id, secret)| (id.to_owned(), secret.map(SecretText::expose).map(str::to_owned)))
        .collect();
    assert!(!candidates.is_empty());
    for (id, secret) in &candidates {
        assert!(!id.contains('\0') && secret.as_deref() != Some(""));
        assert!(body.is_empty() || id == "acme-agent", "the body names another client");
    }
    Some(candidates)
}
