//! `X-Forwarded-For`: whatever a client writes there, what the trusted proxy wrote behind it counts.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue, Uri};
use countersign::http::asked_host::AskedHost;
use countersign::http::client_address::{TrustedProxies, same_network, subscriber};

use crate::target;

const WORDS: &[&str] = &[
    "203.0.113.7",
    "10.0.0.1",
    "10.255.255.255",
    "2001:db8::1",
    "[2001:db8::1]:4711",
    "203.0.113.7:4711",
    "::ffff:10.0.0.1",
    "::ffff:203.0.113.7",
    "fd00::1",
    ", ",
    ",",
    "unknown",
    "_hidden",
    "127.0.0.1",
    "0.0.0.0",
    "::",
    "fe80::1%eth0",
    "010.0.0.1",
    "for=203.0.113.7",
];

#[test]
fn forwarded() {
    target("forwarded", Vec::new(), WORDS, |bytes| {
        let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
        let proxies = TrustedProxies::from(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        let client = |peer: &str, values: &[&HeaderValue]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("x-forwarded-for", (*value).clone());
            }
            proxies.origin(peer.parse().unwrap(), &headers).ip
        };
        let stranger: IpAddr = "198.51.100.9".parse().unwrap();
        assert_eq!(client("198.51.100.9", &[&value]), stranger, "a stranger names its own address");

        let through_proxy = client("10.0.0.1", &[&value]);
        assert_eq!(through_proxy, through_proxy.to_canonical());
        let _networks = (subscriber(through_proxy), same_network(through_proxy, stranger));
        if through_proxy != "10.0.0.1".parse::<IpAddr>().unwrap() {
            let hop = |hop: &[u8]| {
                let hop = std::str::from_utf8(hop).unwrap_or_default().trim();
                let bare = hop.strip_prefix('[').and_then(|hop| hop.split_once(']')).map_or(hop, |(ip, _)| ip);
                // A scope is of no use here, and may stand there (RFC 4007 §11).
                let bare = bare.split('%').next().unwrap_or_default();
                let bare = bare.parse::<IpAddr>().or_else(|_| bare.rsplit_once(':').unwrap_or_default().0.parse());
                bare.is_ok_and(|ip| ip.to_canonical() == through_proxy)
            };
            assert!(value.as_bytes().split(|byte| *byte == b',').any(hop), "{through_proxy} stands nowhere in it");
        }
        // In the same header, or in one before the proxy's.
        let honest = HeaderValue::from_static("198.51.100.9");
        assert_eq!(client("10.0.0.1", &[&value, &honest]), stranger);
        let together = HeaderValue::from_bytes(&[bytes, b",198.51.100.9"].concat()).unwrap();
        assert_eq!(client("10.0.0.1", &[&together]), stranger);
        asked_host(&value);
    });
}

/// The name that a request asks for is no other's, whatever it looks like.
fn asked_host(value: &HeaderValue) {
    let mut headers = HeaderMap::new();
    headers.insert("host", value.clone());
    let asked = AskedHost::of(&headers, &Uri::from_static("/activate"), false);
    if asked.is("auth.acme.example", true) {
        let text = value.to_str().expect("only text is a name").to_ascii_lowercase();
        assert!(matches!(&*text, "auth.acme.example" | "auth.acme.example:443"), "{text}");
    }
}
