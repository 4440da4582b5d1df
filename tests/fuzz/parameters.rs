//! The parameters of an OAuth request (RFC 6749 §3.2): as a form, as JSON, and as whatever else somebody sends.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use countersign::clock::Clock;
use countersign::http::fields::{BODY_LIMIT, Fields};
use countersign::http::oauth_error::{self, OAuthError};
use countersign::http::parameters::Parameters;
use http_body_util::BodyExt as _;
use serde_json::Value;

use crate::{RUNTIME, is_a_description, target};

const MAY_REPEAT: [&str; 2] = ["resource", "audience"];

const WORDS: &[&str] = &[
    "client_id=acme-cli",
    "scope=read+write",
    "resource=https%3A%2F%2Fapi.acme.example",
    "audience=a",
    "&",
    "&&",
    "=",
    "grant_type",
    "device_code",
    "{\"a\":\"b\"}",
    "\"client_id\":\"acme-cli\"",
    "[\"a\",\"b\"]",
    "null",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\\u0000",
    "\\ud800",
    "1e999",
    "true",
    "%F0%9F%98%80",
    "%ZZ",
    "%00",
    "\u{feff}",
];

#[test]
fn parameters() {
    target("parameters", Vec::new(), WORDS, |bytes| {
        as_a_form(bytes);
        as_json(bytes);
        for content_type in ["application/json", "APPLICATION/X-WWW-FORM-URLENCODED ; charset=utf-8", "text/plain"] {
            let _either = sent(Some(HeaderValue::from_static(content_type)), bytes);
        }
        if let Ok(content_type) = HeaderValue::from_bytes(bytes) {
            let _either = sent(Some(content_type), b"client_id=acme-cli");
        }
    });
}

/// What a form says is what the URL standard reads there, blanks left out; and the same written as JSON reads alike.
fn as_a_form(bytes: &[u8]) {
    let pairs: Vec<(String, String)> =
        url::form_urlencoded::parse(bytes).into_owned().filter(|(_, value)| !value.is_empty()).collect();
    let outcome = sent(None, bytes);
    if std::str::from_utf8(bytes).is_err() {
        assert!(outcome.is_err());
        return;
    }
    let expected = meant(&pairs);
    agrees(outcome.as_ref(), expected.as_deref());
    let member = |(name, value): &(String, String)| format!("{}:{}", Value::from(&**name), Value::from(&**value));
    let members: Vec<String> = pairs.iter().map(member).chain(["\"blank\":\"\",\"none\":null".to_owned()]).collect();
    let json = format!("{{{}}}", members.join(","));
    if json.len() <= BODY_LIMIT {
        agrees(sent(Some(HeaderValue::from_static("application/json")), json.as_bytes()).as_ref(), expected.as_deref());
    }
}

/// What pairs mean; `None` when a request with them is refused.
fn meant(pairs: &[(String, String)]) -> Option<Vec<(&str, Vec<&str>)>> {
    let mut meant: Vec<(&str, Vec<&str>)> = Vec::new();
    for (name, value) in pairs {
        if value.contains('\0') {
            return None;
        }
        match meant.iter_mut().find(|(known, _)| known == name) {
            Some(_) if !MAY_REPEAT.contains(&name.as_str()) => return None,
            Some((_, values)) => values.push(value),
            None => meant.push((name, vec![value])),
        }
    }
    (pairs.len() <= 100).then_some(meant)
}

fn agrees(outcome: Result<&Parameters, &OAuthError>, expected: Option<&[(&str, Vec<&str>)]>) {
    match (outcome, expected) {
        (Ok(parameters), Some(expected)) => {
            for (name, values) in expected {
                assert_eq!(parameters.get(name), values.first().copied(), "{name}");
                assert_eq!(parameters.required("none").is_ok(), expected.iter().any(|(name, _)| *name == "none"));
                assert_eq!(&parameters.all(name).collect::<Vec<_>>(), values, "{name}");
            }
        }
        (Err(_), None) => {}
        (Ok(_), None) => panic!("repeated or unreadable parameters are accepted"),
        (Err(error), Some(_)) => panic!("a fine request is refused: {error:?}"),
    }
}

/// JSON that no form could be: refused, or flat text and nothing else.
fn as_json(bytes: &[u8]) {
    let outcome = sent(Some(HeaderValue::from_static("application/json")), bytes);
    let Ok(parameters) = outcome else { return };
    let read: Value = serde_json::from_slice(bytes).expect("what is read is JSON");
    for (name, value) in read.as_object().expect("and an object") {
        // Of a member that stands more than once, the others may have been blank.
        let texts: Vec<&str> = match value {
            Value::String(text) => vec![text],
            Value::Null => Vec::new(),
            Value::Array(list) => list.iter().map(|text| text.as_str().expect("a list of texts")).collect(),
            other => panic!("{other} is taken for a text"),
        };
        let texts: Vec<&str> = texts.into_iter().filter(|text| !text.is_empty()).collect();
        if !texts.is_empty() && !MAY_REPEAT.contains(&name.as_str()) {
            assert_eq!((parameters.get(name), texts.len()), (texts.first().copied(), 1), "{name}");
        }
    }
}

/// A request with this body. Its refusal, if it is one, is as OAuth wants it.
fn sent(content_type: Option<HeaderValue>, body: &[u8]) -> Result<Parameters, OAuthError> {
    let mut headers = HeaderMap::new();
    if let Some(content_type) = content_type {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    let fields = RUNTIME.block_on(Fields::read(&headers, Body::from(body.to_vec())));
    let outcome = fields.map_err(OAuthError::from).and_then(Parameters::try_from);
    if let Err(error) = &outcome {
        is_told_properly(error);
    }
    outcome
}

/// An error as it goes out.
pub fn is_told_properly(error: &OAuthError) {
    let response = oauth_error::answer(error, &Clock::system());
    assert!(response.status().is_client_error());
    let body = RUNTIME.block_on(response.into_body().collect()).unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["error"], "invalid_request");
    let description = body["error_description"].as_str().unwrap();
    assert!(is_a_description(description), "{description}");
}
