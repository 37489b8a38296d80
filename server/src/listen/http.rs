//! HTTP/1.1 on one connection, with upgrades; the router behind it belongs to the HTTP head.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use http_head::{Connection, ConnectionPermit};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use net::{Io, PeerInfo};
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use super::AcceptLimits;
use super::write_limit::WriteLimit;

/// Serves one connection to its end, which also comes when its first request or its reading takes too long. Each request
/// carries what is known of the connection as an extension. Once `drain` is cancelled the request
/// at hand is answered and the connection closed.
pub(super) async fn serve(
    io: Io,
    router: Router,
    peer: PeerInfo,
    slot: ConnectionPermit,
    limits: AcceptLimits,
    drain: CancellationToken,
) {
    let has_asked = Arc::new(AtomicBool::new(false));
    let service = {
        let has_asked = Arc::clone(&has_asked);
        let connection = Arc::new(Connection { peer, drain: drain.clone(), permit: Some(slot) });
        service_fn(move |mut request: Request<Incoming>| {
            has_asked.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(Arc::clone(&connection));
            router.clone().call(request)
        })
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_LIMIT)
        .max_buf_size(READ_BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(WriteLimit::new(io, limits.unread)), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let mut patience = std::pin::pin!(tokio::time::sleep(limits.first_request));
    let mut is_draining = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection broke");
                }
                return;
            }
            () = patience.as_mut(), if !has_asked.load(Ordering::Relaxed) => {
                if !has_asked.load(Ordering::Relaxed) {
                    tracing::debug!("no request came in time");
                    return;
                }
            }
            () = drain.cancelled(), if !is_draining => {
                is_draining = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// From one request to the end of the next one's head; clients keep connections for 2 minutes. contract/rest.md 8.4.
const IDLE_LIMIT: Duration = Duration::from_secs(150);
/// Ours: a request's head, and what is read of a body at once.
const READ_BUFFER_BYTES_MAX: usize = 64 * 1024;
