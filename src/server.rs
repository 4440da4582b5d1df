//! The server: its rooms put together, its listener, and how it ends.

pub mod connections;
pub mod delivery;
pub mod handshakes;
pub mod housekeeping;
pub mod observation;
pub mod patience;
pub mod tls;
mod traced;
pub mod upkeep;
pub mod wire;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use axum::{Router, ServiceExt};
use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::{Layer as _, Service};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::normalize_path::{NormalizePath, NormalizePathLayer};
use tower_http::trace::TraceLayer;

use crate::admin::Administration;
use crate::audit::linker;
use crate::config::{Limits, Phishing, Retention};
use crate::device::intake::Intake;
use crate::device::live::LiveCodes;
use crate::device::lookup::Lookups;
use crate::device::pacing::Pacing;
use crate::device::waiting::Waiting;
use crate::directory::kept_secret::Renewals;
use crate::directory::known::KnownServices;
use crate::geo::{self, Places};
use crate::http::client_address::{self, TrustedProxies};
use crate::http::page_headers;
use crate::http::request_number::{self, Numbers, RequestNumber};
use crate::installation::Installation;
use crate::notice::Notices;
use crate::notice::mail::Mailer;
use crate::notice::webhook::NoHttpClient as NoWebhooks;
use crate::oauth::short_way::ShortWay;
use crate::oauth::{self, Doubts, Endpoints, Requests};
use crate::pages::{self, Pages};
use crate::postgres::notifications::{Ear, Listening};
use crate::postgres::{Availability, Direct};
use crate::session::signing_keys::{SigningKeys, SigningKeysError, life};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::requests::CountRequests;
use crate::upstream::{NoHttpClient, Upstream};
use crate::{account, activation, admin, setup};

use connections::Connections;
use observation::Observation;
use patience::{AtWork, Patience, PatientListener, Peer};
use tls::Tls;
use upkeep::Upkeep;

/// How long requests that are under way may take once the server was asked to end, unless it is set.
pub const DRAIN: Duration = Duration::from_secs(15);

/// How long what runs beside the requests may take to end after them.
const TIDY: Duration = Duration::from_secs(5);

/// How long after the database was lost what waits for it beside the requests is begun anew. What is under way there mostly talks
/// to others (mails, webhooks), and should come to its end.
const RESTART: Duration = Duration::from_secs(10);

/// A server that is ready to listen.
pub struct Server {
    installation: Installation,
    endpoints: Endpoints,
    pages: Pages,
    /// Whether the database answers.
    database: Availability,
    settings: Settings,
    /// What it counted.
    metrics: Metrics,
    /// Where it tells that, if anywhere.
    telemetry: Option<TcpListener>,
    /// Cancelled when it was asked to end.
    stopping: CancellationToken,
}

