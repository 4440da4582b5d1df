//! What a request prefers (RFC 7240).

use std::time::Duration;

use axum::http::HeaderMap;

/// `Prefer: wait=N` (RFC 7240 §4.3), at most `longest`.
#[must_use]
pub fn wait(headers: &HeaderMap, longest: Duration) -> Option<Duration> {
    let lists = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let preferences = lists.flat_map(|list| list.split(','));
    let mut waits = preferences.filter_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"').parse().ok())?
    });
    // RFC 7240 §2: the first of several counts.
    waits.next().map(|seconds| Duration::from_secs(seconds).min(longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_read_as_rfc_7240_writes_it() {
        let wait = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("prefer", value.parse().unwrap());
            wait(&headers, Duration::from_secs(30)).map(|wait| wait.as_secs())
        };
        assert_eq!(wait("wait=10"), Some(10));
        assert_eq!(wait("respond-async, WAIT = \"7\"; x=y"), Some(7));
        assert_eq!(wait("wait=600"), Some(30));
        assert_eq!(wait("wait=0"), Some(0));
        assert_eq!(wait("wait=soon"), None);
        assert_eq!(wait("waiting=5"), None);
    }
}
