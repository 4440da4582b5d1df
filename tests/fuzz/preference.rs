//! `Prefer` (RFC 7240): a poll may be held, but never longer than thirty seconds.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use countersign::http::preference::wait;

use crate::target;

const WORDS: &[&str] = &["wait=", "wait=30", "WAIT = \"7\"", "respond-async", ", ", ";", "return=minimal", "\"", "99"];

#[test]
fn preference() {
    let longest = Duration::from_secs(30);
    target("preference", Vec::new(), WORDS, |bytes| {
        let longest = Duration::from_secs(30);
        let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
        let mut headers = HeaderMap::new();
        headers.append("prefer", value.clone());
        let preferred = wait(&headers, longest);
        assert!(preferred.is_none_or(|preferred| preferred <= longest));
        assert!(preferred.is_none() || value.to_str().unwrap().to_ascii_lowercase().contains("wait"));
        // What stands behind the first one changes nothing; what has another name before it neither.
        headers.append("prefer", HeaderValue::from_static("wait=11"));
        assert_eq!(wait(&headers, longest), preferred.or(Some(Duration::from_secs(11))));
        let mut behind = HeaderMap::new();
        behind.append("prefer", HeaderValue::from_static("wait=11, respond-async"));
        behind.append("prefer", value);
        assert_eq!(wait(&behind, longest), Some(Duration::from_secs(11)));
    });
    assert_eq!(wait(&HeaderMap::new(), longest), None);
}
