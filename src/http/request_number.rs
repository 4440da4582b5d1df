//! A number for every request: what a person who met a fault can quote, and what finds it in the log.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

/// Where an answer to a request that met a fault of ours has its number.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// A request's number, such as `3f9a1c07-42`: unlike that of any other, on this node or another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestNumber(Arc<str>);

impl RequestNumber {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Gives numbers out. Never what a request says: it would write to our log.
#[derive(Clone, Debug)]
pub struct Numbers {
    start: [u8; 4],
    next: Arc<AtomicU64>,
}

impl Numbers {
    /// Those of one start of the server, which `start` tells from others.
    #[must_use]
    pub fn new(start: [u8; 4]) -> Self {
        Self { start, next: Arc::new(AtomicU64::new(1)) }
    }

    fn next(&self) -> RequestNumber {
        let mut number = String::with_capacity(20);
        let nth = self.next.fetch_add(1, Ordering::Relaxed);
        // Writing to a String can't fail.
        let _written = write!(number, "{:08x}-{nth}", u32::from_be_bytes(self.start));
        RequestNumber(number.into())
    }
}

/// Middleware: numbers a request, and tells the number with an answer that is a fault of ours (5xx).
pub async fn give(State(numbers): State<Numbers>, mut request: Request, next: Next) -> Response {
    let number = numbers.next();
    request.extensions_mut().insert(number.clone());
    let mut response = next.run(request).await;
    if response.status().is_server_error()
        && let Ok(value) = HeaderValue::from_str(number.as_str())
    {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_given_twice() {
        let (numbers, other) = (Numbers::new([0x3f, 0x9a, 0x1c, 0x07]), Numbers::new([0, 0, 0, 1]));
        let clone = numbers.clone();
        assert_eq!(
            [numbers.next(), clone.next(), numbers.next()].map(|number| number.as_str().to_owned()),
            ["3f9a1c07-1", "3f9a1c07-2", "3f9a1c07-3"]
        );
        assert_eq!(other.next().as_str(), "00000001-1");
    }
}
