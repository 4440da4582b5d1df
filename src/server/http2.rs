//! HTTP/2 connections (RFC 9113), which clients choose in their TLS handshake.
//!
//! hyper keeps them apart from those of HTTP/1.1 because they end otherwise: when the server is asked to end, the client is told so
//! (GOAWAY), requests that were under way or on their way are answered, and new ones go to another connection by themselves.

use std::net::SocketAddr;
use std::pin::pin;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tower::ServiceExt as _;

use super::connections::Connections;
use super::patience::{PatientStream, Peer};

/// What is spoken, in a handshake (RFC 7301).
pub const ALPN: &[u8] = b"h2";

/// How many requests of one connection may be under way: held polls, mostly.
const STREAMS: u32 = 128;

/// How long a head may be, in bytes: as HTTP/1.1 has it.
const HEAD: u32 = 16 * 1024;

/// Answers what comes over one connection, beside all others.
pub fn answer(stream: PatientStream, address: SocketAddr, app: Router, connections: Connections) {
    let peer = Peer::of(&stream, address);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer.clone()));
        app.clone().oneshot(request)
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.max_concurrent_streams(STREAMS).max_header_list_size(HEAD);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::spawn(async move {
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = connections.ending() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "an HTTP/2 connection ended");
        }
    });
}
