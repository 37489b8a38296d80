//! HTTP/1.1 on one connection, with upgrades; the API behind it belongs to the HTTP head.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_head::{Api, Connection, ConnectionPermit};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use net::{Io, PeerInfo};
use tokio_util::sync::CancellationToken;

use super::AcceptLimits;
use super::write_limit::WriteLimit;

/// Serves one connection to its end, which also comes when its first request or its reading takes too long. Each request
/// carries what is known of the connection as an extension. Once `drain` is cancelled the request
/// at hand is answered and the connection closed.
pub(super) async fn serve(
    io: Io,
    api: Api,
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
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.answer(request).await) }
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

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use hub::access::development_policies;
    use hub::entropy::Entropy;
    use hub::ids::{ConnectionId, HubName};
    use hub::time::SystemClock;
    use hub::{Hub, HubConfig};
    use net::Carrier;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;

    /// A client of a hub that answers every GET with `ok`.
    fn connected() -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(16 * 1024);
        let peer = PeerInfo {
            connection: ConnectionId(1),
            address: ([127, 0, 0, 1], 1).into(),
            carrier: Carrier::Tls,
            certificates: None,
        };
        let config = HubConfig::new(HubName::parse("h").expect("a name"), development_policies(), 1);
        let hub = Hub::new(config, Arc::new(SystemClock), Entropy::seeded(1));
        let api = Api::new(hub, Router::new().route("/", get(async || "ok")), |request| request);
        let slot = ConnectionPermit::new(());
        let limits = AcceptLimits::default();
        tokio::spawn(serve(Io::new(ours), api, peer, slot, limits, CancellationToken::new()));
        theirs
    }

    async fn ask(client: &mut DuplexStream) {
        client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.expect("the connection is there");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nok") {
            answer.push(client.read_u8().await.expect("an answer"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_kept_for_two_minutes_between_requests_and_not_for_ever() {
        let mut client = connected();
        ask(&mut client).await;
        for _ in 0..3 {
            tokio::time::advance(Duration::from_secs(120)).await;
            ask(&mut client).await;
        }
        let idle = tokio::time::Instant::now();
        client.read_u8().await.expect_err("it is closed");
        assert_eq!(idle.elapsed().as_secs(), IDLE_LIMIT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_request_has_less_time_than_those_after_it() {
        let mut client = connected();
        let begun = tokio::time::Instant::now();
        client.write_all(b"GET / HTTP/1.1\r\n").await.expect("the connection is there");
        client.read_u8().await.expect_err("it is closed");
        assert_eq!(begun.elapsed(), AcceptLimits::default().first_request);
    }
}