/// What is set of a server, besides its installation.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How to listen to the other nodes, when requests go to the database through a pooler; none: as they do.
    pub direct: Option<Direct>,
    /// Whose X-Forwarded-For counts.
    pub proxies: TrustedProxies,
    /// How signing keys are rotated.
    pub keys: life::Policy,
    /// How long to wait for a client.
    pub patience: Patience,
    /// Where addresses are.
    pub places: Places,
    /// What looks like phishing.
    pub phishing: Phishing,
    /// How many codes may be asked for. None of it holds in dev mode.
    pub limits: Limits,
    /// How long what is over is kept.
    pub retention: Retention,
    /// How mails are sent.
    pub mailer: Mailer,
    /// How long requests that are under way may take once the server was asked to end.
    pub drain: Duration,
    /// What it shows who it is with; none: it speaks plain HTTP, and something before it TLS.
    pub tls: Option<Tls>,
    /// Whether a collector is told of requests.
    pub traced: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            direct: None,
            proxies: TrustedProxies::default(),
            keys: life::Policy::default(),
            patience: Patience::default(),
            places: Places::default(),
            phishing: Phishing::default(),
            limits: Limits::default(),
            retention: Retention::default(),
            mailer: Mailer::default(),
            drain: DRAIN,
            tls: None,
            traced: false,
        }
    }
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// No keys to sign with.
    #[error(transparent)]
    SigningKeys(#[from] SigningKeysError),
    /// No way to upstream providers.
    #[error(transparent)]
    Upstream(#[from] NoHttpClient),
    /// No way to webhooks.
    #[error(transparent)]
    Webhooks(#[from] NoWebhooks),
    /// The listener failed.
    #[error("the server stopped listening: {0}")]
    Listener(#[from] std::io::Error),
}

impl Server {
    /// Puts the server together, making signing keys where there are none.
    pub async fn new(installation: Installation, settings: Settings) -> Result<Self, ServerError> {
        let signing_keys = SigningKeys::load(&installation).await?;
        let limits = if installation.dev_mode { Limits::none() } else { settings.limits };
        let (live, waiting) = (LiveCodes::new(limits), Waiting::default());
        let services = KnownServices::new(installation.pool.clone());
        let database = Availability::default();
        let endpoints = Endpoints {
            installation: installation.clone(),
            signing_keys,
            services: services.clone(),
            renewals: Renewals::new(installation.pool.clone()),
            waiting: waiting.clone(),
            pacing: Pacing::default(),
            requests: Requests::within(limits),
            live: live.clone(),
            intake: Intake::new(installation.pool.clone()),
            lookups: Lookups::new(installation.pool.clone()),
            doubts: Doubts::default(),
            database: database.clone(),
        };
        let pages = Pages {
            installation: installation.clone(),
            upstream: Upstream::new(installation.outbound.clone())?,
            places: settings.places.clone(),
            phishing: settings.phishing,
            services,
            live,
            waiting,
            notices: Notices::new(settings.mailer.clone(), installation.outbound.clone())?,
            database: database.clone(),
        };
        let metrics = observation::metrics(&installation, &pages.live, settings.tls.as_ref());
        let (telemetry, stopping) = (None, CancellationToken::new());
        Ok(Self { installation, endpoints, pages, database, settings, metrics, telemetry, stopping })
    }

    /// The keys that it signs with.
    #[must_use]
    pub fn signing_keys(&self) -> &SigningKeys {
        &self.endpoints.signing_keys
    }

    /// The same server, which tells there how it is and what it counted.
    #[must_use]
    pub fn observed_at(self, listener: TcpListener) -> Self {
        Self { telemetry: Some(listener), ..self }
    }

    /// What is told at the telemetry listener.
    pub fn observation(&self) -> Router {
        let observation = Observation {
            installation: self.installation.clone(),
            signing_keys: self.endpoints.signing_keys.clone(),
            metrics: self.metrics.clone(),
            live: self.endpoints.live.clone(),
            stopping: self.stopping.clone(),
            last: Arc::default(),
        };
        observation.router()
    }

    /// The services that it has looked up.
    #[must_use]
    pub fn services(&self) -> &KnownServices {
        &self.endpoints.services
    }

    /// What tells people and programs what happened.
    #[must_use]
    pub fn notices(&self) -> &Notices {
        &self.pages.notices
    }

    /// Everything under the issuer's path, as a router.
    pub fn router(&self) -> Router {
        Router::new().fallback_service(self.everything())
    }

    /// Everything under the issuer's path. A trailing slash makes no difference; nothing is redirected for it.
    fn everything(&self) -> ShortWay<NormalizePath<Router>> {
        let rooms = oauth::router(self.endpoints.clone())
            .merge(activation::router(self.pages.clone(), account::finish_sign_in))
            .merge(account::router(self.pages.clone()))
            .merge(setup::router(self.pages.clone()))
            .merge(admin::router(self.administration()))
            .merge(pages::assets());
        let base = self.installation.public_url.base_path().to_owned();
        let rooms = if base.is_empty() {
            rooms
        } else {
            Router::new().nest(&base, rooms).merge(oauth::metadata_before(&base, self.endpoints.clone()))
        };
        let start = format!("{base}/activate");
        let home = if base.is_empty() { "/".to_owned() } else { base.clone() };
        let counted = CountRequests::new(self.metrics.clone(), &base);
        let rooms = rooms.route(&home, get(move || async move { Redirect::to(&start) })).merge(self.nowhere(base));
        // Complete, so that each route is made once and counts for itself.
        let rooms: Router = rooms.with_state(());
        let rooms = rooms.layer(counted);
        let traced = from_fn_with_state(self.settings.proxies.clone(), traced::trace);
        let rooms = if self.settings.traced { rooms.layer(traced) } else { rooms };
        let rooms = rooms
            .layer(from_fn_with_state(self.settings.proxies.clone(), client_address::identify))
            // Handlers have their own, which answer in their form; this one is for what is around them.
            .layer(CatchPanicLayer::custom(|_| fault()))
            .layer(TraceLayer::new_for_http().make_span_with(span))
            .layer(from_fn_with_state(Numbers::new(self.installation.random.bytes()), request_number::give));
        let secure = self.installation.public_url.is_secure();
        let rooms = if secure { rooms.layer(from_fn(page_headers::strict_transport)) } else { rooms };
        // Around the router, not in it: the path is trimmed before it is matched.
        let rooms = NormalizePathLayer::trim_trailing_slash().layer(rooms);
        self.short_way(rooms)
    }

    /// Answers pending polls before they go there.
    pub fn short_way<S>(&self, long_way: S) -> ShortWay<S> {
        let mut headers = HeaderMap::new();
        if self.installation.public_url.is_secure() {
            let (name, value) = page_headers::STRICT_TRANSPORT;
            headers.insert(name, HeaderValue::from_static(value));
        }
        ShortWay::before(long_way, self.endpoints.clone(), &self.metrics, headers)
    }

    fn administration(&self) -> Administration {
        let (keys, services) = (self.endpoints.signing_keys.clone(), self.endpoints.services.clone());
        let notices = self.pages.notices.clone();
        Administration::new(self.installation.clone(), keys, self.database.clone(), services, notices)
    }

    /// What is found where nothing is: a page, or an error for programs.
    fn nowhere(&self, base: String) -> Router {
        let (clock, installation) = (self.installation.clock.clone(), self.installation.clone());
        let fallback = move |request: Request| {
            let path = request.uri().path().strip_prefix(&*base).unwrap_or_default().to_owned();
            let of_programs = path.starts_with("/auth/") || path.starts_with("/.well-known/");
            let answer = match &*path {
                path if path.starts_with("/api/") => admin::not_found(&installation),
                _ if of_programs => oauth::not_found(&clock),
                _ => pages::not_found(),
            };
            async move { answer }
        };
        pages::with_pages_for_errors(self.pages.clone(), Router::new().fallback(fallback))
    }

    /// Starts what runs beside the requests, until `stop`.
    #[must_use = "the tasks end when it is dropped"]
    pub fn attend(&self, stop: &CancellationToken) -> JoinSet<()> {
        let mut upkeep = Upkeep::until(stop.clone(), self.metrics.clone());
        let (database, pool) = (self.database.clone(), self.installation.pool.clone());
        upkeep.keep("database", move |stop| database.clone().watch(pool.clone(), stop));
        // At once: what was decided meanwhile on connections that work must be heard of.
        let (now, later) = ((&self.database, Duration::ZERO), (&self.database, RESTART));
        let (installation, waiting, services) =
            (self.installation.clone(), self.endpoints.waiting.clone(), self.endpoints.services.clone());
        let direct = self.settings.direct.clone();
        let listening = move |stop| listening(&installation, direct.as_ref(), &waiting, &services, stop);
        upkeep.keep_with(now, "notifications", listening);
        let (installation, waiting, services) =
            (self.installation.clone(), self.endpoints.waiting.clone(), self.endpoints.services.clone());
        upkeep.keep("waiting", move |stop| waiting.clone().keep(installation.clone(), services.clone(), stop));
        let (installation, live) = (self.installation.clone(), self.endpoints.live.clone());
        upkeep.keep_with(later, "live codes", move |stop| live.clone().keep(installation.clone(), stop));
        let (installation, retention) = (self.installation.clone(), self.settings.retention);
        upkeep.keep_with(later, "housekeeping", move |stop| housekeeping::watch(installation.clone(), retention, stop));
        let (installation, notices) = (self.installation.clone(), self.pages.notices.clone());
        upkeep.keep_with(later, "notices", move |stop| delivery::watch(installation.clone(), notices.clone(), stop));
        let (keys, installation, policy) =
            (self.endpoints.signing_keys.clone(), self.installation.clone(), self.settings.keys);
        upkeep.keep_with(later, "signing keys", move |stop| {
            life::watch(keys.clone(), installation.clone(), policy, stop)
        });
        let (pool, keyring) = (self.installation.pool.clone(), self.installation.keyring.clone());
        upkeep.keep_with(later, "audit links", move |stop| linker::watch(pool.clone(), keyring.clone(), stop));
        let (doubts, installation, database) =
            (self.endpoints.doubts.clone(), self.installation.clone(), self.database.clone());
        upkeep.keep("redemptions in doubt", move |stop| {
            doubts.clone().watch(installation.clone(), database.clone(), stop)
        });
        let places = self.settings.places.clone();
        upkeep.keep("places", move |stop| geo::watch(places.clone(), stop));
        let (tls, clock) = (self.settings.tls.clone(), self.installation.clock.clone());
        upkeep.keep("certificate", move |stop| tls::watch(tls.clone(), clock.clone(), stop));
        upkeep.into_tasks()
    }

    /// Serves until `stop`, then answers what is under way, held polls at once, and ends.
    ///
    /// From `stop` on no connection is accepted: whoever shares the socket gets them. Those that are open are closed when nothing
    /// happens on them, or after their answer ([`connections`]), and after the drain time in any case.
    pub async fn serve(
        mut self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send,
    ) -> Result<(), ServerError> {
        let stopping = self.stopping.clone();
        let mut tasks = self.attend(&stopping);
        let patience = self.settings.patience;
        let mut observing = JoinSet::new();
        if let Some(listener) = self.telemetry.take() {
            let listener = PatientListener::new(listener, patience, Connections::default());
            observing.spawn(axum::serve(listener, for_peers(AtWork(self.observation()))).into_future());
        }
        let (open, app) = (Connections::default(), AtWork(self.everything()));
        let listener = PatientListener::new(listener, patience, open.clone()).speaking(self.settings.tls.clone());
        // Kept until the end: dropped, it has hyper close what is open.
        let mut serving = std::pin::pin!(axum::serve(listener, for_peers(app)).into_future());
        let outcome = tokio::select! {
            outcome = &mut serving => outcome,
            () = stop => Ok(()),
        };
        // In this order: the answers of held polls say that their connections end.
        open.end();
        self.endpoints.waiting.close();
        stopping.cancel();
        let drained = async {
            tokio::select! {
                _never = serving => {}
                () = open.ended() => {}
            }
        };
        if tokio::time::timeout(self.settings.drain, drained).await.is_err() {
            tracing::warn!("the drain time is over: what is still under way is cut off");
        }
        // What was cut off, or hung up at last.
        let at_last = self.endpoints.doubts.take_back(&self.installation);
        let _or_it_is_lost = tokio::time::timeout(TIDY, at_last).await;
        let tidying = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(TIDY, tidying).await.is_err() {
            tracing::warn!("what runs beside the requests does not end, and is cut off");
        }
        // Until here it was said that the server is about to end.
        drop(observing);
        Ok(outcome?)
    }
}

/// A service for the connections of a [`PatientListener`].
fn for_peers<S>(service: AtWork<S>) -> IntoMakeServiceWithConnectInfo<AtWork<S>, Peer>
where
    AtWork<S>: Service<Request>,
{
    ServiceExt::<Request>::into_make_service_with_connect_info(service)
}

/// Listens to the other nodes.
fn listening(
    installation: &Installation,
    direct: Option<&Direct>,
    waiting: &Waiting,
    services: &KnownServices,
    stop: CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let mark = installation.random.bytes::<16>().map(|byte| format!("{byte:02x}")).concat();
    let as_requests = || PgConnectOptions::clone(&installation.pool.connect_options());
    let to = direct.map_or_else(as_requests, |Direct(options)| options.clone());
    let ears: Vec<Arc<dyn Ear>> = vec![Arc::new(waiting.clone()), Arc::new(services.clone())];
    Listening { to, pool: installation.pool.clone(), mark, ears }.until(stop)
}

/// A request in the log: never its query, in which codes and states travel. Its number is what an error page shows.
fn span(request: &Request) -> tracing::Span {
    let number = request.extensions().get::<RequestNumber>().map(RequestNumber::as_str);
    tracing::info_span!("request", number, method = %request.method(), path = request.uri().path())
}

/// The answer when what stands around the handlers panicked.
fn fault() -> Response {
    let said = "The server made a mistake, which its log describes. Try again.";
    (StatusCode::INTERNAL_SERVER_ERROR, [(header::CACHE_CONTROL, "no-store")], said).into_response()
}
