//! How long a connection may take: to send a request, to read an answer, to say nothing.
//!
//! HTTP has no such limits of its own, and hyper's one limit for headers counts the time between two requests as well,
//! which a client that polls needs. So the stream itself keeps the time, and the router tells it when a request is being
//! answered: a held poll may take as long as it likes.
//!
//! 1. Nothing was sent yet, or everything was answered: the connection is *idle*.
//! 2. Its first byte begins a *head*.
//! 3. The head is complete and a handler is at work: nobody counts. Bodies have a limit of their own
//!    ([`crate::http::fields`]).
//! 4. The answer is *written*, and the connection is idle again.
//!
//! Inside TLS it is the same: what counts is what the client says, and not the records in which it does. Before that comes the
//! handshake, which has the time of a head ([`super::handshakes`]).
//!
//! While the server ends, patience with idle connections is short ([`super::connections`]).

use std::convert::Infallible;
use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::Request;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep};
use tower::Service;

use super::connections::{Connections, Link, Place, QUIET};
use super::handshakes::{Handshakes, Shaken};
use super::tls::Tls;
use super::wire::Wire;

/// How long to wait for a client.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Between two requests. At least 75 s, above every poll interval (SPEC §2.1): a connection that closes just as a
    /// client polls loses the login.
    pub idle: Duration,
    /// From the first byte of a request to the end of its header.
    pub head: Duration,
    /// Until the client takes more of an answer.
    pub write: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { idle: Duration::from_secs(90), head: Duration::from_secs(10), write: Duration::from_secs(30) }
    }
}

/// Open files that no client's connection gets: PostgreSQL, providers, mails and logs need theirs, above all when many clients
/// come at once because something was broken.
const KEPT_FREE: usize = 256;

/// A listener whose connections end when they try its patience.
pub struct PatientListener {
    /// None once the connections were asked to end: nobody is accepted any more.
    inner: Option<TcpListener>,
    patience: Patience,
    connections: Connections,
    /// How many connections may be open.
    most: usize,
    /// None: what comes is plain HTTP.
    secure: Option<Handshakes>,
}

impl PatientListener {
    /// Around a listener, whose connections are counted there.
    #[must_use]
    pub fn new(inner: TcpListener, patience: Patience, connections: Connections) -> Self {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let files = files.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
        // At least half of few.
        let most = files.saturating_sub(KEPT_FREE).max(files / 2);
        Self { inner: Some(inner), patience, connections, most, secure: None }
    }

    /// The same listener, which speaks TLS if there is a certificate.
    #[must_use]
    pub fn speaking(self, tls: Option<Tls>) -> Self {
        let secure = tls.map(|tls| Handshakes::new(tls, self.patience.head));
        Self { secure, ..self }
    }
}

/// The next connection. Never ends when the listener is gone.
async fn accepted(inner: &mut Option<TcpListener>, connections: &Connections, most: usize) -> (TcpStream, SocketAddr) {
    let Some(inner) = inner else { return std::future::pending().await };
    connections.room(most).await;
    // axum's own: it goes on after an error, slowly when there are no file descriptors left.
    let (stream, address) = Listener::accept(inner).await;
    // Answers are small and wanted now.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY can't be set");
    }
    (stream, address)
}

/// The next connection whose handshake is done. Never ends when there is none.
async fn shaken(secure: &mut Option<Handshakes>) -> Shaken {
    match secure {
        Some(handshakes) => handshakes.next().await,
        None => std::future::pending().await,
    }
}

