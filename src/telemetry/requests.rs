//! Counts requests, around the handlers of a router.

use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tower::{Layer, Service};

use super::metrics::{Metrics, Route};

/// A layer for a router whose routes are complete: each counts for itself, and what it handles is
/// [at work](Metrics::at_work) for these metrics.
#[derive(Clone)]
pub struct CountRequests {
    metrics: Metrics,
    /// What stands before every route, and is left out.
    base: Arc<str>,
}

impl CountRequests {
    /// Counts here. `base`: the path that stands before every route.
    #[must_use]
    pub fn new(metrics: Metrics, base: &str) -> Self {
        Self { metrics, base: base.into() }
    }

    fn route(&self, request: &Request) -> Route {
        let matched = request.extensions().get::<MatchedPath>();
        // A route as it is written here; never a path as somebody asked for it.
        let route = matched.map_or("none", |path| path.as_str().strip_prefix(&*self.base).unwrap_or(path.as_str()));
        self.metrics.route(route)
    }
}

impl<S> Layer<S> for CountRequests {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, layer: self.clone(), route: Arc::default() }
    }
}

/// One route, counted.
#[derive(Clone)]
pub struct Counted<S> {
    inner: S,
    layer: CountRequests,
    /// Found at the first request, and then at hand: a poll looks nothing up.
    route: Arc<OnceLock<Route>>,
}

impl<S> Service<Request> for Counted<S>
where
    S: Service<Request, Response = Response>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.route.get_or_init(|| self.layer.route(&request));
        let mut under_way = UnderWay::begin(self.route.clone());
        let answering = self.layer.metrics.at_work(self.inner.call(request));
        async move {
            let answer = answering.await;
            under_way.answered(answer.as_ref().ok());
            answer
        }
        .boxed()
    }
}

/// A request, counted when it is over: also when its client leaves and the handler is dropped.
struct UnderWay {
    route: Arc<OnceLock<Route>>,
    since: Instant,
    status: Option<u16>,
}

impl UnderWay {
    fn begin(route: Arc<OnceLock<Route>>) -> Self {
        if let Some(route) = route.get() {
            route.begin();
        }
        Self { route, since: Instant::now(), status: None }
    }

    fn answered(&mut self, response: Option<&Response>) {
        self.status = response.map(|response| response.status().as_u16());
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(route) = self.route.get() {
            route.end(self.status, self.since.elapsed());
        }
    }
}