impl Listener for PatientListener {
    type Io = PatientStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (PatientStream, SocketAddr) {
        loop {
            let Self { inner, patience, connections, most, secure } = self;
            tokio::select! {
                biased;
                // What has begun to shake hands may end.
                () = connections.ending(), if inner.is_some() => *inner = None,
                Shaken { stream, address, place } = shaken(secure) => {
                    return (PatientStream::new(Wire::Tls(stream), *patience, place), address);
                }
                (stream, address) = accepted(inner, connections, *most) => {
                    if let Some(handshakes) = secure {
                        handshakes.begin(stream, address, connections);
                    } else {
                        let place = connections.enter();
                        return (PatientStream::new(Wire::Plain(stream), *patience, place), address);
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.as_ref().ok_or(io::ErrorKind::NotConnected)?.local_addr()
    }
}

/// A connection that keeps the time.
pub struct PatientStream {
    stream: Wire,
    patience: Patience,
    /// Among the others.
    place: Place,
    /// How much of [`HTTP_2`] its first bytes were; `None`: they were something else.
    preface: Option<usize>,
    /// When something last went to or fro.
    active: Instant,
    /// When the head that is being read began.
    head_since: Option<Instant>,
    /// Since when the client takes nothing of an answer.
    stuck_since: Option<Instant>,
    reading: Timer,
    writing: Timer,
}

impl PatientStream {
    fn new(stream: Wire, patience: Patience, place: Place) -> Self {
        Self {
            stream,
            patience,
            place,
            preface: Some(0),
            active: Instant::now(),
            head_since: None,
            stuck_since: None,
            reading: Timer::default(),
            writing: Timer::default(),
        }
    }

    /// Whether the first bytes of the connection, of which these are the next, begin HTTP/2.
    fn is_http_2(&mut self, bytes: &[u8]) -> bool {
        let Some(known) = self.preface else { return false };
        let expected = HTTP_2.iter().skip(known);
        self.preface = bytes.iter().zip(expected).all(|(one, other)| one == other).then_some(known + bytes.len());
        self.preface.is_some_and(|known| known >= HTTP_2.len())
    }

    /// By when something must have been read.
    fn read_by(&mut self) -> Option<Instant> {
        if self.place.link().is_at_work() {
            self.head_since = None;
            return None;
        }
        if let Some(since) = self.head_since {
            return Some(since + self.patience.head);
        }
        // What of an answer isn't taken yet has its own time.
        let ending = self.place.link().is_ending() && self.stuck_since.is_none();
        Some(self.active + if ending { self.patience.idle.min(QUIET) } else { self.patience.idle })
    }

    fn wrote(&mut self) {
        self.active = Instant::now();
        self.head_since = None;
        self.stuck_since = None;
    }

    /// Waits for the client to take something, as long as patience lasts. Inside TLS that is waited for when it is flushed.
    fn poll_stuck(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let since = *self.stuck_since.get_or_insert_with(Instant::now);
        ready!(self.writing.poll(cx, since + self.patience.write));
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of its answer"))
    }
}

impl AsyncRead for PatientStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(cx, buf) {
            if buf.filled().len() > before {
                this.active = Instant::now();
                if !this.place.link().is_at_work() {
                    this.head_since.get_or_insert(this.active);
                }
                if this.is_http_2(buf.filled().get(before..).unwrap_or_default()) {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::Unsupported, "HTTP/2 is not spoken here")));
                }
            }
            // A head that comes byte by byte is never pending for long: its time is looked at here as well.
            let too_slow = this.head_since.is_some_and(|since| this.active > since + this.patience.head);
            return Poll::Ready(if too_slow { Err(out_of_patience()) } else { read });
        }
        this.place.link().wake_when_ending(cx);
        let Some(deadline) = this.read_by() else { return Poll::Pending };
        ready!(this.reading.poll(cx, deadline));
        Poll::Ready(Err(out_of_patience()))
    }
}

/// How a client begins that speaks HTTP/2 without asking (RFC 9113 §3.4). hyper would answer it, and nothing here keeps the time of a
/// connection that says things between requests and takes its answers as slowly as it likes.
const HTTP_2: &[u8] = b"PRI * HTTP/2";

fn out_of_patience() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client was silent or slow for too long")
}

impl AsyncWrite for PatientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, bytes) {
            Poll::Ready(written) => {
                self.wrote();
                Poll::Ready(written)
            }
            Poll::Pending => self.poll_stuck(cx).map(Err),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write_vectored(cx, bytes) {
            Poll::Ready(written) => {
                self.wrote();
                Poll::Ready(written)
            }
            Poll::Pending => self.poll_stuck(cx).map(Err),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(flushed) => {
                self.stuck_since = None;
                Poll::Ready(flushed)
            }
            Poll::Pending => self.poll_stuck(cx).map(Err),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_shutdown(cx) {
            Poll::Ready(shut) => Poll::Ready(shut),
            Poll::Pending => self.poll_stuck(cx).map(Err),
        }
    }
}

/// A timer that is set anew only when it went off too early: most deadlines move on before they come.
#[derive(Default)]
struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// Ready at `deadline`.
    fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

/// The other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    address: SocketAddr,
    link: Arc<Link>,
}

impl Peer {
    /// Of a connection.
    #[must_use]
    pub fn of(stream: &PatientStream, address: SocketAddr) -> Self {
        Self { address, link: stream.place.link().clone() }
    }
}

impl Connected<IncomingStream<'_, PatientListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, PatientListener>) -> Self {
        Self::of(stream.io(), *stream.remote_addr())
    }
}

/// Around everything else: tells the connection that a request is being answered, and the client when it was the last.
#[derive(Clone)]
pub struct AtWork<S>(pub S);

impl<S> Service<Request> for AtWork<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let peer = request.extensions_mut().remove::<ConnectInfo<Peer>>();
        let until_answered = peer.map(|ConnectInfo(peer)| {
            request.extensions_mut().insert(ConnectInfo(peer.address));
            peer.link.begin()
        });
        let answering = self.0.call(request);
        async move {
            let mut response = answering.await?;
            if until_answered.is_some_and(|work| work.is_last()) {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        }
        .boxed()
    }
}
